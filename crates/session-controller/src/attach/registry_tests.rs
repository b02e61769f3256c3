#![allow(clippy::unwrap_used)]

use planner::attempt::{Outcome, TargetReport};

use super::*;
use crate::test_support::claim_of;

fn claim(attempt: u32) -> Claim {
    claim_of(SessionKind::Backup, "web-1", "uid", "dump", attempt)
}

fn registry() -> Registry {
    Registry::new(Duration::ZERO)
}

fn report(outcome: Outcome) -> Report {
    let target = TargetReport { outcome, ..TargetReport::failed("web-repo", "") };
    Report { targets: vec![target], ..Report::default() }
}

fn heard(path: &str, figures: Transfer) -> Heard<'_> {
    Heard { target: "web-repo", path, figures, waits_for: None }
}

fn figures(bytes_done: u64) -> Transfer {
    Transfer { bytes_done, bytes_total: 100, ..Transfer::default() }
}

fn told(receiver: &mut mpsc::UnboundedReceiver<Command>) -> Vec<Command> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// Architecture §5: a mover is acknowledged when, and only when, its outcome has been written down.
#[test]
fn an_outcome_is_acknowledged_after_it_is_recorded() {
    let registry = registry();
    let (id, mut commands) = registry.attach(&claim(1));
    registry.note_outcome(&claim(1), id, report(Outcome::Succeeded));
    assert_eq!(told(&mut commands), []);
    let reports = registry.reports("uid");
    assert_eq!(reports["dump"], (1, report(Outcome::Succeeded)));
    registry.recorded("uid", &reports);
    assert_eq!(told(&mut commands), [Command::Ack]);
    // The stream breaks before the mover has read it: it dials again, says it again, and is told at once.
    let (again, mut commands) = registry.attach(&claim(1));
    registry.note_outcome(&claim(1), again, report(Outcome::Succeeded));
    assert_eq!(told(&mut commands), [Command::Ack]);
}

/// What a mover reports while a pass is under way is not acknowledged by that pass.
#[test]
fn an_outcome_that_came_later_is_not_taken_for_recorded() {
    let registry = registry();
    let (id, mut commands) = registry.attach(&claim(1));
    let before = registry.reports("uid");
    registry.note_outcome(&claim(1), id, report(Outcome::Retryable));
    registry.recorded("uid", &before);
    assert_eq!(told(&mut commands), []);
}

/// Architecture §4.4: a later attempt fences an earlier one off.
#[test]
fn a_later_attempt_takes_over() {
    let registry = registry();
    let (first, mut told_first) = registry.attach(&claim(1));
    registry.note_progress(&claim(1), first, heard("/data", figures(50)), Timestamp::UNIX_EPOCH);
    let (second, mut told_second) = registry.attach(&claim(2));
    assert_eq!(told(&mut told_first), [Command::Fenced(2)]);
    assert_eq!(registry.latest_attempt("uid", "dump"), 2);
    assert_eq!(registry.progress("uid"), [], "figures of the earlier attempt are not its own");
    registry.note_outcome(&claim(1), first, report(Outcome::Succeeded));
    assert!(registry.reports("uid").is_empty(), "nothing that the earlier one says counts any more");
    registry.detach(&claim(1), first);
    assert!(registry.is_attached("uid", "dump"));
    registry.note_outcome(&claim(2), second, report(Outcome::Failed));
    assert_eq!(registry.reports("uid")["dump"].0, 2);
    assert_eq!(told(&mut told_second), []);
}

/// A mover that dials again replaces its own stream and keeps what it said; it is not told to stop.
#[test]
fn a_second_stream_of_one_mover_takes_over_quietly() {
    let registry = registry();
    let (first, mut told_first) = registry.attach(&claim(1));
    registry.note_progress(&claim(1), first, heard("/data", figures(50)), Timestamp::UNIX_EPOCH);
    let (second, _told_second) = registry.attach(&claim(1));
    assert_eq!(told(&mut told_first), [Command::Replaced]);
    assert_eq!(registry.progress("uid").len(), 1);
    registry.detach(&claim(1), first);
    assert!(registry.is_attached("uid", "dump"));
    registry.detach(&claim(1), second);
    assert!(!registry.is_attached("uid", "dump"));
}

#[test]
fn only_movement_counts_as_progress() {
    let registry = registry();
    let at = |second| Timestamp::from_second(second).unwrap();
    let (id, _commands) = registry.attach(&claim(1));
    registry.note_progress(&claim(1), id, heard("/data", figures(10)), at(1));
    registry.note_progress(&claim(1), id, heard("/data", figures(10)), at(2));
    assert_eq!(registry.last_progress("uid"), Some(at(1)));
    registry.note_progress(&claim(1), id, heard("/logs", figures(1)), at(3));
    registry.note_progress(&claim(1), id, heard("/data", figures(20)), at(4));
    assert_eq!(registry.last_progress("uid"), Some(at(4)));
    let progress = registry.progress("uid");
    assert_eq!(progress[0].paths, [("/data".to_owned(), figures(20)), ("/logs".to_owned(), figures(1))]);
    // A new leader has heard nothing; no session stood still because of that.
    assert_eq!(registry.last_progress("another"), None);
    registry.open();
    assert!(registry.is_open() && registry.last_progress("another").is_some());
}

/// Cancel reaches the movers of the Jobs that are meant, also one that attaches later.
#[test]
fn cancel_is_for_jobs() {
    let registry = registry();
    let (_, mut first) = registry.attach(&claim(1));
    let retention = Claim { component: "retention".to_owned(), job: "job-r".to_owned(), ..claim(1) };
    let (_, mut other) = registry.attach(&retention);
    registry.cancel_jobs("uid", &["job-1".to_owned(), "job-2".to_owned()], "deadline exceeded");
    let cancel = Command::Cancel("deadline exceeded".to_owned());
    assert_eq!(told(&mut first), std::slice::from_ref(&cancel));
    assert_eq!(told(&mut other), []);
    let (_, mut late) = registry.attach(&claim(2));
    assert_eq!(told(&mut late), [cancel]);
}

/// Architecture §5, `UpdateLimits`: a mover is told limits when, and only when, they are not the ones it has.
#[test]
fn movers_are_told_limits_that_they_do_not_have() {
    let registry = registry();
    let limits = |upload| Bandwidth { upload, download: 0 };
    assert!(!registry.limit("uid", limits(5), &[]), "nobody is attached");
    let (id, mut first) = registry.attach(&claim(1));
    registry.assigned(&claim(1), id, limits(5));
    registry.limit("uid", limits(5), &[]);
    assert_eq!(told(&mut first), []);
    registry.limit("uid", limits(7), &[]);
    registry.limit("uid", limits(7), &[]);
    assert_eq!(told(&mut first), [Command::Limits(limits(7))]);
    // Its assignment was made before the change and came after it.
    let (id, mut again) = registry.attach(&claim(1));
    registry.assigned(&claim(1), id, limits(5));
    registry.limit("uid", limits(7), &[]);
    assert_eq!(told(&mut again), [Command::Limits(limits(7))]);
    registry.limit("uid", limits(0), &[]);
    assert_eq!(told(&mut again), [Command::Limits(limits(0))]);
}

/// What is wrong with an annotation is news once, not at every look.
#[test]
fn a_wrong_limit_is_news_once() {
    let registry = registry();
    let _attached = registry.attach(&claim(1));
    let wrong = |message: &str| [Reason::new("bandwidth", "LimitIgnored", message)];
    assert!(registry.limit("uid", Bandwidth::default(), &wrong("one")));
    assert!(!registry.limit("uid", Bandwidth::default(), &wrong("one")));
    assert!(registry.limit("uid", Bandwidth::default(), &wrong("two")));
    assert!(!registry.limit("uid", Bandwidth::default(), &[]));
    assert!(registry.limit("uid", Bandwidth::default(), &wrong("two")));
}

#[test]
fn a_forgotten_session_ends_its_streams() {
    let registry = registry();
    let (_, mut commands) = registry.attach(&claim(1));
    registry.forget("uid");
    assert!(matches!(commands.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
    assert!(registry.reports("uid").is_empty());
}
