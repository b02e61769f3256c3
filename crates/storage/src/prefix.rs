//! Prefixes come from users; only canonical relative ones are let through.

use object_store::path::Path;

/// Parses a prefix: slashes around it are tolerated (the published operator writes a leading one), everything that
/// could name another place is refused.
///
/// # Errors
/// A sentence that names the offending segment.
pub fn canonical(prefix: &str) -> Result<Path, String> {
    let trimmed = prefix.trim_matches('/');
    if trimmed.is_empty() {
        return Ok(Path::default());
    }
    for segment in trimmed.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return Err(format!("prefix {prefix:?} has the segment {segment:?}, which is not allowed"));
        }
        if segment.chars().any(char::is_control) {
            return Err(format!("prefix {prefix:?} has an unprintable character"));
        }
    }
    Path::parse(trimmed).map_err(|error| format!("prefix {prefix:?} is not a valid path: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// S-03: two spellings of one place are one place, and no spelling leaves it.
    #[test]
    fn only_canonical_prefixes_pass() {
        assert_eq!(canonical("/demo/").unwrap().as_ref(), "demo");
        assert_eq!(canonical("").unwrap().as_ref(), "");
        assert_eq!(canonical("a b/ü").unwrap().as_ref(), "a b/ü");
        for hostile in ["a/../b", "..", "a//b", "./a", "a/\n"] {
            assert!(canonical(hostile).is_err(), "{hostile:?}");
        }
    }
}
