//! `snapshots`.

use std::collections::HashMap;

use repository::SnapshotId;
use repository::format::Snapshot;
use serde::Serialize;

use super::arguments::Snapshots;
use super::failure::Failure;
use super::output::Output;
use super::session::{Access, Session};
use super::text;

pub async fn run(session: &Session, arguments: &Snapshots) -> Result<(), Failure> {
    let mut found = session
        .with_repository(Access::Read, async |repository, _| {
            let filter = arguments.filter.meaning();
            Ok(repository.find_snapshots(&arguments.snapshots, &filter, &session.control).await?)
        })
        .await?;
    if let Some(most) = arguments.latest {
        found = latest(found, most);
    }
    if session.output.json {
        let shown: Vec<_> = found.iter().map(|(id, snapshot)| Shown::new(*id, snapshot)).collect();
        return session.output.message(&shown);
    }
    table(&session.output, &found)
}

/// The latest of each line of snapshots, oldest first.
fn latest(found: Vec<(SnapshotId, Snapshot)>, most: usize) -> Vec<(SnapshotId, Snapshot)> {
    let mut taken: HashMap<(String, Vec<String>), usize> = HashMap::new();
    let mut kept: Vec<_> = found
        .into_iter()
        .rev()
        .filter(|(_, snapshot)| {
            let count = taken.entry((snapshot.hostname.clone(), snapshot.paths.clone())).or_default();
            *count += 1;
            *count <= most
        })
        .collect();
    kept.reverse();
    kept
}

/// A snapshot as restic's JSON has it.
#[derive(Serialize)]
pub struct Shown<'a> {
    #[serde(flatten)]
    snapshot: &'a Snapshot,
    id: SnapshotId,
    short_id: String,
}

impl<'a> Shown<'a> {
    pub fn new(id: SnapshotId, snapshot: &'a Snapshot) -> Self {
        Self { snapshot, id, short_id: id.short() }
    }
}

const HEADINGS: [&str; 6] = ["ID", "Time", "Host", "Tags", "Size", "Paths"];

fn table(output: &Output, found: &[(SnapshotId, Snapshot)]) -> Result<(), Failure> {
    let rows: Vec<_> = std::iter::once(HEADINGS.map(str::to_owned)).chain(found.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..HEADINGS.len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        output.line(cells.join("  ").trim_end())?;
    }
    output.note(format_args!("{} snapshots", found.len()))
}

fn row((id, snapshot): &(SnapshotId, Snapshot)) -> [String; 6] {
    let joined = |texts: &[String]| text::printable(texts.join(",").as_bytes());
    let size = snapshot.summary.as_ref().map_or_else(String::new, |summary| text::bytes(summary.total_bytes_processed));
    [
        id.short(),
        text::local_time(snapshot.time),
        text::printable(snapshot.hostname.as_bytes()),
        joined(&snapshot.tags),
        size,
        joined(&snapshot.paths),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use repository::Id;

    use super::*;

    fn snapshot(seconds: u32, host: &str) -> (SnapshotId, Snapshot) {
        let json = format!(
            r#"{{"time":"1970-01-01T00:00:{seconds:02}Z","tree":"{}","paths":["/a"],"hostname":"{host}","tags":["t"]}}"#,
            Id::of(b"tree")
        );
        (Id::of(json.as_bytes()), serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn the_latest_of_each_line_stay_in_order() {
        let all = [snapshot(1, "a"), snapshot(2, "b"), snapshot(3, "a"), snapshot(4, "a")];
        let seconds: Vec<_> = latest(all.to_vec(), 1).iter().map(|(_, snapshot)| snapshot.time.seconds).collect();
        assert_eq!(seconds, [2, 4]);
        assert_eq!(latest(all.to_vec(), 2).len(), 3);
    }

    #[test]
    fn json_has_restic_s_fields() {
        let (id, snapshot) = snapshot(1, "a");
        let json = serde_json::to_value(Shown::new(id, &snapshot)).unwrap();
        assert_eq!((json["id"].as_str(), json["short_id"].as_str()), (Some(id.to_string().as_str()), Some(id.short().as_str())));
        assert_eq!((json["time"].as_str(), json["hostname"].as_str()), (Some("1970-01-01T00:00:01Z"), Some("a")));
    }
}
