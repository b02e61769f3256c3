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
    batch::BATCH_MEMORY,
    directories::DirectoryRecord,
    links::LinkGroups,
    maker::Maker,
    pack_room::PackRoom,
    report::{Counting, RestoreReport},
    request::{Existing, RestoreRequest},
    select::Selection,
    settle::{Finding, Policy},
    surplus::Surplus,
    written::WrittenFiles,
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
        problem::{ProblemLog, class_of},
    },
};

/// File systems with a server behind them, which may take what is written and refuse it later, as the kernel numbers them: FUSE, NFS,
/// SMB in three versions, Ceph, 9P, AFS, Lustre.
const SPEAK_LATE: [u64; 9] =
    [0x6573_5546, 0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x00c3_6400, 0x0102_1997, 0x5346_414f, 0x0bd0_0bd0];

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
    pub(super) maker: Maker,
    /// Directories whose metadata waits until everything else is done.
    pub(super) waiting_directories: Mutex<Vec<DirectoryRecord>>,
    /// What the snapshot does not have, if that is to be removed.
    pub(super) surplus: Option<Surplus>,
    /// Bytes that a batch may take in memory.
    pub(super) batch_memory: usize,
    /// How much of packs may be in memory.
    pub(super) pack_room: PackRoom,
    /// The blob that a hole is made of, and its plain length.
    pub(super) zero_chunk: (Id, usize),
    /// Set when the target has no room left: nothing more is fetched then.
    pub(super) is_full: AtomicBool,
    /// Large files that are on their way to the disk.
    pub(super) written_files: WrittenFiles,
    /// Devices that were written to, with a handle on each.
    written: Mutex<Vec<(u64, Arc<std::os::fd::OwnedFd>)>>,
    /// Whether one of them may refuse what was written only later.
    speaks_late: AtomicBool,
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
        Ok(Self {
            root: open_root(&request.root)?,
            handles: Handles::default(),
            selection: Selection::new(request, &snapshot.paths)?,
            policy: Policy { ownership: request.ownership, privileged: request.privileged },
            index,
            pack_room: PackRoom::new(reader.memory(), request.worker_count()),
            reader,
            lock,
            control: control.clone(),
            workers: request.worker_count(),
            counting: Counting::default(),
            errors: ProblemLog::default(),
            warnings: ProblemLog::default(),
            groups: LinkGroups::default(),
            maker: Maker::new(),
            waiting_directories: Mutex::default(),
            surplus: (request.existing == Existing::Replace).then(|| Surplus::of(snapshot)),
            batch_memory: BATCH_MEMORY,
            zero_chunk: (Id::of(&[0; MIN_CHUNK]), MIN_CHUNK),
            is_full: AtomicBool::new(false),
            written_files: WrittenFiles::default(),
            written: Mutex::default(),
            speaks_late: AtomicBool::new(false),
            sync: request.sync,
        })
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
        let Some(device) = self.device_of(place) else { return };
        let mut written = self.written.lock();
        if written.iter().any(|(known, _)| *known == device) {
            return;
        }
        let Ok(handle) = self.handles.open(place) else { return };
        use std::os::fd::AsFd;
        // A handle that only reaches entries cannot be told to write to the disk.
        if let Ok(handle) = self.handles.open_directory(handle.as_fd(), b".", OFlags::RDONLY) {
            let kind = rustix::fs::fstatfs(&handle).map(|found| u64::from(found.f_type.cast_unsigned() as u32));
            if kind.is_ok_and(|kind| SPEAK_LATE.contains(&kind)) {
                self.speaks_late.store(true, Relaxed);
            }
            written.push((device, Arc::new(handle)));
        }
    }

    /// The device that a place is on. The root was opened by its path and has not been asked for it.
    fn device_of(&self, place: &Arc<Place>) -> Option<u64> {
        place.device().or_else(|| {
            let handle = self.handles.open(place).ok()?;
            rustix::fs::fstat(handle).ok().map(|stat| stat.st_dev)
        })
    }

    /// The devices that are waited for at the end.
    #[cfg(test)]
    pub(super) fn written_devices(&self) -> Vec<u64> {
        self.written.lock().iter().map(|(device, _)| *device).collect()
    }

    /// Sends a large file that is complete to the disk. Who does not wait for the disk does not want it to begin either.
    pub(super) fn note_written(&self, file: &Arc<std::os::fd::OwnedFd>, size: u64) {
        if self.sync {
            self.written_files.add(file, size);
        }
    }

    /// Waits until a file that was written is accepted, where it may be refused only then. Without this it would be refused at its
    /// closing, of which nobody hears.
    pub(super) fn sync_late(&self, handle: &std::os::fd::OwnedFd) -> io::Result<()> {
        if !self.speaks_late.load(Relaxed) {
            return Ok(());
        }
        match rustix::fs::fsync(handle) {
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Waits until the disks have everything; only then is a full or failing one sure to have said so.
    pub(super) fn sync_devices(&self) -> Result<()> {
        let written = self.written.lock().clone();
        for (_, handle) in written {
            self.check()?;
            if let Err(errno) = rustix::fs::syncfs(handle) {
                self.failed(self.root.path(), "write everything to the disk", &errno.into());
            }
        }
        self.written_files.let_go_of_all();
        Ok(())
    }

    /// All of the restore, on a thread that may block: one batch is restored while the next one is collected.
    pub(super) fn run(&self, root: TreeId) -> Result<()> {
        let (sender, batches) = crossbeam_channel::bounded(0);
        let (walked, restored) = std::thread::scope(|scope| {
            let walker = scope.spawn(move || self.walk(root, |batch| sender.send(batch).map_err(|_| Error::Cancelled)));
            let restored = batches.iter().try_for_each(|batch| self.restore_batch(batch));
            // A walk that goes on finds nobody to take its batch.
            drop(batches);
            (joined(walker.join()), restored)
        });
        restored.and(walked)?;
        self.settle_waiting_directories()?;
        if self.is_full.load(Relaxed) {
            self.add_error(self.root.path(), "the restore was stopped: the file system has no room left".to_owned(), "space");
        }
        self.sync_devices()?;
        if self.remove_surplus()? > 0 { self.sync_devices() } else { Ok(()) }
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

/// What a thread came to.
pub(super) fn joined<T>(thread: std::thread::Result<Result<T>>) -> Result<T> {
    thread.unwrap_or_else(|_| Err(Error::Internal { reason: "a thread of the restore panicked".to_owned() }))
}

/// The directory below which everything is restored. It is the caller's: links that lead to it are followed.
pub(super) fn open_root(path: &Path) -> Result<Arc<Place>> {
    use std::os::unix::ffi::OsStrExt;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| file_error("open the root of the restore", path, errno.into()))?;
    Ok(Place::root(path.as_os_str().as_bytes(), handle))
}

pub(super) fn file_error(operation: &'static str, path: &Path, error: io::Error) -> Error {
    Error::File { operation, path: path.display().to_string(), source: Arc::new(error) }
}
