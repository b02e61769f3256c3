//! Listing directories as prefixes.
//!
//! An error is always told: a listing that silently lacks a directory would look like objects that are gone (I8).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::{Path, PathPart};
use object_store::{Extensions, ListResult, ObjectMeta, Result};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;
use tokio::sync::mpsc;

use super::failed;
use super::place::{Root, is_temporary};
use super::read::meta;
use super::stale;

/// Objects that may wait for a slow reader of the listing.
const AHEAD: usize = 1_024;

enum Found {
    Object(ObjectMeta),
    Directory(Path),
}

pub(super) fn recursively(root: Arc<Root>, prefix: Path) -> BoxStream<'static, Result<ObjectMeta>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let start = async move {
        tokio::task::spawn_blocking(move || {
            if let Err(error) = walk(&root, prefix, &sender) {
                // Nobody listening any more is the only way this fails.
                let _gone = sender.blocking_send(Err(error));
            }
        });
        futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
    };
    futures::stream::once(start).flatten().boxed()
}

pub(super) fn one_level(root: &Root, prefix: &Path) -> Result<ListResult> {
    let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Extensions::default() };
    if let Some(directory) = root.directory(prefix)? {
        entries(&directory, prefix, |found| {
            match found {
                Found::Object(object) => result.objects.push(object),
                Found::Directory(path) => result.common_prefixes.push(path),
            }
            true
        })?;
    }
    result.common_prefixes.sort();
    result.objects.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(result)
}

fn walk(root: &Root, prefix: Path, sender: &mpsc::Sender<Result<ObjectMeta>>) -> Result<()> {
    let mut pending = vec![prefix];
    while let Some(prefix) = pending.pop() {
        // A directory that vanished since it was seen has no objects.
        let Some(directory) = root.directory(&prefix)? else { continue };
        let mut heard = true;
        let has_temporary = entries(&directory, &prefix, |found| {
            match found {
                Found::Object(object) => heard = sender.blocking_send(Ok(object)).is_ok(),
                Found::Directory(path) => pending.push(path),
            }
            heard
        })?;
        if has_temporary {
            stale::remove(&directory);
        }
        if !heard {
            return Ok(());
        }
    }
    Ok(())
}

/// Calls `visit` for each object and directory until it answers false. Says whether there were temporary files.
fn entries(directory: &OwnedFd, prefix: &Path, mut visit: impl FnMut(Found) -> bool) -> Result<bool> {
    let mut has_temporary = false;
    let listing = Dir::read_from(directory).map_err(|errno| failed("list", prefix, errno))?;
    for entry in listing {
        let entry = entry.map_err(|errno| failed("list", prefix, errno))?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if is_temporary(name) {
            has_temporary = true;
            continue;
        }
        if name == "." || name == ".." {
            continue;
        }
        let Ok(part) = PathPart::parse(name) else { continue };
        let path: Path = prefix.parts().chain(std::iter::once(part)).collect();
        let Some(stat) = look(directory, name, &path)? else { continue };
        let found = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::Object(meta(path, &stat)),
            FileType::Directory => Found::Directory(path),
            // Links and devices are not objects: they cannot be read either.
            _ => continue,
        };
        if !visit(found) {
            break;
        }
    }
    Ok(has_temporary)
}

fn look(directory: &OwnedFd, name: &str, path: &Path) -> Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed("stat", path, errno)),
    }
}
