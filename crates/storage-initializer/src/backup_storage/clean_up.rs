//! Deletion: the objects on the storage go, the data stays, and nothing hangs (reliability B8).

use crd_types::{BackupStorage, DeletionPolicy, Repository};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::ListParams};
use kube_kit::{apply::Deletion, controller::Next, finalize};

use super::{BackupStorageError, BackupStorages, FIELD_MANAGER, FINALIZER};
use crate::{
    limits::{DELETION_PATIENCE, DELETION_POLL},
    references,
};

pub(super) async fn run(controller: &BackupStorages, storage: &BackupStorage) -> Result<Next, BackupStorageError> {
    if !finalize::has(storage, FINALIZER) {
        return Ok(Next::Changed);
    }
    let client = &controller.context.client;
    let shown = references::display(storage);
    let read = |source: kube::Error| BackupStorageError::Read { storage: shown.clone(), source: Box::new(source) };

    // Asked of the API server, not of the cache: a Repository that the cache has not seen yet must go too.
    let everywhere: Api<Repository> = Api::all(client.clone());
    let listed = everywhere.list(&ListParams::default()).await.map_err(read)?;
    let mut left: Vec<&Repository> = listed.items.iter().filter(|repository| references::is_on(repository, storage)).collect();
    left.sort_by_key(|repository| repository.name_any());
    for repository in left.iter().filter(|repository| !finalize::is_deleting(**repository)) {
        let api: Api<Repository> = Api::namespaced(client.clone(), &references::namespace(*repository));
        Deletion::background().run(&api, *repository).await?;
    }

    let patience_is_over = references::deleting_for(storage, Timestamp::now()) >= DELETION_PATIENCE;
    let namespace_goes = finalize::namespace_terminating(client, &references::namespace(storage)).await.map_err(read)?;
    if !left.is_empty() && !patience_is_over && !namespace_goes {
        return Ok(Next::After(DELETION_POLL));
    }
    if storage.spec.deletion_policy == Some(DeletionPolicy::WipeOut) {
        let note = "deletionPolicy WipeOut is not supported yet: the data stays; remove it with the store's own tools";
        controller.context.events.warning(storage, "WipeOutNotSupported", "DeleteBackupStorage", note).await;
    }
    if !left.is_empty() {
        let names: Vec<String> = left.iter().map(|repository| references::display(*repository)).collect();
        tracing::warn!(storage = shown, repositories = ?names, "storage is let go before its repositories");
    }
    finalize::remove(&controller.api(storage), FIELD_MANAGER, storage, FINALIZER).await?;
    controller.looks.forget(&storage.uid().unwrap_or_default());
    Ok(Next::Changed)
}
