//! Directories by name below one another, and a bounded number of open handles to them.
//!
//! A tree may be ten thousand directories deep and a path longer than the system accepts, so nothing is opened by a long path:
//! a directory is opened relative to the nearest directory above it that is open. When too many are open the oldest is closed;
//! it is opened again when needed and must then still be the same directory.

use std::{
    collections::{HashSet, VecDeque},
    ffi::OsStr,
    io,
    os::fd::OwnedFd,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

/// Handles kept open. The usual limit of a process is 1,024, of which files and sockets need their part.
const OPEN_DIRECTORIES: usize = 256;

/// A directory somewhere below a root, named by its components.
#[derive(Debug)]
pub struct Place {
    parent: Option<Arc<Place>>,
    name: Vec<u8>,
    state: Mutex<PlaceState>,
}

#[derive(Debug, Default)]
struct PlaceState {
    handle: Option<Arc<OwnedFd>>,
    /// The handle serves for more than reaching entries.
    is_readable: bool,
    /// Device and inode as first seen.
    identity: Option<(u64, u64)>,
}

impl Place {
    /// The place that a handle stands for; its path is for messages.
    #[must_use]
    pub fn root(path: &[u8], handle: OwnedFd) -> Arc<Self> {
        let state = PlaceState { handle: Some(Arc::new(handle)), ..PlaceState::default() };
        Arc::new(Self { parent: None, name: path.to_vec(), state: Mutex::new(state) })
    }

    /// A directory in this one; nothing is opened yet.
    #[must_use]
    pub fn child(self: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self { parent: Some(self.clone()), name: name.to_vec(), state: Mutex::default() })
    }

    /// The directory above.
    #[must_use]
    pub fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Its own name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The device that it is on, once it has been opened.
    #[must_use]
    pub fn device(&self) -> Option<u64> {
        self.state.lock().identity.map(|(device, _)| device)
    }

    /// The path from the root, as bytes.
    #[must_use]
    pub fn path_bytes(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut place = self;
        while let Some(parent) = &place.parent {
            names.push(place.name.as_slice());
            place = parent;
        }
        let mut path = place.name.clone();
        for name in names.into_iter().rev() {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }

    /// The path of an entry of this directory, as bytes.
    #[must_use]
    pub fn entry_path_bytes(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path_bytes();
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// The path from the root.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        to_path(&self.path_bytes())
    }

    /// The path of an entry of this directory.
    #[must_use]
    pub fn entry_path(&self, name: &[u8]) -> PathBuf {
        to_path(&self.entry_path_bytes(name))
    }
}

impl Drop for Place {
    /// Lets go of a long chain step by step; dropping it recursively could exhaust the stack.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut place) = next.and_then(Arc::into_inner) {
            next = place.parent.take();
        }
    }
}

/// A path from bytes.
#[must_use]
pub fn to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Opens places and closes those that were not needed for the longest time.
#[derive(Debug)]
pub struct Handles {
    /// Whether the kernel resolves below a handle by itself (`openat2`, Linux 5.6, not under every seccomp profile).
    resolves_beneath: bool,
    open: Mutex<VecDeque<Arc<Place>>>,
    noisy_owners: NoisyOwners,
}

/// Owners of whom the kernel refuses to open files without a trace in their times of access, by device.
#[derive(Debug, Default)]
pub struct NoisyOwners(Mutex<HashSet<(u64, u32)>>);

impl NoisyOwners {
    /// More than this many are asked for each file, so that a tree with an owner for each file does not fill the memory.
    const MOST: usize = 1_000;

    /// Whether it was refused before.
    #[must_use]
    pub fn contains(&self, owner: (u64, u32)) -> bool {
        self.0.lock().contains(&owner)
    }

    /// It was refused.
    pub fn add(&self, owner: (u64, u32)) {
        let mut owners = self.0.lock();
        if owners.len() < Self::MOST {
            owners.insert(owner);
        }
    }
}

impl Default for Handles {
    fn default() -> Self {
        Self { resolves_beneath: kernel_resolves_beneath(), open: Mutex::default(), noisy_owners: NoisyOwners::default() }
    }
}

impl Handles {
    /// As on a kernel without `openat2`: one component after the other.
    #[must_use]
    pub fn by_components() -> Self {
        Self { resolves_beneath: false, ..Self::default() }
    }

    /// See [`NoisyOwners`].
    #[must_use]
    pub fn noisy_owners(&self) -> &NoisyOwners {
        &self.noisy_owners
    }

    /// The handle of a place, opened if it must be. It serves to reach entries; whether it can be listed is not said.
    ///
    /// # Errors
    /// The system's; `ESTALE` if another directory stands there than before.
    pub fn open(&self, place: &Arc<Place>) -> io::Result<Arc<OwnedFd>> {
        let mut closed = Vec::new();
        let mut nearest = place;
        let mut handle = loop {
            if let Some(handle) = nearest.state.lock().handle.clone() {
                break handle;
            }
            closed.push(nearest);
            nearest = nearest.parent.as_ref().ok_or(Errno::BADF)?;
        };
        while let Some(next) = closed.pop() {
            let opened = self.open_directory(handle.as_fd(), &next.name, OFlags::PATH)?;
            handle = self.keep(next, opened, false)?.0;
        }
        Ok(handle)
    }

    /// The handle of a place by which it can be listed and its attributes be reached, opened if there is none.
    ///
    /// # Errors
    /// As [`Self::open_for_listing`].
    pub fn open_readable(&self, place: &Arc<Place>) -> io::Result<Arc<OwnedFd>> {
        {
            let state = place.state.lock();
            if let Some(handle) = state.handle.as_ref().filter(|_| state.is_readable) {
                return Ok(handle.clone());
            }
        }
        Ok(self.open_with_stat(place, OFlags::empty())?.0)
    }

    /// Opens a place for listing and keeps the handle.
    ///
    /// # Errors
    /// The system's; `ESTALE` if another directory stands there than before.
    pub fn open_for_listing(&self, place: &Arc<Place>, flags: OFlags) -> io::Result<Arc<OwnedFd>> {
        Ok(self.open_with_stat(place, flags)?.0)
    }

    /// [`Self::open_for_listing`] with what the system says of the directory.
    ///
    /// # Errors
    /// As there.
    pub fn open_with_stat(&self, place: &Arc<Place>, flags: OFlags) -> io::Result<(Arc<OwnedFd>, Stat)> {
        let handle = match &place.parent {
            Some(parent) => self.open_directory(self.open(parent)?.as_fd(), &place.name, OFlags::RDONLY | flags)?,
            None => self.open_directory(self.open(place)?.as_fd(), b".", OFlags::RDONLY | flags)?,
        };
        self.keep(place, handle, true)
    }

    /// Opens one entry of a directory as a directory, never through a link and never leaving the directory.
    ///
    /// # Errors
    /// The system's; `ELOOP` or `ENOTDIR` for a link.
    pub fn open_directory(&self, directory: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        self.open_beneath(directory, name, flags | OFlags::DIRECTORY, Mode::empty())
    }

    /// Opens one entry of a directory, never through a link and never leaving the directory.
    ///
    /// # Errors
    /// The system's; `ELOOP` for a link.
    pub fn open_beneath(&self, directory: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if !self.resolves_beneath {
            // A single component without a link to follow cannot lead anywhere else.
            return Ok(rustix::fs::openat(directory, name, flags, mode)?);
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(directory, name, flags, mode, resolve) {
                // A rename somewhere raced with the resolution.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Remembers a handle of a place, after making sure that it is the directory it was.
    fn keep(&self, place: &Arc<Place>, handle: OwnedFd, is_readable: bool) -> io::Result<(Arc<OwnedFd>, Stat)> {
        let stat = rustix::fs::fstat(&handle)?;
        let identity = (stat.st_dev, stat.st_ino);
        let handle = Arc::new(handle);
        {
            let mut state = place.state.lock();
            if *state.identity.get_or_insert(identity) != identity {
                return Err(Errno::STALE.into());
            }
            state.handle = Some(handle.clone());
            state.is_readable = is_readable;
        }
        if place.parent.is_some() {
            let mut open = self.open.lock();
            open.push_back(place.clone());
            let oldest = if open.len() > OPEN_DIRECTORIES { open.pop_front() } else { None };
            drop(open);
            if let Some(oldest) = oldest.filter(|oldest| !Arc::ptr_eq(oldest, place)) {
                oldest.state.lock().handle = None;
            }
        }
        Ok((handle, stat))
    }
}

fn kernel_resolves_beneath() -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(rustix::fs::CWD, ".", flags, Mode::empty(), resolve).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustix::fs::{CWD, openat};

    fn root(path: &std::path::Path) -> Arc<Place> {
        let handle = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Place::root(path.as_os_str().as_bytes(), handle)
    }

    /// Architecture §4.10: neither way of opening goes through a link or upwards.
    #[test]
    fn links_and_dots_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("inside")).unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("link")).unwrap();
        for handles in [Handles::default(), Handles::by_components()] {
            let root = root(&directory.path().join("inside"));
            assert!(handles.open(&root.child(b"missing")).is_err());
            let top = self::root(directory.path());
            assert!(handles.open(&top.child(b"inside")).is_ok());
            assert!(handles.open(&top.child(b"link")).is_err());
        }
        let resolving = Handles::default();
        if resolving.resolves_beneath {
            assert!(resolving.open(&root(&directory.path().join("inside")).child(b"..")).is_err());
        }
    }

    /// Reliability F5: more directories than handles, one below the other.
    #[test]
    fn deep_chains_are_reached_with_few_handles() {
        let directory = tempfile::tempdir().unwrap();
        let handles = Handles::default();
        let mut place = root(directory.path());
        for depth in 0..2_000 {
            let name = format!("d{depth}-{}", "x".repeat(40));
            rustix::fs::mkdirat(handles.open(&place).unwrap(), &name, Mode::RWXU).unwrap();
            place = place.child(name.as_bytes());
        }
        assert!(handles.open(&place).is_ok());
        assert!(handles.open.lock().len() <= OPEN_DIRECTORIES);
        assert!(place.path_bytes().len() > 80_000);
    }

    #[test]
    fn a_directory_that_was_replaced_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let (handles, root) = (Handles::default(), root(directory.path()));
        std::fs::create_dir(directory.path().join("a")).unwrap();
        let place = root.child(b"a");
        handles.open(&place).unwrap();
        place.state.lock().handle = None;
        std::fs::rename(directory.path().join("a"), directory.path().join("b")).unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        assert_eq!(Errno::from_io_error(&handles.open(&place).unwrap_err()), Some(Errno::STALE));
    }
}
