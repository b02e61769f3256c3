//! Removing locks of holders that are proven dead, and no others (invariant I7).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::{LockHolder, LockRequest, LockVerdict};
use crate::Repository;
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::Id;
use crate::objects::FileType;

/// How long a judge may think about one lock.
const JUDGE_TIME: Duration = Duration::from_secs(30);

/// When each lock was first seen by us. A holder that lives replaces its lock at each refresh, so the same id seen again after
/// more than a refresh says that nobody refreshes it.
#[derive(Debug, Default)]
pub(super) struct Looks {
    first: HashMap<Id, Instant>,
}

impl Looks {
    /// Notes what was seen and forgets what is gone.
    pub fn note(&mut self, seen: &[LockHolder]) {
        self.first.retain(|id, _| seen.iter().any(|holder| holder.lock_id == *id));
        for holder in seen {
            self.first.entry(holder.lock_id).or_insert_with(Instant::now);
        }
    }

    fn since(&self, id: &Id) -> Duration {
        self.first.get(id).map_or(Duration::ZERO, Instant::elapsed)
    }
}

impl Repository {
    /// Removes every lock whose holder the request's judge proves dead, also those that are in nobody's way now: the lock of a
    /// killed backup would keep the next prune out. Age alone removes nothing here. Returns how many were removed.
    ///
    /// # Errors
    /// [`Error::Cancelled`], else of the store.
    pub async fn remove_dead_locks(&self, request: &LockRequest, own: Option<Id>, control: &Control) -> Result<usize> {
        let before = self.locks(own, control).await?;
        if !self.clear_dead_locks(&before, &Looks::default(), request, control).await? {
            return Ok(0);
        }
        let after = self.locks(own, control).await?;
        Ok(before.iter().filter(|holder| !after.iter().any(|left| left.lock_id == holder.lock_id)).count())
    }

    /// Removes those of `in_the_way` whose holders are dead. True if any was removed.
    pub(super) async fn clear_dead_locks(
        &self,
        in_the_way: &[LockHolder],
        looks: &Looks,
        request: &LockRequest,
        control: &Control,
    ) -> Result<bool> {
        let mut removed = false;
        for holder in in_the_way {
            let Some(proof) = self.proof_of_death(holder, looks, request, control).await? else { continue };
            self.objects().delete(FileType::Lock, &holder.lock_id).await?;
            tracing::warn!(lock = %holder.lock_id, holder = %holder, proof, "removed the lock of a dead holder");
            control.emit(Event::LockRemoved { holder: holder.clone(), proof });
            removed = true;
        }
        Ok(removed)
    }

    async fn proof_of_death(
        &self,
        holder: &LockHolder,
        looks: &Looks,
        request: &LockRequest,
        control: &Control,
    ) -> Result<Option<String>> {
        if !holder.time.is_empty() {
            let judging =
                async { Ok(tokio::time::timeout(JUDGE_TIME, request.judge.judge(holder)).await.unwrap_or(LockVerdict::Unknown)) };
            match control.run(judging).await? {
                LockVerdict::Dead { proof } => return Ok(Some(proof)),
                LockVerdict::Alive => return Ok(None),
                LockVerdict::Unknown => {}
            }
        }
        let seen = looks.since(&holder.lock_id);
        if seen < request.times.between_looks {
            return Ok(None);
        }
        let age = Duration::try_from(self.store_time().await?.duration_since(holder.modified)).unwrap_or_default();
        if age < request.times.stale {
            return Ok(None);
        }
        Ok(Some(format!(
            "by the store's clock it is {} s old, and nobody refreshed it in the {} s since we first saw it",
            age.as_secs(),
            seen.as_secs()
        )))
    }

    /// What time it is by the store's clock: that of an object written just now. Its name is no id, so nobody takes it for a lock.
    async fn store_time(&self) -> Result<Timestamp> {
        let key = Path::from(format!("{}/clock-{}", FileType::Lock.directory(), Id::random()));
        let failed = |operation| {
            let key = key.to_string();
            move |source| Error::Store { operation, key, source: std::sync::Arc::new(source) }
        };
        let store = self.store();
        store.put(&key, bytes::Bytes::from_static(b"what time is it").into()).await.map_err(failed("write"))?;
        let meta = store.head(&key).await;
        store.delete(&key).await.map_err(failed("delete"))?;
        let modified = meta.map_err(failed("look at"))?.last_modified;
        Timestamp::new(modified.timestamp(), 0).map_err(Error::internal)
    }
}
