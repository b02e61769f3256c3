//! What went wrong with single paths while the whole went on.

use std::{io, path::PathBuf};

use parking_lot::Mutex;

/// Problems that are listed one by one; beyond that they are only counted, so that a tree of a million unreadable files
/// does not fill the memory of the process that reports it.
const LISTED: usize = 1_000;

/// One path and what happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathProblem {
    /// The absolute path, as bytes of the file system.
    pub path: PathBuf,
    /// What happened, with the system's reason.
    pub reason: String,
    /// A short stable name of its kind, for metrics: `permission`, `missing`, `changed`, `io`, `space`, `read-only`,
    /// `unsupported`, `damaged`, `refused` or `other`.
    pub class: &'static str,
}

/// Problems of one kind, counted exactly and listed up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// All of them.
    pub total: u64,
    /// The first thousand.
    pub listed: Vec<PathProblem>,
}

impl Problems {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn push(&mut self, problem: PathProblem) {
        self.total += 1;
        if self.listed.len() < LISTED {
            self.listed.push(problem);
        }
    }
}

/// Collects problems from several threads.
#[derive(Debug, Default)]
pub struct ProblemLog(Mutex<Problems>);

impl ProblemLog {
    /// Adds a problem in words of our own.
    pub fn add(&self, path: PathBuf, reason: impl Into<String>, class: &'static str) {
        self.0.lock().push(PathProblem { path, reason: reason.into(), class });
    }

    /// Adds a failed system call.
    pub fn add_io(&self, path: PathBuf, operation: &str, error: &io::Error) {
        self.add(path, format!("cannot {operation}: {error}"), class_of(error));
    }

    /// How many there are so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.lock().total
    }

    /// All of them, sorted by path so that two runs report alike.
    #[must_use]
    pub fn take(&self) -> Problems {
        let mut problems = std::mem::take(&mut *self.0.lock());
        problems.listed.sort_by(|left, right| left.path.cmp(&right.path));
        problems
    }
}

/// The kind of a system error, from a closed set of names.
#[must_use]
pub fn class_of(error: &io::Error) -> &'static str {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else { return "other" };
    match errno {
        Errno::ACCESS | Errno::PERM => "permission",
        Errno::NOENT | Errno::STALE => "missing",
        Errno::IO | Errno::NODATA | Errno::BADMSG => "io",
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => "space",
        Errno::ROFS => "read-only",
        Errno::OPNOTSUPP | Errno::NOSYS => "unsupported",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reliability I3: what is not listed is still counted.
    #[test]
    fn the_list_is_bounded_and_the_count_is_exact() {
        let log = ProblemLog::default();
        for number in (0..1_500).rev() {
            log.add(PathBuf::from(format!("/f{number:04}")), "unreadable", "io");
        }
        let problems = log.take();
        assert_eq!((problems.total, problems.listed.len()), (1_500, LISTED));
        assert!(problems.listed.is_sorted_by(|left, right| left.path < right.path));
    }
}
