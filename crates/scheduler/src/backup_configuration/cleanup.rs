//! What a deleted BackupConfiguration leaves behind (specification §2.3 step 10).
//!
//! CronJobs and BackupSessions follow by their owner references. Repositories have no owner; each session's entry says
//! what becomes of them. A plain Delete never needs the storage, and a namespace that is going is left to go.

use crd_types::{BackupConfiguration, Repository, RepositoryDeletionPolicy, labels, names::FINALIZER, names::manager};
use kube::{ResourceExt as _, api::ListParams};
use kube_kit::{
    apply::{ApplyError, Deletion},
    finalize,
};
use planner::names::label_value;

use super::Failure;
use crate::{
    context::Context,
    references::{full_name, namespace},
};

/// Does what the deletion policies say and lets the configuration go.
pub(super) async fn run(context: &Context, configuration: &BackupConfiguration) -> Result<(), Failure> {
    let here = namespace(configuration);
    if !finalize::has(configuration, FINALIZER) {
        return Ok(());
    }
    let is_terminating = finalize::namespace_terminating(&context.client, &here).await.map_err(Failure::Api)?;
    if !is_terminating {
        for name in unwanted(configuration) {
            remove_repository(context, configuration, &here, name).await?;
        }
    }
    finalize::remove(&context.api::<BackupConfiguration>(&here), manager::SCHEDULER, configuration, FINALIZER).await?;
    tracing::info!(backup_configuration = full_name(configuration), "BackupConfiguration released");
    Ok(())
}

/// Names of Repositories that go with the configuration. One entry that says Retain keeps its Repository.
fn unwanted(configuration: &BackupConfiguration) -> Vec<&str> {
    let entries = || configuration.spec.sessions.iter().flat_map(|session| &session.repositories);
    let is_retained = |name: &str| {
        entries()
            .any(|entry| entry.name.as_deref() == Some(name) && entry.deletion_policy == Some(RepositoryDeletionPolicy::Retain))
    };
    let mut names: Vec<&str> = entries().filter_map(|entry| entry.name.as_deref()).filter(|name| !is_retained(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Deletes a Repository that this configuration made and nobody else uses.
async fn remove_repository(
    context: &Context,
    configuration: &BackupConfiguration,
    here: &str,
    name: &str,
) -> Result<(), Failure> {
    let api = context.api::<Repository>(here);
    let Some(repository) = api.get_opt(name).await.map_err(Failure::Api)? else { return Ok(()) };
    let label = |key: &str| repository.labels().get(key).cloned().unwrap_or_default();
    if label(labels::INVOKER_NAME) != label_value(&configuration.name_any())
        || is_used_by_another(context, configuration, name).await?
    {
        return Ok(());
    }
    match Deletion::background().run(&api, &repository).await {
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let note = format!("Repository {name} is removed with its BackupConfiguration; its data stays in the storage.");
    context.events.normal(configuration, "RepositoryRemoved", "DeleteRepository", &note).await;
    Ok(())
}

async fn is_used_by_another(context: &Context, configuration: &BackupConfiguration, name: &str) -> Result<bool, Failure> {
    let all = context.api::<BackupConfiguration>(&namespace(configuration)).list(&ListParams::default()).await;
    let uses = |other: &BackupConfiguration| {
        let mut entries = other.spec.sessions.iter().flat_map(|session| &session.repositories);
        entries.any(|entry| entry.name.as_deref() == Some(name))
    };
    Ok(all
        .map_err(Failure::Api)?
        .items
        .iter()
        .filter(|other| other.metadata.uid != configuration.metadata.uid && other.metadata.deletion_timestamp.is_none())
        .any(uses))
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}
