//! Damage is named down to the file and the bytes of it.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt};
use repository::maintenance::{CheckOptions, CheckReport, DamagedBlob, ReadData};
use repository::{BlobType, Control, Id, Repository, SnapshotId};

use crate::support::{Files, backup, cut, flip, locate, noise, pack_key, repository, shared};

const BLOB: u64 = 64 << 10;

/// Three snapshots: of the second all of `dir` is the first's, of the third one file in it is new.
async fn three_snapshots() -> (Arc<dyn ObjectStore>, Repository, Vec<SnapshotId>) {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let mut files = Files::from([("dir/a".to_owned(), noise(1, 150_000)), ("dir/b".to_owned(), noise(2, 10_000))]);
    files.insert("other/deep/copy".to_owned(), noise(1, 150_000));
    let mut snapshots = Vec::new();
    for (tag, path) in [("first", "c"), ("second", "d"), ("third", "dir/e")] {
        files.insert(path.to_owned(), noise(path.len() as u64 + 7, 1000));
        snapshots.push(backup(&repository, &guard, &files, tag).await.unwrap());
    }
    guard.release().await.unwrap();
    (store, repository, snapshots)
}

async fn check(repository: &Repository, read: ReadData) -> CheckReport {
    let guard = shared(repository).await;
    let report = repository.check(&guard.handle(), CheckOptions { read }, &Control::default()).await.unwrap();
    guard.release().await.unwrap();
    report
}

fn places(blob: &DamagedBlob) -> Vec<(&str, u64, u64)> {
    blob.places.iter().map(|place| (std::str::from_utf8(&place.path).unwrap(), place.offset, place.length)).collect()
}

fn second_blob() -> Id {
    Id::of(&noise(1, 150_000)[BLOB as usize..2 * BLOB as usize])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_is_named_by_files_and_bytes() {
    let (store, repository, snapshots) = three_snapshots().await;
    assert_eq!(check(&repository, ReadData::All).await.damaged_blobs, []);
    flip(&store, &locate(&repository, BlobType::Data, &second_blob()).await).await;
    assert_eq!(check(&repository, ReadData::None).await.damaged_blobs, [], "nobody has looked");
    let report = check(&repository, ReadData::All).await;
    let [blob] = report.damaged_blobs.as_slice() else { panic!("{:?}", report.damaged_blobs) };
    assert_eq!((blob.blob_type, blob.id, blob.snapshots), (BlobType::Data, second_blob(), 3));
    // The third snapshot has another version of the directory, with the same file in it.
    assert_eq!(places(blob), [("/dir/a", BLOB, BLOB), ("/other/deep/copy", BLOB, BLOB)]);
    assert_eq!((blob.places[0].snapshot, blob.places_omitted), (snapshots[0], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_gone_or_cut_is_named_by_what_it_held() {
    let (store, repository, _) = three_snapshots().await;
    let last = Id::of(&noise(1, 150_000)[2 * BLOB as usize..]);
    let pack = locate(&repository, BlobType::Data, &last).await.pack;
    let whole = store.get(&pack_key(&pack)).await.unwrap().bytes().await.unwrap();
    // The header and a byte of the last blob of the pack.
    let index = repository.load_index(&Control::default()).await.unwrap();
    let blobs = [second_blob(), last, Id::of(&noise(2, 10_000)), Id::of(&noise(8, 1000))];
    let copies = blobs.iter().map(|id| index.locate(BlobType::Data, id).unwrap());
    let blobs_end = copies.filter(|copy| copy.pack == pack).map(|copy| copy.offset + copy.length).max().unwrap();
    cut(&store, &pack, whole.len() - blobs_end as usize).await;
    assert_eq!(check(&repository, ReadData::All).await.damaged_blobs, [], "no blob is cut");
    cut(&store, &pack, 1).await;
    assert_eq!(check(&repository, ReadData::None).await.damaged_blobs.len(), 1);
    store.delete(&pack_key(&pack)).await.unwrap();
    let report = check(&repository, ReadData::None).await;
    let of_last = report.damaged_blobs.iter().find(|blob| blob.id == last).unwrap();
    assert_eq!(places(of_last), [("/dir/a", 2 * BLOB, 150_000 - 2 * BLOB), ("/other/deep/copy", 2 * BLOB, 150_000 - 2 * BLOB)]);
    assert_eq!(report.damaged_blobs.len(), 5, "three blobs of a, one of b, one of c: {:?}", report.damaged_blobs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_tree_is_named_by_its_directory() {
    let (store, repository, snapshots) = three_snapshots().await;
    let reader = repository.blob_reader(repository.load_index(&Control::default()).await.unwrap(), &Control::default());
    let list = repository.snapshots(&Control::default()).await.unwrap();
    let root = reader.load_tree(&list.snapshots[0].1.tree).await.unwrap();
    let other = root.nodes.iter().find(|node| node.name == b"other").unwrap().subtree.unwrap();
    flip(&store, &locate(&repository, BlobType::Tree, &other).await).await;
    let report = check(&repository, ReadData::None).await;
    let [blob] = report.damaged_blobs.as_slice() else { panic!("{:?}", report.damaged_blobs) };
    assert_eq!((blob.blob_type, blob.snapshots), (BlobType::Tree, 3));
    assert_eq!((places(blob), blob.places[0].snapshot), (vec![("/other", 0, 0)], snapshots[0]));
    // A root is a directory too.
    flip(&store, &locate(&repository, BlobType::Tree, &list.snapshots[1].1.tree).await).await;
    let report = check(&repository, ReadData::None).await;
    let root = report.damaged_blobs.iter().find(|blob| blob.id == list.snapshots[1].1.tree).unwrap();
    assert_eq!((places(root), root.snapshots), (vec![("/", 0, 0)], 1));
    let other = report.damaged_blobs.iter().find(|blob| blob.id == other).unwrap();
    assert_eq!(other.snapshots, 2, "what the second snapshot needs is not known any more");
}

/// Many files with one damaged blob: the first are named, the others counted.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_bounded() {
    let store = storage::memory();
    let repository = repository(&store).await;
    let guard = shared(&repository).await;
    let files: Files = (0..50).map(|name| (format!("dir/{name:02}"), noise(1, 1000))).collect();
    backup(&repository, &guard, &files, "one").await.unwrap();
    guard.release().await.unwrap();
    flip(&store, &locate(&repository, BlobType::Data, &Id::of(&noise(1, 1000))).await).await;
    let report = check(&repository, ReadData::All).await;
    let [blob] = report.damaged_blobs.as_slice() else { panic!("{:?}", report.damaged_blobs) };
    assert_eq!(places(blob), [("/dir/00", 0, 1000), ("/dir/01", 0, 1000), ("/dir/02", 0, 1000)]);
    assert_eq!((blob.places_omitted, blob.snapshots), (47, 1));
}
