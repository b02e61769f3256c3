//! A tree with every kind of damage, for tests of what must not depend on whether trees are held or read as streams.

#![allow(clippy::unwrap_used)]

use crate::backup::testing::Fixture;
use crate::format::{BlobType, Content, Node, NodeType, Tree, file_mode};
use crate::{BlobReader, BlobSaver, Id, SaverOptions, TreeId};

/// A blob that is nowhere.
pub(super) fn gone() -> Id {
    Id::of(b"gone")
}

/// A file of blobs of eight bytes.
fn file(name: &str, blobs: Vec<Id>) -> Node {
    let content = Content::from(blobs);
    Node { name: name.into(), size: 8 * content.len(), content: Some(content), ..Node::default() }
}

fn directory(name: &str, subtree: Option<TreeId>) -> Node {
    Node { name: name.into(), node_type: NodeType::Dir, mode: file_mode::DIR | 0o755, subtree, ..Node::default() }
}

/// A root, and a tree in it that breaks off.
#[derive(Clone, Copy)]
pub(super) struct Hurt {
    pub root: TreeId,
    pub broken: TreeId,
}

fn make(saver: &BlobSaver) -> Hurt {
    let tree = |nodes: &[Node]| saver.save_blob(BlobType::Tree, &Tree::serialise(nodes).unwrap()).unwrap().id;
    let [one, two] = [b"here-one", b"here-two"].map(|plain| saver.save_blob(BlobType::Data, plain).unwrap().id);
    let whole = tree(&[file("a", vec![one, two])]);
    let hurt = tree(&[directory("deep", Some(whole)), file("x", vec![one, gone(), gone(), two])]);
    let broken = saver.save_blob(BlobType::Tree, br#"{"nodes":[{"name":"x","#).unwrap().id;
    let root = tree(&[
        file("0", vec![gone()]),
        directory("broken", Some(broken)),
        directory("hurt", Some(hurt)),
        directory("missing", Some(Id::of(b"nowhere"))),
        file("plain", vec![two]),
        directory("whole", Some(whole)),
        directory("without", None),
    ]);
    Hurt { root, broken }
}

/// Stores the tree.
pub(super) async fn hurt_tree(fixture: &Fixture) -> Hurt {
    let saver = saver(fixture).await;
    let store = saver.clone();
    let made = tokio::task::spawn_blocking(move || make(&store)).await.unwrap();
    saver.flush().await.unwrap();
    made
}

pub(super) async fn saver(fixture: &Fixture) -> BlobSaver {
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    fixture.repository.blob_saver(index, fixture.guard.handle(), SaverOptions::default(), &fixture.control).unwrap()
}

/// A reader that reads trees of more than so many bytes as streams.
pub(super) async fn reader(fixture: &Fixture, whole_trees: u32) -> BlobReader {
    let index = fixture.repository.load_index(&fixture.control).await.unwrap();
    fixture.repository.blob_reader(index, &fixture.control).with_whole_trees(whole_trees)
}
