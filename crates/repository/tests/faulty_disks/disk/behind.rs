//! What a call does with the folder behind, after the table of faults was asked.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::UNIX_EPOCH;

use fuser::{FileAttr, FileHandle, INodeNo, RenameFlags, TimeOrNow};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno as Code;

use super::faults::{Faults, Operation};
use super::inodes::{Inode, Inodes, Opened};

/// Most bytes of a list or value of attributes.
const ATTRIBUTE: usize = 64 << 10;

pub type Outcome<T> = Result<T, Code>;

pub struct Passing {
    pub behind: PathBuf,
    pub inodes: Inodes,
    faults: Faults,
    folds_case: Arc<AtomicBool>,
}

impl Passing {
    pub fn new(behind: &Path, faults: Faults, folds_case: Arc<AtomicBool>) -> Self {
        Self { behind: behind.to_owned(), inodes: Inodes::new(behind), faults, folds_case }
    }

    /// The name of the entry that is meant.
    pub fn spelling(&self, above: &Inode, name: &OsStr) -> OsString {
        if !self.folds_case.load(SeqCst) {
            return name.to_owned();
        }
        let entries = std::fs::read_dir(above.proc_path()).into_iter().flatten().flatten();
        let same = entries.map(|entry| entry.file_name()).find(|entry| entry.eq_ignore_ascii_case(name));
        same.unwrap_or_else(|| name.to_owned())
    }

    pub fn ask(&self, path: &str, operation: Operation) -> Outcome<()> {
        self.ask_range(path, operation, 0, 0).map(|_| ())
    }

    pub fn ask_range(&self, path: &str, operation: Operation, start: u64, length: u64) -> Outcome<Option<u64>> {
        self.faults.ask(path, &self.behind.join(path), operation, start, length)
    }

    /// Takes up an entry that is there, or was just made.
    pub fn entry(&self, above: &Inode, name: &OsStr) -> Outcome<FileAttr> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&above.handle, name, flags, Mode::empty())?;
        self.inodes.take(handle, above.entry(name))
    }

    /// Makes an entry and takes it up.
    pub fn make(
        &self,
        above: INodeNo,
        name: &OsStr,
        operation: Operation,
        make: impl FnOnce(&Inode) -> Outcome<()>,
    ) -> Outcome<FileAttr> {
        let above = self.inodes.get(above)?;
        self.ask(&above.entry(name), operation)?;
        make(&above)?;
        self.entry(&above, name)
    }

    pub fn remove(&self, above: INodeNo, name: &OsStr, flags: AtFlags) -> Outcome<()> {
        let above = self.inodes.get(above)?;
        self.ask(&above.entry(name), Operation::Remove)?;
        rustix::fs::unlinkat(&above.handle, name, flags)
    }

    pub fn set_attributes(
        &self,
        inode: &Inode,
        (mode, owner, group, size): (Option<u32>, Option<u32>, Option<u32>, Option<u64>),
        (atime, mtime): (Option<TimeOrNow>, Option<TimeOrNow>),
    ) -> Outcome<FileAttr> {
        self.ask(&inode.path(), Operation::Setattr)?;
        let path = inode.proc_path();
        if owner.is_some() || group.is_some() {
            let (owner, group) = (owner.map(Uid::from_raw), group.map(Gid::from_raw));
            rustix::fs::chownat(&inode.handle, "", owner, group, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = mode {
            rustix::fs::chmod(&path, Mode::from_raw_mode(mode & 0o7777))?;
        }
        if let Some(size) = size {
            rustix::fs::ftruncate(rustix::fs::open(&path, OFlags::WRONLY, Mode::empty())?, size)?;
        }
        if atime.is_some() || mtime.is_some() {
            let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
            rustix::fs::utimensat(&inode.handle, "", &times, AtFlags::EMPTY_PATH)?;
        }
        Ok(self.inodes.attributes(&rustix::fs::fstat(&inode.handle)?))
    }

    /// Calls `then` with an open file, after the table was asked.
    pub fn with_file<T>(
        &self,
        number: INodeNo,
        handle: FileHandle,
        operation: Operation,
        then: impl FnOnce(&File) -> Outcome<T>,
    ) -> Outcome<T> {
        self.ask(&self.inodes.get(number)?.path(), operation)?;
        match &*self.inodes.opened(handle.0)? {
            Opened::File(file) => then(file),
            Opened::Directory(_) => Err(Code::ISDIR),
        }
    }

    pub fn read_at(&self, number: INodeNo, handle: FileHandle, offset: u64, size: u32) -> Outcome<Vec<u8>> {
        let path = self.inodes.get(number)?.path();
        let end = self.ask_range(&path, Operation::Read, offset, size.into())?.unwrap_or(u64::MAX);
        let size = end.saturating_sub(offset).min(size.into());
        let Opened::File(file) = &*self.inodes.opened(handle.0)? else { return Err(Code::ISDIR) };
        let mut bytes = vec![0; size as usize];
        let count = rustix::io::pread(file, bytes.as_mut_slice(), offset)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    pub fn write_at(&self, number: INodeNo, handle: FileHandle, offset: u64, data: &[u8]) -> Outcome<u32> {
        let path = self.inodes.get(number)?.path();
        self.ask_range(&path, Operation::Write, offset, data.len() as u64)?;
        let Opened::File(file) = &*self.inodes.opened(handle.0)? else { return Err(Code::ISDIR) };
        file.write_all_at(data, offset).map_err(|error| Code::from_io_error(&error).unwrap_or(Code::IO))?;
        Ok(data.len() as u32)
    }

    pub fn attribute(&self, number: INodeNo, name: Option<&OsStr>) -> Outcome<Vec<u8>> {
        let inode = self.inodes.get(number)?;
        let mut value = vec![0; ATTRIBUTE];
        let count = match name {
            Some(name) => {
                self.ask(&inode.path(), Operation::Getxattr)?;
                rustix::fs::getxattr(inode.proc_path(), name, value.as_mut_slice())?
            }
            None => {
                self.ask(&inode.path(), Operation::Listxattr)?;
                rustix::fs::listxattr(inode.proc_path(), value.as_mut_slice())?
            }
        };
        value.truncate(count);
        Ok(value)
    }

    pub fn rename_entry(&self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr), flags: RenameFlags) -> Outcome<()> {
        let (above, new_above) = (self.inodes.get(from.0)?, self.inodes.get(to.0)?);
        self.ask(&new_above.entry(to.1), Operation::Rename)?;
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        rustix::fs::renameat_with(&above.handle, from.1, &new_above.handle, to.1, flags)?;
        // The kernel does not look it up again, so its new path is noted here.
        self.entry(&new_above, to.1).map(|attributes| self.inodes.forget(attributes.ino, 1))
    }
}

fn timespec(time: Option<TimeOrNow>) -> Timespec {
    let (omit, now) = (0x3fff_fffe, 0x3fff_ffff);
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: omit },
        Some(TimeOrNow::Now) => Timespec { tv_sec: 0, tv_nsec: now },
        Some(TimeOrNow::SpecificTime(time)) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() }
        }
    }
}
