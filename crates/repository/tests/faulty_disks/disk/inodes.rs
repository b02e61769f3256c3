//! Files and directories of the folder behind, by the numbers that the kernel knows them by.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

/// One inode: a handle that does not open it, and the path under which it was last seen.
pub struct Inode {
    pub handle: OwnedFd,
    pub path: Mutex<String>,
}

impl Inode {
    /// The path by which the kernel leads to the inode itself.
    pub fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.handle.as_raw_fd())
    }

    pub fn path(&self) -> String {
        self.path.lock().clone()
    }

    /// The path of an entry of this directory.
    pub fn entry(&self, name: &std::ffi::OsStr) -> String {
        let (above, name) = (self.path(), name.to_string_lossy());
        if above.is_empty() { name.into_owned() } else { format!("{above}/{name}") }
    }
}

/// What is open: a file, or the entries of a directory as they were when it was opened.
pub enum Opened {
    File(File),
    Directory(Vec<(u64, FileType, std::ffi::OsString)>),
}

/// All that the kernel holds on to.
pub struct Inodes {
    root_number: u64,
    known: Mutex<HashMap<u64, (Arc<Inode>, u64)>>,
    opened: Mutex<HashMap<u64, Arc<Opened>>>,
    next_handle: AtomicU64,
}

impl Inodes {
    pub fn new(behind: &std::path::Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(behind, flags, Mode::empty()).unwrap();
        let root_number = rustix::fs::fstat(&handle).unwrap().st_ino;
        let root = Arc::new(Inode { handle, path: Mutex::default() });
        let known = Mutex::new(HashMap::from([(INodeNo::ROOT.0, (root, 1))]));
        Self { root_number, known, opened: Mutex::default(), next_handle: AtomicU64::new(1) }
    }

    /// The kernel's number for an inode of the folder behind. Its root is number 1, whose own number takes the root's place.
    fn number(&self, behind: u64) -> u64 {
        match behind {
            number if number == self.root_number => INodeNo::ROOT.0,
            1 => self.root_number,
            number => number,
        }
    }

    pub fn get(&self, number: INodeNo) -> Result<Arc<Inode>, Errno> {
        self.known.lock().get(&number.0).map(|(inode, _)| Arc::clone(inode)).ok_or(Errno::STALE)
    }

    /// Takes an inode that the kernel will hold on to until it forgets it.
    pub fn take(&self, handle: OwnedFd, path: String) -> Result<FileAttr, Errno> {
        let attributes = self.attributes(&rustix::fs::fstat(&handle)?);
        let mut known = self.known.lock();
        let (inode, lookups) =
            known.entry(attributes.ino.0).or_insert_with(|| (Arc::new(Inode { handle, path: Mutex::default() }), 0));
        *inode.path.lock() = path;
        *lookups += 1;
        Ok(attributes)
    }

    pub fn forget(&self, number: INodeNo, lookups: u64) {
        let mut known = self.known.lock();
        if let Some((_, count)) = known.get_mut(&number.0) {
            *count = count.saturating_sub(lookups);
            if *count == 0 && number != INodeNo::ROOT {
                known.remove(&number.0);
            }
        }
    }

    pub fn open(&self, opened: Opened) -> u64 {
        let handle = self.next_handle.fetch_add(1, SeqCst);
        self.opened.lock().insert(handle, Arc::new(opened));
        handle
    }

    pub fn opened(&self, handle: u64) -> Result<Arc<Opened>, Errno> {
        self.opened.lock().get(&handle).cloned().ok_or(Errno::BADF)
    }

    pub fn close(&self, handle: u64) {
        self.opened.lock().remove(&handle);
    }

    /// The entries of a directory with the kernel's numbers.
    pub fn list(&self, directory: &Inode) -> Result<Opened, Errno> {
        let handle = rustix::fs::openat(&directory.handle, ".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut entries: Vec<(u64, FileType, std::ffi::OsString)> = Vec::new();
        for entry in rustix::fs::Dir::new(handle)? {
            let entry = entry?;
            let name = std::os::unix::ffi::OsStringExt::from_vec(entry.file_name().to_bytes().to_vec());
            entries.push((self.number(entry.ino()), file_type(entry.file_type()), name));
        }
        // In an order that tests can count on; the two dots come first.
        entries.sort_by(|left, right| left.2.cmp(&right.2));
        Ok(Opened::Directory(entries))
    }

    pub fn attributes(&self, stat: &Stat) -> FileAttr {
        let time = |seconds: i64, nanos| UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanos as u32);
        FileAttr {
            ino: INodeNo(self.number(stat.st_ino)),
            size: stat.st_size as u64,
            blocks: stat.st_blocks as u64,
            atime: time(stat.st_atime, stat.st_atime_nsec),
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            crtime: SystemTime::UNIX_EPOCH,
            kind: file_type(rustix::fs::FileType::from_raw_mode(stat.st_mode)),
            perm: (stat.st_mode & 0o7777) as u16,
            nlink: stat.st_nlink as u32,
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev as u32,
            blksize: stat.st_blksize as u32,
            flags: 0,
        }
    }
}

fn file_type(kind: rustix::fs::FileType) -> FileType {
    match kind {
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}
