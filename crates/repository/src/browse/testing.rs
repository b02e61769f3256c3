//! Snapshots made entry by entry, in a repository that lives in memory.

#![allow(clippy::unwrap_used)]

use secrecy::SecretString;

use super::{Entry, Step};
use crate::backup::testing::{PASSWORD, lock_request};
use crate::crypto::ScryptCost;
use crate::format::{BlobType, Id, Node, NodeType, Snapshot, Time, Tree, file_mode};
use crate::source::PathProblem;
use crate::{BlobReader, BlobSaver, Control, InitOptions, LockGuard, Repository, SaverOptions, SnapshotId, TreeId};

/// A repository in memory.
pub(super) struct Memory {
    pub repository: Repository,
    pub control: Control,
    guard: LockGuard,
}

impl Memory {
    pub async fn new() -> Self {
        let options = InitOptions { scrypt: ScryptCost::for_tests(), ..InitOptions::default() };
        let control = Control::default();
        let password = SecretString::from(PASSWORD);
        let repository = Repository::init(storage::memory(), &password, &options, &control).await.unwrap();
        let guard = repository.lock(lock_request(), &control).await.unwrap();
        Self { repository, control, guard }
    }

    /// Stores what `make` makes.
    pub async fn store<T: Send + 'static>(&self, make: impl FnOnce(&Maker) -> T + Send + 'static) -> T {
        let index = self.repository.load_index(&self.control).await.unwrap();
        let saver = self.repository.blob_saver(index, self.guard.handle(), SaverOptions::default(), &self.control).unwrap();
        let maker = Maker { saver: saver.clone() };
        let made = tokio::task::spawn_blocking(move || make(&maker)).await.unwrap();
        saver.flush().await.unwrap();
        made
    }

    pub async fn snapshot(&self, seconds: i64, tree: TreeId) -> SnapshotId {
        let text = format!(r#"{{"time":"1970-01-01T00:00:00Z","tree":"{tree}","paths":["/data"]}}"#);
        let bare: Snapshot = serde_json::from_str(&text).unwrap();
        let snapshot = Snapshot { time: Time { seconds, nanos: 0 }, ..bare };
        self.repository.save_snapshot(&self.guard.handle(), &snapshot, &self.control).await.unwrap()
    }

    /// Runs a reader where it may block.
    pub async fn look<T: Send + 'static>(&self, look: impl FnOnce(&BlobReader, &Control) -> T + Send + 'static) -> T {
        let index = self.repository.load_index(&self.control).await.unwrap();
        let (reader, control) = (self.repository.blob_reader(index, &self.control), self.control.clone());
        tokio::task::spawn_blocking(move || look(&reader, &control)).await.unwrap()
    }
}

/// Stores entries.
pub(super) struct Maker {
    saver: BlobSaver,
}

/// The id of a blob that is nowhere.
pub(super) fn nowhere() -> Id {
    Id::of(b"nowhere")
}

impl Maker {
    /// A file whose content is cut into blobs of four bytes.
    pub fn file(&self, name: &str, content: &str) -> Node {
        let ids = content.as_bytes().chunks(4).map(|piece| self.saver.save_blob(BlobType::Data, piece).unwrap().id).collect();
        Node { size: content.len() as u64, content: Some(ids), ..entry(name, NodeType::File, 0o644) }
    }

    pub fn directory(&self, name: &str, nodes: &[Node]) -> Node {
        Node { subtree: Some(self.tree(nodes)), ..entry(name, NodeType::Dir, file_mode::DIR | 0o755) }
    }

    pub fn tree(&self, nodes: &[Node]) -> TreeId {
        self.raw_tree(&Tree::serialise(nodes).unwrap())
    }

    pub fn raw_tree(&self, bytes: &[u8]) -> TreeId {
        self.saver.save_blob(BlobType::Tree, bytes).unwrap().id
    }
}

pub(super) fn link(name: &str, target: &str) -> Node {
    Node { link_target: target.into(), ..entry(name, NodeType::Symlink, file_mode::SYMLINK | 0o777) }
}

/// A directory whose tree is not there.
pub(super) fn lost_directory(name: &str) -> Node {
    Node { subtree: Some(nowhere()), ..entry(name, NodeType::Dir, file_mode::DIR | 0o755) }
}

fn entry(name: &str, node_type: NodeType, mode: u32) -> Node {
    let time = Time { seconds: 1_700_000_000, nanos: 0 };
    Node { name: name.into(), node_type, mode, mtime: time, atime: time, ctime: time, links: 1, inode: 1, ..Node::default() }
}

/// The paths of the entries that a walk shows, and its problems.
pub(super) fn walked(steps: impl Iterator<Item = crate::Result<Step>>) -> (Vec<String>, Vec<PathProblem>) {
    let (mut paths, mut problems) = (Vec::new(), Vec::new());
    for step in steps {
        match step.unwrap() {
            Step::Entry(Entry { path, .. }) => paths.push(String::from_utf8(path).unwrap()),
            Step::Problem(problem) => problems.push(problem),
        }
    }
    (paths, problems)
}
