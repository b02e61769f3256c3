#!/usr/bin/env bash
# Puts every program of the cluster into the tool cache: official releases where the network reaches them, else built
# from the Go modules pinned under tools/. Safe to run again; does nothing when all is there.
# usage: tools.sh [kubectl|helm|versitygw|restic...]    only these, for who needs no cluster of ours
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"

PINS=$(cat "$CLUSTER_DIR"/versions.env "$CLUSTER_DIR"/tools/*/go.mod "$CLUSTER_DIR/lib/pause.c" | sha256sum | cut -c1-16)
DONE_MARK=$TOOLS_DIR/.complete-$PINS
KUBERNETES_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl)

reachable() { curl -fsS --connect-timeout 3 --max-time 20 -o /dev/null "$1" 2>/dev/null; }

download() { # url file: with one retry, into place only when whole
  curl -fSL --connect-timeout 3 --retry 1 -o "$2.part" "$1" 2>/dev/null && mv "$2.part" "$2"
}

fetch_kubernetes() {
  local base=https://dl.k8s.io/$KUBERNETES_VERSION/bin/linux/$ARCHITECTURE program
  reachable "$base/kubectl.sha256" || return 1
  say "downloading Kubernetes $KUBERNETES_VERSION"
  for program in "${KUBERNETES_PROGRAMS[@]}"; do
    download "$base/$program" "$TOOLS_DIR/$program" || return 1
    echo "$(curl -fsSL --connect-timeout 3 "$base/$program.sha256")  $TOOLS_DIR/$program" | sha256sum --check --quiet || return 1
  done
  chmod +x "${KUBERNETES_PROGRAMS[@]/#/$TOOLS_DIR/}"
}

build_kubernetes() {
  say "building ${KUBERNETES_PROGRAMS[*]} $KUBERNETES_VERSION from their modules (all six take about six minutes on two cores)"
  # A Kubernetes without its version confuses clients that ask for it.
  local version_flags="-X k8s.io/component-base/version.gitVersion=$KUBERNETES_VERSION -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION") -X k8s.io/client-go/pkg/version.gitVersion=$KUBERNETES_VERSION"
  go_install control-plane "$version_flags" "${KUBERNETES_PROGRAMS[@]/#/k8s.io/kubernetes/cmd/}"
}

fetch_archive() { # url program...: unpacks the named programs out of a release archive
  local url=$1 archive unpacked program
  shift
  reachable "$url" || return 1
  say "downloading $(basename "$url")"
  unpacked=$(mktemp -d) archive=$unpacked/archive
  download "$url" "$archive" && tar -xf "$archive" -C "$unpacked" || { rm -rf "$unpacked"; return 1; }
  for program in "$@"; do
    find "$unpacked" -type f -name "$program" -exec install -m755 {} "$TOOLS_DIR/$program" \; -quit
    [ -x "$TOOLS_DIR/$program" ] || { rm -rf "$unpacked"; return 1; }
  done
  rm -rf "$unpacked"
}

go_install() { # module-folder extra-ldflags package...
  local folder=$1 flags=$2
  shift 2
  have_go
  (cd "$CLUSTER_DIR/tools/$folder" && GOBIN=$TOOLS_DIR GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install -trimpath -ldflags "-s -w $flags" "$@")
}

have_go() {
  command -v go >/dev/null || [ ! -x /usr/local/go/bin/go ] || export PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || install_packages golang-go
  command -v go >/dev/null || fail "neither official releases nor a Go toolchain are in reach: install Go 1.26 or newer, then run this again"
}

provide_kubernetes() { have_all "${KUBERNETES_PROGRAMS[@]}" || fetch_kubernetes || build_kubernetes; }

provide_containerd() {
  have_all containerd containerd-shim-runc-v2 ctr ||
    fetch_archive "https://github.com/containerd/containerd/releases/download/v$CONTAINERD_VERSION/containerd-static-$CONTAINERD_VERSION-linux-$ARCHITECTURE.tar.gz" containerd containerd-shim-runc-v2 ctr ||
    { say "building containerd $CONTAINERD_VERSION" && go_install node "" github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}; }
}

provide_etcd() {
  have_all etcd ||
    fetch_archive "https://github.com/etcd-io/etcd/releases/download/$ETCD_VERSION/etcd-$ETCD_VERSION-linux-$ARCHITECTURE.tar.gz" etcd ||
    { say "building etcd $ETCD_VERSION" && go_install control-plane "" go.etcd.io/etcd/server/v3 && mv "$TOOLS_DIR/server" "$TOOLS_DIR/etcd"; }
}

provide_coredns() {
  have_all coredns ||
    fetch_archive "https://github.com/coredns/coredns/releases/download/v$COREDNS_VERSION/coredns_${COREDNS_VERSION}_linux_$ARCHITECTURE.tgz" coredns ||
    { say "building CoreDNS $COREDNS_VERSION" && go_install control-plane "" github.com/coredns/coredns; }
}

provide_versitygw() {
  have_all versitygw || { say "building versitygw $VERSITYGW_VERSION" && go_install control-plane "" github.com/versity/versitygw/cmd/versitygw; }
}

provide_helm() {
  have_all helm ||
    fetch_archive "https://get.helm.sh/helm-$HELM_VERSION-linux-$ARCHITECTURE.tar.gz" helm ||
    { say "building helm $HELM_VERSION" && go_install control-plane "" helm.sh/helm/v3/cmd/helm; }
}

provide_grpcurl() {
  have_all grpcurl || { say "building grpcurl $GRPCURL_VERSION" && go_install control-plane "" github.com/fullstorydev/grpcurl/cmd/grpcurl; }
}

provide_restic() {
  have_all restic && return
  local url=https://github.com/restic/restic/releases/download/v$RESTIC_VERSION/restic_${RESTIC_VERSION}_linux_$ARCHITECTURE.bz2
  if reachable "$url" && download "$url" "$TOOLS_DIR/restic.bz2"; then
    bunzip2 -f "$TOOLS_DIR/restic.bz2" && chmod +x "$TOOLS_DIR/restic"
  else
    from_debian_unstable restic usr/bin/restic "$TOOLS_DIR/restic"
  fi
  say "restic: $("$TOOLS_DIR/restic" version)"
}

provide_prometheus() {
  have_all prometheus promtool ||
    fetch_archive "https://github.com/prometheus/prometheus/releases/download/v$PROMETHEUS_VERSION/prometheus-$PROMETHEUS_VERSION.linux-$ARCHITECTURE.tar.gz" prometheus promtool ||
    { from_debian_unstable prometheus usr/bin/prometheus "$TOOLS_DIR/prometheus" && from_debian_unstable promtool usr/bin/promtool "$TOOLS_DIR/promtool"; }
}

have_all() {
  local program
  for program in "$@"; do [ -x "$TOOLS_DIR/$program" ] || return 1; done
}

# A tool from a release and the same tool built here must not differ in version.
check_pins() {
  local pin
  for pin in "k8s.io/kubernetes $KUBERNETES_VERSION" "github.com/containerd/containerd/v2 v$CONTAINERD_VERSION" "go.etcd.io/etcd/server/v3 $ETCD_VERSION" \
    "github.com/coredns/coredns v$COREDNS_VERSION" "github.com/versity/versitygw $VERSITYGW_VERSION" "helm.sh/helm/v3 $HELM_VERSION" "github.com/fullstorydev/grpcurl $GRPCURL_VERSION"; do
    grep -qF "$pin" "$CLUSTER_DIR"/tools/*/go.mod || fail "versions.env says $pin and no go.mod under $CLUSTER_DIR/tools does: make them agree"
  done
}

provide_only() { # tool...
  local tool
  mkdir -p "$TOOLS_DIR"
  for tool in "$@"; do
    case $tool in
      kubectl) KUBERNETES_PROGRAMS=(kubectl) && provide_kubernetes ;;
      helm | versitygw | restic) "provide_$tool" ;;
      *) fail "$tool is no tool that can be had alone" ;;
    esac
  done
}

main() {
  check_pins
  if [ $# -gt 0 ]; then
    provide_only "$@"
    return
  fi
  if [ -e "$DONE_MARK" ]; then
    install_host_packages
    return
  fi
  # Other pins than last time: nothing of the old set may be mistaken for the new.
  [ -z "${ORLOP_TOOLS:-}" ] && rm -rf "$TOOLS_DIR"
  mkdir -p "$TOOLS_DIR"
  install_host_packages
  provide_kubernetes
  provide_containerd
  provide_etcd
  provide_coredns
  provide_versitygw
  provide_helm
  provide_grpcurl
  provide_restic
  provide_prometheus
  cc -static -Os -o "$TOOLS_DIR/pause" "$CLUSTER_DIR/lib/pause.c"
  touch "$DONE_MARK"
  say "tools are complete in $TOOLS_DIR"
}

main "$@"
