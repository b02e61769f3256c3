//! What a decision is: an action, and the reasons that led to it.
//!
//! Every planner answers with a [`Decision`], so that conditions, events, `Explain` and the logs say
//! the same thing in the same words, and "nothing to do" has a reason too.

use std::fmt;

use serde::Serialize;

/// One step of the chain that led to a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The check that was made, in kebab-case: `usage-policy`, `slot`, `admission`.
    pub step: &'static str,
    /// The answer of that check in PascalCase, usable as the reason of a condition or an event.
    pub reason: &'static str,
    /// The sentence for a person: names the object and, where something is wrong, the remedy.
    pub message: String,
}

impl Reason {
    /// A reason given by `step`.
    pub fn new(step: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { step, reason, message: message.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// An action together with everything that was considered on the way to it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Decision<T> {
    /// What to do.
    pub action: T,
    /// Why, first consideration first. Never empty.
    pub reasons: Vec<Reason>,
}

impl<T> Decision<T> {
    /// A decision with its first reason.
    pub fn new(action: T, reason: Reason) -> Self {
        Self { action, reasons: vec![reason] }
    }

    /// The same decision with one more reason at the end of the chain.
    pub fn because(mut self, reason: Reason) -> Self {
        self.reasons.push(reason);
        self
    }

    /// The same reasons for another action.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Decision<U> {
        let Self { action, reasons } = self;
        Decision { action: change(action), reasons }
    }

    /// The reason that settled it.
    pub fn last(&self) -> Option<&Reason> {
        self.reasons.last()
    }

    /// The whole chain as one text, for a condition's message.
    pub fn message(&self) -> String {
        let sentences: Vec<&str> = self.reasons.iter().map(|reason| reason.message.as_str()).collect();
        sentences.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_keeps_its_order_and_settles_on_the_last() {
        let decision = Decision::new(1, Reason::new("slot", "Due", "slot is due"))
            .because(Reason::new("suspend", "Suspended", "schedule is suspended"))
            .map(|number| number + 1);
        assert_eq!(decision.action, 2);
        assert_eq!(decision.message(), "slot is due; schedule is suspended");
        assert_eq!(decision.last().map(|reason| reason.reason), Some("Suspended"));
    }
}
