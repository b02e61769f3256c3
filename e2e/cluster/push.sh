#!/usr/bin/env bash
# Builds Orlop's images and pushes them to a registry.
# usage: IMAGE_REGISTRY=host/path IMAGE_TAG=tag push.sh [--with-workbench]    ORLOP_PROFILE=release optimises them
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
for part in packages images; do source "$CLUSTER_DIR/lib/$part.sh"; done

push() { # image tag
  skopeo copy --quiet "oci-archive:$IMAGES_DIR/$1.tar" "docker://$IMAGE_REGISTRY/$1:$2" ||
    fail "$1 cannot be pushed to $IMAGE_REGISTRY: see that the registry answers and that 'skopeo login' was done for it"
  say "$IMAGE_REGISTRY/$1:$2"
}

main() {
  [ -n "${IMAGE_REGISTRY:-}" ] && [ -n "${IMAGE_TAG:-}" ] || fail "say where the images go: IMAGE_REGISTRY=host/path IMAGE_TAG=version"
  install_packages "${CLIENT_PACKAGES[@]}"
  local only_orlop=--only-orlop
  [ "${1:-}" != --with-workbench ] || only_orlop=
  ORLOP_REGISTRY=$IMAGE_REGISTRY ORLOP_TAG=$IMAGE_TAG "$CLUSTER_DIR/images.sh" $only_orlop
  push orlop-control-plane "$IMAGE_TAG"
  push orlop-data-mover "$IMAGE_TAG"
  [ -n "$only_orlop" ] || push workbench e2e
}

main "$@"
