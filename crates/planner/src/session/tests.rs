#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damage;
mod properties;
mod waits;
mod world;

use crd_types::{BackupSessionPhase, RetentionApplyPhase, SnapshotPhase, conditions};
use rstest::rstest;
use world::{World, made, reported};

use super::*;
use crate::attempt::{FileFindings, JobState, Outcome, Report};

/// Specification §2.4, the whole of it: the conditions of a finished session in their order, and its figures.
#[test]
fn a_backup_that_goes_well() {
    let mut world = World::new();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Running);
    assert_eq!(world.jobs.len(), 1);
    assert_eq!(world.snapshot("repo").components["dump"].path.as_deref(), Some("repository/v1/nightly/dump"));
    assert_eq!(world.snapshot("repo").components["dump"].phase, Some(SnapshotPhase::Pending));

    world.advance(60);
    world.finish_job(1, reported(&["repo"], Outcome::Succeeded));
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Running, "its metadata is not in the bucket yet");
    assert_eq!(world.reason(), "UploadingMetadata");
    assert_eq!(world.snapshot("repo").components["dump"].phase, Some(SnapshotPhase::Succeeded));

    world.upload();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Succeeded);
    let status = world.status();
    let order: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(
        order,
        [
            "orlop.dev/Progressing",
            "SnapshotsEnsured",
            "BackupExecutorEnsured",
            "RetentionPolicyExecutorEnsured",
            "SessionHistoryCleaned",
            "MetricsPushed"
        ]
    );
    assert_eq!(status.duration.as_deref(), Some("1m0s"));
    assert_eq!(status.total_snapshots, Some(1));
    assert_eq!(status.retention_policy[0].phase, Some(RetentionApplyPhase::Applied));
    let snapshot = world.snapshot("repo");
    assert_eq!(snapshot.phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(snapshot.size.as_deref(), Some("2.000 KiB"));
    assert_eq!(snapshot.integrity, Some(true));
    let transfer = conditions::find(&snapshot.conditions, conditions::TRANSFER).unwrap();
    assert_eq!(transfer.message.as_deref(), Some("3 files, 100 bytes processed, 0 bytes read, 7 bytes added"));
    assert_eq!(world.jobs.len(), 1);
}

/// I10: a session that has ended asks for nothing and changes nothing, whatever is seen later.
#[test]
fn an_ended_session_is_left_alone() {
    let mut world = World::new();
    world.run_to_end(Outcome::Succeeded);
    let ended = world.session.clone();
    world.advance(999_999);
    world.configuration = None;
    world.jobs.clear();
    let plan = world.plan();
    assert_eq!((plan.stage, plan.actions.len(), plan.look_again), (Stage::Complete, 0, None));
    assert_eq!(plan.status, ended.status.unwrap());
}

/// Specification §2.4 step 1 and I4: what makes a session Skipped, and the reason it gives.
#[rstest]
#[case(|world: &mut World| world.configuration = None, "InvokerMissing")]
#[case(|world: &mut World| world.configuration.as_mut().unwrap().spec.paused = Some(true), "InvokerPaused")]
#[case(|world: &mut World| { world.configuration.as_mut().unwrap().spec.sessions.clear(); }, "SessionUnknown")]
#[case(|world: &mut World| world.siblings.push(world::sibling("older", -60, BackupSessionPhase::Pending, false)), "Overlap")]
#[case(|world: &mut World| world.siblings.push(world::sibling("younger", 60, BackupSessionPhase::Running, true)), "Overlap")]
#[case(|world: &mut World| { world.session.spec.invoker.as_mut().unwrap().kind = "BackupBatch".to_owned(); }, "InvokerNotSupported")]
fn sessions_are_skipped(#[case] change: fn(&mut World), #[case] reason: &str) {
    let mut world = World::new();
    change(&mut world);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Skipped);
    assert_eq!(world.reason(), reason);
    assert!(world.snapshots.is_empty());
    assert!(world.jobs.is_empty());
}

#[test]
fn a_younger_session_that_has_not_begun_is_no_obstacle() {
    let mut world = World::new();
    world.siblings.push(world::sibling("younger", 60, BackupSessionPhase::Pending, false));
    world.siblings.push(world::sibling("old", -60, BackupSessionPhase::Succeeded, true));
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Running);
}

/// A configuration's status may be about to be written: it is looked at again before the session is skipped.
#[test]
fn a_configuration_that_is_not_ready_gets_a_moment() {
    let mut world = World::new();
    world.configuration.as_mut().unwrap().status = None;
    world.settle();
    assert_eq!((world.phase(), world.reason()), (BackupSessionPhase::Pending, "InvokerNotReady"));
    world.advance(10);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Skipped);
}

/// Architecture §3: backups of a target are held while it is restored; limits hold sessions too, and both say so.
#[test]
fn a_session_waits_for_its_turn() {
    let mut world = World::new();
    world.restores.push("prod/back".to_owned());
    world.settle();
    assert_eq!((world.phase(), world.reason()), (BackupSessionPhase::Pending, "RestoreRunning"));
    world.restores.clear();
    world.admitted = false;
    world.settle();
    assert_eq!((world.phase(), world.reason()), (BackupSessionPhase::Pending, "Queued"));
    // Waiting is no standstill.
    world.advance(24 * 3600);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Pending);
    world.admitted = true;
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Running);
}

/// Something that is missing is waited for; something that cannot work is not.
#[test]
fn preparation_decides() {
    let mut waiting = World::new();
    let cause = Reason::new("prepare", "FunctionNotFound", "Function workload-backup does not exist");
    waiting.preparation = Preparation::Waiting(cause.clone());
    waiting.settle();
    assert_eq!((waiting.phase(), waiting.reason()), (BackupSessionPhase::Pending, "FunctionNotFound"));
    waiting.advance(299);
    waiting.settle();
    assert_eq!(waiting.phase(), BackupSessionPhase::Pending);
    waiting.advance(1);
    waiting.settle();
    assert_eq!(waiting.phase(), BackupSessionPhase::Failed);
    assert!(waiting.message(conditions::PROGRESSING).contains("workload-backup does not exist"));

    let mut refused = World::new();
    refused.preparation = Preparation::Refused(Reason::new("prepare", "PathNotMounted", "path /x lies in no volume"));
    refused.settle();
    assert_eq!(refused.phase(), BackupSessionPhase::Failed);
    assert_eq!(refused.message(conditions::BACKUP_EXECUTOR_ENSURED), "path /x lies in no volume");
    assert!(refused.snapshots.is_empty());
}

/// Hooks are accepted and kept, and said in one sentence to be unsupported.
#[test]
fn hooks_are_refused() {
    let mut world = World::new();
    let entry = &mut world.configuration.as_mut().unwrap().spec.sessions[0];
    entry.hooks = Some(serde_saphyr::from_str("{preBackup: [{name: quiesce}]}").unwrap());
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    assert!(world.message(conditions::BACKUP_EXECUTOR_ENSURED).starts_with("hooks are not supported yet"));
}

/// Architecture §4.1 and §4.4: a killed mover leaves its cause in `orlop.dev/Progressing`, and the next attempt finishes.
#[test]
fn a_killed_mover_is_followed() {
    let mut world = World::new();
    world.settle();
    world.kill_job(1);
    world.settle();
    assert_eq!(world.jobs.len(), 2);
    assert_eq!(begun(&world.session)["dump"], 2);
    assert_eq!(world.snapshot("repo").components["dump"].phase, Some(SnapshotPhase::Pending));
    assert!(!conditions::exists(&world.snapshot("repo").conditions, conditions::BACKUP_INCOMPLETE));
    world.finish_job(2, reported(&["repo"], Outcome::Succeeded));
    world.settle();
    world.upload();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Succeeded);
}

#[test]
fn three_deaths_end_a_session() {
    let mut world = World::new();
    for attempt in 1..=3 {
        world.settle();
        world.kill_job(attempt);
    }
    world.settle();
    assert!(conditions::is_true(&world.snapshot("repo").conditions, conditions::BACKUP_INCOMPLETE));
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    assert_eq!(world.jobs.len(), 3);
}

/// Architecture §3 step 15: with several Repositories each succeeds or fails alone, and only what is open is tried again.
#[test]
fn repositories_fail_alone() {
    let mut world = World::with_repositories(&["near", "far"]);
    world.settle();
    let mut report = reported(&["near"], Outcome::Succeeded);
    report.targets.extend(reported(&["far"], Outcome::Retryable).targets);
    world.finish_job(1, report);
    world.settle();
    assert_eq!(world.snapshot("near").components["dump"].phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(world.snapshot("far").components["dump"].phase, Some(SnapshotPhase::Pending));
    world.advance(10);
    world.settle();
    assert_eq!(world.jobs.len(), 2);
    world.finish_job(2, reported(&["far"], Outcome::Failed));
    world.settle();
    world.upload();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    assert_eq!(world.snapshot("near").phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(world.snapshot("far").phase, Some(SnapshotPhase::Failed));
    assert!(world.message(conditions::PROGRESSING).contains("component dump of Snapshot far-"));
}

/// I2: a mover that claims success without a snapshot is not believed.
#[test]
fn success_needs_evidence() {
    let mut world = World::new();
    world.settle();
    let mut report = reported(&["repo"], Outcome::Succeeded);
    report.targets[0].snapshots.clear();
    world.finish_job(1, report);
    world.settle();
    let component = &world.snapshot("repo").components["dump"];
    assert_eq!(component.phase, Some(SnapshotPhase::Failed));
    assert_eq!(component.error.as_deref(), Some("the mover reported success without a snapshot"));
}

/// A component whose files could not all be read fails, keeps its snapshot, and names the files.
#[test]
fn unreadable_files_are_named() {
    let mut world = World::new();
    world.settle();
    let mut report = reported(&["repo"], Outcome::Failed);
    report.targets[0].error = "2 files could not be read".to_owned();
    report.targets[0].snapshots = vec![made()];
    report.targets[0].file_errors = vec![("/source/data/a".to_owned(), "permission denied".to_owned())];
    world.finish_job(1, report);
    world.settle();
    let component = &world.snapshot("repo").components["dump"];
    assert_eq!(component.error.as_deref(), Some("2 files could not be read [/source/data/a: permission denied]"));
    assert_eq!(component.restic_stats.len(), 1);
}

/// Files that changed or vanished are told, also by a component that succeeded, and so are unreadable ones that the user accepts.
#[test]
fn files_that_were_not_as_expected_are_told() {
    let mut world = World::new();
    world.settle();
    let mut report = reported(&["repo"], Outcome::Succeeded);
    report.targets[0].changed = FileFindings { named: vec!["/source/data/log".to_owned()], count: 3 };
    report.targets[0].vanished = FileFindings { named: Vec::new(), count: 1 };
    report.targets[0].file_errors = vec![("/source/data/a".to_owned(), "permission denied".to_owned())];
    report.targets[0].file_error_count = 1;
    world.finish_job(1, report);
    world.settle();
    let component = &world.snapshot("repo").components["dump"];
    assert_eq!(component.phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(
        component.error.as_deref(),
        Some(
            "1 file could not be read [/source/data/a: permission denied]; 3 files changed while being read [/source/data/log]; \
             1 file vanished before being read"
        )
    );
}

/// I5 and architecture §4.3: the ways in which time runs out.
#[rstest]
#[case(Some("10m"), 600, "deadline exceeded: the session was given 10m and has not ended")]
#[case(None, 1800, "deadline exceeded: no progress for 30 minutes")]
fn time_runs_out(#[case] timeout: Option<&str>, #[case] seconds: i64, #[case] why: &str) {
    let mut world = World::new();
    world.session.spec.backup_timeout = timeout.map(str::to_owned);
    world.settle();
    world.advance(seconds - 1);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Running);
    world.advance(1);
    world.settle();
    assert!(matches!(world.jobs[0].state, JobState::Deleting(_)), "its mover is told to stop");
    assert_eq!(world.phase(), BackupSessionPhase::Running, "and waited for");
    world.end_pods();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    assert_eq!(world.snapshot("repo").components["dump"].error.as_deref(), Some(why));
    assert!(world.message(conditions::PROGRESSING).contains(why));
    assert!(world.jobs.iter().all(|job| !job.is_live()), "nothing is left running");
}

#[test]
fn a_mover_that_does_not_stop_is_not_waited_for_for_ever() {
    let mut world = World::new();
    world.session.spec.backup_timeout = Some("10m".to_owned());
    world.settle();
    world.advance(600);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Running);
    world.advance(45);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
}

#[test]
fn progress_keeps_a_session_alive() {
    let mut world = World::new();
    world.settle();
    for _ in 0..10 {
        world.advance(1700);
        world.last_progress = Some(world.now);
        world.settle();
    }
    assert_eq!(world.phase(), BackupSessionPhase::Running);
    world.advance(7 * 24 * 3600);
    world.last_progress = Some(world.now);
    world.settle();
    world.end_pods();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
}

/// Architecture §5: cancel is also an annotation. What the mover managed to finish counts.
#[test]
fn a_session_is_cancelled() {
    let mut world = World::with_repositories(&["near", "far"]);
    world.settle();
    world.cancel("by maintenance");
    world.settle();
    assert!(matches!(world.jobs[0].state, JobState::Deleting(_)));
    let mut report = reported(&["near"], Outcome::Succeeded);
    report.targets.extend(reported(&["far"], Outcome::Cancelled).targets);
    world.end_with(1, report);
    world.settle();
    assert_eq!(world.snapshot("near").components["dump"].phase, Some(SnapshotPhase::Succeeded));
    assert_eq!(world.snapshot("far").components["dump"].error.as_deref(), Some("cancelled: by maintenance"));
    assert_eq!(world.phase(), BackupSessionPhase::Failed);

    let mut early = World::new();
    early.cancel("true");
    early.settle();
    assert_eq!(early.phase(), BackupSessionPhase::Failed);
    assert!(early.snapshots.is_empty());
}

/// B15: a Job that the API server refuses is tried for five minutes, its cause in sight, and ends the session then.
#[test]
fn a_refused_job_ends_the_session_in_the_end() {
    let mut world = World::new();
    world.job_refusal = Some("exceeded quota".to_owned());
    world.settle();
    assert_eq!((world.phase(), world.reason()), (BackupSessionPhase::Pending, JOB_REFUSED));
    assert!(begun(&world.session).is_empty(), "no attempt is lost");
    world.advance(299);
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Pending);
    world.advance(1);
    world.settle();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    assert!(world.message(conditions::PROGRESSING).contains("exceeded quota"), "{}", world.message(conditions::PROGRESSING));
}

/// C6: a pod that waits for ten minutes raises the condition, which goes when it starts.
#[test]
fn a_waiting_pod_is_seen() {
    let mut world = World::new();
    world.settle();
    world.jobs[0].pod.as_mut().unwrap().started = None;
    world.jobs[0].pod.as_mut().unwrap().waiting = Some("image cannot be pulled".to_owned());
    world.advance(600);
    world.settle();
    assert!(conditions::is_true(&world.status().conditions, conditions::POD_PENDING_TOO_LONG));
    assert!(world.message(conditions::POD_PENDING_TOO_LONG).contains("image cannot be pulled"));
    world.jobs[0].pod.as_mut().unwrap().started = Some(world.now);
    world.settle();
    assert!(conditions::is_false(&world.status().conditions, conditions::POD_PENDING_TOO_LONG));
}

/// Specification §2.9 and I8: data first, objects after, and only what a mover says is gone.
#[test]
fn retention_removes_what_is_proven_gone() {
    let mut world = World::new();
    let removal = |snapshot: &str, id: &str| Removal {
        snapshot: snapshot.to_owned(),
        data: vec![("repository/v1/nightly/dump".to_owned(), id.to_owned())],
    };
    world.removals =
        vec![removal("first", "aa"), removal("second", "bb"), Removal { snapshot: "empty".to_owned(), data: vec![] }];
    world.run_to_retention();
    assert_eq!(world.removed, ["empty"], "without data there is nothing to wait for");
    assert_eq!(world.jobs.last().unwrap().work, Work::Retention);
    let mut report = reported(&["repo/repository/v1/nightly/dump"], Outcome::Succeeded);
    report.targets[0].removed = vec!["aa".to_owned()];
    world.finish_retention(report);
    world.settle();
    assert_eq!(world.removed, ["empty", "first"], "the second is not proven gone");
    assert_eq!(world.phase(), BackupSessionPhase::Succeeded);
}

#[test]
fn failed_retention_fails_the_session() {
    let mut world = World::new();
    world.removals =
        vec![Removal { snapshot: "first".to_owned(), data: vec![("repository/v1/nightly/dump".to_owned(), "aa".to_owned())] }];
    world.run_to_retention();
    world.finish_retention(reported(&["repo/repository/v1/nightly/dump"], Outcome::Failed));
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    assert_eq!(world.status().retention_policy[0].phase, Some(RetentionApplyPhase::FailedToApply));
    assert!(world.removed.is_empty());
}

#[test]
fn a_missing_policy_removes_nothing_and_fails_nothing() {
    let mut world = World::new();
    world.verdict = Some(RetentionVerdict::NoPolicy("RetentionPolicy keep does not exist".to_owned()));
    world.run_to_end(Outcome::Succeeded);
    assert_eq!(world.phase(), BackupSessionPhase::Succeeded);
    assert_eq!(world.status().retention_policy[0].phase, Some(RetentionApplyPhase::Pending));
}

/// Specification §2.4 step 11: as many ended sessions as the limit, this one among them; one that waits for its retry
/// stays.
#[test]
fn history_is_trimmed() {
    let mut world = World::new();
    world.configuration.as_mut().unwrap().spec.sessions[0].session_history_limit = Some(2);
    for (name, age) in [("one", -10), ("two", -20), ("three", -30)] {
        world.siblings.push(world::sibling(name, age, BackupSessionPhase::Succeeded, true));
    }
    let mut retried = world::sibling("retry", -40, BackupSessionPhase::Failed, true);
    retried.retry_pending = true;
    world.siblings.push(retried);
    world.run_to_end(Outcome::Succeeded);
    assert_eq!(world.deleted_sessions, ["two", "three"]);
}

/// Specification §2.4 step 13.
#[test]
fn a_failed_session_says_when_it_is_tried_again() {
    let mut world = World::new();
    world.session.spec.retry_left = Some(1);
    let entry = &mut world.configuration.as_mut().unwrap().spec.sessions[0];
    entry.retry_config = Some(serde_saphyr::from_str("{maxRetry: 1, delay: 5m}").unwrap());
    world.run_to_end(Outcome::Failed);
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    let due = world.status().next_retry.unwrap().0;
    assert_eq!(due.duration_since(world.now).as_secs(), 300);
}

/// A Snapshot that somebody deletes under a running session ends it (B9).
#[test]
fn a_deleted_snapshot_fails_the_session() {
    let mut world = World::new();
    world.settle();
    world.snapshots.clear();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
}

/// C7: the stream's report is enough; the Job's end is not waited for.
#[test]
fn a_streamed_report_counts_at_once() {
    let mut world = World::new();
    world.settle();
    world.reports.insert("dump".to_owned(), (1, reported(&["repo"], Outcome::Succeeded)));
    world.settle();
    world.upload();
    world.settle();
    assert_eq!(world.phase(), BackupSessionPhase::Succeeded);
}

/// A mover that could not attach is infrastructure, and its own words are kept.
#[test]
fn a_mover_that_could_not_attach_is_tried_again() {
    let mut world = World::new();
    world.settle();
    let error = "orlop-session-controller-headless could not be reached".to_owned();
    world.finish_job(1, Report { error, finished: Some(world.now), ..Report::default() });
    world.advance(30);
    world.settle();
    assert_eq!(world.jobs.len(), 2);
    assert!(world.message(conditions::PROGRESSING).contains("could not be reached") || world.reason() == "Running");
}
