//! The content of one file: opened safely, read by positions, holes told without reading them.

use std::{io, os::fd::OwnedFd, sync::OnceLock};

use rustix::{
    buffer::spare_capacity,
    fd::{AsFd, BorrowedFd},
    fs::{Mode, OFlags, SeekFrom, Stat},
    io::Errno,
    thread::CapabilitySet,
};

use super::{handles::Handles, page_cache::Passage};

/// A disk block of `st_blocks`.
const BLOCK: u64 = 512;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Bytes that must be read; so many at least.
    Data(u64),
    /// Zeros that take no room on the disk; so many.
    Hole(u64),
    /// Nothing more.
    End,
}

/// An open regular file and its metadata at that moment.
#[derive(Debug)]
pub struct Content {
    handle: OwnedFd,
    stat: Stat,
    sparse: bool,
    passage: Passage,
}

impl Content {
    /// Opens an entry of a directory if it is a regular file. A link is not followed, a FIFO does not block, and the time of
    /// access stays as it is where that is permitted: to the owner of the file, as it was `seen` before, and to who may act as one.
    ///
    /// # Errors
    /// The system's; `Ok(None)` if it is not a regular file any more.
    pub fn open(handles: &Handles, directory: BorrowedFd<'_>, name: &[u8], seen: &Stat) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        // Asking in vain would open every file of another twice.
        let owner = (seen.st_dev, seen.st_uid);
        let asks = may_act_as(seen.st_uid) && !handles.noisy_owners().contains(owner);
        let quietly = if asks { OFlags::NOATIME } else { OFlags::empty() };
        let handle = match handles.open_beneath(directory, name, flags | quietly, Mode::empty()) {
            // A user namespace does not know the owner, or he has changed since.
            Err(error) if asks && Errno::from_io_error(&error) == Some(Errno::PERM) => {
                let handle = handles.open_beneath(directory, name, flags, Mode::empty())?;
                handles.noisy_owners().add(owner);
                handle
            }
            other => other?,
        };
        let stat = rustix::fs::fstat(&handle)?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(None);
        }
        let size = file_size(&stat);
        let passage = Passage::begin(handle.as_fd(), size);
        let sparse = u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK < size;
        Ok(Some(Self { handle, stat, sparse, passage }))
    }

    /// The metadata as of opening.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// The size in bytes as of opening. Reading ends there even if the file grows, so that a log that is written all the time
    /// does not keep us for ever.
    #[must_use]
    pub fn size(&self) -> u64 {
        file_size(&self.stat)
    }

    /// The open file.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Everything up to `offset` was read and will not be read again.
    pub fn passed(&self, offset: u64) {
        self.passage.passed(self.handle(), offset);
    }

    /// The file was read to its end.
    pub fn end(&self) {
        self.passage.end(self.handle());
    }

    /// What lies at `offset`.
    ///
    /// # Errors
    /// The system's.
    pub fn extent(&self, offset: u64) -> io::Result<Extent> {
        let left = self.size().saturating_sub(offset);
        if left == 0 {
            return Ok(Extent::End);
        }
        if !self.sparse {
            return Ok(Extent::Data(left));
        }
        match rustix::fs::seek(&self.handle, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok(Extent::Hole((data - offset).min(left))),
            Ok(_) => {
                let hole = rustix::fs::seek(&self.handle, SeekFrom::Hole(offset))?;
                Ok(Extent::Data(hole.saturating_sub(offset).clamp(1, left)))
            }
            // No data from here to the end.
            Err(Errno::NXIO) => Ok(Extent::Hole(left)),
            // A file system that does not know holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Extent::Data(left)),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends up to `length` bytes from `offset` on to `buffer`, fewer only at the end of the file. Returns how many.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, offset: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let mut done = 0;
        buffer.reserve(length);
        while done < length {
            let at = offset + done as u64;
            let before = buffer.len();
            let result = if buffer.capacity() - before <= length - done {
                rustix::io::pread(&self.handle, spare_capacity(buffer), at)
            } else {
                // More room than is asked for: reading into it all would go beyond the end of the request.
                buffer.resize(before + length - done, 0);
                let result = rustix::io::pread(&self.handle, &mut buffer[before..], at);
                buffer.truncate(before + result.unwrap_or(0));
                result
            };
            match result {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    /// Whether size or times differ now from what they were when the file was opened.
    ///
    /// # Errors
    /// The system's.
    pub fn has_changed(&self) -> io::Result<bool> {
        let now = rustix::fs::fstat(&self.handle)?;
        let seen = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        Ok(seen(&now) != seen(&self.stat))
    }
}

/// Whether this process may do what the kernel grants to a file's owner.
fn may_act_as(owner: u32) -> bool {
    static ANY_OWNER: OnceLock<bool> = OnceLock::new();
    let any = || rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FOWNER));
    rustix::process::geteuid().as_raw() == owner || *ANY_OWNER.get_or_init(any)
}

/// The size of a file in bytes; the kernel gives none below zero.
#[must_use]
pub fn file_size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::FileExt;

    fn open(directory: &std::path::Path, name: &str) -> io::Result<Option<Content>> {
        let handle = std::fs::File::open(directory).unwrap();
        let stat = rustix::fs::statat(&handle, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        Content::open(&Handles::default(), handle.as_fd(), name.as_bytes(), &stat)
    }

    /// The time of access stays as it is for an owner, and a wrong guess at the owner costs nothing but that.
    #[test]
    fn reading_leaves_the_time_of_access_alone() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, b"content").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        std::fs::File::open(&path).unwrap().set_times(std::fs::FileTimes::new().set_accessed(long_ago)).unwrap();
        let mut buffer = Vec::new();
        open(directory.path(), "f").unwrap().unwrap().read(0, 7, &mut buffer).unwrap();
        assert_eq!((buffer.as_slice(), std::fs::metadata(&path).unwrap().atime()), (b"content".as_slice(), 1_000_000));
        let handle = std::fs::File::open(directory.path()).unwrap();
        let mut seen = rustix::fs::stat(&path).unwrap();
        seen.st_uid = 4_000_000;
        let mistaken = Content::open(&Handles::default(), handle.as_fd(), b"f", &seen);
        assert!(mistaken.unwrap().is_some());
    }

    /// Where the kernel refuses to leave the time of access alone, it is asked once for each owner and not for each of his files.
    #[test]
    fn a_refusal_is_remembered() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can take a right from itself");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let seen = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, b"content").unwrap();
            std::os::unix::fs::chown(&path, Some(4_711), None).unwrap();
            rustix::fs::stat(&path).unwrap()
        };
        let (first, second) = (seen("first"), seen("second"));
        assert!(may_act_as(4_711), "known before the right is gone");
        let handles = Handles::default();
        let handle = std::fs::File::open(directory.path()).unwrap();
        let powerless = || {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::FOWNER);
            rustix::thread::set_capabilities(None, sets).unwrap();
            assert!(Content::open(&handles, handle.as_fd(), b"first", &first).unwrap().is_some());
            assert!(handles.noisy_owners().contains((first.st_dev, 4_711)));
            assert!(Content::open(&handles, handle.as_fd(), b"second", &second).unwrap().is_some());
        };
        std::thread::scope(|scope| scope.spawn(powerless).join().unwrap());
        assert!(!handles.noisy_owners().contains((first.st_dev, 0)));
    }

    /// Reliability F4: a hole of a tebibyte is told at once.
    #[test]
    fn holes_are_told_and_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("sparse")).unwrap();
        file.write_all_at(b"head", 0).unwrap();
        file.set_len(1 << 40).unwrap();
        drop(file);
        let content = open(directory.path(), "sparse").unwrap().unwrap();
        let Extent::Data(head) = content.extent(0).unwrap() else { panic!("no data") };
        assert_eq!(content.extent(head).unwrap(), Extent::Hole((1 << 40) - head));
        assert_eq!(content.extent(1 << 40).unwrap(), Extent::End);
    }

    /// Reliability F1 and F3.
    #[test]
    fn links_are_refused_and_fifos_do_not_block() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link")).unwrap();
        assert!(open(directory.path(), "link").is_err());
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(open(directory.path(), "fifo").unwrap().is_none());
        assert!(open(directory.path(), "missing").is_err());
    }

    #[test]
    fn reading_is_exact_whatever_room_there_is_and_changes_are_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let data: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let content = open(directory.path(), "f").unwrap().unwrap();
        for mut buffer in [Vec::new(), Vec::with_capacity(1 << 20)] {
            assert_eq!(content.read(10, 500, &mut buffer).unwrap(), 500);
            assert_eq!(content.read(510, 1 << 20, &mut buffer).unwrap(), 100_000 - 510);
            assert_eq!(buffer, data[10..]);
        }
        assert!(!content.has_changed().unwrap());
        std::fs::write(&path, b"other").unwrap();
        assert!(content.has_changed().unwrap());
    }
}
