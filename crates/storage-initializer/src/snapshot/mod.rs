//! Snapshot: keeps its copy in the bucket, `snapshots/<name>.yaml` (specification §2.5, §3.4). Phase and components are
//! the session-controller's; only the conditions about the bucket are ours.
//!
//! dereference (Repository, storage) → validate → apply (upload) → update_status; deletion in `clean_up`.

mod apply;
mod clean_up;
mod dereference;
mod update_status;
mod validate;

use std::sync::Arc;

use crd_types::{BackupStorage, Repository, Snapshot, names};
use jiff::Timestamp;
use kube::Api;
use kube_kit::{
    apply::ApplyError,
    controller::{Next, Reconciler, Store},
    error::ReconcileError,
    finalize,
    own_writes::OwnWrites,
    status::StatusError,
};

use crate::{caches::Caches, context::Context, limits::METADATA_UPLOAD_RETRY, references};
use update_status::Uploaded;
use validate::Upload;

/// Name of the controller in logs and metrics.
pub const CONTROLLER: &str = "snapshot";
const FIELD_MANAGER: &str = names::manager::STORAGE_INITIALIZER;
const FINALIZER: &str = names::FINALIZER;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The API server could not be asked.
    #[error("cannot read what Snapshot {snapshot} needs: {source}")]
    Read {
        /// Namespace and name.
        snapshot: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

impl ReconcileError for SnapshotError {
    fn category(&self) -> &'static str {
        match self {
            Self::Apply(error) => error.category(),
            Self::Status(error) => error.category(),
            Self::Read { source, .. } => source.category(),
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Apply(error) => error.is_retryable(),
            Self::Status(error) => error.is_retryable(),
            Self::Read { source, .. } => source.is_retryable(),
        }
    }
}

/// The controller of Snapshots.
pub struct Snapshots {
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
}

impl Snapshots {
    fn api(&self, snapshot: &Snapshot) -> Api<Snapshot> {
        Api::namespaced(self.context.client.clone(), &references::namespace(snapshot))
    }
}

impl Reconciler for Snapshots {
    type Resource = Snapshot;
    type Error = SnapshotError;

    async fn reconcile(&self, snapshot: Arc<Snapshot>) -> Result<Next, SnapshotError> {
        if let Some(wait) = self.caches.not_yet() {
            return Ok(Next::After(wait));
        }
        if finalize::is_deleting(snapshot.as_ref()) {
            return clean_up::run(self, &snapshot).await;
        }
        if snapshot.spec.paused == Some(true) {
            return Ok(Next::Changed);
        }
        let api = self.api(&snapshot);
        let snapshot = finalize::add(&api, FIELD_MANAGER, snapshot.as_ref(), FINALIZER).await?;
        self.own_writes.record(&snapshot);

        let observed = dereference::observe(self, snapshot);
        let now = Timestamp::now();
        let (uploaded, next) = match validate::upload(&observed.snapshot, now) {
            Upload::NotYet | Upload::Done => (Uploaded::Unchanged, Next::Changed),
            Upload::Now { patience_is_over } => match apply::upload(self, &observed, now).await {
                Ok(()) => (Uploaded::Yes, Next::Changed),
                Err(problem) if patience_is_over => (Uploaded::No(problem.to_string()), Next::Changed),
                Err(problem) => {
                    let snapshot = references::display(&observed.snapshot);
                    tracing::warn!(snapshot, error = %problem, "metadata is not uploaded yet");
                    (Uploaded::NotYet(problem.to_string()), Next::After(METADATA_UPLOAD_RETRY))
                }
            },
        };
        update_status::write(self, &observed, &uploaded, now).await?;
        Ok(next)
    }
}
