//! Values of flags as people write them.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use repository::format::Time;

/// Tags of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagList(pub Vec<String>);

/// Parses tags separated by commas. One empty tag asks for snapshots without tags.
///
/// # Errors
/// Never; the signature is what the command line asks for.
#[expect(clippy::unnecessary_wraps, reason = "the signature that the command line asks for")]
pub fn tag_list(text: &str) -> Result<TagList, std::convert::Infallible> {
    let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
    let named: Vec<String> = tags.iter().filter(|tag| !tag.is_empty()).cloned().collect();
    Ok(TagList(if named.is_empty() { tags[..1].to_vec() } else { named }))
}

/// Parses a duration as Go writes it: `90s`, `5m`, `1h30m`.
///
/// # Errors
/// A sentence for the person.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| format!("{text:?} is no duration; write for example 90s, 5m or 1h30m"))
}

/// Parses a size in bytes with a suffix of `K`, `M`, `G` or `T` for powers of 1024.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().trim_end_matches(['b', 'B']);
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        (at, 't' | 'T') => (&text[..at], 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A percentage from 0 to 100.
fn percent(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

/// How much unused data a prune leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxUnused {
    /// All of it: nothing is rewritten.
    Unlimited,
    /// A part of the used bytes.
    OfUsed(f64),
    /// So many bytes.
    Bytes(u64),
}

impl Default for MaxUnused {
    fn default() -> Self {
        Self::OfUsed(5.0 / 95.0)
    }
}

impl FromStr for MaxUnused {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self::Unlimited);
        }
        // A percentage is of all data, as restic has it.
        if let Some(percent) = percent(text).filter(|percent| *percent < 100.0) {
            return Ok(Self::OfUsed(percent / (100.0 - percent)));
        }
        size(text).map(Self::Bytes).ok_or_else(|| {
            format!("{text:?} is no limit; write a percentage below 100 such as 5%, a size such as 200M, or unlimited")
        })
    }
}

/// Which part of the data a check reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadSubset {
    /// The `number`th of `of` parts; the first is 1.
    Part {
        /// Which.
        number: u16,
        /// Of how many.
        of: u16,
    },
    /// At least this much, chosen by chance.
    Percent(f64),
}

impl FromStr for ReadSubset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = || {
            let (number, of) = text.split_once('/')?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (1..=of).contains(&number).then_some(Self::Part { number, of })
        };
        let percent = || percent(text).filter(|percent| *percent > 0.0).map(Self::Percent);
        part().or_else(percent).ok_or_else(|| format!("{text:?} is no part; write for example 2/5 or 10%"))
    }
}

/// A time as a person writes it, in the machine's own zone unless it names another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointInTime(pub Time);

impl FromStr for PointInTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let local = |datetime: DateTime| datetime.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
        let exact = || text.parse::<Timestamp>().ok().or_else(|| text.parse::<Zoned>().ok().map(|zoned| zoned.timestamp()));
        let civil = || {
            let date = text.parse::<Date>().ok().filter(|_| !text.contains(':')).map(|date| date.at(0, 0, 0, 0));
            date.or_else(|| text.parse::<DateTime>().ok()).and_then(local)
        };
        exact().or_else(civil).map(|timestamp| Self(Time::from(timestamp))).ok_or_else(|| {
            format!("{text:?} is no time; write for example 2026-01-31, \"2026-01-31 15:04:05\" or 2026-01-31T15:04:05Z")
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_are_go_s() {
        let seconds = |text: &str| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("0s"), Ok(0));
        for wrong in ["", "5", "m", "-5m", "five minutes"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_of_unused_data_are_restic_s() {
        let parse = |text: &str| text.parse::<MaxUnused>();
        assert_eq!(parse("unlimited"), Ok(MaxUnused::Unlimited));
        assert_eq!(parse("0"), Ok(MaxUnused::Bytes(0)));
        assert_eq!(parse("200M"), Ok(MaxUnused::Bytes(200 << 20)));
        assert_eq!(parse("3g"), Ok(MaxUnused::Bytes(3 << 30)));
        assert_eq!(parse("50%"), Ok(MaxUnused::OfUsed(1.0)));
        assert_eq!(parse("5%"), Ok(MaxUnused::default()));
        for wrong in ["", "100%", "-1%", "x", "5 percent", "99999999999999T"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn parts_of_the_data_are_restic_s() {
        let parse = |text: &str| text.parse::<ReadSubset>();
        assert_eq!(parse("2/5"), Ok(ReadSubset::Part { number: 2, of: 5 }));
        assert_eq!(parse("2.5%"), Ok(ReadSubset::Percent(2.5)));
        for wrong in ["", "0/5", "6/5", "1/0", "0%", "101%", "5"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_are_lists() {
        let tags = |text: &str| tag_list(text).unwrap().0;
        assert_eq!(tags("a, b,"), ["a", "b"]);
        assert_eq!(tags(""), [""]);
    }

    #[test]
    fn times_are_read_with_and_without_a_zone() {
        let seconds = |text: &str| text.parse::<PointInTime>().map(|time| time.0.seconds);
        assert_eq!(seconds("2023-11-14T22:13:20Z"), Ok(1_700_000_000));
        assert_eq!(seconds("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000));
        let day = seconds("2023-11-14").unwrap();
        assert_eq!(seconds("2023-11-14 00:00:01"), Ok(day + 1));
        assert!(seconds("yesterday").is_err());
    }
}
