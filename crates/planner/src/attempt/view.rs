//! What is seen of the Jobs of a session, and what their movers said.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::build::Work;

/// How one target of a mover ended, in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done and verified.
    Succeeded,
    /// Not done; another attempt would give the same answer.
    Failed,
    /// Not done; the cause may pass.
    Retryable,
    /// Stopped because it was asked to.
    Cancelled,
}

/// One restic snapshot that a backup made or adopted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotMade {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The path that it holds.
    pub path: String,
    /// Bytes of file content.
    pub bytes_processed: u64,
    /// Bytes added to the repository.
    pub bytes_added: u64,
    /// Files in it.
    pub files: u64,
    /// Bytes read from files for it; an unchanged file is not read.
    pub bytes_read: u64,
    /// When the work on it began.
    pub started: Option<Timestamp>,
    /// When it was complete.
    pub finished: Option<Timestamp>,
}

/// Cumulative figures of one transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Files finished.
    pub files_done: u64,
    /// Files known so far.
    pub files_total: u64,
    /// Bytes finished.
    pub bytes_done: u64,
    /// Bytes known so far.
    pub bytes_total: u64,
    /// Seconds since it began.
    pub seconds_elapsed: u64,
}

/// Files of one kind that a mover tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFindings {
    /// Paths of at most a few.
    pub named: Vec<String>,
    /// How many there are in all.
    pub count: u64,
}

/// What a mover reported of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetReport {
    /// Which: a Repository's name, a component, or `<repository>/<component path>` for retention.
    pub id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// A sentence: why it failed, or what is wrong with the repository although it succeeded.
    pub error: String,
    /// Restic snapshots that were made.
    pub snapshots: Vec<SnapshotMade>,
    /// Files that could not be treated as asked: path and what happened. At most a few.
    pub file_errors: Vec<(String, String)>,
    /// How many there are in all.
    pub file_error_count: u64,
    /// Files that changed while they were read.
    pub changed: FileFindings,
    /// Files that vanished before they were read.
    pub vanished: FileFindings,
    /// Stored bytes of the repository; `None` when not measured.
    pub repository_bytes: Option<u64>,
    /// Result of a structural check; `None` when there was none.
    pub integrity: Option<bool>,
    /// Restic snapshots that retention found gone or removed.
    pub removed: Vec<String>,
    /// Final figures.
    pub transfer: Option<Transfer>,
}

impl TargetReport {
    /// A target that failed without saying more.
    pub fn failed(id: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            outcome: Outcome::Failed,
            error: error.into(),
            snapshots: Vec::new(),
            file_errors: Vec::new(),
            file_error_count: 0,
            changed: FileFindings::default(),
            vanished: FileFindings::default(),
            repository_bytes: None,
            integrity: None,
            removed: Vec::new(),
            transfer: None,
        }
    }
}

/// What a mover reported at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// One entry for each target that it can speak of.
    pub targets: Vec<TargetReport>,
    /// What happened to the mover as a whole, when no target can say.
    pub error: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// Reports that arrived over streams, by component, with their attempt.
pub type Reports = BTreeMap<String, (u32, Report)>;

/// State of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It may still have running pods.
    Live,
    /// It has none and will have none.
    Ended,
    /// It is being deleted since then; its pods may still run.
    Deleting(Timestamp),
}

/// How the working container of a pod ended, as a kubelet reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Exit code.
    pub exit_code: i32,
    /// The kubelet's word for it: `OOMKilled`, `Error`, `Completed`.
    pub reason: String,
    /// The mover's last words, if they could be read.
    pub report: Option<Report>,
    /// When.
    pub at: Option<Timestamp>,
}

/// The pod of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Name.
    pub name: String,
    /// Node, once it has one.
    pub node: Option<String>,
    /// When the container started, once it has.
    pub started: Option<Timestamp>,
    /// How it ended, once it has.
    pub ended: Option<ContainerEnd>,
    /// Why it does not start, in the scheduler's or kubelet's words.
    pub waiting: Option<String>,
    /// Why nothing is heard of it any more: its node is lost.
    pub lost: Option<String>,
    /// Why it was ended from outside: eviction, preemption.
    pub disrupted: Option<String>,
}

/// One Job of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Name.
    pub name: String,
    /// Component, as its label has it.
    pub component: String,
    /// Attempt, from 1.
    pub attempt: u32,
    /// What it does.
    pub work: Work,
    /// When it was made.
    pub created: Timestamp,
    /// State.
    pub state: JobState,
    /// Why the Job controller ended it, if it says: `DeadlineExceeded`, `BackoffLimitExceeded`.
    pub failure: Option<String>,
    /// Its newest pod.
    pub pod: Option<PodView>,
    /// Why no pod of it can be made, in the API server's words.
    pub refusal: Option<String>,
}

impl JobView {
    /// Whether pods of it may still be writing.
    pub fn is_live(&self) -> bool {
        self.state != JobState::Ended && self.pod.as_ref().is_none_or(|pod| pod.lost.is_none())
    }

    /// The mover's last words.
    pub fn report(&self) -> Option<&Report> {
        self.pod.as_ref()?.ended.as_ref()?.report.as_ref()
    }

    /// The last sign of life.
    pub fn last_activity(&self) -> Timestamp {
        let pod = self.pod.as_ref();
        let started = pod.and_then(|pod| pod.started);
        let ended = pod.and_then(|pod| pod.ended.as_ref()).and_then(|ended| ended.at);
        [started, ended].into_iter().flatten().fold(self.created, Timestamp::max)
    }
}
