//! Carrying out a prune: new packs → new index → look again → delete old index → delete packs.
//!
//! At every moment each blob that a snapshot needs is in a pack that is there and that an index names; a prune that is killed
//! leaves nothing worse than copies, which the next one removes (reliability §1.3, E1).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use super::prune_plan::{Fate, PrunePlan};
use super::usage::for_each_copy;
use crate::control::{Control, Counters, Event};
use crate::error::{Error, Result};
use crate::format::{HeaderEntry, IndexBlob, IndexPack};
use crate::index::{BlobLocation, Index, IndexWriter};
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::pack::{BlobReader, BlobSaver, BlobScratch, FetchedPack, PackedBlob, SaverOptions};
use crate::{Id, IndexId, PackId, Repository};

/// Packs that are read ahead while others are rewritten.
const PARALLEL_PACKS: usize = 3;

/// What a prune did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Packs removed, rewritten ones included.
    pub packs_removed: usize,
    /// Packs whose used blobs moved.
    pub packs_rewritten: usize,
    /// Packs written.
    pub packs_written: u64,
    /// Bytes of the removed packs.
    pub bytes_removed: u64,
    /// Bytes of blobs that moved.
    pub bytes_rewritten: u64,
    /// Index files replaced.
    pub index_files_removed: usize,
}

impl Repository {
    /// Carries out a plan under the exclusive lock it was made under.
    ///
    /// # Errors
    /// [`Error::PruneRefused`] if the repository is no longer what the plan saw; [`Error::LockLost`]; a blob that does not verify
    /// while it moves. Whatever happens, everything that snapshots need stays readable.
    pub async fn prune(&self, lock: &LockHandle, plan: PrunePlan, control: &Control) -> Result<PruneReport> {
        lock.require_exclusive("prune")?;
        if plan.is_empty() {
            return Ok(PruneReport::default());
        }
        lock.verify().await?;
        let mut report = PruneReport::default();
        control.emit(Event::PhaseStarted("rewriting packs"));
        let new_index: BTreeSet<IndexId> = self.rewrite(lock, &plan, &mut report, control).await?;
        control.emit(Event::PhaseStarted("rewriting the index"));
        let (old_index, kept_index) = self.rewrite_index(lock, &plan).await?;
        let added: BTreeSet<IndexId> = new_index.union(&kept_index).copied().collect();
        control.check()?;
        self.look_again(lock, &plan, &added, control).await?;
        control.emit(Event::PhaseStarted("removing packs"));
        // From here on a cancellation would leave only waste behind; it is still obeyed between objects.
        self.delete(lock, FileType::Index, &old_index, control).await?;
        let gone: Vec<PackId> = plan.packs.iter().filter(|pack| pack.fate != Fate::Keep).map(|pack| pack.pack).collect();
        self.delete(lock, FileType::Pack, &gone, control).await?;
        report.index_files_removed = old_index.len();
        report.packs_removed = gone.len();
        report.bytes_removed = plan.packs.iter().filter(|pack| pack.fate != Fate::Keep).map(|pack| pack.size).sum();
        Ok(report)
    }

    /// Moves the used blobs of packs that will go into new packs, each verified on its way, and indexes these.
    async fn rewrite(
        &self,
        lock: &LockHandle,
        plan: &PrunePlan,
        report: &mut PruneReport,
        control: &Control,
    ) -> Result<BTreeSet<IndexId>> {
        let moves = blobs_to_move(plan);
        if moves.is_empty() {
            return Ok(BTreeSet::new());
        }
        let options = SaverOptions { pack_size: plan.options.pack_size, open_packs: 1, ..SaverOptions::default() };
        // An index of its own: the saver must not think that a blob is stored because the old copy is.
        let saver = self.blob_saver(Arc::new(Index::default()), lock.clone(), options, control)?;
        let reader = self.blob_reader(Arc::clone(&plan.index), control);
        report.packs_rewritten = moves.len();
        let mut fetches = futures::stream::iter(moves)
            .map(|(pack, blobs)| {
                let reader = reader.clone();
                async move { Ok::<_, Error>((reader.fetch_pack(pack, &blobs).await?, blobs)) }
            })
            .buffered(PARALLEL_PACKS);
        while let Some(fetched) = fetches.next().await {
            let (pack, blobs) = fetched?;
            let (saver, reader) = (saver.clone(), reader.clone());
            let moved = tokio::task::spawn_blocking(move || move_blobs(&pack, &blobs, &saver, &reader))
                .await
                .map_err(Error::internal)??;
            report.bytes_rewritten += moved;
            Counters::add(&control.counters().packs_examined, 1);
        }
        report.packs_written = saver.flush().await?.packs;
        control.check()?;
        Ok(saver.index_files().into_iter().collect())
    }

    /// Replaces the index files that name a pack that will go. Returns the old files and the new ones.
    async fn rewrite_index(&self, lock: &LockHandle, plan: &PrunePlan) -> Result<(Vec<IndexId>, BTreeSet<IndexId>)> {
        let gone: HashSet<PackId> = plan
            .packs
            .iter()
            .filter(|pack| pack.fate != Fate::Keep)
            .map(|pack| pack.pack)
            .chain(plan.forgotten.iter().copied())
            .collect();
        let (mut old, mut kept) = (Vec::new(), HashSet::new());
        for (file, packs) in plan.index.files() {
            if packs.is_empty() || packs.iter().any(|pack| gone.contains(pack)) {
                old.push(*file);
                kept.extend(packs.iter().filter(|pack| !gone.contains(pack)).copied());
            }
        }
        let writer = IndexWriter::default();
        let (mut batch, mut blobs) = (Vec::new(), 0);
        for pack in describe_packs(&plan.index, &kept) {
            blobs += pack.blobs.len();
            batch.push(pack);
            if blobs >= limits::INDEX_BLOBS {
                lock.check()?;
                writer.write(self, std::mem::take(&mut batch)).await?;
                blobs = 0;
            }
        }
        lock.check()?;
        writer.write(self, batch).await?;
        Ok((old, writer.written().into_iter().collect()))
    }

    /// Right before anything is deleted: our lock is there, no snapshot and no index has come or gone but by us. A second
    /// listing that differs from the plan's means that a listing lied or that somebody writes without a lock (D4, E3).
    async fn look_again(&self, lock: &LockHandle, plan: &PrunePlan, added: &BTreeSet<IndexId>, control: &Control) -> Result<()> {
        lock.verify().await?;
        let ids = |listed: Vec<crate::objects::Listed>| listed.into_iter().map(|object| object.id).collect::<BTreeSet<Id>>();
        let snapshots = ids(self.objects().list(FileType::Snapshot, control).await?);
        if snapshots != plan.snapshots {
            let differing = snapshots.symmetric_difference(&plan.snapshots).next();
            return Err(Error::PruneRefused { reason: format!("snapshot {differing:?} came or went while the lock was held") });
        }
        let index = ids(self.objects().list(FileType::Index, control).await?);
        let expected: BTreeSet<IndexId> = plan.index_files.union(added).copied().collect();
        if index != expected {
            let differing = index.symmetric_difference(&expected).next();
            return Err(Error::PruneRefused { reason: format!("index {differing:?} came or went while the lock was held") });
        }
        Ok(())
    }

    /// Deletes some at a time, and looks at the lock between.
    async fn delete(&self, lock: &LockHandle, file: FileType, ids: &[Id], control: &Control) -> Result<()> {
        for some in ids.chunks(limits::PARALLEL_DELETES * 8) {
            lock.check()?;
            self.objects().delete_all(file, some, control).await?;
        }
        Ok(())
    }
}

/// The used blobs of each pack that is rewritten, in the order in which they stand there.
fn blobs_to_move(plan: &PrunePlan) -> Vec<(PackId, Vec<PackedBlob>)> {
    let ids = plan.index.pack_ids();
    let repacked: HashSet<PackId> = plan.with_fate(Fate::Repack).map(|pack| pack.pack).collect();
    let mut moves: HashMap<PackId, Vec<PackedBlob>> = HashMap::new();
    for_each_copy(&plan.index, |place, pack, blob| {
        let id = ids[pack as usize];
        if plan.used.contains(place) && plan.usage.is_home(place, pack) && repacked.contains(&id) {
            let IndexBlob { id: blob_id, blob_type, offset, length, uncompressed_length } = blob;
            let location = BlobLocation { pack: id, offset, length, uncompressed_length };
            moves.entry(id).or_default().push(PackedBlob { blob_type, id: blob_id, location });
        }
    });
    let mut moves: Vec<_> = moves.into_iter().collect();
    moves.sort_by_key(|(pack, _)| *pack);
    for (_, blobs) in &mut moves {
        blobs.sort_by_key(|blob| blob.location.offset);
    }
    moves
}

/// Opens every blob, and moves it as it is sealed. A copy that is damaged is replaced by another copy, if there is one.
fn move_blobs(pack: &FetchedPack, blobs: &[PackedBlob], saver: &BlobSaver, reader: &BlobReader) -> Result<u64> {
    let mut scratch = BlobScratch::default();
    let mut moved = 0;
    for blob in blobs {
        let verified = pack.decode(blob, &mut scratch).map(|_| ());
        match (verified, pack.sealed(blob)) {
            (Ok(()), Some(sealed)) => {
                let entry = HeaderEntry {
                    id: blob.id,
                    blob_type: blob.blob_type,
                    length: blob.location.length,
                    uncompressed_length: blob.location.uncompressed_length,
                };
                saver.move_sealed(entry, sealed)?;
            }
            _ => {
                let plain = reader.load_blob_blocking(blob.blob_type, &blob.id)?;
                saver.save_blob_with_id(blob.blob_type, blob.id, &plain)?;
            }
        }
        moved += u64::from(blob.location.length);
    }
    Ok(moved)
}

/// What an index says about these packs.
fn describe_packs(index: &Index, packs: &HashSet<PackId>) -> Vec<IndexPack> {
    let ids = index.pack_ids();
    let mut described: HashMap<PackId, Vec<IndexBlob>> = HashMap::new();
    for_each_copy(index, |_, pack, blob| {
        let id = ids[pack as usize];
        if packs.contains(&id) {
            described.entry(id).or_default().push(blob);
        }
    });
    let mut described: Vec<_> = described
        .into_iter()
        .map(|(id, mut blobs)| {
            blobs.sort_by_key(|blob| blob.offset);
            IndexPack { id, blobs }
        })
        .collect();
    described.sort_by_key(|pack| pack.id);
    described
}
