//! Everything a decision about a BackupSession rests on.

use crd_types::{BackupConfiguration, BackupSession, BackupSessionPhase, ObjectReference, Session, Snapshot};
use jiff::Timestamp;

use super::{Limits, run::MOVER_WAITS};
use crate::{
    admission::Admission,
    attempt::{JobView, Reports, Transfer},
    decision::{Decision, Reason},
};

/// What a controller has to read before the decision can be made. Each costs requests, so each is asked for only when
/// it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Other sessions of the same configuration and session: [`View::siblings`].
    Siblings,
    /// Restores of the same target: [`View::restores`].
    Restores,
    /// Addon, Function, target and volumes: [`View::preparation`].
    Preparation,
    /// Whether the limits admit it: [`View::admission`].
    Admission,
    /// Retention policies and all Snapshots of the session's Repositories: [`View::retention`].
    Retention,
}

/// Another session of the same configuration and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its phase.
    pub phase: BackupSessionPhase,
    /// Whether it has passed its checks, so that it is no longer to be skipped.
    pub begun: bool,
    /// Whether the scheduler still has to try it again.
    pub retry_pending: bool,
}

impl Sibling {
    /// What matters of a session.
    pub fn of(session: &BackupSession) -> Self {
        let status = session.status.clone().unwrap_or_default();
        let phase = crd_types::phase::backup_session(&status);
        Self {
            name: session.metadata.name.clone().unwrap_or_default(),
            created: created(session),
            phase,
            begun: !status.snapshots.is_empty(),
            retry_pending: phase == BackupSessionPhase::Failed
                && session.spec.retry_left.unwrap_or(0) > 0
                && status.retried != Some(true),
        }
    }
}

/// What came of looking at Addon, Function, target and volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// Jobs can be made for these components.
    Ready {
        /// Names of the components.
        components: Vec<String>,
    },
    /// Something is missing that may still come.
    Waiting(Reason),
    /// It cannot work as it is written.
    Refused(Reason),
}

/// What retention has to do in one Repository.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionView {
    /// The Repository.
    pub repository: String,
    /// The policy that the configuration names.
    pub policy: Option<ObjectReference>,
    /// What the policy says.
    pub verdict: RetentionVerdict,
}

/// What a policy says of a Repository's Snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionVerdict {
    /// There is no policy to apply; a sentence.
    NoPolicy(String),
    /// The policy cannot be applied; a sentence.
    Unusable(String),
    /// These Snapshots go.
    Remove(Vec<Removal>),
}

/// One Snapshot that goes, and the data that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Name of the Snapshot.
    pub snapshot: String,
    /// Component path and restic snapshot of everything it holds.
    pub data: Vec<(String, String)>,
}

/// Live figures of one target, path by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetProgress {
    /// Component that the mover works on.
    pub component: String,
    /// The target, as in reports.
    pub target: String,
    /// Path and figures, in the order in which the mover came to them.
    pub paths: Vec<(String, Transfer)>,
    /// What the mover waits for while nothing moves.
    pub waits_for: Option<String>,
}

impl TargetProgress {
    /// Why the work of one of them does not move, if so.
    pub(crate) fn wait(all: &[Self], step: &'static str) -> Option<Reason> {
        let told = |progress: &Self| {
            let what = progress.waits_for.as_ref()?;
            let Self { component, target, .. } = progress;
            let whose = if component == target { String::new() } else { format!(" for {target}") };
            Some(Reason::new(step, MOVER_WAITS, format!("the mover of component {component}{whose} waits for {what}")))
        };
        all.iter().find_map(told)
    }
}

/// Everything a decision about a BackupSession rests on.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The time.
    pub now: Timestamp,
    /// Bounds.
    pub limits: &'a Limits,
    /// The session.
    pub session: &'a BackupSession,
    /// Its configuration, if that exists still.
    pub configuration: Option<&'a BackupConfiguration>,
    /// Snapshots that bear the session's UID.
    pub snapshots: &'a [Snapshot],
    /// Jobs that bear the session's UID.
    pub jobs: &'a [JobView],
    /// What movers reported over their streams.
    pub reports: &'a Reports,
    /// Live figures.
    pub progress: &'a [TargetProgress],
    /// When figures last changed, over the stream.
    pub last_progress: Option<Timestamp>,
    /// Other sessions, when asked for.
    pub siblings: Option<&'a [Sibling]>,
    /// Running restores of the target, when asked for.
    pub restores: Option<&'a [String]>,
    /// The preparation, when asked for.
    pub preparation: Option<&'a Preparation>,
    /// The admission, when asked for.
    pub admission: Option<&'a Decision<Admission>>,
    /// Retention, when asked for.
    pub retention: Option<&'a [RetentionView]>,
}

impl View<'_> {
    /// The entry of the configuration that the session runs.
    pub fn entry(&self) -> Option<&Session> {
        let name = self.session.spec.session.as_deref()?;
        self.configuration?.spec.sessions.iter().find(|entry| entry.name.as_deref() == Some(name))
    }

    /// The Snapshot of a Repository.
    pub fn snapshot_of(&self, repository: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.spec.repository.as_deref() == Some(repository))
    }

    /// When the session was created.
    pub fn created(&self) -> Timestamp {
        created(self.session)
    }
}

fn created(session: &BackupSession) -> Timestamp {
    session.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}
