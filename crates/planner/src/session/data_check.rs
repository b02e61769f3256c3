//! Which part of the stored data a backup reads back, so that all of it is within a stated time (reliability E9).

use crd_types::{BackupConfiguration, Snapshot, annotations::DATA_CHECK_PERIOD};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use thiserror::Error;

use crate::retention::{PeriodError, RetentionPeriod};

/// Value of the annotation that turns reading back off.
const OFF: &str = "off";

/// A part of the stored data, by time: the engine gives each pack its moment of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataCheck {
    /// When the last check that ended well had begun.
    pub since: Timestamp,
    /// Now.
    pub until: Timestamp,
    /// Time in which everything is to be read.
    pub period: SignedDuration,
}

/// An annotation that says no period.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "annotation {DATA_CHECK_PERIOD} of BackupConfiguration {namespace}/{name}: {source}; or write `off` to read nothing back"
)]
pub struct DataCheckError {
    /// Namespace of the configuration.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub source: PeriodError,
}

/// Time in which a configuration's stored data is to be read once: its own word, else the cluster's. `None` reads nothing.
///
/// # Errors
/// [`DataCheckError`] for an annotation that says no period.
pub fn data_check_period(
    configuration: &BackupConfiguration,
    default: Option<SignedDuration>,
) -> Result<Option<SignedDuration>, DataCheckError> {
    let Some(written) = configuration.annotations().get(DATA_CHECK_PERIOD) else { return Ok(default) };
    parse_period(written).map_err(|source| DataCheckError {
        namespace: configuration.namespace().unwrap_or_default(),
        name: configuration.name_any(),
        source,
    })
}

/// Reads `30d`, or `off` for none.
///
/// # Errors
/// [`PeriodError`] if it is neither.
pub fn parse_period(written: &str) -> Result<Option<SignedDuration>, PeriodError> {
    match written.trim() {
        OFF => Ok(None),
        period => RetentionPeriod::parse(period).map(|period| Some(period.duration())),
    }
}

/// What a backup of this component into this Snapshot's Repository reads back. The clock starts with the first backup: what it
/// wrote was verified before it was stored, so nothing is due until a while later.
pub fn data_check(
    snapshots: &[Snapshot],
    this: &str,
    component: &str,
    period: Option<SignedDuration>,
    now: Timestamp,
) -> Option<DataCheck> {
    let period = period?;
    // A check was made if it said something, good or bad; it read up to a time that is later than the Snapshot's creation, so
    // nothing is left out between the two.
    let checked = |snapshot: &&Snapshot| {
        let status = snapshot.status.as_ref();
        let component = status.and_then(|status| status.components.get(component));
        snapshot.name_any() != this && component.is_some_and(|component| component.integrity.is_some())
    };
    let since = snapshots.iter().filter(checked).filter_map(ResourceExt::creation_timestamp).map(|time| time.0).max()?;
    Some(DataCheck { since, until: now, period })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    const MONTH: Option<SignedDuration> = Some(SignedDuration::from_hours(30 * 24));

    fn snapshot(name: &str, created: &str, integrity: Option<bool>) -> Snapshot {
        serde_json::from_value(json!({
            "metadata": {"namespace": "demo", "name": name, "creationTimestamp": created},
            "spec": {"snapshotID": "", "version": "v1"},
            "status": {"components": {"dump": {"integrity": integrity}}},
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-03-10T00:00:00Z".parse().unwrap()
    }

    /// The share begins where the last check that said anything began: one that broke off is made up for.
    #[test]
    fn the_share_begins_with_the_last_check() {
        let snapshots = [
            snapshot("one", "2026-03-01T00:00:00Z", Some(true)),
            snapshot("two", "2026-03-02T00:00:00Z", Some(false)),
            snapshot("three", "2026-03-03T00:00:00Z", None),
            snapshot("now", "2026-03-09T23:59:00Z", Some(true)),
        ];
        let due = data_check(&snapshots, "now", "dump", MONTH, now()).unwrap();
        assert_eq!((due.since.to_string().as_str(), due.until), ("2026-03-02T00:00:00Z", now()));
    }

    #[test]
    fn nothing_is_due_before_there_was_a_check_nor_when_it_is_off() {
        let first = [snapshot("now", "2026-03-09T23:59:00Z", None)];
        assert_eq!(data_check(&first, "now", "dump", MONTH, now()), None);
        let earlier = [snapshot("one", "2026-03-01T00:00:00Z", Some(true))];
        assert_eq!(data_check(&earlier, "now", "dump", None, now()), None);
        assert_eq!(data_check(&earlier, "now", "dump-pod-1", MONTH, now()), None);
    }

    #[test]
    fn the_configurations_word_counts_and_nonsense_is_named() {
        let configuration = |word: Option<&str>| -> BackupConfiguration {
            let mut made = json!({"metadata": {"namespace": "demo", "name": "notes"}, "spec": {}});
            if let Some(word) = word {
                made["metadata"]["annotations"] = json!({ DATA_CHECK_PERIOD: word });
            }
            serde_json::from_value(made).unwrap()
        };
        assert_eq!(data_check_period(&configuration(None), MONTH), Ok(MONTH));
        assert_eq!(data_check_period(&configuration(Some("off")), MONTH), Ok(None));
        assert_eq!(data_check_period(&configuration(Some("1w")), MONTH), Ok(Some(SignedDuration::from_hours(7 * 24))));
        let refused = data_check_period(&configuration(Some("weekly")), MONTH).unwrap_err().to_string();
        assert!(refused.contains("demo/notes") && refused.contains("weekly") && refused.contains("`off`"), "{refused}");
    }
}
