//! What to back up.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use jiff::Timestamp;

use super::streamed::Streaming;
use crate::{
    SnapshotId,
    chunker::MAX_CHUNK,
    memory::{MemoryBudget, Share},
    source::{SourceFaults, faults::FaultHook},
};

/// Tag of a snapshot that misses entries that could not be read. Such a snapshot is never adopted by a later attempt, because the
/// list of what it misses was told to the attempt that wrote it only.
pub const INCOMPLETE_TAG: &str = "orlop.dev/incomplete";

/// Which snapshot unchanged files are taken over from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParentChoice {
    /// The latest one of the same host and the same paths that is not dated in the future.
    #[default]
    Auto,
    /// None: every file is read.
    None,
    /// This one.
    Snapshot(SnapshotId),
}

/// One backup, which gives one snapshot.
#[derive(Clone, Debug)]
pub struct BackupRequest {
    /// Absolute paths. Their parents are recorded without their other entries, as restic does.
    pub paths: Vec<PathBuf>,
    /// Patterns with restic's meaning, see [`crate::source::pattern`].
    pub excludes: Vec<String>,
    /// Whether directories on which another file system is mounted are recorded empty. Paths of the request may be on any.
    pub one_file_system: bool,
    /// The snapshot's host; with the paths it makes the line of snapshots in which a parent is looked for.
    pub hostname: String,
    /// The snapshot's user.
    pub username: String,
    /// The snapshot's user number.
    pub uid: u32,
    /// The snapshot's group number.
    pub gid: u32,
    /// The snapshot's tags.
    pub tags: Vec<String>,
    /// The snapshot's time; now if `None`.
    pub time: Option<Timestamp>,
    /// The parent.
    pub parent: ParentChoice,
    /// If a complete snapshot carries all of these tags, it is adopted instead of making another one. Empty: never.
    pub adopt: Vec<String>,
    /// Threads; as many as there are processors if `None`.
    pub workers: Option<NonZeroUsize>,
    /// Recorded in the snapshot.
    pub program_version: String,
    /// A seam for tests.
    pub faults: FaultHook,
    /// When directories are written as streams; a seam for tests too.
    pub streaming: Streaming,
}

/// Bytes of a thread's buffers at most: the chunk that it reads, the one that it stores, and what compressing and verifying take.
const THREAD_MEMORY: u64 = 3 * MAX_CHUNK as u64;

/// Threads of a walk, with the memory of their buffers.
pub(super) struct Threads {
    pub count: usize,
    _memory: Share,
}

impl BackupRequest {
    /// A backup of these paths with nothing excluded.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            excludes: Vec::new(),
            one_file_system: true,
            hostname: String::new(),
            username: String::new(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            tags: Vec::new(),
            time: None,
            parent: ParentChoice::Auto,
            adopt: Vec::new(),
            workers: None,
            program_version: concat!("orlop ", env!("CARGO_PKG_VERSION")).to_owned(),
            faults: FaultHook::default(),
            streaming: Streaming::default(),
        }
    }

    /// Lets a test fail or interfere at each step of reading.
    #[must_use]
    pub fn with_faults(mut self, faults: Arc<dyn SourceFaults>) -> Self {
        self.faults = FaultHook(Some(faults));
        self
    }

    pub(super) fn worker_count(&self) -> usize {
        let processors = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.workers.unwrap_or_else(processors).get()
    }

    /// The threads of a walk: as many as are wanted and as there is memory for, at least one.
    pub(super) fn threads(&self, memory: &MemoryBudget) -> Threads {
        let wanted = self.worker_count() as u64;
        let memory = memory.draw_part(THREAD_MEMORY, wanted * THREAD_MEMORY);
        let count = usize::try_from((memory.bytes() / THREAD_MEMORY).clamp(1, wanted.max(1))).unwrap_or(1);
        Threads { count, _memory: memory }
    }

    /// The paths as a snapshot records them: cleaned and sorted, as text.
    pub(super) fn path_texts(&self) -> Vec<String> {
        let mut texts: Vec<String> =
            self.paths.iter().map(|path| path.components().collect::<PathBuf>().to_string_lossy().into_owned()).collect();
        texts.sort();
        texts.dedup();
        texts
    }
}
