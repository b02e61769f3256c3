//! What the work and the stream share: what is to be said, and what was heard.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use proto_api::mover::v1alpha1 as wire;
use proto_api::mover::v1alpha1::{Assignment, LockSeen, Outcome, Progress, attach_request};
use storage::Limits;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::environment::AgentEnvironment;
use crate::stop::{Stop, StopReason};

/// Longest wait for the stream's end; nothing depends on it but the last spans of the trace.
const LEAVE: Duration = Duration::from_secs(1);

/// The work's end of the stream. Cheap to clone, all clones are one.
#[derive(Clone)]
pub struct Link {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) environment: Arc<AgentEnvironment>,
    pub(super) stop: Stop,
    limits: Arc<Limits>,
    said: Mutex<Said>,
    /// There is something to send.
    pub(super) changed: Notify,
    deadline: watch::Sender<Option<Timestamp>>,
    acknowledged: CancellationToken,
    /// Nobody needs the stream any more.
    pub(super) closed: CancellationToken,
    /// What keeps the stream up.
    pub(super) tasks: TaskTracker,
}

#[derive(Default)]
struct Said {
    progress: BTreeMap<String, Pending<Progress>>,
    questions: BTreeMap<(String, String), Question>,
    outcome: Option<Pending<Outcome>>,
}

struct Pending<T> {
    message: T,
    sent: bool,
}

struct Question {
    message: LockSeen,
    sent: bool,
    answers: Vec<oneshot::Sender<wire::LockVerdict>>,
}

impl Link {
    pub(super) fn new(environment: &Arc<AgentEnvironment>, limits: &Arc<Limits>, stop: &Stop) -> Self {
        let shared = Shared {
            environment: Arc::clone(environment),
            stop: stop.clone(),
            limits: Arc::clone(limits),
            said: Mutex::default(),
            changed: Notify::new(),
            deadline: watch::Sender::new(None),
            acknowledged: CancellationToken::new(),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says where a target stands; only the latest word on each target is ever sent.
    pub fn progress(&self, progress: Progress) {
        self.said().progress.insert(progress.target_id.clone(), Pending { message: progress, sent: false });
        self.shared.changed.notify_one();
    }

    /// Asks who holds a lock, and waits a bounded time for the answer. No answer is no knowledge.
    pub async fn ask(&self, question: LockSeen, patience: Duration) -> Option<wire::LockVerdict> {
        let lock_id = question.holder.as_ref().map(|holder| holder.lock_id.clone()).unwrap_or_default();
        let key = (question.target_id.clone(), lock_id);
        let (sender, receiver) = oneshot::channel();
        {
            let mut said = self.said();
            let entry = said.questions.entry(key.clone()).or_insert_with(|| Question {
                message: question,
                sent: false,
                answers: Vec::new(),
            });
            entry.answers.push(sender);
        }
        self.shared.changed.notify_one();
        let answer = tokio::time::timeout(patience, receiver).await.ok().and_then(Result::ok);
        if answer.is_none() {
            self.said().questions.remove(&key);
        }
        answer
    }

    /// Says how it ended, and waits at most `patience` for the acknowledgement.
    pub async fn report(&self, outcome: Outcome, patience: Duration) -> bool {
        self.said().outcome = Some(Pending { message: outcome, sent: false });
        self.shared.changed.notify_one();
        tokio::time::timeout(patience, self.shared.acknowledged.cancelled()).await.is_ok()
    }

    /// Ends the stream, and waits a moment for the task that kept it up.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.tasks.close();
        if tokio::time::timeout(LEAVE, self.shared.tasks.wait()).await.is_err() {
            tracing::debug!("the stream did not end in time");
        }
    }

    /// The session's deadline, as last heard.
    #[must_use]
    pub fn deadline(&self) -> watch::Receiver<Option<Timestamp>> {
        self.shared.deadline.subscribe()
    }

    pub(super) fn hear_assignment(&self, assignment: &Assignment) {
        self.hear_limits(assignment.limits.as_ref());
        let deadline = assignment.deadline.as_ref().and_then(proto_api::time::from_proto);
        self.shared.deadline.send_replace(deadline);
    }

    pub(super) fn hear_limits(&self, limits: Option<&wire::Limits>) {
        let limits = limits.copied().unwrap_or_default();
        self.shared.limits.set_upload_bytes_per_second(Some(limits.upload_bytes_per_second));
        self.shared.limits.set_download_bytes_per_second(Some(limits.download_bytes_per_second));
    }

    pub(super) fn hear_verdict(&self, verdict: &wire::LockVerdict) {
        let question = self.said().questions.remove(&(verdict.target_id.clone(), verdict.lock_id.clone()));
        for answer in question.into_iter().flat_map(|question| question.answers) {
            // Who asked may have given up meanwhile.
            let _gone = answer.send(verdict.clone());
        }
    }

    pub(super) fn hear_cancel(&self, reason: String) {
        self.shared.stop.request(StopReason::Cancelled(reason));
    }

    pub(super) fn hear_acknowledgement(&self) {
        self.shared.acknowledged.cancel();
    }

    /// Everything that was said on an earlier stream is to be said again.
    pub(super) fn forget_what_was_sent(&self) {
        let mut said = self.said();
        said.progress.values_mut().for_each(|pending| pending.sent = false);
        said.questions.values_mut().for_each(|question| question.sent = false);
        if let Some(outcome) = &mut said.outcome {
            outcome.sent = false;
        }
    }

    /// Hands each unsent message to `send` until it refuses; questions first, the outcome after all progress.
    pub(super) fn send_unsent(&self, mut send: impl FnMut(attach_request::Message) -> bool) {
        let mut said = self.said();
        for question in said.questions.values_mut().filter(|question| !question.sent) {
            question.sent = send(attach_request::Message::LockSeen(question.message.clone()));
        }
        for progress in said.progress.values_mut().filter(|progress| !progress.sent) {
            progress.sent = send(attach_request::Message::Progress(progress.message.clone()));
        }
        if let Some(outcome) = said.outcome.as_mut().filter(|outcome| !outcome.sent) {
            outcome.sent = send(attach_request::Message::Outcome(outcome.message.clone()));
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.shared.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
