//! What the parts of one restore share.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

use super::{
    links::LinkGroups,
    report::{Counting, RestoreReport},
    request::{Existing, RestoreRequest},
    select::Selection,
    settle::{Finding, Policy},
};
use crate::{
    Counters, SnapshotId, TreeId,
    chunker::MIN_CHUNK,
    control::Control,
    error::{Error, Result},
    format::{Id, Snapshot},
    index::Index,
    lock::LockHandle,
    pack::BlobReader,
    source::{
        handles::{Handles, Place},
        listing,
        problem::{ProblemLog, class_of},
    },
};

/// Shared by all threads of one restore.
pub(super) struct Restorer {
    pub(super) root: Arc<Place>,
    pub(super) handles: Handles,
    pub(super) selection: Selection,
    pub(super) policy: Policy,
    pub(super) index: Arc<Index>,
    pub(super) reader: BlobReader,
    pub(super) lock: LockHandle,
    pub(super) control: Control,
    pub(super) workers: usize,
    pub(super) counting: Counting,
    pub(super) errors: ProblemLog,
    pub(super) warnings: ProblemLog,
    pub(super) groups: LinkGroups,
    /// The blob that a hole is made of, and its plain length.
    pub(super) zero_chunk: (Id, usize),
    /// Set when the target has no room left: nothing more is fetched then.
    pub(super) is_full: AtomicBool,
    /// Devices that were written to, with a handle on each.
    written: Mutex<Vec<(u64, Arc<std::os::fd::OwnedFd>)>>,
    sync: bool,
}

impl Restorer {
    pub(super) fn new(
        request: &RestoreRequest,
        snapshot: &Snapshot,
        index: Arc<Index>,
        reader: BlobReader,
        lock: LockHandle,
        control: &Control,
    ) -> Result<Self> {
        use std::os::unix::ffi::OsStrExt;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // The root is the caller's: links in it are followed.
        let handle = rustix::fs::openat(CWD, &request.root, flags, Mode::empty())
            .map_err(|errno| file_error("open the root of the restore", &request.root, errno.into()))?;
        let restorer = Self {
            root: Place::root(request.root.as_os_str().as_bytes(), handle),
            handles: Handles::default(),
            selection: Selection::new(request, &snapshot.paths)?,
            policy: Policy { ownership: request.ownership, privileged: request.privileged },
            index,
            reader,
            lock,
            control: control.clone(),
            workers: request.worker_count(),
            counting: Counting::default(),
            errors: ProblemLog::default(),
            warnings: ProblemLog::default(),
            groups: LinkGroups::default(),
            zero_chunk: (Id::of(&[0; MIN_CHUNK]), MIN_CHUNK),
            is_full: AtomicBool::new(false),
            written: Mutex::default(),
            sync: request.sync,
        };
        if request.existing == Existing::RefuseIfNotEmpty {
            restorer.refuse_if_not_empty(snapshot)?;
        }
        Ok(restorer)
    }

    fn refuse_if_not_empty(&self, snapshot: &Snapshot) -> Result<()> {
        for path in &snapshot.paths {
            let mut place = self.root.clone();
            for name in path.as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
                place = place.child(name);
            }
            let Ok(handle) = self.handles.open_for_listing(&place, OFlags::DIRECTORY) else { continue };
            use std::os::fd::AsFd;
            // File systems bring their own directory for what they find after a crash.
            if listing::list(handle.as_fd()).names.iter().any(|name| name != b"lost+found") {
                return Err(file_error("restore into", &place.path(), Errno::NOTEMPTY.into()));
            }
        }
        Ok(())
    }

    /// Something that will not be as the snapshot says.
    pub(super) fn failed(&self, path: PathBuf, operation: &str, error: &io::Error) {
        if matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT)) {
            self.is_full.store(true, Relaxed);
        }
        self.add_error(path, format!("cannot {operation}: {error}"), class_of(error));
    }

    /// The same in words of our own.
    pub(super) fn add_error(&self, path: PathBuf, reason: String, class: &'static str) {
        // Paths can be personal: the report names them, the log only on request.
        tracing::debug!(path = %path.display(), reason, "cannot restore an entry");
        self.errors.add(path, reason, class);
        Counters::add(&self.control.counters().errors, 1);
    }

    /// What settling an entry's metadata found.
    pub(super) fn add_findings(&self, path: impl Fn() -> PathBuf, findings: Vec<Finding>) {
        for Finding { is_error, reason, class } in findings {
            if is_error {
                self.add_error(path(), reason, class);
            } else {
                self.warnings.add(path(), reason, class);
            }
        }
    }

    /// Remembers a file system that was written to.
    pub(super) fn note_device(&self, place: &Arc<Place>) {
        if !self.sync {
            return;
        }
        let Ok(handle) = self.handles.open(place) else { return };
        let Ok(stat) = rustix::fs::fstat(&handle) else { return };
        let mut written = self.written.lock();
        if written.iter().any(|(device, _)| *device == stat.st_dev) {
            return;
        }
        use std::os::fd::AsFd;
        // A handle that only reaches entries cannot be told to write to the disk.
        if let Ok(handle) = self.handles.open_directory(handle.as_fd(), b".", OFlags::RDONLY) {
            written.push((stat.st_dev, Arc::new(handle)));
        }
    }

    /// Waits until the disks have everything; only then is a full or failing one sure to have said so.
    pub(super) fn sync_devices(&self) {
        for (_, handle) in std::mem::take(&mut *self.written.lock()) {
            if let Err(errno) = rustix::fs::syncfs(handle) {
                self.failed(self.root.path(), "write everything to the disk", &errno.into());
            }
        }
    }

    /// All of the restore, on a thread that may block.
    pub(super) fn run(&self, root: TreeId) -> Result<()> {
        let directories = self.walk(root)?;
        self.link_names()?;
        self.settle_directories(directories)?;
        self.sync_devices();
        Ok(())
    }

    pub(super) fn report(&self, snapshot: SnapshotId, duration: Duration) -> RestoreReport {
        self.counting.report(snapshot, self.errors.take(), self.warnings.take(), duration)
    }

    /// Whether the operation should go on.
    pub(super) fn check(&self) -> Result<()> {
        self.control.check()?;
        self.lock.check()
    }
}

pub(super) fn file_error(operation: &'static str, path: &Path, error: io::Error) -> Error {
    Error::File { operation, path: path.display().to_string(), source: Arc::new(error) }
}
