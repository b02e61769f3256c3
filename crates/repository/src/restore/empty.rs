//! Targets that must be empty ([`Existing::RefuseIfNotEmpty`](super::Existing::RefuseIfNotEmpty)), looked at before anything is
//! written. What cannot be looked at is not taken for empty.

use std::{io, path::Path};

use rustix::io::Errno;

use super::{
    request::RestoreRequest,
    restorer::{file_error, open_root},
    select::split,
    strangers::LOST_AND_FOUND,
    surplus::names_in,
};
use crate::{
    control::Control,
    error::{Error, Result},
    format::Snapshot,
    source::handles::Handles,
};

/// Fails if anything stands in the target where one of the snapshot's paths comes out.
pub(super) async fn look(request: &RestoreRequest, snapshot: &Snapshot, control: &Control) -> Result<()> {
    let (root, paths) = (request.root.clone(), snapshot.paths.clone());
    // A file system may hang, so this is for a thread that can be left behind.
    let work = tokio::task::spawn_blocking(move || look_at_all(&root, &paths));
    control.finish(async { work.await.map_err(Error::internal)? }).await
}

fn look_at_all(root: &Path, paths: &[String]) -> Result<()> {
    let (root, handles) = (open_root(root)?, Handles::default());
    for path in paths {
        let mut place = root.clone();
        let mut reached: io::Result<()> = Ok(());
        for name in split(path.as_bytes()) {
            place = place.child(&name);
            reached = handles.open(&place).map(drop);
            if reached.is_err() {
                break;
            }
        }
        let is_taken = match reached.and_then(|()| names_in(&handles, &place)) {
            Ok(names) => names.iter().any(|name| name != LOST_AND_FOUND),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => false,
                // A file, a link or the like, there or on the way there. It would be written over or replaced.
                Some(Errno::NOTDIR | Errno::LOOP) => true,
                _ => return Err(file_error("list", &place.path(), error)),
            },
        };
        if is_taken {
            return Err(Error::TargetNotEmpty { path: place.path().display().to_string() });
        }
    }
    Ok(())
}
