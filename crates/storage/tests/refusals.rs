//! Bad input ends in an error that names the place, its kind and the remedy, within a bounded time.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use storage::testsuite::Versitygw;
use storage::{Backend, BackendConfig, ErrorKind, LocalConfig, S3Config, S3Credentials, open, probe};

fn s3(endpoint: &str) -> BackendConfig {
    BackendConfig::new(Backend::S3(S3Config {
        endpoint: Some(endpoint.into()),
        region: None,
        bucket: "b".into(),
        insecure_tls: false,
        disable_bulk_delete: false,
        credentials: S3Credentials::Keys {
            access_key_id: "id".into(),
            secret_access_key: "not-to-be-seen".into(),
            session_token: None,
        },
    }))
    .with_patience(Duration::from_secs(2))
}

fn kind_of(report: &storage::ProbeReport) -> ErrorKind {
    report.first_failure().expect("a failure").1.kind()
}

#[tokio::test]
async fn an_unreachable_endpoint_is_named_in_time() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let start = Instant::now();
    let report = probe(&s3(&format!("http://{address}"))).await;
    let (trial, error) = report.first_failure().unwrap();
    assert_eq!((trial, error.kind()), ("list", ErrorKind::Unreachable), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    assert!(error.is_retryable());
    assert!(!format!("{report:?}").contains("not-to-be-seen"));
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A request that nobody answers is killed, and its error names the endpoint.
#[tokio::test]
async fn a_stalled_request_is_killed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let silent = std::thread::spawn(move || listener.incoming().take(4).collect::<Vec<_>>());
    let config = s3(&format!("http://{address}")).with_patience(Duration::from_secs(1));
    let store = open(&config).unwrap();
    let start = Instant::now();
    let read = store.get(&Path::from("config")).await.unwrap_err();
    assert_eq!(ErrorKind::of(&read), ErrorKind::TimedOut, "{read}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(storage::Error::from_store(read, config.describe()).to_string().contains(&address.to_string()));
    drop(silent);
}

#[tokio::test]
async fn plain_text_where_tls_was_expected_is_a_tls_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            use std::io::Write;
            let mut stream = stream;
            let _ignored = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let report = probe(&s3(&format!("https://{address}"))).await;
    assert_eq!(kind_of(&report), ErrorKind::Tls, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_refusals_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let Some(gateway) = Versitygw::start(root.path()) else { return };
    gateway.make_bucket("there");
    let missing = probe(&gateway.server.config("not-there")).await;
    assert_eq!(kind_of(&missing), ErrorKind::NoSuchBucket, "{missing:?}");
    let absent = open(&gateway.server.config("not-there")).unwrap().get(&Path::from("config")).await.unwrap_err();
    assert_eq!(ErrorKind::of(&absent), ErrorKind::NoSuchBucket, "I8: a missing bucket is not a missing object");
    let mut wrong = gateway.server.config("there");
    if let Backend::S3(s3) = &mut wrong.backend {
        s3.credentials = S3Credentials::Keys {
            access_key_id: "orlop-test-access".into(),
            secret_access_key: "wrong".into(),
            session_token: None,
        };
    }
    assert_eq!(kind_of(&probe(&wrong).await), ErrorKind::InvalidCredentials);
}

#[tokio::test]
async fn configurations_that_cannot_be_right_do_not_open() {
    let mut config = s3("http://localhost:1");
    config.ca_bundle_pem = Some("not a certificate".into());
    assert_eq!(open(&config).unwrap_err().kind(), ErrorKind::Configuration);
    let mut config = s3("http://localhost:1");
    config.prefix = "a/../b".into();
    assert_eq!(open(&config).unwrap_err().kind(), ErrorKind::Configuration);
    assert_eq!(open(&s3("http://user:password@localhost:1")).unwrap_err().kind(), ErrorKind::Configuration);
}

/// I8: a root that is not mounted is not an empty store.
#[tokio::test]
async fn a_missing_root_is_no_empty_store() {
    let root = tempfile::tempdir().unwrap();
    let config = BackendConfig::new(Backend::Local(LocalConfig { root: root.path().join("unmounted") }));
    let report = probe(&config).await;
    assert_eq!(kind_of(&report), ErrorKind::NoSuchBucket, "{report:?}");
}

/// Architecture §4.10 for stores: neither a planted link nor a temporary file is an object, and no key leaves the root.
#[tokio::test]
async fn nothing_leaves_a_local_root() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("file")).unwrap();
    let config = BackendConfig::new(Backend::Local(LocalConfig { root: root.path().into() }));
    let store = open(&config).unwrap();
    store.get(&Path::from("link/secret")).await.unwrap_err();
    store.get(&Path::from("file")).await.unwrap_err();
    store.put(&Path::from("link/planted"), "x".into()).await.unwrap_err();
    store.put_opts(&Path::from("link/planted"), "x".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(!outside.path().join("planted").exists());
    let hostile: Path = ["a", "b"].into_iter().collect();
    store.put(&hostile, "x".into()).await.unwrap();
    let names: Vec<_> = std::fs::read_dir(root.path().join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["b"], "no temporary file stays");
}

#[tokio::test]
async fn a_full_store_is_told_as_full() {
    // /dev/full answers every write as a full disk does; a root on a full tmpfs would need privileges.
    let error = std::io::Error::from_raw_os_error(28);
    let error = object_store::Error::Generic { store: "local", source: Box::new(error) };
    let error = storage::Error::from_store(error, "directory \"/backups\"");
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.sentence().contains("free space"), "{}", error.sentence());
}
