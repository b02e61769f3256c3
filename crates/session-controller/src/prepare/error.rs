//! Why Jobs could not be prepared or made.

use kube_kit::apply::ApplyError;
use kube_kit::error::{self, ReconcileError};

/// Why Jobs could not be prepared or made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something could not be read.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// What, with its name.
        what: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// Something could not be written, for a cause that may pass.
    #[error(transparent)]
    Write(#[from] ApplyError),
    /// The API server understood and said no: quota, policy, validation.
    #[error("{0}")]
    Refused(String),
    /// Material that the storage-initializer's leader makes is not there yet.
    #[error("{0} has not been read yet: the storage-initializer's leader makes it")]
    NotReady(&'static str),
    /// All names that an object may have belong to others.
    #[error("every name for the {what} of {session} belongs to another object: remove one of them")]
    NoNameLeft {
        /// What was to be made.
        what: &'static str,
        /// For whom.
        session: String,
    },
}

impl PrepareError {
    /// An error of a read.
    pub fn read(what: impl Into<String>, source: kube::Error) -> Self {
        Self::Read { what: what.into(), source }
    }

    /// Tells a definite no from a failure that may pass.
    pub fn of_write(error: ApplyError) -> Self {
        let definite = error.api_error().is_some_and(|source| error::is_forbidden(source) || error::is_invalid(source));
        if definite { Self::Refused(error.to_string()) } else { Self::Write(error) }
    }
}

impl ReconcileError for PrepareError {
    fn category(&self) -> &'static str {
        match self {
            Self::Read { source, .. } => error::category(source),
            Self::Write(source) => source.category(),
            Self::Refused(_) => "refused",
            Self::NotReady(_) => "not_ready",
            Self::NoNameLeft { .. } => "not_ours",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Read { source, .. } => error::is_retryable(source),
            Self::Write(source) => source.is_retryable(),
            Self::Refused(_) | Self::NotReady(_) | Self::NoNameLeft { .. } => true,
        }
    }
}
