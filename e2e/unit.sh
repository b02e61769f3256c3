#!/usr/bin/env bash
# Unit, conformance, simulation and interoperability tests: everything that needs no cluster.
source "$(dirname "${BASH_SOURCE[0]}")/cluster/lib/common.sh"
source "$CLUSTER_DIR/lib/packages.sh"
cd "$PROJECT_DIR"
export ORLOP_TOOLS=$TOOLS_DIR

# The version whose S3 the conformance suite of crates/storage was written against.
MOTO_VERSION=5.2.1

provide_moto() { # an S3 modelled on Amazon's
  local environment=$CACHE_DIR/moto-$MOTO_VERSION
  if [ ! -e "$environment/complete" ]; then
    say "installing moto $MOTO_VERSION"
    rm -rf "$environment"
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-ensurepip:python3-venv
    python3 -m venv "$environment" && "$environment/bin/pip" install --quiet --disable-pip-version-check "moto[server]==$MOTO_VERSION" ||
      fail "moto $MOTO_VERSION cannot be installed here: pip needs a package index, or put its moto_server into $environment/bin and touch $environment/complete"
    touch "$environment/complete"
  fi
  export PATH=$environment/bin:$PATH
}

# The S3 servers and stock restic that the conformance and interoperability tests are told against.
"$CLUSTER_DIR/tools.sh" versitygw restic
provide_moto
claim_target
say "unit and integration tests"
# Where the tools are provided, a test that cannot find its own must fail, not pass by.
ORLOP_REQUIRE_TOOLS=1 cargo test --quiet --locked --workspace
