//! Conditions, merged so that their transition times tell the truth.
//!
//! KubeStash refreshes `lastTransitionTime` whenever status, reason or message changes (specification §1.1), which is
//! wider than Kubernetes' own convention; we follow KubeStash.

use crd_types::{Condition, ConditionStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A condition as it should be, before it is known when it became so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Type, for example `ValidationPassed`.
    pub type_: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Cause in PascalCase.
    pub reason: String,
    /// Sentence for a person; may be empty.
    pub message: String,
    /// Generation of the object that was looked at.
    pub observed_generation: Option<i64>,
}

impl Wanted {
    /// A condition with any status.
    pub fn new(type_: &str, status: ConditionStatus, reason: &str, message: impl Into<String>) -> Self {
        Self { type_: type_.to_owned(), status, reason: reason.to_owned(), message: message.into(), observed_generation: None }
    }

    /// A condition that holds.
    pub fn yes(type_: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, ConditionStatus::True, reason, message)
    }

    /// A condition that does not hold.
    pub fn no(type_: &str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(type_, ConditionStatus::False, reason, message)
    }

    /// The generation this condition speaks of.
    #[must_use]
    pub fn at_generation(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }
}

/// Sets one condition in place. The transition time stays when status, reason and message do.
pub fn set(conditions: &mut Vec<Condition>, wanted: Wanted, now: Timestamp) {
    let Wanted { type_, status, reason, message, observed_generation } = wanted;
    let reason = Some(reason).filter(|reason| !reason.is_empty());
    let message = Some(message).filter(|message| !message.is_empty());
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        Some(known) => {
            if known.status != status || known.reason != reason || known.message != message {
                // A clock that stepped back must not make transitions run backwards (reliability I10).
                known.last_transition_time = Time(now.max(known.last_transition_time.0));
            }
            known.status = status;
            known.reason = reason;
            known.message = message;
            known.observed_generation = observed_generation;
        }
        None => conditions.push(Condition {
            last_transition_time: Time(now),
            message,
            observed_generation,
            reason,
            severity: None,
            status,
            type_,
        }),
    }
}

/// `existing` with every wanted condition set, in their old order, new ones at the end.
#[must_use]
pub fn merge(existing: &[Condition], wanted: impl IntoIterator<Item = Wanted>, now: Timestamp) -> Vec<Condition> {
    let mut merged = existing.to_vec();
    for condition in wanted {
        set(&mut merged, condition, now);
    }
    merged
}

/// The condition of that type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition is there and True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Whether the condition is there and False.
#[must_use]
pub fn is_false(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == ConditionStatus::False)
}

/// Takes the condition away.
pub fn remove(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Specification §1.1: unchanged status, reason and message keep the time; any change refreshes it.
    #[test]
    fn transition_time_moves_only_with_a_change() {
        let ready = |message: &str| Wanted::yes("Ready", "Fine", message);
        let first = merge(&[], [ready("all good")], at(10));
        let same = merge(&first, [ready("all good").at_generation(Some(3))], at(20));
        assert_eq!(same[0].last_transition_time.0, at(10));
        assert_eq!(same[0].observed_generation, Some(3));
        let other = merge(&same, [ready("better")], at(30));
        assert_eq!(other[0].last_transition_time.0, at(30));
    }

    /// reliability I10: transition times never go back, even if the clock does.
    #[test]
    fn a_clock_that_steps_back_does_not_move_transitions_back() {
        let first = merge(&[], [Wanted::yes("Ready", "Fine", "")], at(100));
        let second = merge(&first, [Wanted::no("Ready", "Broken", "")], at(50));
        assert_eq!(second[0].last_transition_time.0, at(100));
        assert!(is_false(&second, "Ready") && !is_true(&second, "Ready"));
    }

    #[test]
    fn other_conditions_stay_and_order_is_kept() {
        let first = merge(&[], [Wanted::yes("A", "R", "m"), Wanted::yes("B", "R", "m")], at(1));
        let second = merge(&first, [Wanted::no("A", "R", "m"), Wanted::yes("C", "R", "m")], at(2));
        let types: Vec<&str> = second.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["A", "B", "C"]);
        assert_eq!(second[1], first[1]);
    }
}
