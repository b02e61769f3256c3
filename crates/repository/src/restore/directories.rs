//! Directories of the target: made when first needed, their metadata set when everything in them is done.

use std::{io, os::fd::AsFd, sync::Arc};

use rustix::fs::{Mode, OFlags};

use super::{
    report::add,
    restorer::Restorer,
    settle::{Finding, Subject, handle_path, settle, settle_new},
    target,
};
use crate::{Counters, error::Result, format::Node, source::handles::Place};

/// A directory whose metadata is still to be set.
pub(super) struct DirectoryRecord {
    pub(super) place: Arc<Place>,
    node: Node,
    /// It was there before, and is the root of what was backed up: a mount point whose owner the platform decides.
    is_platform: bool,
    /// See [`Directory::is_own`].
    is_own: bool,
}

/// A directory of the target.
pub(super) struct Directory {
    /// What is to be set at the end; nothing of a directory that belongs to somebody else.
    pub(super) record: Option<DirectoryRecord>,
    /// This run made it, and what this run makes in it is known beforehand.
    pub(super) is_own: bool,
}

impl Restorer {
    /// Makes sure that a directory is there. `None` if it could not be made.
    pub(super) fn make_directory(&self, place: &Arc<Place>, node: Node, snapshot_path: &[u8]) -> Option<Directory> {
        let is_above = self.selection.is_above_backup(snapshot_path);
        let (is_new, is_own) = match self.try_make_directory(place, is_above) {
            Ok(made) => made,
            Err(error) => {
                let operation =
                    if is_above { "pass through the directory above what was backed up" } else { "make the directory" };
                self.failed(self.target_path(snapshot_path), operation, &error);
                return None;
            }
        };
        self.note_device(place);
        if is_above && !is_new {
            return Some(Directory { record: None, is_own: false });
        }
        add(&self.counting.dirs, 1);
        Counters::add(&self.control.counters().dirs_done, 1);
        let is_platform = !is_new && self.selection.is_backup_root(snapshot_path);
        Some(Directory { record: Some(DirectoryRecord { place: place.clone(), node, is_platform, is_own }), is_own })
    }

    /// Whether the directory is new, and whether it is this run's own.
    fn try_make_directory(&self, place: &Arc<Place>, is_above: bool) -> io::Result<(bool, bool)> {
        let Some(above) = place.parent() else { return Ok((false, false)) };
        let directory = self.handles.open(above)?;
        let is_new = target::ensure_directory(&self.handles, &self.control, directory.as_fd(), place.name(), !is_above)?;
        if is_new && let Ok((handle, stat)) = self.handles.open_with_stat(place, OFlags::empty()) {
            return Ok((true, self.maker.owns(handle.as_fd(), &stat)));
        }
        let handle = self.handles.open(place)?;
        if !is_new && !is_above {
            make_writable(handle.as_fd());
        }
        Ok((is_new, false))
    }

    /// Sets the metadata of directories that are complete. Those through which nothing could be reached any more wait until the end:
    /// there may be directories below them, and files that further names will be linked to.
    pub(super) fn settle_directories(&self, directories: Vec<DirectoryRecord>) -> Result<()> {
        let (passable, waiting): (Vec<_>, Vec<_>) =
            directories.into_iter().partition(|record| self.maker.can_pass(&record.node, self.policy));
        self.waiting_directories.lock().extend(waiting);
        self.for_each(&passable, |_, record, _: &mut ()| {
            self.settle_directory(record);
            Ok(())
        })
    }

    /// The same for those that had to wait, those further down first.
    pub(super) fn settle_waiting_directories(&self) -> Result<()> {
        for record in std::mem::take(&mut *self.waiting_directories.lock()) {
            self.check()?;
            self.settle_directory(&record);
        }
        Ok(())
    }

    fn settle_directory(&self, record: &DirectoryRecord) {
        match self.try_settle_directory(record) {
            Ok(findings) => self.add_findings(|| record.place.path(), findings),
            Err(error) => self.failed(record.place.path(), "set the metadata of the directory", &error),
        }
    }

    fn try_settle_directory(&self, record: &DirectoryRecord) -> io::Result<Vec<Finding>> {
        let DirectoryRecord { place, node, is_platform, is_own } = record;
        let Some(above) = place.parent() else { return Ok(Vec::new()) };
        // Where it can be opened for reading, attributes can be reached without a path.
        let Ok(handle) = self.handles.open_readable(place) else {
            let (handle, directory) = (self.handles.open(place)?, self.handles.open(above)?);
            let subject = Subject::Unopened(handle.as_fd(), directory.as_fd(), place.name());
            return Ok(settle(subject, node, self.policy, *is_platform));
        };
        let subject = Subject::Open(handle.as_fd());
        if *is_own {
            return Ok(settle_new(subject, node, self.policy, self.maker.made(0o700)).0);
        }
        Ok(settle(subject, node, self.policy, *is_platform))
    }
}

/// Lets its owner write into a directory for the time of the restore; its mode is set at the end anyway. Root need not.
pub(super) fn make_writable(handle: std::os::fd::BorrowedFd<'_>) {
    let Ok(stat) = rustix::fs::fstat(handle) else { return };
    let user = rustix::process::geteuid();
    if user.is_root() || stat.st_uid != user.as_raw() || stat.st_mode & 0o700 == 0o700 {
        return;
    }
    // If this fails, making entries will say so.
    let _ = rustix::fs::chmod(handle_path(handle), Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700));
}
