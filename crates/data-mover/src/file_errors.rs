//! Files that could not be treated as asked, as outcomes list them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use proto_api::mover::v1alpha1::{FileError, TargetOutcome};
use repository::source::Problems;

/// Most files that are named; the rest is counted.
const NAMED: usize = 50;

/// Adds problems to an outcome.
pub(crate) fn add(outcome: &mut TargetOutcome, problems: &Problems) {
    outcome.file_error_count += problems.total;
    let room = NAMED.saturating_sub(outcome.file_errors.len());
    outcome.file_errors.extend(
        problems.listed.iter().take(room).map(|problem| FileError { path: shown(&problem.path), error: problem.reason.clone() }),
    );
}

/// One sentence for all of them: how many, and which came first.
pub(crate) fn sentence(outcome: &TargetOutcome, what: &str) -> String {
    let first = outcome.file_errors.first().map(|file| format!(", first {}: {}", file.path, file.error)).unwrap_or_default();
    format!("{} {what}{first}", outcome.file_error_count)
}

/// A path for people: what is not UTF-8, and control characters, are escaped.
fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::PathBuf;

    use repository::source::PathProblem;

    use super::*;

    #[test]
    fn names_are_bounded_and_counts_exact() {
        let problem = |number| PathProblem { path: PathBuf::from(format!("/f{number}")), reason: "no".to_owned(), class: "io" };
        let problems = Problems { total: 2_000, listed: (0..1_000).map(problem).collect() };
        let mut outcome = TargetOutcome::default();
        add(&mut outcome, &problems);
        add(&mut outcome, &problems);
        assert_eq!((outcome.file_error_count, outcome.file_errors.len()), (4_000, NAMED));
        assert_eq!(sentence(&outcome, "files could not be read"), "4000 files could not be read, first /f0: no");
    }

    #[test]
    fn hostile_names_cannot_break_a_line() {
        let path = Path::new(OsStr::from_bytes(b"/a\n\xffb\xc3\xbc"));
        assert_eq!(shown(path), "/a\\n\\xffbü");
    }
}
