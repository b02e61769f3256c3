//! Which entries of a snapshot are restored.

use std::{os::unix::ffi::OsStrExt, path::Path};

use super::request::RestoreRequest;
use crate::{error::Result, source::PatternList};

/// What is done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The entry itself is restored.
    pub(super) restore: bool,
    /// Something below it may be.
    pub(super) descend: bool,
}

/// The request's choice, and what the snapshot itself says.
#[derive(Debug)]
pub(super) struct Selection {
    include: PatternList,
    exclude: PatternList,
    /// The request's paths, split; empty if there is no such restriction.
    paths: Vec<Vec<Vec<u8>>>,
    /// What was backed up, split.
    backed_up: Vec<Vec<Vec<u8>>>,
}

impl Selection {
    pub(super) fn new(request: &RestoreRequest, snapshot_paths: &[String]) -> Result<Self> {
        Ok(Self {
            include: PatternList::parse(&request.include)?,
            exclude: PatternList::parse(&request.exclude)?,
            paths: request.paths.iter().map(|path| split(path.as_os_str().as_bytes())).collect(),
            backed_up: snapshot_paths.iter().map(|path| split(Path::new(path).as_os_str().as_bytes())).collect(),
        })
    }

    /// What is done with the entry at this absolute path of the snapshot.
    pub(super) fn choose(&self, path: &[u8]) -> Choice {
        let mut choice = Choice { restore: true, descend: true };
        if !self.paths.is_empty() {
            let names = split(path);
            choice.restore = self.paths.iter().any(|chosen| names.starts_with(chosen));
            choice.descend = choice.restore || self.paths.iter().any(|chosen| chosen.starts_with(&names));
        }
        if !self.include.is_empty() {
            let (matched, below) = self.include.matches_with_children(path);
            choice.restore &= matched;
            choice.descend &= matched || below;
        }
        if self.exclude.matches(path) {
            choice = Choice { restore: false, descend: false };
        }
        choice
    }

    /// Whether the entry only stands above what was backed up. Such a directory is made if it is missing; one that is there belongs
    /// to somebody else and keeps its owner, mode and times.
    pub(super) fn is_above_backup(&self, path: &[u8]) -> bool {
        let names = split(path);
        self.backed_up.iter().any(|backed_up| backed_up.len() > names.len() && backed_up.starts_with(&names))
            && !self.backed_up.iter().any(|backed_up| names.starts_with(backed_up))
    }

    /// Whether the entry is chosen with all that is in it, but for what the patterns leave out.
    pub(super) fn chooses(&self, path: &[u8]) -> bool {
        self.choose(path).restore
    }

    /// The paths that were backed up, as names below one another.
    pub(super) fn backed_up(&self) -> &[Vec<Vec<u8>>] {
        &self.backed_up
    }

    /// Whether the entry is itself one of the paths that were backed up: the root of a volume more often than not.
    pub(super) fn is_backup_root(&self, path: &[u8]) -> bool {
        let names = split(path);
        self.backed_up.contains(&names)
    }
}

/// The names of a path, one below the other.
pub(super) fn split(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Id;

    fn selection(include: &[&str], exclude: &[&str], paths: &[&str]) -> Selection {
        let mut request = RestoreRequest::new(Id::of(b""), "/".into());
        request.include = include.iter().map(ToString::to_string).collect();
        request.exclude = exclude.iter().map(ToString::to_string).collect();
        request.paths = paths.iter().map(Into::into).collect();
        Selection::new(&request, &["/data/x".to_owned()]).unwrap()
    }

    #[test]
    fn patterns_and_paths_choose_together() {
        let choose = |selection: &Selection, path: &str| {
            let Choice { restore, descend } = selection.choose(path.as_bytes());
            (restore, descend)
        };
        let all = selection(&[], &[], &[]);
        assert_eq!(choose(&all, "/data"), (true, true));
        let some = selection(&["/data/x/keep"], &["*.tmp"], &["/data/x"]);
        assert_eq!(choose(&some, "/data"), (false, true));
        assert_eq!(choose(&some, "/data/x"), (false, true));
        assert_eq!(choose(&some, "/data/x/keep/a"), (true, true));
        assert_eq!(choose(&some, "/data/x/keep/a.tmp"), (false, false));
        assert_eq!(choose(&some, "/data/x/other"), (false, false));
        assert_eq!(choose(&some, "/etc"), (false, false));
        assert_eq!(choose(&selection(&[], &[], &["/data/x"]), "/data/xy"), (false, false));
    }

    #[test]
    fn what_stands_above_the_backup_is_told_from_what_was_backed_up() {
        let selection = selection(&[], &[], &[]);
        let above = |path: &str| selection.is_above_backup(path.as_bytes());
        assert!(above("/data"));
        assert!(!above("/data/x") && !above("/data/x/y") && !above("/other"));
        assert!(selection.is_backup_root(b"/data/x") && !selection.is_backup_root(b"/data"));
    }
}
