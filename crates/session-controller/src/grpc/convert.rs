//! Custom resources as messages.

use crd_types::{BackupSession, BackupSessionPhase, Condition, RestorePhase, RestoreSession, Snapshot, SnapshotPhase, duration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use proto_api::common::v1alpha1 as common;
use proto_api::session::v1alpha1 as pb;

/// Kind name of a backup.
pub const BACKUP_SESSION: &str = "BackupSession";
/// Kind name of a restore.
pub const RESTORE_SESSION: &str = "RestoreSession";

/// A BackupSession with the components of its Snapshots.
pub fn backup(session: &BackupSession, snapshots: &[Snapshot]) -> pb::Session {
    let status = session.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or(BackupSessionPhase::Pending);
    pb::Session {
        session: Some(reference(BACKUP_SESSION, &session.metadata)),
        phase: phase.to_string(),
        conditions: status.conditions.iter().map(condition).collect(),
        components: snapshots.iter().flat_map(backup_components).collect(),
        created: session.metadata.creation_timestamp.as_ref().map(timestamp),
        duration: status.duration.as_deref().and_then(length),
        complete: phase.is_completed(),
    }
}

fn backup_components(snapshot: &Snapshot) -> Vec<pb::ComponentStatus> {
    let repository = snapshot.spec.repository.clone().unwrap_or_default();
    let components = snapshot.status.as_ref().map(|status| status.components.clone()).unwrap_or_default();
    let convert = |(name, component): (String, crd_types::SnapshotComponent)| pb::ComponentStatus {
        name,
        repository: repository.clone(),
        phase: component.phase.unwrap_or(SnapshotPhase::Pending).to_string(),
        error: component.error.unwrap_or_default(),
        progress: component.restic_stats.iter().find_map(|stats| stats.progress.as_ref()).map(|progress| {
            common::TransferProgress {
                files_done: unsigned(progress.files_done),
                files_total: unsigned(progress.total_files),
                seconds_elapsed: unsigned(progress.seconds_elapsed),
                activity: progress.percent_done.clone().unwrap_or_default(),
                ..common::TransferProgress::default()
            }
        }),
    };
    components.into_iter().map(convert).collect()
}

/// A RestoreSession.
pub fn restore(session: &RestoreSession) -> pb::Session {
    let status = session.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or(RestorePhase::Pending);
    let repository = session.spec.data_source.as_ref().and_then(|source| source.repository.clone()).unwrap_or_default();
    let component = |(name, component): (&String, &crd_types::RestoreComponent)| pb::ComponentStatus {
        name: name.clone(),
        repository: repository.clone(),
        phase: component.phase.unwrap_or(RestorePhase::Pending).to_string(),
        error: component.error.clone().unwrap_or_default(),
        progress: component.progress.as_ref().map(|progress| common::TransferProgress {
            files_done: unsigned(progress.files_done),
            files_total: unsigned(progress.total_files),
            seconds_elapsed: unsigned(progress.seconds_elapsed),
            activity: progress.percent_done.clone().unwrap_or_default(),
            ..common::TransferProgress::default()
        }),
    };
    pb::Session {
        session: Some(reference(RESTORE_SESSION, &session.metadata)),
        phase: phase.to_string(),
        conditions: status.conditions.iter().map(condition).collect(),
        components: status.components.iter().map(component).collect(),
        created: session.metadata.creation_timestamp.as_ref().map(timestamp),
        duration: status.duration.as_deref().and_then(length),
        complete: phase.is_completed(),
    }
}

/// An object's name and life.
pub fn reference(kind: &str, metadata: &ObjectMeta) -> common::ObjectRef {
    common::ObjectRef {
        kind: kind.to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

fn condition(condition: &Condition) -> common::Condition {
    common::Condition {
        r#type: condition.type_.clone(),
        status: condition.status.to_string(),
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
        last_transition_time: Some(timestamp(&condition.last_transition_time)),
    }
}

fn timestamp(time: &Time) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.0.as_second(), nanos: time.0.subsec_nanosecond() }
}

fn length(text: &str) -> Option<prost_types::Duration> {
    let length = duration::parse(text).ok()?;
    Some(prost_types::Duration {
        seconds: i64::try_from(length.as_secs()).ok()?,
        nanos: i32::try_from(length.subsec_nanos()).ok()?,
    })
}

fn unsigned(number: Option<i64>) -> u64 {
    number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
}
