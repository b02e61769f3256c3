//! What a failure means for the component, in a sentence that names the object and the remedy.

use proto_api::mover::v1alpha1::{Result as TargetResult, TargetOutcome};
use repository::Error as EngineError;
use storage::ErrorKind;
use tonic::Status;

use crate::stop::{Stop, StopReason};

/// A failure of one target.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    result: TargetResult,
    sentence: String,
}

/// What the sentences name.
#[derive(Clone, Debug)]
pub struct Place {
    /// `Repository demo/web-repo`, or `Snapshot …` where only that is known.
    pub object: String,
    /// Path of the restic repository within it.
    pub component_path: String,
    /// Where that is, once access was issued.
    pub storage: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.object, self.component_path)?;
        if self.storage.is_empty() { Ok(()) } else { write!(formatter, " in {}", self.storage) }
    }
}

impl Failure {
    /// An answer: trying again would give the same.
    pub fn answer(sentence: impl Into<String>) -> Self {
        Self { result: TargetResult::Failed, sentence: sentence.into() }
    }

    /// A cause that may pass.
    pub fn passing(sentence: impl Into<String>) -> Self {
        Self { result: TargetResult::Retryable, sentence: sentence.into() }
    }

    /// The same end, told of one path of the task.
    #[must_use]
    pub fn of_path(self, path: &str) -> Self {
        Self { sentence: format!("path {path}: {}", self.sentence), ..self }
    }

    /// The end that a stop asks for; nothing was stopped means that somebody lost track.
    #[must_use]
    pub fn stopped(stop: &Stop) -> Self {
        let Some(reason) = stop.reason() else {
            return Self::passing("the work was interrupted for no known reason; see the mover's log");
        };
        let result = match reason {
            StopReason::Cancelled(_) => TargetResult::Cancelled,
            StopReason::Terminated => TargetResult::Retryable,
            StopReason::DeadlineExceeded(_) => TargetResult::Failed,
        };
        Self { result, sentence: reason.to_string() }
    }

    /// What the engine said.
    #[must_use]
    pub fn of_engine(error: &EngineError, place: &Place, stop: &Stop) -> Self {
        match error {
            EngineError::Cancelled => Self::stopped(stop),
            EngineError::WrongPassword { .. } => Self::answer(format!(
                "{place}: wrong repository password, {error}; put the password that the repository was made with back into the \
                 encryption Secret of {}",
                place.object
            )),
            EngineError::RepositoryMismatch { expected, found } => Self::answer(format!(
                "{place}: another restic repository stands there: expected id {expected}, found {found}; put the original back, \
                 or use another directory for {}",
                place.object
            )),
            EngineError::RepositoryMissing { .. } => Self::vanished(place),
            EngineError::Store { operation, key, source } => {
                let kind = ErrorKind::of(source);
                let cause = storage::cause_of(source);
                let sentence = format!("{place}: cannot {operation} {key}: {cause} ({kind}); {}", kind.remedy());
                // An object that vanished between two requests, or an unnamed complaint, is worth another look.
                let passing = kind.is_retryable() || matches!(kind, ErrorKind::Other);
                if passing { Self::passing(sentence) } else { Self::answer(sentence) }
            }
            error if error.is_retryable() => Self::passing(format!("{place}: {error}; {}", error.remedy())),
            error => Self::answer(format!("{place}: {error}; {}", error.remedy())),
        }
    }

    /// A repository that must exist and does not. It is never made anew: an empty one would look like success.
    #[must_use]
    pub fn vanished(place: &Place) -> Self {
        Self::answer(format!(
            "{place}: the restic repository is gone; it existed, so it is not initialised again: bring its objects back, or delete \
             {} and let a new one be made",
            place.object
        ))
    }

    /// What a service said to a call about `object`.
    #[must_use]
    pub fn of_status(call: &str, service: &str, object: &str, status: &Status) -> Self {
        let code = proto_api::status::ErrorCode::from_grpc(status.code());
        let sentence = format!("{object}: {call} at {service}: {} ({})", status.message(), code.label());
        if code.is_retryable() { Self::passing(sentence) } else { Self::answer(sentence) }
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.result == TargetResult::Retryable
    }

    /// Writes the failure into an outcome that may hold findings already.
    #[must_use]
    pub fn into_outcome(self, mut outcome: TargetOutcome) -> TargetOutcome {
        outcome.result = self.result.into();
        outcome.error = self.sentence;
        outcome
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    fn place() -> Place {
        Place {
            object: "Repository demo/web".to_owned(),
            component_path: "repository/v1/nightly/dump".to_owned(),
            storage: "bucket \"b\" at http://s3".to_owned(),
        }
    }

    fn store(source: object_store::Error) -> EngineError {
        EngineError::Store { operation: "read", key: "config".to_owned(), source: Arc::new(source) }
    }

    /// Each sentence names the Repository and the remedy, and only what may pass is retried.
    #[test]
    fn answers_and_passing_causes_are_told_apart() {
        let stop = Stop::new();
        for (error, passing) in [
            (EngineError::WrongPassword { keys: 1 }, false),
            (EngineError::RepositoryMissing { key: "config".to_owned() }, false),
            (EngineError::LockLost { reason: "gone".to_owned() }, true),
            (store(object_store::Error::PermissionDenied { path: "config".to_owned(), source: "AccessDenied".into() }), false),
            (
                store(object_store::Error::Generic {
                    store: "S3",
                    source: Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
                }),
                true,
            ),
        ] {
            let failure = Failure::of_engine(&error, &place(), &stop);
            assert_eq!(failure.is_passing(), passing, "{failure}");
            assert!(failure.to_string().contains("Repository demo/web"), "{failure}");
            assert!(failure.to_string().contains(';'), "no remedy: {failure}");
        }
    }

    #[test]
    fn a_stop_decides_what_an_interruption_means() {
        let result = |reason| {
            let stop = Stop::new();
            stop.request(reason);
            Failure::of_engine(&EngineError::Cancelled, &place(), &stop).into_outcome(TargetOutcome::default()).result
        };
        assert_eq!(result(StopReason::Cancelled("x".to_owned())), TargetResult::Cancelled as i32);
        assert_eq!(result(StopReason::Terminated), TargetResult::Retryable as i32);
        assert_eq!(result(StopReason::DeadlineExceeded(jiff::Timestamp::now())), TargetResult::Failed as i32);
    }
}
