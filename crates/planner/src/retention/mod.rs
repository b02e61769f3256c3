//! Which Snapshots stay and which go (specification §2.9), with a reason for each.
//!
//! A plan is made for the Snapshots of one Repository that one session took. The age limit comes
//! first, the counts apply to what it leaves, failed Snapshots are counted apart, and three things
//! hold whatever the policy says: the newest Succeeded Snapshot stays, what is not finished is not
//! touched, and nothing that a rule keeps is removed.

mod period;
mod plan;
mod rules;
mod view;

pub use period::{PeriodError, RetentionPeriod};
pub use plan::{Fate, KeepRule, RemoveRule, RetentionPlan, Verdict, plan};
pub use rules::{KeepCounts, RetentionError, Rules};
pub use view::{DATA_REMOVED_ANNOTATION, Outcome, SnapshotView, group};

#[cfg(test)]
mod tests;
