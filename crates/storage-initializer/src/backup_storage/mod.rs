//! BackupStorage: looks at the backend, writes `metadata.yaml`, says what it found (specification §2.1).
//!
//! dereference (Secret, Repositories, other storages) → validate → apply (probe, metadata) → update_status; deletion in
//! `clean_up`.

mod apply;
mod clean_up;
mod dereference;
mod looks;
mod update_status;
mod validate;

use std::{sync::Arc, time::Duration};

use crd_types::{BackupStorage, Repository, names};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use kube_kit::{
    apply::ApplyError,
    controller::{Next, Reconciler, Store},
    error::ReconcileError,
    finalize,
    own_writes::OwnWrites,
    secrets::SecretError,
    status::StatusError,
};

use crate::{caches::Caches, context::Context};
pub(crate) use apply::obstacle;
use looks::{Looks, Need};
use validate::Verdict;

/// Name of the controller in logs and metrics.
pub const CONTROLLER: &str = "backup-storage";
const FIELD_MANAGER: &str = names::manager::STORAGE_INITIALIZER;
const FINALIZER: &str = names::FINALIZER;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum BackupStorageError {
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The Secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The API server could not be asked.
    #[error("cannot read what BackupStorage {storage} needs: {source}")]
    Read {
        /// Namespace and name.
        storage: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for BackupStorageError {
    fn category(&self) -> &'static str {
        match self {
            Self::Apply(error) => error.category(),
            Self::Status(error) => error.category(),
            Self::Secret(error) => error.category(),
            Self::Read { source, .. } => source.category(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Apply(error) => error.is_retryable(),
            Self::Status(error) => error.is_retryable(),
            Self::Secret(error) => error.is_retryable(),
            Self::Read { source, .. } => source.is_retryable(),
        }
    }
}

/// The controller of BackupStorages.
pub struct BackupStorages {
    /// What the process shares.
    pub context: Context,
    /// Caches of all controllers, and whether they are full.
    pub caches: Caches,
    /// BackupStorages as they were last seen.
    pub storages: Store<BackupStorage>,
    /// Repositories as they were last seen.
    pub repositories: Store<Repository>,
    /// Own writes of this controller.
    pub own_writes: OwnWrites,
    looks: Looks,
}

impl BackupStorages {
    /// The controller.
    pub fn new(
        context: Context,
        caches: Caches,
        storages: Store<BackupStorage>,
        repositories: Store<Repository>,
        own_writes: OwnWrites,
    ) -> Self {
        Self { context, caches, storages, repositories, own_writes, looks: Looks::default() }
    }

    fn api(&self, storage: &BackupStorage) -> Api<BackupStorage> {
        Api::namespaced(self.context.client.clone(), &storage.namespace().unwrap_or_default())
    }
}

impl Reconciler for BackupStorages {
    type Resource = BackupStorage;
    type Error = BackupStorageError;

    async fn reconcile(&self, storage: Arc<BackupStorage>) -> Result<Next, BackupStorageError> {
        if let Some(wait) = self.caches.not_yet() {
            return Ok(Next::After(wait));
        }
        if finalize::is_deleting(storage.as_ref()) {
            return clean_up::run(self, &storage).await;
        }
        let api = self.api(&storage);
        let storage = finalize::add(&api, FIELD_MANAGER, storage.as_ref(), FINALIZER).await?;
        self.own_writes.record(&storage);

        let observed = Box::pin(dereference::observe(self, storage)).await?;
        let now = Timestamp::now();
        let finding = match validate::validate(&observed) {
            Verdict::Refused(finding) => self.looks.refused(&observed, finding),
            Verdict::Usable => match self.looks.need(&observed) {
                Need::Nothing => self.looks.last(&observed),
                need => self.looks.remember(&observed, apply::look(self, &observed, need, now).await),
            },
        };
        update_status::write(self, &observed, &finding, now).await?;
        Ok(Next::After(self.looks.pause(&observed)))
    }
}

/// Never less than this between two looks, whatever the arithmetic of pauses says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
