#!/usr/bin/env bash
# Builds Orlop's two images and the workbench image of the tests, without a container engine.
# usage: images.sh [--load | --only-orlop | --compile]    --load also imports them on both nodes of the running cluster;
#        --compile only compiles, for who has something else to do meanwhile
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
for part in packages node images; do source "$CLUSTER_DIR/lib/$part.sh"; done

ORLOP_TAG=${ORLOP_TAG:-e2e}
ORLOP_REGISTRY=${ORLOP_REGISTRY:-orlop.local}
SERVICES=(storage-initializer scheduler session-controller)
# The profile of the tests, so that one compilation serves both; `release` optimises and takes its time.
PROFILE=${ORLOP_PROFILE:-dev}
BUILD_DIR=$CARGO_TARGET_DIR/${PROFILE/#dev/debug}
STAGING_DIR=$IMAGES_DIR/staging

# Everything a dynamically linked program opens before main, at the paths where it looks for it.
libraries_of() { ldd "$@" 2>/dev/null | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | sed 's/.*/&=&/'; }

# What glibc and TLS expect in a root file system that has no distribution in it.
write_etc() {
  mkdir -p "$STAGING_DIR/etc"
  printf 'root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\norlop:x:65532:65532:orlop:/:/bin/false\n' >"$STAGING_DIR/etc/passwd"
  printf 'root:x:0:\nnobody:x:65534:\norlop:x:65532:\n' >"$STAGING_DIR/etc/group"
  echo 'hosts: files dns' >"$STAGING_DIR/etc/nsswitch.conf"
  ETC_FILES=("$STAGING_DIR/etc/passwd=/etc/passwd:644" "$STAGING_DIR/etc/group=/etc/group:644" "$STAGING_DIR/etc/nsswitch.conf=/etc/nsswitch.conf:644")
  [ -e /etc/ssl/certs/ca-certificates.crt ] && ETC_FILES+=("/etc/ssl/certs/ca-certificates.crt=/etc/ssl/certs/ca-certificates.crt:644") || true
}

stripped() { # program: a copy without debug information, which doubles the image and helps nobody inside it
  strip --strip-debug -o "$STAGING_DIR/$(basename "$1")" "$1"
  echo "$STAGING_DIR/$(basename "$1")"
}

compile() {
  local targets=(--bins)
  # A test among the targets makes cargo choose the features that the tests are built with, so that no dependency is
  # compiled twice; the unit tests themselves, half of all compiling, are left to those who run them.
  [ "$PROFILE" != dev ] || targets+=(--test scenarios)
  claim_target
  cd "$PROJECT_DIR"
  exec cargo build --quiet --locked --profile "$PROFILE" --workspace "${targets[@]}"
}

build_orlop_images() {
  local program files=()
  say "compiling Orlop"
  # ORLOP_PREBUILT=1 takes the programs as they are, for who has just compiled them some other way.
  [ -n "${ORLOP_PREBUILT:-}" ] || (compile)
  for program in "${SERVICES[@]}"; do files+=("$(stripped "$BUILD_DIR/$program")=/usr/bin/$program:755"); done
  mapfile -t libraries < <(libraries_of "${SERVICES[@]/#/$BUILD_DIR/}")
  python3 "$CLUSTER_DIR/image.py" "$IMAGES_DIR/orlop-control-plane.tar" "$ORLOP_REGISTRY/orlop-control-plane:$ORLOP_TAG" --user 65532:65532 --architecture "$ARCHITECTURE" "${files[@]}" "${libraries[@]}" "${ETC_FILES[@]}"
  mapfile -t libraries < <(libraries_of "$BUILD_DIR/data-mover")
  python3 "$CLUSTER_DIR/image.py" "$IMAGES_DIR/orlop-data-mover.tar" "$ORLOP_REGISTRY/orlop-data-mover:$ORLOP_TAG" --user 65532:65532 --entrypoint /usr/bin/data-mover --env "$MOVER_ENVIRONMENT" --architecture "$ARCHITECTURE" "$(stripped "$BUILD_DIR/data-mover")=/usr/bin/data-mover:755" "${libraries[@]}" "${ETC_FILES[@]}"
}

# GNU tools and stock restic in one image: data is made, compared and checked by programs that are not ours.
WORKBENCH_TOOLS=(bash cat chmod chown cp cut dd du echo env find getfattr grep head id install ln ls mkdir mkfifo mknod mktemp mv printf rm sed seq setfattr sha256sum sleep sort stat sync tail tar touch tr true truncate wc xargs curl)
build_workbench_image() {
  local tool path files=()
  [ -e "$IMAGES_DIR/workbench.tar" ] && return
  for tool in "${WORKBENCH_TOOLS[@]}"; do
    path=$(readlink -f "$(type -P "$tool")")
    files+=("$path=/usr/bin/$tool:755")
  done
  mapfile -t libraries < <(for tool in "${WORKBENCH_TOOLS[@]}"; do libraries_of "$(type -P "$tool")"; done | sort -u)
  python3 "$CLUSTER_DIR/image.py" "$IMAGES_DIR/workbench.tar" orlop.local/workbench:e2e --command /usr/bin/bash --architecture "$ARCHITECTURE" "${files[@]}" "$TOOLS_DIR/restic=/usr/bin/restic:755" "$TOOLS_DIR/versitygw=/usr/bin/versitygw:755" "/bin/sh@/usr/bin/bash" "/bin/bash@/usr/bin/bash" "${libraries[@]}" "${ETC_FILES[@]}"
}

main() {
  [ "${1:-}" != --compile ] || compile
  mkdir -p "$STAGING_DIR"
  write_etc
  build_orlop_images
  [ "${1:-}" = --only-orlop ] || build_workbench_image
  rm -rf "$STAGING_DIR"
  [ "${1:-}" = --load ] || return 0
  local node image
  for node in "${NODE_NAMES[@]}"; do
    for image in orlop-control-plane orlop-data-mover workbench; do import_image "$node" "$IMAGES_DIR/$image.tar" & done
  done
  wait
  say "images are on both nodes"
}

main "$@"
