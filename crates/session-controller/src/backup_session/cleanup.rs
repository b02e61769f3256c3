//! A BackupSession that is deleted: its movers stop, its unfinished Snapshots go, and nothing hangs (B8, B9, I6).

use std::time::Duration;

use crd_types::{BackupSession, Snapshot, SnapshotPhase, labels, names::FINALIZER, names::manager};
use kube::{Api, ResourceExt as _, api::ListParams};
use kube_kit::apply::Deletion;
use kube_kit::controller::Next;
use kube_kit::finalize;
use planner::attempt::{JobState, JobView};

use super::{Error, Shared, Validated};
use crate::pods;

/// How long movers that were told to stop are waited for; then the finalizer lets go, and the garbage collector does
/// the rest.
const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(45);

/// Pause between looks at movers that end.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Ends what a deleted session has running, then lets it go.
pub async fn cleanup(shared: &Shared, validated: Validated) -> Result<Next, Error> {
    let ctx = &shared.ctx;
    let owner = &validated.owner;
    ctx.queue.release(&validated.display());
    if !finalize::has(&validated.session, FINALIZER) {
        ctx.registry.forget(&owner.uid);
        return Ok(Next::Changed);
    }
    let api: Api<BackupSession> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let jobs = match pods::read_jobs(ctx, &owner.namespace, &owner.uid).await {
        Ok(jobs) => jobs,
        // Jobs whose proof cannot be checked now are deleted with their owner all the same.
        Err(pods::PodsError::NoProofKey) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let live: Vec<&JobView> = jobs.iter().filter(|job| job.is_live()).collect();
    let asked: Vec<String> = live.iter().filter(|job| job.state == JobState::Live).map(|job| job.name.clone()).collect();
    pods::stop_jobs(ctx, &owner.namespace, &owner.uid, &asked, "the BackupSession was deleted").await?;
    discard_snapshots(shared, &validated).await?;

    let deleted = validated.session.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let patient = deleted.is_some_and(|at| ctx.now().duration_since(at) < PATIENCE);
    // A namespace under deletion takes its pods along; waiting for them would only hold it up.
    if !live.is_empty() && patient && !terminating(shared, &owner.namespace).await {
        return Ok(Next::After(LOOK_AGAIN));
    }
    finalize::remove(&api, manager::SESSION_CONTROLLER, &validated.session, FINALIZER).await?;
    ctx.registry.forget(&owner.uid);
    Ok(Next::Changed)
}

/// Snapshots that will never be complete go with the session (specification §2.4 step 11).
async fn discard_snapshots(shared: &Shared, validated: &Validated) -> Result<(), Error> {
    let owner = &validated.owner;
    let api: Api<Snapshot> = Api::namespaced(shared.ctx.client.clone(), &owner.namespace);
    let own = ListParams::default().labels(&format!("{}={}", labels::SESSION_UID, owner.uid));
    let listed = api.list(&own).await;
    let listed = listed.map_err(|source| Error::read(format!("Snapshots of {}", validated.display()), source))?;
    let finished = |snapshot: &Snapshot| {
        let phase = snapshot.status.as_ref().and_then(|status| status.phase);
        phase.is_some_and(SnapshotPhase::is_completed)
    };
    for snapshot in listed.items.iter().filter(|snapshot| !finished(snapshot) && snapshot.metadata.deletion_timestamp.is_none()) {
        tracing::info!(snapshot = snapshot.name_any(), session = owner.name, "unfinished Snapshot goes with its session");
        Deletion::background().run(&api, snapshot).await?;
    }
    Ok(())
}

async fn terminating(shared: &Shared, namespace: &str) -> bool {
    finalize::namespace_terminating(&shared.ctx.client, namespace).await.unwrap_or(false)
}
