//! The end: exit code and last words.

use std::path::Path;

use proto_api::mover::v1alpha1::{Outcome, Result as TargetResult};
use proto_api::termination;

/// How the process ends. The numbers are part of the contract with the session-controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done,
    /// Something failed, and would fail again.
    Failed,
    /// Something failed for a cause that may pass.
    Retryable,
    /// It was stopped on request.
    Cancelled,
    /// There was nobody to tell what to do.
    NotAttached,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Retryable => 2,
            Self::Cancelled => 3,
            Self::NotAttached => 4,
        }
    }

    /// What several targets come to: a request to stop tells most, then a cause that may pass, then a failure.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let any = |result: TargetResult| outcome.targets.iter().any(|target| target.result() == result);
        if any(TargetResult::Cancelled) {
            Self::Cancelled
        } else if any(TargetResult::Retryable) {
            Self::Retryable
        } else if any(TargetResult::Failed) || !outcome.error.is_empty() || any(TargetResult::Unspecified) {
            Self::Failed
        } else {
            Self::Done
        }
    }
}

/// Leaves the outcome where the kubelet finds it: the second of the three places where it is durable (architecture §4.5).
pub fn leave_last_words(path: &Path, outcome: &Outcome) {
    if let Err(error) = std::fs::write(path, termination::encode(outcome)) {
        tracing::warn!(path = %path.display(), %error, "could not write the termination message");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proto_api::mover::v1alpha1::TargetOutcome;

    use super::*;

    fn outcome(results: &[TargetResult]) -> Outcome {
        let targets =
            results.iter().map(|result| TargetOutcome { result: (*result).into(), ..TargetOutcome::default() }).collect();
        Outcome { targets, ..Outcome::default() }
    }

    #[test]
    fn the_worst_target_decides() {
        use TargetResult::{Cancelled, Failed, Retryable, Succeeded};
        assert_eq!(Exit::of(&outcome(&[Succeeded, Succeeded])), Exit::Done);
        assert_eq!(Exit::of(&outcome(&[Succeeded, Failed])), Exit::Failed);
        assert_eq!(Exit::of(&outcome(&[Failed, Retryable])), Exit::Retryable);
        assert_eq!(Exit::of(&outcome(&[Retryable, Cancelled])), Exit::Cancelled);
        assert_eq!(Exit::of(&Outcome { error: "x".to_owned(), ..Outcome::default() }), Exit::Failed);
    }

    /// Architecture §4.5: what the kubelet keeps can be read back.
    #[test]
    fn last_words_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("termination-log");
        let outcome = outcome(&[TargetResult::Succeeded]);
        leave_last_words(&path, &outcome);
        let read = termination::decode(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(read.outcome, outcome);
    }
}
