//! Trees too large to be held come out of a repair as the others do.

#![allow(clippy::unwrap_used)]

use super::super::testing::{hurt_tree, reader, saver};
use super::trees::TreeRewriter;
use crate::backup::testing::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn trees_read_as_streams_are_written_anew_as_others_are() {
    let fixture = Fixture::new().await;
    let root = hurt_tree(&fixture).await.root;
    let mut found = Vec::new();
    for (whole_trees, stores) in [(u32::MAX, false), (0, false), (0, true), (u32::MAX, true)] {
        let (reader, saver) = (reader(&fixture, whole_trees).await, saver(&fixture).await);
        let (store, control) = (saver.clone(), fixture.control.clone());
        let rewriting = move || {
            let mut rewriter = TreeRewriter::new(&reader, stores.then_some(&store), &control);
            let tree = rewriter.rewrite(&root).unwrap().unwrap();
            (tree, rewriter.losses)
        };
        let (tree, mut losses) = tokio::task::spawn_blocking(rewriting).await.unwrap();
        saver.flush().await.unwrap();
        losses.named.sort_by(|left, right| left.path.cmp(&right.path));
        found.push((tree, losses.named, losses.total));
    }
    let (tree, lost, total) = found[0].clone();
    assert!(found.iter().all(|one| *one == found[0]), "{found:?}");
    let paths: Vec<_> = lost.iter().map(|part| std::str::from_utf8(&part.path).unwrap()).collect();
    assert_eq!((paths, total), (vec!["/0", "/broken", "/hurt/x", "/missing", "/without"], 5));
    let nodes = reader(&fixture, 0).await.load_tree(&tree).await.unwrap().nodes;
    let [_, broken, hurt, missing, _, whole, without] = nodes.as_slice() else { panic!("{nodes:?}") };
    assert!(broken.subtree == missing.subtree && missing.subtree == without.subtree);
    let below = reader(&fixture, 0).await.load_tree(&hurt.subtree.unwrap()).await.unwrap().nodes;
    assert_eq!((below[0].subtree, below[1].size), (whole.subtree, 16), "what is whole stays as it is");
}
