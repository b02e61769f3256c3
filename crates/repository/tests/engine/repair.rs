//! Repairs of the index, of packs and of snapshots; what comes out is checked by restic where it is on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt};
use repository::maintenance::{
    CheckError, CheckOptions, CheckReport, Loss, LostPart, PackState, PruneOptions, ReadData, RepairIndexOptions,
    RepairSnapshotsOptions, RepairSnapshotsReport, SnapshotRepair,
};
use repository::{BlobLocation, BlobType, Control, Error, Id, LockGuard, Repository, SnapshotId};
use storage::LocalStore;

use crate::support::{
    Files, HidingStore, Restic, backup, cut, exclusive, exists, flip, locate, noise, open, pack_key, read_everything,
    read_snapshot, repository, shared,
};

const BLOB: usize = 64 << 10;

struct Bench {
    directory: tempfile::TempDir,
    store: Arc<dyn ObjectStore>,
    repository: Repository,
    guard: LockGuard,
    snapshots: Vec<SnapshotId>,
}

fn first() -> Files {
    Files::from([
        ("dir/a".to_owned(), noise(1, 3 * BLOB + 100)),
        ("dir/b".to_owned(), noise(2, 10_000)),
        ("dir/deep/c".to_owned(), noise(3, 10_000)),
        ("top".to_owned(), noise(4, 10_000)),
    ])
}

fn second() -> Files {
    first().into_iter().chain([("dir/deep/d".to_owned(), noise(5, 10_000))]).collect()
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(directory.path().to_owned()));
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let mut snapshots = vec![backup(&repository, &guard, &first(), "first").await.unwrap()];
    snapshots.push(backup(&repository, &guard, &second(), "second").await.unwrap());
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    Bench { directory, store, repository, guard, snapshots }
}

/// The second blob of `dir/a`.
fn lost_blob() -> Id {
    Id::of(&noise(1, 3 * BLOB + 100)[BLOB..2 * BLOB])
}

fn content_lost(path: &str) -> LostPart {
    LostPart { path: path.into(), loss: Loss::Content { blobs: 1, bytes: BLOB as u64 } }
}

impl Bench {
    async fn check(&self) -> CheckReport {
        let options = CheckOptions { read: ReadData::All };
        self.repository.check(&self.guard.handle(), options, &Control::default()).await.unwrap()
    }

    async fn blob(&self, id: &Id) -> BlobLocation {
        locate(&self.repository, BlobType::Data, id).await
    }

    async fn copies(&self, id: &Id) -> usize {
        let index = self.repository.load_index(&Control::default()).await.unwrap();
        usize::from(index.contains(BlobType::Data, id)) + index.other_copies(BlobType::Data, id).len()
    }

    async fn repair_packs(&self, packs: &[Id], remove: bool) -> repository::maintenance::RepairPacksReport {
        self.repository.repair_packs(&self.guard.handle(), packs, remove, &Control::default()).await.unwrap()
    }

    async fn repair_snapshots(&self, options: RepairSnapshotsOptions) -> RepairSnapshotsReport {
        let ids: Vec<Id> = self.list().await.into_keys().collect();
        self.repository.repair_snapshots(&self.guard.handle(), &ids, options, &Control::default()).await.unwrap()
    }

    /// The snapshots with the snapshot that each was made from, and their tags.
    async fn list(&self) -> BTreeMap<SnapshotId, (Option<SnapshotId>, Vec<String>)> {
        let list = self.repository.snapshots(&Control::default()).await.unwrap();
        list.snapshots.into_iter().map(|(id, snapshot)| (id, (snapshot.original, snapshot.tags))).collect()
    }

    async fn files(&self, snapshot: &SnapshotId) -> Files {
        let snapshot = self.repository.snapshot(snapshot, &Control::default()).await.unwrap();
        let index = self.repository.load_index(&Control::default()).await.unwrap();
        read_snapshot(&self.repository.blob_reader(index, &Control::default()), snapshot.tree).await.unwrap()
    }

    async fn tree_of(&self, snapshot: &SnapshotId, path: &str) -> Id {
        let index = self.repository.load_index(&Control::default()).await.unwrap();
        let reader = self.repository.blob_reader(index, &Control::default());
        let mut tree = self.repository.snapshot(snapshot, &Control::default()).await.unwrap().tree;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let nodes = reader.load_tree(&tree).await.unwrap().nodes;
            tree = nodes.iter().find(|node| node.name == name.as_bytes()).unwrap().subtree.unwrap();
        }
        tree
    }

    /// Prunes, and lets stock restic look at everything that is left.
    async fn prune_and_check(self) {
        let options = PruneOptions { max_unused: 0.0, unindexed_age: std::time::Duration::ZERO, ..PruneOptions::default() };
        let plan = self.repository.plan_prune(&self.guard.handle(), &options, &Control::default()).await.unwrap();
        let report = self.repository.prune(&self.guard.handle(), plan, &Control::default()).await.unwrap();
        assert_eq!(report.packs_damaged, 0);
        assert_eq!(self.check().await.errors, []);
        self.guard.release().await.unwrap();
        if let Some(restic) = Restic::at(self.directory.path()) {
            restic.ok(&["check", "--read-data"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repairs_need_an_exclusive_lock() {
    let bench = bench().await;
    bench.guard.release().await.unwrap();
    let guard = shared(&bench.repository).await;
    let (lock, control) = (guard.handle(), Control::default());
    let packs = bench.repository.repair_packs(&lock, &[], true, &control).await;
    assert!(matches!(packs, Err(Error::NotExclusive { .. })));
    let options = RepairSnapshotsOptions::default();
    let snapshots = bench.repository.repair_snapshots(&lock, &[], options, &control).await;
    assert!(matches!(snapshots, Err(Error::NotExclusive { .. })));
    let look = RepairSnapshotsOptions { dry_run: true, ..options };
    bench.repository.repair_snapshots(&lock, &bench.snapshots, look, &control).await.unwrap();
}

/// A pack leaves the index when it is certainly gone, and comes back when it does.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_loses_packs_that_are_gone() {
    let bench = bench().await;
    let pack = bench.blob(&lost_blob()).await.pack;
    let bytes = bench.store.get(&pack_key(&pack)).await.unwrap().bytes().await.unwrap();
    bench.store.delete(&pack_key(&pack)).await.unwrap();
    let (lock, control) = (bench.guard.handle(), Control::default());
    let report = bench.repository.repair_index(&lock, &control).await.unwrap();
    assert_eq!((report.packs_dropped, report.packs_added), (vec![pack], vec![]));
    let checked = bench.check().await;
    let names_a_blob = |error: &CheckError| matches!(error, CheckError::BlobMissing { .. });
    assert!(!checked.errors.is_empty() && checked.errors.iter().all(names_a_blob), "{:?}", checked.errors);
    // How long each blob of the file was is not known any more: the range holds them all.
    let blob = checked.damaged_blobs.iter().find(|blob| blob.id == lost_blob()).unwrap();
    assert_eq!((blob.places[0].path.as_slice(), blob.places[0].offset), (&b"/dir/a"[..], 0));
    assert_eq!((blob.places[0].length, blob.snapshots), (3 * BLOB as u64 + 100, 2));
    let c = checked.damaged_blobs.iter().find(|blob| blob.id == Id::of(&noise(3, 10_000))).unwrap();
    assert_eq!((c.places[0].offset, c.places[0].length), (0, 10_000), "the only blob of its file");

    bench.store.put(&pack_key(&pack), bytes.into()).await.unwrap();
    let report = bench.repository.repair_index(&lock, &control).await.unwrap();
    assert_eq!((report.packs_dropped, report.packs_added), (vec![], vec![pack]));
    assert_eq!(bench.check().await.errors, []);
    bench.prune_and_check().await;
}

/// I8: a listing alone takes nothing out of the index.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_keeps_packs_that_a_listing_hides() {
    let bench = bench().await;
    bench.guard.release().await.unwrap();
    let hiding: Arc<dyn ObjectStore> = Arc::new(HidingStore { inner: Arc::clone(&bench.store) });
    let repository = open(&hiding).await;
    let guard = exclusive(&repository).await;
    let report = repository.repair_index(&guard.handle(), &Control::default()).await.unwrap();
    assert_eq!(report.packs_dropped, []);
    guard.release().await.unwrap();
    assert_eq!(read_everything(&bench.repository).await.unwrap()["second"], second());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_headers_are_read_when_asked_for() {
    let bench = bench().await;
    let options = RepairIndexOptions { read_all_packs: true };
    let report = bench.repository.repair_index_with(&bench.guard.handle(), options, &Control::default()).await.unwrap();
    assert_eq!(report.packs_added.len(), 4);
    let checked = bench.check().await;
    assert_eq!((checked.errors, checked.packs), (vec![], 4));
    assert_eq!(bench.copies(&lost_blob()).await, 1);
    let files = std::fs::read_dir(bench.directory.path().join("index")).unwrap().count();
    assert_eq!(files, 1, "each pack is described once");
    bench.prune_and_check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_pack_still_holds_is_salvaged() {
    let bench = bench().await;
    let damaged = bench.blob(&lost_blob()).await;
    let well = bench.blob(&Id::of(&noise(5, 10_000))).await.pack;
    flip(&bench.store, &damaged).await;
    let before = bench.store.get(&pack_key(&damaged.pack)).await.unwrap().bytes().await.unwrap();

    let report = bench.repair_packs(&[damaged.pack, well, Id::of(b"unknown")], false).await;
    let state = |pack: Id| report.packs.iter().find(|found| found.pack == pack).map(|found| &found.state);
    assert_eq!((state(well), state(Id::of(b"unknown"))), (Some(&PackState::Well), Some(&PackState::NotIndexed)));
    let Some(PackState::Damaged { salvaged, elsewhere, lost, reasons }) = state(damaged.pack) else { panic!("{report:?}") };
    assert_eq!((*salvaged, *elsewhere, lost.as_slice()), (6, 0, &[(BlobType::Data, lost_blob())][..]));
    assert!(!reasons.is_empty() && report.packs_written == 1 && report.packs_removed.is_empty());
    assert_eq!(bench.store.get(&pack_key(&damaged.pack)).await.unwrap().bytes().await.unwrap(), before);
    assert_eq!((bench.copies(&lost_blob()).await, bench.copies(&Id::of(&noise(2, 10_000))).await), (1, 2));

    let report = bench.repair_packs(&[damaged.pack, well], true).await;
    let state = report.packs.iter().find(|found| found.pack == damaged.pack).map(|found| &found.state);
    assert!(matches!(state, Some(PackState::Damaged { salvaged: 0, elsewhere: 6, lost, .. }) if lost.len() == 1), "{report:?}");
    assert_eq!((report.packs_removed, report.packs_written), (vec![damaged.pack], 0));
    assert!(!exists(&bench.store, &pack_key(&damaged.pack)).await && exists(&bench.store, &pack_key(&well)).await);
    let checked = bench.check().await;
    let names_it = |error: &CheckError| matches!(error, CheckError::BlobMissing { blob, .. } if *blob == lost_blob());
    assert!(!checked.errors.is_empty() && checked.errors.iter().all(names_it), "{:?}", checked.errors);
    let place = &checked.damaged_blobs[0].places[0];
    assert_eq!((place.path.as_slice(), place.offset, place.length), (&b"/dir/a"[..], BLOB as u64, BLOB as u64));

    // A backup of the same data heals it.
    let saved = backup(&bench.repository, &bench.guard, &second(), "again").await.unwrap();
    assert_eq!(bench.files(&saved).await, second());
    assert_eq!(bench.files(&bench.snapshots[0]).await, first());
    bench.prune_and_check().await;
}

/// Two damaged packs that are salvaged together make up for one another.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_packs_make_up_for_one_another() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let files = first();
    let (one, two) = tokio::join!(backup(&repository, &guard, &files, "one"), backup(&repository, &guard, &files, "two"));
    assert_ne!(one.unwrap(), two.unwrap());
    guard.release().await.unwrap();
    let guard = exclusive(&repository).await;
    let control = Control::default();
    let index = repository.load_index(&control).await.unwrap();
    let other_blob = Id::of(&noise(2, 10_000));
    let [here] = index.other_copies(BlobType::Data, &lost_blob())[..] else { panic!("it is stored twice") };
    let there = index.locate(BlobType::Data, &other_blob).into_iter().chain(index.other_copies(BlobType::Data, &other_blob));
    let there = there.into_iter().find(|copy| copy.pack != here.pack).unwrap();
    flip(&store, &here).await;
    flip(&store, &there).await;
    let report = repository.repair_packs(&guard.handle(), &[here.pack, there.pack], true, &control).await.unwrap();
    for pack in &report.packs {
        assert!(matches!(&pack.state, PackState::Damaged { lost, .. } if lost.is_empty()), "{report:?}");
    }
    assert_eq!((report.packs.len(), report.packs_removed.len()), (2, 2));
    let options = CheckOptions { read: ReadData::All };
    assert_eq!(repository.check(&guard.handle(), options, &control).await.unwrap().errors, []);
    let found = read_everything(&repository).await.unwrap();
    assert_eq!((&found["one"], &found["two"]), (&first(), &first()));
}

/// A pack that ends too early has no header, and its first blobs are as good as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_pack_is_salvaged_up_to_its_end() {
    let bench = bench().await;
    let pack = bench.blob(&lost_blob()).await.pack;
    let whole = bench.store.get(&pack_key(&pack)).await.unwrap().bytes().await.unwrap().len();
    cut(&bench.store, &pack, whole / 2).await;
    let report = bench.repair_packs(&[pack], true).await;
    let PackState::Damaged { salvaged, lost, .. } = &report.packs[0].state else { panic!("{report:?}") };
    assert!(*salvaged > 0 && !lost.is_empty() && *salvaged + lost.len() as u64 == 7, "{report:?}");
    bench.repair_snapshots(RepairSnapshotsOptions { forget: true, ..RepairSnapshotsOptions::default() }).await;
    bench.prune_and_check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_written_anew_without_what_is_lost() {
    let bench = bench().await;
    let damaged = bench.blob(&lost_blob()).await;
    flip(&bench.store, &damaged).await;
    let untouched = bench.repair_snapshots(RepairSnapshotsOptions::default()).await;
    assert_eq!((untouched.repaired, untouched.snapshots), (vec![], 2));
    bench.repair_packs(&[damaged.pack], true).await;

    let look = bench.repair_snapshots(RepairSnapshotsOptions { dry_run: true, ..RepairSnapshotsOptions::default() }).await;
    assert_eq!((look.repaired.len(), bench.list().await.len()), (2, 2));
    // Of the second snapshot `dir` is another directory, with the same file in it.
    assert_eq!(look.lost, [content_lost("/dir/a"), content_lost("/dir/a")]);

    let report = bench.repair_snapshots(RepairSnapshotsOptions::default()).await;
    assert_eq!((&report.lost, report.lost_total, &report.removed), (&look.lost, 2, &vec![]));
    let list = bench.list().await;
    assert_eq!(list.len(), 4);
    for (repair, (original, tag)) in report.repaired.iter().zip(bench.snapshots.iter().zip(["first", "second"])) {
        let SnapshotRepair::Rewritten { snapshot, new: Some(new) } = repair else { panic!("{repair:?}") };
        assert_eq!(snapshot, original);
        assert_eq!(list[new], (Some(*original), vec![tag.to_owned(), "repaired".to_owned()]));
        let mut expected = if tag == "first" { first() } else { second() };
        expected.get_mut("dir/a").unwrap().drain(BLOB..2 * BLOB);
        assert_eq!(bench.files(new).await, expected);
    }
    // Once more: nothing new, and the originals go when they are to be forgotten.
    let again = bench.repair_snapshots(RepairSnapshotsOptions::default()).await;
    assert_eq!((again.repaired, bench.list().await), (report.repaired, list.clone()));
    let forgotten = bench.repair_snapshots(RepairSnapshotsOptions { forget: true, ..RepairSnapshotsOptions::default() }).await;
    let mut removed = forgotten.removed.clone();
    removed.sort_unstable();
    let mut originals = bench.snapshots.clone();
    originals.sort_unstable();
    assert_eq!(removed, originals);
    assert_eq!(bench.list().await.len(), 2);
    let target = bench.directory.path().join("..").join(format!("restored-{}", bench.snapshots[0].short()));
    if let Some(restic) = Restic::at(bench.directory.path()) {
        bench.guard.release().await.unwrap();
        restic.ok(&["restore", "latest", "--tag", "second", "--target", target.to_str().unwrap()]);
        assert_eq!(std::fs::read(target.join("dir/a")).unwrap().len(), 2 * BLOB + 100);
        std::fs::remove_dir_all(&target).unwrap();
        let guard = exclusive(&bench.repository).await;
        Bench { guard, ..bench }.prune_and_check().await;
    }
}

/// A directory that cannot be read is empty afterwards; a root that cannot be read leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn lost_directories_are_empty_and_lost_roots_are_told() {
    let bench = bench().await;
    let deep = bench.tree_of(&bench.snapshots[1], "dir/deep").await;
    flip(&bench.store, &locate(&bench.repository, BlobType::Tree, &deep).await).await;
    flip(&bench.store, &locate(&bench.repository, BlobType::Tree, &bench.tree_of(&bench.snapshots[0], "").await).await).await;
    let report = bench.repair_snapshots(RepairSnapshotsOptions::default()).await;
    assert_eq!(report.lost, [LostPart { path: b"/dir/deep".to_vec(), loss: Loss::Directory }]);
    let nothing_left = SnapshotRepair::NothingLeft { snapshot: bench.snapshots[0] };
    assert!(report.repaired.contains(&nothing_left) && report.repaired.len() == 2, "{report:?}");
    assert_eq!(bench.list().await.len(), 3, "nothing was removed");
    let rewritten = report.repaired.iter().find_map(|repair| match repair {
        SnapshotRepair::Rewritten { new, .. } => *new,
        SnapshotRepair::NothingLeft { .. } => None,
    });
    let expected: Files = first().into_iter().filter(|(path, _)| path != "dir/deep/c").collect();
    assert_eq!(bench.files(&rewritten.unwrap()).await, expected);

    let report = bench.repair_snapshots(RepairSnapshotsOptions { forget: true, ..RepairSnapshotsOptions::default() }).await;
    assert_eq!(report.removed.len(), 2);
    assert_eq!(bench.list().await.into_keys().collect::<Vec<_>>(), [rewritten.unwrap()]);
    // Damaged trees that nothing needs any more are no hindrance.
    bench.prune_and_check().await;
}

/// What the index does not name but a pack holds is not lost, and what the index names may be.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_left_alone_until_the_index_is_whole() {
    for damage in ["pack", "index", "torn"] {
        let bench = bench().await;
        let listed = std::fs::read_dir(bench.directory.path().join("index")).unwrap().next().unwrap().unwrap().path();
        match damage {
            "pack" => bench.store.delete(&pack_key(&bench.blob(&lost_blob()).await.pack)).await.unwrap(),
            "index" => std::fs::remove_file(listed).unwrap(),
            _ => std::fs::write(listed, "torn").unwrap(),
        }
        let ids = bench.snapshots.clone();
        let options = RepairSnapshotsOptions { forget: true, ..RepairSnapshotsOptions::default() };
        let refused = bench.repository.repair_snapshots(&bench.guard.handle(), &ids, options, &Control::default()).await;
        assert!(matches!(refused, Err(Error::RepairRefused { .. })), "{damage}: {refused:?}");
        assert_eq!(bench.list().await.len(), 2);
    }
}
