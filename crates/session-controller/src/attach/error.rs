//! Why a mover is not attached.

use kube_kit::error::ReconcileError as _;
use kube_kit::owners::OwnerError;
use kube_kit::review::ReviewError;
use proto_api::status::{ErrorCode, ServiceError};

/// Why a mover is not attached. The code tells the mover what to do: UNAVAILABLE is passed over and tried again,
/// FAILED_PRECONDITION ends it.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Another replica leads, or this one has only just begun to.
    #[error("this replica of the session-controller does not serve movers now")]
    NotLeading,
    /// The mover spoke another version of the conversation.
    #[error("protocol version {found} is not spoken here: this build speaks {ours}")]
    Protocol {
        /// The mover's.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// The first message was no Hello, or was late.
    #[error("a stream begins with Hello, within {0} seconds")]
    NoHello(u64),
    /// The token belongs to no pod.
    #[error("the token is not bound to a pod")]
    NoPod,
    /// The token, the pod or its Job was refused.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// The way from the pod to its Job is broken.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The Job is not what the mover says, or not ours.
    #[error("pod {namespace}/{pod} may not work for {claimed}: {problem}")]
    Refused {
        /// Namespace.
        namespace: String,
        /// Pod.
        pod: String,
        /// What it claimed.
        claimed: String,
        /// What does not fit.
        problem: &'static str,
    },
    /// The work is over, or somebody else's now.
    #[error("{session}: {problem}")]
    Over {
        /// The session.
        session: String,
        /// Why.
        problem: String,
    },
    /// What the work needs cannot be found.
    #[error("{session}: {problem}")]
    NotReady {
        /// The session.
        session: String,
        /// What is missing.
        problem: String,
    },
    /// The API server did not answer.
    #[error("{what} cannot be read: {source}")]
    Api {
        /// What was asked for.
        what: String,
        /// Its answer.
        source: kube::Error,
    },
}

impl ServiceError for AttachError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeading | Self::NotReady { .. } | Self::Api { .. } => ErrorCode::Unavailable,
            Self::Protocol { .. } | Self::Over { .. } => ErrorCode::FailedPrecondition,
            Self::NoHello(_) => ErrorCode::InvalidArgument,
            Self::NoPod => ErrorCode::Unauthenticated,
            Self::Review(error) if error.is_retryable() => ErrorCode::Unavailable,
            Self::Review(_) => ErrorCode::Unauthenticated,
            Self::Owner(OwnerError::Api { .. }) => ErrorCode::Unavailable,
            Self::Owner(_) | Self::Refused { .. } => ErrorCode::PermissionDenied,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NotLeading => Some("dial the other addresses of the Service".to_owned()),
            Self::Protocol { .. } => Some("use the mover image of the same release as the control plane".to_owned()),
            _ => None,
        }
    }
}
