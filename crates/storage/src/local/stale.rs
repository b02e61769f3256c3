//! Temporary files of writers that were killed, on file systems that have no files without names. Whoever lists a store clears them
//! away; they are nobody's objects, so no lock is needed for it.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, openat, statat, unlinkat};

use super::place::{TEMPORARY_HEAD, TEMPORARY_TAIL, is_temporary};

/// No writer writes one file for this long, in seconds.
const AGE: i64 = 24 * 60 * 60;

/// Removes temporary files of a directory that nobody can be writing any more. What cannot be removed stays.
pub(super) fn remove(directory: &OwnedFd) {
    let Ok(entries) = Dir::read_from(directory) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(ToOwned::to_owned));
    let temporary: Vec<String> = names.filter(|name| is_temporary(name)).collect();
    if temporary.is_empty() {
        return;
    }
    let Some(now) = store_time(directory) else { return };
    for name in temporary {
        let Ok(stat) = statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if now - stat.st_mtime >= AGE && unlinkat(directory, &name, AtFlags::empty()).is_ok() {
            tracing::info!(name, "removed a temporary file that its writer left behind");
        }
    }
}

/// What time it is by the file system's clock, which on a network is not ours: that of a file made just now.
fn store_time(directory: &OwnedFd) -> Option<i64> {
    let name = format!("{TEMPORARY_HEAD}clock-{}{TEMPORARY_TAIL}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::TRUNC;
    let file = openat(directory, &name, flags, Mode::RUSR | Mode::WUSR).ok()?;
    let time = fstat(&file).ok().map(|stat| stat.st_mtime);
    let _ = unlinkat(directory, &name, AtFlags::empty());
    time
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn only_old_temporary_files_go() {
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str, hours: u64| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600)).unwrap();
        };
        make(".orlop-1-a-0.tmp", 25);
        make(".orlop-1-b-0.tmp", 23);
        make("an-object", 1000);
        make(".orlop-not-ours", 1000);
        remove(&File::open(directory.path()).unwrap().into());
        let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".orlop-1-b-0.tmp", ".orlop-not-ours", "an-object"]);
    }
}
