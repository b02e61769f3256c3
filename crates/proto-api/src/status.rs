//! The one mapping of Orlop's errors to gRPC statuses.
//!
//! A handler never builds a [`tonic::Status`] by hand: its error type implements [`ServiceError`], or it returns an
//! [`ApiError`], and `?` or [`ServiceError::to_status`] does the rest. A status therefore always says what happened and
//! what to do about it.

use std::fmt::Display;

use tonic::{Code, Status};

/// What kind of failure a caller sees. The doc of each variant says what the caller should do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorCode {
    /// The request can never succeed as it is: correct it.
    InvalidArgument,
    /// A named object does not exist: create it or correct the name.
    NotFound,
    /// An object of that name exists and is not the wanted one.
    AlreadyExists,
    /// The caller is known and may not do this: obtain the right.
    PermissionDenied,
    /// The caller is not known: send a valid token of the right audience.
    Unauthenticated,
    /// The state of an object forbids it now: change that state first.
    FailedPrecondition,
    /// Something is used up: wait or raise the limit.
    ResourceExhausted,
    /// This server cannot answer now: try again, or another replica.
    Unavailable,
    /// Another writer came between: read again and repeat.
    Aborted,
    /// The answer did not come in time: repeat with backoff.
    DeadlineExceeded,
    /// The caller gave up.
    Cancelled,
    /// Not built yet.
    Unimplemented,
    /// A fault of ours: report it.
    Internal,
}

impl ErrorCode {
    /// The gRPC code on the wire.
    pub const fn grpc(self) -> Code {
        match self {
            Self::InvalidArgument => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::FailedPrecondition => Code::FailedPrecondition,
            Self::ResourceExhausted => Code::ResourceExhausted,
            Self::Unavailable => Code::Unavailable,
            Self::Aborted => Code::Aborted,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Cancelled => Code::Cancelled,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }

    /// Label for metrics and logs; bounded.
    pub const fn label(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::Unauthenticated => "unauthenticated",
            Self::FailedPrecondition => "failed_precondition",
            Self::ResourceExhausted => "resource_exhausted",
            Self::Unavailable => "unavailable",
            Self::Aborted => "aborted",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
        }
    }

    /// The code of a status that was received; codes that Orlop does not send count as `Internal`.
    pub const fn from_grpc(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::Unauthenticated => Self::Unauthenticated,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::Unavailable => Self::Unavailable,
            Code::Aborted => Self::Aborted,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::Cancelled => Self::Cancelled,
            Code::Unimplemented => Self::Unimplemented,
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Self::Internal,
        }
    }

    /// Whether the same request may succeed later without anybody changing anything.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Aborted | Self::DeadlineExceeded | Self::ResourceExhausted | Self::Internal)
    }
}

/// An error that a gRPC handler may answer with.
pub trait ServiceError: Display {
    /// What kind of failure it is.
    fn code(&self) -> ErrorCode;

    /// What the reader should do, as a clause without a final period; `None` when the message says it already.
    fn remedy(&self) -> Option<String> {
        None
    }

    /// The status a caller receives: `message: remedy`.
    fn to_status(&self) -> Status {
        let message = match self.remedy() {
            Some(remedy) => format!("{self}: {remedy}"),
            None => self.to_string(),
        };
        Status::new(self.code().grpc(), message)
    }
}

/// An error for handlers that have no type of their own to say it with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    remedy: Option<String>,
}

impl ApiError {
    /// An error of this kind. The message is lowercase, names its object and has no final period.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: None }
    }

    /// Adds what the reader should do.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// See [`ErrorCode::InvalidArgument`].
    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// See [`ErrorCode::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// See [`ErrorCode::PermissionDenied`].
    pub fn permission_denied(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::PermissionDenied, message)
    }

    /// See [`ErrorCode::Unauthenticated`].
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unauthenticated, message)
    }

    /// See [`ErrorCode::FailedPrecondition`].
    pub fn failed_precondition(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::FailedPrecondition, message)
    }

    /// See [`ErrorCode::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// See [`ErrorCode::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// The answer of an RPC that is not built yet, named as `Service.Method`.
    pub fn unimplemented(method: &str) -> Self {
        Self::new(ErrorCode::Unimplemented, format!("{method} is not supported yet"))
    }
}

impl ServiceError for ApiError {
    fn code(&self) -> ErrorCode {
        self.code
    }

    fn remedy(&self) -> Option<String> {
        self.remedy.clone()
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        error.to_status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_happened_and_what_to_do() {
        let status =
            Status::from(ApiError::not_found("BackupStorage demo/s3 not found").with_remedy("create it or correct the name"));
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "BackupStorage demo/s3 not found: create it or correct the name");
    }

    #[test]
    fn codes_survive_the_wire() {
        for code in [
            ErrorCode::InvalidArgument,
            ErrorCode::NotFound,
            ErrorCode::AlreadyExists,
            ErrorCode::PermissionDenied,
            ErrorCode::Unauthenticated,
            ErrorCode::FailedPrecondition,
            ErrorCode::ResourceExhausted,
            ErrorCode::Unavailable,
            ErrorCode::Aborted,
            ErrorCode::DeadlineExceeded,
            ErrorCode::Cancelled,
            ErrorCode::Unimplemented,
            ErrorCode::Internal,
        ] {
            assert_eq!(ErrorCode::from_grpc(code.grpc()), code);
        }
    }
}
