//! E1, R1: the client is killed at every change that it makes in the store, before, after and half-way, and again while the next one
//! recovers. Whatever was a snapshot reads in full afterwards (invariant I1), no success is false (I2), and the next run goes on
//! without help and leaves nothing behind (I6).
//!
//! `ORLOP_CRASH_POINTS=1000000` visits that many points. A failure says what to run to see it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../engine/support/mod.rs"]
mod support;

mod crash_store;
mod enumerate;
mod held_back;
mod hunt;
mod judge;
mod operation;
mod planted;
mod scenario;

use harness::{Interposed, Stage};
use hunt::Hunt;
use operation::Operation;
use scenario::Scenario;

/// What a run of all tests visits.
const POINTS: usize = 10_000;

#[test]
fn every_crash_point_is_survived() {
    let hunt = Hunt::from_environment(POINTS);
    let found = hunt.run();
    if let Some(violation) = found.violation {
        panic!("{violation}");
    }
    let points: usize = found.tally.values().sum();
    let rate = points as f64 / found.elapsed.as_secs_f64();
    println!(
        "{points} crash points of {} scenarios survived in {:.0} s, {rate:.0} a second",
        found.scenarios,
        found.elapsed.as_secs_f64()
    );
    for (operation, points) in &found.tally {
        println!("{points:>9} {}", operation.name());
    }
    if hunt.seed.is_none() && hunt.operation.is_none() {
        assert_eq!(found.tally.len(), Operation::ALL.len(), "an operation was never interrupted");
        assert!(points >= hunt.points);
    }
}

/// R22: a seed gives the same history each time, or its failures could not be played again.
#[test]
fn a_seed_gives_the_same_history() {
    let history = |seed: u64| {
        let stage = Stage::new();
        stage.seed(seed);
        stage.play(async {
            let scenario = Scenario::new(seed).await.unwrap();
            let mut asked = Vec::new();
            for operation in Operation::ALL {
                stage.seed(seed);
                let store = crash_store::CrashStore::new(operation.begin(&scenario), None, seed, true);
                operation.perform(&scenario, Interposed::store(&store)).await.unwrap();
                asked.extend(store.changes().iter().map(ToString::to_string));
            }
            asked
        })
    };
    for seed in 1..20 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
    }
}
