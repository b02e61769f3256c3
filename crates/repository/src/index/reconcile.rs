//! Comparing the index with the packs that are in the store, before a backup relies on either.
//!
//! One listing of the packs, made after the index was loaded, tells three things apart:
//!
//! * Packs that are as the index says.
//! * **Lost packs**: named by the index and not in the store, or there with another size. What they alone hold counts as absent
//!   from now on, so the next backup of the same data stores it anew, and readers that try every copy (we, restic) find it
//!   again. Whether a pack is lost is not believed of a listing: each one is looked at.
//! * **Packs without an index**, the work of a run that was killed before it wrote the index. Their headers are read, and what
//!   they hold that is not known otherwise is indexed at once.
//!
//! Nothing is ever deleted here, neither a pack nor an index file (invariant I8). A listing that lies costs only copies: one
//! that shows too little costs a look at each pack, one that shows too much a header that cannot be read.
//!
//! **Beside others.** A pack without an index may belong to a backup that is running now, ours or restic's. Then both name it,
//! in an index file each, with the same places. Our index takes the same place in the same pack for one copy, restic's does as
//! well when it merges index files; its `check` mentions such packs as not critical. A prune never runs beside this, for it
//! holds the lock alone. One that was killed between removing old index files and removing their packs leaves packs without an
//! index too: those of which everything is known from the packs that replaced them are left alone, others are taken up, and
//! the next prune finds them unused.
//!
//! **How far a header is trusted.** It was sealed with the repository's key by somebody who had verified the blobs, and the
//! blobs' lengths fill the pack to its listed size: the same evidence that an upload gets by looking at the size. Trees are
//! read back after each upload beyond that; the packs of a killed run were not, so a pack with trees is read whole here and its
//! sum compared with its name.

use std::collections::HashSet;

use futures::StreamExt;

use super::{Index, IndexWriter};
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::format::{BlobType, Id, IndexPack};
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::{FileType, Listed};
use crate::pack::read_pack_header;
use crate::snapshots::Damage;
use crate::{PackId, Repository};

/// Damaged objects: how many, and the first thousand by name.
#[derive(Debug, Clone, Default)]
pub struct DamageList {
    /// All of them.
    pub total: u64,
    /// The first ones.
    pub named: Vec<Damage>,
}

impl DamageList {
    fn add(&mut self, key: String, reason: String, control: &Control) {
        self.total += 1;
        if self.named.len() < limits::NAMED_DAMAGES {
            control.emit(Event::Damaged { key: key.clone(), reason: reason.clone() });
            self.named.push(Damage { key, reason });
        }
    }
}

/// What a comparison of the index with the store found.
#[derive(Debug, Clone, Default)]
pub struct Reconciliation {
    /// Packs in the store.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Packs that the index names and that are gone or have another size. What they hold counts as absent.
    pub lost: DamageList,
    /// Packs without an index that are indexed now.
    pub taken_up: Vec<PackId>,
    /// Packs without an index that cannot be read. They stay where they are.
    pub unreadable: DamageList,
}

/// A pack that is not listed as the index names it.
struct Suspect {
    id: PackId,
    number: u32,
    expected: u64,
}

impl Repository {
    /// Compares the index with the packs in the store, see the module. Work under any lock; list before anything is uploaded.
    ///
    /// # Errors
    /// Of the store if it does not let us look; [`Error::LockLost`]; [`Error::Cancelled`].
    pub(crate) async fn reconcile(&self, index: &Index, lock: &LockHandle, control: &Control) -> Result<Reconciliation> {
        let listed = self.objects().list(FileType::Pack, control).await?;
        let mut found = Reconciliation {
            packs: listed.len() as u64,
            pack_bytes: listed.iter().map(|pack| pack.size).sum(),
            ..Reconciliation::default()
        };
        let (suspects, unindexed) = compare(index, listed);
        self.quarantine_lost(index, suspects, &mut found, control).await?;
        // After the lost ones: a pack without an index may hold what they held.
        self.take_up(index, unindexed, lock, &mut found, control).await?;
        Ok(found)
    }

    /// Looks at each suspect, and quarantines those that are lost.
    async fn quarantine_lost(
        &self,
        index: &Index,
        suspects: Vec<Suspect>,
        found: &mut Reconciliation,
        control: &Control,
    ) -> Result<()> {
        let mut looks = futures::stream::iter(suspects)
            .map(|suspect| async move {
                let looked = control.run(self.objects().head(FileType::Pack, &suspect.id)).await;
                (suspect, looked)
            })
            .buffer_unordered(limits::PARALLEL_READS);
        let mut lost = HashSet::new();
        while let Some((suspect, looked)) = looks.next().await {
            let reason = match looked? {
                Some(pack) if pack.size == suspect.expected => continue,
                Some(pack) => format!("it has {} bytes instead of {}", pack.size, suspect.expected),
                None => "the index names it and it is not there".to_owned(),
            };
            lost.insert(suspect.number);
            found.lost.add(FileType::Pack.key(&suspect.id), reason, control);
        }
        if !lost.is_empty() {
            index.quarantine(&lost);
        }
        Ok(())
    }

    /// Indexes what packs without an index hold. Their index is written at once: if this run is killed too, the next one need
    /// not read their headers again.
    async fn take_up(
        &self,
        index: &Index,
        unindexed: Vec<Listed>,
        lock: &LockHandle,
        found: &mut Reconciliation,
        control: &Control,
    ) -> Result<()> {
        if unindexed.is_empty() {
            return Ok(());
        }
        control.emit(Event::PhaseStarted("taking up packs without an index"));
        let writer = IndexWriter::default();
        let mut reads = futures::stream::iter(unindexed)
            .map(|pack| async move { (pack.id, self.read_unindexed(pack, control).await) })
            .buffer_unordered(limits::PARALLEL_HEADERS);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(pack) if pack.blobs.iter().all(|blob| index.contains(blob.blob_type, &blob.id)) => {}
                Ok(pack) => {
                    index.publish(&pack);
                    found.taken_up.push(id);
                    if let Some(packs) = writer.add(pack) {
                        lock.check()?;
                        writer.write(self, packs).await?;
                    }
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                // Nothing needs it, so not even a store that refuses is in our way.
                Err(error) => found.unreadable.add(FileType::Pack.key(&id), error.to_string(), control),
            }
        }
        lock.check()?;
        writer.write_rest(self).await
    }

    /// The header of a pack that no index names. What looks damaged is read once more: it may have happened on the way.
    async fn read_unindexed(&self, pack: Listed, control: &Control) -> Result<IndexPack> {
        within("size of a pack", pack.size, limits::MAX_PACK_OBJECT)?;
        let header = match read_pack_header(self, &pack.id, pack.size, control).await {
            Err(Error::Damaged { .. }) => read_pack_header(self, &pack.id, pack.size, control).await?,
            read => read?,
        };
        if header.blobs.iter().any(|blob| blob.blob_type == BlobType::Tree) {
            within("size of a pack with trees to be read whole", pack.size, limits::MAX_TAKEN_UP_TREES)?;
            if !self.has_its_sum(pack.id, control).await? && !self.has_its_sum(pack.id, control).await? {
                return Err(Error::damaged(FileType::Pack.key(&pack.id), "its content does not have the sum that its name says"));
            }
        }
        Ok(header)
    }

    async fn has_its_sum(&self, pack: PackId, control: &Control) -> Result<bool> {
        let bytes = self.objects().get(FileType::Pack, &pack, control).await?;
        tokio::task::spawn_blocking(move || Id::of(&bytes) == pack).await.map_err(Error::internal)
    }
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<()> {
    if found <= limit { Ok(()) } else { Err(Error::BeyondLimit { what, found, limit }) }
}

/// The packs that are not listed as the index names them, and those that it does not name.
fn compare(index: &Index, listed: Vec<Listed>) -> (Vec<Suspect>, Vec<Listed>) {
    let expected = index.pack_sizes();
    let packs = index.packs.read();
    let mut is_well = vec![false; expected.len()];
    let mut unindexed = Vec::new();
    for pack in listed {
        match packs.number(&index.fingerprints.of(&pack.id), &pack.id) {
            Some(number) => is_well[number as usize] |= pack.size == expected[number as usize],
            None => unindexed.push(pack),
        }
    }
    let suspects = packs
        .ids()
        .zip(0u32..)
        .filter(|(_, number)| !is_well[*number as usize] && expected[*number as usize] > 0)
        .map(|(id, number)| Suspect { id: *id, number, expected: expected[number as usize] })
        .collect();
    (suspects, unindexed)
}
