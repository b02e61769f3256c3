#!/usr/bin/env bash
# make nightly, make crash-million: the same tests as in `make test`, with numbers that take hours.
# usage: nightly.sh [crash-million|kills|mixed|bit-flips|faulty-stores|extremes|fuzz]...    all of them without an argument
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"
cd "$PROJECT_DIR"
export PATH=$HOME/.cargo/bin:$PATH ORLOP_TOOLS=$TOOLS_DIR ORLOP_REQUIRE_TOOLS=1

PARTS=(crash-million kills mixed bit-flips faulty-stores extremes fuzz)
# Seconds for each parser.
FUZZ_SECONDS=${FUZZ_SECONDS:-600}
CARGO_FUZZ_VERSION=0.13.2

tests() { # package target filter variable=value...: at the workspace's own features, so that nothing is compiled twice
  local package=$1 target=$2 filter=$3
  shift 3
  env "$@" cargo test --quiet --locked --workspace --test "$target" "$filter" -- --nocapture || fail "$package: $target failed"
}

crash-million() { tests repository crash_points every_crash_point_is_survived ORLOP_CRASH_POINTS=1000000; }
kills() { tests data-mover beside_restic whatever_is_killed ORLOP_KILLS=1000; }
mixed() { tests data-mover beside_restic beside_restic_nothing_is_lost ORLOP_MIXED_RUNS=2000; }
bit-flips() { tests repository bit_flips every_flipped_bit ORLOP_FLIP_BYTES=1048576; }
faulty-stores() { tests repository faulty_stores no_trouble ORLOP_FAULT_SCHEDULES=100000; }

# Tests that are too large for every run, each alone in its process, whose memory they look at; then the program in a container's
# limit. Needs root, some 60 GiB of disk and an hour.
extremes() {
  alone --lib
  alone --test engine
  bench/bench.sh --extremes
}

alone() { # cargo's names of the targets...
  local name names
  names=$(cargo test --quiet --locked --workspace "$@" nightly_ -- --ignored --list | sed -n 's/: test$//p')
  [ -n "$names" ] || fail "no test of the extremes is found by $*"
  for name in $names; do
    env "$MOVER_ENVIRONMENT" cargo test --quiet --locked --workspace "$@" "$name" -- --exact --ignored --nocapture || fail "$name failed"
  done
}

fuzz() {
  # libFuzzer is compiled from C++.
  install_packages g++
  command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --version "$CARGO_FUZZ_VERSION" cargo-fuzz
  local target
  for target in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    say "fuzzing $target for $FUZZ_SECONDS s"
    mkdir -p "fuzz/corpus/$target"
    cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
      -max_total_time="$FUZZ_SECONDS" -rss_limit_mb=2048 -print_final_stats=1
  done
}

main() {
  local parts=("$@") part started
  [ $# -gt 0 ] || parts=("${PARTS[@]}")
  for part in "${parts[@]}"; do
    [[ " ${PARTS[*]} " == *" $part "* ]] || fail "there is no part $part; the parts are: ${PARTS[*]}"
  done
  e2e/toolchain.sh
  "$CLUSTER_DIR/tools.sh" restic
  claim_target
  for part in "${parts[@]}"; do
    say "=== $part"
    started=$SECONDS
    "$part"
    say "$part passed after $((SECONDS - started)) s"
  done
}

main "$@"
