//! E8, D8: damaged and hostile objects are named and cost only what they hold.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use repository::maintenance::{CheckError, CheckOptions, PruneOptions, ReadData};
use repository::{BlobType, Control, Error, Id, OpenOptions, Repository};
use storage::layers::fault::{Effect, FaultStore, Faults, Operation};

use crate::support::{
    Files, Garbling, GarblingStore, backup, copy_of, exclusive, noise, open, password, read_everything, read_snapshot,
    repository, shared, text,
};

async fn two_snapshots() -> (Arc<dyn ObjectStore>, Files, Files) {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let first = Files::from([("dir/a".to_owned(), noise(1, 40_000)), ("dir/b".to_owned(), text(2, 30_000))]);
    let second = Files::from([("other/c".to_owned(), noise(3, 20_000))]);
    backup(&repository, &guard, &first, "first").await.unwrap();
    backup(&repository, &guard, &second, "second").await.unwrap();
    guard.release().await.unwrap();
    (store, first, second)
}

async fn objects(store: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<ObjectMeta> {
    let mut objects: Vec<ObjectMeta> = store.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    objects
}

/// Flips one bit in every object at some places, truncates and empties it: never a panic, never wrong data, always an error that
/// names the object or everything intact.
#[tokio::test(flavor = "multi_thread")]
async fn every_object_damaged_in_turn() {
    let (store, first, second) = two_snapshots().await;
    let control = Control::default();
    let mut detected = 0;
    for object in objects(&store, "").await {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        let mut damages = vec![Vec::new(), bytes[..bytes.len() / 2].to_vec()];
        for place in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.to_vec();
            flipped[place] ^= 0x10;
            damages.push(flipped);
        }
        for damage in damages {
            let copy = copy_of(&store).await;
            copy.put(&object.location, damage.into()).await.unwrap();
            let opened = Repository::open(Arc::clone(&copy), &password(), &OpenOptions::default(), &control).await;
            let Ok(repository) = opened else {
                assert!(object.location.prefix_matches(&Path::from("keys")) || object.location == Path::from("config"));
                detected += 1;
                continue;
            };
            let guard = shared(&repository).await;
            let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &control).await.unwrap();
            let key = object.location.to_string();
            let name = object.location.filename().unwrap();
            assert!(report.errors.iter().any(|error| error.to_string().contains(name)), "{key}: {:?}", report.errors);
            detected += 1;
            // Whatever is not in the damaged object still reads, and what reads is right.
            let list = repository.snapshots(&control).await.unwrap();
            let reader = repository.blob_reader(repository.load_index(&control).await.unwrap(), &control);
            for (_, snapshot) in &list.snapshots {
                let expected = if snapshot.has_tag("first") { &first } else { &second };
                match read_snapshot(&reader, snapshot.tree).await {
                    Ok(files) => assert_eq!(&files, expected, "{key}"),
                    Err(Error::BlobUnreadable { .. } | Error::Damaged { .. }) => {}
                    Err(error) => panic!("{key}: {error}"),
                }
            }
            assert!(list.snapshots.len() == 2 || key.starts_with("snapshots/"), "{key}");
            guard.release().await.unwrap();
            // And prune does nothing where it does not know everything.
            if key.starts_with("index/") || key.starts_with("snapshots/") {
                let guard = exclusive(&repository).await;
                let refused = repository.plan_prune(&guard.handle(), &PruneOptions::default(), &control).await;
                assert!(matches!(refused, Err(Error::PruneRefused { .. })), "{key}");
                guard.release().await.unwrap();
            }
        }
    }
    assert!(detected >= 60, "{detected}");
}

/// A second copy of a blob in another pack serves when the first is damaged.
#[tokio::test]
async fn a_blob_with_two_copies_survives_the_loss_of_one() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let files = Files::from([("a".to_owned(), noise(5, 50_000))]);
    // Two that back up at the same time do not know of each other's blobs.
    let (one, two) = tokio::join!(backup(&repository, &guard, &files, "one"), backup(&repository, &guard, &files, "two"));
    assert_ne!(one.unwrap(), two.unwrap());
    let index = repository.load_index(&Control::default()).await.unwrap();
    let id = Id::of(&noise(5, 50_000));
    assert_eq!(index.other_copies(BlobType::Data, &id).len(), 1);
    let pack = index.locate(BlobType::Data, &id).unwrap().pack;
    store.delete(&Path::from(format!("data/{}/{pack}", &pack.to_string()[..2]))).await.unwrap();
    let reader = repository.blob_reader(index, &Control::default());
    assert_eq!(reader.load_blob(BlobType::Data, &id).await.unwrap(), noise(5, 50_000).as_slice());
}

/// A15: what happened on the way is not taken for damage of the pack; what happens each time is.
#[tokio::test(flavor = "multi_thread")]
async fn a_pack_is_read_twice_before_it_is_called_damaged() {
    let (inner, _, _) = two_snapshots().await;
    let control = Control::default();
    let index = open(&inner).await.load_index(&control).await.unwrap();
    let pack = index.locate(BlobType::Data, &Id::of(&noise(1, 40_000))).unwrap().pack;
    let key = Path::from(format!("data/{}/{pack}", &pack.to_string()[..2]));
    for (garbling, times, is_well) in [
        (Garbling::Short, 1, true),
        (Garbling::Flipped, 1, true),
        (Garbling::Short, usize::MAX, false),
        (Garbling::Flipped, usize::MAX, false),
    ] {
        let times = AtomicUsize::new(times);
        let store: Arc<dyn ObjectStore> =
            Arc::new(GarblingStore { inner: Arc::clone(&inner), key: key.clone(), garbling, times });
        let repository = open(&store).await;
        let guard = shared(&repository).await;
        let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &control).await.unwrap();
        assert_eq!(report.errors.is_empty(), is_well, "{garbling:?}: {:?}", report.errors);
        let named = |error: &CheckError| matches!(error, CheckError::PackDamaged { pack: found, .. } if *found == pack);
        assert!(report.errors.iter().all(named), "{garbling:?}: {:?}", report.errors);
        guard.release().await.unwrap();
    }
}

/// That the store refuses to answer is no damage: neither a check nor a read says so.
#[tokio::test]
async fn a_store_that_refuses_is_not_taken_for_damage() {
    let (inner, _, _) = two_snapshots().await;
    let faults = Faults::new();
    let store: Arc<dyn ObjectStore> = Arc::new(FaultStore::new(inner, Arc::clone(&faults)));
    let repository = open(&store).await;
    let control = Control::default();
    let guard = shared(&repository).await;
    let index = repository.load_index(&control).await.unwrap();
    faults.add(Operation::Get, "data/", 1000, Effect::Error(storage::ErrorKind::AccessDenied));
    let refused = repository.blob_reader(index, &control).load_blob(BlobType::Data, &Id::of(&noise(1, 40_000))).await;
    assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
    let refused = repository.check(&guard.handle(), CheckOptions::default(), &control).await;
    assert!(matches!(refused, Err(Error::Store { .. })), "{refused:?}");
}

/// The index is lost: check says which packs no index names, repair reads their headers, and everything is as before.
#[tokio::test]
async fn a_lost_index_is_rebuilt_from_the_packs() {
    let (store, first, second) = two_snapshots().await;
    let lost = objects(&store, "index").await;
    store.put(&lost[0].location, b"torn".to_vec().into()).await.unwrap();
    store.delete(&lost[1].location).await.unwrap();
    let repository = open(&store).await;
    let control = Control::default();
    let guard = exclusive(&repository).await;
    let report = repository.check(&guard.handle(), CheckOptions::default(), &control).await.unwrap();
    assert!(report.errors.iter().any(|error| matches!(error, CheckError::Damaged(_))));
    assert_eq!(report.unindexed_packs.len(), 4);
    let repaired = repository.repair_index(&guard.handle(), &control).await.unwrap();
    assert_eq!((repaired.packs_added.len(), repaired.packs_damaged.len(), repaired.index_files_removed.len()), (4, 0, 1));
    let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &control).await.unwrap();
    assert_eq!(report.errors, []);
    let all = read_everything(&repository).await.unwrap();
    assert_eq!((&all["first"], &all["second"]), (&first, &second));
}
