//! Label values: at most 63 characters of a small set.

use super::{SHOWN_DIGITS, cut, digest};

/// The longest label value Kubernetes takes.
pub const LABEL_VALUE_LIMIT: usize = 63;

/// `value` as a label value: itself where Kubernetes takes it, else its readable head and eight
/// hexadecimal digits of the whole, so that two values that differ stay different.
pub fn label_value(value: &str) -> String {
    if is_label_value(value) {
        return value.to_owned();
    }
    let readable: String = value
        .chars()
        .map(|character| match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => character,
            _ => '-',
        })
        .collect();
    let readable = readable.trim_matches(|character: char| !character.is_ascii_alphanumeric());
    let whole = digest(&["label-value", value]);
    let shown = whole.get(..SHOWN_DIGITS).unwrap_or(&whole);
    let head = cut(readable, LABEL_VALUE_LIMIT - SHOWN_DIGITS - 1)
        .trim_end_matches(|character: char| !character.is_ascii_alphanumeric());
    if head.is_empty() { shown.to_owned() } else { format!("{head}-{shown}") }
}

fn is_label_value(value: &str) -> bool {
    let edge = |character: Option<char>| character.is_none_or(|character| character.is_ascii_alphanumeric());
    value.len() <= LABEL_VALUE_LIMIT
        && edge(value.chars().next())
        && edge(value.chars().next_back())
        && value.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.'))
}
