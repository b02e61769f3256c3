//! The conformance suite on every store that can be had without an account: memory, a directory, and two S3 servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::TryStreamExt;
use object_store::ObjectStore;
use storage::testsuite::{Moto, Versitygw, conformance};
use storage::{Backend, BackendConfig, CreateIfAbsent, LocalConfig, open, probe};

#[tokio::test]
async fn memory() {
    conformance::run(&storage::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local() {
    let root = tempfile::tempdir().unwrap();
    let config = BackendConfig::new(Backend::Local(LocalConfig { root: root.path().into() }));
    conformance::run(&open(&config).unwrap()).await;
    conformance::run(&open(&config.with_prefix("deeper/than that").unwrap()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw() {
    let root = tempfile::tempdir().unwrap();
    let Some(gateway) = Versitygw::start(root.path()) else { return };
    gateway.make_bucket("conformance");
    let config = gateway.server.config("conformance").with_prefix("some/prefix").unwrap();
    conformance::run(&open(&config).unwrap()).await;
    let report = probe(&config).await;
    assert!(report.usable(), "{report:?}");
    assert_eq!(report.create_if_absent, CreateIfAbsent::Honoured);
    for _ in 0..2 {
        storage::put_folder_marker(&config, "demo/repo é/snapshots/").await.unwrap();
    }
    let marker = root.path().join("data/conformance/some/prefix/demo/repo é/snapshots");
    assert!(marker.is_dir(), "the gateway keeps a key with a trailing slash as a directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn moto() {
    let Some(moto) = Moto::start() else { return };
    moto.make_bucket("conformance");
    let config = moto.server.config("conformance").with_prefix("some/prefix").unwrap();
    conformance::run(&open(&config).unwrap()).await;
    let report = probe(&config).await;
    assert!(report.usable(), "{report:?}");
    storage::put_folder_marker(&config, "demo/snapshots/").await.unwrap();
    let bare = moto.server.config("conformance");
    let listed: Vec<_> = open(&bare).unwrap().list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, ["some/prefix/demo/snapshots"]);
}
