//! Index objects: which blobs stand where in which packs.

use serde::{Deserialize, Serialize};

use super::{BlobType, Id};

/// An index object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFile {
    /// The packs it describes.
    #[serde(default)]
    pub packs: Vec<IndexPack>,
}

/// One pack in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPack {
    /// The pack.
    pub id: Id,
    /// All its blobs.
    #[serde(default)]
    pub blobs: Vec<IndexBlob>,
}

/// One blob in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBlob {
    /// The blob.
    pub id: Id,
    /// Data or tree.
    #[serde(rename = "type")]
    pub blob_type: BlobType,
    /// First byte in the pack.
    pub offset: u32,
    /// Bytes in the pack, sealing included.
    pub length: u32,
    /// Bytes after decompression; 0 if it is not compressed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uncompressed_length: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's attribute passes a reference")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_restic_writes_and_ignores_supersedes() {
        let id = Id::of(b"x");
        let text = format!(
            r#"{{"supersedes":["{id}"],"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"tree","offset":0,"length":38,"uncompressed_length":100}},{{"id":"{id}","type":"data","offset":38,"length":50}}]}}]}}"#
        );
        let index: IndexFile = serde_json::from_str(&text).unwrap();
        assert_eq!(index.packs[0].blobs[0].uncompressed_length, 100);
        assert_eq!(index.packs[0].blobs[1].uncompressed_length, 0);
        assert!(!serde_json::to_string(&index).unwrap().contains("\"length\":50,"));
    }
}
