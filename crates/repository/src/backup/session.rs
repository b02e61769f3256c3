//! What the threads of one backup share, and their life.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{
    directory::Directory,
    file::{ChunkBuffers, ChunkTask},
    queue::{CloseOnPanic, Queue},
    request::BackupRequest,
    streamed::{Portion, Streaming},
    tally::{Counting, Tally},
    targets::{TargetTree, open_root},
};
use crate::{
    TreeId,
    chunker::Chunker,
    control::Control,
    error::{Error, Result},
    format::{Id, Node},
    index::Index,
    limits,
    pack::{BlobReader, BlobSaver},
    repository::Repository,
    source::{
        PatternList, Problems,
        faults::FaultHook,
        handles::{Handles, Place},
        problem::ProblemLog,
        users::Users,
    },
};

/// A piece of work for a thread.
pub(super) enum Task {
    /// Enter a directory: list it and deal out its entries.
    Enter(EnterTask),
    /// Look at some entries of a directory.
    Entries(Arc<Directory>, Portion),
    /// Store a chunk of a large file.
    Chunk(ChunkTask),
}

/// A directory that has not been opened yet.
pub(super) struct EnterTask {
    pub(super) place: Arc<Place>,
    /// The directory above and the slot of this one in it; `None` for the root.
    pub(super) above: Option<(Arc<Directory>, usize)>,
    /// What was there in the parent snapshot.
    pub(super) previous_tree: Option<TreeId>,
    /// Whether the parent snapshot had a directory here.
    pub(super) was_there: bool,
    /// Set above and at the paths of the request.
    pub(super) targets: Option<Arc<TargetTree>>,
    /// The file system that must not be left, if one is.
    pub(super) device: Option<u64>,
    /// How often its entry was looked at.
    pub(super) looks: usize,
}

/// Shared by all threads of one backup.
pub(super) struct Session {
    pub(super) saver: BlobSaver,
    pub(super) reader: BlobReader,
    pub(super) index: Arc<Index>,
    /// Packs that were known before this backup.
    pub(super) known_packs: u32,
    pub(super) chunker: Chunker,
    pub(super) control: Control,
    pub(super) handles: Handles,
    pub(super) users: Users,
    pub(super) excludes: PatternList,
    pub(super) one_file_system: bool,
    pub(super) faults: FaultHook,
    pub(super) streaming: Streaming,
    pub(super) queue: Queue<Task>,
    pub(super) buffers: ChunkBuffers,
    pub(super) counting: Counting,
    pub(super) errors: ProblemLog,
    pub(super) changed: ProblemLog,
    pub(super) vanished: ProblemLog,
    pub(super) warnings: ProblemLog,
    /// The blob of a chunk of zeros, once it was stored.
    pub(super) zero_chunk: OnceLock<Id>,
    root: OnceLock<TreeId>,
    failure: Mutex<Option<Error>>,
}

/// What a walk found.
pub(super) struct Walked {
    pub(super) tree: TreeId,
    pub(super) tally: Tally,
    pub(super) errors: Problems,
    pub(super) changed: Problems,
    pub(super) vanished: Problems,
    pub(super) warnings: Problems,
}

impl Session {
    pub(super) fn new(
        repository: &Repository,
        saver: BlobSaver,
        reader: BlobReader,
        index: Arc<Index>,
        request: &BackupRequest,
        control: &Control,
    ) -> Result<Self> {
        let excludes = PatternList::parse(&request.excludes)?;
        Ok(Self {
            saver,
            reader,
            known_packs: index.pack_count(),
            index,
            chunker: Chunker::new(repository.polynomial()),
            control: control.clone(),
            handles: Handles::default(),
            users: Users::local(),
            excludes,
            one_file_system: request.one_file_system,
            faults: request.faults.clone(),
            streaming: request.streaming.clone(),
            queue: Queue::default(),
            buffers: ChunkBuffers::default(),
            counting: Counting::default(),
            errors: ProblemLog::default(),
            changed: ProblemLog::default(),
            vanished: ProblemLog::default(),
            warnings: ProblemLog::default(),
            zero_chunk: OnceLock::new(),
            root: OnceLock::new(),
            failure: Mutex::default(),
        })
    }

    /// Ends the walk with an error; the first one counts.
    pub(super) fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
        self.queue.close();
    }

    /// Ends the walk with its result.
    pub(super) fn finish(&self, root: TreeId) {
        // Only the last directory, the root, comes here.
        let _ = self.root.set(root);
        self.queue.close();
    }

    /// An entry that will be missing in the snapshot.
    pub(super) fn lost(&self, path: std::path::PathBuf, operation: &str, error: &std::io::Error) {
        // Paths can be personal: the report names them, the log only on request.
        tracing::debug!(path = %path.display(), operation, %error, "cannot back up an entry");
        self.errors.add_io(path, operation, error);
        crate::Counters::add(&self.control.counters().errors, 1);
    }

    fn work(&self) {
        let _close = CloseOnPanic(&self.queue);
        while let Some(task) = self.queue.pop() {
            let done = self.control.check().and_then(|()| match task {
                Task::Enter(task) => self.enter(task),
                Task::Entries(directory, portion) => self.entries(&directory, portion),
                Task::Chunk(chunk) => self.store_chunk(chunk),
            });
            if let Err(error) = done {
                self.fail(error);
            }
        }
    }

    fn take_result(&self) -> Result<Walked> {
        if let Some(error) = self.failure.lock().take() {
            return Err(error);
        }
        let tree = *self.root.get().ok_or_else(|| Error::Internal { reason: "the walk ended without a root".to_owned() })?;
        Ok(Walked {
            tree,
            tally: self.counting.finish(),
            errors: self.errors.take(),
            changed: self.changed.take(),
            vanished: self.vanished.take(),
            warnings: self.warnings.take(),
        })
    }
}

/// Walks the targets with `workers` threads of their own: reading, hashing and compressing would block the runtime's. After a
/// cancellation they are waited for only a moment.
pub(super) async fn run(
    session: Arc<Session>,
    targets: Arc<TargetTree>,
    previous_tree: Option<TreeId>,
    workers: usize,
) -> Result<Walked> {
    session.queue.push_all(vec![Task::Enter(EnterTask {
        place: Place::root(b"/", open_root()?),
        above: None,
        previous_tree,
        was_there: previous_tree.is_some(),
        targets: Some(targets),
        device: None,
        looks: 0,
    })]);
    let span = tracing::Span::current();
    let (control, abandoned) = (session.control.clone(), Arc::clone(&session));
    let walk = move || {
        let panicked = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(|| span.in_scope(|| session.work()))).collect();
            threads.into_iter().filter_map(|thread| thread.join().err()).count()
        });
        if panicked == 0 {
            session.take_result()
        } else {
            Err(Error::Internal { reason: "a thread of the backup panicked".to_owned() })
        }
    };
    let walking = async { tokio::task::spawn_blocking(walk).await.map_err(Error::internal)? };
    let walked = control.until(limits::CANCELLED_WALK, walking).await;
    if let Err(error) = &walked {
        // A thread that hangs in a read is left behind: the saver takes nothing from it any more. The others go home.
        abandoned.fail(error.clone());
    }
    walked
}

/// The node of this name among the nodes of a tree, which are sorted.
pub(super) fn find_node<'a>(nodes: &'a [Node], name: &[u8]) -> Option<&'a Node> {
    nodes.binary_search_by(|node| node.name.as_slice().cmp(name)).ok().map(|position| &nodes[position])
}
