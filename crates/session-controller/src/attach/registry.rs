//! What attached movers have said, and what they are to be told. In memory only: all of it can be said again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube_kit::controller::Trigger;
use parking_lot::Mutex;
use planner::attempt::{Report, Reports, Transfer};
use planner::bandwidth::Bandwidth;
use planner::decision::Reason;
use planner::session::TargetProgress;
use tokio::sync::mpsc;

use super::SessionKind;
use super::claim::Claim;

/// Something to tell a mover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Stop.
    Cancel(String),
    /// New limits of speed.
    Limits(Bandwidth),
    /// The outcome is recorded.
    Ack,
    /// The same mover has dialled again: this stream ends.
    Replaced,
    /// A later attempt has taken over: this stream ends, and so must its mover.
    Fenced(u32),
}

/// Tells one stream from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId(u64);

/// A stream that is open.
struct Stream {
    id: StreamId,
    job: String,
    /// The limits that its mover was told last.
    limits: Bandwidth,
    sender: mpsc::UnboundedSender<Command>,
}

/// Where a mover stands with one path of one target.
pub(super) struct Heard<'a> {
    pub(super) target: &'a str,
    pub(super) path: &'a str,
    pub(super) figures: Transfer,
    pub(super) waits_for: Option<String>,
}

/// The work of one Job: a component of a session in one attempt.
#[derive(Default)]
struct Work {
    attempt: u32,
    stream: Option<Stream>,
    /// Figures by target and path, in the order in which the mover came to them.
    progress: BTreeMap<String, Figures>,
    report: Option<Report>,
    recorded: bool,
}

#[derive(Default)]
struct Figures {
    paths: Vec<(String, Transfer)>,
    waits_for: Option<String>,
}

#[derive(Default)]
struct Session {
    work: BTreeMap<String, Work>,
    /// Jobs that were told to stop, and why: a mover that attaches later is told too.
    cancelled: HashMap<String, String>,
    last_progress: Option<Timestamp>,
    woken: Option<Instant>,
    /// What was wrong with the annotations when they were last looked at.
    ignored: Vec<Reason>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, Session>,
    triggers: HashMap<SessionKind, Trigger>,
}

/// What attached movers have said, and what they are to be told. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    state: Arc<Mutex<State>>,
    /// Since when movers may attach; none until then.
    opened: Arc<OnceLock<Timestamp>>,
    next_stream: Arc<AtomicU64>,
    /// Least time between two wakings of a session for progress.
    interval: Duration,
}

impl Registry {
    /// A registry that wakes a session for progress at most once in `interval`.
    pub fn new(interval: Duration) -> Self {
        Self { state: Arc::default(), opened: Arc::default(), next_stream: Arc::default(), interval }
    }

    /// Movers may attach from now on: this replica leads and its controllers run.
    pub fn open(&self) {
        self.opened.get_or_init(Timestamp::now);
    }

    /// Whether movers may attach.
    pub fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    /// The controller of the sessions of a kind.
    pub fn on_session(&self, kind: SessionKind, trigger: Trigger) {
        self.state.lock().triggers.insert(kind, trigger);
    }

    /// Has a session looked at soon.
    pub fn wake(&self, kind: SessionKind, namespace: &str, name: &str) {
        if let Some(trigger) = self.state.lock().triggers.get(&kind) {
            trigger.now(namespace, name);
        }
    }

    /// What movers of a session reported, by component.
    pub fn reports(&self, session_uid: &str) -> Reports {
        let state = self.state.lock();
        let work = state.sessions.get(session_uid).into_iter().flat_map(|session| &session.work);
        work.filter_map(|(component, work)| Some((component.clone(), (work.attempt, work.report.clone()?)))).collect()
    }

    /// Live figures of a session.
    pub fn progress(&self, session_uid: &str) -> Vec<TargetProgress> {
        let state = self.state.lock();
        let work = state.sessions.get(session_uid).into_iter().flat_map(|session| &session.work);
        work.flat_map(|(component, work)| {
            work.progress.iter().map(|(target, figures)| TargetProgress {
                component: component.clone(),
                target: target.clone(),
                paths: figures.paths.clone(),
                waits_for: figures.waits_for.clone(),
            })
        })
        .collect()
    }

    /// When figures of a session last changed. Never before this replica began to listen: what was said to another one is
    /// not known here, and no session stood still because its leader changed.
    pub fn last_progress(&self, session_uid: &str) -> Option<Timestamp> {
        let heard = self.state.lock().sessions.get(session_uid).and_then(|session| session.last_progress);
        heard.max(self.opened.get().copied())
    }

    /// Whether a mover of the component is attached.
    pub fn is_attached(&self, session_uid: &str, component: &str) -> bool {
        let state = self.state.lock();
        let work = state.sessions.get(session_uid).and_then(|session| session.work.get(component));
        work.is_some_and(|work| work.stream.is_some())
    }

    /// Tells the movers of these Jobs to stop, also those that attach later.
    pub fn cancel_jobs(&self, session_uid: &str, jobs: &[String], reason: &str) {
        let mut state = self.state.lock();
        let Some(session) = state.sessions.get_mut(session_uid) else { return };
        for job in jobs {
            session.cancelled.entry(job.clone()).or_insert_with(|| reason.to_owned());
        }
        for stream in session.work.values().filter_map(|work| work.stream.as_ref()) {
            if jobs.contains(&stream.job) {
                stream.tell(Command::Cancel(reason.to_owned()));
            }
        }
    }

    /// The limits that stood in the assignment of a stream.
    pub(super) fn assigned(&self, claim: &Claim, id: StreamId, limits: Bandwidth) {
        self.with_work(claim, id, |_, work| {
            if let Some(stream) = &mut work.stream {
                stream.limits = limits;
            }
        });
    }

    /// The limits of a session are these now. Movers that were told others are told. The answer is whether `ignored`, what is wrong
    /// with the annotations, is news; without movers nothing is.
    pub fn limit(&self, session_uid: &str, limits: Bandwidth, ignored: &[Reason]) -> bool {
        let mut state = self.state.lock();
        let Some(session) = state.sessions.get_mut(session_uid) else { return false };
        for stream in session.work.values_mut().filter_map(|work| work.stream.as_mut()) {
            if stream.limits != limits {
                stream.limits = limits;
                stream.tell(Command::Limits(limits));
            }
        }
        let is_news = session.ignored != ignored;
        session.ignored = ignored.to_vec();
        is_news && !ignored.is_empty()
    }

    /// These reports have been dealt with: what followed from them stands in the objects. Their movers may end.
    pub fn recorded(&self, session_uid: &str, reports: &Reports) {
        let mut state = self.state.lock();
        let Some(session) = state.sessions.get_mut(session_uid) else { return };
        for (component, (attempt, report)) in reports {
            let Some(work) = session.work.get_mut(component) else { continue };
            if work.attempt == *attempt && work.report.as_ref() == Some(report) {
                work.recorded = true;
                if let Some(stream) = &work.stream {
                    stream.tell(Command::Ack);
                }
            }
        }
    }

    /// Forgets a session that has ended or is gone. Its streams end.
    pub fn forget(&self, session_uid: &str) {
        self.state.lock().sessions.remove(session_uid);
    }

    /// Attaches a stream. An older stream of the same work ends; of an earlier attempt figures and report are forgotten.
    pub(crate) fn attach(&self, claim: &Claim) -> (StreamId, mpsc::UnboundedReceiver<Command>) {
        let id = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.lock();
        let session = state.sessions.entry(claim.session_uid.clone()).or_default();
        let work = session.work.entry(claim.component.clone()).or_default();
        if let Some(earlier) = &work.stream {
            let same = work.attempt == claim.attempt;
            earlier.tell(if same { Command::Replaced } else { Command::Fenced(claim.attempt) });
        }
        if work.attempt != claim.attempt {
            *work = Work { attempt: claim.attempt, ..Work::default() };
        }
        let stream = Stream { id, job: claim.job.clone(), limits: Bandwidth::default(), sender };
        if let Some(reason) = session.cancelled.get(&claim.job) {
            stream.tell(Command::Cancel(reason.clone()));
        }
        work.stream = Some(stream);
        (id, receiver)
    }

    /// The highest attempt at a component that has attached.
    pub(super) fn latest_attempt(&self, session_uid: &str, component: &str) -> u32 {
        let state = self.state.lock();
        let work = state.sessions.get(session_uid).and_then(|session| session.work.get(component));
        work.map_or(0, |work| work.attempt)
    }

    /// A stream has ended.
    pub(super) fn detach(&self, claim: &Claim, id: StreamId) {
        self.with_work(claim, id, |_, work| work.stream = None);
    }

    /// A mover says where it stands.
    pub(super) fn note_progress(&self, claim: &Claim, id: StreamId, heard: Heard<'_>, now: Timestamp) {
        let interval = self.interval;
        let Heard { target, path, figures, waits_for } = heard;
        let wake = self.with_work(claim, id, |session, work| {
            let Figures { paths, waits_for: waited_for } = work.progress.entry(target.to_owned()).or_default();
            *waited_for = waits_for;
            let known = paths.iter_mut().find(|(known, _)| known == path);
            let moved = known
                .as_ref()
                .is_none_or(|(_, before)| (before.bytes_done, before.files_done) != (figures.bytes_done, figures.files_done));
            match known {
                Some((_, before)) => *before = figures,
                None => paths.push((path.to_owned(), figures)),
            }
            if moved {
                *session.last_progress = Some(now);
            }
            let due = session.woken.is_none_or(|woken| woken.elapsed() >= interval);
            if due {
                *session.woken = Some(Instant::now());
            }
            due
        });
        if wake == Some(true) {
            self.wake(claim.kind, &claim.namespace, &claim.session_name);
        }
    }

    /// A mover reports its end. One that was recorded already is acknowledged at once.
    pub(crate) fn note_outcome(&self, claim: &Claim, id: StreamId, report: Report) {
        let recorded = self.with_work(claim, id, |_, work| {
            let again = work.recorded && work.report.as_ref() == Some(&report);
            if again && let Some(stream) = &work.stream {
                stream.tell(Command::Ack);
            }
            work.report = Some(report);
            work.recorded = again;
            again
        });
        if recorded == Some(false) {
            self.wake(claim.kind, &claim.namespace, &claim.session_name);
        }
    }

    /// Changes the work that a stream stands for; nothing if another stream has taken over.
    fn with_work<T>(&self, claim: &Claim, id: StreamId, change: impl FnOnce(Pace<'_>, &mut Work) -> T) -> Option<T> {
        let mut state = self.state.lock();
        let session = state.sessions.get_mut(&claim.session_uid)?;
        let work = session.work.get_mut(&claim.component)?;
        work.stream.as_ref().filter(|stream| stream.id == id)?;
        Some(change(Pace { last_progress: &mut session.last_progress, woken: &mut session.woken }, work))
    }
}

/// The clocks of a session.
struct Pace<'a> {
    last_progress: &'a mut Option<Timestamp>,
    woken: &'a mut Option<Instant>,
}

impl Stream {
    fn tell(&self, command: Command) {
        // The receiver is gone when the stream has just ended; the mover dials again and is told then.
        let _ = self.sender.send(command);
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
