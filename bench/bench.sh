#!/usr/bin/env bash
# make bench, make bench-quick: compiles the data mover, provides what it is compared with, and measures.
# usage: bench.sh [arguments of run.py...]
#        bench.sh --quick [arguments of quick.py...]
#        bench.sh --extremes [arguments of extremes.py...]
source "$(dirname "${BASH_SOURCE[0]}")/../e2e/cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"
BENCH_DIR=$PROJECT_DIR/bench

compile() { # profile
  # ORLOP_PREBUILT=1 takes the program as it is.
  [ -z "${ORLOP_PREBUILT:-}" ] || return 0
  local targets=(--bin data-mover)
  # As for the images: a test among the targets makes cargo choose the features of the tests, and compile nothing twice.
  [ "$1" != dev ] || targets+=(--test scenarios)
  claim_target
  say "compiling the data mover"
  (cd "$PROJECT_DIR" && cargo build --quiet --locked --profile "$1" --workspace "${targets[@]}")
}

main() {
  local program=run.py profile=release
  # The guard runs among the tests, so it takes what they have compiled; the data path is optimised there too.
  if [ "${1:-}" = --quick ]; then
    shift
    program=quick.py profile=dev
  elif [ "${1:-}" = --extremes ]; then
    shift
    program=extremes.py
    # In a container's limit, so as in the container.
    export "${MOVER_ENVIRONMENT?}"
    set -- --work "${ORLOP_BENCH:-$CACHE_DIR/bench}" "$@"
  else
    set -- --work "${ORLOP_BENCH:-$CACHE_DIR/bench}" "$@"
  fi
  profile=${ORLOP_PROFILE:-$profile}
  install_packages python3 diff:diffutils find:findutils
  "$CLUSTER_DIR/tools.sh" restic versitygw
  compile "$profile"
  export ORLOP_TOOLS=$TOOLS_DIR PYTHONDONTWRITEBYTECODE=1
  exec python3 "$BENCH_DIR/$program" --ours "$CARGO_TARGET_DIR/${profile/#dev/debug}/data-mover" "$@"
}

main "$@"
