//! Durations in Go's notation, as `backupTimeout`, `delay`, `timeout` and the `duration` of a status have them.

use std::time::Duration;

const UNITS: [(&str, f64); 8] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6), // U+00B5, the micro sign
    ("μs", 1e-6), // U+03BC, the Greek letter
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
];
/// Go counts nanoseconds in an `int64`; longer durations are refused there too.
const LONGEST_SECONDS: f64 = 9_223_372_036.0;

/// A string that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a duration such as \"1h30m\" or \"45s\"")]
pub struct InvalidDuration(pub String);

/// Reads a duration. Negative ones are refused, because no field that we read can mean one.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(crd_types::duration::parse("1h30m"), Ok(Duration::from_secs(5400)));
/// ```
///
/// # Errors
/// When the text is not a sequence of numbers with the units `ns`, `us`, `ms`, `s`, `m` and `h`.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let unit_start = rest.find(|character: char| !character.is_ascii_digit() && character != '.').ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(unit_start);
        if !number.contains(|character: char| character.is_ascii_digit()) {
            return Err(invalid());
        }
        let unit_end = tail.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?.1;
        seconds += number.parse::<f64>().map_err(|_| invalid())? * factor;
        rest = tail;
    }
    if seconds > LONGEST_SECONDS {
        return Err(invalid());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Writes a duration as Go does: `2m2s`, `1h0m0s`, `10.468245525s`, `1.5ms`, `0s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    match nanoseconds {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanoseconds}ns"),
        1_000..1_000_000 => return format!("{}µs", fraction(nanoseconds, 3)),
        1_000_000..1_000_000_000 => return format!("{}ms", fraction(nanoseconds, 6)),
        _ => {}
    }
    let minutes = duration.as_secs() / 60;
    let seconds = fraction(nanoseconds - u128::from(minutes) * 60_000_000_000, 9);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The same, rounded to whole seconds, as the duration of a session is written.
#[must_use]
pub fn format_rounded(duration: Duration) -> String {
    let rounded = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
    format(Duration::from_secs(rounded))
}

/// A number with its last `digits` digits behind the point, without trailing zeros.
fn fraction(value: u128, digits: u32) -> String {
    let unit = 10_u128.pow(digits);
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let rest = format!("{rest:0width$}", width = digits as usize);
    format!("{whole}.{}", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{format, format_rounded, parse};

    #[test]
    fn go_durations_are_read() {
        for (text, milliseconds) in [
            ("30m", 1_800_000),
            ("45s", 45_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("0", 0),
            ("0s", 0),
            ("+2ms", 2),
            (".5s", 500),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "30", "-1s", "1d", "s", ".s", "1 h", "1h-", "9999999999h", "1.2.3s"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(7), "7ns"),
            (Duration::from_micros(1500), "1.5ms"),
            (Duration::from_secs(45), "45s"),
            (Duration::from_secs(122), "2m2s"),
            (Duration::from_secs(3600), "1h0m0s"),
            (Duration::new(10, 468_245_525), "10.468245525s"),
        ] {
            assert_eq!(format(duration), text);
            assert_eq!(parse(text), Ok(duration));
        }
        assert_eq!(format_rounded(Duration::from_millis(58_500)), "59s");
    }
}
