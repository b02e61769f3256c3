//! Searching snapshots for names.

use super::walk::{Choice, Step, Walk};
use crate::TreeId;
use crate::control::Control;
use crate::error::Result;
use crate::format::{Node, Time};
use crate::pack::BlobReader;
use crate::source::PatternList;

/// What to search for.
#[derive(Debug, Clone, Default)]
pub struct FindRequest {
    /// Patterns with restic's meaning, see [`crate::source::pattern`]; an entry is found if one of them matches. A `!` has no
    /// meaning here.
    pub patterns: Vec<String>,
    /// Whether capitals are the same as small letters.
    pub ignore_case: bool,
    /// Only entries changed at this time or later.
    pub oldest: Option<Time>,
    /// Only entries changed at this time or earlier.
    pub newest: Option<Time>,
}

/// A request that is understood, for one snapshot after another.
#[derive(Debug, Clone)]
pub struct Finder {
    patterns: PatternList,
    ignore_case: bool,
    oldest: Option<Time>,
    newest: Option<Time>,
}

impl Finder {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`crate::Error::InvalidPattern`] if one is malformed.
    pub fn new(request: &FindRequest) -> Result<Self> {
        let literal = |pattern: &String| {
            let pattern = if request.ignore_case { pattern.to_lowercase() } else { pattern.clone() };
            if pattern.starts_with('!') { format!("\\{pattern}") } else { pattern }
        };
        let patterns: Vec<String> = request.patterns.iter().map(literal).collect();
        Ok(Self {
            patterns: PatternList::parse(&patterns)?,
            ignore_case: request.ignore_case,
            oldest: request.oldest,
            newest: request.newest,
        })
    }

    /// The entries of a snapshot that are searched for, in the order of names. Directories in which none can be are not read.
    pub fn search(&self, reader: &BlobReader, root: TreeId, control: &Control) -> impl Iterator<Item = Result<Step>> + use<> {
        let finder = self.clone();
        Walk::new(reader, root, control, move |path, node| finder.choose(path, node))
    }

    fn choose(&self, path: &[u8], node: &Node) -> Choice {
        let (matched, below) = if self.ignore_case {
            self.patterns.matches_with_children(&lowercase(path))
        } else {
            self.patterns.matches_with_children(path)
        };
        let in_time =
            self.oldest.is_none_or(|oldest| node.mtime >= oldest) && self.newest.is_none_or(|newest| node.mtime <= newest);
        Choice { show: matched && in_time, descend: matched || below }
    }
}

/// The path in small letters. What is not UTF-8 has none.
fn lowercase(path: &[u8]) -> Vec<u8> {
    let mut lower = Vec::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        lower.extend_from_slice(chunk.valid().to_lowercase().as_bytes());
        lower.extend_from_slice(chunk.invalid());
    }
    lower
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn found(patterns: &[&str], ignore_case: bool, path: &str) -> bool {
        let patterns = patterns.iter().map(ToString::to_string).collect();
        let finder = Finder::new(&FindRequest { patterns, ignore_case, ..FindRequest::default() }).unwrap();
        finder.choose(path.as_bytes(), &Node::default()).show
    }

    #[test]
    fn one_of_several_patterns_is_enough_and_case_counts_unless_told() {
        assert!(found(&["*.txt", "*.md"], false, "/a/readme.md"));
        assert!(!found(&["*.MD"], false, "/a/readme.md") && found(&["*.MD"], true, "/a/Readme.md"));
        assert!(found(&["GRÜN"], true, "/a/grün"));
        assert!(found(&["!odd"], false, "/a/!odd") && !found(&["*", "!odd"], false, ""));
    }

    #[test]
    fn times_bound_what_is_found_but_not_where_is_looked() {
        let at = |seconds| Time { seconds, nanos: 0 };
        let request =
            FindRequest { patterns: vec!["*".into()], oldest: Some(at(10)), newest: Some(at(20)), ..FindRequest::default() };
        let finder = Finder::new(&request).unwrap();
        let choose = |seconds| finder.choose(b"/a", &Node { mtime: at(seconds), ..Node::default() });
        assert_eq!([9, 10, 20, 21].map(|seconds| choose(seconds).show), [false, true, true, false]);
        assert!(choose(9).descend);
    }
}
