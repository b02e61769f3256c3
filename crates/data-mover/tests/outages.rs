//! A store that goes away and comes back: before, during and after the upload.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_plane;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use control_plane::{ControlPlane, World, random_bytes};
use data_mover::outcome::Exit;
use proto_api::mover::v1alpha1::Result as TargetResult;
use proto_api::storage::v1alpha1::{Backend, S3Backend, backend};
use storage::testsuite::{Versitygw, keys};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Passes connections on to a server, or refuses them.
#[derive(Clone)]
struct Proxy {
    address: SocketAddr,
    is_up: Arc<AtomicBool>,
    passed: Arc<AtomicU64>,
}

impl Proxy {
    async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy =
            Self { address: listener.local_addr().unwrap(), is_up: Arc::new(AtomicBool::new(true)), passed: Arc::default() };
        let own = proxy.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, proxy) = (server.clone(), own.clone());
                tokio::spawn(async move {
                    if !proxy.is_up.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut server = TcpStream::connect(server).await.unwrap();
                    proxy.passed.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        // Either end may break off; that is what this is for.
                        _ended = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = proxy.down() => {}
                    }
                });
            }
        });
        proxy
    }

    async fn down(&self) {
        while self.is_up.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn set(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }
}

/// A world whose storage is an S3 server behind a proxy; `None` where that server cannot be had.
async fn s3_world() -> Option<(World, Proxy, Versitygw)> {
    let world = World::new().await;
    let gateway = Versitygw::start(&world.folder.path().join("s3"))?;
    gateway.make_bucket("backups");
    let config = gateway.server.config("backups");
    let (id, secret) = keys(&config).unwrap();
    let proxy = Proxy::before(gateway.server.endpoint().trim_start_matches("http://").to_owned()).await;
    let endpoint = format!("http://{}", proxy.address);
    world.grant("dump", |grant| {
        let s3 = S3Backend { endpoint, bucket: "backups".to_owned(), ..S3Backend::default() };
        grant.backend = Backend { provider: Some(backend::Provider::S3(s3)), ..Backend::default() };
        grant.values = vec![("AWS_ACCESS_KEY_ID".to_owned(), id), ("AWS_SECRET_ACCESS_KEY".to_owned(), secret)];
    });
    for number in 0..8 {
        std::fs::write(world.source().join(format!("{number}")), random_bytes(4_000_000, number + 1)).unwrap();
    }
    Some((world, proxy, gateway))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_is_used() {
    let Some((world, proxy, _gateway)) = s3_world().await else { return };
    // Before: the mover finds it away.
    proxy.set(false);
    world.limit_upload(8_000_000);
    let environment = world.control.agent("dump", 1);
    let work = world.backup(&[world.source()]);
    let task = tokio::spawn(data_mover::run::run(work, environment, CancellationToken::new()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!task.is_finished());
    proxy.set(true);
    // During: it goes away with packs on their way.
    world
        .control
        .until("something was uploaded", |state| {
            state.progress.last().is_some_and(|progress| progress.transfer.as_ref().unwrap().bytes_transferred > 0)
        })
        .await;
    proxy.set(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!task.is_finished());
    proxy.set(true);
    assert_eq!(task.await.unwrap(), Exit::Done, "{:?}", world.control.outcome());
    let outcome = world.control.outcome();
    assert_eq!(outcome.targets[0].snapshots[0].files, 8);
    assert!(proxy.passed.load(Ordering::Relaxed) > 0);

    // After: what is there is found again, and comes back.
    let ids = outcome.targets[0].snapshots.iter().map(|made| made.id.clone()).collect();
    let root = world.folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    world.assign(vec![world.restore_target("dump", ids, &root)]);
    let (exit, _) = world.run(world.restore(), 1).await;
    assert_eq!(exit, Exit::Done, "{:?}", world.control.outcome());
    let back = root.join(world.source().strip_prefix("/").unwrap());
    for number in 0..8 {
        assert_eq!(std::fs::read(back.join(format!("{number}"))).unwrap(), random_bytes(4_000_000, number + 1));
    }
}

/// A mover that waits for its store can still be stopped, and says what it was waiting for.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_store_can_be_ended() {
    let Some((world, proxy, _gateway)) = s3_world().await else { return };
    proxy.set(false);
    let environment = world.control.agent("dump", 1);
    let terminated = CancellationToken::new();
    let work = world.backup(&[world.source()]);
    let task = tokio::spawn(data_mover::run::run(work, environment.clone(), terminated.clone()));
    world.control.until("attached", |state| !state.progress.is_empty()).await;
    let before = Instant::now();
    terminated.cancel();
    assert_eq!(task.await.unwrap(), Exit::Retryable);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(ControlPlane::last_words(&environment).targets[0].result(), TargetResult::Retryable);
}

/// Engine §4.9: nor does one that takes connections and never says a word keep a mover longer than 5 s, although nobody
/// acknowledges its outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_store_does_not_keep_a_stopped_mover() {
    let world = World::new().await;
    std::fs::write(world.source().join("f"), "text").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(client);
        }
    });
    world.grant("dump", |grant| {
        let s3 = S3Backend { endpoint, bucket: "backups".to_owned(), ..S3Backend::default() };
        grant.backend = Backend { provider: Some(backend::Provider::S3(s3)), ..Backend::default() };
        grant.values = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), "orlop-test-access".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "orlop-test-secret".to_owned()),
        ];
    });
    let mut environment = world.control.agent("dump", 1);
    environment.patience.hurried_acknowledgement = data_mover::environment::Patience::default().hurried_acknowledgement;
    let terminated = CancellationToken::new();
    let work = world.backup(&[world.source()]);
    let task = tokio::spawn(data_mover::run::run(work, environment.clone(), terminated.clone()));
    world.control.until("the store was asked", |_| connections.load(Ordering::Relaxed) > 0).await;
    world.control.with(|state| state.deaf = true);
    let before = Instant::now();
    terminated.cancel();
    assert_eq!(task.await.unwrap(), Exit::Retryable);
    assert!(before.elapsed() < Duration::from_millis(5200), "{:?}", before.elapsed());
    assert_eq!(ControlPlane::last_words(&environment).targets[0].result(), TargetResult::Retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_store_name_the_bucket() {
    let Some((world, proxy, _gateway)) = s3_world().await else { return };
    let (endpoint, bucket) = (format!("http://{}", proxy.address), "not-there");
    world.grant("dump", |grant| {
        let s3 = S3Backend { endpoint: endpoint.clone(), bucket: bucket.to_owned(), ..S3Backend::default() };
        grant.backend = Backend { provider: Some(backend::Provider::S3(s3)), ..Backend::default() };
        grant.values = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), "orlop-test-access".to_owned()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "orlop-test-secret".to_owned()),
        ];
    });
    let (exit, _) = world.run(world.backup(&[world.source()]), 1).await;
    assert_eq!(exit, Exit::Failed);
    let error = world.control.outcome().targets[0].error.clone();
    for part in ["Repository demo/web", bucket, &endpoint, "NoSuchBucket", "create the bucket"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    world.control.with(|state| state.access.get_mut("dump").unwrap().values[1].1 = "wrong".to_owned());
    let (exit, _) = world.run(world.backup(&[world.source()]), 1).await;
    assert_eq!(exit, Exit::Failed);
    let error = world.control.outcome().targets[0].error.clone();
    assert!(error.contains("InvalidCredentials") && error.contains("Secret"), "{error}");
}
