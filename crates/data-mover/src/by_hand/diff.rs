//! `diff`.

use std::io::Write;

use repository::browse::{Change, DiffRequest, DiffStatistics, DiffStep, Differences, SideStatistics, diff};
use repository::{BlobReader, Control};
use serde_json::{Value, json};

use super::arguments::{self, Filter};
use super::failure::Failure;
use super::ls::complete;
use super::output::{self, Output};
use super::session::{Access, Meant, Session};
use super::text;

pub async fn run(session: &Session, arguments: arguments::Diff) -> Result<(), Failure> {
    session
        .with_repository(Access::Read, async |repository, _| {
            let first = Meant::find(session, repository, &arguments.first, &Filter::default()).await?;
            let second = Meant::find(session, repository, &arguments.second, &Filter::default()).await?;
            let (output, arguments) = (session.output.clone(), arguments.clone());
            let compare =
                move |reader: &BlobReader, control: &Control| compare(&output, &arguments, [&first, &second], reader, control);
            session.read(repository, compare).await
        })
        .await
}

fn compare(
    output: &Output,
    arguments: &arguments::Diff,
    [first, second]: [&Meant; 2],
    reader: &BlobReader,
    control: &Control,
) -> Result<(), Failure> {
    let mut out = output::buffered();
    if !output.json && !output.quiet {
        writeln!(out, "comparing snapshot {} to {}:\n", first.id.short(), second.id.short())?;
    }
    let request = DiffRequest { metadata: arguments.metadata };
    let mut changes = diff(reader, first.root(reader)?, second.root(reader)?, request, control);
    let mut unreadable = 0;
    for step in &mut changes {
        match step? {
            DiffStep::Change { path, is_directory, change } if !output.quiet => {
                let (modifier, slash) = (modifier(change), if is_directory { "/" } else { "" });
                if output.json {
                    let path = String::from_utf8_lossy(&path).into_owned() + slash;
                    writeln!(out, "{}", json!({"message_type": "change", "path": path, "modifier": modifier}))?;
                } else {
                    writeln!(out, "{modifier:<5}{}{slash}", text::printable(&path))?;
                }
            }
            DiffStep::Change { .. } => {}
            DiffStep::Problem(problem) => {
                output.problem("error", "diff", &problem.path, &problem.reason);
                unreadable += 1;
            }
        }
    }
    out.flush()?;
    let statistics = changes.statistics()?;
    if statistics.unknown_blobs + statistics.unreadable_trees > 0 {
        output.warn("the sums are too low or too high, because the repository is damaged; run a check");
    }
    if output.json {
        writeln!(out, "{}", as_json(arguments, &statistics))?;
    } else {
        summarise(&mut out, &statistics)?;
    }
    out.flush()?;
    complete(unreadable)
}

/// restic's letters for a change.
fn modifier(change: Change) -> String {
    let Differences { kind, content, silent, metadata } = match change {
        Change::Added => return "+".to_owned(),
        Change::Removed => return "-".to_owned(),
        Change::Different(differences) => differences,
    };
    [(kind, 'T'), (content, 'M'), (silent, '?'), (metadata, 'U')].iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect()
}

fn as_json(arguments: &arguments::Diff, statistics: &DiffStatistics) -> Value {
    let side = |side: &SideStatistics| {
        json!({
            "files": side.files, "dirs": side.dirs, "others": side.others,
            "data_blobs": side.data_blobs, "tree_blobs": side.tree_blobs, "bytes": side.bytes,
        })
    };
    json!({
        "message_type": "statistics",
        "source_snapshot": arguments.first,
        "target_snapshot": arguments.second,
        "changed_files": statistics.changed_files,
        "added": side(&statistics.added),
        "removed": side(&statistics.removed),
    })
}

fn summarise(out: &mut impl Write, statistics: &DiffStatistics) -> Result<(), Failure> {
    let DiffStatistics { changed_files, added, removed, .. } = statistics;
    writeln!(out)?;
    writeln!(out, "Files:       {:>5} new, {:>5} removed, {changed_files:>5} changed", added.files, removed.files)?;
    for (name, new, gone) in [
        ("Dirs:", added.dirs, removed.dirs),
        ("Others:", added.others, removed.others),
        ("Data Blobs:", added.data_blobs, removed.data_blobs),
        ("Tree Blobs:", added.tree_blobs, removed.tree_blobs),
    ] {
        writeln!(out, "{name:<12} {new:>5} new, {gone:>5} removed")?;
    }
    writeln!(out, "  Added:   {}", text::bytes(added.bytes))?;
    writeln!(out, "  Removed: {}", text::bytes(removed.bytes))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_restic_s() {
        let different = |differences| modifier(Change::Different(differences));
        assert_eq!((modifier(Change::Added), modifier(Change::Removed)), ("+".to_owned(), "-".to_owned()));
        assert_eq!(different(Differences { content: true, silent: true, ..Differences::default() }), "M?");
        assert_eq!(different(Differences { kind: true, metadata: true, ..Differences::default() }), "TU");
    }
}
