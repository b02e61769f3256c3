//! Says what was found.

use crd_types::{
    BackupStorageStatus, RepositoryPhase, RepositoryStorageStatus,
    conditions::{self, reason},
    phase, size,
};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube_kit::{
    conditions::{Wanted, merge, remove},
    status::{Guard, apply_status},
};

use super::{
    BackupStorageError, BackupStorages, FIELD_MANAGER,
    apply::{Finding, Initialised, Secret},
    dereference::Observed,
};

/// Most Repositories listed: a status must fit into an object (reliability B13). The total size counts them all.
const MOST_REPOSITORIES: usize = 1000;

/// Writes the status if it says anything new, and an event if the phase changed.
pub(super) async fn write(
    controller: &BackupStorages,
    observed: &Observed,
    finding: &Finding,
    now: Timestamp,
) -> Result<(), BackupStorageError> {
    let status = status(observed, finding, now);
    let before = observed.storage.status.as_ref();
    if before == Some(&status) {
        return Ok(());
    }
    let api = controller.api(&observed.storage);
    let written = apply_status(&api, FIELD_MANAGER, &observed.storage, &status, Guard::Version).await?;
    controller.own_writes.record(&written);
    if before.and_then(|before| before.phase) != status.phase {
        announce(controller, observed, &status).await;
    }
    Ok(())
}

/// The whole status.
pub(super) fn status(observed: &Observed, finding: &Finding, now: Timestamp) -> BackupStorageStatus {
    let before = observed.storage.status.clone().unwrap_or_default();
    let generation = observed.storage.metadata.generation;
    let mut conditions = before.conditions;
    if finding.secret == Secret::NotNamed {
        remove(&mut conditions, conditions::BACKEND_SECRET_FOUND);
    }
    let wanted = wanted(finding).into_iter().map(|condition| condition.at_generation(generation));
    let conditions = merge(&conditions, wanted, now);

    let sizes = observed.repositories.iter().filter_map(|repository| repository.status.as_ref()?.size.as_deref());
    let total: u64 = sizes.filter_map(|text| size::parse(text).ok()).fold(0, u64::saturating_add);
    BackupStorageStatus {
        phase: Some(phase::backup_storage(&conditions)),
        conditions,
        repositories: repositories(observed),
        total_size: Some(size::format(total)),
    }
}

fn wanted(finding: &Finding) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    match &finding.secret {
        Secret::NotNamed => {}
        Secret::Found => {
            wanted.push(Wanted::yes(
                conditions::BACKEND_SECRET_FOUND,
                reason::BACKEND_SECRET_AVAILABLE,
                "Backend secret exists.",
            ));
        }
        Secret::Missing(message) => {
            wanted.push(Wanted::no(conditions::BACKEND_SECRET_FOUND, reason::BACKEND_SECRET_NOT_AVAILABLE, message.clone()));
        }
    }
    match &finding.initialised {
        Initialised::Unknown => {}
        Initialised::Yes => wanted.push(Wanted::yes(
            conditions::BACKEND_INITIALIZED,
            reason::BACKEND_INITIALIZATION_SUCCEEDED,
            "Successfully initialized backend.",
        )),
        Initialised::No(message) => {
            wanted.push(Wanted::no(conditions::BACKEND_INITIALIZED, reason::BACKEND_INITIALIZATION_FAILED, message.clone()));
        }
    }
    if let Some(capability) = &finding.capability {
        let make = if capability.capable { Wanted::yes } else { Wanted::no };
        wanted.push(make(conditions::STORE_CAPABLE, capability.reason, capability.message.clone()));
    }
    wanted
}

fn repositories(observed: &Observed) -> Vec<RepositoryStorageStatus> {
    let entry = |repository: &crd_types::Repository| {
        let status = repository.status.clone().unwrap_or_default();
        let synced = status.phase == Some(RepositoryPhase::Ready);
        let condition = conditions::find(&status.conditions, conditions::REPOSITORY_INITIALIZED);
        RepositoryStorageStatus {
            error: condition.filter(|_| !synced).and_then(|condition| condition.message.clone()),
            name: Some(repository.name_any()),
            namespace: repository.namespace(),
            path: repository.spec.path.clone(),
            size: status.size,
            synced: Some(synced),
        }
    };
    observed.repositories.iter().take(MOST_REPOSITORIES).map(|repository| entry(repository)).collect()
}

async fn announce(controller: &BackupStorages, observed: &Observed, status: &BackupStorageStatus) {
    let events = &controller.context.events;
    let storage = &observed.storage;
    let failed = status.conditions.iter().find(|condition| {
        let counts = [conditions::BACKEND_SECRET_FOUND, conditions::BACKEND_INITIALIZED];
        counts.contains(&condition.type_.as_str()) && condition.status != crd_types::ConditionStatus::True
    });
    match failed {
        Some(condition) => {
            let reason = condition.reason.as_deref().unwrap_or(reason::BACKEND_INITIALIZATION_FAILED);
            let message = condition.message.as_deref().unwrap_or_default();
            tracing::warn!(storage = observed.display(), reason, message, "storage is not ready");
            events.warning(storage, reason, "InitializeBackend", message).await;
        }
        None => {
            tracing::info!(storage = observed.display(), "storage is ready");
            let message = "backend answers and holds metadata.yaml";
            events.normal(storage, reason::BACKEND_INITIALIZATION_SUCCEEDED, "InitializeBackend", message).await;
        }
    }
}
