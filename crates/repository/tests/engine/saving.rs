//! Saving and reading blobs, keys, initialisation.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use repository::crypto::ScryptCost;
use repository::maintenance::{CheckOptions, ReadData};
use repository::{BlobSaver, BlobType, Control, CreateMode, Error, Id, InitOptions, OpenOptions, Repository, SaverOptions};
use secrecy::SecretString;
use storage::layers::fault::{Effect, FaultStore, Faults, Operation};
use tokio_util::sync::CancellationToken;

use crate::support::{
    Files, IgnoringStore, LyingStore, backup, noise, open, password, read_everything, repository, shared, text,
};

/// One blob from many threads is stored once; what is not compressible is stored as it is; all of it reads back.
#[tokio::test(flavor = "multi_thread")]
async fn many_threads_store_each_blob_once() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let lock = shared(&repository).await;
    let control = Control::default();
    let saver = repository
        .blob_saver(repository.load_index(&control).await.unwrap(), lock.handle(), SaverOptions::default(), &control)
        .unwrap();
    let blobs: Arc<Vec<Vec<u8>>> =
        Arc::new((0..60).map(|n| if n % 2 == 0 { noise(n, 900_000) } else { text(n, 700_000) }).collect());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (saver, blobs) = (saver.clone(), Arc::clone(&blobs));
            std::thread::spawn(move || blobs.iter().filter(|blob| saver.save_blob(BlobType::Data, blob).unwrap().is_new).count())
        })
        .collect();
    let new: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(new, blobs.len());
    let totals = saver.flush().await.unwrap();
    assert_eq!(totals.data_blobs, 60);
    assert!(totals.bytes_stored < totals.bytes_added * 3 / 4);
    assert_eq!(control.counters().packs_uploaded.load(Ordering::Relaxed), totals.packs);

    let index = open(&store).await.load_index(&control).await.unwrap();
    assert_eq!(index.len(), 60);
    let reader = repository.blob_reader(index, &control);
    for blob in blobs.iter() {
        let location = reader.index().locate(BlobType::Data, &Id::of(blob)).unwrap();
        assert_eq!(location.plain_length() as usize, blob.len());
        assert_eq!(reader.load_blob(BlobType::Data, &Id::of(blob)).await.unwrap(), blob.as_slice());
    }
    lock.release().await.unwrap();
}

/// E9: what does not verify after sealing never reaches the store, and nothing that was in the same pack suffers.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_does_not_verify_is_not_stored() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let lock = shared(&repository).await;
    let control = Control::default();
    let saver = repository
        .blob_saver(repository.load_index(&control).await.unwrap(), lock.handle(), SaverOptions::default(), &control)
        .unwrap();
    for content in [noise(1, 100_000), text(1, 100_000)] {
        // As if a bit had flipped between summing and sealing.
        let id = Id::of(b"what was summed");
        let writer = saver.clone();
        let saved = tokio::task::spawn_blocking(move || writer.save_blob_with_id(BlobType::Data, id, &content)).await.unwrap();
        assert!(matches!(saved, Err(Error::VerificationFailed { .. })), "{saved:?}");
    }
    assert!(matches!(saver.flush().await, Err(Error::VerificationFailed { .. })));
    let packs: Vec<_> = futures::TryStreamExt::try_collect(store.list(Some(&Path::from("data")))).await.unwrap();
    assert_eq!(packs, []);
}

/// D2: a store that acknowledges a pack or an index file and keeps a part of it, or nothing, fails the backup before anything
/// refers to it (invariant I2).
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_is_caught() {
    for (directory, keeps) in [("data/", 0), ("data/", 1000), ("index/", 0), ("index/", 100)] {
        let inner = storage::memory();
        repository(&inner).await;
        let store: Arc<dyn ObjectStore> = Arc::new(LyingStore { inner: Arc::clone(&inner), directory, keeps });
        let repository = open(&store).await;
        let lock = shared(&repository).await;
        let saved = backup(&repository, &lock, &Files::from([("a".into(), noise(1, 50_000))]), "one").await;
        assert!(matches!(&saved, Err(Error::StoreLied { key, .. }) if key.starts_with(directory)), "{saved:?}");
        assert!(repository.snapshots(&Control::default()).await.unwrap().snapshots.is_empty());
        // The small pack with the tree may be whole, and is indexed then; nothing names what is not.
        let index = repository.load_index(&Control::default()).await.unwrap();
        assert!(!index.contains(BlobType::Data, &Id::of(&noise(1, 50_000))));
    }
}

/// Saves incompressible blobs of 1 MiB, four to a pack, until the saver refuses.
fn save_until_refused(saver: &BlobSaver) -> Error {
    (0..100).find_map(|seed| saver.save_blob(BlobType::Data, &noise(seed, 1 << 20)).err()).unwrap()
}

fn small_packs() -> SaverOptions {
    SaverOptions { pack_size: 4 << 20, open_packs: 1, uploads_in_flight: 1, ..SaverOptions::default() }
}

/// What the store has is indexed: the two packs that it took.
async fn two_packs_are_indexed(inner: &Arc<dyn ObjectStore>) {
    let repository = open(inner).await;
    let lock = shared(&repository).await;
    let report = repository.check(&lock.handle(), CheckOptions { read: ReadData::All }, &Control::default()).await.unwrap();
    assert_eq!((report.errors, report.unindexed_packs), (vec![], vec![]));
    assert_eq!((report.packs, report.blobs), (2, 8));
    lock.release().await.unwrap();
}

/// A5: a failed upload costs the packs in flight; those acknowledged before it are indexed.
#[tokio::test(flavor = "multi_thread")]
async fn packs_before_a_failed_upload_are_indexed() {
    let inner = storage::memory();
    repository(&inner).await;
    let faults = Faults::new();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), Arc::clone(&faults)));
    faults.add(Operation::Put, "data/", 2, Effect::Delay(Duration::ZERO));
    faults.add(Operation::Put, "data/", 1000, Effect::Error(storage::ErrorKind::AccessDenied));
    let repository = open(&store).await;
    let lock = shared(&repository).await;
    let control = Control::default();
    let index = repository.load_index(&control).await.unwrap();
    let saver = repository.blob_saver(index, lock.handle(), small_packs(), &control).unwrap();
    let writer = saver.clone();
    let refused = tokio::task::spawn_blocking(move || save_until_refused(&writer)).await.unwrap();
    assert!(matches!(refused, Error::Store { .. }), "{refused}");
    assert!(matches!(saver.flush().await, Err(Error::Store { operation: "write", .. })));
    lock.release().await.unwrap();
    two_packs_are_indexed(&inner).await;
}

/// A5, engine §4.9: a cancellation while the producer waits for uploads that hang ends within 5 s, and what the store has is
/// indexed.
#[tokio::test(flavor = "multi_thread")]
async fn packs_before_a_cancellation_are_indexed() {
    let inner = storage::memory();
    repository(&inner).await;
    let faults = Faults::new();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(Arc::clone(&inner), Arc::clone(&faults)));
    faults.add(Operation::Put, "data/", 2, Effect::Delay(Duration::ZERO));
    faults.add(Operation::Put, "data/", 1000, Effect::Hang);
    let repository = open(&store).await;
    let lock = shared(&repository).await;
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let index = repository.load_index(&control).await.unwrap();
    let saver = repository.blob_saver(index, lock.handle(), small_packs(), &control).unwrap();
    let writer = saver.clone();
    let saving = tokio::task::spawn_blocking(move || save_until_refused(&writer));
    // The third pack hangs, the fourth is full with the sixteenth blob, which is counted when there is room for its pack.
    while saver.totals().data_blobs < 15 {
        tokio::task::yield_now().await;
    }
    let cancelled = Instant::now();
    token.cancel();
    assert!(matches!(saving.await.unwrap(), Error::Cancelled));
    assert!(matches!(saver.flush().await, Err(Error::Cancelled)));
    assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
    lock.release().await.unwrap();
    two_packs_are_indexed(&inner).await;
}

#[tokio::test]
async fn a_password_that_is_wrong_is_told_from_a_repository_that_is_missing() {
    let store = storage::memory();
    let opened = Repository::open(Arc::clone(&store), &password(), &OpenOptions::default(), &Control::default()).await;
    assert!(matches!(opened, Err(Error::RepositoryMissing { .. })));
    let made = repository(&store).await;
    let opened =
        Repository::open(Arc::clone(&store), &SecretString::from("wrong"), &OpenOptions::default(), &Control::default()).await;
    assert!(matches!(opened, Err(Error::WrongPassword { keys: 1 })));
    let other = OpenOptions { expected_id: Some(Id::random()), ..OpenOptions::default() };
    let opened = Repository::open(Arc::clone(&store), &password(), &other, &Control::default()).await;
    assert!(matches!(opened, Err(Error::RepositoryMismatch { found, .. }) if found == made.id()));
}

/// D7: a repository that exists, or of which something is left, is never initialised again.
#[tokio::test]
async fn what_exists_is_not_initialised_again() {
    let store = storage::memory();
    let made = repository(&store).await;
    let lock = shared(&made).await;
    backup(&made, &lock, &Files::from([("a".into(), noise(1, 10))]), "one").await.unwrap();
    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
    let again = Repository::init(Arc::clone(&store), &password(), &options, &Control::default()).await;
    assert!(matches!(again, Err(Error::RepositoryExists { .. })));
    store.delete(&Path::from("config")).await.unwrap();
    let again = Repository::init(Arc::clone(&store), &password(), &options, &Control::default()).await;
    assert!(matches!(again, Err(Error::RepositoryExists { .. })));
}

/// A killed initialisation leaves a key; the next one with the same password goes on, another password does not.
#[tokio::test]
async fn a_killed_initialisation_is_taken_up() {
    let store = storage::memory();
    repository(&store).await;
    store.delete(&Path::from("config")).await.unwrap();
    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
    let other = Repository::init(Arc::clone(&store), &SecretString::from("other"), &options, &Control::default()).await;
    assert!(matches!(other, Err(Error::RepositoryExists { .. })));
    let taken_up = Repository::init(Arc::clone(&store), &password(), &options, &Control::default()).await.unwrap();
    assert_eq!(open(&store).await.id(), taken_up.id());
    assert_eq!(taken_up.list_keys(&Control::default()).await.unwrap().len(), 1);
}

/// Two that have the same password initialise at once, and the one that lost is killed before it took its key back: its key opens with
/// the password, but does not open the repository.
#[tokio::test]
async fn a_killed_rival_s_key_does_not_keep_the_password_out() {
    let rival = storage::memory();
    repository(&rival).await;
    let left: Vec<_> = futures::TryStreamExt::try_collect(rival.list(Some(&Path::from("keys")))).await.unwrap();
    let key: &object_store::ObjectMeta = &left[0];
    let store = storage::memory();
    // The rival's is the older one, so it is tried first.
    store.put(&key.location, rival.get(&key.location).await.unwrap().bytes().await.unwrap().into()).await.unwrap();
    let made = {
        let own = storage::memory();
        let made = repository(&own).await;
        let objects: Vec<object_store::ObjectMeta> = futures::TryStreamExt::try_collect(own.list(None)).await.unwrap();
        for object in objects {
            store.put(&object.location, own.get(&object.location).await.unwrap().bytes().await.unwrap().into()).await.unwrap();
        }
        made
    };
    assert_eq!(open(&store).await.id(), made.id());
}

/// Of many that initialise at once exactly one wins, and the repository opens for all of them.
#[tokio::test(flavor = "multi_thread")]
async fn initialisations_race_to_one_repository() {
    for round in 0..20 {
        let store = storage::memory();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
                    Repository::init(store, &password(), &options, &Control::default()).await
                })
            })
            .collect();
        let mut made = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(repository) => made.push(repository.id()),
                Err(Error::RepositoryExists { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(made.len(), 1, "round {round}");
        assert_eq!(open(&store).await.id(), made[0]);
    }
}

/// The same where the store ignores conditions, and the engine was told so.
#[tokio::test(flavor = "multi_thread")]
async fn initialisations_race_to_one_repository_without_conditional_writes() {
    let inner = storage::memory();
    let store: Arc<dyn ObjectStore> = Arc::new(IgnoringStore { inner });
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let options =
                    InitOptions { scrypt: ScryptCost::for_tests(), create_mode: CreateMode::ListBased, ..InitOptions::default() };
                Repository::init(store, &password(), &options, &Control::default()).await
            })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        made.extend(task.await.unwrap().ok().map(|repository| repository.id()));
    }
    assert!(made.len() <= 1, "{made:?}");
    let opened = match made.first() {
        Some(id) => open(&store).await.id() == *id,
        // All of them may have withdrawn before each other; the next attempt makes it.
        None => true,
    };
    assert!(opened);
}

/// E13: a key is added and verified before the old one goes, and the key in use cannot be removed.
#[tokio::test]
async fn keys_rotate() {
    let store = storage::memory();
    let first = repository(&store).await;
    let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
    let control = Control::default();
    let added = first.add_key(&SecretString::from("new"), &options, &control).await.unwrap();
    let second =
        Repository::open(Arc::clone(&store), &SecretString::from("new"), &OpenOptions::default(), &control).await.unwrap();
    assert!(second.remove_key(&added).await.is_err());
    let old = second.list_keys(&control).await.unwrap().into_iter().find(|key| !key.current).unwrap();
    second.remove_key(&old.id).await.unwrap();
    let opened = Repository::open(Arc::clone(&store), &password(), &OpenOptions::default(), &control).await;
    assert!(matches!(opened, Err(Error::WrongPassword { .. })));
}

/// Engine §4.9: what was saved before a cancellation is packed and indexed, so that the next run finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_saver_keeps_what_it_has() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let lock = shared(&repository).await;
    let token = CancellationToken::new();
    let control = Control::new(token.clone());
    let saver = repository
        .blob_saver(repository.load_index(&control).await.unwrap(), lock.handle(), SaverOptions::default(), &control)
        .unwrap();
    let blob = noise(7, 100_000);
    let writer = saver.clone();
    tokio::task::spawn_blocking(move || writer.save_blob(BlobType::Data, &blob).unwrap()).await.unwrap();
    token.cancel();
    assert!(matches!(saver.save_blob(BlobType::Data, b"later"), Err(Error::Cancelled)));
    assert_eq!(saver.flush().await.unwrap().data_blobs, 1);
    assert!(
        open(&store).await.load_index(&Control::default()).await.unwrap().contains(BlobType::Data, &Id::of(&noise(7, 100_000)))
    );
    lock.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_files_reads_back() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let lock = shared(&repository).await;
    let files = Files::from([
        ("a/b/c".to_owned(), text(3, 200_000)),
        ("a/empty".to_owned(), Vec::new()),
        ("top".to_owned(), noise(4, 100_001)),
    ]);
    backup(&repository, &lock, &files, "one").await.unwrap();
    lock.release().await.unwrap();
    assert_eq!(read_everything(&open(&store).await).await.unwrap()["one"], files);
    let left: Vec<_> = futures::TryStreamExt::try_collect(store.list(Some(&Path::from("locks")))).await.unwrap();
    assert_eq!(left, [], "I6: no lock is left behind");
}
