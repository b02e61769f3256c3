# Two commands do everything: `make demo` and `make test`. The rest are their parts.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Rust's own installer puts cargo here; a fresh shell may not have it on its path yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)
export CARGO_TERM_COLOR ?= auto

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: ## back up, destroy and restore a workload on a real cluster (KEEP=1 leaves it running; KUBECONFIG= uses yours)
	@e2e/demo/demo.sh

test: ## format, lints, unit and integration tests, then every scenario on a real cluster
	@e2e/test.sh

toolchain: ## install what this machine lacks: Rust, a C compiler, the cluster's tools
	@e2e/toolchain.sh

fmt: ## format the sources
	@cargo fmt --all

lint: toolchain ## format check, clippy with warnings denied, workspace layout, generated files
	@e2e/lint.sh

unit: toolchain ## unit and integration tests without a cluster
	@e2e/unit.sh

bench: toolchain ## measure the data mover beside stock restic: an hour or two; writes docs/benchmarks.md (BENCH=options of bench/run.py)
	@bench/bench.sh $(BENCH)

bench-quick: toolchain ## the same on a little data, as a guard: fails where the mover is slower beside restic than it may be
	@bench/bench.sh --quick

bench-cluster: toolchain ## measure sessions on a cluster beside stock restic on the host; needs root (BENCH=options of bench/cluster.py, KEEP=1)
	@bench/cluster.sh $(BENCH)

crash-million: ## a million crash points instead of the ten thousand of `make test`
	@e2e/nightly.sh crash-million

nightly: ## crash points, kills, mixed runs, bit flips, faulty stores, extremes and fuzzing in numbers that take hours; needs root and 60 GiB
	@e2e/nightly.sh

generate: ## write the CRDs into the chart
	@cargo xtask generate

deny: ## licences, bans and sources of every dependency
	@cargo deny check bans licenses sources

cluster: ## bring up the two-node cluster and its S3 server
	@e2e/cluster/up.sh

cluster-down: ## take it down again
	@e2e/cluster/down.sh

images: cluster ## build Orlop's images and load them on both nodes
	@e2e/cluster/images.sh --load

push: toolchain ## build optimised images and push them (IMAGE_REGISTRY=host/path IMAGE_TAG=version)
	@ORLOP_PROFILE=release e2e/cluster/push.sh

install: images ## install the chart on the cluster
	@e2e/cluster/install.sh

e2e: ## the scenarios on the cluster (SCENARIO=name runs those that match)
	@e2e/scenarios.sh

.PHONY: help demo test toolchain fmt lint unit bench bench-quick bench-cluster crash-million nightly generate deny cluster cluster-down images push install e2e
