//! What a plan needs to know of a Snapshot.

use std::collections::BTreeMap;

use crd_types::{Snapshot, SnapshotPhase};
use jiff::Timestamp;

/// Annotation that says a Snapshot's data has been removed from the repository: RFC 3339.
pub const DATA_REMOVED_ANNOTATION: &str = crd_types::annotations::DATA_REMOVED;

/// How a Snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended, or we do not know its phase.
    Unfinished,
    /// All of it is there.
    Succeeded,
    /// Some of it is not.
    Failed,
}

/// One Snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotView {
    /// Name of the object.
    pub name: String,
    /// `spec.snapshotID`: settles the order of two of the same second.
    pub id: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// The user asked to leave it alone.
    pub paused: bool,
    /// Its data is gone: only the object is left to remove.
    pub data_removed: bool,
    /// What is reading it now, such as `RestoreSession demo/back`.
    pub in_use: Option<String>,
}

impl SnapshotView {
    /// The view of a Snapshot; `None` if it is being deleted or its time is not known.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let metadata = &snapshot.metadata;
        if metadata.deletion_timestamp.is_some() {
            return None;
        }
        let status = snapshot.status.as_ref();
        let taken = status.and_then(|status| status.snapshot_time.as_ref()).or(metadata.creation_timestamp.as_ref())?;
        let annotated = |name: &str| metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(name));
        Some(Self {
            name: metadata.name.clone()?,
            id: snapshot.spec.snapshot_id.clone().unwrap_or_default(),
            taken: taken.0,
            outcome: match status.and_then(|status| status.phase) {
                Some(SnapshotPhase::Succeeded) => Outcome::Succeeded,
                Some(SnapshotPhase::Failed) => Outcome::Failed,
                _ => Outcome::Unfinished,
            },
            paused: snapshot.spec.paused.unwrap_or_default(),
            data_removed: annotated(DATA_REMOVED_ANNOTATION),
            in_use: None,
        })
    }
}

/// The Snapshots by Repository and session: what one plan is made for. Those being deleted are
/// left out, so that they are not counted as kept.
pub fn group<'a>(snapshots: impl IntoIterator<Item = &'a Snapshot>) -> BTreeMap<(String, String), Vec<SnapshotView>> {
    let mut groups: BTreeMap<(String, String), Vec<SnapshotView>> = BTreeMap::new();
    for snapshot in snapshots {
        let repository = snapshot.spec.repository.clone().unwrap_or_default();
        let session = snapshot.spec.session.clone().unwrap_or_default();
        if let Some(view) = SnapshotView::of(snapshot) {
            groups.entry((repository, session)).or_default().push(view);
        }
    }
    groups
}
