//! What an attempt died of, when its mover did not say how its targets ended.

use jiff::Timestamp;

use super::{JobView, Report};

/// The end of an attempt.
pub(super) struct Ending<'a> {
    /// What the mover said, if anything.
    pub report: Option<&'a Report>,
    /// The cause for targets of which it said nothing.
    pub cause: String,
    /// When it ended, if that is known.
    pub at: Option<Timestamp>,
}

/// Names the end of an attempt. A Job that is gone was deleted by somebody.
pub(super) fn classify<'a>(job: Option<&JobView>, report: Option<&'a Report>) -> Ending<'a> {
    let ended = job.and_then(|job| job.pod.as_ref()).and_then(|pod| pod.ended.as_ref());
    let at = report.and_then(|report| report.finished).or_else(|| ended.and_then(|ended| ended.at));
    let cause = match report {
        Some(report) if !report.error.is_empty() => report.error.clone(),
        Some(_) => "the mover ended without an answer".to_owned(),
        None => silent_cause(job),
    };
    Ending { report, cause, at }
}

fn silent_cause(job: Option<&JobView>) -> String {
    let Some(job) = job else { return "its Job was deleted".to_owned() };
    let name = &job.name;
    let Some(pod) = &job.pod else {
        return match &job.failure {
            Some(failure) => format!("Job {name} ended without a pod: {failure}"),
            None => format!("the pod of Job {name} was deleted"),
        };
    };
    if let Some(lost) = &pod.lost {
        return format!("pod {} was lost with its node: {lost}", pod.name);
    }
    if let Some(disrupted) = &pod.disrupted {
        return format!("pod {} was ended from outside: {disrupted}", pod.name);
    }
    match &pod.ended {
        Some(ended) if ended.reason == "OOMKilled" => {
            format!("the mover in pod {} ran out of memory: raise its limit in addon.jobTemplate.spec.resources", pod.name)
        }
        Some(ended) if ended.reason.is_empty() || ended.reason == "Error" => {
            format!("the mover in pod {} was killed or crashed (exit code {})", pod.name, ended.exit_code)
        }
        Some(ended) => {
            format!("the mover in pod {} ended without an answer: {} (exit code {})", pod.name, ended.reason, ended.exit_code)
        }
        None => match &job.failure {
            Some(failure) => format!("Job {name} was ended: {failure}"),
            None => format!("pod {} ended without a word", pod.name),
        },
    }
}
