//! Which snapshot unchanged files are taken over from.

use super::request::{BackupRequest, ParentChoice};
use crate::{
    SnapshotId,
    format::{Snapshot, Time},
};

/// The parent for a backup that begins at `now`. A snapshot dated later than that was made by a wrong clock and would make files
/// look unchanged that are not (reliability A5).
pub(super) fn choose(snapshots: &[(SnapshotId, Snapshot)], request: &BackupRequest, now: Time) -> Option<(SnapshotId, Snapshot)> {
    let chosen = match request.parent {
        ParentChoice::None => None,
        ParentChoice::Snapshot(wanted) => snapshots.iter().find(|(id, _)| *id == wanted),
        ParentChoice::Auto => {
            let paths = request.path_texts();
            snapshots
                .iter()
                .filter(|(_, snapshot)| {
                    snapshot.time <= now && snapshot.hostname == request.hostname && same_paths(snapshot, &paths)
                })
                .max_by_key(|(id, snapshot)| (snapshot.time, *id))
        }
    };
    chosen.cloned()
}

fn same_paths(snapshot: &Snapshot, sorted: &[String]) -> bool {
    let mut paths: Vec<&String> = snapshot.paths.iter().collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().eq(sorted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Id;

    fn snapshot(seconds: i64, hostname: &str, paths: &[&str]) -> (SnapshotId, Snapshot) {
        let snapshot = Snapshot {
            time: Time { seconds, nanos: 0 },
            parent: None,
            tree: Id::of(b"tree"),
            paths: paths.iter().map(ToString::to_string).collect(),
            hostname: hostname.to_owned(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: Vec::new(),
            original: None,
            program_version: String::new(),
            summary: None,
        };
        (Id::of(format!("{seconds}{hostname}{paths:?}").as_bytes()), snapshot)
    }

    #[test]
    fn the_latest_of_the_same_host_and_paths_that_is_not_of_the_future() {
        let snapshots = [
            snapshot(10, "host", &["/b", "/a"]),
            snapshot(20, "host", &["/a", "/b"]),
            snapshot(30, "other", &["/a", "/b"]),
            snapshot(40, "host", &["/a"]),
            snapshot(99, "host", &["/a", "/b"]),
        ];
        let mut request = BackupRequest::new(vec!["/a/".into(), "/b".into()]);
        request.hostname = "host".to_owned();
        let at = |request: &BackupRequest| choose(&snapshots, request, Time { seconds: 50, nanos: 0 }).map(|(id, _)| id);
        assert_eq!(at(&request), Some(snapshots[1].0));
        request.parent = ParentChoice::None;
        assert_eq!(at(&request), None);
        request.parent = ParentChoice::Snapshot(snapshots[3].0);
        assert_eq!(at(&request), Some(snapshots[3].0));
    }
}
