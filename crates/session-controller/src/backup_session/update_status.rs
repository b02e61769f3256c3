//! The session's status, and what people and dashboards are told when it changes.

use crd_types::{BackupSession, BackupSessionPhase, BackupSessionStatus, conditions, names::manager};
use kube::Api;
use kube_kit::status::{Guard, apply_status};

use super::{Error, Shared, Validated};

/// Writes a status, if it differs from what is there.
pub async fn update_status(shared: &Shared, validated: Validated, status: &BackupSessionStatus) -> Result<Validated, Error> {
    let before = validated.session.status.clone().unwrap_or_default();
    if before == *status {
        return Ok(validated);
    }
    let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), &validated.owner.namespace);
    let written = apply_status(&api, manager::SESSION_CONTROLLER, &validated.session, status, Guard::Version).await?;
    if before.phase != status.phase {
        tell(shared, &written, status).await;
    }
    Ok(validated.with(written))
}

/// Events on the session, and the counters of ended ones.
async fn tell(shared: &Shared, session: &BackupSession, status: &BackupSessionStatus) {
    let Some(phase) = status.phase else { return };
    let progressing = conditions::find(&status.conditions, conditions::PROGRESSING);
    let note = progressing.and_then(|known| known.message.clone()).unwrap_or_default();
    let events = &shared.ctx.events;
    match phase {
        BackupSessionPhase::Succeeded | BackupSessionPhase::Running => {
            events.normal(session, phase.as_str(), "Backup", &note).await;
        }
        BackupSessionPhase::Failed | BackupSessionPhase::Skipped => {
            events.warning(session, phase.as_str(), "Backup", &note).await;
        }
        BackupSessionPhase::Pending | BackupSessionPhase::Unrecognised => {}
    }
    if phase.is_completed() {
        let namespace = session.metadata.namespace.as_deref().unwrap_or_default();
        shared.ctx.metrics.session_ended("BackupSession", namespace, phase.as_str());
    }
}
