//! What the target holds and the snapshot does not ([`Existing::Replace`](super::Existing::Replace)): noted while the walk passes by,
//! removed when everything else is restored and on the disk.
//!
//! Below the paths that were backed up only, in directories that were chosen with all that is in them, and on the file system on which
//! the path that was backed up begins: a volume that is mounted further down was an empty directory to the backup, and must not be
//! emptied for that.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
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
    },
};

/// File systems bring this directory for what they find after a crash.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Directories in which something is to be removed.
#[derive(Default)]
pub(super) struct Surplus {
    directories: Mutex<Vec<Crowded>>,
    /// The restore came to a directory in which anything may be removed.
    has_begun: AtomicBool,
    /// The backup could not read everything: what its snapshot lacks may have been there.
    is_incomplete: bool,
}

/// A directory that holds more than its tree. The names are looked up again when the time has come: there may be millions.
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
    pub(super) nodes: &'a [Node],
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
            Ok(names) => strangers(&names, here.nodes, is_backup_root),
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
        let path = || self.target_path(&directory.path);
        let nodes = match self.reader.load_tree_blocking(&directory.tree) {
            Ok(tree) => tree.nodes,
            Err(error) if is_damage(&error) => {
                self.add_error(path(), format!("what the snapshot does not have was not removed: {error}"), "damaged");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let (top, before) = match self.open_crowded(directory, &nodes) {
            Ok(opened) => opened,
            Err(error) => {
                self.failed(path(), "list what stands in the directory", &error);
                return Ok(());
            }
        };
        drop(nodes);
        let again = match top.level.handle.try_clone() {
            Ok(again) => again,
            Err(error) => {
                self.failed(path(), "keep the directory open", &error);
                return Ok(());
            }
        };
        self.note_device(&directory.place);
        let emptied = self.empty(top, directory.path.clone());
        if let Err(errno) = look_as_before(&again, &before) {
            self.failed(path(), "set the metadata of the directory", &errno.into());
        }
        emptied
    }

    fn open_crowded(&self, directory: &Crowded, nodes: &[Node]) -> io::Result<(Emptied, Stat)> {
        let handle = self.handles.open(&directory.place)?;
        let before = rustix::fs::fstat(&handle)?;
        make_writable(handle.as_fd());
        let handle = self.handles.open_directory(handle.as_fd(), b".", OFlags::RDONLY)?;
        let listed = all_names(&handle)?;
        let found = strangers(&listed, nodes, directory.is_backup_root);
        let Apart { strangers: entries, spared } = tell_apart(handle.as_fd(), &listed, nodes, found)?;
        for name in spared {
            let path = [directory.path.as_slice(), b"/", &name].concat();
            if self.selection.chooses(&path) {
                let reason = "not removed: the file system may take its name for one that the snapshot has";
                self.warnings.add(self.target_path(&path), reason, "refused");
            }
        }
        let level = Level { handle, name: Vec::new(), entries };
        Ok((Emptied { level, path_length: directory.path.len(), keeps: true }, before))
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

/// What stands in a directory.
pub(super) fn names_in(handles: &Handles, place: &Arc<Place>) -> io::Result<Vec<Vec<u8>>> {
    all_names(&handles.open_directory(handles.open(place)?.as_fd(), b".", OFlags::RDONLY)?)
}

fn all_names(handle: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let listing = listing::list(handle.as_fd());
    listing.error.map_or(Ok(listing.names), Err)
}

/// The names that are not the snapshot's, whether or not the restore chose the entries of those that are.
fn strangers(names: &[Vec<u8>], nodes: &[Node], is_backup_root: bool) -> Vec<Vec<u8>> {
    let known: HashSet<&[u8]> = nodes.iter().map(|node| node.name.as_slice()).collect();
    let is_strange = |name: &[u8]| !(known.contains(name) || is_backup_root && name == LOST_AND_FOUND);
    names.iter().filter(|name| is_strange(name)).cloned().collect()
}

/// Strangers of a directory.
#[derive(Default)]
struct Apart {
    strangers: Vec<Vec<u8>>,
    /// Those that may be what one of the snapshot's names leads to.
    spared: Vec<Vec<u8>>,
}

/// Spares what a name of the snapshot leads to though another one is listed. File systems that fold case or normalise names do that:
/// what was restored as `README` stands there as `Readme`, if that is how it was called before.
fn tell_apart(directory: BorrowedFd<'_>, listed: &[Vec<u8>], nodes: &[Node], strangers: Vec<Vec<u8>>) -> io::Result<Apart> {
    let mut reached: HashSet<(u64, u64)> = HashSet::new();
    for name in nodes.iter().filter_map(Node::safe_name) {
        // A listing is in order.
        if listed.binary_search_by(|other| other.as_slice().cmp(name)).is_err() {
            reached.extend(identity(directory, name)?);
        }
    }
    if reached.is_empty() {
        return Ok(Apart { strangers, spared: Vec::new() });
    }
    let (mut apart, mut met) = (Apart::default(), HashSet::new());
    for name in strangers {
        match identity(directory, &name)?.filter(|identity| reached.contains(identity)) {
            Some(identity) => {
                met.insert(identity);
                apart.spared.push(name);
            }
            None => apart.strangers.push(name),
        }
    }
    // Some file systems number an entry anew for each of its names; then nobody knows which of the strangers it is.
    if met.len() < reached.len() {
        apart.spared.append(&mut apart.strangers);
    }
    Ok(apart)
}

/// Device and inode of what a name leads to. A name that the file system cannot hold leads to nothing.
fn identity(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
        Err(Errno::NOENT | Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    fn names(names: &[&str]) -> Vec<Vec<u8>> {
        names.iter().map(|name| name.as_bytes().to_vec()).collect()
    }

    /// A second name that is kept out of the listing stands in for a file system that folds case.
    #[test]
    fn what_a_name_of_the_snapshot_leads_to_is_no_stranger() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["Readme", "both", "surplus"] {
            fs::write(path(name), name).unwrap();
        }
        fs::hard_link(path("Readme"), path("README")).unwrap();
        let top = fs::File::open(directory.path()).unwrap();
        let too_long = "n".repeat(300);
        let nodes = ["README", "both", "gone", &too_long, ".."].map(|name| Node { name: name.into(), ..Node::default() });
        let told = |listed: &[&str]| {
            let listed = names(listed);
            let found = strangers(&listed, &nodes, false);
            let Apart { strangers, spared } = tell_apart(top.as_fd(), &listed, &nodes, found).unwrap();
            (strangers, spared)
        };
        assert_eq!(told(&["Readme", "both", "surplus"]), (names(&["surplus"]), names(&["Readme"])));
        // Where the snapshot's name stands there itself, another name of the file is none of the snapshot's.
        assert_eq!(told(&["README", "Readme", "both", "surplus"]), (names(&["Readme", "surplus"]), names(&[])));
        // It leads to something that no name in the directory leads to.
        fs::remove_file(path("README")).unwrap();
        fs::write(path("README"), "numbered anew").unwrap();
        assert_eq!(told(&["Readme", "both", "surplus"]), (names(&[]), names(&["Readme", "surplus"])));
    }
}
