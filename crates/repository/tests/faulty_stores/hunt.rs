//! Schedule after schedule on all cores.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use repository::planted::Bug;

use crate::harness::{caught, play_seeds};
use crate::schedule::{Outcomes, Schedule};

pub struct Hunt {
    pub schedules: usize,
    /// One schedule only.
    pub seed: Option<u64>,
    /// Makes the schedule of a seed.
    pub make: fn(u64) -> Schedule,
    /// A mistake of the engine.
    pub bug: Option<Bug>,
}

#[derive(Debug, Default)]
pub struct Found {
    pub schedules: usize,
    pub outcomes: Outcomes,
    /// The first violation, with the command that plays it again.
    pub violation: Option<String>,
    pub elapsed: Duration,
}

impl Found {
    /// Steps that ended so, or all.
    pub fn steps(&self, wanted: Option<&str>) -> usize {
        let ended = self.outcomes.iter().filter(|((_, outcome), _)| wanted.is_none_or(|wanted| wanted == *outcome));
        ended.map(|(_, count)| count).sum()
    }
}

impl Hunt {
    /// From the environment, see the top.
    pub fn from_environment(schedules: usize) -> Self {
        let set = |name: &str| std::env::var(name).ok();
        Self {
            schedules: set("ORLOP_FAULT_SCHEDULES")
                .map_or(schedules, |text| text.parse().expect("ORLOP_FAULT_SCHEDULES is a number")),
            seed: set("ORLOP_FAULT_SEED").map(|text| text.parse().expect("ORLOP_FAULT_SEED is a number")),
            make: Schedule::any,
            bug: None,
        }
    }

    pub fn run(&self) -> Found {
        let begin = Instant::now();
        let (started, found) = (AtomicUsize::new(0), Mutex::new(Found::default()));
        let wants_more = || started.fetch_add(1, SeqCst) < self.schedules;
        let violation = play_seeds(self.seed, wants_more, |stage, seed| {
            stage.seed(seed);
            stage.plant(self.bug);
            let schedule = (self.make)(seed);
            let played = caught(|| stage.play(schedule.play()));
            stage.plant(None);
            let outcomes = played.map_err(|reason| {
                let again = "cargo test -p repository --test faulty_stores no_trouble -- --nocapture";
                format!("seed {seed}, {:?}: {reason}\nplay it again: ORLOP_FAULT_SEED={seed} {again}", schedule.menu)
            })?;
            let mut found = found.lock();
            found.schedules += 1;
            outcomes.into_iter().for_each(|(outcome, count)| *found.outcomes.entry(outcome).or_default() += count);
            Ok(())
        });
        Found { elapsed: begin.elapsed(), violation, ..found.into_inner() }
    }
}
