//! Snapshot objects.

use serde::{Deserialize, Serialize};

use super::{Id, Time};

/// A snapshot: the root tree of one backup, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the backup began.
    pub time: Time,
    /// The snapshot that unchanged files were taken over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// The root tree.
    pub tree: Id,
    /// The paths that were backed up.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub paths: Vec<String>,
    /// Host name, by which restic groups snapshots.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// User id of who made it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Group id of who made it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Exclude patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub excludes: Vec<String>,
    /// Tags; ours are `orlop.dev/…=…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one was rewritten from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// Program that made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// Counts of the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SnapshotSummary>,
}

/// What a backup counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SnapshotSummary {
    /// When it began.
    pub backup_start: Time,
    /// When it ended.
    pub backup_end: Time,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files taken over.
    pub files_unmodified: u64,
    /// Directories that the parent did not have.
    pub dirs_new: u64,
    /// Directories that differ from the parent's.
    pub dirs_changed: u64,
    /// Directories that are equal to the parent's.
    pub dirs_unmodified: u64,
    /// New data blobs.
    pub data_blobs: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// Plain bytes of the new blobs.
    pub data_added: u64,
    /// Stored bytes of the new blobs.
    pub data_added_packed: u64,
    /// All files of the snapshot.
    pub total_files_processed: u64,
    /// All bytes of the snapshot.
    pub total_bytes_processed: u64,
}

impl Snapshot {
    /// Whether it carries the tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's attribute passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Go writes an empty list without `omitempty` as null.
fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn restic_s_snapshot_is_read_and_a_bare_one_too() {
        let id = Id::of(b"tree");
        let text = format!(
            r#"{{"time":"2026-08-01T10:00:00.5+02:00","tree":"{id}","paths":null,"hostname":"h","tags":["a"],"program_version":"restic 0.19.1",
            "summary":{{"backup_start":"2026-08-01T10:00:00Z","files_new":3,"total_bytes_processed":9,"later_field":1}},"another":{{}}}}"#
        );
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        assert!(snapshot.has_tag("a") && snapshot.paths.is_empty());
        assert_eq!(snapshot.summary.as_ref().unwrap().files_new, 3);
        let bare: Snapshot =
            serde_json::from_str(&format!(r#"{{"time":"2015-01-01T00:00:00Z","tree":"{id}","paths":["/"]}}"#)).unwrap();
        assert_eq!(bare.summary, None);
        assert_eq!(serde_json::from_str::<Snapshot>(&serde_json::to_string(&snapshot).unwrap()).unwrap(), snapshot);
    }
}
