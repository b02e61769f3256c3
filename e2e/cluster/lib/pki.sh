# The cluster's certificate authority, and one certificate and kubeconfig per component.
# shellcheck shell=bash

PKI_DIR=$STATE_DIR/pki

make_authority() {
  mkdir -p "$PKI_DIR"
  [ -e "$PKI_DIR/ca.crt" ] && return
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=orlop-e2e-authority -keyout "$PKI_DIR/ca.key" -out "$PKI_DIR/ca.crt" 2>/dev/null
  # Signs ServiceAccount tokens; tests use it to mint an expired one, since the API server's shortest life is ten minutes.
  openssl genrsa -out "$PKI_DIR/service-account.key" 2048 2>/dev/null
  openssl rsa -in "$PKI_DIR/service-account.key" -pubout -out "$PKI_DIR/service-account.pub" 2>/dev/null
}

issue_certificate() { # name subject alternative-names
  local base=$PKI_DIR/$1
  [ -e "$base.crt" ] && return
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$base.key" -out "$base.csr" 2>/dev/null
  openssl x509 -req -in "$base.csr" -CA "$PKI_DIR/ca.crt" -CAkey "$PKI_DIR/ca.key" -CAcreateserial -days 3650 -out "$base.crt" 2>/dev/null \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth,serverAuth\n' "${3:-DNS:$1}")
}

write_kubeconfig() { # certificate file
  cat >"$2" <<YAML
apiVersion: v1
kind: Config
current-context: orlop-e2e
contexts: [{name: orlop-e2e, context: {cluster: orlop-e2e, user: $1}}]
clusters:
- name: orlop-e2e
  cluster: {server: "$API_ADDRESS", certificate-authority-data: $(base64 -w0 "$PKI_DIR/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$PKI_DIR/$1.crt"), client-key-data: $(base64 -w0 "$PKI_DIR/$1.key")}
YAML
  chmod 600 "$2"
}

make_pki() {
  local node
  make_authority
  issue_certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:10.96.0.1,IP:${NODE_ADDRESS[node1]}"
  issue_certificate admin /O=system:masters/CN=admin
  issue_certificate controller-manager /CN=system:kube-controller-manager
  issue_certificate scheduler /CN=system:kube-scheduler
  issue_certificate proxy /CN=system:kube-proxy
  issue_certificate front-proxy /CN=front-proxy-client
  write_kubeconfig admin "$ADMIN_KUBECONFIG"
  local component
  for component in controller-manager scheduler proxy; do write_kubeconfig $component "$PKI_DIR/$component.kubeconfig"; done
  for node in "${NODE_NAMES[@]}"; do
    issue_certificate "kubelet-$node" "/O=system:nodes/CN=system:node:$node" "DNS:$node,IP:${NODE_ADDRESS[$node]}"
    write_kubeconfig "kubelet-$node" "$PKI_DIR/kubelet-$node.kubeconfig"
  done
}
