//! The conformance suite on every store that can be had without an account: memory, a directory, and two S3 servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use storage::testsuite::{Moto, Versitygw, conformance};
use storage::{Backend, BackendConfig, CreateIfAbsent, ErrorKind, LocalConfig, open, probe};

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

/// A server whose certificate an authority of one's own signed: refused without `CA_CERT_DATA` and with another authority's,
/// used with the right one, and unverified where the storage says `insecureTLS`.
#[tokio::test(flavor = "multi_thread")]
async fn versitygw_over_tls() {
    let root = tempfile::tempdir().unwrap();
    let authority = authority();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let (certificate_file, key_file) = (root.path().join("tls.crt"), root.path().join("tls.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let Some(gateway) = Versitygw::start_with_tls(root.path(), &certificate_file, &key_file) else { return };
    gateway.make_bucket("tls");
    let plain = gateway.server.config("tls");
    // What is refused is refused at each try.
    let hasty = plain.clone().with_patience(Duration::from_secs(2));
    for untrusting in [hasty.clone(), BackendConfig { ca_bundle_pem: Some(self::authority().pem()), ..hasty }] {
        let report = probe(&untrusting).await;
        let (_, error) = report.first_failure().expect("an unknown authority is not trusted");
        assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
        assert!(error.sentence().contains("CA_CERT_DATA"), "{}", error.sentence());
    }
    conformance::run(&open(&BackendConfig { ca_bundle_pem: Some(authority.pem()), ..plain.clone() }).unwrap()).await;
    let mut unverified = plain;
    let Backend::S3(s3) = &mut unverified.backend else { panic!("versitygw is an S3") };
    s3.insecure_tls = true;
    assert!(probe(&unverified).await.usable());
}

fn authority() -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    rcgen::CertifiedIssuer::self_signed(parameters, rcgen::KeyPair::generate().unwrap()).unwrap()
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
