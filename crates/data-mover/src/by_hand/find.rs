//! `find`.

use std::io::Write;

use repository::SnapshotId;
use repository::browse::{Entry, FindRequest, Finder, Step};
use repository::format::{Node, Snapshot, Time};
use repository::{BlobReader, Control};
use serde::Serialize;

use super::arguments::Find;
use super::failure::Failure;
use super::ls::complete;
use super::output::{self, Output};
use super::session::{Access, Session};
use super::text;

pub async fn run(session: &Session, arguments: Find) -> Result<(), Failure> {
    let request = FindRequest {
        patterns: arguments.patterns.clone(),
        ignore_case: arguments.ignore_case,
        oldest: arguments.oldest.map(|time| time.0),
        newest: arguments.newest.map(|time| time.0),
    };
    let finder = Finder::new(&request)?;
    session
        .with_repository(Access::Read, async |repository, _| {
            let filter = arguments.filter.meaning();
            let mut snapshots = repository.find_snapshots(&arguments.snapshots, &filter, &session.control).await?;
            if !arguments.reverse {
                snapshots.reverse();
            }
            let search = Search { output: session.output.clone(), long: arguments.long, finder: finder.clone() };
            session.read(repository, move |reader, control| search.run(reader, control, &snapshots)).await
        })
        .await
}

struct Search {
    output: Output,
    long: bool,
    finder: Finder,
}

impl Search {
    fn run(&self, reader: &BlobReader, control: &Control, snapshots: &[(SnapshotId, Snapshot)]) -> Result<(), Failure> {
        let mut out = output::buffered();
        let mut found = Found { json: self.output.json, quiet: self.output.quiet, long: self.long, snapshots: 0, hits: 0 };
        let mut unreadable = 0;
        found.begin(&mut out)?;
        for (id, snapshot) in snapshots {
            for step in self.finder.search(reader, snapshot.tree, control) {
                match step? {
                    Step::Entry(entry) => found.hit(&mut out, *id, snapshot, &entry)?,
                    Step::Problem(problem) => {
                        self.output.problem("error", "find", &problem.path, &problem.reason);
                        unreadable += 1;
                    }
                }
            }
            found.end_of_snapshot(&mut out, *id)?;
        }
        found.end(&mut out)?;
        out.flush()?;
        complete(unreadable)
    }
}

/// Writes what is found as it comes: in JSON one document, as restic does it.
struct Found {
    json: bool,
    quiet: bool,
    long: bool,
    /// Snapshots in which something was found.
    snapshots: u64,
    /// Hits in the snapshot that is searched now.
    hits: u64,
}

impl Found {
    fn begin(&self, out: &mut impl Write) -> Result<(), Failure> {
        if self.json { Ok(out.write_all(b"[")?) } else { Ok(()) }
    }

    fn hit(&mut self, out: &mut impl Write, id: SnapshotId, snapshot: &Snapshot, entry: &Entry) -> Result<(), Failure> {
        if self.hits == 0 {
            self.snapshots += 1;
        }
        if self.json {
            let before: &[u8] = match (self.hits, self.snapshots) {
                (0, 1) => b"{\"matches\":[",
                (0, _) => b",{\"matches\":[",
                _ => b",",
            };
            out.write_all(before)?;
            serde_json::to_writer(&mut *out, &Match::new(entry)).map_err(std::io::Error::from)?;
        } else {
            if self.hits == 0 && !self.quiet {
                let gap = if self.snapshots > 1 { "\n" } else { "" };
                let time = text::local_time(snapshot.time);
                writeln!(out, "{gap}Found matching entries in snapshot {} from {time}", id.short())?;
            }
            writeln!(out, "{}", text::node_line(&entry.path, &entry.node, self.long, false))?;
        }
        self.hits += 1;
        Ok(())
    }

    fn end_of_snapshot(&mut self, out: &mut impl Write, id: SnapshotId) -> Result<(), Failure> {
        let hits = std::mem::take(&mut self.hits);
        if self.json && hits > 0 {
            write!(out, "],\"hits\":{hits},\"snapshot\":\"{id}\"}}")?;
        }
        Ok(())
    }

    fn end(&self, out: &mut impl Write) -> Result<(), Failure> {
        if self.json { Ok(out.write_all(b"]\n")?) } else { Ok(()) }
    }
}

/// An entry as restic's JSON of `find` has it.
#[derive(Serialize)]
struct Match<'a> {
    path: String,
    permissions: String,
    r#type: &'a str,
    mode: u32,
    mtime: Time,
    atime: Time,
    ctime: Time,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    device_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    links: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    linktarget: String,
}

impl<'a> Match<'a> {
    fn new(entry: &'a Entry) -> Self {
        let Entry { path, node } = entry;
        let Node { mode, mtime, atime, ctime, uid, gid, user, group, inode, device_id, size, links, .. } = node;
        Self {
            path: String::from_utf8_lossy(path).into_owned(),
            permissions: text::mode(*mode),
            r#type: node.node_type.as_str(),
            mode: *mode,
            mtime: *mtime,
            atime: *atime,
            ctime: *ctime,
            uid: *uid,
            gid: *gid,
            user,
            group,
            device_id: *device_id,
            size: *size,
            inode: *inode,
            links: *links,
            linktarget: String::from_utf8_lossy(&node.link_target).into_owned(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's attribute passes a reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use repository::Id;

    use super::*;

    #[test]
    fn json_is_one_document_however_many_snapshots_have_hits() {
        let text = format!(r#"{{"time":"1970-01-01T00:00:00Z","tree":"{}"}}"#, Id::of(b"tree"));
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        let entry = |path: &str| Entry { path: path.into(), node: Node::default() };
        for hits in [vec![], vec![0, 0], vec![2, 0, 1], vec![0, 1]] {
            let mut out = Vec::new();
            let mut found = Found { json: true, quiet: false, long: false, snapshots: 0, hits: 0 };
            found.begin(&mut out).unwrap();
            for (number, count) in hits.iter().enumerate() {
                let id = Id::of(&[u8::try_from(number).unwrap()]);
                for _ in 0..*count {
                    found.hit(&mut out, id, &snapshot, &entry("/a\n\"b")).unwrap();
                }
                found.end_of_snapshot(&mut out, id).unwrap();
            }
            found.end(&mut out).unwrap();
            let document: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
            let counted: Vec<_> = document.iter().map(|found| found["hits"].as_u64().unwrap()).collect();
            assert_eq!(counted, hits.iter().copied().filter(|count| *count > 0).collect::<Vec<u64>>());
        }
    }
}
