# etcd, the API server and the two controllers, in the first node's network namespace.
# shellcheck shell=bash

start_etcd() {
  background etcd node1 etcd --name e2e --data-dir "$STATE_DIR/etcd" \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster e2e=http://127.0.0.1:2380 \
    --unsafe-no-fsync # a test cluster lives for minutes; nothing in it outlasts a crash of the machine
}

start_api_server() {
  # Who did what is kept: a test compares the verbs that were used with those the chart grants, and looks for secrets.
  cat >"$STATE_DIR/audit-policy.yaml" <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
YAML
  background apiserver node1 kube-apiserver \
    --etcd-servers=http://127.0.0.1:2379 --advertise-address="${NODE_ADDRESS[node1]}" --secure-port=6443 \
    --service-cluster-ip-range="$SERVICE_CIDR" --allow-privileged=true \
    --client-ca-file="$PKI_DIR/ca.crt" --tls-cert-file="$PKI_DIR/apiserver.crt" --tls-private-key-file="$PKI_DIR/apiserver.key" \
    --kubelet-client-certificate="$PKI_DIR/admin.crt" --kubelet-client-key="$PKI_DIR/admin.key" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$PKI_DIR/service-account.pub" \
    --service-account-signing-key-file="$PKI_DIR/service-account.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --requestheader-client-ca-file="$PKI_DIR/ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group --requestheader-username-headers=X-Remote-User \
    --proxy-client-cert-file="$PKI_DIR/front-proxy.crt" --proxy-client-key-file="$PKI_DIR/front-proxy.key" \
    --audit-policy-file="$STATE_DIR/audit-policy.yaml" --audit-log-path="$STATE_DIR/log/audit.log"
}

start_controllers() {
  background controller-manager node1 kube-controller-manager --kubeconfig="$PKI_DIR/controller-manager.kubeconfig" \
    --service-account-private-key-file="$PKI_DIR/service-account.key" --root-ca-file="$PKI_DIR/ca.crt" --use-service-account-credentials=true \
    --cluster-signing-cert-file="$PKI_DIR/ca.crt" --cluster-signing-key-file="$PKI_DIR/ca.key" \
    --leader-elect=false --bind-address=127.0.0.1 --node-monitor-grace-period=40s
  background scheduler node1 kube-scheduler --kubeconfig="$PKI_DIR/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
}

start_control_plane() {
  start_etcd
  start_api_server
  await 60 "the API server" kubectl get --raw=/readyz
  start_controllers
}
