//! Points in time as a node stores them: RFC 3339 with up to nine digits of a second.

use std::fmt;
use std::io::Write as _;

use jiff::Timestamp;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A point in time with the kernel's resolution; small and `Copy`, millions of them are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Seconds since 1970, may be negative.
    pub seconds: i64,
    /// Nanoseconds of the second, 0 to 999,999,999.
    pub nanos: u32,
}

/// Seconds of 0000-01-01 and 9999-12-31T23:59:59, between which a time can be written. Times beyond are clamped, as restic does.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;

const SECONDS_PER_DAY: i64 = 86_400;

impl Time {
    /// The current time by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Self::from(Timestamp::now())
    }

    /// Appends `2026-01-02T03:04:05.000000006Z` without quotes, the fraction's trailing zeros left out, as Go writes it.
    pub fn write(self, out: &mut Vec<u8>) {
        let seconds = self.seconds.clamp(FIRST_SECOND, LAST_SECOND);
        let (year, month, day) = civil(seconds.div_euclid(SECONDS_PER_DAY));
        let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let mut text = *b"0000-00-00T00:00:00";
        let mut digits = |at: usize, width: usize, mut value: i64| {
            for position in (at..at + width).rev() {
                text[position] = b'0' + u8::try_from(value % 10).unwrap_or(0);
                value /= 10;
            }
        };
        digits(0, 4, year);
        digits(5, 2, month);
        digits(8, 2, day);
        digits(11, 2, hour);
        digits(14, 2, minute);
        digits(17, 2, second);
        out.extend_from_slice(&text);
        if self.nanos != 0 && seconds == self.seconds {
            let start = out.len();
            // Writing to a Vec cannot fail.
            let _ = write!(out, ".{:09}", self.nanos % 1_000_000_000);
            while out.len() > start && out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.push(b'Z');
    }

    /// Parses RFC 3339 with any offset.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_utc(text.as_bytes()).or_else(|| text.parse::<Timestamp>().ok().map(Self::from))
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Years are counted from 1 March so that the leap day is the last of its year, in eras of 400 years.
fn civil(day: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = day + 719_468;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + day_of_era - 719_468
}

/// The quick way for what we and most hosts write: a valid UTC time that ends in `Z`.
fn parse_utc(text: &[u8]) -> Option<Time> {
    let body = text.strip_suffix(b"Z")?;
    let number = |from: usize, to: usize| -> Option<i64> {
        body.get(from..to)?
            .iter()
            .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
    };
    if body.len() < 19 || body[4] != b'-' || body[7] != b'-' || body[10] != b'T' || body[13] != b':' || body[16] != b':' {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let day_count = day_number(year, month, day);
    if civil(day_count) != (year, month, day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match body.len() {
        19 => 0,
        length @ 21..=29 if body[19] == b'.' => number(20, length)? * 10i64.pow(u32::try_from(29 - length).ok()?),
        _ => return None,
    };
    let seconds = day_count * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Some(Time { seconds, nanos: u32::try_from(nanos).ok()? })
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        let (seconds, nanos) = (timestamp.as_second(), timestamp.subsec_nanosecond());
        // jiff counts a negative time's fraction downwards.
        match u32::try_from(nanos) {
            Ok(nanos) => Self { seconds, nanos },
            Err(_) => Self { seconds: seconds - 1, nanos: u32::try_from(nanos + 1_000_000_000).unwrap_or(0) },
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(32);
        self.write(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time of RFC 3339")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).ok_or_else(|| E::custom("not a time of RFC 3339"))
            }
        }
        deserializer.deserialize_str(TimeVisitor)
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_as_go_does() {
        let text = |seconds, nanos| Time { seconds, nanos }.to_string();
        assert_eq!(text(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_700_000_000, 120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(text(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(text(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(text(i64::MAX, 5), "9999-12-31T23:59:59Z");
        assert_eq!(text(i64::MIN, 5), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn offsets_are_understood() {
        assert_eq!(Time::parse("2023-11-14T23:13:20.5+01:00"), Some(Time { seconds: 1_700_000_000, nanos: 500_000_000 }));
        assert_eq!(Time::parse("1969-12-31T23:59:59.25+00:00"), Some(Time { seconds: -1, nanos: 250_000_000 }));
        assert_eq!(Time::parse("2023-02-30T00:00:00Z"), None);
        assert_eq!(Time::parse("yesterday"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in FIRST_SECOND..=LAST_SECOND, nanos in 0u32..1_000_000_000) {
            let time = Time { seconds, nanos };
            prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn the_calendar_agrees_with_jiff(seconds in -30_000_000_000i64..LAST_SECOND) {
            let expected = Timestamp::from_second(seconds).map(|timestamp| timestamp.to_string());
            if let Ok(expected) = expected {
                prop_assert_eq!(Time { seconds, nanos: 0 }.to_string(), expected);
            }
        }
    }
}
