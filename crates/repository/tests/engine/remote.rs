//! The engine on a real object store, with stock restic on the same bucket.

use std::sync::Arc;
use std::time::Duration;

use repository::maintenance::{CheckOptions, PruneOptions, ReadData};
use repository::{Control, Error, InitOptions, LockMode, LockRequest, Repository};
use storage::testsuite::{Versitygw, keys};

use crate::support::{
    Files, Restic, backup, exclusive, identity, noise, open, password, read_everything, repository, shared, text,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_in_a_bucket_lives_its_whole_life() {
    let directory = tempfile::tempdir().unwrap();
    let Some(gateway) = Versitygw::start(directory.path()) else { return };
    gateway.make_bucket("backups");
    let config = gateway.server.config("backups");
    let (id, secret) = keys(&config).unwrap();
    let environment =
        [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret)].map(|(name, value)| (name.to_owned(), value));
    let address = format!("s3:{}/backups/tenant/repository", gateway.server.endpoint());
    let Some(restic) = Restic::on(address, environment.to_vec()) else { return };
    let store = storage::open(&config.with_prefix("tenant/repository").unwrap()).unwrap();

    let made = repository(&store).await;
    let again = Repository::init(Arc::clone(&store), &password(), &InitOptions::default(), &Control::default()).await;
    assert!(matches!(again, Err(Error::RepositoryExists { .. })));

    let (old, new) = (
        Files::from([("dir/old".to_owned(), noise(1, 9_000_000)), ("dir/both".to_owned(), text(2, 600_000))]),
        Files::from([("dir/new".to_owned(), noise(3, 700_000)), ("dir/both".to_owned(), text(2, 600_000))]),
    );
    let guard = shared(&made).await;
    let first = backup(&made, &guard, &old, "old").await.unwrap();
    backup(&made, &guard, &new, "new").await.unwrap();
    guard.release().await.unwrap();
    restic.ok(&["check", "--read-data"]);
    let source = directory.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), noise(4, 300_000)).unwrap();
    restic.ok(&["backup", "--tag", "restic", source.to_str().unwrap()]);

    let repository = open(&store).await;
    let control = Control::default();
    let guard = exclusive(&repository).await;
    let refused = repository.lock(LockRequest::new(LockMode::Shared, identity("late")), &control).await;
    assert!(matches!(refused, Err(Error::Locked { .. })));
    let handle = guard.handle();
    repository.forget(&handle, &[first], &control).await.unwrap();
    let options = PruneOptions { max_unused: 0.0, unindexed_age: Duration::ZERO, ..PruneOptions::default() };
    let plan = repository.plan_prune(&handle, &options, &control).await.unwrap();
    let report = repository.prune(&handle, plan, &control).await.unwrap();
    assert!(report.bytes_removed > 9_000_000, "{report:?}");
    let report = repository.check(&handle, CheckOptions { read: ReadData::All }, &control).await.unwrap();
    assert_eq!((report.errors, report.unindexed_packs), (vec![], vec![]));
    guard.release().await.unwrap();
    restic.ok(&["check", "--read-data"]);
    let all = read_everything(&repository).await.unwrap();
    assert_eq!(all["new"], new);
    assert!(all["restic"].values().any(|content| *content == noise(4, 300_000)));
}
