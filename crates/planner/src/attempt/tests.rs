#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rstest::rstest;

use super::*;
use crate::build::Work;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_760_000_000 + seconds).unwrap()
}

fn job(attempt: u32, state: JobState) -> JobView {
    JobView { state, ..fixtures::live_job("dump", attempt, Work::Backup, at(0)) }
}

fn ended(attempt: u32, reason: &str, report: Option<Report>) -> JobView {
    let mut job = job(attempt, JobState::Ended);
    job.pod.as_mut().unwrap().ended = Some(ContainerEnd { exit_code: 137, reason: reason.to_owned(), report, at: Some(at(50)) });
    job
}

fn report(outcome: Outcome) -> Report {
    let target = TargetReport { outcome, ..TargetReport::failed("repo", "the store does not answer") };
    Report { targets: vec![target], finished: Some(at(50)), ..Report::default() }
}

fn decided(begun: u32, jobs: &[JobView], streamed: Option<&(u32, Report)>, now: i64) -> ComponentDecision {
    let view =
        ComponentView { component: "dump", open: vec!["repo".to_owned()], begun, jobs: jobs.iter().collect(), report: streamed };
    decide(&view, &AttemptLimits::default(), at(now))
}

fn last_reason(decision: &ComponentDecision) -> &'static str {
    decision.reasons.last().unwrap().reason
}

#[test]
fn a_component_that_nobody_tried_begins() {
    let decision = decided(0, &[], None, 0);
    assert_eq!((decision.start, last_reason(&decision)), (Some(1), "Begin"));
}

/// Architecture §4.4: endings of the infrastructure are tried again.
#[rstest]
#[case(ended(1, "OOMKilled", None), "ran out of memory")]
#[case(ended(1, "Error", None), "was killed or crashed (exit code 137)")]
#[case(JobView { pod: None, ..job(1, JobState::Ended) }, "was deleted")]
#[case(JobView { pod: None, failure: Some("DeadlineExceeded".to_owned()), ..job(1, JobState::Ended) }, "DeadlineExceeded")]
fn a_death_is_followed_by_another_attempt(#[case] job: JobView, #[case] cause: &str) {
    let decision = decided(1, &[job], None, 60);
    assert_eq!(decision.start, Some(2));
    assert!(decision.reasons[0].message.contains(cause), "{:?}", decision.reasons);
}

#[test]
fn a_lost_node_does_not_hold_the_next_attempt() {
    let mut lost = job(1, JobState::Live);
    lost.pod.as_mut().unwrap().lost = Some("node-a is unreachable".to_owned());
    let decision = decided(1, &[lost], None, 60);
    assert_eq!(decision.start, Some(2));
}

/// A Job that somebody deleted counts as an attempt: it is not made anew under its own number, because its pod may
/// live on (B1, C3).
#[test]
fn a_deleted_job_counts() {
    assert_eq!(decided(2, &[], None, 60).start, Some(3));
    let spent = decided(3, &[], None, 60);
    assert_eq!(spent.start, None);
    assert_eq!(spent.unanswered, ["repo"]);
    assert_eq!(spent.settled[0].error, "its Job was deleted (after 3 attempts)");
}

/// Architecture §4.4: never after an answer.
#[rstest]
#[case(Outcome::Succeeded, Outcome::Succeeded)]
#[case(Outcome::Failed, Outcome::Failed)]
#[case(Outcome::Cancelled, Outcome::Failed)]
fn an_answer_is_final(#[case] outcome: Outcome, #[case] settled: Outcome) {
    for (jobs, streamed) in [
        (vec![ended(1, "Completed", Some(report(outcome)))], None),
        (vec![job(1, JobState::Live)], Some((1, report(outcome)))),
        (vec![], Some((1, report(outcome)))),
    ] {
        let decision = decided(1, &jobs, streamed.as_ref(), 60);
        assert_eq!(decision.start, None);
        assert_eq!(decision.settled[0].outcome, settled);
        assert!(decision.unanswered.is_empty());
    }
}

/// What the mover calls worth another try is tried again, after a while, and not for ever.
#[test]
fn a_passing_cause_is_tried_again() {
    let first = [ended(1, "Error", Some(report(Outcome::Retryable)))];
    let early = decided(1, &first, None, 55);
    assert_eq!((early.start, early.look_again), (None, Some(at(60))));
    assert_eq!(decided(1, &first, None, 60).start, Some(2));

    let last = [ended(3, "Error", Some(report(Outcome::Retryable)))];
    let spent = decided(3, &last, None, 600);
    assert_eq!(spent.start, None);
    assert!(spent.unanswered.is_empty());
    assert_eq!(spent.settled[0].error, "the store does not answer (after 3 attempts)");
}

/// I4: never two live Jobs of one component.
#[test]
fn the_next_attempt_waits_for_the_exit() {
    let streamed = (1, report(Outcome::Retryable));
    let decision = decided(1, &[job(1, JobState::Live)], Some(&streamed), 600);
    assert_eq!((decision.start, last_reason(&decision)), (None, "Ending"));
    let deleting = decided(1, &[job(1, JobState::Deleting(at(1)))], None, 600);
    assert_eq!(deleting.start, None);
    // An older Job that still ends holds the next attempt too.
    let decision = decided(2, &[job(1, JobState::Deleting(at(1))), ended(2, "Error", None)], None, 600);
    assert_eq!(decision.start, None);
}

/// A report of an attempt that was fenced off says nothing about the present one.
#[test]
fn an_older_report_is_not_heard() {
    let streamed = (1, report(Outcome::Succeeded));
    let decision = decided(2, &[job(2, JobState::Live)], Some(&streamed), 10);
    assert!(decision.settled.is_empty());
    assert_eq!(last_reason(&decision), "Running");
}

/// C6: ten minutes of waiting raise the condition, with the scheduler's or API server's words.
#[test]
fn a_pod_that_waits_too_long_is_noticed() {
    let mut waiting = job(1, JobState::Live);
    let pod = waiting.pod.as_mut().unwrap();
    pod.started = None;
    pod.waiting = Some("0/2 nodes are available".to_owned());
    let early = decided(1, &[waiting.clone()], None, 599);
    assert_eq!((early.pending, early.look_again), (None, Some(at(600))));
    let late = decided(1, &[waiting], None, 600);
    assert_eq!(late.pending.as_deref(), Some("pod dump-1-pod waits: 0/2 nodes are available"));

    let refused = JobView { pod: None, refusal: Some("violates PodSecurity".to_owned()), ..job(1, JobState::Live) };
    let decision = decided(1, &[refused], None, 5);
    assert_eq!(last_reason(&decision), "PodRefused");
}

/// C6: why a Job gets no pod stands in an event, of which nobody tells us: it is asked as soon as the pod is missed, and again.
#[test]
fn a_pod_that_does_not_come_is_asked_for() {
    let missed = [JobView { pod: None, ..job(1, JobState::Live) }];
    let looks = [0, 4, 5, 20, 590, 599, 700].map(|second| decided(1, &missed, None, second).look_again);
    assert_eq!(looks, [5, 5, 20, 35, 600, 600, 715].map(|second| Some(at(second))));
}

#[test]
fn giving_up_keeps_the_answers_there_are() {
    let jobs = [ended(1, "Completed", Some(report(Outcome::Succeeded)))];
    let view = ComponentView {
        component: "dump",
        open: vec!["repo".to_owned(), "other".to_owned()],
        begun: 1,
        jobs: jobs.iter().collect(),
        report: None,
    };
    let reports = give_up(&view, "deadline exceeded");
    assert_eq!(reports[0].outcome, Outcome::Succeeded);
    assert_eq!((reports[1].outcome, reports[1].error.as_str()), (Outcome::Failed, "deadline exceeded"));
}
