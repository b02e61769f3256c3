//! Manners of a restore towards the page cache: large files go to the disk as soon as they are complete, and leave the cache when they
//! are there.
//!
//! Nothing is slower for it, because the restore waits for the disk at the end in any case; the disk only begins earlier. Whoever needs
//! a file reads it when the time has come, and may be on another node.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::fs::Advice;

use crate::source::page_cache::LARGE;

/// Files that are on their way to the disk. Each holds a handle.
const MOST_WAITING: usize = 16;

/// Large files that were restored not long ago.
#[derive(Debug, Default)]
pub(super) struct WrittenFiles(Mutex<VecDeque<Arc<OwnedFd>>>);

impl WrittenFiles {
    /// A file of this size is complete.
    pub(super) fn add(&self, file: &Arc<OwnedFd>, size: u64) {
        if size < LARGE {
            return;
        }
        // Pages that wait for the disk cannot be let go of; asked to, the kernel begins to write them and does not wait.
        let_go(file);
        let mut waiting = self.0.lock();
        waiting.push_back(file.clone());
        let oldest = if waiting.len() > MOST_WAITING { waiting.pop_front() } else { None };
        drop(waiting);
        oldest.iter().for_each(let_go);
    }

    /// Everything is on the disk.
    pub(super) fn let_go_of_all(&self) {
        std::mem::take(&mut *self.0.lock()).iter().for_each(let_go);
    }
}

fn let_go(file: &Arc<OwnedFd>) {
    // Only advice: nothing depends on it.
    let _ = rustix::fs::fadvise(file.as_fd(), 0, None, Advice::DontNeed);
}
