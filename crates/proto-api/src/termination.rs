//! The outcome of a mover as its container's termination message: the second of the three places where an outcome is
//! durable (architecture §4.5).
//!
//! The kubelet keeps at most 4,096 bytes. What does not fit is dropped in this order: the lists of files with errors
//! and changes, then the ends of long error sentences, then the details of snapshots that an id alone can stand for. Results,
//! counts and snapshot ids are always kept; when not even they fit, the message says so and the restic snapshots' tags
//! remain (the third place).

use serde::{Deserialize, Serialize};

use crate::mover::v1alpha1::{Outcome, Result as TargetResult, TargetOutcome};

/// Most bytes the kubelet keeps of a termination message.
pub const MAX_BYTES: usize = 4096;

/// Version of the JSON that [`encode`] writes.
pub const VERSION: u32 = 1;

/// Bytes of an error sentence that a truncated message keeps per target.
const KEPT_ERROR_BYTES: usize = 256;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    version: u32,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    outcome: &'a Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    version: u32,
    #[serde(default)]
    truncated: bool,
    #[serde(default)]
    outcome: Outcome,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Why a termination message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TerminationError {
    /// It is no JSON of ours: another program wrote it, or the container was killed.
    #[error("termination message is not an outcome: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// A newer mover wrote it.
    #[error("termination message has version {found}, this build reads {VERSION}: upgrade the control plane")]
    Version {
        /// Version in the message.
        found: u32,
    },
}

/// An outcome that was read back.
#[derive(Clone, Debug, PartialEq)]
pub struct TerminationMessage {
    /// What the mover reported.
    pub outcome: Outcome,
    /// Whether details were dropped to fit.
    pub truncated: bool,
}

/// Writes an outcome in at most [`MAX_BYTES`] bytes.
pub fn encode(outcome: &Outcome) -> String {
    let mut outcome = outcome.clone();
    let mut truncated = false;
    for reduce in [keep_everything, drop_file_errors, shorten_errors, drop_transfers, keep_snapshot_ids, keep_results] {
        truncated |= reduce(&mut outcome);
        let text = serde_json::to_string(&Written { version: VERSION, truncated, outcome: &outcome });
        if let Ok(text) = text
            && text.len() <= MAX_BYTES
        {
            return text;
        }
    }
    let error = "the outcome does not fit a termination message; see the snapshots' tags".to_owned();
    let rest = Outcome { error, ..Outcome::default() };
    serde_json::to_string(&Written { version: VERSION, truncated: true, outcome: &rest }).unwrap_or_default()
}

/// Reads a termination message.
///
/// # Errors
/// [`TerminationError`] when it is none of ours or of a version this build does not know.
pub fn decode(text: &str) -> Result<TerminationMessage, TerminationError> {
    let read: Read = serde_json::from_str(text)?;
    if read.version != VERSION {
        return Err(TerminationError::Version { found: read.version });
    }
    Ok(TerminationMessage { outcome: read.outcome, truncated: read.truncated })
}

fn keep_everything(_: &mut Outcome) -> bool {
    false
}

fn drop_file_errors(outcome: &mut Outcome) -> bool {
    for target in &mut outcome.targets {
        target.file_errors.clear();
        target.changed_files.clear();
        target.vanished_files.clear();
    }
    true
}

fn shorten_errors(outcome: &mut Outcome) -> bool {
    shorten(&mut outcome.error);
    for target in &mut outcome.targets {
        shorten(&mut target.error);
    }
    true
}

fn drop_transfers(outcome: &mut Outcome) -> bool {
    for target in &mut outcome.targets {
        target.transfer = None;
    }
    true
}

fn keep_snapshot_ids(outcome: &mut Outcome) -> bool {
    for snapshot in outcome.targets.iter_mut().flat_map(|target| &mut target.snapshots) {
        snapshot.started = None;
        snapshot.finished = None;
        snapshot.path.clear();
    }
    true
}

fn keep_results(outcome: &mut Outcome) -> bool {
    for target in &mut outcome.targets {
        let failed = target.result != TargetResult::Succeeded as i32;
        // A success without its snapshots would be a success without evidence (I4): it is reported as retryable, and
        // the next attempt adopts what this one made.
        let result = if failed { target.result } else { TargetResult::Retryable as i32 };
        *target = TargetOutcome { target_id: target.target_id.clone(), result, ..TargetOutcome::default() };
    }
    true
}

fn shorten(text: &mut String) {
    if text.len() > KEPT_ERROR_BYTES {
        let mut end = KEPT_ERROR_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        common::v1alpha1::TransferProgress,
        mover::v1alpha1::{FileError, SnapshotMade},
    };

    fn outcome(targets: usize, snapshots: usize, file_errors: usize) -> Outcome {
        let at = Some(prost_types::Timestamp { seconds: 1_780_000_000, nanos: 5 });
        let target = |index: usize| TargetOutcome {
            target_id: format!("demo/repo-{index}"),
            result: TargetResult::Succeeded as i32,
            error: "é".repeat(400),
            snapshots: (0..snapshots)
                .map(|_| SnapshotMade {
                    id: "ab".repeat(32),
                    path: "/source/data".to_owned(),
                    bytes_processed: u64::MAX,
                    started: at,
                    finished: at,
                    ..SnapshotMade::default()
                })
                .collect(),
            file_errors: (0..file_errors)
                .map(|_| FileError { path: "/source/data/a".repeat(20), error: "permission denied".to_owned() })
                .collect(),
            file_error_count: 12,
            transfer: Some(TransferProgress { files_done: 7, ..TransferProgress::default() }),
            ..TargetOutcome::default()
        };
        Outcome {
            targets: (0..targets).map(target).collect(),
            peak_memory_bytes: 9,
            started: at,
            finished: at,
            ..Outcome::default()
        }
    }

    /// Architecture §4.5: what fits comes back as it was.
    #[test]
    fn a_small_outcome_survives_unchanged() {
        let outcome = outcome(1, 1, 2);
        let message = decode(&encode(&outcome)).unwrap();
        assert_eq!(message, TerminationMessage { outcome, truncated: false });
    }

    /// Architecture §4.5: truncation is defined; ids and results go last.
    #[test]
    fn a_large_outcome_keeps_ids_and_results() {
        let outcome = outcome(2, 4, 50);
        let text = encode(&outcome);
        assert!(text.len() <= MAX_BYTES);
        let message = decode(&text).unwrap();
        assert!(message.truncated);
        for (kept, whole) in message.outcome.targets.iter().zip(&outcome.targets) {
            assert_eq!(kept.result, whole.result);
            assert_eq!(kept.file_error_count, whole.file_error_count);
            let ids = |target: &TargetOutcome| target.snapshots.iter().map(|made| made.id.clone()).collect::<Vec<_>>();
            assert_eq!(ids(kept), ids(whole));
        }
    }

    /// I4, no success without evidence: a success whose snapshots did not fit is not read back as a success.
    #[test]
    fn a_success_without_its_ids_is_no_success() {
        let text = encode(&outcome(12, 30, 50));
        assert!(text.len() <= MAX_BYTES);
        let message = decode(&text).unwrap();
        assert!(message.outcome.targets.iter().all(|target| target.result == TargetResult::Retryable as i32));
    }

    #[test]
    fn any_outcome_fits() {
        let text = encode(&outcome(500, 3, 0));
        assert!(text.len() <= MAX_BYTES);
        assert!(decode(&text).unwrap().truncated);
    }

    #[test]
    fn foreign_and_newer_messages_are_told_apart() {
        assert!(matches!(decode("Killed"), Err(TerminationError::Unreadable(_))));
        assert!(matches!(decode(r#"{"version":2}"#), Err(TerminationError::Version { found: 2 })));
    }
}
