//! The status of a session's Snapshots, from what movers reported (specification §1.3.3, §1.4, §3.5).

use crd_types::{
    BackupProgress, BackupSummary, Condition, ConditionStatus, Driver, ResticStats, Snapshot, SnapshotComponent, SnapshotPhase,
    SnapshotStatus, VerificationStatus, conditions, duration, phase, size,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::draft::set_condition;
use crate::{
    attempt::{FileFindings, Outcome, SnapshotMade, TargetReport, Transfer},
    layout::ComponentPath,
};

/// Conditions of a Snapshot that the session-controller writes; the others are the storage-initializer's.
const OWN_CONDITIONS: [&str; 2] = [conditions::BACKUP_INCOMPLETE, conditions::TRANSFER];

/// Most files with errors that a component's error names.
const NAMED_FILES: usize = 10;

/// A Snapshot's status in the making.
#[derive(Debug, Clone)]
pub(super) struct SnapshotDraft {
    pub name: String,
    pub repository: String,
    pub status: SnapshotStatus,
    before: SnapshotStatus,
    session: String,
}

impl SnapshotDraft {
    /// Why the record of this Snapshot is not in the bucket yet, if something is in the way.
    pub fn upload_trouble(&self) -> Option<String> {
        let trouble = conditions::find(&self.status.conditions, conditions::PROGRESSING)?;
        let message = trouble.message.as_deref().filter(|_| trouble.status == ConditionStatus::False)?;
        Some(format!("all components have ended; the metadata of Snapshot {} is not in the bucket yet: {message}", self.name))
    }

    pub fn of(snapshot: &Snapshot) -> Self {
        let before = snapshot.status.clone().unwrap_or_default();
        let mut status = before.clone();
        let created = snapshot.metadata.creation_timestamp.clone();
        status.snapshot_time = status.snapshot_time.or(created);
        status.verification_status.get_or_insert(VerificationStatus::NotVerified);
        Self {
            name: snapshot.metadata.name.clone().unwrap_or_default(),
            repository: snapshot.spec.repository.clone().unwrap_or_default(),
            status,
            before,
            session: snapshot.spec.session.clone().unwrap_or_default(),
        }
    }

    /// Whether the Snapshot's phase will not change any more.
    pub fn is_finished(&self) -> bool {
        phase::snapshot(&self.status).is_completed()
    }

    /// Whether the end of a component is on record.
    pub fn is_settled(&self, component: &str) -> bool {
        let known = self.status.components.get(component);
        known.and_then(|known| known.phase).is_some_and(SnapshotPhase::is_completed)
    }

    /// Announces components before their Jobs exist.
    pub fn announce(&mut self, components: &[String]) {
        self.status.total_components = Some(i32::try_from(components.len()).unwrap_or(i32::MAX));
        for component in components {
            self.status.components.entry(component.clone()).or_insert_with(|| SnapshotComponent {
                driver: Some(Driver::Restic),
                path: ComponentPath::of(&self.session, component).ok().map(|path| path.to_string()),
                phase: Some(SnapshotPhase::Pending),
                ..SnapshotComponent::default()
            });
        }
    }

    /// Writes live figures.
    pub fn show(&mut self, component: &str, paths: &[(String, Transfer)]) {
        if self.is_settled(component) {
            return;
        }
        let Some(known) = self.status.components.get_mut(component) else { return };
        known.phase = Some(SnapshotPhase::Running);
        known.restic_stats =
            paths.iter().map(|(_, transfer)| ResticStats { progress: Some(progress(transfer)), summary: None }).collect();
    }

    /// Writes how a component ended.
    pub fn settle(&mut self, component: &str, report: &TargetReport) {
        let Some(known) = self.status.components.get_mut(component) else { return };
        let succeeded = report.outcome == Outcome::Succeeded && !report.snapshots.is_empty();
        known.phase = Some(if succeeded { SnapshotPhase::Succeeded } else { SnapshotPhase::Failed });
        known.error = if succeeded { notes(report) } else { Some(error(report)) };
        known.integrity = report.integrity;
        known.size = report.repository_bytes.map(size::format);
        known.duration = took(report);
        known.restic_stats = report
            .snapshots
            .iter()
            .map(|made| ResticStats {
                progress: None,
                summary: Some(BackupSummary {
                    end_time: made.finished.map(Time),
                    host_path: Some(made.path.clone()),
                    id: Some(made.id.clone()),
                    size: Some(size::format(made.bytes_processed)),
                    start_time: made.started.map(Time),
                    uploaded: Some(size::format(made.bytes_added)),
                }),
            })
            .collect();
    }

    /// Says what the backup moved, which KubeStash's schema has no place for (architecture §4.11). Figures of components
    /// that were settled before, by an attempt or a pass of long ago, are taken from what is on record.
    pub fn measure(&mut self, made: &[SnapshotMade], now: Timestamp) {
        if made.is_empty() {
            return;
        }
        let known = conditions::find(&self.status.conditions, conditions::TRANSFER);
        let mut sums = known.and_then(|known| measured(known.message.as_deref()?)).unwrap_or_default();
        for snapshot in made {
            let own = [snapshot.files, snapshot.bytes_processed, snapshot.bytes_read, snapshot.bytes_added];
            for (sum, figure) in sums.iter_mut().zip(own) {
                *sum = sum.saturating_add(figure);
            }
        }
        let [files, processed, read, added] = sums;
        let message = format!("{files} files, {processed} bytes processed, {read} bytes read, {added} bytes added");
        let (kind, reason) = (conditions::TRANSFER, conditions::reason::MEASURED);
        set_condition(&mut self.status.conditions, kind, ConditionStatus::True, reason, &message, now);
    }

    /// Marks the Snapshot as cut short.
    pub fn incomplete(&mut self, why: &str, now: Timestamp) {
        set_condition(
            &mut self.status.conditions,
            conditions::BACKUP_INCOMPLETE,
            ConditionStatus::True,
            conditions::reason::BACKUP_EXECUTOR_TERMINATED_BEFORE_COMPLETION,
            why,
            now,
        );
    }

    /// The status to write, if it differs from what is there: the fields that the session-controller owns.
    pub fn into_write(mut self, now: Timestamp) -> Option<(String, SnapshotStatus)> {
        self.status.phase = Some(phase::snapshot(&self.status));
        self.status.size = phase::snapshot_size(&self.status).filter(|_| self.has_sizes());
        self.status.integrity = phase::snapshot_integrity(&self.status);
        if self.status == self.before {
            return None;
        }
        self.status.last_update_time = Some(Time(now));
        let own = |condition: &Condition| OWN_CONDITIONS.contains(&condition.type_.as_str());
        self.status.conditions.retain(own);
        Some((self.name, self.status))
    }

    fn has_sizes(&self) -> bool {
        self.status.components.values().any(|component| component.size.is_some())
    }
}

/// One sentence for a component's error, with the files that it is about.
pub(crate) fn error(report: &TargetReport) -> String {
    let mut text = report.error.clone();
    if text.is_empty() {
        text = if report.outcome == Outcome::Succeeded {
            // A success without a snapshot would be a success without evidence (I2).
            "the mover reported success without a snapshot".to_owned()
        } else {
            "the mover gave no reason".to_owned()
        };
    }
    let named: Vec<String> = report
        .file_errors
        .iter()
        .take(NAMED_FILES)
        .filter(|(path, _)| !text.contains(path.as_str()))
        .map(|(path, what)| format!("{path}: {what}"))
        .collect();
    if !named.is_empty() {
        text = format!("{text} [{}]", named.join("; "));
    }
    let changes: Vec<String> = changes(report).into_iter().filter(|note| !text.contains(note.as_str())).collect();
    if changes.is_empty() { text } else { format!("{text}; {}", changes.join("; ")) }
}

/// What a component that succeeded tells: damage that its mover found in the repository, and what became of its files.
fn notes(report: &TargetReport) -> Option<String> {
    let found = Some(report.error.clone()).filter(|found| !found.is_empty());
    let notes: Vec<String> = found.into_iter().chain(file_notes(report)).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// What a component that succeeded tells of its files: those that could not be read, if the user accepts them, and those that
/// changed or vanished meanwhile.
fn file_notes(report: &TargetReport) -> Option<String> {
    let unreadable = FileFindings {
        named: report.file_errors.iter().map(|(path, what)| format!("{path}: {what}")).collect(),
        count: report.file_error_count,
    };
    let mut notes: Vec<String> = note(&unreadable, "could not be read").into_iter().collect();
    notes.extend(changes(report));
    (!notes.is_empty()).then(|| notes.join("; "))
}

fn changes(report: &TargetReport) -> Vec<String> {
    let changed = note(&report.changed, "changed while being read");
    changed.into_iter().chain(note(&report.vanished, "vanished before being read")).collect()
}

fn note(files: &FileFindings, what: &str) -> Option<String> {
    let FileFindings { named, count } = files;
    let number = match count {
        0 => return None,
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    let shown: Vec<&str> = named.iter().take(NAMED_FILES).map(String::as_str).collect();
    Some(if shown.is_empty() { format!("{number} {what}") } else { format!("{number} {what} [{}]", shown.join("; ")) })
}

/// The figures of a message that [`SnapshotDraft::measure`] wrote.
fn measured(message: &str) -> Option<[u64; 4]> {
    let mut figures = message.split(", ").map(|part| part.split(' ').next()?.parse().ok());
    Some([figures.next()??, figures.next()??, figures.next()??, figures.next()??])
}

fn took(report: &TargetReport) -> Option<String> {
    let started = report.snapshots.iter().filter_map(|made| made.started).min();
    let finished = report.snapshots.iter().filter_map(|made| made.finished).max();
    let elapsed = match (started, finished) {
        (Some(started), Some(finished)) => finished.duration_since(started).unsigned_abs(),
        _ => std::time::Duration::from_secs(report.transfer?.seconds_elapsed),
    };
    Some(duration::format(elapsed))
}

fn progress(transfer: &Transfer) -> BackupProgress {
    BackupProgress {
        backup_done: Some(size::format_decimal(transfer.bytes_done)),
        files_done: Some(count(transfer.files_done)),
        percent_done: size::format_percent(transfer.bytes_done, transfer.bytes_total),
        seconds_elapsed: Some(count(transfer.seconds_elapsed)),
        speed: Some(size::format_speed(transfer.bytes_done / transfer.seconds_elapsed.max(1))),
        total: Some(size::format_decimal(transfer.bytes_total)),
        total_files: Some(count(transfer.files_total)),
    }
}

pub(crate) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
