//! Ranges of a file that could not be restored.

use std::fmt::Write as _;

/// Ranges that are named one by one in a report.
const NAMED: usize = 8;

/// Damaged ranges of one file and the first reason.
#[derive(Debug, Default)]
pub(super) struct Damage {
    ranges: Vec<(u64, u64)>,
    reason: String,
}

impl Damage {
    /// Adds `length` bytes from `offset` on.
    pub(super) fn add(&mut self, offset: u64, length: u64, reason: &str) {
        self.ranges.push((offset, offset + length));
        if self.reason.is_empty() {
            reason.clone_into(&mut self.reason);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// A sentence for the report.
    pub(super) fn describe(&mut self) -> String {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for &(start, end) in &self.ranges {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        let mut text = "not restored: bytes ".to_owned();
        for (position, (start, end)) in merged.iter().take(NAMED).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{start}-{}", end.saturating_sub(1));
        }
        if merged.len() > NAMED {
            let _ = write!(text, " and {} more ranges", merged.len() - NAMED);
        }
        let _ = write!(text, ": {}", self.reason);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_merged_and_many_are_counted() {
        let mut damage = Damage::default();
        assert!(damage.is_empty());
        damage.add(100, 50, "blob missing");
        damage.add(0, 10, "other");
        damage.add(150, 50, "other");
        assert_eq!(damage.describe(), "not restored: bytes 0-9, 100-199: blob missing");
        for number in 0..20 {
            damage.add(1_000 + number * 10, 1, "x");
        }
        assert!(damage.describe().contains("and 14 more ranges"));
    }
}
