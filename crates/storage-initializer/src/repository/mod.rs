//! Repository: writes `repository.yaml` and sums up its Snapshots (specification §2.2).
//!
//! dereference (storage, namespace, Snapshots, ids) → validate → apply (documents in the bucket) → update_status;
//! deletion in `clean_up`.

mod apply;
mod clean_up;
mod dereference;
mod figures;
mod update_status;
mod validate;

use std::sync::Arc;

use crd_types::{BackupStorage, Repository, Snapshot, names};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use kube_kit::{
    apply::ApplyError,
    controller::{Next, Reconciler, Store},
    error::ReconcileError,
    finalize,
    own_writes::OwnWrites,
    status::StatusError,
};

use crate::{
    caches::Caches,
    context::{Context, NamespaceError},
    limits::{LONGEST_RETRY, retry_pause},
    references,
    repository_ids::RecordError,
};
pub(crate) use figures::taken;

use apply::Uploads;
use update_status::Initialised;
use validate::Verdict;

/// Name of the controller in logs and metrics.
pub const CONTROLLER: &str = "repository";
const FIELD_MANAGER: &str = names::manager::STORAGE_INITIALIZER;
const FINALIZER: &str = names::FINALIZER;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The namespace could not be read.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The ids could not be read or written.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The API server could not be asked.
    #[error("cannot read what Repository {repository} needs: {source}")]
    Read {
        /// Namespace and name.
        repository: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for RepositoryError {
    fn category(&self) -> &'static str {
        match self {
            Self::Apply(error) => error.category(),
            Self::Status(error) => error.category(),
            Self::Namespace(_) => "namespace",
            Self::Records(_) => "repository_ids",
            Self::Read { source, .. } => source.category(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Apply(error) => error.is_retryable(),
            Self::Status(error) => error.is_retryable(),
            Self::Namespace(_) | Self::Records(_) => true,
            Self::Read { source, .. } => source.is_retryable(),
        }
    }
}

/// The controller of Repositories.
pub struct Repositories {
    /// What the process shares.
    pub context: Context,
    /// Caches of all controllers, and whether they are full.
    pub caches: Caches,
    /// BackupStorages as they were last seen.
    pub storages: Store<BackupStorage>,
    /// Repositories as they were last seen.
    pub repositories: Store<Repository>,
    /// Snapshots as they were last seen.
    pub snapshots: Store<Snapshot>,
    /// Own writes of this controller.
    pub own_writes: OwnWrites,
    uploads: Uploads,
}

impl Repositories {
    /// The controller.
    pub fn new(
        context: Context,
        caches: Caches,
        storages: Store<BackupStorage>,
        repositories: Store<Repository>,
        snapshots: Store<Snapshot>,
        own_writes: OwnWrites,
    ) -> Self {
        Self { context, caches, storages, repositories, snapshots, own_writes, uploads: Uploads::default() }
    }

    fn api(&self, repository: &Repository) -> Api<Repository> {
        Api::namespaced(self.context.client.clone(), &references::namespace(repository))
    }
}

impl Reconciler for Repositories {
    type Resource = Repository;
    type Error = RepositoryError;

    async fn reconcile(&self, repository: Arc<Repository>) -> Result<Next, RepositoryError> {
        if let Some(wait) = self.caches.not_yet() {
            return Ok(Next::After(wait));
        }
        if finalize::is_deleting(repository.as_ref()) {
            return clean_up::run(self, &repository).await;
        }
        if repository.spec.paused == Some(true) {
            return Ok(Next::Changed);
        }
        let api = self.api(&repository);
        let repository = finalize::add(&api, FIELD_MANAGER, repository.as_ref(), FINALIZER).await?;
        self.own_writes.record(&repository);

        let observed = dereference::observe(self, repository).await?;
        let now = Timestamp::now();
        let (directory, storage) = match validate::validate(&observed) {
            Verdict::Ready { directory, storage } => (directory, storage),
            Verdict::Wait(message) => {
                update_status::write(self, &observed, &Initialised::Waiting(message), now).await?;
                return Ok(Next::After(LONGEST_RETRY));
            }
            Verdict::Refused(message) => {
                update_status::write(self, &observed, &Initialised::No(message), now).await?;
                return Ok(Next::After(LONGEST_RETRY));
            }
        };
        let uid = observed.repository.uid().unwrap_or_default();
        let prepared = apply::prepare(self, &observed, &storage, &directory).await;
        let (initialised, ids, bucket) = match prepared {
            Ok((ids, bucket)) => (Initialised::Yes, ids, bucket),
            Err(problem) => {
                update_status::write(self, &observed, &problem.verdict(), now).await?;
                return Ok(Next::After(retry_pause(self.uploads.failed(&uid))));
            }
        };
        let written = update_status::write(self, &observed, &initialised, now).await?;
        match apply::keep_document(self, &written, &ids, &bucket, &directory).await {
            Ok(()) => Ok(Next::Changed),
            Err(problem) => {
                let repository = references::display(&written);
                tracing::warn!(repository, error = problem.message(), "repository.yaml is not up to date");
                Ok(Next::After(retry_pause(self.uploads.failed(&uid))))
            }
        }
    }
}
