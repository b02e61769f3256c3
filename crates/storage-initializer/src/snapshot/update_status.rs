//! Writes the conditions about the bucket; everything else in a Snapshot's status is the session-controller's.

use crd_types::{
    Condition,
    conditions::{self, reason},
};
use jiff::Timestamp;
use kube_kit::{
    conditions::{Wanted, merge},
    status::{Guard, apply_status},
};
use serde::Serialize;

use super::{FIELD_MANAGER, SnapshotError, Snapshots, apply::UPLOADED, dereference::Observed, validate::is_listed};
use crate::references;

/// The conditions of this field manager.
const OWN: [&str; 3] =
    [conditions::RECENT_SNAPSHOT_LIST_UPDATED, conditions::SNAPSHOT_METADATA_UPLOADED, conditions::PROGRESSING];

/// What became of the copy in this reconcile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Uploaded {
    /// Nothing new.
    Unchanged,
    Yes,
    /// It is tried again, because of this.
    NotYet(String),
    /// It is given up, for this reason.
    No(String),
}

#[derive(Serialize)]
struct OwnStatus {
    conditions: Vec<Condition>,
}

pub(super) async fn write(
    controller: &Snapshots,
    observed: &Observed,
    uploaded: &Uploaded,
    now: Timestamp,
) -> Result<(), SnapshotError> {
    let status = observed.snapshot.status.clone().unwrap_or_default();
    let before: Vec<Condition> =
        status.conditions.into_iter().filter(|condition| OWN.contains(&condition.type_.as_str())).collect();
    let mut after = merge(&before, wanted(observed, uploaded, &before), now);
    if matches!(uploaded, Uploaded::Yes | Uploaded::No(_)) {
        // What stood in the way is over, one way or the other.
        after.retain(|condition| condition.type_ != conditions::PROGRESSING);
    }
    if after == before {
        return Ok(());
    }
    let api = controller.api(&observed.snapshot);
    let own = OwnStatus { conditions: after };
    let written = apply_status(&api, FIELD_MANAGER, &observed.snapshot, &own, Guard::None).await?;
    controller.own_writes.record(&written);
    if let Uploaded::No(message) = uploaded {
        let snapshot = references::display(&observed.snapshot);
        tracing::error!(snapshot, message, "metadata could not be uploaded, the snapshot fails");
        let reason = reason::FAILED_TO_UPLOAD_SNAPSHOT_METADATA;
        controller.context.events.warning(&observed.snapshot, reason, "UploadMetadata", message).await;
    }
    Ok(())
}

fn wanted(observed: &Observed, uploaded: &Uploaded, before: &[Condition]) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let is_listed = observed.repository.as_ref().is_some_and(|repository| is_listed(&observed.snapshot, repository));
    // Only ever True: False would fail a Snapshot whose data is safe, for the sake of a list.
    if is_listed && !conditions::exists(before, conditions::RECENT_SNAPSHOT_LIST_UPDATED) {
        wanted.push(Wanted::yes(
            conditions::RECENT_SNAPSHOT_LIST_UPDATED,
            reason::SUCCESSFULLY_UPDATED_RECENT_SNAPSHOT_LIST,
            "Recent snapshot list updated successfully",
        ));
    }
    match uploaded {
        Uploaded::Unchanged => {}
        Uploaded::Yes => wanted.push(Wanted::yes(
            conditions::SNAPSHOT_METADATA_UPLOADED,
            reason::SUCCESSFULLY_UPLOADED_SNAPSHOT_METADATA,
            UPLOADED,
        )),
        Uploaded::NotYet(message) => {
            wanted.push(Wanted::no(conditions::PROGRESSING, "UploadingMetadata", message.clone()));
        }
        Uploaded::No(message) => wanted.push(Wanted::no(
            conditions::SNAPSHOT_METADATA_UPLOADED,
            reason::FAILED_TO_UPLOAD_SNAPSHOT_METADATA,
            message.clone(),
        )),
    }
    wanted
}
