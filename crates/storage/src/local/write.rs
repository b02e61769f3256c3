//! Writing: temporary file, sync, rename, directory sync.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use rustix::fs::{AtFlags, OFlags, RenameFlags, fsync, linkat, openat, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::place::{Root, TEMPORARY_HEAD, TEMPORARY_TAIL, sync_directory, widen};
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
    name: String,
    key: Path,
    target: String,
    committed: bool,
}

pub(super) fn put(root: &Root, key: &Path, payload: &PutPayload, commit: Commit) -> Result<PutResult> {
    let mut temporary = Temporary::create(root, key)?;
    for chunk in payload {
        temporary.file.write_all(chunk).map_err(|error| failed("write", key, error))?;
    }
    temporary.commit(commit)
}

/// Removing what is not there is success, as it is in the cloud.
pub(super) fn delete(root: &Root, key: &Path) -> Result<()> {
    let (directory, name, _) = match root.parent(key, false) {
        Ok(found) => found,
        Err(object_store::Error::NotFound { source, .. }) if source.downcast_ref::<super::Failure>().is_some() => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match unlinkat(&directory, &name, AtFlags::empty()) {
        Ok(()) => sync_directory(&directory).map_err(|errno| failed("sync directory of", key, errno)),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("remove", key, errno)),
    }
}

impl Temporary {
    fn create(root: &Root, key: &Path) -> Result<Self> {
        let (directory, target, modes) = root.parent(key, true)?;
        let name = temporary_name();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&directory, &name, flags, modes.file).map_err(|errno| failed("create", key, errno))?;
        let temporary = Self { directory, file: file.into(), name, key: key.clone(), target, committed: false };
        let descriptor = temporary.file.as_fd().try_clone_to_owned().map_err(|error| failed("open", key, error))?;
        widen(&descriptor, modes.file).map_err(|errno| failed("set the mode of", key, errno))?;
        Ok(temporary)
    }

    fn commit(mut self, commit: Commit) -> Result<PutResult> {
        let key = self.key.clone();
        fsync(&self.file).map_err(|errno| failed("sync", &key, errno))?;
        match commit {
            Commit::Replace => renameat(&self.directory, &self.name, &self.directory, &self.target)
                .map_err(|errno| failed("rename to", &key, errno))?,
            Commit::IfAbsent => self.rename_if_absent()?,
        }
        self.committed = true;
        sync_directory(&self.directory).map_err(|errno| failed("sync directory of", &key, errno))?;
        let stat = rustix::fs::fstat(&self.file).map_err(|errno| failed("stat", &key, errno))?;
        Ok(PutResult { e_tag: Some(e_tag(&stat)), version: None, extensions: object_store::Extensions::default() })
    }

    fn rename_if_absent(&mut self) -> Result<()> {
        let directory = &self.directory;
        match renameat_with(directory, &self.name, directory, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // NFS and some FUSE file systems know no NOREPLACE.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("create", &self.key, errno)),
        }
        match linkat(directory, &self.name, directory, &self.target, AtFlags::empty()) {
            Ok(()) => {}
            // NFS repeats a call whose answer was lost and then finds its own link.
            Err(Errno::EXIST) if self.is_linked() => {}
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => {
                return Err(unsupported("create if absent on this file system"));
            }
            Err(errno) => return Err(failed("create", &self.key, errno)),
        }
        unlinkat(directory, &self.name, AtFlags::empty()).map_err(|errno| failed("remove", &self.key, errno))
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
            && let Err(errno) = unlinkat(&self.directory, &self.name, AtFlags::empty())
            && errno != Errno::NOENT
        {
            tracing::warn!(name = %self.name, error = %errno, "temporary file left behind");
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
