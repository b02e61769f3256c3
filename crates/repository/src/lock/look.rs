//! Looking at the locks of a repository.

use super::{LockHolder, LockMode};
use crate::Repository;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{Id, LockFile};
use crate::objects::FileType;

/// A lock may be refreshed between the listing and the reading; then the listing is taken again, this often at most.
const LOOKS: usize = 10;

impl Repository {
    /// All locks that are there now, other than `own`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn locks(&self, own: Option<Id>, control: &Control) -> Result<Vec<LockHolder>> {
        for _ in 0..LOOKS {
            if let Some(locks) = self.look_once(own, control).await? {
                return Ok(locks);
            }
        }
        Err(Error::damaged(FileType::Lock.directory(), "locks come and go faster than they can be read"))
    }

    /// `None` if a lock vanished while we looked: its successor may be missing from our listing.
    async fn look_once(&self, own: Option<Id>, control: &Control) -> Result<Option<Vec<LockHolder>>> {
        let mut locks = Vec::new();
        for listed in self.objects().list(FileType::Lock, control).await? {
            // An empty object is what an interrupted upload leaves on stores without atomic writes; restic ignores it as well.
            if Some(listed.id) == own || listed.size == 0 {
                continue;
            }
            match self.load_json::<LockFile>(FileType::Lock, &listed.id, control).await {
                Ok(lock) => locks.push(LockHolder::new(listed.id, listed.modified, lock)),
                Err(Error::Damaged { .. } | Error::BeyondLimit { .. }) => {
                    locks.push(LockHolder::unreadable(listed.id, listed.modified));
                }
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(locks))
    }

    /// The locks that keep us from holding one in `mode`.
    pub(super) async fn locks_in_the_way(&self, mode: LockMode, own: Option<Id>, control: &Control) -> Result<Vec<LockHolder>> {
        let mut locks = self.locks(own, control).await?;
        locks.retain(|holder| mode == LockMode::Exclusive || holder.exclusive);
        Ok(locks)
    }
}
