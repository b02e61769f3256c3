//! Files that could not be treated as asked, as outcomes list them.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use proto_api::mover::v1alpha1::{FileError, SourceErrorPolicy, TargetOutcome};
use repository::source::Problems;

/// Most files that are named; the rest is counted.
const NAMED: usize = 50;

/// Forgets what an earlier try found.
pub(crate) fn clear(outcome: &mut TargetOutcome) {
    outcome.file_errors.clear();
    outcome.file_error_count = 0;
    outcome.changed_files.clear();
    outcome.changed_file_count = 0;
    outcome.vanished_files.clear();
    outcome.vanished_file_count = 0;
}

/// Adds problems to an outcome.
pub(crate) fn add(outcome: &mut TargetOutcome, problems: &Problems) {
    extend(&mut outcome.file_errors, &mut outcome.file_error_count, problems);
}

/// Adds files that changed while they were read, and those that vanished before.
pub(crate) fn add_changes(outcome: &mut TargetOutcome, changed: &Problems, vanished: &Problems) {
    extend(&mut outcome.changed_files, &mut outcome.changed_file_count, changed);
    extend(&mut outcome.vanished_files, &mut outcome.vanished_file_count, vanished);
}

fn extend(named: &mut Vec<FileError>, count: &mut u64, problems: &Problems) {
    *count += problems.total;
    let room = NAMED.saturating_sub(named.len());
    let files = problems.listed.iter().take(room);
    named.extend(files.map(|problem| FileError { path: shown(&problem.path), error: problem.reason.clone() }));
}

/// Why the component fails for its files, as the user chose. Who did not choose is failed by unreadable files only.
pub(crate) fn failure(outcome: &TargetOutcome, policy: SourceErrorPolicy) -> Option<String> {
    let first = |files: &[FileError]| files.first().map(|file| format!(", first {}", file.path)).unwrap_or_default();
    let mut found = Vec::new();
    if outcome.file_error_count > 0 {
        found.push(sentence(outcome, "files could not be read"));
    }
    if policy == SourceErrorPolicy::Fail && outcome.changed_file_count > 0 {
        found.push(format!("{} files changed while they were read{}", outcome.changed_file_count, first(&outcome.changed_files)));
    }
    if policy == SourceErrorPolicy::Fail && outcome.vanished_file_count > 0 {
        found.push(format!(
            "{} files vanished before they were read{}",
            outcome.vanished_file_count,
            first(&outcome.vanished_files)
        ));
    }
    if found.is_empty() || policy == SourceErrorPolicy::Report {
        return None;
    }
    let remedy = if outcome.file_error_count > 0 {
        "the snapshot holds everything else; let the Job's user read these files, or exclude them"
    } else {
        "the snapshot holds everything as it was read; quiet the writers while it runs, exclude these files, or accept them with the \
         annotation orlop.dev/source-errors: report"
    };
    Some(format!("{}; {remedy}", found.join("; ")))
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

    /// A changed file is told, and decides as the user chose.
    #[test]
    fn changes_fail_a_component_only_if_the_user_chose_so() {
        let problems = |name: &str, total| Problems {
            total,
            listed: vec![PathProblem { path: PathBuf::from(name), reason: "changed".to_owned(), class: "changed" }],
        };
        let mut outcome = TargetOutcome::default();
        add_changes(&mut outcome, &problems("/log", 3), &problems("/tmp/x", 1));
        assert_eq!((outcome.changed_file_count, outcome.vanished_file_count), (3, 1));
        assert_eq!(outcome.changed_files[0].path, "/log");
        assert_eq!(failure(&outcome, SourceErrorPolicy::Unspecified), None);
        assert_eq!(failure(&outcome, SourceErrorPolicy::Report), None);
        let told = failure(&outcome, SourceErrorPolicy::Fail).unwrap_or_default();
        assert!(told.contains("3 files changed while they were read, first /log; 1 files vanished"), "{told}");
        add(&mut outcome, &problems("/secret", 1));
        let told = failure(&outcome, SourceErrorPolicy::Unspecified).unwrap_or_default();
        assert!(told.starts_with("1 files could not be read, first /secret") && !told.contains("/log"), "{told}");
        assert_eq!(failure(&outcome, SourceErrorPolicy::Report), None);
        clear(&mut outcome);
        assert_eq!(outcome, TargetOutcome::default());
    }

    #[test]
    fn hostile_names_cannot_break_a_line() {
        let path = Path::new(OsStr::from_bytes(b"/a\n\xffb\xc3\xbc"));
        assert_eq!(shown(path), "/a\\n\\xffbü");
    }
}
