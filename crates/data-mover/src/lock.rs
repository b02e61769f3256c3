//! Locks: who we are in ours, and whether the holder of another's is dead (architecture §4.7).

use std::time::Duration;

use async_trait::async_trait;
use proto_api::mover::v1alpha1 as wire;
use repository::{Control, LockGuard, LockHolder, LockIdentity, LockJudge, LockMode, LockRequest, LockVerdict, Repository};

use crate::attach::Link;
use crate::stop::Stop;

/// Longest wait for another's lock.
const WAIT: Duration = Duration::from_secs(60 * 60);
/// Longest wait for one verdict; the engine asks again as long as it waits.
const VERDICT: Duration = Duration::from_secs(10);

/// Longest removal of our lock when the work was stopped, so that the mover ends in time (engine §4.9).
const HURRIED_RELEASE: Duration = Duration::from_secs(1);

/// Longest look at locks that are not in the way.
const CLEARING: Duration = Duration::from_secs(15);

/// Asks the session about holders of locks. Whoever does not answer knows nothing.
struct SessionJudge {
    link: Link,
    target_id: String,
}

#[async_trait]
impl LockJudge for SessionJudge {
    async fn judge(&self, holder: &LockHolder) -> LockVerdict {
        let question = wire::LockSeen { target_id: self.target_id.clone(), holder: Some(to_wire(holder)) };
        let Some(verdict) = self.link.ask(question, VERDICT).await else { return LockVerdict::Unknown };
        match verdict.state() {
            // A death without a proof is a rumour.
            wire::HolderState::Dead if !verdict.proof.is_empty() => LockVerdict::Dead { proof: verdict.proof },
            wire::HolderState::Alive => LockVerdict::Alive,
            _ => LockVerdict::Unknown,
        }
    }
}

/// Takes a lock, waiting for others within bounds.
///
/// # Errors
/// Of the engine.
pub(crate) async fn take(
    repository: &Repository,
    mode: LockMode,
    identity: LockIdentity,
    link: &Link,
    target_id: &str,
    control: &Control,
) -> repository::Result<LockGuard> {
    let judge = SessionJudge { link: link.clone(), target_id: target_id.to_owned() };
    let request = LockRequest::new(mode, identity).waiting(WAIT).judged_by(std::sync::Arc::new(judge));
    let guard = repository.lock(request.clone(), control).await?;
    // Shared locks of killed attempts are not in our way, but in that of the next prune. Nothing here depends on it, so what
    // cannot be done now is left to whom they hinder.
    let own = Some(guard.handle().current_id());
    match tokio::time::timeout(CLEARING, repository.remove_dead_locks(&request, own, control)).await {
        Ok(Ok(0) | Err(repository::Error::Cancelled)) => {}
        Ok(Ok(removed)) => tracing::info!(removed, "removed locks of dead holders"),
        Ok(Err(error)) => tracing::warn!(%error, "could not look for locks of dead holders"),
        Err(_) => tracing::info!("the session said nothing about other locks"),
    }
    Ok(guard)
}

/// Gives a lock back; what cannot be given back is removed once our death is proven, or becomes stale by itself.
pub(crate) async fn give_back(guard: LockGuard, stop: &Stop) {
    let hurry = async {
        stop.token().cancelled().await;
        tokio::time::sleep(HURRIED_RELEASE).await;
    };
    tokio::select! {
        released = guard.release() => {
            if let Err(error) = released {
                tracing::warn!(%error, "could not remove our lock");
            }
        }
        () = hurry => tracing::warn!("the store took too long to remove our lock"),
    }
}

fn to_wire(holder: &LockHolder) -> wire::LockHolder {
    wire::LockHolder {
        lock_id: holder.lock_id.to_string(),
        exclusive: holder.exclusive,
        hostname: holder.hostname.clone(),
        pid: u32::try_from(holder.pid).unwrap_or_default(),
        cluster_uid: holder.cluster_uid.clone(),
        pod_uid: holder.pod_uid.clone(),
        machine_id: holder.machine_id.clone(),
        written: Some(proto_api::time::to_proto(holder.modified)),
    }
}
