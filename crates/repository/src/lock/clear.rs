//! Removing locks of holders that are proven dead or have long ceased to refresh them, and no others (invariant I7).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::{LockHolder, LockRequest, LockVerdict};
use crate::Repository;
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::Id;
use crate::objects::FileType;

/// How the names of clocks begin.
const CLOCK: &str = "clock-";

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
        let looks = Looks::default();
        if !control.finish(self.clear_dead_locks(&before, &looks, request, control)).await? {
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
        if planted!(LocksRemovedUnproven) {
            return Ok(Some("none".into()));
        }
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

    /// Removes what nobody holds and nobody would ever remove: empty objects, which an interrupted upload leaves, and clocks whose
    /// reader was killed. `own` is our lock, written just now, by whose time they must be older than `stale`.
    pub(super) async fn sweep_locks(&self, own: Id, stale: Duration) -> Result<()> {
        let directory = FileType::Lock.directory();
        let failed = |source| Error::Store { operation: "list", key: directory.into(), source: std::sync::Arc::new(source) };
        let found: Vec<ObjectMeta> = self.store().list(Some(&Path::from(directory))).try_collect().await.map_err(failed)?;
        let id = |meta: &ObjectMeta| meta.location.filename().and_then(|name| name.parse::<Id>().ok());
        let Some(now) = found.iter().find(|meta| id(meta) == Some(own)).map(|meta| meta.last_modified) else { return Ok(()) };
        for meta in &found {
            let is_clock = meta.location.filename().is_some_and(|name| name.starts_with(CLOCK));
            let is_old = now.signed_duration_since(meta.last_modified).to_std().is_ok_and(|age| age >= stale);
            if is_old && (is_clock || meta.size == 0 && id(meta).is_some()) {
                let failed = |source| Error::Store {
                    operation: "delete",
                    key: meta.location.to_string(),
                    source: std::sync::Arc::new(source),
                };
                self.store().delete(&meta.location).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// What time it is by the store's clock: that of an object written just now. Its name is no id, so nobody takes it for a lock.
    async fn store_time(&self) -> Result<Timestamp> {
        let key = Path::from(format!("{}/{CLOCK}{}", FileType::Lock.directory(), Id::random()));
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
