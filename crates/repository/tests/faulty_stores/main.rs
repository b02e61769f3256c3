//! D1 to D4, D11, R9: stores that refuse, lose answers, tear, truncate, swallow, stall and lie in their listings, under random histories
//! of clients that work alone and at a time, are killed, and have their locks removed by force. No success is false (I1, I2), no
//! lock of the living is removed by us (I7), every failure is said, nobody waits for ever, and when the store is well again everything
//! promised is there and the rest can be cleared up.
//!
//! `ORLOP_FAULT_SCHEDULES` says how many schedules, `ORLOP_FAULT_SEED` plays one again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../engine/support/mod.rs"]
mod support;

mod client;
mod conditions;
mod directories;
mod faulty_store;
mod hunt;
mod menu;
mod planted;
mod schedule;
mod stalls;
mod world;

use hunt::Hunt;

/// Schedules in a run of all tests.
const SCHEDULES: usize = 1000;

#[test]
fn no_trouble_of_a_store_makes_a_success_false() {
    let found = Hunt::from_environment(SCHEDULES).run();
    if let Some(violation) = found.violation {
        panic!("{violation}");
    }
    let (steps, successes) = (found.steps(None), found.steps(Some("success")));
    println!(
        "{} schedules, {steps} steps, {successes} of them successful, in {:.0} s",
        found.schedules,
        found.elapsed.as_secs_f64()
    );
    for ((action, outcome), count) in &found.outcomes {
        println!("{count:>9} {action}: {outcome}");
    }
    assert!(successes * 4 > steps, "hardly anything succeeded, so hardly anything was tested");
}
