//! Entries of the target: made, replaced and removed relative to a directory handle, never through a link.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags},
    io::Errno,
};

use crate::Control;
use crate::source::{handles::Handles, listing, names::Names};

/// Directories below one another that a removal keeps open.
pub(super) const MOST_LEVELS: usize = 200;

/// The entry of this name, if there is one.
///
/// # Errors
/// The system's.
pub(super) fn look(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes sure that a directory of this name is there. `true` if it had to be made.
///
/// With `replace`, whatever else has the name is removed; a link to a directory counts as something else.
///
/// # Errors
/// The system's; `ENOTDIR` if something else has the name and may not be replaced.
pub(super) fn ensure_directory(
    handles: &Handles,
    control: &Control,
    directory: BorrowedFd<'_>,
    name: &[u8],
    replace: bool,
) -> io::Result<bool> {
    // Only its owner may enter until its own mode is set at the end.
    match rustix::fs::mkdirat(directory, name, Mode::RWXU) {
        Ok(()) => return Ok(true),
        Err(Errno::EXIST) => {}
        Err(error) => {
            // On a read-only file system a directory that is there is good enough.
            return match look(directory, name)? {
                Some(stat) if is_directory(&stat) => Ok(false),
                _ => Err(error.into()),
            };
        }
    }
    match look(directory, name)? {
        Some(stat) if is_directory(&stat) => Ok(false),
        _ if !replace => Err(Errno::NOTDIR.into()),
        _ => {
            clear(handles, control, directory, name)?;
            rustix::fs::mkdirat(directory, name, Mode::RWXU)?;
            Ok(true)
        }
    }
}

/// Removes whatever has this name, a directory with all that is in it. File systems mounted below are not touched: the removal fails.
/// A large tree takes long, so a cancellation ends it half-way.
///
/// # Errors
/// The system's; `EXDEV` at a mount point.
pub(super) fn clear(handles: &Handles, control: &Control, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => match look(directory, name)? {
            None => Ok(()),
            Some(stat) if is_directory(&stat) => remove_directory(handles, control, directory, name),
            Some(_) => Err(Errno::PERM.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// A directory that is being emptied.
pub(super) struct Level {
    pub(super) handle: OwnedFd,
    pub(super) name: Vec<u8>,
    /// What is still to be removed.
    pub(super) entries: Names,
}

fn remove_directory(handles: &Handles, control: &Control, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    // Most that is in the way is an empty directory.
    match rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        other => return Ok(other?),
    }
    let mut levels = vec![enter(handles, directory, name)?];
    while let Some(level) = levels.last_mut() {
        control.check().map_err(io::Error::other)?;
        let Some(entry) = level.entries.pop() else {
            let finished = levels.pop().map(|level| level.name).unwrap_or_default();
            let above = levels.last().map_or(directory, |level| level.handle.as_fd());
            rustix::fs::unlinkat(above, finished.as_slice(), AtFlags::REMOVEDIR)?;
            continue;
        };
        match rustix::fs::unlinkat(&level.handle, entry.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                let next = enter(handles, level.handle.as_fd(), &entry)?;
                if levels.len() >= MOST_LEVELS {
                    return Err(Errno::NAMETOOLONG.into());
                }
                levels.push(next);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens a directory that is to be removed, if nothing is mounted on it.
pub(super) fn enter(handles: &Handles, above: BorrowedFd<'_>, name: &[u8]) -> io::Result<Level> {
    let handle = open_on_same_mount(handles, above, name, OFlags::RDONLY)?;
    let listing = listing::list(handle.as_fd());
    match listing.error {
        Some(error) => Err(error),
        None => Ok(Level { handle, name: name.to_vec(), entries: listing.names }),
    }
}

/// Opens a directory, never through a link, if nothing is mounted on it.
///
/// # Errors
/// The system's; `EXDEV` at a mount point.
pub(super) fn open_on_same_mount(handles: &Handles, above: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(above, name, flags, Mode::empty(), resolve) {
            // A rename somewhere raced with the resolution.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return open_on_same_device(handles, above, name, flags),
            other => return Ok(other?),
        }
    }
}

/// The same without `openat2`, where a directory that is mounted a second time on its own device is told by newer kernels only.
fn open_on_same_device(handles: &Handles, above: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let handle = handles.open_directory(above, name, flags)?;
    let is_mounted = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    if is_mounted || rustix::fs::fstat(&handle)?.st_dev != rustix::fs::fstat(above)?.st_dev {
        return Err(Errno::XDEV.into());
    }
    Ok(handle)
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::{fs, path::Path};

    fn open(path: &Path) -> fs::File {
        fs::File::open(path).unwrap()
    }

    /// Reliability S-40 and RUSTSEC-2023-0018: a removal stays inside whatever links there are.
    #[test]
    fn a_removal_does_not_go_through_links() {
        let directory = tempfile::tempdir().unwrap();
        let (outside, inside) = (directory.path().join("outside"), directory.path().join("inside"));
        fs::create_dir_all(outside.join("precious")).unwrap();
        fs::create_dir_all(inside.join("victim/a/b")).unwrap();
        fs::write(inside.join("victim/a/b/file"), b"x").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("victim/a/link")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let (handles, control) = (Handles::default(), Control::default());
        clear(&handles, &control, open(&inside).as_fd(), b"victim").unwrap();
        clear(&handles, &control, open(&inside).as_fd(), b"link").unwrap();
        clear(&handles, &control, open(&inside).as_fd(), b"missing").unwrap();
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
        assert!(outside.join("precious").is_dir());
    }

    /// Engine §4.9: a tree of any size in the way does not keep a cancelled restore from ending.
    #[test]
    fn a_removal_ends_with_the_operation() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("victim/a")).unwrap();
        let token = tokio_util::sync::CancellationToken::new();
        token.cancel();
        let control = Control::new(token);
        assert!(clear(&Handles::default(), &control, open(directory.path()).as_fd(), b"victim").is_err());
        assert!(directory.path().join("victim/a").is_dir());
    }

    #[test]
    fn a_directory_takes_the_place_of_a_link_only_if_it_may() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", directory.path().join("d")).unwrap();
        let (handles, control, top) = (Handles::default(), Control::default(), open(directory.path()));
        let ensure = |replace| ensure_directory(&handles, &control, top.as_fd(), b"d", replace);
        assert!(ensure(false).is_err());
        assert!(ensure(true).unwrap());
        assert!(!ensure(true).unwrap());
        assert!(fs::symlink_metadata(directory.path().join("d")).unwrap().is_dir());
    }
}
