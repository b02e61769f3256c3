//! What a session says while something outside keeps it from moving.

use crd_types::{ConditionStatus, conditions};

use super::world::{World, reported};
use crate::{
    attempt::Outcome,
    session::{TargetProgress, set_condition},
};

/// D1: a store that does not answer is told of while it lasts, and no longer.
#[test]
fn a_waiting_mover_is_told_of() {
    let mut world = World::new();
    world.settle();
    let mut progress = TargetProgress { component: "dump".into(), target: "repo".into(), paths: Vec::new(), waits_for: None };
    for (waits_for, reason) in [(None, "Running"), (Some("bucket b: connection refused"), "MoverWaits"), (None, "Running")] {
        progress.waits_for = waits_for.map(str::to_owned);
        world.progress = vec![progress.clone()];
        world.settle();
        assert_eq!(world.reason(), reason);
        let told = "the mover of component dump for repo waits for bucket b: connection refused";
        assert_eq!(world.message(conditions::PROGRESSING) == told, waits_for.is_some());
    }
}

/// The same after the mover's end, while the record of it cannot be written.
#[test]
fn metadata_that_cannot_be_uploaded_is_told_of() {
    let mut world = World::new();
    world.settle();
    world.finish_job(1, reported(&["repo"], Outcome::Succeeded));
    world.settle();
    let name = world.snapshots[0].metadata.name.clone().unwrap();
    let conditions_of = &mut world.snapshots[0].status.as_mut().unwrap().conditions;
    set_condition(conditions_of, conditions::PROGRESSING, ConditionStatus::False, "UploadingMetadata", "no answer", world.now);
    world.settle();
    let told = world.message(conditions::PROGRESSING);
    assert_eq!(told, format!("all components have ended; the metadata of Snapshot {name} is not in the bucket yet: no answer"));
    assert_eq!(world.reason(), "UploadingMetadata");
}
