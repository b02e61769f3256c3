//! What a session tells of damage that its movers found while they did what they were to do.

use crd_types::{BackupSessionPhase, RetentionApplyPhase, SnapshotPhase, conditions};

use super::world::{World, reported};
use crate::{
    attempt::{FileFindings, Outcome, Report},
    session::Removal,
};

const COMPONENT_PATH: &str = "repository/v1/nightly/dump";
const DAMAGE: &str = "the repository is damaged, 1 objects: data/ab/abcd: it is gone";

fn report_with_damage(target: &str) -> Report {
    let mut report = reported(&[target], Outcome::Succeeded);
    report.targets[0].error = DAMAGE.to_owned();
    report.targets[0].integrity = Some(false);
    report
}

fn retained(removed: &[&str], mut report: Report) -> World {
    let mut world = World::new();
    let data = vec![(COMPONENT_PATH.to_owned(), "aa".to_owned())];
    world.removals = vec![Removal { snapshot: "first".to_owned(), data }];
    world.settle();
    world.finish_job(1, report_with_damage("repo"));
    world.settle();
    world.upload();
    world.settle();
    report.targets[0].removed = removed.iter().map(|id| (*id).to_owned()).collect();
    world.finish_retention(report);
    world.settle();
    world
}

/// ADR 0007: the Snapshot says which packs are damaged, beside what became of the files.
#[test]
fn a_snapshot_names_damage_though_it_succeeded() {
    let mut world = World::new();
    world.settle();
    let mut report = report_with_damage("repo");
    report.targets[0].vanished = FileFindings { named: Vec::new(), count: 1 };
    world.finish_job(1, report);
    world.settle();
    let snapshot = world.snapshot("repo");
    let component = &snapshot.components["dump"];
    assert_eq!((component.phase, component.integrity), (Some(SnapshotPhase::Succeeded), Some(false)));
    assert_eq!(component.error, Some(format!("{DAMAGE}; 1 file vanished before being read")));
}

#[test]
fn retention_names_packs_that_it_spared_and_has_not_failed() {
    let world = retained(&["aa"], report_with_damage(&format!("repo/{COMPONENT_PATH}")));
    assert_eq!(world.phase(), BackupSessionPhase::Succeeded);
    assert_eq!(world.removed, ["first"]);
    let applied = &world.status().retention_policy[0];
    assert_eq!((applied.phase, applied.error.as_deref()), (Some(RetentionApplyPhase::Applied), Some(DAMAGE)));
}

/// What is only told is not taken for the cause of the end.
#[test]
fn damage_is_not_why_a_session_failed() {
    let world = retained(&[], reported(&[format!("repo/{COMPONENT_PATH}").as_str()], Outcome::Failed));
    assert_eq!(world.phase(), BackupSessionPhase::Failed);
    let told = world.message(conditions::PROGRESSING);
    assert!(told.contains("retention failed in Repository repo") && !told.contains(DAMAGE), "{told}");
}
