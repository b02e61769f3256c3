//! Finds the Repository and the storage of a Snapshot.

use std::sync::Arc;

use crd_types::{BackupStorage, Repository, Snapshot};

use super::Snapshots;
use crate::references;

/// A Snapshot with where it belongs.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) snapshot: Snapshot,
    /// Its Repository, if that was seen.
    pub(super) repository: Option<Arc<Repository>>,
    /// The Repository's storage, if that was seen.
    pub(super) storage: Option<Arc<BackupStorage>>,
}

pub(super) fn observe(controller: &Snapshots, snapshot: Snapshot) -> Observed {
    let namespace = references::namespace(&snapshot);
    let name = snapshot.spec.repository.as_deref().unwrap_or_default();
    let repository = controller.repositories.get(&namespace, name);
    let storage =
        repository.as_deref().and_then(references::storage_of).and_then(|(space, name)| controller.storages.get(&space, &name));
    Observed { snapshot, repository, storage }
}
