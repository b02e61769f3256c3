//! Trees that are read as streams are walked, traced and read back as others are.

#![allow(clippy::unwrap_used)]

use std::fs;

use super::check::{CheckOptions, CheckReport, ReadData};
use super::damaged_blobs::DamagedBlobs;
use super::testing::{gone, hurt_tree, reader, saver};
use super::trace::trace;
use super::walk::walk;
use crate::SnapshotId;
use crate::backup::testing::Fixture;
use crate::format::{BlobType, Node, NodeType};
use crate::limits::STREAMED_TREE;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_walk_misses_does_not_depend_on_how_trees_are_read() {
    let fixture = Fixture::new().await;
    let hurt = hurt_tree(&fixture).await;
    for whole_trees in [u32::MAX, 0] {
        let walked = walk(&reader(&fixture, whole_trees).await, &[hurt.root], &fixture.control).await.unwrap();
        // The blob in two files, the tree that is nowhere and the one that breaks off, and the directory without one.
        assert_eq!((walked.trees, walked.missing.len(), walked.missing_omitted), (3, 5, 0), "{:?}", walked.missing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_traced_to_the_same_bytes_however_trees_are_read() {
    let fixture = Fixture::new().await;
    let hurt = hurt_tree(&fixture).await;
    for whole_trees in [u32::MAX, 0] {
        let mut damaged = DamagedBlobs::default();
        damaged.add((BlobType::Data, gone()));
        damaged.add((BlobType::Tree, hurt.broken));
        let roots = vec![(SnapshotId::of(b"first"), hurt.root), (SnapshotId::of(b"second"), hurt.root)];
        let found = trace(&reader(&fixture, whole_trees).await, roots, damaged, &fixture.control).await.unwrap();
        let places: Vec<Vec<(&str, u64, u64)>> = found
            .iter()
            .map(|blob| {
                let place = blob.places.iter();
                place.map(|place| (std::str::from_utf8(&place.path).unwrap(), place.offset, place.length)).collect()
            })
            .collect();
        let expected: [Vec<(&str, u64, u64)>; 2] = [vec![("/0", 0, 8), ("/hurt/x", 8, 16)], vec![("/broken", 0, 0)]];
        assert_eq!(places, expected);
        assert!(found.iter().all(|blob| blob.snapshots == 2 && blob.places_omitted == 0), "{found:?}");
    }
}

async fn read_back(fixture: &Fixture) -> CheckReport {
    let options = CheckOptions { read: ReadData::All };
    fixture.repository.check(&fixture.guard.handle(), options, &fixture.control).await.unwrap()
}

/// Which blob a large tree is, its sum must tell, for the index keeps no ids; and it is told by its id if it is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn large_trees_are_read_back_in_pieces() {
    let fixture = Fixture::new().await;
    let saver = saver(&fixture).await;
    let mut tree = saver.tree_writer();
    let writing = move || {
        for number in 0..9_000 {
            let (name, link_target) = (format!("{number:04}").into_bytes(), vec![b'x'; 1_000]);
            tree.add(&Node { name, link_target, node_type: NodeType::Symlink, ..Node::default() }).unwrap();
        }
        tree.finish().unwrap().id
    };
    let id = tokio::task::spawn_blocking(writing).await.unwrap();
    saver.flush().await.unwrap();
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    assert!(index.plain_length(BlobType::Tree, &id).unwrap() > STREAMED_TREE);
    let well = read_back(&fixture).await;
    assert_eq!((well.errors, well.packs_read), (vec![], 1));

    let location = index.locate(BlobType::Tree, &id).unwrap();
    let name = location.pack.to_string();
    let file = fixture.path("repository/data").join(&name[..2]).join(&name);
    let mut bytes = fs::read(&file).unwrap();
    bytes[location.offset as usize + 40] ^= 1;
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
    let hurt = read_back(&fixture).await;
    let said = format!("the tree blob at byte {}", location.offset);
    assert!(hurt.errors.iter().any(|error| error.to_string().contains(&said)), "{:?}", hurt.errors);
    let damaged: Vec<_> = hurt.damaged_blobs.iter().map(|blob| (blob.blob_type, blob.id)).collect();
    assert_eq!(damaged, [(BlobType::Tree, id)]);
}
