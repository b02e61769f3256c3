//! One test for each consequence of the specification's phase rules (1.4).
#![allow(clippy::unwrap_used)]

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;
use crate::{
    BackendReference, BackendStatus, ConditionStatus, ResticStats, RestoreComponent, RetentionPolicyApplyStatus, Session,
    SessionStatus, SnapshotStatusEntry,
};

fn condition(type_: &str, status: ConditionStatus) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: None,
        observed_generation: None,
        reason: None,
        severity: None,
        status,
        type_: type_.to_owned(),
    }
}

fn yes(type_: &str) -> Condition {
    condition(type_, ConditionStatus::True)
}

fn no(type_: &str) -> Condition {
    condition(type_, ConditionStatus::False)
}

fn snapshot_of(phases: &[ComponentPhase], total: i32, conditions: Vec<Condition>) -> SnapshotStatus {
    let component = |phase: &ComponentPhase| SnapshotComponent { phase: Some(*phase), ..Default::default() };
    SnapshotStatus {
        components: phases.iter().enumerate().map(|(index, phase)| (format!("dump-pod-{index}"), component(phase))).collect(),
        total_components: Some(total),
        conditions,
        ..Default::default()
    }
}

fn session_of(phases: &[SnapshotPhase], conditions: Vec<Condition>) -> BackupSessionStatus {
    BackupSessionStatus {
        snapshots: phases.iter().map(|phase| SnapshotStatusEntry { phase: Some(*phase), ..Default::default() }).collect(),
        total_snapshots: (!phases.is_empty()).then(|| i32::try_from(phases.len()).unwrap()),
        conditions,
        ..Default::default()
    }
}

fn restore_of(phases: &[RestorePhase], total: i32, conditions: Vec<Condition>) -> RestoreSessionStatus {
    let component = |phase: &RestorePhase| RestoreComponent { phase: Some(*phase), ..Default::default() };
    RestoreSessionStatus {
        components: phases.iter().enumerate().map(|(index, phase)| (format!("dump-pod-{index}"), component(phase))).collect(),
        total_components: Some(total),
        conditions,
        ..Default::default()
    }
}

#[test]
fn a_storage_is_ready_when_initialised_and_its_secret_is_there_or_not_needed() {
    use conditions::{BACKEND_INITIALIZED, BACKEND_SECRET_FOUND};
    assert_eq!(backup_storage(&[]), BackupStoragePhase::NotReady);
    assert_eq!(backup_storage(&[yes(BACKEND_INITIALIZED)]), BackupStoragePhase::Ready);
    assert_eq!(backup_storage(&[yes(BACKEND_INITIALIZED), yes(BACKEND_SECRET_FOUND)]), BackupStoragePhase::Ready);
    assert_eq!(backup_storage(&[yes(BACKEND_INITIALIZED), no(BACKEND_SECRET_FOUND)]), BackupStoragePhase::NotReady);
    assert_eq!(backup_storage(&[no(BACKEND_INITIALIZED), yes(BACKEND_SECRET_FOUND)]), BackupStoragePhase::NotReady);
}

#[test]
fn a_repository_is_ready_when_initialised() {
    assert_eq!(repository(&[]), RepositoryPhase::NotReady);
    assert_eq!(repository(&[no(conditions::REPOSITORY_INITIALIZED)]), RepositoryPhase::NotReady);
    assert_eq!(repository(&[yes(conditions::REPOSITORY_INITIALIZED)]), RepositoryPhase::Ready);
}

#[test]
fn one_failed_component_is_enough_while_the_object_waits_for_its_mark() {
    use SnapshotPhase::{Failed, Running};
    let status = snapshot_of(&[Failed, Running], 2, vec![yes(conditions::RECENT_SNAPSHOT_LIST_UPDATED)]);
    assert_eq!(snapshot_components(&status), Failed);
    assert!(snapshot_components_completed(&status));
    assert_eq!(snapshot(&status), Running);
}

#[test]
fn a_snapshot_with_all_components_done_runs_until_its_metadata_is_uploaded() {
    use SnapshotPhase::{Failed, Pending, Running, Succeeded};
    assert_eq!(snapshot(&snapshot_of(&[], 2, vec![])), Pending);
    assert_eq!(snapshot(&snapshot_of(&[Succeeded, Succeeded], 2, vec![])), Running);
    let uploaded = || vec![yes(conditions::SNAPSHOT_METADATA_UPLOADED)];
    assert_eq!(snapshot(&snapshot_of(&[Succeeded, Succeeded], 2, uploaded())), Succeeded);
    assert_eq!(snapshot(&snapshot_of(&[Succeeded, Failed], 2, uploaded())), Failed);
    assert_eq!(snapshot(&snapshot_of(&[Succeeded], 2, uploaded())), Running);
    assert_eq!(snapshot(&snapshot_of(&[Succeeded], 1, vec![no(conditions::SNAPSHOT_METADATA_UPLOADED)])), Failed);
    assert_eq!(snapshot(&snapshot_of(&[Succeeded], 1, vec![no(conditions::RECENT_SNAPSHOT_LIST_UPDATED)])), Failed);
    assert_eq!(snapshot(&snapshot_of(&[Running], 1, vec![yes(conditions::BACKUP_INCOMPLETE)])), Failed);
}

#[test]
fn size_and_integrity_are_unknown_while_one_component_is() {
    let component = |size: Option<&str>, integrity| SnapshotComponent {
        size: size.map(str::to_owned),
        integrity,
        restic_stats: vec![ResticStats::default()],
        ..Default::default()
    };
    let status = |components: Vec<SnapshotComponent>| SnapshotStatus {
        components: components.into_iter().enumerate().map(|(index, component)| (index.to_string(), component)).collect(),
        ..Default::default()
    };
    let known = status(vec![component(Some("1.500 KiB"), Some(true)), component(Some("2.000 KiB"), Some(true))]);
    assert_eq!(snapshot_size(&known).unwrap(), "3.500 KiB");
    assert_eq!(snapshot_integrity(&known), Some(true));
    let half = status(vec![component(Some("1.500 KiB"), Some(false)), component(None, None)]);
    assert_eq!(snapshot_size(&half), None);
    assert_eq!(snapshot_integrity(&half), None);
    let unsound = status(vec![component(Some("1 B"), Some(false)), component(Some("1 B"), Some(true))]);
    assert_eq!(snapshot_integrity(&unsound), Some(false));
    assert_eq!(snapshot_integrity(&SnapshotStatus::default()), None);
}

#[test]
fn a_configuration_needs_target_backends_and_schedules() {
    let spec = BackupConfigurationSpec {
        backends: vec![BackendReference::default()],
        sessions: vec![Session::default()],
        ..Default::default()
    };
    let ready = BackupConfigurationStatus {
        target_found: Some(true),
        backends: vec![BackendStatus { ready: Some(true), ..Default::default() }],
        sessions: vec![SessionStatus { conditions: vec![yes(conditions::SCHEDULER_ENSURED)], ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(backup_configuration(&spec, &ready), BackupConfigurationPhase::Ready);
    let without_target = BackupConfigurationStatus { target_found: Some(false), ..ready.clone() };
    assert_eq!(backup_configuration(&spec, &without_target), BackupConfigurationPhase::NotReady);
    let without_session = BackupConfigurationStatus { sessions: vec![], ..ready.clone() };
    assert_eq!(backup_configuration(&spec, &without_session), BackupConfigurationPhase::NotReady);
    let without_backend = BackupConfigurationStatus { backends: vec![BackendStatus::default()], ..ready.clone() };
    assert_eq!(backup_configuration(&spec, &without_backend), BackupConfigurationPhase::NotReady);
    let invalid = BackupConfigurationStatus { conditions: vec![no(conditions::VALIDATION_PASSED)], ..ready };
    assert_eq!(backup_configuration(&spec, &invalid), BackupConfigurationPhase::Invalid);
}

#[test]
fn metrics_pushed_is_the_mark_of_a_finished_session() {
    use SnapshotPhase::{Failed, Pending, Running, Succeeded};
    assert_eq!(backup_session(&session_of(&[Succeeded], vec![])), BackupSessionPhase::Running);
    let finished = || vec![yes(conditions::METRICS_PUSHED)];
    assert_eq!(backup_session(&session_of(&[Succeeded], finished())), BackupSessionPhase::Succeeded);
    assert_eq!(backup_session(&session_of(&[Succeeded, Failed], finished())), BackupSessionPhase::Failed);
    assert_eq!(backup_session(&session_of(&[Succeeded, Running], vec![])), BackupSessionPhase::Running);
    assert_eq!(backup_session(&session_of(&[Pending, Pending], vec![])), BackupSessionPhase::Pending);
    assert_eq!(backup_session(&session_of(&[Succeeded], vec![no(conditions::METRICS_PUSHED)])), BackupSessionPhase::Failed);
}

#[test]
fn a_failed_pre_hook_shows_only_after_the_final_step() {
    let hook = || no(conditions::PRE_BACKUP_HOOKS_EXECUTION_SUCCEEDED);
    assert_eq!(backup_session(&session_of(&[], vec![hook()])), BackupSessionPhase::Pending);
    assert_eq!(backup_session(&session_of(&[], vec![hook(), yes(conditions::METRICS_PUSHED)])), BackupSessionPhase::Failed);
}

#[test]
fn a_session_without_snapshots_is_pending_unless_finished_with_a_failure() {
    assert_eq!(backup_session(&session_of(&[], vec![])), BackupSessionPhase::Pending);
    assert_eq!(backup_session(&session_of(&[], vec![yes(conditions::METRICS_PUSHED)])), BackupSessionPhase::Pending);
    let failed = vec![no(conditions::SNAPSHOTS_ENSURED), yes(conditions::METRICS_PUSHED)];
    assert_eq!(backup_session(&session_of(&[], failed)), BackupSessionPhase::Failed);
}

#[test]
fn each_failed_step_fails_a_finished_session() {
    use SnapshotPhase::Succeeded;
    for step in [
        conditions::BACKUP_EXECUTOR_ENSURED,
        conditions::SNAPSHOTS_ENSURED,
        conditions::PRE_BACKUP_HOOKS_EXECUTION_SUCCEEDED,
        conditions::POST_BACKUP_HOOKS_EXECUTION_SUCCEEDED,
        conditions::SESSION_HISTORY_CLEANED,
    ] {
        let status = session_of(&[Succeeded], vec![no(step), yes(conditions::METRICS_PUSHED)]);
        assert_eq!(backup_session(&status), BackupSessionPhase::Failed, "{step}");
        let unfinished = session_of(&[Succeeded], vec![no(step)]);
        assert_eq!(backup_session(&unfinished), BackupSessionPhase::Running, "{step}");
    }
    let incomplete = vec![yes(conditions::SNAPSHOT_CLEANUP_INCOMPLETE), yes(conditions::METRICS_PUSHED)];
    assert_eq!(backup_session(&session_of(&[Succeeded], incomplete)), BackupSessionPhase::Failed);
    let mut retention = session_of(&[Succeeded], vec![yes(conditions::METRICS_PUSHED)]);
    retention.retention_policy =
        vec![RetentionPolicyApplyStatus { phase: Some(RetentionApplyPhase::FailedToApply), ..Default::default() }];
    assert_eq!(backup_session(&retention), BackupSessionPhase::Failed);
}

#[test]
fn skipped_is_completed_and_a_failed_last_step_wins_over_it() {
    let skipped = session_of(&[], vec![yes(conditions::BACKUP_SKIPPED)]);
    assert_eq!(backup_session(&skipped), BackupSessionPhase::Skipped);
    assert!(backup_session(&skipped).is_completed());
    let failed = session_of(&[], vec![yes(conditions::BACKUP_SKIPPED), no(conditions::METRICS_PUSHED)]);
    assert_eq!(backup_session(&failed), BackupSessionPhase::Failed);
}

#[test]
fn restore_components_that_cannot_tell_make_it_unknown_at_once() {
    use RestorePhase::{Failed, Pending, Running, Succeeded, Unknown};
    assert_eq!(restore_components(&restore_of(&[Succeeded, Unknown], 2, vec![])), Unknown);
    assert_eq!(restore_session(&restore_of(&[Succeeded, Unknown], 2, vec![])), Unknown);
    assert_eq!(restore_components(&restore_of(&[Failed, Unknown], 2, vec![])), Failed);
    assert_eq!(restore_components(&restore_of(&[Succeeded, Running], 2, vec![])), Running);
    assert_eq!(restore_session(&restore_of(&[], 0, vec![])), Pending);
}

#[test]
fn a_restore_is_decided_by_its_mark() {
    use RestorePhase::{Failed, Invalid, Running, Succeeded};
    let finished = || vec![yes(conditions::METRICS_PUSHED)];
    assert_eq!(restore_session(&restore_of(&[Succeeded], 1, vec![])), Running);
    assert_eq!(restore_session(&restore_of(&[Succeeded], 1, finished())), Succeeded);
    assert_eq!(restore_session(&restore_of(&[Failed, Running], 2, vec![])), Running);
    assert_eq!(restore_session(&restore_of(&[Failed], 1, finished())), Failed);
    assert_eq!(restore_session(&restore_of(&[Succeeded], 1, vec![no(conditions::METRICS_PUSHED)])), Failed);
    let incomplete = vec![yes(conditions::RESTORE_INCOMPLETE), yes(conditions::METRICS_PUSHED)];
    assert_eq!(restore_session(&restore_of(&[Running], 1, incomplete)), Failed);
    assert_eq!(restore_session(&restore_of(&[Running], 1, vec![no(conditions::VALIDATION_PASSED)])), Invalid);
    assert!(!Invalid.is_completed());
}

#[test]
fn a_verification_is_decided_by_its_last_step() {
    use conditions::{BACKUP_VERIFICATION_SKIPPED, BACKUP_VERIFIED, RESTORE_SUCCEEDED, VERIFICATION_SESSION_HISTORY_CLEANED};
    assert_eq!(verification_session(&[]), VerificationSessionPhase::Running);
    assert_eq!(verification_session(&[no(RESTORE_SUCCEEDED)]), VerificationSessionPhase::Running);
    assert_eq!(verification_session(&[no(VERIFICATION_SESSION_HISTORY_CLEANED)]), VerificationSessionPhase::Failed);
    assert_eq!(verification_session(&[yes(BACKUP_VERIFICATION_SKIPPED)]), VerificationSessionPhase::Skipped);
    let cleaned = || yes(VERIFICATION_SESSION_HISTORY_CLEANED);
    assert_eq!(verification_session(&[cleaned()]), VerificationSessionPhase::Succeeded);
    assert_eq!(verification_session(&[cleaned(), no(RESTORE_SUCCEEDED)]), VerificationSessionPhase::Failed);
    assert_eq!(verification_session(&[cleaned(), no(BACKUP_VERIFIED)]), VerificationSessionPhase::Failed);
}
