//! Why a pass over a BackupSession failed.

use kube_kit::apply::ApplyError;
use kube_kit::error::{self, ReconcileError};
use kube_kit::status::StatusError;

use crate::pods::PodsError;
use crate::prepare::PrepareError;
use crate::reads::ReadError;

/// Why a pass over a BackupSession failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something could not be read.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// What, with its name.
        what: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// Something that others read too could not be read.
    #[error(transparent)]
    Reads(#[from] ReadError),
    /// Jobs could not be read.
    #[error(transparent)]
    Pods(#[from] PodsError),
    /// Jobs could not be prepared or made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// An object could not be written or deleted.
    #[error(transparent)]
    Write(#[from] ApplyError),
    /// A status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The session has no name, namespace or UID.
    #[error("BackupSession has no {0}: it did not come from the API server")]
    Incomplete(&'static str),
}

impl Error {
    /// An error of a read.
    pub fn read(what: impl Into<String>, source: kube::Error) -> Self {
        Self::Read { what: what.into(), source }
    }

    /// Whether somebody else wrote in between: looking again at once is all it takes.
    pub fn is_conflict(&self) -> bool {
        match self {
            Self::Status(StatusError::Conflict { .. }) => true,
            Self::Write(source) => source.is_conflict(),
            _ => false,
        }
    }
}

impl ReconcileError for Error {
    fn category(&self) -> &'static str {
        match self {
            Self::Read { source, .. } => error::category(source),
            Self::Reads(source) => source.category(),
            Self::Pods(source) => source.category(),
            Self::Prepare(source) => source.category(),
            Self::Write(source) => source.category(),
            Self::Status(source) => source.category(),
            Self::Incomplete(_) => "malformed",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Read { source, .. } => error::is_retryable(source),
            Self::Reads(source) => source.is_retryable(),
            Self::Pods(source) => source.is_retryable(),
            Self::Prepare(source) => source.is_retryable(),
            Self::Write(source) => source.is_retryable(),
            Self::Status(source) => source.is_retryable(),
            Self::Incomplete(_) => false,
        }
    }
}
