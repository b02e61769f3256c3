//! `MoverService.Attach`: the conversation with movers (architecture §5).
//!
//! A stream carries hints and commands that may be lost. What has to last stands in the objects: the reconcilers write it
//! there, from what the [`Registry`] holds, and only then is a mover told that its outcome is recorded.

mod assignment;
mod authorise;
mod claim;
mod data_check;
mod error;
mod limits;
mod registry;
mod service;
mod stream;
mod verdict;

pub use claim::Claim;
pub use error::AttachError;
pub use limits::pass_on_limits;
pub use registry::{Command, Registry, StreamId};
pub use service::MoverServer;

use crd_types::{BackupSession, RestoreSession};
use k8s_openapi::Resource as _;

/// The two kinds of session that movers work for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// A BackupSession: backup and retention.
    Backup,
    /// A RestoreSession.
    Restore,
}

impl SessionKind {
    /// The kind of that name.
    pub fn of(kind: &str) -> Option<Self> {
        [Self::Backup, Self::Restore].into_iter().find(|known| known.as_str() == kind)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => BackupSession::KIND,
            Self::Restore => RestoreSession::KIND,
        }
    }
}
