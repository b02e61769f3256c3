//! The age limit's grammar: `2mo`, `1y6mo`, `30d12h`.

use std::fmt;

use jiff::SignedDuration;
use thiserror::Error;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Units, `mo` before `m` because both begin alike.
const UNITS: [(&str, i64); 6] = [("y", 365 * DAY), ("mo", 30 * DAY), ("w", 7 * DAY), ("d", DAY), ("h", HOUR), ("m", MINUTE)];

/// An age limit that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeriodError {
    /// It is not in the grammar.
    #[error("{text:?} is not a retention period; write numbers with the units y, mo, w, d, h or m, such as `2mo` or `1y6mo`")]
    Grammar {
        /// The text as written.
        text: String,
    },
    /// It reaches no time back: every Snapshot would be over age.
    #[error("retention period {text:?} is not longer than nothing; write a positive one such as `2mo`")]
    NotPositive {
        /// The text as written.
        text: String,
    },
}

/// How long a Snapshot may live: a month is 30 days, a year 365.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionPeriod {
    seconds: i64,
    written: String,
}

impl RetentionPeriod {
    /// Reads a period as KubeStash does: blanks around it are trimmed, of two numbers with one
    /// unit the later counts.
    ///
    /// # Errors
    /// If it is not in the grammar, or not positive as a whole.
    pub fn parse(text: &str) -> Result<Self, PeriodError> {
        let grammar = || PeriodError::Grammar { text: text.to_owned() };
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(grammar());
        }
        let mut counts = [0_i64; UNITS.len()];
        while !rest.is_empty() {
            let digits_at = usize::from(rest.starts_with('-'));
            let number_end = rest
                .get(digits_at..)
                .and_then(|digits| digits.find(|character: char| !character.is_ascii_digit()))
                .map(|end| end + digits_at)
                .ok_or_else(grammar)?;
            let (number, after) = rest.split_at(number_end);
            let number: i64 = number.parse().map_err(|_| grammar())?;
            let (index, unit) = UNITS
                .iter()
                .enumerate()
                .find(|(_, (unit, _))| after.starts_with(unit))
                .map(|(index, (unit, _))| (index, *unit))
                .ok_or_else(grammar)?;
            counts[index] = number;
            rest = &after[unit.len()..];
        }
        let seconds = counts
            .iter()
            .zip(UNITS)
            .try_fold(0_i64, |total, (count, (_, unit))| total.checked_add(count.checked_mul(unit)?))
            .ok_or_else(grammar)?;
        if seconds <= 0 {
            return Err(PeriodError::NotPositive { text: text.to_owned() });
        }
        Ok(Self { seconds, written: text.trim().to_owned() })
    }

    /// The period as a length of time.
    pub fn duration(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }
}

impl fmt::Display for RetentionPeriod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.written)
    }
}
