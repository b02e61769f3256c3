# Where the demo runs: on a cluster of its own, or on the one KUBECONFIG names.
# shellcheck shell=bash

OWN_CLUSTER=
WORKBENCH_IMAGE=orlop.local/workbench:e2e

choose_place() {
  if [ -n "${KUBECONFIG:-}" ]; then
    [ -r "$KUBECONFIG" ] || die "KUBECONFIG names $KUBECONFIG, which cannot be read"
    export KUBECONFIG
    [ "$KUBECONFIG" != "$ADMIN_KUBECONFIG" ] || OWN_CLUSTER=1
  else
    require_root
    OWN_CLUSTER=1
    export KUBECONFIG=$ADMIN_KUBECONFIG
  fi
}

prepare_place() {
  "$PROJECT_DIR/e2e/toolchain.sh"
  export PATH=$HOME/.cargo/bin:$PATH
  if [ -n "$OWN_CLUSTER" ]; then
    [ -e "$STATE_DIR/complete" ] && CLUSTER_WAS_UP=1
    "$CLUSTER_DIR/up.sh"
  else
    "$CLUSTER_DIR/tools.sh"
    check_foreign_cluster
  fi
  clear_earlier_demo
}

check_foreign_cluster() {
  kubectl --request-timeout=10s version >/dev/null || die "the cluster of $KUBECONFIG does not answer"
  [ -n "${IMAGE_REGISTRY:-}" ] || die "set IMAGE_REGISTRY=host/path to a registry that this cluster pulls from and you may push to"
  command -v skopeo >/dev/null || die "pushing images needs skopeo: install it, then run this again"
  kubectl get storageclass -o json | jq -e '[.items[].metadata.annotations["storageclass.kubernetes.io/is-default-class"]] | index("true")' >/dev/null ||
    die "the cluster has no default StorageClass, so the demo's volumes cannot be made"
}

clear_earlier_demo() {
  local namespaces
  namespaces=$(kubectl get namespace demo demo-recovery demo-storage --ignore-not-found -o name)
  [ -z "$namespaces" ] || kubectl delete $namespaces --wait --timeout=120s >/dev/null
  kubectl delete persistentvolume -l orlop.dev/demo=yes --ignore-not-found >/dev/null
}

start_s3() {
  if [ -n "$OWN_CLUSTER" ]; then
    source "$CLUSTER_DIR/lib/object-store.sh"
    S3_USER=$S3_ACCESS_KEY S3_PASSWORD=$(cat "$S3_SECRET_FILE")
    rm -rf "$STATE_DIR/s3/data/$BUCKET"
  else
    publish_images
    start_s3_pod
  fi
  start_bench
  # The key comes from the pod's environment: an exec's arguments stand in the audit log.
  in_bench bash -c 'curl -fsS --aws-sigv4 aws:amz:us-east-1:s3 --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" -X PUT "$1"' bucket "$S3_ENDPOINT/$BUCKET" >/dev/null || die "bucket $BUCKET could not be made at $S3_ENDPOINT"
  fact "endpoint" "$S3_ENDPOINT, bucket $BUCKET"
}

publish_images() {
  ORLOP_REGISTRY=$IMAGE_REGISTRY ORLOP_TAG=demo "$CLUSTER_DIR/images.sh"
  local image
  for image in orlop-control-plane orlop-data-mover; do skopeo copy --quiet "oci-archive:$CACHE_DIR/images/$image.tar" "docker://$IMAGE_REGISTRY/$image:demo"; done
  skopeo copy --quiet "oci-archive:$CACHE_DIR/images/workbench.tar" "docker://$IMAGE_REGISTRY/workbench:e2e"
  WORKBENCH_IMAGE=$IMAGE_REGISTRY/workbench:e2e
}

start_s3_pod() {
  kubectl create namespace demo-storage --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl -n demo-storage create secret generic s3-server --from-literal=ROOT_ACCESS_KEY="$S3_USER" --from-literal=ROOT_SECRET_KEY="$S3_PASSWORD" >/dev/null
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: s3, namespace: demo-storage, labels: {app: s3}}
spec:
  containers:
  - name: s3
    image: $WORKBENCH_IMAGE
    command: [/usr/bin/versitygw, --port, ":$S3_PORT", --keep-alive, --quiet, posix, --nometa, /data]
    envFrom: [{secretRef: {name: s3-server}}]
    volumeMounts: [{name: data, mountPath: /data}]
    readinessProbe: {tcpSocket: {port: $S3_PORT}, periodSeconds: 1}
  volumes: [{name: data, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: s3, namespace: demo-storage}
spec:
  selector: {app: s3}
  ports: [{port: $S3_PORT}]
YAML
  kubectl -n demo-storage wait pod/s3 --for=condition=Ready --timeout=120s >/dev/null
  S3_ENDPOINT=http://s3.demo-storage.svc:$S3_PORT
}

# A pod with stock restic and GNU tools; it reaches the store exactly as a mover would.
start_bench() {
  [ -z "$OWN_CLUSTER" ] || "$CLUSTER_DIR/images.sh" --load
  kubectl create namespace demo-storage --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl -n demo-storage create secret generic bench --from-literal=AWS_ACCESS_KEY_ID="$S3_USER" --from-literal=AWS_SECRET_ACCESS_KEY="$S3_PASSWORD" --from-literal=RESTIC_PASSWORD="$REPOSITORY_PASSWORD" >/dev/null
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: bench, namespace: demo-storage}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: bench
    image: $WORKBENCH_IMAGE
    command: [/usr/bin/sleep, infinity]
    envFrom: [{secretRef: {name: bench}}]
    env: [{name: HOME, value: /tmp}]
YAML
  kubectl -n demo-storage wait pod/bench --for=condition=Ready --timeout=120s >/dev/null
}

in_bench() { kubectl -n demo-storage exec bench -- "$@"; }

install_orlop() {
  if [ -n "$OWN_CLUSTER" ]; then
    "$CLUSTER_DIR/install.sh"
  else
    ORLOP_REGISTRY=$IMAGE_REGISTRY ORLOP_TAG=demo "$CLUSTER_DIR/install.sh"
  fi
  kubectl -n orlop-system get deployments --no-headers | while read -r name ready _; do fact "$name" "$ready ready"; done
}

# The demo's own cluster has no provisioner, so each claim gets a volume made for it; elsewhere the default class serves.
provide_volume() { # namespace claim
  [ -n "$OWN_CLUSTER" ] || return 0
  local folder=$STATE_DIR/volumes/$1-$2
  rm -rf "$folder"
  mkdir -p "$folder"
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: demo-$1-$2, labels: {orlop.dev/demo: "yes"}}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: $1, name: $2}
  local: {path: $folder}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node2]}]}]}}
YAML
}

leave_place() {
  if [ -n "${KEEP:-}" ]; then
    cat <<TEXT

Everything is still there (KEEP=1). To look around:
  export KUBECONFIG=$KUBECONFIG PATH=$TOOLS_DIR:\$PATH
  kubectl -n demo get backupconfigurations,backupsessions,snapshots,restoresessions
  kubectl -n demo-storage exec bench -- restic --no-cache --repo s3:${S3_ENDPOINT:-}/$BUCKET/demo/notes/repository/v1/every-minute/dump ls latest
To take it down: ${OWN_CLUSTER:+make cluster-down}${OWN_CLUSTER:-helm -n orlop-system uninstall orlop; kubectl delete namespace demo demo-recovery demo-storage orlop-system}
TEXT
    return
  fi
  if [ -z "$OWN_CLUSTER" ]; then
    clear_earlier_demo >/dev/null 2>&1 || true
    helm -n orlop-system uninstall orlop >/dev/null 2>&1 || true
  elif [ -z "${CLUSTER_WAS_UP:-}" ]; then
    "$CLUSTER_DIR/down.sh"
  fi
}
