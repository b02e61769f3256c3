//! Deletion: the Snapshot objects go, the data stays, and nothing hangs (specification §2.2, reliability B8).

use crd_types::{DeletionPolicy, Repository, Snapshot};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::ListParams};
use kube_kit::{apply::Deletion, controller::Next, finalize};

use super::{FIELD_MANAGER, FINALIZER, Repositories, RepositoryError};
use crate::{
    limits::{DELETION_PATIENCE, DELETION_POLL},
    references,
    repository_ids::Records,
};

pub(super) async fn run(controller: &Repositories, repository: &Repository) -> Result<Next, RepositoryError> {
    if !finalize::has(repository, FINALIZER) {
        return Ok(Next::Changed);
    }
    let context = &controller.context;
    let shown = references::display(repository);
    let namespace = references::namespace(repository);
    let read = |source: kube::Error| RepositoryError::Read { repository: shown.clone(), source: Box::new(source) };

    // Asked of the API server, not of the cache: a Snapshot that the cache has not seen yet must go too.
    let snapshots: Api<Snapshot> = Api::namespaced(context.client.clone(), &namespace);
    let listed = snapshots.list(&ListParams::default()).await.map_err(read)?;
    let left: Vec<&Snapshot> = listed.items.iter().filter(|snapshot| references::is_in(snapshot, repository)).collect();
    for snapshot in left.iter().filter(|snapshot| !finalize::is_deleting(**snapshot)) {
        Deletion::background().run(&snapshots, *snapshot).await?;
    }

    let patience_is_over = references::deleting_for(repository, Timestamp::now()) >= DELETION_PATIENCE;
    let namespace_goes = finalize::namespace_terminating(&context.client, &namespace).await.map_err(read)?;
    if !left.is_empty() && !patience_is_over && !namespace_goes {
        return Ok(Next::After(DELETION_POLL));
    }
    if repository.spec.deletion_policy == Some(DeletionPolicy::WipeOut) {
        let note = "deletionPolicy WipeOut is not supported yet: the data stays; remove it with the store's own tools";
        context.events.warning(repository, "WipeOutNotSupported", "DeleteRepository", note).await;
    }
    if !left.is_empty() {
        let count = left.len();
        tracing::warn!(repository = shown, snapshots = count, "repository is let go before its snapshots");
    }
    Records::of(context.client.clone(), &context.namespace, repository).delete().await?;
    finalize::remove(&controller.api(repository), FIELD_MANAGER, repository, FINALIZER).await?;
    controller.uploads.forget(&repository.uid().unwrap_or_default());
    Ok(Next::Changed)
}
