//! Why a reconcile of a RestoreSession fails. What is wrong with the session itself is no error: it stands in its status.

use kube_kit::apply::ApplyError;
use kube_kit::error::ReconcileError;
use kube_kit::status::StatusError;

use crate::pods::PodsError;
use crate::prepare::PrepareError;
use crate::reads::ReadError;

/// Why a reconcile of a RestoreSession fails.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Jobs or pods could not be read, or a Job not be deleted.
    #[error(transparent)]
    Pods(#[from] PodsError),
    /// A Job could not be prepared or made, for a cause that may pass.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The session could not be annotated, or its finalizer not be changed.
    #[error(transparent)]
    Write(#[from] ApplyError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The planner asked without end: a fault of ours.
    #[error("no decision was reached about RestoreSession {session}; report this")]
    Undecided {
        /// The session.
        session: String,
    },
}

impl ReconcileError for RestoreError {
    fn category(&self) -> &'static str {
        match self {
            Self::Read(error) => error.category(),
            Self::Pods(error) => error.category(),
            Self::Prepare(error) => error.category(),
            Self::Write(error) => error.category(),
            Self::Status(error) => error.category(),
            Self::Undecided { .. } => "undecided",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Read(error) => error.is_retryable(),
            Self::Pods(error) => error.is_retryable(),
            Self::Prepare(error) => error.is_retryable(),
            Self::Write(error) => error.is_retryable(),
            Self::Status(error) => error.is_retryable(),
            Self::Undecided { .. } => false,
        }
    }
}
