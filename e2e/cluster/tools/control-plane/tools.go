//go:build tools

// Package tools pins the Go programs the end-to-end cluster is made of, containerd excepted: it needs an
// older CRI API than Kubernetes does, so it has a module of its own.
package tools

import (
	_ "github.com/coredns/coredns"
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/versity/versitygw/cmd/versitygw"
	_ "go.etcd.io/etcd/server/v3"
	_ "helm.sh/helm/v3/cmd/helm"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
