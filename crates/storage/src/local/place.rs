//! From keys to places in the file system: beneath the root, through no link.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use object_store::Result;
use object_store::path::Path;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat, fchmod, fstat, fsync, mkdirat, open, openat, openat2};
use rustix::io::Errno;

use super::{STORE, failed};
use crate::error::RootMissing;

/// Marks our temporary files; such names are never objects.
pub(super) const TEMPORARY_HEAD: &str = ".orlop-";
/// See [`TEMPORARY_HEAD`].
pub(super) const TEMPORARY_TAIL: &str = ".tmp";

/// Whether a file name is one of our temporary files.
pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY_HEAD) && name.ends_with(TEMPORARY_TAIL)
}

/// The directory everything is under.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
}

/// The modes of what we create. A root that its group may write (a volume with fsGroup) gets children that the group may
/// write too, whatever the umask, because movers of different users share a repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modes {
    pub(super) directory: Mode,
    pub(super) file: Mode,
}

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Opens the root itself. Its absence is its own error: it must never look like an empty store.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        open(&self.path, directory_flags(), Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                let source = Box::new(RootMissing(self.path.clone()));
                object_store::Error::NotFound { path: self.path.display().to_string(), source }
            }
            errno => failed("open root", &Path::default(), errno),
        })
    }

    /// Opens the directory a key names (the empty key names the root), or `None` if it is not there.
    pub(super) fn directory(&self, key: &Path) -> Result<Option<OwnedFd>> {
        let root = self.open()?;
        let relative = relative(key)?;
        if relative.is_empty() {
            return Ok(Some(root));
        }
        match beneath(&root, &relative, directory_flags()) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(failed("open directory", key, errno)),
        }
    }

    /// Opens a file for reading.
    pub(super) fn file(&self, key: &Path) -> Result<OwnedFd> {
        let root = self.open()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        beneath(&root, &relative(key)?, flags).map_err(|errno| match errno {
            // A file where a directory would have to be: the object is not there.
            Errno::NOTDIR => failed("open", key, Errno::NOENT),
            errno => failed("open", key, errno),
        })
    }

    /// Opens the directory a key's file belongs into, making it where missing, and the file's name in it.
    pub(super) fn parent(&self, key: &Path, make: bool) -> Result<(OwnedFd, String, Modes)> {
        let relative = relative(key)?;
        let (above, name) = relative.rsplit_once('/').unwrap_or(("", &relative));
        if name.is_empty() || is_temporary(name) {
            let source = format!("key {key} cannot be a file name").into();
            return Err(object_store::Error::Generic { store: STORE, source });
        }
        let root = self.open()?;
        let modes = modes(&root).map_err(|errno| failed("stat root", key, errno))?;
        if above.is_empty() {
            return Ok((root, name.to_owned(), modes));
        }
        let directory = match beneath(&root, above, directory_flags()) {
            Err(Errno::NOENT) if make => make_directories(root, above, modes),
            other => other,
        };
        let directory = directory.map_err(|errno| failed("open directory of", key, errno))?;
        Ok((directory, name.to_owned(), modes))
    }
}

/// A directory's entry is durable once the directory is synced. Some file systems cannot, and say so.
pub(super) fn sync_directory(directory: &OwnedFd) -> rustix::io::Result<()> {
    match fsync(directory) {
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        other => other,
    }
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

fn modes(root: &OwnedFd) -> rustix::io::Result<Modes> {
    let group = fstat(root)?.st_mode & 0o070;
    Ok(Modes { directory: Mode::from_raw_mode(0o700 | group), file: Mode::from_raw_mode(0o600 | (group & 0o060)) })
}

/// The key as a relative path. `object_store` refuses `..` when it parses; this refuses it again, because a key can be
/// put together without parsing.
fn relative(key: &Path) -> Result<String> {
    let hostile = key.parts().any(|part| {
        let part = part.as_ref();
        part.is_empty() || part == "." || part == ".." || part.contains(['/', '\0'])
    });
    if hostile {
        let source = format!("key {key:?} is not a relative path").into();
        return Err(object_store::Error::Generic { store: STORE, source });
    }
    Ok(key.as_ref().to_owned())
}

fn beneath(root: &OwnedFd, relative: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, relative, flags, Mode::empty(), resolve) {
        // Old kernels and strict seccomp profiles lack openat2; then step by step.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, relative, flags),
        other => other,
    }
}

fn step_by_step(root: &OwnedFd, relative: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let (above, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    let mut current = rustix::io::fcntl_dupfd_cloexec(root, 0)?;
    for step in above.split('/').filter(|step| !step.is_empty()) {
        current = openat(&current, step, directory_flags() | OFlags::NOFOLLOW, Mode::empty())?;
    }
    openat(&current, name, flags | OFlags::NOFOLLOW, Mode::empty())
}

fn make_directories(root: OwnedFd, relative: &str, modes: Modes) -> rustix::io::Result<OwnedFd> {
    let mut current = root;
    for step in relative.split('/') {
        let made = match mkdirat(&current, step, modes.directory) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno),
        };
        let next = openat(&current, step, directory_flags() | OFlags::NOFOLLOW, Mode::empty())?;
        if made {
            widen(&next, modes.directory)?;
            sync_directory(&current)?;
        }
        current = next;
    }
    Ok(current)
}

/// Adds the mode bits that the umask took away.
pub(super) fn widen(file: &OwnedFd, wanted: Mode) -> rustix::io::Result<()> {
    let stat: Stat = fstat(file)?;
    let current = stat.st_mode & 0o7777;
    let missing = wanted.as_raw_mode() & !current;
    if missing == 0 { Ok(()) } else { fchmod(file, Mode::from_raw_mode(current | wanted.as_raw_mode())) }
}
