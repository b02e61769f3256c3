//! Canonical relative paths.

use std::fmt;

use thiserror::Error;

/// Longest path taken, in bytes: object keys end at 1024 and a restic pack needs about 80 more.
const PATH_LIMIT: usize = 512;

/// Why a path in a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path names nothing, or the root itself.
    #[error("{what} {path:?} names the root of the storage; give it a directory of its own, such as `web`")]
    Empty {
        /// What the path is.
        what: &'static str,
        /// The path as written.
        path: String,
    },
    /// A segment would lead elsewhere.
    #[error("{what} {path:?} contains the segment `{segment}`; write the path without it")]
    Relative {
        /// What the path is.
        what: &'static str,
        /// The path as written.
        path: String,
        /// `.` or `..`.
        segment: String,
    },
    /// A character that cannot stand in a key.
    #[error("{what} {path:?} contains {character:?}; use letters, digits, dots, dashes and underscores between slashes")]
    Character {
        /// What the path is.
        what: &'static str,
        /// The path as written.
        path: String,
        /// The first such character.
        character: char,
    },
    /// The path is too long.
    #[error("{what} is {length} bytes long; shorten it to at most {PATH_LIMIT}")]
    Long {
        /// What the path is.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// The path is the key of an object of ours.
    #[error("{what} {path:?} is the name of an object Orlop writes; choose another directory")]
    Reserved {
        /// What the path is.
        what: &'static str,
        /// The path as written.
        path: String,
    },
    /// A component path that is none.
    #[error(
        "component path {path:?} is not `repository/v1/<session>/<component>`; the Snapshot's status was not written by a backup"
    )]
    Component {
        /// The path as written.
        path: String,
    },
    /// The directory belongs to another Repository, in whole or in part.
    #[error("{0}")]
    Taken(String),
}

/// A storage's directory inside its bucket: `Prefix` of a BackupStorage, `""` or `a/b`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StoragePrefix(String);

impl StoragePrefix {
    /// The canonical form of a prefix as written; an empty one is the bucket's root.
    ///
    /// # Errors
    /// If a segment is `.` or `..`, or a control character stands in it.
    pub fn parse(written: &str) -> Result<Self, PathError> {
        const WHAT: &str = "prefix";
        let segments = segments(WHAT, written, |character| !character.is_control())?;
        Ok(Self(segments.join("/")))
    }

    /// The prefix without slashes at its ends.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full key in the bucket of a key relative to the root.
    pub fn join(&self, key: &str) -> String {
        let key = key.trim_start_matches('/');
        if self.0.is_empty() { key.to_owned() } else { format!("{}/{key}", self.0) }
    }
}

impl fmt::Display for StoragePrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A Repository's directory, `Repository.spec.path`, in canonical form: `a/b`.
///
/// KubeStash's leading slash, a slash at the end and double slashes are read over (specification
/// §3.1); the object keeps the path as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Directory(String);

impl Directory {
    /// The canonical form of `written`.
    ///
    /// # Errors
    /// If nothing is left, a segment is `.` or `..`, a character is not in `A-Za-z0-9._-`, or the
    /// first segment is the storage's own `metadata.yaml` (reliability S-03).
    pub fn parse(written: &str) -> Result<Self, PathError> {
        const WHAT: &str = "directory";
        let segments = segments(WHAT, written, is_key_character)?;
        let Some(first) = segments.first() else {
            return Err(PathError::Empty { what: WHAT, path: written.to_owned() });
        };
        if *first == super::METADATA_KEY || *first == "debug_metadata.yaml" {
            return Err(PathError::Reserved { what: WHAT, path: written.to_owned() });
        }
        Ok(Self(segments.join("/")))
    }

    /// The path without slashes at its ends.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The characters of S-03.
pub(super) fn is_key_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

/// The segments of a path, empty ones left out.
pub(super) fn segments<'a>(
    what: &'static str,
    written: &'a str,
    allowed: impl Fn(char) -> bool,
) -> Result<Vec<&'a str>, PathError> {
    if written.len() > PATH_LIMIT {
        return Err(PathError::Long { what, length: written.len() });
    }
    let mut found = Vec::new();
    for segment in written.split('/').filter(|segment| !segment.is_empty()) {
        if segment == "." || segment == ".." {
            return Err(PathError::Relative { what, path: written.to_owned(), segment: segment.to_owned() });
        }
        if let Some(character) = segment.chars().find(|&character| !allowed(character)) {
            return Err(PathError::Character { what, path: written.to_owned(), character });
        }
        found.push(segment);
    }
    Ok(found)
}
