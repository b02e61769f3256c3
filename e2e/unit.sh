#!/usr/bin/env bash
# Unit, conformance, simulation and interoperability tests: everything that needs no cluster.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"
cd "$PROJECT_DIR"
export ORLOP_TOOLS=$TOOLS_DIR
say "unit and integration tests"
cargo test --quiet --locked --workspace
