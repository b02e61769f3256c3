//! Backup beside packs that are lost and packs without an index, and what a run costs that has nothing to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use repository::backup::{BackupReport, BackupRequest, RepositoryView, backup, backup_onto};
use repository::maintenance::{CheckOptions, CheckReport, ReadData};
use repository::{BlobType, Control, Error, Id, PackId, Repository, Result};
use storage::LocalStore;

use crate::support::{CountingStore, HidingStore, LyingStore, Restic, noise, open, read_everything, repository, shared, text};

/// A repository in a directory, and a source.
struct World {
    directory: tempfile::TempDir,
    store: Arc<dyn ObjectStore>,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["repository", "source/text", "source/noise"] {
            fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(directory.path().join("repository")));
        repository(&store).await;
        let world = Self { directory, store };
        fs::write(world.source().join("text/log"), text(1, 300_000)).unwrap();
        fs::write(world.source().join("noise/small"), noise(1, 100_000)).unwrap();
        world
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn restic(&self) -> Option<Restic> {
        Restic::at(&self.directory.path().join("repository"))
    }

    /// Ten files of 8 MiB: five packs and some more.
    fn add_large_files(&self) {
        for number in 0..10 {
            fs::write(self.source().join(format!("noise/{number}")), noise(100 + number, 8 << 20)).unwrap();
        }
    }

    async fn packs(&self) -> Vec<ObjectMeta> {
        self.store.list(Some(&Key::from("data"))).try_collect().await.unwrap()
    }

    /// The pack in which the blob of this content stands.
    async fn pack_of(&self, blob_type: BlobType, id: &Id) -> PackId {
        let index = open(&self.store).await.load_index(&Control::default()).await.unwrap();
        index.locate(blob_type, id).unwrap().pack
    }

    async fn lose(&self, pack: &Key, is_cut: bool) {
        if is_cut {
            let bytes = self.store.get(pack).await.unwrap().bytes().await.unwrap();
            self.store.put(pack, bytes.slice(..bytes.len() - 100).into()).await.unwrap();
        } else {
            self.store.delete(pack).await.unwrap();
        }
    }

    /// Takes all index files away, and gives what they held.
    async fn take_index(&self) -> Vec<(Key, Bytes)> {
        let listed: Vec<ObjectMeta> = self.store.list(Some(&Key::from("index"))).try_collect().await.unwrap();
        let mut taken = Vec::new();
        for object in listed {
            taken.push((object.location.clone(), self.store.get(&object.location).await.unwrap().bytes().await.unwrap()));
            self.store.delete(&object.location).await.unwrap();
        }
        taken
    }

    async fn check(&self) -> CheckReport {
        let repository = open(&self.store).await;
        let guard = shared(&repository).await;
        let report = repository.check(&guard.handle(), CheckOptions { read: ReadData::All }, &Control::default()).await.unwrap();
        guard.release().await.unwrap();
        report
    }

    /// Every snapshot reads in full and all hold the same.
    async fn assert_all_snapshots_hold_the_source(&self, count: usize) {
        let all = read_everything(&open(&self.store).await).await.unwrap();
        assert_eq!(all.len(), count);
        for (tag, files) in all {
            for (path, content) in files {
                let path = Path::new("/").join(path);
                assert_eq!(fs::read(&path).unwrap(), content, "{} of {tag}", path.display());
            }
        }
    }
}

fn request(source: PathBuf, tag: &str) -> BackupRequest {
    let mut request = BackupRequest::new(vec![source]);
    "host".clone_into(&mut request.hostname);
    request.tags = vec![tag.to_owned()];
    request
}

async fn back_up(store: &Arc<dyn ObjectStore>, source: PathBuf, tag: &str) -> Result<BackupReport> {
    let repository = open(store).await;
    let guard = shared(&repository).await;
    let report = backup(&repository, &guard.handle(), request(source, tag), &Control::default()).await;
    // A dead client cannot give its lock back.
    let _ = guard.release().await;
    report
}

fn key(pack: PackId) -> Key {
    Key::from(format!("data/{}/{pack}", &pack.to_string()[..2]))
}

/// A3, invariant I2: after the loss of a pack, or of a part of it, the next backup of the same data does not rely on it but
/// stores anew what it held; an older snapshot reads again too, by the second copies.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_pack_is_made_good_by_the_next_backup() {
    for (blob_type, is_cut) in [(BlobType::Data, false), (BlobType::Data, true), (BlobType::Tree, false)] {
        let world = World::new().await;
        let first = back_up(&world.store, world.source(), "first").await.unwrap();
        let id = if blob_type == BlobType::Data { Id::of(&noise(1, 100_000)) } else { first.tree };
        let lost = key(world.pack_of(blob_type, &id).await);
        if blob_type == BlobType::Tree {
            // The directories above are others with each change in them; so the older snapshot is one that needs only the tree of
            // an unchanged directory from the lost pack.
            fs::write(world.source().join("noise/more"), noise(2, 1_000)).unwrap();
            back_up(&world.store, world.source(), "second").await.unwrap();
            world.store.delete(&Key::from(format!("snapshots/{}", first.snapshot))).await.unwrap();
        }
        world.lose(&lost, is_cut).await;

        let repository = open(&world.store).await;
        let guard = shared(&repository).await;
        let control = Control::default();
        let mut view = RepositoryView::open(&repository, &guard.handle(), &control).await.unwrap();
        assert!(view.lost_blobs() > 0);
        assert!(view.damage().len() == 1 && view.damage()[0].key == lost.to_string(), "{:?}", view.damage());
        let next = request(world.source(), "next");
        let report = backup_onto(&repository, &guard.handle(), &mut view, next, &control).await.unwrap();
        assert!(report.is_complete());
        match blob_type {
            BlobType::Data => {
                assert!(report.blobs_new_data > 0 && report.bytes_read >= 100_000, "{report:?}");
                assert_eq!((view.lost_blobs(), view.damage().len()), (0, 0), "all of it is stored anew");
            }
            BlobType::Tree => assert!(report.blobs_new_tree >= 1 && report.blobs_new_data == 0, "{report:?}"),
        }
        guard.release().await.unwrap();
        world.assert_all_snapshots_hold_the_source(2).await;
        let last = back_up(&world.store, world.source(), "last").await.unwrap();
        assert_eq!((last.blobs_new_data, last.bytes_read), (0, 0), "it is made good once");

        // The old index file still names the lost pack, and is not ours to remove under a shared lock.
        let Some(restic) = world.restic() else { continue };
        restic.ok(&["repair", "index"]);
        restic.ok(&["check", "--read-data"]);
        world.assert_all_snapshots_hold_the_source(3).await;
    }
}

/// Engine §4.8, invariant I11: a client that is killed when the store has taken three packs, before any index was written, has
/// the next one upload only the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backups_packs_are_not_uploaded_again() {
    let world = World::new().await;
    world.add_large_files();
    let whole = CountingStore::new(storage::memory());
    let store: Arc<dyn ObjectStore> = whole.clone();
    repository(&store).await;
    back_up(&store, world.source(), "whole").await.unwrap();

    let dying: Arc<dyn ObjectStore> = CountingStore::dying(Arc::clone(&world.store), 3);
    assert!(back_up(&dying, world.source(), "killed").await.is_err());
    let kept = world.packs().await;
    let kept_bytes: u64 = kept.iter().map(|pack| pack.size).sum();
    assert_eq!(kept.len(), 3);
    assert!(open(&world.store).await.load_index(&Control::default()).await.unwrap().is_empty());

    let counting = CountingStore::new(Arc::clone(&world.store));
    let store: Arc<dyn ObjectStore> = counting.clone();
    let report = back_up(&store, world.source(), "again").await.unwrap();
    assert!(report.is_complete());
    // Headers and trees are what may differ.
    let (uploaded, expected) = (counting.pack_bytes(), whole.pack_bytes() - kept_bytes);
    assert!(uploaded.abs_diff(expected) < 100_000, "{uploaded} bytes instead of {expected}, {kept_bytes} were there");
    let checked = world.check().await;
    assert_eq!((checked.errors, checked.unindexed_packs), (vec![], vec![]));
    let unchanged = back_up(&world.store, world.source(), "unchanged").await.unwrap();
    assert_eq!(unchanged.blobs_new_data, 0);
    if let Some(restic) = world.restic() {
        restic.ok(&["unlock", "--remove-all"]);
        restic.ok(&["check", "--read-data"]);
    }
}

/// D2, A2: an index file that is acknowledged and dropped gives no success, and its packs serve the next run.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_index_gives_no_success_and_its_packs_are_taken_up() {
    let world = World::new().await;
    let lying: Arc<dyn ObjectStore> = Arc::new(LyingStore { inner: Arc::clone(&world.store), directory: "index/", keeps: 0 });
    let report = back_up(&lying, world.source(), "lied to").await;
    assert!(matches!(report, Err(Error::StoreLied { .. })), "{report:?}");
    let report = back_up(&world.store, world.source(), "honest").await.unwrap();
    assert_eq!(report.blobs_new_data, 0);
    world.assert_all_snapshots_hold_the_source(1).await;
}

/// Two backups that begin at the same time both take up a killed one's packs: each pack is in two index files then, which is one
/// copy to us and no fault to restic.
#[tokio::test(flavor = "multi_thread")]
async fn packs_that_two_take_up_are_one_copy() {
    let world = World::new().await;
    world.add_large_files();
    let dying: Arc<dyn ObjectStore> = CountingStore::dying(Arc::clone(&world.store), 3);
    assert!(back_up(&dying, world.source(), "killed").await.is_err());
    let repository = open(&world.store).await;
    let guard = shared(&repository).await;
    let (handle, control) = (guard.handle(), Control::default());
    let mut one = RepositoryView::open(&repository, &handle, &control).await.unwrap();
    // As if the first one's index came after the second had looked.
    let index = world.take_index().await;
    let mut two = RepositoryView::open(&repository, &handle, &control).await.unwrap();
    for (key, bytes) in index {
        world.store.put(&key, bytes.into()).await.unwrap();
    }
    assert_eq!((one.reconciliation().taken_up.len(), two.reconciliation().taken_up.len()), (3, 3));
    let (a, b) = tokio::join!(
        backup_onto(&repository, &handle, &mut one, request(world.source(), "one"), &control),
        backup_onto(&repository, &handle, &mut two, request(world.source(), "two"), &control),
    );
    assert!(a.unwrap().is_complete() && b.unwrap().is_complete());
    guard.release().await.unwrap();
    let checked = world.check().await;
    assert_eq!((checked.errors, checked.unindexed_packs), (vec![], vec![]));
    world.assert_all_snapshots_hold_the_source(2).await;
    if let Some(restic) = world.restic() {
        restic.ok(&["unlock", "--remove-all"]);
        restic.ok(&["check", "--read-data"]);
        restic.ok(&["prune"]);
        restic.ok(&["check", "--read-data"]);
    }
}

/// Invariant I8: what cannot be read is left alone and reported, and nobody relies on it. A pack of trees whose header is well
/// and whose content is not is one of them.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_packs_without_an_index_are_left_alone() {
    let world = World::new().await;
    let first = back_up(&world.store, world.source(), "first").await.unwrap();
    let trees = key(world.pack_of(BlobType::Tree, &first.tree).await);
    let mut bytes = world.store.get(&trees).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[40] ^= 1;
    world.store.put(&trees, bytes.into()).await.unwrap();
    let garbage = key(Id::of(b"garbage"));
    world.store.put(&garbage, noise(1, 50_000).into()).await.unwrap();
    let empty = key(Id::of(b"empty"));
    world.store.put(&empty, Vec::new().into()).await.unwrap();
    // Without its index and its snapshot it is as if the first run had been killed.
    assert_eq!(world.take_index().await.len(), 1);
    world.store.delete(&Key::from(format!("snapshots/{}", first.snapshot))).await.unwrap();
    let before = world.packs().await.len();

    let repository = open(&world.store).await;
    let guard = shared(&repository).await;
    let control = Control::default();
    let mut view = RepositoryView::open(&repository, &guard.handle(), &control).await.unwrap();
    let found = view.reconciliation();
    let mut unreadable: Vec<_> = found.unreadable.named.iter().map(|damage| damage.key.clone()).collect();
    unreadable.sort_unstable();
    let mut expected = [trees, garbage, empty].map(|key| key.to_string());
    expected.sort_unstable();
    assert_eq!((unreadable.as_slice(), found.taken_up.len()), (expected.as_slice(), 1));
    assert!(view.damage().is_empty(), "nothing needs them");
    let report = backup_onto(&repository, &guard.handle(), &mut view, request(world.source(), "second"), &control).await.unwrap();
    assert_eq!(report.blobs_new_data, 0, "the pack with the data was taken up");
    assert!(report.blobs_new_tree >= 3);
    guard.release().await.unwrap();
    world.assert_all_snapshots_hold_the_source(1).await;
    assert_eq!(world.packs().await.len(), before + 1);
}

/// A listing that shows too little costs a look at each pack and no copy.
#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_lies_is_not_believed() {
    let world = World::new().await;
    back_up(&world.store, world.source(), "first").await.unwrap();
    let hiding: Arc<dyn ObjectStore> = Arc::new(HidingStore { inner: Arc::clone(&world.store) });
    let report = back_up(&hiding, world.source(), "second").await.unwrap();
    assert_eq!(report.blobs_new_data, 0);
}

/// An unchanged run lists each directory once, loads each index file once however many paths it has, and reads no tree a second
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_run_asks_little_of_the_store() {
    let world = World::new().await;
    for number in 0..300 {
        let directory = world.source().join(format!("text/{number}"));
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), text(number, 2_000)).unwrap();
    }
    let paths = ["text", "noise"].map(|name| world.source().join(name));
    for path in &paths {
        back_up(&world.store, path.clone(), "first").await.unwrap();
    }
    let counting = CountingStore::new(Arc::clone(&world.store));
    let store: Arc<dyn ObjectStore> = counting.clone();
    let repository: Repository = open(&store).await;
    let guard = shared(&repository).await;
    let control = Control::default();
    let mut view = RepositoryView::open(&repository, &guard.handle(), &control).await.unwrap();
    for path in &paths {
        let report =
            backup_onto(&repository, &guard.handle(), &mut view, request(path.clone(), "second"), &control).await.unwrap();
        assert_eq!((report.bytes_read, report.blobs_new_data), (0, 0));
    }
    let lists = ["snapshots", "index", "data"].map(|directory| counting.count("list", directory));
    assert_eq!(lists, [1, 1, 1]);
    assert_eq!(counting.count("get", "index"), 2);
    assert_eq!(counting.count("get", "snapshots"), 4, "two that were there, and the two new ones read back");
    // The parents' packs of trees, and new ones: the temporary directory above the source changes with other tests.
    assert!(counting.count("get", "data") <= 5, "{}", counting.count("get", "data"));
    let sizes: u64 = world.packs().await.iter().map(|pack| pack.size).sum();
    assert_eq!(view.pack_bytes(), sizes);
    guard.release().await.unwrap();
}
