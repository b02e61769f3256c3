//! A disk that fails on demand: a file system of our own (FUSE) that passes everything on to a folder behind it, but for the
//! faults of a table. It keeps nothing in caches, so that every call of the engine reaches it.

mod behind;
mod faults;
mod inodes;
mod passing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fuser::{BackgroundSession, Config, MountOption, SessionACL};

use behind::Passing;
pub use faults::{Effect, Fault, Faults, Operation, When};

/// A mounted disk. It is unmounted when this goes, also after a panic; and whatever happens, its mount namespace ends with the
/// process of the test.
pub struct Disk {
    session: Option<BackgroundSession>,
    mount_point: PathBuf,
    behind: PathBuf,
    pub faults: Faults,
    /// Names that differ in nothing but case lead to the same entry, which keeps the name that it was made with.
    pub folds_case: Arc<AtomicBool>,
}

impl Disk {
    /// Mounts one in two new folders below `directory`.
    pub fn mount(directory: &Path, name: &str) -> Self {
        let (mount_point, behind) = (directory.join(name), directory.join(format!("{name}.behind")));
        std::fs::create_dir(&mount_point).unwrap();
        std::fs::create_dir(&behind).unwrap();
        let (faults, folds_case) = (Faults::default(), Arc::<AtomicBool>::default());
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("orlop-faulty-disk".to_owned()), MountOption::Dev, MountOption::Suid];
        config.acl = SessionACL::Owner;
        let passing = Passing::new(&behind, faults.clone(), Arc::clone(&folds_case));
        let session = fuser::spawn_mount(passing, &mount_point, &config).unwrap();
        Self { session: Some(session), mount_point, behind, faults, folds_case }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// The folder behind, where nothing fails.
    pub fn behind(&self) -> &Path {
        &self.behind
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Faults would meet the last flushes too.
        self.faults.clear();
        // Something may still have a file open; the mount point must be free all the same.
        let _ = rustix::mount::unmount(&self.mount_point, rustix::mount::UnmountFlags::DETACH);
        drop(self.session.take());
    }
}
