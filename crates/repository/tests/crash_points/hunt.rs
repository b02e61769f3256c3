//! Scenario after scenario, on all cores, until enough points were visited.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::enumerate::{Enumeration, Point, Tally, Wrap};
use crate::harness::{Stage, caught, play_seeds};
use crate::operation::Operation;
use crate::scenario::Scenario;

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Hunt {
    /// So many points at least.
    pub points: usize,
    /// One scenario only.
    pub seed: Option<u64>,
    /// One operation only.
    pub operation: Option<Operation>,
    /// One point only, with the crash that follows.
    pub point: Option<Point>,
    /// A mistake of the client.
    pub wrap: Option<Wrap>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    pub tally: Tally,
    pub scenarios: usize,
    /// The first violation, with the command that plays it again.
    pub violation: Option<String>,
    pub elapsed: Duration,
}

impl Hunt {
    /// From the environment: `ORLOP_CRASH_POINTS` points, or the one that `ORLOP_CRASH_SEED`, `ORLOP_CRASH_OPERATION` and
    /// `ORLOP_CRASH_POINT` name.
    pub fn from_environment(points: usize) -> Self {
        let set = |name: &str| std::env::var(name).ok();
        Self {
            points: set("ORLOP_CRASH_POINTS").map_or(points, |text| text.parse().expect("ORLOP_CRASH_POINTS is a number")),
            seed: set("ORLOP_CRASH_SEED").map(|text| text.parse().expect("ORLOP_CRASH_SEED is a number")),
            operation: set("ORLOP_CRASH_OPERATION")
                .map(|text| Operation::named(&text).expect("ORLOP_CRASH_OPERATION is an operation")),
            point: set("ORLOP_CRASH_POINT").map(|text| text.parse().expect("ORLOP_CRASH_POINT is like after@3,before@1")),
            wrap: None,
        }
    }

    pub fn run(&self) -> Found {
        let begin = Instant::now();
        let (done, found) = (AtomicUsize::new(0), Mutex::new(Found::default()));
        let wants_more = || done.load(SeqCst) < self.points;
        let violation = play_seeds(self.seed, wants_more, |stage, seed| {
            found.lock().scenarios += 1;
            self.play(stage, seed, |operation, points| {
                done.fetch_add(points, SeqCst);
                *found.lock().tally.entry(operation).or_default() += points;
            })
        });
        Found { elapsed: begin.elapsed(), violation, ..found.into_inner() }
    }

    /// All operations on one scenario.
    fn play(&self, stage: &Stage, seed: u64, survived: impl Fn(Operation, usize)) -> Result<(), String> {
        let at = Mutex::new((None, String::new()));
        let announce = |point: &str| at.lock().1 = point.to_owned();
        let work = async {
            stage.seed(seed);
            let scenario = Scenario::new(seed).await.map_err(|error| format!("while it was made: {error}"))?;
            for operation in Operation::ALL {
                if self.operation.is_none_or(|only| only == operation) {
                    *at.lock() = (Some(operation), String::new());
                    let mut enumeration = Enumeration::new(stage, &scenario, operation, self.wrap, &announce).await?;
                    survived(operation, enumeration.run(self.point).await?);
                }
            }
            Ok(())
        };
        let Err(reason) = caught(|| stage.play(work)) else { return Ok(()) };
        let (operation, point) = at.into_inner();
        let operation = operation.map_or("", Operation::name);
        let mut text = format!("seed {seed}, {operation} at {point}: {reason}\nplay it again:");
        let _ = write!(text, " ORLOP_CRASH_SEED={seed} ORLOP_CRASH_OPERATION={operation}");
        if point.contains('@') {
            let _ = write!(text, " ORLOP_CRASH_POINT={point}");
        }
        text.push_str(" cargo test -p repository --test crash_points every_crash_point_is_survived -- --nocapture");
        Err(text)
    }
}
