//! Finding the snapshots that a person means.

use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::{Snapshot, Time};
use crate::objects::FileType;
use crate::{Repository, SnapshotId};

/// The word for the latest snapshot.
const LATEST: &str = "latest";

/// Restricts snapshots by where they come from, with restic's meaning. Empty lists restrict nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotFilter {
    /// Any of these hosts.
    pub hosts: Vec<String>,
    /// Any of these lists, of which a snapshot must carry all tags. A list of one empty tag asks for snapshots without tags.
    pub tags: Vec<Vec<String>>,
    /// All of these paths among those that were backed up.
    pub paths: Vec<String>,
}

impl SnapshotFilter {
    /// Whether a snapshot is meant.
    #[must_use]
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let host = self.hosts.is_empty() || self.hosts.contains(&snapshot.hostname);
        let tags = self.tags.is_empty() || self.tags.iter().any(|list| carries(snapshot, list));
        host && tags && self.paths.iter().all(|path| snapshot.paths.contains(path))
    }

    /// The latest of the snapshots that are meant. One dated later than `now` was made by a wrong clock and is passed over.
    #[must_use]
    pub fn latest<'a>(&self, snapshots: &'a [(SnapshotId, Snapshot)], now: Time) -> Option<&'a (SnapshotId, Snapshot)> {
        let meant = snapshots.iter().filter(|(_, snapshot)| snapshot.time <= now && self.matches(snapshot));
        meant.max_by_key(|(id, snapshot)| (snapshot.time, *id))
    }
}

fn carries(snapshot: &Snapshot, tags: &[String]) -> bool {
    match tags {
        [only] if only.is_empty() => snapshot.tags.is_empty(),
        tags => tags.iter().all(|tag| snapshot.has_tag(tag)),
    }
}

/// A snapshot, or a part of one, as a person writes it: `ID`, the first digits of one or `latest`, and `:FOLDER` after it where only
/// a part is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSnapshot {
    /// What stands before the colon.
    pub id: String,
    /// The folder; empty for all of the snapshot.
    pub folder: String,
}

impl From<&str> for WantedSnapshot {
    fn from(text: &str) -> Self {
        let (id, folder) = text.split_once(':').unwrap_or((text, ""));
        Self { id: id.to_owned(), folder: folder.to_owned() }
    }
}

impl Repository {
    /// The snapshot that `wanted` means: an id, the first digits of exactly one, or `latest` of those that `filter` lets through.
    ///
    /// # Errors
    /// [`Error::SnapshotUnknown`] if it means none, [`Error::SnapshotAmbiguous`] with the candidates if it means several, else as
    /// [`Repository::snapshot`].
    pub async fn find_snapshot(
        &self,
        wanted: &str,
        filter: &SnapshotFilter,
        control: &Control,
    ) -> Result<(SnapshotId, Snapshot)> {
        if wanted == LATEST {
            let list = self.snapshots(control).await?;
            let latest = filter.latest(&list.snapshots, Time::now());
            return latest.cloned().ok_or_else(|| Error::SnapshotUnknown { wanted: wanted.to_owned() });
        }
        let id = self.complete_id(wanted, control).await?;
        Ok((id, self.snapshot(&id, control).await?))
    }

    /// All snapshots that are meant, oldest first: those named in `wanted`, or where none is named those that `filter` lets through.
    ///
    /// # Errors
    /// As [`Self::find_snapshot`].
    pub async fn find_snapshots(
        &self,
        wanted: &[String],
        filter: &SnapshotFilter,
        control: &Control,
    ) -> Result<Vec<(SnapshotId, Snapshot)>> {
        let mut found = Vec::new();
        if wanted.is_empty() {
            found = self.snapshots(control).await?.snapshots;
            found.retain(|(_, snapshot)| filter.matches(snapshot));
        }
        for one in wanted {
            found.push(self.find_snapshot(one, filter, control).await?);
        }
        found.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        found.dedup_by_key(|(id, _)| *id);
        Ok(found)
    }

    /// The full id of a snapshot by its first digits.
    ///
    /// # Errors
    /// As [`Self::find_snapshot`].
    pub async fn complete_id(&self, wanted: &str, control: &Control) -> Result<SnapshotId> {
        if let Ok(id) = wanted.parse() {
            return Ok(id);
        }
        let unknown = || Error::SnapshotUnknown { wanted: wanted.to_owned() };
        let digits = wanted.to_ascii_lowercase();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let listed = self.objects().list(FileType::Snapshot, control).await?;
        let mut candidates: Vec<SnapshotId> =
            listed.into_iter().map(|object| object.id).filter(|id| id.to_string().starts_with(&digits)).collect();
        candidates.sort_unstable();
        match candidates.as_slice() {
            [] => Err(unknown()),
            [id] => Ok(*id),
            _ => Err(Error::SnapshotAmbiguous { wanted: wanted.to_owned(), candidates }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Id;

    fn snapshot(seconds: i64, host: &str, tags: &[&str], paths: &[&str]) -> (SnapshotId, Snapshot) {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let text = format!(r#"{{"time":"1970-01-01T00:00:{seconds:02}Z","tree":"{}"}}"#, Id::of(b"tree"));
        let bare: Snapshot = serde_json::from_str(&text).unwrap();
        let snapshot = Snapshot { hostname: host.to_owned(), tags: texts(tags), paths: texts(paths), ..bare };
        (Id::of(format!("{seconds}{host}").as_bytes()), snapshot)
    }

    #[test]
    fn filters_mean_what_restic_s_do() {
        let lists = |lists: &[&[&str]]| SnapshotFilter {
            tags: lists.iter().map(|list| list.iter().map(ToString::to_string).collect()).collect(),
            ..SnapshotFilter::default()
        };
        let (_, both) = snapshot(1, "a", &["x", "y"], &["/one", "/two"]);
        let (_, none) = snapshot(2, "b", &[], &["/one"]);
        assert!(SnapshotFilter::default().matches(&both));
        assert!(lists(&[&["x", "y"]]).matches(&both) && !lists(&[&["x", "z"]]).matches(&both));
        assert!(lists(&[&["z"], &["y"]]).matches(&both), "one of the lists is enough");
        assert!(lists(&[&[""]]).matches(&none) && !lists(&[&[""]]).matches(&both));
        let hosts = SnapshotFilter { hosts: vec!["a".into(), "c".into()], ..SnapshotFilter::default() };
        assert!(hosts.matches(&both) && !hosts.matches(&none));
        let paths = SnapshotFilter { paths: vec!["/one".into(), "/two".into()], ..SnapshotFilter::default() };
        assert!(paths.matches(&both) && !paths.matches(&none));
    }

    /// Reliability A5: a snapshot of a clock that was ahead is not the latest for ever.
    #[test]
    fn the_latest_is_not_of_the_future() {
        let snapshots = [snapshot(10, "a", &[], &[]), snapshot(20, "b", &[], &[]), snapshot(50, "a", &[], &[])];
        let now = Time { seconds: 30, nanos: 0 };
        assert_eq!(SnapshotFilter::default().latest(&snapshots, now), Some(&snapshots[1]));
        let only_a = SnapshotFilter { hosts: vec!["a".into()], ..SnapshotFilter::default() };
        assert_eq!(only_a.latest(&snapshots, now), Some(&snapshots[0]));
    }

    #[test]
    fn a_folder_may_follow_an_id() {
        assert_eq!(WantedSnapshot::from("latest"), WantedSnapshot { id: "latest".into(), folder: String::new() });
        assert_eq!(WantedSnapshot::from("ab12:/data/x:y"), WantedSnapshot { id: "ab12".into(), folder: "/data/x:y".into() });
    }
}
