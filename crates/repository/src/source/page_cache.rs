//! Manners towards the page cache, which the workloads of the node need more than a backup does.
//!
//! A backup reads a file once and never again, so its pages are let go of as soon as they are read, unless somebody had the file in
//! the cache before. It costs little beside reading: a few looks for each file, and a call for each [`STEP`] in which the kernel
//! frees at once what it would have had to find and free later.

use std::{
    io::IoSliceMut,
    os::fd::BorrowedFd,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use rustix::{
    fs::Advice,
    io::{Errno, ReadWriteFlags, preadv2},
};

/// Files of this size are worth manners: below it the calls would take longer than the pages matter.
pub const LARGE: u64 = 1 << 20;

/// Bytes that are let go of at a time: enough for the calls not to count beside the reading, and a multiple of the largest pages, for
/// the kernel does not take a page apart.
const STEP: u64 = 16 << 20;

/// One look into the cache for so many bytes, each of which may cost the disk a page out of its order.
const LOOK_EVERY: u64 = 64 << 20;

/// More looks than this tell nothing new.
const MOST_LOOKS: u64 = 8;

/// How far the pages of a file that is read from its beginning to its end have been let go of.
#[derive(Debug)]
pub struct Passage {
    let_go: AtomicU64,
    /// Nobody had it in the cache.
    is_ours: bool,
}

impl Passage {
    /// Before a file is read: tells the kernel how, and finds out whose its pages are.
    #[must_use]
    pub fn begin(file: BorrowedFd<'_>, size: u64) -> Self {
        if size < LARGE {
            return Self { let_go: AtomicU64::new(0), is_ours: false };
        }
        // The looks come first: what is read ahead for us is not somebody else's.
        let is_ours = !is_somebodys(file, size);
        // Only advice: nothing depends on it. The second one keeps pages that are somebody's from looking as if they were needed more
        // often than they are, and ours from pushing them out.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        let _ = rustix::fs::fadvise(file, 0, None, Advice::NoReuse);
        Self { let_go: AtomicU64::new(0), is_ours }
    }

    /// The file was read up to here and is not needed any more.
    pub fn passed(&self, file: BorrowedFd<'_>, offset: u64) {
        let from = self.let_go.load(Relaxed);
        let end = offset / STEP * STEP;
        if !self.is_ours || end <= from {
            return;
        }
        self.let_go.store(end, Relaxed);
        let _ = rustix::fs::fadvise(file, from, (end - from).try_into().ok(), Advice::DontNeed);
    }

    /// The file was read to its end.
    pub fn end(&self, file: BorrowedFd<'_>) {
        if self.is_ours {
            let _ = rustix::fs::fadvise(file, self.let_go.load(Relaxed), None, Advice::DontNeed);
        }
    }
}

/// Whether somebody seems to work with the file, by a few looks at pages far from one another.
fn is_somebodys(file: BorrowedFd<'_>, size: u64) -> bool {
    let looks = (size / LOOK_EVERY + 1).min(MOST_LOOKS);
    (0..looks).any(|look| is_cached(file, size / looks * look) != Some(false))
}

/// Whether the page at `offset` is in the cache; `None` where the file system does not say.
pub(crate) fn is_cached(file: BorrowedFd<'_>, offset: u64) -> Option<bool> {
    let mut byte = [0];
    // What would have to wait for the disk is refused.
    match preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
        Ok(_) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{fs::File, io::Write, os::fd::AsFd, path::Path, time::Duration};

    /// A file that is on the disk and not in the cache; `None` on a file system that keeps everything in memory or tells nothing.
    pub(crate) fn cold_file(path: &Path, content: &[u8]) -> Option<File> {
        let mut file = File::create(path).unwrap();
        file.write_all(content).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let file = File::open(path).unwrap();
        let is_cold = is_cached(file.as_fd(), content.len() as u64 / 2) == Some(false);
        if is_cold {
            // The look has asked for its page.
            std::thread::sleep(Duration::from_millis(50));
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            return Some(file);
        }
        println!("skipped: the file system of {} does not say what is in the cache", path.display());
        None
    }

    /// Whether hardly anything between two offsets is in the cache. A look asks for its page and those behind it, which may come late
    /// on a busy disk, and a page that is on its way cannot be let go of: so many places are looked at, each far from the others.
    pub(crate) fn is_cold(file: &File, from: u64, to: u64) -> bool {
        const APART: usize = 512 << 10;
        let places: Vec<u64> = (from + 8_192..to).step_by(APART).collect();
        let cached = places.iter().filter(|place| is_cached(file.as_fd(), **place) != Some(false)).count();
        cached * 3 <= places.len()
    }

    fn read_through(file: &File, passage: &Passage, size: u64) {
        let mut buffer = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < size {
            offset += rustix::io::pread(file, &mut buffer, offset).unwrap() as u64;
            passage.passed(file.as_fd(), offset);
        }
    }

    /// Reliability F12: pages that were read are let go of on the way, not only when a file of a tebibyte is done.
    #[test]
    fn pages_are_let_go_of_as_they_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let size = STEP + (3 << 20);
        let Some(file) = cold_file(&directory.path().join("f"), &vec![7; size as usize]) else { return };
        let passage = Passage::begin(file.as_fd(), size);
        assert!(passage.is_ours);
        read_through(&file, &passage, size);
        assert_eq!(is_cached(file.as_fd(), STEP + 4_096), Some(true));
        assert!(is_cold(&file, 0, STEP));
        passage.end(file.as_fd());
        assert!(is_cold(&file, STEP, size));
    }

    /// What somebody works with stays where it is.
    #[test]
    fn pages_of_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let size = 4 << 20;
        let Some(file) = cold_file(&directory.path().join("f"), &vec![7; size as usize]) else { return };
        std::fs::read(directory.path().join("f")).unwrap();
        let passage = Passage::begin(file.as_fd(), size);
        read_through(&file, &passage, size);
        passage.end(file.as_fd());
        assert_eq!(is_cached(file.as_fd(), 2 << 20), Some(true));
    }
}
