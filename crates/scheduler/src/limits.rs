//! How long and how often. Each number outlives its author, so each says why.

use std::time::Duration;

use jiff::SignedDuration;

/// Longest wait for the API server while a caller's request is answered.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);

/// First look after something was found missing that is not watched (a target, a Secret).
pub const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Longest pause between such looks: what was missing and came is noticed within a minute (reliability S-04).
pub const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// How far in the future a slot may lie: clocks of nodes differ. Accepting more would let one forged slot settle all
/// slots until then.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Attempts to write down a served slot against other writers of the same CronJob.
pub const RECORD_ATTEMPTS: u32 = 5;

/// Longest condition message. Beyond it a reader has enough to begin with, and the status must stay small.
pub const MAX_MESSAGE_CHARS: usize = 2_000;

/// The pause before the next look at something that has been missing for this long: short at first, then a quarter of
/// the time already waited. No counter is kept, so a restart changes nothing.
pub fn next_look(missing_for: SignedDuration) -> Duration {
    Duration::try_from(missing_for).map_or(FIRST_LOOK, |missing| (missing / 4).clamp(FIRST_LOOK, LONGEST_LOOK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_but_never_rarer_than_a_minute() {
        let seconds = [-5, 0, 10, 40, 200, 100_000].map(|seconds| next_look(SignedDuration::from_secs(seconds)).as_secs());
        assert_eq!(seconds, [5, 5, 5, 10, 50, 60]);
    }
}
