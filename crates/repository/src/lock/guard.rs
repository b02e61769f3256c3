//! A lock that we hold.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clock::Moment;
use super::{LockIdentity, LockMode, LockRequest, LockTimes, refresh};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::Id;
use crate::objects::FileType;
use crate::{Repository, limits};

/// The state shared by the guard, its handles and the refreshing task.
#[derive(Debug)]
pub(super) struct Held {
    pub repository: Repository,
    pub mode: LockMode,
    pub identity: LockIdentity,
    pub times: LockTimes,
    state: Mutex<State>,
    lost: CancellationToken,
    ended: CancellationToken,
}

#[derive(Debug)]
struct State {
    /// The lock object that stands for us now.
    current: Id,
    /// When it was written.
    refreshed: Moment,
    /// Older ones that could not be removed yet.
    superseded: Vec<Id>,
    lost_reason: Option<String>,
}

/// A held lock. Release it when the work is done; dropping it releases it in the background as well as it can.
#[derive(Debug)]
pub struct LockGuard {
    held: Arc<Held>,
    refreshing: Option<JoinHandle<()>>,
    released: bool,
}

/// Says whether the lock is still held. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct LockHandle {
    held: Arc<Held>,
}

impl LockGuard {
    /// Writes the lock object.
    pub(super) async fn write(repository: &Repository, request: &LockRequest, control: &Control) -> Result<Self> {
        let exclusive = request.mode == LockMode::Exclusive;
        let refreshed = Moment::now();
        let (current, sealed) = seal(repository, &request.identity, exclusive)?;
        let objects = repository.objects();
        // A lock that is cut short keeps nobody out: others cannot read it and remove it as stale while we live (invariant I7).
        let put = objects.put_verified(FileType::Lock, &current, sealed);
        if let Err(error) = control.until(limits::CANCELLED_UPLOADS, put).await {
            // The store may have taken it all the same.
            let _ = control.finish(objects.delete_verified(FileType::Lock, &current)).await;
            return Err(error);
        }
        let held = Held {
            repository: repository.clone(),
            mode: request.mode,
            identity: request.identity.clone(),
            times: request.times,
            state: Mutex::new(State { current, refreshed, superseded: Vec::new(), lost_reason: None }),
            lost: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        Ok(Self { held: Arc::new(held), refreshing: None, released: false })
    }

    pub(super) fn start_refreshing(&mut self) {
        self.refreshing = Some(tokio::spawn(refresh::run(Arc::clone(&self.held))));
    }

    /// A handle for those who work under this lock.
    #[must_use]
    pub fn handle(&self) -> LockHandle {
        LockHandle { held: Arc::clone(&self.held) }
    }

    /// Ends the refreshing and removes the lock from the store. Work under the lock that has not ended is refused from here on.
    ///
    /// # Errors
    /// Of the store; the lock then becomes stale by itself.
    pub async fn release(mut self) -> Result<()> {
        self.held.ended.cancel();
        if let Some(task) = self.refreshing.take() {
            task.await.map_err(Error::internal)?;
        }
        let removed = self.held.remove_all().await;
        // Only now: who gives up waiting for this leaves the lock to the drop.
        self.released = true;
        removed
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.held.ended.cancel();
        if self.released {
            return;
        }
        let (held, task) = (Arc::clone(&self.held), self.refreshing.take());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Some(task) = task {
                    let _ = task.await;
                }
                if let Err(error) = held.remove_all().await {
                    tracing::warn!(%error, "could not remove our lock");
                }
            });
        }
    }
}

impl LockHandle {
    /// Whether work under the lock may go on. Cheap; asked before each change in the store, so that a process that was stopped
    /// and wakes up late, or work that outlives its lock, changes nothing (reliability C4).
    ///
    /// # Errors
    /// [`Error::LockLost`], also once the lock was given back.
    pub fn check(&self) -> Result<()> {
        self.held.check()
    }

    /// [`Self::check`], and a look into the store whether our lock is still there: somebody may have removed it by force.
    ///
    /// # Errors
    /// [`Error::LockLost`], or of the store.
    pub async fn verify(&self) -> Result<()> {
        self.held.verify().await
    }

    /// Cancelled when the lock is lost.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.held.lost
    }

    /// Shared or exclusive.
    #[must_use]
    pub fn mode(&self) -> LockMode {
        self.held.mode
    }

    pub(crate) fn require_exclusive(&self, operation: &'static str) -> Result<()> {
        if self.held.mode == LockMode::Exclusive { Ok(()) } else { Err(Error::NotExclusive { operation }) }
    }

    /// Id of the lock object that stands for us now.
    #[must_use]
    pub fn current_id(&self) -> Id {
        self.held.state.lock().current
    }
}

/// A lock object of ours, as of now.
fn seal(repository: &Repository, identity: &LockIdentity, exclusive: bool) -> Result<(Id, bytes::Bytes)> {
    let file = identity.lock_file(the_time!(), exclusive);
    let sealed = repository.seal_unpacked(&serde_json::to_vec(&file).map_err(Error::internal)?)?;
    Ok((Id::of(&sealed), sealed.into()))
}

impl Held {
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    pub fn check(&self) -> Result<()> {
        if self.ended.is_cancelled() {
            return Err(Error::LockLost { reason: "it was given back while work under it went on".to_owned() });
        }
        let reason = {
            let state = self.state.lock();
            match &state.lost_reason {
                Some(reason) => reason.clone(),
                None => {
                    let age = state.refreshed.elapsed();
                    if age <= self.times.give_up {
                        return Ok(());
                    }
                    format!("it was not refreshed for {} s", age.as_secs())
                }
            }
        };
        Err(self.lose(reason))
    }

    pub async fn verify(&self) -> Result<()> {
        // A refresh may replace the lock while we look.
        for _ in 0..3 {
            self.check()?;
            let id = self.state.lock().current;
            let found = self.repository.objects().head(FileType::Lock, &id).await?;
            // An empty one keeps nobody out: a store that cut it short lost it.
            if found.is_some_and(|listed| listed.size > 0) {
                return Ok(());
            }
            if self.state.lock().current == id {
                let reason = if found.is_some() { "nothing of it is in the store" } else { "somebody removed it from the store" };
                return Err(self.lose(reason.into()));
            }
        }
        Ok(())
    }

    fn lose(&self, reason: String) -> Error {
        let reason = self.state.lock().lost_reason.get_or_insert(reason).clone();
        if !self.lost.is_cancelled() {
            tracing::error!(reason, "lost the lock on the repository");
        }
        self.lost.cancel();
        Error::LockLost { reason }
    }

    /// Writes a new lock, then removes the old one: there is a lock of ours at every moment.
    pub async fn refresh(&self) -> Result<()> {
        self.verify().await?;
        let refreshed = Moment::now();
        let (new, sealed) = seal(&self.repository, &self.identity, self.mode == LockMode::Exclusive)?;
        // Should the write fail, the store may have taken it all the same: it is to be removed then (reliability E7).
        self.state.lock().superseded.push(new);
        self.repository.objects().put_verified(FileType::Lock, &new, sealed).await?;
        let old = {
            let mut state = self.state.lock();
            let old = std::mem::replace(&mut state.current, new);
            state.superseded.retain(|id| *id != new);
            state.superseded.push(old);
            state.refreshed = refreshed;
            state.superseded.clone()
        };
        self.remove(&old).await
    }

    /// Removes locks of ours for certain: one that stayed would keep others out, and ourselves, for as long as we live.
    async fn remove(&self, ids: &[Id]) -> Result<()> {
        for id in ids {
            self.repository.objects().delete_verified(FileType::Lock, id).await?;
            self.state.lock().superseded.retain(|superseded| superseded != id);
        }
        Ok(())
    }

    pub async fn remove_all(&self) -> Result<()> {
        let ids = {
            let state = self.state.lock();
            let mut ids = state.superseded.clone();
            ids.push(state.current);
            ids
        };
        self.remove(&ids).await
    }
}
