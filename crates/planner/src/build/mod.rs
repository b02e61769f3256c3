//! Builders of every object that Orlop creates in Kubernetes. Values in, objects out.

mod job;
mod labels;
mod manners;
mod network_policy;
mod objects;
mod pod;
pub mod trigger;

pub use job::{JobRequest, SessionRef, Work, claim_labels, job, retention_task};
pub use labels::inherit;
pub use manners::{PodManners, Token};
pub use network_policy::{network_policy, trigger_network_policy};
pub use objects::{
    BackupSessionRequest, Named, RepositoryRequest, RestoreSessionRequest, SnapshotRequest, backup_session, repository,
    restore_session, snapshot,
};

#[cfg(test)]
mod tests;
