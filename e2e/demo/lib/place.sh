# Where the demo runs: on a cluster of its own, or on the one KUBECONFIG names.
# shellcheck shell=bash

OWN_CLUSTER=
# Whether the demo found the place free, so that it may clear it at its end.
PLACE_IS_TAKEN=
WORKBENCH_IMAGE=orlop.local/workbench:e2e
# On somebody else's cluster, where nodes keep what they have pulled: a tag of its own for every run.
DEMO_TAG=demo-$(date -u +%Y%m%d%H%M%S)
DEMO_NAMESPACES=(demo demo-recovery demo-storage)

choose_place() {
  if [ -n "${KUBECONFIG:-}" ]; then
    export IMAGE_REGISTRY=${IMAGE_REGISTRY:-}
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
    compile_aside
    "$CLUSTER_DIR/up.sh"
  else
    check_foreign_cluster
  fi
  clear_earlier_demo
  PLACE_IS_TAKEN=1
}

# On a new machine the cluster's tools are compiled too, and each of the two leaves a core unused now and then. Whoever makes
# the images waits for what is not done yet, and says what cannot be compiled.
compile_aside() {
  nice "$CLUSTER_DIR/images.sh" --compile >/dev/null 2>&1 &
  COMPILATION=$!
}

check_foreign_cluster() {
  [ -n "${IMAGE_REGISTRY:-}" ] || die "set IMAGE_REGISTRY=host/path to a registry that this cluster pulls from and you may push to"
  install_packages "${CLIENT_PACKAGES[@]}"
  "$CLUSTER_DIR/tools.sh" kubectl helm versitygw restic
  kubectl --request-timeout=10s version >/dev/null || die "the cluster of $KUBECONFIG does not answer"
  kubectl get storageclass -o json | jq -e '[.items[].metadata.annotations["storageclass.kubernetes.io/is-default-class"]] | index("true")' >/dev/null ||
    die "the cluster has no default StorageClass, so the demo's volumes cannot be made"
  local tag
  tag=$( (helm -n orlop-system get values orlop -o json 2>/dev/null || true) | jq -r '.image.tag // "none"')
  case $tag in
    "" | demo-*) ;;
    *) die "Orlop is installed on this cluster already and the demo would replace it: use another cluster" ;;
  esac
}

# On somebody else's cluster a namespace may have the same name and be no demo's: only what bears the label is deleted.
clear_earlier_demo() {
  local namespace found=()
  for namespace in "${DEMO_NAMESPACES[@]}"; do
    case $(kubectl get namespace "$namespace" --ignore-not-found -o jsonpath='{.metadata.name}/{.metadata.labels.orlop\.dev/demo}') in
      */yes) found+=("$namespace") ;;
      "$namespace/") die "namespace $namespace exists and is no earlier demo's: use another cluster, or rename it" ;;
    esac
  done
  [ ${#found[@]} = 0 ] || kubectl delete namespace "${found[@]}" --wait --timeout=120s >/dev/null
  kubectl delete persistentvolume -l orlop.dev/demo=yes --ignore-not-found >/dev/null
}

start_s3() {
  apply 10-namespaces.yaml
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
  IMAGE_TAG=$DEMO_TAG "$CLUSTER_DIR/push.sh" --with-workbench
  WORKBENCH_IMAGE=$IMAGE_REGISTRY/workbench:e2e
}

start_s3_pod() {
  kubectl -n demo-storage create secret generic s3-server --from-literal=ROOT_ACCESS_KEY="$S3_USER" --from-literal=ROOT_SECRET_KEY="$S3_PASSWORD" >/dev/null
  kubectl apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: s3, namespace: demo-storage, labels: {app: s3}}
spec:
  containers:
  - name: s3
    image: $WORKBENCH_IMAGE
    # Attributes of objects beside them, because not every volume of a node takes extended attributes.
    command: [/bin/sh, -c, "mkdir -p /data/objects /data/attributes && exec versitygw --port :$S3_PORT --keep-alive --quiet posix --sidecar /data/attributes /data/objects"]
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
    ORLOP_REGISTRY=$IMAGE_REGISTRY ORLOP_TAG=$DEMO_TAG "$CLUSTER_DIR/install.sh"
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
    local take_down="make cluster-down"
    [ -n "$OWN_CLUSTER" ] || take_down="helm -n orlop-system uninstall orlop; kubectl delete namespace ${DEMO_NAMESPACES[*]} orlop-system"
    cat <<TEXT

Everything is still there (KEEP=1). To look around:
  export KUBECONFIG=$KUBECONFIG PATH=$TOOLS_DIR:\$PATH
  kubectl -n demo get backupconfigurations,backupsessions,snapshots,restoresessions
  kubectl -n demo-storage exec bench -- restic --no-cache --repo s3:${S3_ENDPOINT:-}/$BUCKET/demo/notes/repository/v1/every-minute/dump ls latest
To take it down: $take_down
TEXT
    return
  fi
  if [ -n "$OWN_CLUSTER" ]; then
    [ -n "${CLUSTER_WAS_UP:-}" ] || "$CLUSTER_DIR/down.sh"
  elif [ -n "$PLACE_IS_TAKEN" ]; then
    clear_earlier_demo >/dev/null 2>&1 || true
    helm -n orlop-system uninstall orlop >/dev/null 2>&1 || true
  fi
}
