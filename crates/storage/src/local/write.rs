//! Writing: a file without a name where the file system has such, else a temporary one; sync, name, directory sync. What has no
//! name leaves nothing behind when its writer is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags, fsync, linkat, openat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::place::{Modes, Root, TEMPORARY_HEAD, TEMPORARY_TAIL, sync_directory, widen};
use super::read::e_tag;
use super::{blocking, failed, unsupported};

/// What a finished file may do to one that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    Replace,
    IfAbsent,
}

/// A file being written; removed again if it is dropped before it is committed.
#[derive(Debug)]
struct Temporary {
    directory: OwnedFd,
    file: File,
    /// `None` while it has no name at all.
    name: Option<String>,
    key: Path,
    target: String,
    committed: bool,
}

pub(super) fn put(root: &Root, key: &Path, payload: &PutPayload, commit: Commit) -> Result<PutResult> {
    if let Some(mut nameless) = Temporary::nameless(root, key)? {
        nameless.write(payload)?;
        if nameless.give_name(commit)? {
            return nameless.finish();
        }
    }
    let mut temporary = Temporary::create(root, key)?;
    temporary.write(payload)?;
    temporary.commit(commit)
}

/// Removes several, and then syncs each directory once. Removing what is not there is success, as it is in the cloud.
pub(super) fn delete(root: &Root, keys: Vec<Path>) -> Vec<Result<Path>> {
    let mut changed: Vec<(String, OwnedFd)> = Vec::new();
    let mut results: Vec<Result<Path>> = keys.into_iter().map(|key| remove(root, &key, &mut changed).map(|()| key)).collect();
    for (above, directory) in &changed {
        if let Err(errno) = sync_directory(directory) {
            // None of what was in it is known to be gone for good.
            for result in &mut results {
                if let Ok(key) = result
                    && above_of(key) == above
                {
                    *result = Err(failed("sync directory of", &key.clone(), errno));
                }
            }
        }
    }
    results
}

fn remove(root: &Root, key: &Path, changed: &mut Vec<(String, OwnedFd)>) -> Result<()> {
    let (directory, name, _) = match root.parent(key, false) {
        Ok(found) => found,
        Err(object_store::Error::NotFound { source, .. }) if source.downcast_ref::<super::Failure>().is_some() => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match unlinkat(&directory, &name, AtFlags::empty()) {
        Ok(()) => {
            let above = above_of(key);
            if !changed.iter().any(|(known, _)| known == above) {
                changed.push((above.to_owned(), directory));
            }
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("remove", key, errno)),
    }
}

/// The key of the directory that a key's file is in.
fn above_of(key: &Path) -> &str {
    key.as_ref().rsplit_once('/').map_or("", |(above, _)| above)
}

impl Temporary {
    /// A file without a name; `None` where the file system has no such thing.
    fn nameless(root: &Root, key: &Path) -> Result<Option<Self>> {
        let (directory, target, modes) = root.parent(key, true)?;
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match openat(&directory, ".", flags, modes.file) {
            Ok(file) => Self::of(directory, file, None, key, target, modes).map(Some),
            // Without support a file system sees the wish to write into a directory.
            Err(Errno::ISDIR | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOENT | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(failed("create", key, errno)),
        }
    }

    fn create(root: &Root, key: &Path) -> Result<Self> {
        let (directory, target, modes) = root.parent(key, true)?;
        let name = temporary_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&directory, &name, flags, modes.file).map_err(|errno| failed("create", key, errno))?;
        Self::of(directory, file, Some(name), key, target, modes)
    }

    fn of(directory: OwnedFd, file: OwnedFd, name: Option<String>, key: &Path, target: String, modes: Modes) -> Result<Self> {
        let temporary = Self { directory, file: file.into(), name, key: key.clone(), target, committed: false };
        let descriptor = temporary.file.as_fd().try_clone_to_owned().map_err(|error| failed("open", key, error))?;
        widen(&descriptor, modes.file).map_err(|errno| failed("set the mode of", key, errno))?;
        Ok(temporary)
    }

    fn write(&mut self, payload: &PutPayload) -> Result<()> {
        for chunk in payload {
            self.file.write_all(chunk).map_err(|error| failed("write", &self.key, error))?;
        }
        Ok(())
    }

    /// Syncs a nameless file and gives it its name. False where such a file cannot be named (no /proc, strange mounts): it has to be
    /// written again under a temporary one.
    fn give_name(&mut self, commit: Commit) -> Result<bool> {
        fsync(&self.file).map_err(|errno| failed("sync", &self.key, errno))?;
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let link = |name: &str| linkat(CWD, &own, &self.directory, name, AtFlags::SYMLINK_FOLLOW);
        match link(&self.target) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) if commit == Commit::IfAbsent => Err(failed("create", &self.key, Errno::EXIST)),
            Err(Errno::EXIST) => {
                // A link never takes another's place, a rename does.
                let name = temporary_name();
                link(&name).map_err(|errno| failed("create", &self.key, errno))?;
                self.name = Some(name.clone());
                let renamed = renameat(&self.directory, &name, &self.directory, &self.target);
                renamed.map_err(|errno| failed("rename to", &self.key, errno))?;
                Ok(true)
            }
            Err(_) => Ok(false),
        }
    }

    fn commit(self, commit: Commit) -> Result<PutResult> {
        fsync(&self.file).map_err(|errno| failed("sync", &self.key, errno))?;
        let name = self.name.clone().unwrap_or_default();
        match commit {
            Commit::Replace => renameat(&self.directory, &name, &self.directory, &self.target)
                .map_err(|errno| failed("rename to", &self.key, errno))?,
            Commit::IfAbsent => self.rename_if_absent(&name)?,
        }
        self.finish()
    }

    /// Makes the name last.
    fn finish(mut self) -> Result<PutResult> {
        let key = self.key.clone();
        self.committed = true;
        sync_directory(&self.directory).map_err(|errno| failed("sync directory of", &key, errno))?;
        let stat = rustix::fs::fstat(&self.file).map_err(|errno| failed("stat", &key, errno))?;
        Ok(PutResult { e_tag: Some(e_tag(&stat)), version: None, extensions: object_store::Extensions::default() })
    }

    fn rename_if_absent(&self, name: &str) -> Result<()> {
        let directory = &self.directory;
        match renameat_with(directory, name, directory, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // NFS and some FUSE file systems know no NOREPLACE.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("create", &self.key, errno)),
        }
        match linkat(directory, name, directory, &self.target, AtFlags::empty()) {
            Ok(()) => {}
            // NFS repeats a call whose answer was lost and then finds its own link.
            Err(Errno::EXIST) if self.is_linked() => {}
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {
                return Err(unsupported("create if absent on this file system"));
            }
            Err(errno) => return Err(failed("create", &self.key, errno)),
        }
        unlinkat(directory, name, AtFlags::empty()).map_err(|errno| failed("remove", &self.key, errno))
    }

    fn is_linked(&self) -> bool {
        let target = statat(&self.directory, &self.target, AtFlags::SYMLINK_NOFOLLOW);
        let own = rustix::fs::fstat(&self.file);
        matches!((target, own), (Ok(target), Ok(own)) if target.st_ino == own.st_ino && target.st_dev == own.st_dev)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.committed
            && let Some(name) = &self.name
            && let Err(errno) = unlinkat(&self.directory, name, AtFlags::empty())
            && errno != Errno::NOENT
        {
            tracing::warn!(name, error = %errno, "temporary file left behind");
        }
    }
}

fn temporary_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // Pods have the same process ids; the clock keeps two of them apart, and O_EXCL says if it did not.
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{TEMPORARY_HEAD}{}-{nanos:x}-{number}{TEMPORARY_TAIL}", std::process::id())
}

/// A multipart upload: parts are written to their offsets in one temporary file.
#[derive(Debug)]
pub(super) struct Upload {
    temporary: Option<Arc<Temporary>>,
    length: u64,
}

impl Upload {
    pub(super) fn begin(root: &Root, key: &Path) -> Result<Self> {
        Ok(Self { temporary: Some(Arc::new(Temporary::create(root, key)?)), length: 0 })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.length;
        self.length += data.content_length() as u64;
        let temporary = self.temporary.clone();
        Box::pin(blocking(move || {
            let temporary = temporary.ok_or_else(finished)?;
            let mut offset = offset;
            for chunk in &data {
                temporary.file.write_all_at(chunk, offset).map_err(|error| failed("write", &temporary.key, error))?;
                offset += chunk.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let shared = self.temporary.take().ok_or_else(finished)?;
        // A part still being written holds a clone; committing then would publish a hole.
        let temporary = Arc::try_unwrap(shared).map_err(|_| object_store::Error::Generic {
            store: super::STORE,
            source: "upload completed while parts were being written".into(),
        })?;
        blocking(move || temporary.commit(Commit::Replace)).await
    }

    async fn abort(&mut self) -> Result<()> {
        let temporary = self.temporary.take();
        blocking(move || {
            drop(temporary);
            Ok(())
        })
        .await
    }
}

fn finished() -> object_store::Error {
    object_store::Error::Generic { store: super::STORE, source: "upload already completed or aborted".into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(directory: &std::path::Path) -> Vec<String> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Reliability C1: a writer that is killed leaves nothing, where the file system can do that.
    #[test]
    fn a_file_has_no_name_until_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path().into());
        let key = Path::from("pack");
        let Some(mut nameless) = Temporary::nameless(&root, &key).unwrap() else { return };
        nameless.write(&PutPayload::from("half")).unwrap();
        assert_eq!(names(directory.path()), Vec::<String>::new());
        // As if the process had been killed: nothing is cleaned up.
        std::mem::forget(nameless);
        for text in ["first", "second"] {
            put(&root, &key, &PutPayload::from(text), Commit::Replace).unwrap();
            assert_eq!(std::fs::read_to_string(directory.path().join("pack")).unwrap(), text);
        }
        let taken = put(&root, &key, &PutPayload::from("third"), Commit::IfAbsent).unwrap_err();
        assert!(matches!(taken, object_store::Error::AlreadyExists { .. }), "{taken}");
        assert_eq!(names(directory.path()), ["pack"], "nothing is left beside it");
    }

    #[test]
    fn several_are_removed_and_each_is_answered_for() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::new(directory.path().into());
        let keys: Vec<Path> = ["a/1", "a/2", "b/1"].map(Path::from).into();
        for key in &keys {
            put(&root, key, &PutPayload::from("x"), Commit::IfAbsent).unwrap();
        }
        let mut asked = keys.clone();
        asked.push(Path::from("a/missing"));
        asked.push(Path::from("nowhere/1"));
        let answers: Vec<Path> = delete(&root, asked.clone()).into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, asked);
        assert!(names(&directory.path().join("a")).is_empty() && names(&directory.path().join("b")).is_empty());
        // What cannot be removed is told, the others are removed all the same.
        put(&root, &keys[0], &PutPayload::from("x"), Commit::IfAbsent).unwrap();
        std::fs::create_dir_all(directory.path().join("a/2/x")).unwrap();
        let answers = delete(&root, keys[..2].to_vec());
        assert!(answers[0].is_ok() && answers[1].is_err(), "{answers:?}");
    }
}
