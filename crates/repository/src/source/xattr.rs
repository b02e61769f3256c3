//! Extended attributes, access control lists among them.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::{buffer::spare_capacity, io::Errno};

/// First guess of a list's or value's length; most are far shorter.
const USUAL_LENGTH: usize = 1024;

/// One attribute: its name without a trailing zero, and its value.
pub type Attribute = (Vec<u8>, Vec<u8>);

/// What could be read.
#[derive(Debug, Default)]
pub struct Attributes {
    /// The attributes, in the order of their names.
    pub readable: Vec<Attribute>,
    /// Attributes that are there and whose value we may not read.
    pub unreadable: Vec<(Vec<u8>, io::Error)>,
}

/// Whose attributes.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// An open file or directory.
    Handle(BorrowedFd<'a>),
    /// An entry of a directory that cannot or must not be opened: a link, a FIFO, a socket, a device.
    Entry(BorrowedFd<'a>, &'a [u8]),
}

impl Holder<'_> {
    /// The kernel has no call that takes a directory handle and a name here (before Linux 6.13), but the handle has a path
    /// under `/proc`. The last component is not followed by the calls that begin with `l`.
    fn entry_path(directory: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        path
    }

    /// Reads all attributes. A file system without them has none.
    ///
    /// # Errors
    /// The system's, if they cannot even be listed.
    pub fn read(self) -> io::Result<Attributes> {
        let names = match self.with_growing_buffer(Self::list) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Attributes::default()),
            // Without a mounted /proc the entry cannot be reached: what cannot be opened hardly ever has attributes.
            Err(Errno::NOENT | Errno::NOTDIR) if matches!(self, Holder::Entry(..)) => return Ok(Attributes::default()),
            other => other?,
        };
        let mut attributes = Attributes::default();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            match self.with_growing_buffer(|holder, buffer| holder.get(name, buffer)) {
                Ok(value) => attributes.readable.push((name.to_vec(), value)),
                // Removed meanwhile.
                Err(Errno::NODATA) => {}
                Err(error) => attributes.unreadable.push((name.to_vec(), error.into())),
            }
        }
        attributes.readable.sort();
        Ok(attributes)
    }

    /// Sets one attribute.
    ///
    /// # Errors
    /// The system's.
    pub fn set(self, name: &[u8], value: &[u8]) -> io::Result<()> {
        let flags = rustix::fs::XattrFlags::empty();
        Ok(match self {
            Holder::Handle(handle) => rustix::fs::fsetxattr(handle, name, value, flags),
            Holder::Entry(directory, entry) => rustix::fs::lsetxattr(Self::entry_path(directory, entry), name, value, flags),
        }?)
    }

    /// Removes one attribute.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(self, name: &[u8]) -> io::Result<()> {
        Ok(match self {
            Holder::Handle(handle) => rustix::fs::fremovexattr(handle, name),
            Holder::Entry(directory, entry) => rustix::fs::lremovexattr(Self::entry_path(directory, entry), name),
        }?)
    }

    fn list(self, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        match self {
            Holder::Handle(handle) => rustix::fs::flistxattr(handle, spare_capacity(buffer)),
            Holder::Entry(directory, name) => rustix::fs::llistxattr(Self::entry_path(directory, name), spare_capacity(buffer)),
        }
    }

    fn get(self, name: &[u8], buffer: &mut Vec<u8>) -> Result<usize, Errno> {
        match self {
            Holder::Handle(handle) => rustix::fs::fgetxattr(handle, name, spare_capacity(buffer)),
            Holder::Entry(directory, entry) => {
                rustix::fs::lgetxattr(Self::entry_path(directory, entry), name, spare_capacity(buffer))
            }
        }
    }

    /// Calls again with more room for as long as the kernel says that there is too little; it allows 64 KiB on most file systems.
    fn with_growing_buffer(self, read: impl Fn(Self, &mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
        let mut room = USUAL_LENGTH;
        loop {
            let mut buffer = Vec::with_capacity(room);
            match read(self, &mut buffer) {
                Err(Errno::RANGE) if room < 16 << 20 => room *= 8,
                other => return other.map(|_| buffer),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::fd::AsFd;

    /// Reliability F6.
    #[test]
    fn attributes_are_read_sorted_and_large_values_whole() {
        // Not every temporary directory takes attributes; the source folder's file system does.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = std::fs::File::create(directory.path().join("f")).unwrap();
        let large = vec![7; 2_000];
        let holder = Holder::Handle(file.as_fd());
        if let Err(error) = holder.set(b"user.b", &large) {
            println!("skipped: no extended attributes here: {error}");
            return;
        }
        holder.set(b"user.a", b"").unwrap();
        let read = holder.read().unwrap();
        let users: Vec<_> = read.readable.into_iter().filter(|(name, _)| name.starts_with(b"user.")).collect();
        assert_eq!(users, [(b"user.a".to_vec(), Vec::new()), (b"user.b".to_vec(), large)]);
        let parent = std::fs::File::open(directory.path()).unwrap();
        assert_eq!(
            Holder::Entry(parent.as_fd(), b"f")
                .read()
                .unwrap()
                .readable
                .iter()
                .filter(|(name, _)| name.starts_with(b"user."))
                .count(),
            2
        );
        holder.remove(b"user.a").unwrap();
        assert_eq!(holder.read().unwrap().readable.iter().filter(|(name, _)| name.starts_with(b"user.")).count(), 1);
    }
}
