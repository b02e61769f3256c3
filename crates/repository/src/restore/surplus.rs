//! What the target holds and the snapshot does not ([`Existing::Replace`](super::Existing::Replace)): noted while the walk passes by,
//! removed when everything else is restored and on the disk.
//!
//! Below the paths that were backed up only, in directories that were chosen with all that is in them, and on the file system on which
//! the path that was backed up begins: a volume that is mounted further down was an empty directory to the backup, and must not be
//! emptied for that.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps},
    io::Errno,
};

use super::{
    directories::make_writable,
    report::add,
    restorer::Restorer,
    strangers::{Apart, strangers, tell_apart},
    target::{self, Level},
    walk::is_damage,
};
use crate::{
    TreeId,
    backup::INCOMPLETE_TAG,
    error::Result,
    format::{Node, Snapshot},
    source::{
        handles::{Handles, Place},
        listing,
        names::Names,
    },
};

/// Directories in which something is to be removed.
#[derive(Default)]
pub(super) struct Surplus {
    directories: Mutex<Vec<Crowded>>,
    /// The restore came to a directory in which anything may be removed.
    has_begun: AtomicBool,
    /// The backup could not read everything: what its snapshot lacks may have been there.
    is_incomplete: bool,
}

/// A directory that holds more than its tree, or anything where the tree is a large one. The names are looked up again when the
/// time has come: there may be millions.
struct Crowded {
    place: Arc<Place>,
    /// Its path in the snapshot.
    path: Vec<u8>,
    tree: TreeId,
    is_backup_root: bool,
}

/// A directory that the walk has just entered.
pub(super) struct Here<'a> {
    pub(super) place: &'a Arc<Place>,
    /// Its path in the snapshot.
    pub(super) path: &'a [u8],
    pub(super) tree: TreeId,
    /// `None` of a large tree: its nodes come later, one by one.
    pub(super) nodes: Option<&'a [Node]>,
}

impl Surplus {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self { is_incomplete: snapshot.has_tag(INCOMPLETE_TAG), ..Self::default() }
    }

    /// Tells that the restore came to a directory in which anything may be removed.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Relaxed);
    }
}

/// A directory that is being emptied, but for what is kept.
struct Emptied {
    level: Level,
    /// Length of its path in the snapshot.
    path_length: usize,
    /// Something in it stays, so it stays too.
    keeps: bool,
}

impl Restorer {
    /// Notes a directory that was chosen with all that is in it, if it holds more than its tree.
    pub(super) fn look_for_surplus(&self, surplus: &Surplus, here: &Here<'_>) {
        let is_backup_root = self.selection.is_backup_root(here.path);
        let names = match names_in(&self.handles, here.place) {
            // A large tree is gone through when the directory is cleared out: it would have to be opened a second time here.
            Ok(names) => strangers(names, here.nodes.unwrap_or_default(), is_backup_root),
            Err(error) => return self.failed(self.target_path(here.path), "list what stands in the directory", &error),
        };
        if !names.is_empty() {
            let (place, path) = (here.place.clone(), here.path.to_vec());
            surplus.directories.lock().push(Crowded { place, path, tree: here.tree, is_backup_root });
        }
    }

    /// Whether a directory is on the file system of the one above it.
    pub(super) fn is_on_same_mount(&self, place: &Arc<Place>, path: &[u8]) -> bool {
        let Some(above) = place.parent() else { return true };
        let opened = self
            .handles
            .open(above)
            .and_then(|above| target::open_on_same_mount(&self.handles, above.as_fd(), place.name(), OFlags::PATH));
        match opened {
            Ok(_) => return true,
            Err(error) if Errno::from_io_error(&error) == Some(Errno::XDEV) => self.left_mounted(path),
            Err(error) => self.failed(self.target_path(path), "look at the directory", &error),
        }
        false
    }

    /// Removes what the snapshot does not have, if everything else is as it should be. Answers how many entries.
    pub(super) fn remove_surplus(&self) -> Result<u64> {
        let Some(surplus) = &self.surplus else { return Ok(0) };
        let directories = std::mem::take(&mut *surplus.directories.lock());
        let is_any = !directories.is_empty();
        let obstacle = if !surplus.has_begun.load(Relaxed) {
            Some("nothing was removed: none of the paths that were backed up was chosen with all that is in it")
        } else if surplus.is_incomplete && is_any {
            Some("nothing was removed of what the snapshot does not have, because the backup could not read everything")
        } else if self.errors.total() > 0 && is_any {
            Some("nothing was removed of what the snapshot does not have, because not everything could be restored")
        } else {
            None
        };
        if let Some(obstacle) = obstacle {
            self.warnings.add(self.root.path(), obstacle, "refused");
            return Ok(0);
        }
        for directory in &directories {
            self.check()?;
            self.clear_out(directory)?;
        }
        Ok(self.counting.removed.load(Relaxed))
    }

    /// Removes what does not belong into one directory, which then looks as before: it had its metadata already.
    fn clear_out(&self, directory: &Crowded) -> Result<()> {
        let (handle, before) = match self.open_crowded(directory) {
            Ok(opened) => opened,
            Err(error) => {
                self.failed(self.target_path(&directory.path), "list what stands in the directory", &error);
                return Ok(());
            }
        };
        let emptied = self.empty_crowded(directory, &handle);
        if let Err(errno) = look_as_before(&handle, &before) {
            self.failed(self.target_path(&directory.path), "set the metadata of the directory", &errno.into());
        }
        emptied
    }

    fn open_crowded(&self, directory: &Crowded) -> io::Result<(OwnedFd, Stat)> {
        let handle = self.handles.open(&directory.place)?;
        let before = rustix::fs::fstat(&handle)?;
        make_writable(handle.as_fd());
        Ok((self.handles.open_directory(handle.as_fd(), b".", OFlags::RDONLY)?, before))
    }

    fn empty_crowded(&self, directory: &Crowded, handle: &OwnedFd) -> Result<()> {
        let path = || self.target_path(&directory.path);
        let cannot_list = |error: &io::Error| self.failed(path(), "list what stands in the directory", error);
        let (names, again) = match all_names(handle).and_then(|names| Ok((names, handle.try_clone()?))) {
            Ok(listed) => listed,
            Err(error) => {
                cannot_list(&error);
                return Ok(());
            }
        };
        let nodes = self.reader.tree_nodes_blocking(&directory.tree);
        let told = nodes.and_then(|nodes| tell_apart(handle.as_fd(), names, nodes, directory.is_backup_root, || self.check()));
        let Apart { strangers: entries, spared } = match told {
            Ok(Ok(apart)) => apart,
            Ok(Err(error)) => {
                cannot_list(&error);
                return Ok(());
            }
            Err(error) if is_damage(&error) => {
                self.add_error(path(), format!("what the snapshot does not have was not removed: {error}"), "damaged");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.warn_of_spared(directory, &spared);
        self.note_device(&directory.place);
        let level = Level { handle: again, name: Vec::new(), entries };
        self.empty(Emptied { level, path_length: directory.path.len(), keeps: true }, directory.path.clone())
    }

    fn warn_of_spared(&self, directory: &Crowded, spared: &Names) {
        for name in spared.iter() {
            let path = [directory.path.as_slice(), b"/", name].concat();
            if self.selection.chooses(&path) {
                let reason = "not removed: the file system may take its name for one that the snapshot has";
                self.warnings.add(self.target_path(&path), reason, "refused");
            }
        }
    }

    /// Removes the entries that the first directory lists, and what is in them. A cancellation ends it half-way.
    fn empty(&self, top: Emptied, mut path: Vec<u8>) -> Result<()> {
        let mut open = vec![top];
        while let Some(directory) = open.last_mut() {
            self.check()?;
            path.truncate(directory.path_length);
            if let Some(name) = directory.level.entries.pop() {
                path.push(b'/');
                path.extend_from_slice(&name);
                let may_descend = open.len() < target::MOST_LEVELS;
                let below = open.last_mut().and_then(|directory| self.remove_entry(directory, &name, &path, may_descend));
                open.extend(below);
                continue;
            }
            let Some(emptied) = open.pop() else { break };
            let Some(above) = open.last_mut() else { break };
            if emptied.keeps {
                above.keeps = true;
                continue;
            }
            match rustix::fs::unlinkat(&above.level.handle, emptied.level.name.as_slice(), AtFlags::REMOVEDIR) {
                Ok(()) => add(&self.counting.removed, 1),
                Err(errno) => self.keep(above, &path, errno),
            }
        }
        Ok(())
    }

    /// Removes an entry, or opens it if it is a directory that must be emptied first.
    fn remove_entry(&self, directory: &mut Emptied, name: &[u8], path: &[u8], may_descend: bool) -> Option<Emptied> {
        if !self.selection.chooses(path) {
            directory.keeps = true;
            return None;
        }
        let errno = match rustix::fs::unlinkat(&directory.level.handle, name, AtFlags::empty()) {
            Ok(()) => {
                add(&self.counting.removed, 1);
                return None;
            }
            Err(Errno::NOENT) => return None,
            Err(Errno::ISDIR | Errno::PERM) if !may_descend => Errno::NAMETOOLONG,
            Err(errno @ (Errno::ISDIR | Errno::PERM)) => {
                match target::enter(&self.handles, directory.level.handle.as_fd(), name) {
                    Ok(level) => return Some(Emptied { level, path_length: path.len(), keeps: false }),
                    // It is no directory, and what was said first is what is in the way.
                    Err(error) => Errno::from_io_error(&error).filter(|errno| *errno != Errno::NOTDIR).unwrap_or(errno),
                }
            }
            Err(errno) => errno,
        };
        self.keep(directory, path, errno);
        None
    }

    /// Something stays where it is, and so does what it is in.
    fn keep(&self, directory: &mut Emptied, path: &[u8], errno: Errno) {
        directory.keeps = true;
        if matches!(errno, Errno::XDEV | Errno::BUSY) {
            self.left_mounted(path);
        } else {
            self.failed(self.target_path(path), "remove what the snapshot does not have", &errno.into());
        }
    }

    fn left_mounted(&self, path: &[u8]) {
        let reason = "nothing was removed here: another file system is mounted on it";
        self.warnings.add(self.target_path(path), reason, "refused");
    }
}

/// What stands in a directory, in order.
pub(super) fn names_in(handles: &Handles, place: &Arc<Place>) -> io::Result<Names> {
    all_names(&handles.open_directory(handles.open(place)?.as_fd(), b".", OFlags::RDONLY)?)
}

fn all_names(handle: &OwnedFd) -> io::Result<Names> {
    let listing = listing::list(handle.as_fd());
    listing.error.map_or(Ok(listing.names), Err)
}

/// Gives a directory back what a removal has changed.
fn look_as_before(handle: &OwnedFd, before: &Stat) -> Result<(), Errno> {
    let now = rustix::fs::fstat(handle)?;
    if now.st_mode != before.st_mode {
        rustix::fs::fchmod(handle, Mode::from_raw_mode(before.st_mode & 0o7777))?;
    }
    let time = |seconds, nanos: u32| Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    // The kernel counts less than a second here.
    let nanos = |nanos| u32::try_from(nanos).unwrap_or(0);
    rustix::fs::futimens(
        handle,
        &Timestamps {
            last_access: time(before.st_atime, nanos(before.st_atime_nsec)),
            last_modification: time(before.st_mtime, nanos(before.st_mtime_nsec)),
        },
    )
}
