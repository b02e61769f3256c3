//! Reads what a Repository refers to, and what lies in it.

use std::{collections::BTreeMap, sync::Arc};

use crd_types::{BackupStorage, NamespacesFrom, Repository, Snapshot};
use kube::ResourceExt as _;
use planner::access::{Refusal, Subject, admits};

use super::{Repositories, RepositoryError};
use crate::{
    references,
    repository_ids::{Ids, Records},
};

/// A Repository with everything that is needed to judge it.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) repository: Repository,
    /// The storage that it names, if that was seen.
    pub(super) storage: Option<Arc<BackupStorage>>,
    /// Why the storage's usage policy does not admit the namespace, if so.
    pub(super) refusal: Option<Refusal>,
    /// Repositories on the same storage, this one left out.
    pub(super) neighbours: Vec<Arc<Repository>>,
    /// Snapshots in it that are not being deleted.
    pub(super) snapshots: Vec<Arc<Snapshot>>,
    /// Ids of its restic repositories.
    pub(super) ids: Ids,
}

impl Observed {
    pub(super) fn display(&self) -> String {
        references::display(&self.repository)
    }
}

pub(super) async fn observe(controller: &Repositories, repository: Repository) -> Result<Observed, RepositoryError> {
    let storage = references::storage_of(&repository).and_then(|(space, name)| controller.storages.get(&space, &name));
    let refusal = match &storage {
        Some(storage) => refusal(controller, storage, &references::namespace(&repository)).await?,
        None => None,
    };
    let place = references::storage_of(&repository);
    let neighbours = controller
        .repositories
        .filter(|other| other.uid() != repository.uid() && place.is_some() && references::storage_of(other) == place);
    let snapshots = controller
        .snapshots
        .filter(|snapshot| references::is_in(snapshot, &repository) && snapshot.metadata.deletion_timestamp.is_none());
    let context = &controller.context;
    let ids = Records::of(context.client.clone(), &context.namespace, &repository).load().await?;
    Ok(Observed { repository, storage, refusal, neighbours, snapshots, ids })
}

async fn refusal(
    controller: &Repositories,
    storage: &BackupStorage,
    namespace: &str,
) -> Result<Option<Refusal>, RepositoryError> {
    let policy = storage.spec.usage_policy.as_ref();
    let from = policy.and_then(|policy| policy.allowed_namespaces.as_ref()).and_then(|allowed| allowed.from);
    // Labels count only for a selector; the others need no call.
    let labels = match from {
        Some(NamespacesFrom::Selector) => controller.context.namespace_labels(namespace).await?,
        _ => BTreeMap::new(),
    };
    let subject = Subject::new("BackupStorage", references::namespace(storage), storage.name_any());
    Ok(admits(policy, &subject, namespace, &labels).err())
}
