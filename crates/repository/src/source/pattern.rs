//! Lists of patterns that choose paths, with restic's meaning.
//!
//! * A pattern is split at `/`; each component matches one component of the path by the rules of Go's `filepath.Match`.
//! * A pattern that begins with `/` matches from the root; any other matches at any depth.
//! * A pattern matches a path if it matches the path or a directory above it.
//! * `**` stands for any number of components.
//! * A pattern that begins with `!` takes back what the ones before it chose. A directory that is left out is not entered,
//!   so nothing below it can be taken back.

use super::glob::Glob;

/// A pattern cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?} is malformed: {reason}; correct it or escape the character with a backslash")]
pub struct InvalidPattern {
    /// As it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Patterns that are tried in order.
#[derive(Clone, Debug, Default)]
pub struct PatternList {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
struct Pattern {
    negated: bool,
    components: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Exact(Vec<u8>),
    Glob(Glob),
    AnyOne,
    AnyNumber,
}

impl PatternList {
    /// Compiles patterns; empty ones are left out.
    ///
    /// # Errors
    /// If one is malformed.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, InvalidPattern> {
        let patterns =
            patterns.iter().map(AsRef::as_ref).filter(|text| !text.is_empty()).map(Pattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether there is no pattern; then nothing matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the list chooses this absolute path.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> bool {
        self.matches_with_children(path).0
    }

    /// Whether the list chooses this absolute path, and whether it may choose something below it.
    #[must_use]
    pub fn matches_with_children(&self, path: &[u8]) -> (bool, bool) {
        if self.patterns.is_empty() || path.is_empty() {
            return (false, false);
        }
        let path: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        self.patterns.iter().fold((false, false), |(matched, children), pattern| {
            let this = matches(&pattern.components.iter().collect::<Vec<_>>(), &path);
            if pattern.negated {
                (matched && !this, children && !this)
            } else {
                (matched || this, children || pattern.may_match_below(&path))
            }
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = |reason| InvalidPattern { pattern: text.to_owned(), reason };
        let (negated, body) = text.strip_prefix('!').map_or((false, text), |body| (true, body));
        if body.is_empty() {
            return Err(invalid("nothing follows the '!'"));
        }
        let components = clean(body).into_iter().map(Component::parse).collect::<Result<Vec<_>, _>>().map_err(invalid)?;
        Ok(Self { negated, components })
    }

    fn is_absolute(&self) -> bool {
        matches!(self.components.first(), Some(Component::Exact(name)) if name.is_empty())
    }

    fn may_match_below(&self, path: &[&[u8]]) -> bool {
        if !self.is_absolute() {
            return true;
        }
        let wildcard = self.components.iter().position(|component| *component == Component::AnyNumber);
        let depth = wildcard.map_or(path.len(), |wildcard| wildcard.min(path.len())).min(self.components.len());
        let path = if wildcard.is_some() { &path[..depth] } else { path };
        matches(&self.components[..depth].iter().collect::<Vec<_>>(), path)
    }
}

impl Component {
    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(match text {
            "**" => Self::AnyNumber,
            "*" => Self::AnyOne,
            _ if text.contains(['\\', '[', ']', '*', '?']) => Self::Glob(Glob::parse(text.as_bytes())?),
            _ => Self::Exact(text.as_bytes().to_vec()),
        })
    }

    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Glob(glob) => glob.matches(name),
            Self::AnyOne | Self::AnyNumber => true,
        }
    }
}

/// The components of a pattern without empty, `.` and resolvable `..` ones; an absolute pattern begins with an empty one.
fn clean(pattern: &str) -> Vec<&str> {
    let mut components: Vec<&str> = Vec::new();
    let absolute = pattern.starts_with('/');
    for component in pattern.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => {
                components.pop();
            }
            ".." if absolute => {}
            other => components.push(other),
        }
    }
    if absolute {
        components.insert(0, "");
        if components.len() == 1 {
            // The root alone: an empty component twice, as splitting "/" gives.
            components.push("");
        }
    } else if components.is_empty() {
        components.push(".");
    }
    components
}

fn matches(pattern: &[&Component], path: &[&[u8]]) -> bool {
    if let Some(wildcard) = pattern.iter().position(|component| **component == Component::AnyNumber) {
        let fixed = pattern.len() - 1;
        return (0..=path.len().saturating_sub(fixed)).any(|count| {
            let mut expanded = pattern[..wildcard].to_vec();
            expanded.extend(std::iter::repeat_n(&Component::AnyOne, count));
            expanded.extend_from_slice(&pattern[wildcard + 1..]);
            matches(&expanded, path)
        });
    }
    let (Some(first), Some(spare)) = (pattern.first(), path.len().checked_sub(pattern.len())) else {
        return pattern.is_empty() && path.is_empty();
    };
    let anchored = matches!(first, Component::Exact(name) if name.is_empty());
    let last_offset = if anchored { 0 } else { spare };
    (0..=last_offset).any(|offset| pattern.iter().zip(&path[offset..]).all(|(component, name)| component.matches(name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn matched(pattern: &str, path: &str) -> bool {
        PatternList::parse(&[pattern]).unwrap().matches(path.as_bytes())
    }

    /// The meaning documented by restic, by example.
    #[test]
    fn single_patterns_match_as_in_restic() {
        let cases = [
            ("foo", "/foo", true),
            ("foo", "/a/foo/b", true),
            ("foo", "/food", false),
            ("/foo", "/foo/bar", true),
            ("/foo", "/a/foo", false),
            ("foo/", "/foo", true),
            ("*.go", "/foo/bar/test.go", true),
            ("*.c", "/foo/bar/test.go", false),
            ("*", "/foo/bar/test.go", true),
            ("foo/bar", "/x/foo/bar/baz", true),
            ("foo/*", "/x/foo", false),
            ("foo/**/bar", "/foo/bar", true),
            ("foo/**/bar", "/foo/a/b/bar", true),
            ("foo/**/bar", "/foo/a/b/baz", false),
            ("/foo/**/bar", "/x/foo/a/bar", false),
            ("/foo/**", "/foo/bar", true),
            ("**/bar", "/a/b/bar", true),
            ("/home/user/[0-9]*", "/home/user/12/x", true),
            ("/foo/../bar", "/bar", true),
            ("name with space", "/a/name with space", true),
            ("grün?", "/grünx", true),
            ("/", "/x", false),
            ("**", "/x", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(matched(pattern, path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_later_negation_takes_back_and_a_later_pattern_takes_again() {
        let list = PatternList::parse(&["*.log", "!keep.log", "/tmp/keep.log"]).unwrap();
        assert!(list.matches(b"/a/x.log"));
        assert!(!list.matches(b"/a/keep.log"));
        assert!(list.matches(b"/tmp/keep.log"));
    }

    #[test]
    fn what_may_lie_below_is_told() {
        let below = |pattern: &str, path: &str| PatternList::parse(&[pattern]).unwrap().matches_with_children(path.as_bytes()).1;
        assert!(below("/data/x", "/data"));
        assert!(!below("/data/x", "/etc"));
        assert!(below("x", "/anything"));
        assert!(below("/data/**/x", "/data/a/b"));
        assert!(!below("/data/**/x", "/etc/a/b"));
    }

    #[test]
    fn malformed_patterns_name_themselves() {
        let error = PatternList::parse(&["fine", "[oops"]).unwrap_err();
        assert!(error.to_string().contains("\"[oops\""), "{error}");
        assert!(PatternList::parse(&["!"]).is_err());
        assert!(PatternList::parse(&[""]).unwrap().is_empty());
    }
}
