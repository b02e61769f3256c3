//! `unlock`: removes locks whose holders are proven dead, or of which two looks show that nobody refreshes them, and says why the
//! others stay (invariant I7).

use std::sync::Arc;

use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use repository::{Error as EngineError, Id, LockHolder, LockMode, LockRequest, LockTimes, Repository};
use serde_json::json;

use super::failure::Failure;
use super::holder::{Unlocking, identity};
use super::session::{Access, Session};

pub async fn run(session: &Session) -> Result<(), Failure> {
    // No lock of our own: it could not be had beside an exclusive one that is stale.
    let repository = session.open(Access::Exclusive).await?;
    let mut judge = Arc::new(Unlocking::new(store_time(&repository, session).await?));
    let mut removed = remove(&repository, session, &judge).await?;
    let suspects = judge.suspects();
    if !suspects.is_empty() {
        wait_for_refresh(session, &suspects).await?;
        let seen_before = suspects.iter().map(|(holder, _)| holder.lock_id).collect();
        judge = Arc::new(Unlocking::again(store_time(&repository, session).await?, seen_before));
        removed += remove(&repository, session, &judge).await?;
    }
    let left = repository.locks(None, &session.control).await?;
    if session.output.json {
        let stays: Vec<_> = left
            .iter()
            .map(|holder| json!({"id": holder.lock_id, "holder": holder.to_string(), "reason": why(holder, &judge)}))
            .collect();
        return session.output.message(&json!({"message_type": "summary", "removed": removed, "stay": stays}));
    }
    session.output.note(format_args!("{removed} locks were removed"))?;
    for holder in &left {
        session.output.line(format_args!("the lock of {holder} stays: {}", why(holder, &judge)))?;
    }
    Ok(())
}

async fn remove(repository: &Repository, session: &Session, judge: &Arc<Unlocking>) -> Result<usize, Failure> {
    let request = LockRequest::new(LockMode::Shared, identity()).judged_by(judge.clone());
    Ok(repository.remove_dead_locks(&request, None, &session.control).await?)
}

/// Gives holders that live the time to refresh locks that look dead.
async fn wait_for_refresh(session: &Session, suspects: &[(LockHolder, String)]) -> Result<(), Failure> {
    let pause = LockTimes::default().between_looks;
    for (holder, sign) in suspects {
        session.output.warn(format_args!("the lock of {holder} looks dead: {sign}"));
    }
    session.output.warn(format_args!("looking again in {} s, whether somebody refreshes what looks dead", pause.as_secs()));
    let slept = session.control.cancelled().run_until_cancelled(tokio::time::sleep(pause)).await;
    slept.ok_or_else(|| EngineError::Cancelled.into())
}

fn why(holder: &LockHolder, judge: &Unlocking) -> String {
    let unjudged = if holder.time.is_empty() {
        "it cannot be read, and may be a newer program's"
    } else {
        "it was taken or refreshed just now"
    };
    judge.reason(&holder.lock_id).unwrap_or_else(|| unjudged.to_owned())
}

/// What time it is by the store's clock: that of an object written just now. Its name is no id, so nobody takes it for a lock.
async fn store_time(repository: &Repository, session: &Session) -> Result<Timestamp, Failure> {
    let key = Path::from(format!("locks/clock-{}", Id::random()));
    let failed = |error| Failure::from(storage::Error::from_store(error, session.place()));
    let store: &Arc<dyn ObjectStore> = repository.store();
    store.put(&key, "what time is it".into()).await.map_err(failed)?;
    let meta = store.head(&key).await;
    store.delete(&key).await.map_err(failed)?;
    let modified = meta.map_err(failed)?.last_modified;
    Timestamp::from_second(modified.timestamp()).map_err(|error| Failure::Usage(format!("the store's clock: {error}")))
}
