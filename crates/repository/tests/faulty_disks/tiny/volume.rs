//! Small volumes, mounted in the namespace of the test.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::private::lacks;

/// A mounted volume, unmounted when it goes.
pub struct Volume {
    path: PathBuf,
}

impl Volume {
    /// A `tmpfs` of so many bytes and inodes; 0 inodes are no bound.
    pub fn tmpfs(directory: &Path, bytes: u64, inodes: u64) -> Self {
        let path = mount_point(directory);
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), options(bytes, inodes).as_c_str()).unwrap();
        Self { path }
    }

    /// An `ext4` in a file of so many bytes, all of which the test may use. `None` if the machine cannot.
    pub fn ext4(directory: &Path, bytes: u64) -> Option<Self> {
        let path = mount_point(directory);
        let image = path.with_extension("image");
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).output();
            output.is_ok_and(|output| output.status.success())
        };
        // Nothing is kept back for root, who runs the test; `-o loop` lets go of the device with the mount.
        let made = run("mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "1024", "-O", "^has_journal", image.to_str().unwrap()]);
        if !made || !run("mount", &["-o", "loop", image.to_str().unwrap(), path.to_str().unwrap()]) {
            lacks("root, mkfs.ext4 and a loop device");
            return None;
        }
        Some(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a `tmpfs` other bounds.
    pub fn resize(&self, bytes: u64, inodes: u64) {
        mount_remount(&self.path, MountFlags::empty(), options(bytes, inodes)).unwrap();
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.path).unwrap();
        found.f_bavail * found.f_frsize
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

fn mount_point(directory: &Path) -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = directory.join(format!("volume-{}", NUMBER.fetch_add(1, SeqCst)));
    fs::create_dir(&path).unwrap();
    path
}

fn options(bytes: u64, inodes: u64) -> CString {
    CString::new(format!("size={bytes},nr_inodes={inodes}")).unwrap()
}
