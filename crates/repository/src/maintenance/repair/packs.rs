//! Salvaging what damaged packs still hold.
//!
//! What can be read is copied into new packs, unless another pack has it. The damaged pack then stays, in the store and in the index:
//! out of the index alone, the next backup would take it up again and the next prune would delete it. Only when it is asked for, the
//! pack leaves the index and then the store; what could not be read is then known to be lost, and a backup of the same data stores it
//! anew.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::super::check_data::{ExpectedPack, why_unreadable};
use super::super::groups::PackGroups;
use super::super::replace::Expected;
use super::require_whole;
use crate::control::{Control, Counters, Event};
use crate::error::{Error, Result};
use crate::format::{BlobType, HeaderEntry, IndexBlob};
use crate::index::Index;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::pack::{BlobReader, BlobSaver, BlobScratch, PackedBlob, SaverOptions, parse_pack, verify_blob};
use crate::{BlobId, IndexId, PackId, Repository};

/// What was found of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackState {
    /// It is as it must be; nothing was done.
    Well,
    /// No index names it: repair the index first.
    NotIndexed,
    /// It is not in the store: repairing the index takes it out of the index.
    Absent,
    /// It is damaged.
    Damaged {
        /// What is wrong with it.
        reasons: Vec<String>,
        /// Blobs that were copied into new packs.
        salvaged: u64,
        /// Blobs that other packs have.
        elsewhere: u64,
        /// Blobs that cannot be read anywhere.
        lost: Vec<(BlobType, BlobId)>,
    },
}

/// How many blobs were copied, how many others have, and which are lost.
type Copied = (u64, u64, Vec<(BlobType, BlobId)>);

/// A pack that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedPack {
    /// The pack.
    pub pack: PackId,
    /// How it is.
    pub state: PackState,
}

/// What a repair of packs did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairPacksReport {
    /// The packs that were asked for.
    pub packs: Vec<SalvagedPack>,
    /// Packs that were written.
    pub packs_written: u64,
    /// Damaged packs that were removed.
    pub packs_removed: Vec<PackId>,
}

/// What is salvaged with.
#[derive(Clone)]
struct Salvage {
    repository: Repository,
    reader: BlobReader,
    saver: BlobSaver,
    /// The packs that are being salvaged: a copy in one of them is no other copy.
    packs: Arc<HashSet<PackId>>,
}

impl Repository {
    /// Copies what can be read of damaged packs into new ones, and with `remove` takes the damaged ones away. A pack that proves to
    /// be well is left alone.
    ///
    /// # Errors
    /// [`Error::NotExclusive`] without an exclusive lock; [`Error::RepairRefused`] if the index is not whole, or somebody writes
    /// without a lock; of the store.
    pub async fn repair_packs(
        &self,
        lock: &LockHandle,
        packs: &[PackId],
        remove: bool,
        control: &Control,
    ) -> Result<RepairPacksReport> {
        lock.require_exclusive("repairing packs")?;
        control.finish(self.salvage(lock, packs, remove, control)).await
    }

    async fn salvage(&self, lock: &LockHandle, packs: &[PackId], remove: bool, control: &Control) -> Result<RepairPacksReport> {
        lock.verify().await?;
        let ids = |listed: Vec<crate::objects::Listed>| listed.into_iter().map(|object| object.id).collect::<BTreeSet<_>>();
        let snapshots = ids(self.objects().list(FileType::Snapshot, control).await?);
        let index = self.load_index_with_ids(control).await?;
        require_whole(&index)?;
        control.emit(Event::PhaseStarted("salvaging blobs"));
        // An index of its own: the saver must not think that a blob is stored because the damaged copy is.
        let saver = self.blob_saver(Arc::new(Index::default()), lock.clone(), SaverOptions::default(), control)?;
        let salvage = Salvage {
            repository: self.clone(),
            reader: self.blob_reader(Arc::clone(&index), control),
            saver: saver.clone(),
            packs: Arc::new(packs.iter().copied().collect()),
        };
        let mut report = RepairPacksReport { packs: salvage.all(&index, packs, control).await?, ..RepairPacksReport::default() };
        report.packs_written = saver.flush().await?.packs;
        control.check()?;
        let is_damaged = |pack: &&SalvagedPack| matches!(pack.state, PackState::Damaged { .. });
        let damaged: Vec<PackId> = report.packs.iter().filter(is_damaged).map(|pack| pack.pack).collect();
        if remove && !damaged.is_empty() {
            let written = saver.index_files().into_iter().collect();
            self.remove_packs(lock, &index, &damaged, (snapshots, written), control).await?;
            report.packs_removed = damaged;
        }
        Ok(report)
    }

    /// Takes packs out of the index and then out of the store, when what was salvaged is in both.
    async fn remove_packs(
        &self,
        lock: &LockHandle,
        index: &Arc<Index>,
        packs: &[PackId],
        (snapshots, written): (BTreeSet<crate::SnapshotId>, BTreeSet<IndexId>),
        control: &Control,
    ) -> Result<()> {
        let gone = packs.iter().copied().collect();
        let replacement = self.replace_index(lock, index, &gone, control).await?;
        control.check()?;
        let before = index.files().into_iter().map(|(file, _)| file);
        let index_files = before.chain(written).chain(replacement.new.iter().copied()).collect();
        if let Some(reason) = self.look_again(lock, &Expected { snapshots, index_files }, control).await? {
            return Err(Error::RepairRefused { reason });
        }
        control.emit(Event::PhaseStarted("removing packs"));
        self.delete_index_files(lock, &replacement.old, control).await?;
        self.delete_in_turn(lock, FileType::Pack, packs, control).await
    }
}

impl Salvage {
    /// Looks at each pack, one after the other: there are few, and each may be large.
    async fn all(&self, index: &Arc<Index>, packs: &[PackId], control: &Control) -> Result<Vec<SalvagedPack>> {
        let numbers: HashMap<PackId, u32> = index.pack_ids().into_iter().zip(0u32..).collect();
        let mut wanted: Vec<u32> = packs.iter().filter_map(|pack| numbers.get(pack)).copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let unknown = self.packs.iter().filter(|pack| !numbers.contains_key(pack));
        let mut found: Vec<_> = unknown.map(|pack| SalvagedPack { pack: *pack, state: PackState::NotIndexed }).collect();
        let mut groups = PackGroups::new(index, wanted).await?;
        while let Some(group) = groups.next(|_, _| true).await? {
            for (pack, blobs) in group {
                control.check()?;
                let state = self.one(pack, Arc::new(blobs), control).await?;
                found.push(SalvagedPack { pack, state });
                Counters::add(&control.counters().packs_examined, 1);
            }
        }
        Ok(found)
    }

    async fn one(&self, pack: PackId, blobs: Arc<Vec<IndexBlob>>, control: &Control) -> Result<PackState> {
        // What looks damaged is read once more: it may have happened on the way.
        let mut read = self.read(pack, &blobs, control).await?;
        if !matches!(&read, Ok((_, faults)) if faults.is_empty()) {
            read = self.read(pack, &blobs, control).await?;
        }
        let (bytes, reasons) = match read {
            Ok((_, reasons)) if reasons.is_empty() => return Ok(PackState::Well),
            Ok((bytes, reasons)) => (bytes, reasons),
            Err(reason) => {
                if self.repository.objects().head(FileType::Pack, &pack).await?.is_none() {
                    return Ok(PackState::Absent);
                }
                (Bytes::new(), vec![reason])
            }
        };
        let salvage = self.clone();
        let copying = tokio::task::spawn_blocking(move || {
            let blobs = salvage.with_header(pack, &bytes, &blobs);
            salvage.copy(pack, &bytes, &blobs)
        });
        let (salvaged, elsewhere, lost) = copying.await.map_err(Error::internal)??;
        Ok(PackState::Damaged { reasons, salvaged, elsewhere, lost })
    }

    /// Reads a pack and what is wrong with it; the inner error is why it cannot be read at all.
    async fn read(
        &self,
        pack: PackId,
        blobs: &Arc<Vec<IndexBlob>>,
        control: &Control,
    ) -> Result<Result<(Bytes, Vec<String>), String>> {
        let bytes = match self.repository.objects().get(FileType::Pack, &pack, control).await {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(why_unreadable(error)?)),
        };
        let (repository, examined) = (self.repository.clone(), bytes.clone());
        let (index, blobs) = (Arc::clone(self.reader.index()), Arc::clone(blobs));
        let examine = move || repository.faults_of_pack(pack, &examined, &ExpectedPack::of_named(&index, &blobs));
        let examining = tokio::task::spawn_blocking(examine);
        let faults = examining.await.map_err(Error::internal)??;
        Ok(Ok((bytes, faults.into_iter().map(|fault| fault.reason).collect())))
    }

    /// What the index names and what the pack's own header names: one may know of blobs that the other does not, and with the pack
    /// they would be gone.
    fn with_header(&self, pack: PackId, bytes: &Bytes, indexed: &[IndexBlob]) -> Vec<IndexBlob> {
        let header = parse_pack(self.repository.cipher(), &pack, bytes).map(|header| header.blobs).unwrap_or_default();
        let known: HashSet<_> = indexed.iter().map(|blob| (blob.blob_type, blob.id)).collect();
        let unknown = header.into_iter().filter(|blob| !known.contains(&(blob.blob_type, blob.id)));
        indexed.iter().copied().chain(unknown).collect()
    }

    /// Copies each blob that can be read and that no other pack has. How many were copied, how many others have, and which are lost.
    fn copy(&self, pack: PackId, bytes: &[u8], blobs: &[IndexBlob]) -> Result<Copied> {
        let (mut salvaged, mut elsewhere, mut lost) = (0, 0, Vec::new());
        let mut scratch = BlobScratch::default();
        for blob in blobs {
            if self.is_elsewhere(blob, &mut scratch)? {
                elsewhere += 1;
                continue;
            }
            let sealed = bytes.get(blob.offset as usize..blob.offset as usize + blob.length as usize);
            let what = (blob.blob_type, blob.id, blob.uncompressed_length);
            let verified = sealed.map(|sealed| verify_blob(self.repository.cipher(), sealed, what, &mut scratch)).transpose()?;
            match (sealed, verified) {
                (Some(sealed), Some(Ok(()))) => {
                    self.saver.move_sealed(entry(blob), sealed)?;
                    salvaged += 1;
                }
                // Another of the packs that are being salvaged may have it.
                _ => match self.reader.good_copy_blocking(blob.blob_type, &blob.id) {
                    Ok(copy) => {
                        self.saver.save_copy(&copy)?;
                        salvaged += 1;
                    }
                    Err(error) if error.is_damage() => lost.push((blob.blob_type, blob.id)),
                    Err(error) => return Err(error),
                },
            }
        }
        tracing::info!(%pack, salvaged, elsewhere, lost = lost.len(), "blobs of a damaged pack looked at");
        Ok((salvaged, elsewhere, lost))
    }

    /// Whether a pack that is not being salvaged has a copy that can be read.
    fn is_elsewhere(&self, blob: &IndexBlob, scratch: &mut BlobScratch) -> Result<bool> {
        let index = self.reader.index();
        let first = index.locate(blob.blob_type, &blob.id);
        for location in first.into_iter().chain(index.other_copies(blob.blob_type, &blob.id)) {
            if self.packs.contains(&location.pack) {
                continue;
            }
            let copy = PackedBlob { blob_type: blob.blob_type, id: blob.id, location };
            match self.reader.fetch_pack_blocking(location.pack, &[copy]) {
                Ok(fetched) if fetched.verify(&copy, scratch).is_ok() => return Ok(true),
                Ok(_) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

fn entry(blob: &IndexBlob) -> HeaderEntry {
    let IndexBlob { id, blob_type, length, uncompressed_length, .. } = *blob;
    HeaderEntry { id, blob_type, length, uncompressed_length }
}
