//! Directories of the target: made when first needed, their metadata set when everything below is done.

use std::{os::fd::AsFd, sync::Arc};

use rustix::fs::{Mode, OFlags};

use super::{
    report::add,
    restorer::Restorer,
    settle::{Subject, handle_path, settle},
    target,
};
use crate::{Counters, error::Result, format::Node, source::handles::Place};

/// A directory whose metadata is still to be set.
pub(super) struct DirectoryRecord {
    place: Arc<Place>,
    node: Node,
    /// It was there before, and is the root of what was backed up: a mount point whose owner the platform decides.
    is_platform: bool,
}

impl Restorer {
    /// Makes sure that a directory is there. Its record, if its metadata is to be set; `None` if it could not be made.
    pub(super) fn make_directory(&self, place: &Arc<Place>, node: Node, snapshot_path: &[u8]) -> Option<Option<DirectoryRecord>> {
        let is_above = self.selection.is_above_backup(snapshot_path);
        let made = place.parent().map_or(Ok(false), |above| {
            let directory = self.handles.open(above)?;
            let is_new = target::ensure_directory(&self.handles, directory.as_fd(), place.name(), !is_above)?;
            let handle = self.handles.open(place)?;
            if !is_new && !is_above {
                make_writable(handle.as_fd());
            }
            Ok(is_new)
        });
        match made {
            Ok(is_new) => {
                self.note_device(place);
                if is_above && !is_new {
                    return Some(None);
                }
                add(&self.counting.dirs, 1);
                Counters::add(&self.control.counters().dirs_done, 1);
                let is_platform = !is_new && self.selection.is_backup_root(snapshot_path);
                Some(Some(DirectoryRecord { place: place.clone(), node, is_platform }))
            }
            Err(error) => {
                let operation =
                    if is_above { "pass through the directory above what was backed up" } else { "make the directory" };
                self.failed(self.target_path(snapshot_path), operation, &error);
                None
            }
        }
    }

    /// Sets the metadata of directories, those further down first: setting that of an entry changes the times of its directory, and a
    /// directory that may not be written must be the last to become so.
    pub(super) fn settle_directories(&self, directories: Vec<DirectoryRecord>) -> Result<()> {
        for DirectoryRecord { place, node, is_platform } in directories.into_iter().rev() {
            self.check()?;
            let Some(above) = place.parent() else { continue };
            let findings = self.handles.open(&place).and_then(|handle| {
                let policy = self.policy;
                // Where it can be opened for reading, attributes can be reached without a path.
                match self.handles.open_directory(handle.as_fd(), b".", OFlags::RDONLY) {
                    Ok(open) => Ok(settle(Subject::Open(open.as_fd()), &node, policy, is_platform)),
                    Err(_) => {
                        let directory = self.handles.open(above)?;
                        Ok(settle(Subject::Unopened(handle.as_fd(), directory.as_fd(), place.name()), &node, policy, is_platform))
                    }
                }
            });
            match findings {
                Ok(findings) => self.add_findings(|| place.path(), findings),
                Err(error) => self.failed(place.path(), "set the metadata of the directory", &error),
            }
        }
        Ok(())
    }
}

/// Lets its owner write into a directory for the time of the restore; its mode is set at the end anyway. Root need not.
fn make_writable(handle: std::os::fd::BorrowedFd<'_>) {
    let Ok(stat) = rustix::fs::fstat(handle) else { return };
    let user = rustix::process::geteuid();
    if user.is_root() || stat.st_uid != user.as_raw() || stat.st_mode & 0o700 == 0o700 {
        return;
    }
    // If this fails, making entries will say so.
    let _ = rustix::fs::chmod(handle_path(handle), Mode::from_raw_mode(stat.st_mode & 0o7777 | 0o700));
}
