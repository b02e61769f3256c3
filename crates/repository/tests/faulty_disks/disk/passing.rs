//! The calls of the kernel, passed on to the folder behind.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, CWD, FallocateFlags, Mode, OFlags, SeekFrom, XattrFlags};
use rustix::io::Errno as Code;

use super::behind::{Outcome, Passing};
use super::faults::Operation;
use super::inodes::Opened;

/// Nothing is kept by the kernel: every look comes here.
const NO_TIME: Duration = Duration::ZERO;
const GENERATION: Generation = Generation(0);

/// Reads and writes come as the program made them, not by the kernel's pages.
const DIRECT: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

fn code(code: Code) -> Errno {
    Errno::from_i32(code.raw_os_error())
}

fn answer_entry(made: Outcome<FileAttr>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&NO_TIME, &attributes, GENERATION),
        Err(error) => reply.error(code(error)),
    }
}

fn answer_attributes(attributes: Outcome<FileAttr>, reply: ReplyAttr) {
    match attributes {
        Ok(attributes) => reply.attr(&NO_TIME, &attributes),
        Err(error) => reply.error(code(error)),
    }
}

fn answer_empty(done: Outcome<()>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(code(error)),
    }
}

fn answer_open(opened: Outcome<u64>, flags: FopenFlags, reply: ReplyOpen) {
    match opened {
        Ok(handle) => reply.opened(FileHandle(handle), flags),
        Err(error) => reply.error(code(error)),
    }
}

/// With `size` 0 the caller wants to know how much room it needs.
fn answer_attribute(value: Outcome<Vec<u8>>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(code(error)),
    }
}

impl Filesystem for Passing {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.inodes.get(parent).and_then(|above| {
            self.ask(&above.entry(name), Operation::Lookup)?;
            self.entry(&above, &self.spelling(&above, name))
        });
        answer_entry(found, reply);
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.inodes.forget(number, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = self.inodes.get(number).and_then(|inode| {
            self.ask(&inode.path(), Operation::Getattr)?;
            Ok(self.inodes.attributes(&rustix::fs::fstat(&inode.handle)?))
        });
        answer_attributes(attributes, reply);
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.inodes.get(number).and_then(|inode| self.set_attributes(&inode, (mode, uid, gid, size), (atime, mtime)));
        answer_attributes(set, reply);
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let target = self.inodes.get(number).and_then(|inode| {
            self.ask(&inode.path(), Operation::Readlink)?;
            rustix::fs::readlinkat(&inode.handle, "", Vec::new())
        });
        match target {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(code(error)),
        }
    }

    fn mknod(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, rdev: u32, reply: ReplyEntry) {
        let kind = rustix::fs::FileType::from_raw_mode(mode);
        let made = self.make(parent, name, Operation::Make, |above| {
            rustix::fs::mknodat(&above.handle, name, kind, Mode::from_raw_mode(mode & 0o7777), rdev.into())
        });
        answer_entry(made, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let made = self.make(parent, name, Operation::Mkdir, |above| {
            rustix::fs::mkdirat(&above.handle, name, Mode::from_raw_mode(mode & 0o7777))
        });
        answer_entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(self.remove(parent, name, AtFlags::empty()), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(self.remove(parent, name, AtFlags::REMOVEDIR), reply);
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.make(parent, name, Operation::Make, |above| rustix::fs::symlinkat(target, &above.handle, name));
        answer_entry(made, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        answer_empty(self.rename_entry((parent, name), (new_parent, new_name), flags), reply);
    }

    fn link(&self, _: &Request, number: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let made = self.inodes.get(number).and_then(|inode| {
            self.make(new_parent, new_name, Operation::Make, |above| {
                rustix::fs::linkat(CWD, inode.proc_path(), &above.handle, new_name, AtFlags::SYMLINK_FOLLOW)
            })
        });
        answer_entry(made, reply);
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let opened = self.inodes.get(number).and_then(|inode| {
            self.ask(&inode.path(), Operation::Open)?;
            let flags = (OFlags::from_bits_retain(flags.0 as u32) - OFlags::NOFOLLOW) | OFlags::CLOEXEC;
            let file = rustix::fs::open(inode.proc_path(), flags, Mode::empty())?;
            Ok(self.inodes.open(Opened::File(file.into())))
        });
        answer_open(opened, DIRECT, reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, flags: i32, reply: ReplyCreate) {
        let made = self.inodes.get(parent).and_then(|above| {
            self.ask(&above.entry(name), Operation::Create)?;
            let flags = OFlags::from_bits_retain(flags as u32) | OFlags::CREATE | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&above.handle, name, flags, Mode::from_raw_mode(mode & 0o7777))?;
            Ok((self.entry(&above, name)?, self.inodes.open(Opened::File(file.into()))))
        });
        match made {
            Ok((attributes, handle)) => reply.created(&NO_TIME, &attributes, GENERATION, FileHandle(handle), DIRECT),
            Err(error) => reply.error(code(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.read_at(number, handle, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(code(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_at(number, handle, offset, data) {
            Ok(count) => reply.written(count),
            Err(error) => reply.error(code(error)),
        }
    }

    fn flush(&self, _: &Request, number: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        answer_empty(self.with_file(number, handle, Operation::Flush, |_| Ok(())), reply);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.inodes.close(handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        // The folder behind is given up with the test: nothing needs to reach a disk.
        answer_empty(self.with_file(number, handle, Operation::Fsync, |_| Ok(())), reply);
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let opened = self.inodes.get(number).and_then(|inode| {
            self.ask(&inode.path(), Operation::Open)?;
            Ok(self.inodes.open(self.inodes.list(&inode)?))
        });
        answer_open(opened, FopenFlags::empty(), reply);
    }

    fn readdir(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let opened = self.inodes.get(number).and_then(|inode| Ok((inode.path(), self.inodes.opened(handle.0)?)));
        let (path, opened) = match opened {
            Ok(opened) => opened,
            Err(error) => return reply.error(code(error)),
        };
        let Opened::Directory(entries) = &*opened else { return reply.error(Errno::ENOTDIR) };
        for (position, (inode, kind, name)) in entries.iter().enumerate().skip(offset as usize) {
            match self.ask_range(&path, Operation::Readdir, position as u64, 0) {
                Ok(None) => {}
                Ok(Some(_)) => break,
                // What came before is told first, as by a disk whose next block cannot be read.
                Err(_) if position as u64 > offset => break,
                Err(error) => return reply.error(code(error)),
            }
            if reply.add(INodeNo(*inode), position as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.inodes.close(handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        answer_empty(self.inodes.get(number).and_then(|inode| self.ask(&inode.path(), Operation::Fsync)), reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match rustix::fs::statvfs(&self.behind) {
            Ok(found) => reply.statfs(
                found.f_blocks,
                found.f_bfree,
                found.f_bavail,
                found.f_files,
                found.f_ffree,
                found.f_bsize as u32,
                found.f_namemax as u32,
                found.f_frsize as u32,
            ),
            Err(error) => reply.error(code(error)),
        }
    }

    fn setxattr(&self, _: &Request, number: INodeNo, name: &OsStr, value: &[u8], flags: i32, _: u32, reply: ReplyEmpty) {
        let set = self.inodes.get(number).and_then(|inode| {
            self.ask(&inode.path(), Operation::Setxattr)?;
            rustix::fs::setxattr(inode.proc_path(), name, value, XattrFlags::from_bits_retain(flags as u32))
        });
        answer_empty(set, reply);
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer_attribute(self.attribute(number, Some(name)), size, reply);
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        answer_attribute(self.attribute(number, None), size, reply);
    }

    fn removexattr(&self, _: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.inodes.get(number).and_then(|inode| {
            self.ask(&inode.path(), Operation::Setxattr)?;
            rustix::fs::removexattr(inode.proc_path(), name)
        });
        answer_empty(removed, reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = FallocateFlags::from_bits_retain(mode as u32);
        let done = self.with_file(number, handle, Operation::Write, |file| rustix::fs::fallocate(file, mode, offset, length));
        answer_empty(done, reply);
    }

    fn lseek(&self, _: &Request, number: INodeNo, handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let (data, hole) = (3, 4);
        let found = self.with_file(number, handle, Operation::Getattr, |file| match whence {
            whence if whence == data => rustix::fs::seek(file, SeekFrom::Data(offset as u64)),
            whence if whence == hole => rustix::fs::seek(file, SeekFrom::Hole(offset as u64)),
            _ => Err(Code::INVAL),
        });
        match found {
            Ok(at) => reply.offset(at as i64),
            Err(error) => reply.error(code(error)),
        }
    }
}
