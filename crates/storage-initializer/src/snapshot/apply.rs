//! Uploads the copy.

use crd_types::{
    RepositoryPhase, Snapshot,
    conditions::{self, reason},
    phase,
};
use jiff::Timestamp;
use kube::ResourceExt as _;
use kube_kit::conditions::{Wanted, merge};
use planner::layout::{
    Directory, PathError,
    documents::{self, DocumentError},
    snapshot_key,
};

use super::{Snapshots, dereference::Observed};
use crate::{backends::OpenError, bucket::Bucket, references};

/// Message of the condition, as KubeStash words it (specification §1.5).
pub(super) const UPLOADED: &str = "Metadata uploaded to backend successfully";

/// Why the copy is not in the bucket.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("Repository {0} does not exist")]
    NoRepository(String),
    #[error("BackupStorage of Repository {0} does not exist")]
    NoStorage(String),
    #[error("Repository {0} is not initialised; its condition RepositoryInitialized says why")]
    NotInitialised(String),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}", .0.sentence())]
    Store(#[from] storage::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
}

impl Problem {
    /// Whether waiting may help. Where the objects that lead to the bucket are gone, it does not.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Open(OpenError::Secret(_)) => true,
            Self::Store(error) => error.is_retryable(),
            Self::NoRepository(_)
            | Self::NoStorage(_)
            | Self::NotInitialised(_)
            | Self::Path(_)
            | Self::Open(_)
            | Self::Document(_) => false,
        }
    }
}

/// Writes `snapshots/<name>.yaml` as the Snapshot will be once the upload is recorded.
pub(super) async fn upload(controller: &Snapshots, observed: &Observed, now: Timestamp) -> Result<(), Problem> {
    let (bucket, key) = place(controller, observed).await?;
    let document = documents::snapshot_document(&finished(&observed.snapshot, now))?;
    let written = bucket.write(&key, &documents::to_yaml(&document)?).await;
    controller.context.metrics.uploaded("snapshot", written.is_ok());
    Ok(written?)
}

/// Removes `snapshots/<name>.yaml`.
pub(super) async fn remove(controller: &Snapshots, observed: &Observed) -> Result<(), Problem> {
    let (bucket, key) = place(controller, observed).await?;
    Ok(bucket.delete(&key).await?)
}

async fn place(controller: &Snapshots, observed: &Observed) -> Result<(Bucket, String), Problem> {
    let named = || {
        let name = observed.snapshot.spec.repository.as_deref().unwrap_or_default();
        format!("{}/{name}", references::namespace(&observed.snapshot))
    };
    let repository = observed.repository.as_ref().ok_or_else(|| Problem::NoRepository(named()))?;
    let storage = observed.storage.as_ref().ok_or_else(|| Problem::NoStorage(named()))?;
    // A Repository that never got its directory may not write there: it may be somebody else's.
    if repository.status.as_ref().and_then(|status| status.phase) != Some(RepositoryPhase::Ready) {
        return Err(Problem::NotInitialised(named()));
    }
    let directory = Directory::parse(repository.spec.path.as_deref().unwrap_or_default())?;
    let bucket = controller.context.backends.open(storage).await?;
    Ok((bucket, snapshot_key(&directory, &observed.snapshot.name_any())))
}

/// The Snapshot with the conditions and the phase that follow from a successful upload.
fn finished(snapshot: &Snapshot, now: Timestamp) -> Snapshot {
    let mut finished = snapshot.clone();
    if let Some(status) = &mut finished.status {
        let uploaded =
            Wanted::yes(conditions::SNAPSHOT_METADATA_UPLOADED, reason::SUCCESSFULLY_UPLOADED_SNAPSHOT_METADATA, UPLOADED);
        status.conditions = merge(&status.conditions, [uploaded], now);
        status.phase = Some(phase::snapshot(status));
    }
    finished
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// Specification §3.4: the copy says how the Snapshot ended, not that it is still running.
    #[test]
    fn the_copy_bears_the_final_phase() {
        let snapshot: Snapshot = serde_json::from_value(json!({
            "metadata": {"name": "s"},
            "status": {
                "phase": "Running", "totalComponents": 1,
                "components": {"dump": {"phase": "Succeeded"}},
            },
        }))
        .unwrap();
        let copy = finished(&snapshot, Timestamp::UNIX_EPOCH);
        assert_eq!(copy.status.unwrap().phase, Some(crd_types::SnapshotPhase::Succeeded));
    }
}
