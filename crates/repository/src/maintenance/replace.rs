//! Replacing index files and removing packs: new index → look again → delete old index → delete packs.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use super::groups::PackGroups;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::format::IndexPack;
use crate::index::{Index, IndexWriter};
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::{Id, IndexId, PackId, Repository, SnapshotId};

/// Index files and those that take their place.
#[derive(Debug, Default)]
pub(super) struct Replacement {
    /// They are to be deleted.
    pub old: Vec<IndexId>,
    /// They are in the store.
    pub new: BTreeSet<IndexId>,
}

/// The snapshots and index files that must be there, and no others.
pub(super) struct Expected {
    pub snapshots: BTreeSet<SnapshotId>,
    pub index_files: BTreeSet<IndexId>,
}

impl Repository {
    /// Writes index files in place of those that name a pack of `gone`, and without those packs. The old ones stay. The index must
    /// have been loaded with ids.
    pub(super) async fn replace_index(
        &self,
        lock: &LockHandle,
        index: &Arc<Index>,
        gone: &HashSet<PackId>,
        control: &Control,
    ) -> Result<Replacement> {
        let (mut old, mut kept) = (Vec::new(), HashSet::new());
        for (file, packs) in index.files() {
            if packs.is_empty() || packs.iter().any(|pack| gone.contains(pack)) {
                old.push(file);
                kept.extend(packs.into_iter().filter(|pack| !gone.contains(pack)));
            }
        }
        let numbers = index.pack_ids().into_iter().zip(0u32..).filter(|(id, _)| kept.contains(id)).map(|(_, number)| number);
        let mut groups = PackGroups::new(index, numbers.collect()).await?;
        let writer = IndexWriter::default();
        while let Some(group) = groups.next(|_, _| true).await? {
            for batch in in_batches(group) {
                lock.check()?;
                control.check()?;
                writer.write(self, batch).await?;
            }
        }
        Ok(Replacement { old, new: writer.written().into_iter().collect() })
    }

    /// Right before anything is deleted: our lock is there, and no snapshot and no index has come or gone but by us. What differs,
    /// if something does: then a listing lied, or somebody writes without a lock (D4, E3), and nothing may be deleted.
    pub(super) async fn look_again(&self, lock: &LockHandle, expected: &Expected, control: &Control) -> Result<Option<String>> {
        lock.verify().await?;
        for (file, word, expected) in
            [(FileType::Snapshot, "snapshot", &expected.snapshots), (FileType::Index, "index", &expected.index_files)]
        {
            let found: BTreeSet<Id> = self.objects().list(file, control).await?.into_iter().map(|object| object.id).collect();
            if let Some(differing) = found.symmetric_difference(expected).next() {
                return Ok(Some(format!("{word} {differing} came or went while the lock was held")));
            }
        }
        Ok(None)
    }

    /// Deletes index files, and looks whether they are gone: packs that one of them names may go only when nobody reads it any more,
    /// for a backup would take what it names for stored. A store's word alone is no evidence (reliability D2).
    pub(super) async fn delete_index_files(&self, lock: &LockHandle, ids: &[IndexId], control: &Control) -> Result<()> {
        self.delete_in_turn(lock, FileType::Index, ids, control).await?;
        let mut looks = futures::stream::iter(ids.to_vec())
            .map(|id| async move { (id, self.objects().head(FileType::Index, &id).await) })
            .buffer_unordered(limits::PARALLEL_READS);
        while let Some((id, found)) = looks.next().await {
            if found?.is_some() {
                return Err(Error::StoreLied {
                    key: FileType::Index.key(&id),
                    reason: "it is there after it was deleted".into(),
                });
            }
        }
        Ok(())
    }

    /// Deletes some at a time, and looks at the lock between.
    pub(super) async fn delete_in_turn(&self, lock: &LockHandle, file: FileType, ids: &[Id], control: &Control) -> Result<()> {
        for some in ids.chunks(limits::DELETES) {
            lock.check()?;
            self.objects().delete_all(file, some, control).await?;
        }
        Ok(())
    }
}

/// Packs for an index file each.
fn in_batches(packs: Vec<(PackId, Vec<crate::format::IndexBlob>)>) -> Vec<Vec<IndexPack>> {
    let (mut batches, mut batch, mut entries) = (Vec::new(), Vec::new(), 0);
    for (id, blobs) in packs {
        if blobs.is_empty() {
            continue;
        }
        entries += blobs.len();
        batch.push(IndexPack { id, blobs });
        if entries >= limits::INDEX_BLOBS {
            batches.push(std::mem::take(&mut batch));
            entries = 0;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}
