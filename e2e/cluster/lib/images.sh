# The images of the cluster itself. Orlop's own are made by images.sh at the top.
# shellcheck shell=bash

IMAGES_DIR=$CACHE_DIR/images
BUSYBOX_COMMANDS=(sh ls cat echo sleep mkdir rmdir date md5sum sha256sum dd touch find stat wc id ps env nc tail head seq rm ln chmod chown cp mv sync true false test wget du df sort grep kill)

build_base_images() {
  local links=() command
  mkdir -p "$IMAGES_DIR"
  [ -e "$IMAGES_DIR/pause.tar" ] || python3 "$CLUSTER_DIR/image.py" "$IMAGES_DIR/pause.tar" "$PAUSE_IMAGE" --entrypoint /pause "$TOOLS_DIR/pause=/pause:755" --architecture "$ARCHITECTURE"
  [ -e "$IMAGES_DIR/coredns.tar" ] || python3 "$CLUSTER_DIR/image.py" "$IMAGES_DIR/coredns.tar" orlop.local/coredns:e2e --entrypoint /coredns "$TOOLS_DIR/coredns=/coredns:755" --architecture "$ARCHITECTURE"
  for command in "${BUSYBOX_COMMANDS[@]}"; do links+=("/bin/$command@/bin/busybox"); done
  [ -e "$IMAGES_DIR/busybox.tar" ] || python3 "$CLUSTER_DIR/image.py" "$IMAGES_DIR/busybox.tar" orlop.local/busybox:e2e --command /bin/sh "$(command -v busybox)=/bin/busybox:755" "${links[@]}" --architecture "$ARCHITECTURE"
}
