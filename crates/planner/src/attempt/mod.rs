//! Attempts at one component: when a Job is made, when its end is an answer, and when another attempt is worth making
//! (architecture §4.4-4.5).
//!
//! An attempt is a Job of its own. It ends with an answer (the mover reported how each target ended), or by the
//! infrastructure: evicted, killed, its node lost. Only what the infrastructure ended, or what the mover itself calls
//! worth another try, is tried again; an answer never is.

mod ending;
#[cfg(test)]
pub(crate) mod fixtures;
mod view;

use jiff::{SignedDuration, Timestamp};

pub use view::{
    ContainerEnd, FileFindings, JobState, JobView, Outcome, PodView, Report, Reports, SnapshotMade, TargetReport, Transfer,
};

use crate::decision::Reason;

const STEP: &str = "attempt";

/// A Job controller makes its pod at once; why a Job has none after this time is asked.
pub const POD_EXPECTED: SignedDuration = SignedDuration::from_secs(5);

/// How often it is asked again: the refusal is an event, of which nobody tells us, and may be written a little later or change.
const POD_MISSED: SignedDuration = SignedDuration::from_secs(15);

/// Bounds of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Most attempts at a component. The third failure of a node or a store is no accident any more.
    pub attempts: u32,
    /// Time before another attempt that the mover itself asked for, times the attempts made: what made it fail, a store
    /// that does not answer, needs time. After a death there is nothing to wait for.
    pub delay: SignedDuration,
    /// How long a pod may be Pending before a condition says so.
    pub pending: SignedDuration,
}

impl Default for AttemptLimits {
    fn default() -> Self {
        Self { attempts: 3, delay: SignedDuration::from_secs(10), pending: SignedDuration::from_mins(10) }
    }
}

/// One component and everything known about the work on it.
#[derive(Debug, Clone)]
pub struct ComponentView<'a> {
    /// Name of the component, as label and reports have it.
    pub component: &'a str,
    /// Targets whose end is not on record yet.
    pub open: Vec<String>,
    /// Highest attempt on record; 0 when none was begun.
    pub begun: u32,
    /// Its Jobs.
    pub jobs: Vec<&'a JobView>,
    /// What its mover reported over the stream, and in which attempt.
    pub report: Option<&'a (u32, Report)>,
}

/// What to do about a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ComponentDecision {
    /// Targets whose end is known now and has to be written down.
    pub settled: Vec<TargetReport>,
    /// Those of them that ended without an answer.
    pub unanswered: Vec<String>,
    /// The attempt to begin.
    pub start: Option<u32>,
    /// What its pod waits for, when it has waited for too long.
    pub pending: Option<String>,
    /// When to look again, if time alone can change the answer.
    pub look_again: Option<Timestamp>,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl ComponentDecision {
    fn because(mut self, reason: &'static str, message: impl Into<String>) -> Self {
        self.reasons.push(Reason::new(STEP, reason, message));
        self
    }
}

/// Decides what to do about a component.
pub fn decide(view: &ComponentView<'_>, limits: &AttemptLimits, now: Timestamp) -> ComponentDecision {
    let decision = ComponentDecision::default();
    let component = view.component;
    if view.open.is_empty() {
        return decision.because("Settled", format!("component {component} is done"));
    }
    let latest = view.jobs.iter().copied().max_by_key(|job| job.attempt);
    let attempt = view.begun.max(latest.map_or(0, |job| job.attempt));
    if attempt == 0 {
        let decision = ComponentDecision { start: Some(1), ..decision };
        return decision.because("Begin", format!("component {component} has not been tried yet"));
    }
    let job = latest.filter(|job| job.attempt == attempt);
    let streamed = view.report.filter(|(reported, _)| *reported == attempt).map(|(_, report)| report);
    let report = streamed.or_else(|| job.and_then(JobView::report));
    let live = view.jobs.iter().any(|job| job.is_live());

    if report.is_none() && job.is_some_and(JobView::is_live) {
        return waiting(decision, view, job, limits, now);
    }
    let ending = ending::classify(job, report);
    settle(decision, view, attempt, &ending, live, limits, now)
}

/// Everything that is open ends now, whatever its Jobs do: with the mover's own answer where there is one.
pub fn give_up(view: &ComponentView<'_>, why: &str) -> Vec<TargetReport> {
    let latest = view.jobs.iter().copied().max_by_key(|job| job.attempt);
    let attempt = view.begun.max(latest.map_or(0, |job| job.attempt));
    let streamed = view.report.filter(|(reported, _)| *reported == attempt).map(|(_, report)| report);
    let report = streamed.or_else(|| latest.filter(|job| job.attempt == attempt).and_then(JobView::report));
    view.open
        .iter()
        .map(|target| match report.and_then(|report| find(report, target)) {
            Some(answer) if matches!(answer.outcome, Outcome::Succeeded | Outcome::Failed) => answer.clone(),
            Some(answer) => TargetReport { outcome: Outcome::Failed, error: why.to_owned(), ..answer.clone() },
            None => TargetReport::failed(target, why),
        })
        .collect()
}

fn waiting(
    mut decision: ComponentDecision,
    view: &ComponentView<'_>,
    job: Option<&JobView>,
    limits: &AttemptLimits,
    now: Timestamp,
) -> ComponentDecision {
    let Some(job) = job else { return decision };
    let component = view.component;
    let pod = job.pod.as_ref();
    if pod.is_some_and(|pod| pod.started.is_some()) {
        return decision.because("Running", format!("attempt {} of component {component} runs in Job {}", job.attempt, job.name));
    }
    let cause = job
        .refusal
        .clone()
        .map(|refusal| format!("no pod of Job {} can be made: {refusal}", job.name))
        .or_else(|| pod.and_then(|pod| Some(format!("pod {} waits: {}", pod.name, pod.waiting.as_ref()?))))
        .unwrap_or_else(|| format!("the pod of Job {} has not started yet", job.name));
    let too_long = later(job.created, limits.pending);
    if now >= too_long {
        decision.pending = Some(cause.clone());
    } else {
        decision.look_again = Some(too_long);
    }
    if pod.is_none() {
        let expected = later(job.created, POD_EXPECTED);
        let next = if now < expected { expected } else { later(now, POD_MISSED) };
        decision.look_again = Some(decision.look_again.map_or(next, |at| at.min(next)));
    }
    decision.because(if job.refusal.is_some() { "PodRefused" } else { "PodPending" }, cause)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

fn settle(
    mut decision: ComponentDecision,
    view: &ComponentView<'_>,
    attempt: u32,
    ending: &ending::Ending<'_>,
    live: bool,
    limits: &AttemptLimits,
    now: Timestamp,
) -> ComponentDecision {
    let spent = attempt >= limits.attempts;
    let mut causes = Vec::new();
    let mut asked = false;
    for target in &view.open {
        match ending.report.and_then(|report| find(report, target)) {
            Some(answer) if matches!(answer.outcome, Outcome::Succeeded | Outcome::Failed) => {
                decision.settled.push(answer.clone());
            }
            Some(answer) if answer.outcome == Outcome::Cancelled => {
                let error = if answer.error.is_empty() { "cancelled".to_owned() } else { answer.error.clone() };
                decision.settled.push(TargetReport { outcome: Outcome::Failed, error, ..answer.clone() });
            }
            Some(answer) if spent => {
                let error = format!("{} (after {attempt} attempts)", answer.error);
                decision.settled.push(TargetReport { outcome: Outcome::Failed, error, ..answer.clone() });
            }
            None if spent => {
                decision.unanswered.push(target.clone());
                let error = format!("{} (after {attempt} attempts)", ending.cause);
                decision.settled.push(TargetReport::failed(target, error));
            }
            Some(answer) => {
                asked = true;
                causes.push(answer.error.clone());
            }
            None => {
                asked |= ending.report.is_some();
                causes.push(ending.cause.clone());
            }
        }
    }
    causes.sort();
    causes.dedup();
    let component = view.component;
    if causes.is_empty() {
        return decision.because("Answered", format!("component {component} has ended in attempt {attempt}"));
    }
    let cause = causes.join("; ");
    let due = match ending.at {
        Some(at) if asked => {
            let delay = limits.delay.saturating_mul(i32::try_from(attempt).unwrap_or(i32::MAX));
            at.saturating_add(delay).unwrap_or(now)
        }
        _ => now,
    };
    if live {
        // Never two live Jobs of one component (I4): the one that reported its end still has to exit.
        return decision.because("Ending", format!("attempt {attempt} of component {component} ends: {cause}"));
    }
    if due > now {
        decision.look_again = Some(due);
        return decision.because("Retrying", format!("attempt {} of component {component} follows: {cause}", attempt + 1));
    }
    decision.start = Some(attempt + 1);
    decision.because("Retrying", format!("attempt {} of component {component} begins: {cause}", attempt + 1))
}

fn find<'a>(report: &'a Report, target: &str) -> Option<&'a TargetReport> {
    report.targets.iter().find(|answer| answer.id == target)
}

#[cfg(test)]
mod tests;
