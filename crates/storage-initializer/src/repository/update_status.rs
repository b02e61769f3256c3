//! Says what the Repository holds, and whether it can be used.

use crd_types::{
    Repository, RepositoryStatus,
    conditions::{self, reason},
    phase,
};
use jiff::Timestamp;
use kube_kit::{
    conditions::{Wanted, merge, remove},
    status::{Guard, apply_status},
};
use planner::backend::secret_name;

use super::{FIELD_MANAGER, Repositories, RepositoryError, dereference::Observed, figures::figures};
use crate::{args::SharedStorageKeys, context::Policy, references};

/// What condition `RepositoryInitialized` should say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Initialised {
    Yes,
    /// No, for this reason, whatever it was before.
    No(String),
    /// Not now, for this reason; what was initialised before stays so.
    Waiting(String),
}

/// Writes the status if it says anything new; returns the object as it is now.
pub(super) async fn write(
    controller: &Repositories,
    observed: &Observed,
    initialised: &Initialised,
    now: Timestamp,
) -> Result<Repository, RepositoryError> {
    let status = status(observed, initialised, controller.context.policy, now);
    let before = observed.repository.status.as_ref();
    if before == Some(&status) {
        return Ok(observed.repository.clone());
    }
    let api = controller.api(&observed.repository);
    let written = apply_status(&api, FIELD_MANAGER, &observed.repository, &status, Guard::Version).await?;
    controller.own_writes.record(&written);
    if before.and_then(|before| before.phase) != status.phase {
        announce(controller, observed, &status).await;
    }
    Ok(written)
}

/// The whole status.
pub(super) fn status(observed: &Observed, initialised: &Initialised, policy: Policy, now: Timestamp) -> RepositoryStatus {
    let before = observed.repository.status.clone().unwrap_or_default();
    let mut status = figures(&before, &observed.snapshots);
    let mut wanted = Vec::new();
    match (initialised, conditions::is_true(&before.conditions, conditions::REPOSITORY_INITIALIZED)) {
        (Initialised::Yes, _) => wanted.push(Wanted::yes(
            conditions::REPOSITORY_INITIALIZED,
            reason::REPOSITORY_INITIALIZATION_SUCCEEDED,
            "Successfully initialized repository",
        )),
        (Initialised::Waiting(_), true) => {}
        (Initialised::No(message), _) | (Initialised::Waiting(message), false) => {
            wanted.push(Wanted::no(
                conditions::REPOSITORY_INITIALIZED,
                reason::REPOSITORY_INITIALIZATION_FAILED,
                message.clone(),
            ));
        }
    }
    match sharing(observed, policy) {
        Some(shared) => wanted.push(shared),
        None => remove(&mut status.conditions, conditions::CREDENTIALS_SHARED),
    }
    status.conditions = merge(&status.conditions, wanted, now);
    status.phase = Some(phase::repository(&status.conditions));
    status
}

/// Whether the storage's own key reaches this Repository's namespace; nothing to say where both are in one.
fn sharing(observed: &Observed, policy: Policy) -> Option<Wanted> {
    let storage = observed.storage.as_deref()?;
    secret_name(storage)?;
    let (owner, user) = (references::namespace(storage), references::namespace(&observed.repository));
    if owner == user || observed.refusal.is_some() {
        return None;
    }
    let display = references::display(storage);
    Some(match policy.shared_storage_keys {
        SharedStorageKeys::Allow => Wanted::yes(
            conditions::CREDENTIALS_SHARED,
            reason::STORAGE_KEY_SHARED,
            format!(
                "movers in namespace {user} are given the key of BackupStorage {display}: who may create pods there can \
                 obtain it; install with sharedStorageKeys: deny to forbid that"
            ),
        ),
        SharedStorageKeys::Deny => Wanted::no(
            conditions::CREDENTIALS_SHARED,
            reason::STORAGE_KEY_NOT_SHARED,
            format!(
                "movers in namespace {user} are given no access to BackupStorage {display}: the installation says \
                 sharedStorageKeys: deny; create a BackupStorage in namespace {user}"
            ),
        ),
    })
}

async fn announce(controller: &Repositories, observed: &Observed, status: &RepositoryStatus) {
    let events = &controller.context.events;
    let Some(condition) = conditions::find(&status.conditions, conditions::REPOSITORY_INITIALIZED) else { return };
    let reason = condition.reason.as_deref().unwrap_or_default();
    let message = condition.message.as_deref().unwrap_or_default();
    let repository = observed.display();
    if conditions::is_true(&status.conditions, conditions::REPOSITORY_INITIALIZED) {
        tracing::info!(repository, "repository is ready");
        events.normal(&observed.repository, reason, "InitializeRepository", message).await;
    } else {
        tracing::warn!(repository, reason, message, "repository is not ready");
        events.warning(&observed.repository, reason, "InitializeRepository", message).await;
    }
}
