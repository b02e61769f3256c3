//! When sessions run: Kubernetes' own cron grammar, and what to do about a slot.
//!
//! The CronJob controller is the one that fires. We read the same grammar for three things: to
//! refuse a schedule in a sentence before the API server refuses our CronJob for ever, to preview
//! the next runs, and to notice a slot whose trigger never came (reliability A2, A6). No published
//! crate agrees with Kubernetes in both directions, so the grammar is ours.

mod cron;
mod next;
pub mod slots;
mod timezone;

pub use cron::{CronSchedule, SHORTEST_INTERVAL, ScheduleError};
pub use timezone::parse_time_zone;

#[cfg(test)]
mod tests;
