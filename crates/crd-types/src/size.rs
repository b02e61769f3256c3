//! Sizes as they stand in status fields (specification 1.4).
//!
//! Two notations exist: binary units with three decimals for sizes (`2.951 KiB`), and decimal units with four
//! significant digits for progress (`393.9MB`).

const UNITS: [(&str, f64); 4] = [("TiB", 1_099_511_627_776.0), ("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)];
const DECIMAL_UNITS: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];

/// A string that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a size such as \"12.222 MiB\"")]
pub struct InvalidSize(pub String);

/// Bytes in the notation of sizes. A unit is used only above it, so 1024 bytes print as `1024 B`.
///
/// ```
/// assert_eq!(crd_types::size::format(12_815_696), "12.222 MiB");
/// assert_eq!(crd_types::size::format(1024), "1024 B");
/// ```
#[must_use]
pub fn format(bytes: u64) -> String {
    let value = bytes as f64;
    UNITS
        .iter()
        .find(|(_, unit)| value > *unit)
        .map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{:.3} {name}", value / unit))
}

/// Bytes of a size. The result is as precise as the notation, three decimals of the unit.
///
/// # Errors
/// When the text is not a number, one space and a unit.
pub fn parse(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize(text.to_owned());
    let (number, unit) = text.split_once(' ').ok_or_else(invalid)?;
    let number: f64 = number.parse().map_err(|_| invalid())?;
    if !number.is_finite() || number < 0.0 {
        return Err(invalid());
    }
    let factor = if unit == "B" { 1.0 } else { UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?.1 };
    Ok((number * factor).round() as u64)
}

/// Bytes in the notation of progress: four significant digits, without trailing zeros.
///
/// ```
/// assert_eq!(crd_types::size::format_decimal(393_900_000), "393.9MB");
/// assert_eq!(crd_types::size::format_decimal(0), "0B");
/// ```
#[must_use]
pub fn format_decimal(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < DECIMAL_UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    let number = format!("{value:.decimals$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number}{}", DECIMAL_UNITS[unit])
}

/// Bytes a second in the notation of progress.
#[must_use]
pub fn format_speed(bytes_per_second: u64) -> String {
    format!("{}/s", format_decimal(bytes_per_second))
}

/// A share in the notation of progress; none while the total is not known.
///
/// ```
/// assert_eq!(crd_types::size::format_percent(1, 3).as_deref(), Some("33.33%"));
/// ```
#[must_use]
pub fn format_percent(done: u64, total: u64) -> Option<String> {
    let share = || (done as f64 / total as f64 * 100.0).min(100.0);
    (total > 0).then(|| format!("{:.2}%", share()))
}

#[cfg(test)]
mod tests {
    use super::{format, format_decimal, format_percent, format_speed, parse};

    #[test]
    fn a_unit_is_used_only_above_it() {
        assert_eq!(format(0), "0 B");
        assert_eq!(format(1024), "1024 B");
        assert_eq!(format(1025), "1.001 KiB");
        assert_eq!(format(1 << 20), "1024.000 KiB");
        assert_eq!(format((1 << 30) + 1), "1.000 GiB");
        assert_eq!(format((1 << 41) + 1), "2.000 TiB");
    }

    #[test]
    fn parsing_undoes_formatting_to_the_precision_of_the_text() {
        for bytes in [0_u64, 12, 1024, 3022, 12_815_696, 5_000_000_000, 7 << 40] {
            let text = format(bytes);
            assert_eq!(format(parse(&text).unwrap()), text, "{bytes}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "12", "12 KB", "x B", "12  B", "-1 B", "inf B", "NaN KiB"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn progress_has_four_significant_digits() {
        assert_eq!(format_decimal(999), "999B");
        assert_eq!(format_decimal(1000), "1kB");
        assert_eq!(format_decimal(12_345), "12.35kB");
        assert_eq!(format_decimal(1_234_567), "1.235MB");
        assert_eq!(format_speed(20_000_000), "20MB/s");
        assert_eq!(format_percent(0, 0), None);
        assert_eq!(format_percent(5, 3).as_deref(), Some("100.00%"));
    }
}
