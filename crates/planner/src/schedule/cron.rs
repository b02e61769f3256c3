//! The grammar: five fields, or a descriptor.

use std::{str::FromStr, time::Duration};

use crd_types::duration;
use thiserror::Error;

/// The shortest interval `@every` may ask for: a session has to start, lock and end in between.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);

/// A schedule or a time zone that Kubernetes, or we, do not take.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// Nothing was written.
    #[error("the schedule is empty; write five fields such as `0 2 * * *`, or `@daily`")]
    Empty,
    /// A time zone inside the schedule.
    #[error("schedule {schedule:?} sets a time zone; remove it, Orlop sets the CronJob's timeZone itself")]
    ZoneInside {
        /// The schedule as written.
        schedule: String,
    },
    /// Not five fields.
    #[error("schedule {schedule:?} has {found} fields; write five: minute, hour, day of month, month, day of week")]
    Fields {
        /// The schedule as written.
        schedule: String,
        /// How many there are.
        found: usize,
    },
    /// One field is wrong.
    #[error("{field} {text:?} of schedule {schedule:?}: {problem}")]
    Field {
        /// The schedule as written.
        schedule: String,
        /// Which field.
        field: &'static str,
        /// What stands there.
        text: String,
        /// What is wrong and what is right.
        problem: String,
    },
    /// A word beginning with `@` that means nothing.
    #[error(
        "schedule {schedule:?} is not a descriptor; use @yearly, @annually, @monthly, @weekly, @daily, @midnight, \
         @hourly or `@every <duration>`"
    )]
    Descriptor {
        /// The schedule as written.
        schedule: String,
    },
    /// `@every` with something that is not a duration.
    #[error("schedule {schedule:?}: {cause}")]
    Interval {
        /// The schedule as written.
        schedule: String,
        /// Why the duration cannot be read.
        cause: duration::InvalidDuration,
    },
    /// `@every` under a minute.
    #[error("schedule {schedule:?} runs more often than once a minute; use an interval of 1m or more")]
    TooOften {
        /// The schedule as written.
        schedule: String,
    },
    /// A time zone nobody knows.
    #[error("time zone {name:?} is not in the IANA database; use a name such as `Europe/Berlin` or `Etc/UTC`")]
    Zone {
        /// The name as written.
        name: String,
    },
}

/// A schedule as Kubernetes understands it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSchedule {
    pub(super) rule: Rule,
}

/// What a schedule asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    /// Instants whose civil time matches.
    Fields(Fields),
    /// Instants this far apart, counted from the last one. In whole seconds, at least 60.
    Every { seconds: i64 },
}

/// The values each field allows, one bit for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) minute: Mask,
    pub(super) hour: Mask,
    pub(super) day_of_month: Mask,
    pub(super) month: Mask,
    pub(super) day_of_week: Mask,
}

/// Allowed values of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mask {
    bits: u64,
    /// Written `*` or `?`: the two day fields are then AND-ed instead of OR-ed.
    pub(super) star: bool,
}

impl Mask {
    pub(super) fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.bits.checked_shr(value).unwrap_or(0) & 1 == 1)
    }

    fn only(value: u8) -> Self {
        Self { bits: 1 << value, star: false }
    }

    fn all(bounds: &Bounds) -> Self {
        Self { bits: bits(bounds.least, bounds.most, 1), star: true }
    }
}

/// A field's name, range and words.
struct Bounds {
    field: &'static str,
    least: u32,
    most: u32,
    words: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { field: "minute", least: 0, most: 59, words: &[] };
const HOUR: Bounds = Bounds { field: "hour", least: 0, most: 23, words: &[] };
const DAY_OF_MONTH: Bounds = Bounds { field: "day of month", least: 1, most: 31, words: &[] };
const MONTH: Bounds = Bounds {
    field: "month",
    least: 1,
    most: 12,
    words: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const DAY_OF_WEEK: Bounds =
    Bounds { field: "day of week", least: 0, most: 6, words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl CronSchedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// With a sentence naming the field and what is allowed there.
    pub fn parse(schedule: &str) -> Result<Self, ScheduleError> {
        let written = || schedule.to_owned();
        if schedule.trim().is_empty() {
            return Err(ScheduleError::Empty);
        }
        if schedule.contains("TZ") {
            return Err(ScheduleError::ZoneInside { schedule: written() });
        }
        if schedule.starts_with('@') {
            return descriptor(schedule).map(|rule| Self { rule });
        }
        let fields: Vec<&str> = schedule.split_whitespace().collect();
        let [minute, hour, day_of_month, month, day_of_week] = fields.as_slice() else {
            return Err(ScheduleError::Fields { schedule: written(), found: fields.len() });
        };
        let read = |text: &str, bounds: &Bounds| {
            mask(text, bounds).map_err(|problem| ScheduleError::Field {
                schedule: written(),
                field: bounds.field,
                text: text.to_owned(),
                problem,
            })
        };
        Ok(Self {
            rule: Rule::Fields(Fields {
                minute: read(minute, &MINUTE)?,
                hour: read(hour, &HOUR)?,
                day_of_month: read(day_of_month, &DAY_OF_MONTH)?,
                month: read(month, &MONTH)?,
                day_of_week: read(day_of_week, &DAY_OF_WEEK)?,
            }),
        })
    }
}

impl FromStr for CronSchedule {
    type Err = ScheduleError;

    fn from_str(schedule: &str) -> Result<Self, Self::Err> {
        Self::parse(schedule)
    }
}

fn descriptor(schedule: &str) -> Result<Rule, ScheduleError> {
    let midnight = Fields {
        minute: Mask::only(0),
        hour: Mask::only(0),
        day_of_month: Mask::all(&DAY_OF_MONTH),
        month: Mask::all(&MONTH),
        day_of_week: Mask::all(&DAY_OF_WEEK),
    };
    let fields = match schedule {
        "@yearly" | "@annually" => Fields { day_of_month: Mask::only(1), month: Mask::only(1), ..midnight },
        "@monthly" => Fields { day_of_month: Mask::only(1), ..midnight },
        "@weekly" => Fields { day_of_week: Mask::only(0), ..midnight },
        "@daily" | "@midnight" => midnight,
        "@hourly" => Fields { hour: Mask::all(&HOUR), ..midnight },
        _ => return interval(schedule),
    };
    Ok(Rule::Fields(fields))
}

fn interval(schedule: &str) -> Result<Rule, ScheduleError> {
    let Some(text) = schedule.strip_prefix("@every ") else {
        return Err(ScheduleError::Descriptor { schedule: schedule.to_owned() });
    };
    let interval = duration::parse(text).map_err(|cause| ScheduleError::Interval { schedule: schedule.to_owned(), cause })?;
    if interval < SHORTEST_INTERVAL {
        return Err(ScheduleError::TooOften { schedule: schedule.to_owned() });
    }
    // Kubernetes drops what is below a second.
    Ok(Rule::Every { seconds: i64::try_from(interval.as_secs()).unwrap_or(i64::MAX) })
}

/// The bits of a comma-separated list; empty items are read over, as Kubernetes does.
fn mask(text: &str, bounds: &Bounds) -> Result<Mask, String> {
    let mut mask = Mask::default();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let Mask { bits, star } = range(item, bounds)?;
        mask.bits |= bits;
        mask.star |= star;
    }
    Ok(mask)
}

/// `*`, `?`, `a`, `a-b`, each perhaps with `/step`.
fn range(item: &str, bounds: &Bounds) -> Result<Mask, String> {
    let (span, step) = match item.split_once('/') {
        Some((_, step)) if step.contains('/') => {
            return Err(format!("`{item}` has more than one slash"));
        }
        Some((span, step)) => (span, Some(step)),
        None => (item, None),
    };
    let (low, high) = match span.split_once('-') {
        Some((low, high)) => (low, Some(high)),
        None => (span, None),
    };
    let any = low == "*" || low == "?";
    let (start, mut end) = match (any, high) {
        // Kubernetes reads `*-5` as `*`.
        (true, _) => (bounds.least, bounds.most),
        (false, Some(high)) if high.contains('-') => {
            return Err(format!("`{item}` has more than one dash"));
        }
        (false, Some(high)) => (value(low, bounds)?, value(high, bounds)?),
        (false, None) => {
            let only = value(low, bounds)?;
            (only, only)
        }
    };
    let mut star = any;
    let mut stride = 1;
    if let Some(step) = step {
        stride = number(step).ok_or_else(|| format!("the step `{step}` is not a number"))?;
        if high.is_none() {
            end = bounds.most;
        }
        star &= stride <= 1;
    }
    let Bounds { least, most, .. } = *bounds;
    if start < least || end > most {
        return Err(format!("use values from {least} to {most}"));
    }
    if start > end {
        return Err(format!("`{item}` begins after its end"));
    }
    if stride == 0 {
        return Err("the step must be at least 1".to_owned());
    }
    Ok(Mask { bits: bits(start, end, stride), star })
}

/// Bits `start`, `start + stride` and so on up to `end`, which is at most 63.
fn bits(start: u32, end: u32, stride: u32) -> u64 {
    let stride = usize::try_from(stride).unwrap_or(usize::MAX).max(1);
    (start..=end).step_by(stride).fold(0, |mask, bit| mask | 1_u64.checked_shl(bit).unwrap_or(0))
}

fn value(text: &str, bounds: &Bounds) -> Result<u32, String> {
    let word = text.to_ascii_lowercase();
    let named = bounds.words.iter().position(|known| **known == *word);
    let named = named.and_then(|index| u32::try_from(index).ok()).map(|index| index + bounds.least);
    named.or_else(|| number(text)).ok_or_else(|| {
        if text.is_empty() {
            "a number is missing beside the dash".to_owned()
        } else {
            format!("`{text}` is not a number from {} to {}", bounds.least, bounds.most)
        }
    })
}

/// A number as Go's `Atoi` reads it (a plus sign is allowed); what no field could hold saturates.
fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i64 = digits.parse().ok()?;
    Some(u32::try_from(value).unwrap_or(u32::MAX))
}
