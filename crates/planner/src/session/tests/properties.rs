//! Whatever happens to a session, in whatever order: it ends, it ends in time, and it ends once.

use crd_types::BackupSessionPhase;
use proptest::prelude::*;

use super::world::{World, reported};
use crate::{
    attempt::{JobState, Outcome},
    decision::Reason,
    session::{Preparation, Removal, Stage},
};

/// Something that happens around a session.
#[derive(Debug, Clone)]
enum Event {
    Wait(i64),
    Progress,
    Kill,
    Report(Outcome, bool),
    Stream(Outcome),
    DeleteJob,
    LoseNode,
    EndPods,
    Upload,
    Cancel,
    DropConfiguration,
    DropSnapshots,
    Prepare(u8),
    Refuse(bool),
    Admit(bool),
    Hold(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = || {
        prop_oneof![
            4 => Just(Outcome::Succeeded),
            1 => Just(Outcome::Failed),
            2 => Just(Outcome::Retryable),
            1 => Just(Outcome::Cancelled)
        ]
    };
    prop_oneof![
        6 => (0_i64..4000).prop_map(Event::Wait),
        2 => Just(Event::Progress),
        3 => Just(Event::Kill),
        6 => (outcome(), any::<bool>()).prop_map(|(outcome, whole)| Event::Report(outcome, whole)),
        3 => outcome().prop_map(Event::Stream),
        1 => Just(Event::DeleteJob),
        1 => Just(Event::LoseNode),
        2 => Just(Event::EndPods),
        6 => Just(Event::Upload),
        1 => Just(Event::Cancel),
        1 => Just(Event::DropConfiguration),
        1 => Just(Event::DropSnapshots),
        2 => (0_u8..3).prop_map(Event::Prepare),
        2 => any::<bool>().prop_map(Event::Refuse),
        2 => any::<bool>().prop_map(Event::Admit),
        2 => any::<bool>().prop_map(Event::Hold),
    ]
}

fn happen(world: &mut World, event: &Event) {
    let latest = world.jobs.iter().rposition(|job| job.state == JobState::Live);
    match event {
        Event::Wait(seconds) => world.advance(*seconds),
        Event::Progress => world.last_progress = Some(world.now),
        Event::Kill => {
            if let Some(index) = latest {
                world.jobs[index].state = JobState::Ended;
            }
        }
        Event::Report(outcome, whole) => {
            if let Some(index) = latest {
                let targets: &[&str] = if *whole { &["near", "far", "near/path"] } else { &["near"] };
                let job = &mut world.jobs[index];
                let attempt = job.attempt;
                let report = reported(targets, *outcome);
                if job.component == "dump" {
                    world.finish_job(attempt, report);
                } else {
                    world.finish_retention(report);
                }
            }
        }
        Event::Stream(outcome) => {
            if let Some(index) = latest {
                let job = &world.jobs[index];
                let report = reported(&["near", "far", "near/path"], *outcome);
                world.reports.insert(job.component.clone(), (job.attempt, report));
            }
        }
        Event::DeleteJob => {
            world.jobs.pop();
        }
        Event::LoseNode => {
            if let Some(index) = latest {
                world.jobs[index].pod.as_mut().unwrap().lost = Some("unreachable".to_owned());
            }
        }
        Event::EndPods => world.end_pods(),
        Event::Upload => world.upload(),
        Event::Cancel => world.cancel("for a test"),
        Event::DropConfiguration => world.configuration = None,
        Event::DropSnapshots => world.snapshots.clear(),
        Event::Prepare(0) => world.preparation = Preparation::Ready { components: vec!["dump".to_owned()] },
        Event::Prepare(1) => world.preparation = Preparation::Waiting(Reason::new("prepare", "TargetNotFound", "missing")),
        Event::Prepare(_) => world.preparation = Preparation::Refused(Reason::new("prepare", "PathNotMounted", "wrong")),
        Event::Refuse(refuse) => world.job_refusal = refuse.then(|| "quota".to_owned()),
        Event::Admit(admit) => world.admitted = *admit,
        Event::Hold(hold) => world.restores = if *hold { vec!["prod/back".to_owned()] } else { Vec::new() },
    }
}

fn world(retention: bool) -> World {
    let mut world = World::with_repositories(&["near", "far"]);
    if retention {
        world.removals = vec![Removal { snapshot: "old".to_owned(), data: vec![("path".to_owned(), "aa".to_owned())] }];
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// I4 (asserted by the world, which refuses a second live Job and a second Job of one attempt), I5 and I10.
    #[test]
    fn every_history_ends_in_time_and_once(events in prop::collection::vec(event(), 0..40), retention in any::<bool>(), timeout in any::<bool>()) {
        let mut world = world(retention);
        if timeout {
            world.session.spec.backup_timeout = Some("2h".to_owned());
        }
        let created = world.now;
        for event in &events {
            happen(&mut world, event);
            world.settle();
        }
        // Whatever still holds it: the deadline has passed, and a minute more.
        let deadline = crate::session::deadline(created, world.session.spec.backup_timeout.as_deref(), &world.limits);
        if world.now < deadline {
            world.now = deadline;
        }
        world.settle();
        world.advance(30);
        world.settle();
        world.advance(30);
        world.settle();
        prop_assert!(world.phase().is_completed(), "{:?} {}", world.phase(), world.reason());
        prop_assert_eq!(world.stage(), Stage::Complete);

        // I10: after the first final phase there is none but it.
        let first = world.phases.iter().position(|phase| phase.is_completed()).unwrap();
        let last = world.phases[first];
        prop_assert!(world.phases[first..].iter().all(|phase| *phase == last));

        // I2: no success without every Snapshot's own.
        if last == BackupSessionPhase::Succeeded {
            for snapshot in &world.snapshots {
                let status = snapshot.status.clone().unwrap();
                prop_assert!(status.components.values().all(|component| !component.restic_stats.is_empty()));
            }
        }
    }

    /// I11: a pass over a state that nothing has changed since changes nothing, and starts nothing twice.
    #[test]
    fn passes_are_idempotent(events in prop::collection::vec(event(), 0..25)) {
        let mut world = world(true);
        for event in &events {
            happen(&mut world, event);
            world.settle();
            let before = (world.session.clone(), world.jobs.len(), world.snapshots.clone());
            world.settle();
            prop_assert_eq!(&before.0.status, &world.session.status);
            prop_assert_eq!(before.1, world.jobs.len());
            prop_assert_eq!(&before.2, &world.snapshots);
        }
    }
}
