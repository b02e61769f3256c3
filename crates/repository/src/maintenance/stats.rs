//! Measuring a repository.

use std::sync::Arc;

use super::walk::walk;
use crate::Repository;
use crate::control::Control;
use crate::error::Result;
use crate::objects::FileType;

/// How much a measurement costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StatsDepth {
    /// Two listings and the index.
    #[default]
    Quick,
    /// Also walks all trees, to know what snapshots need: restic's `stats --mode raw-data`.
    Referenced,
}

/// Measures of a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepositoryStats {
    /// Snapshots.
    pub snapshots: u64,
    /// Pack files in the store.
    pub packs: u64,
    /// Bytes of all pack files: what the store bills.
    pub pack_bytes: u64,
    /// Blobs in the index.
    pub blobs: u64,
    /// Stored bytes of these blobs.
    pub blob_bytes: u64,
    /// Plain bytes of these blobs.
    pub plain_bytes: u64,
    /// Blobs that snapshots need; with [`StatsDepth::Referenced`].
    pub referenced_blobs: Option<u64>,
    /// Their stored bytes.
    pub referenced_bytes: Option<u64>,
    /// Their plain bytes.
    pub referenced_plain_bytes: Option<u64>,
}

impl Repository {
    /// Measures the repository. It takes no lock: beside a prune the measures may be of before or after it.
    ///
    /// # Errors
    /// Of the store.
    pub async fn stats(&self, depth: StatsDepth, control: &Control) -> Result<RepositoryStats> {
        let list = self.snapshots(control).await?;
        let index = self.load_index(control).await?;
        let packs = self.objects().list(FileType::Pack, control).await?;
        let mut stats = RepositoryStats {
            snapshots: list.snapshots.len() as u64,
            packs: packs.len() as u64,
            pack_bytes: packs.iter().map(|pack| pack.size).sum(),
            ..RepositoryStats::default()
        };
        index.for_each(|_, _, entry| {
            stats.blobs += 1;
            stats.blob_bytes += u64::from(entry.length);
            stats.plain_bytes += u64::from(entry.plain_length());
        });
        if depth == StatsDepth::Referenced {
            let roots: Vec<_> = list.snapshots.iter().map(|(_, snapshot)| snapshot.tree).collect();
            let used = walk(&self.blob_reader(Arc::clone(&index), control), &roots, control).await?.used;
            let (mut blobs, mut bytes, mut plain) = (0, 0, 0);
            index.for_each(|_, place, entry| {
                if used.contains(place) {
                    blobs += 1;
                    bytes += u64::from(entry.length);
                    plain += u64::from(entry.plain_length());
                }
            });
            stats.referenced_blobs = Some(blobs);
            stats.referenced_bytes = Some(bytes);
            stats.referenced_plain_bytes = Some(plain);
        }
        Ok(stats)
    }
}
