//! Deletion. The copy in the bucket goes only if the data went before: otherwise it is what a later re-attachment finds
//! the data by (specification §2.5). A plain deletion never needs the store (reliability B8).

use crd_types::{DeletionPolicy, Snapshot, annotations};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube_kit::{controller::Next, finalize};

use super::{FIELD_MANAGER, FINALIZER, SnapshotError, Snapshots, apply, dereference};
use crate::{
    limits::{DELETION_PATIENCE, DELETION_POLL},
    references,
};

pub(super) async fn run(controller: &Snapshots, snapshot: &Snapshot) -> Result<Next, SnapshotError> {
    if !finalize::has(snapshot, FINALIZER) {
        return Ok(Next::Changed);
    }
    let events = &controller.context.events;
    if snapshot.annotations().contains_key(annotations::DATA_REMOVED) {
        let observed = dereference::observe(controller, snapshot.clone());
        if let Err(problem) = apply::remove(controller, &observed).await {
            if problem.may_pass() && may_wait(controller, snapshot).await? {
                return Ok(Next::After(DELETION_POLL));
            }
            let shown = references::display(snapshot);
            tracing::warn!(snapshot = shown, error = %problem, "the copy in the bucket stays");
            let note = format!("snapshots/{}.yaml stays in the bucket: {problem}", snapshot.name_any());
            events.warning(snapshot, "MetadataLeftBehind", "DeleteSnapshot", &note).await;
        }
    } else if snapshot.spec.deletion_policy == Some(DeletionPolicy::WipeOut) {
        let note = "deletionPolicy WipeOut is not supported yet: the data stays until retention removes it";
        events.warning(snapshot, "WipeOutNotSupported", "DeleteSnapshot", note).await;
    }
    finalize::remove(&controller.api(snapshot), FIELD_MANAGER, snapshot, FINALIZER).await?;
    Ok(Next::Changed)
}

async fn may_wait(controller: &Snapshots, snapshot: &Snapshot) -> Result<bool, SnapshotError> {
    if references::deleting_for(snapshot, Timestamp::now()) >= DELETION_PATIENCE {
        return Ok(false);
    }
    let namespace = references::namespace(snapshot);
    let terminating = finalize::namespace_terminating(&controller.context.client, &namespace).await;
    let terminating = terminating
        .map_err(|source| SnapshotError::Read { snapshot: references::display(snapshot), source: Box::new(source) })?;
    Ok(!terminating)
}
