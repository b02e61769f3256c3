//! Moving the used blobs of packs that will go into new packs.
//!
//! A pack is moved as a whole or not at all: one of which a used blob cannot be read, here or in another pack, stays as it is
//! (damage is no reason to delete anything), and only what it holds waits for a repair. What of it another pack still has in
//! readable form is moved from there, for that copy may be about to go. So it is with blobs of packs that stay as they are: where
//! another pack goes with a copy, the one that stays is read first.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use super::groups::{PackEntries, PackGroups};
use super::prune::PruneReport;
use super::prune_plan::{Fate, PrunePlan};
use crate::control::{Control, Counters, Event};
use crate::error::{Error, Result};
use crate::format::HeaderEntry;
use crate::index::{BlobLocation, Index, Place};
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::pack::{BlobReader, BlobSaver, BlobScratch, FetchedPack, PackedBlob, SaverOptions};
use crate::snapshots::Damage;
use crate::{IndexId, PackId, Repository};

/// Packs that are read ahead while others are rewritten.
const PARALLEL_PACKS: usize = 3;

/// What came of moving blobs.
#[derive(Debug, Default)]
pub(super) struct Rewritten {
    /// Index files that were written.
    pub index: BTreeSet<IndexId>,
    /// Packs that stay because they are damaged.
    pub spared: HashSet<PackId>,
}

/// What came of one pack.
enum Moved {
    /// This many bytes moved, and nothing needs it any more.
    All(u64),
    /// A blob of it cannot be read.
    Spared(String),
    /// It stays, and what had to be readable is.
    Sound,
}

/// Which packs are read, and what for. Packs by their numbers in the index.
struct Course {
    /// Their used blobs move.
    moved: HashSet<u32>,
    /// Used blobs in packs that stay, of which a copy goes with another pack, and where they are.
    exposed: HashMap<Place, u32>,
}

impl Course {
    fn of(plan: &PrunePlan) -> Self {
        let fates: HashMap<PackId, Fate> = plan.packs.iter().map(|decision| (decision.pack, decision.fate)).collect();
        // A pack that is not there has no fate: no copy goes with it.
        let fates: Vec<Option<Fate>> = plan.index.pack_ids().iter().map(|id| fates.get(id).copied()).collect();
        let goes = |pack: u32| matches!(fates.get(pack as usize), Some(Some(Fate::Repack | Fate::Drop)));
        let moved = (0u32..).zip(&fates).filter(|(_, fate)| **fate == Some(Fate::Repack)).map(|(number, _)| number).collect();
        Self { moved, exposed: plan.usage.exposed(&plan.index, goes) }
    }

    fn packs(&self) -> Vec<u32> {
        self.moved.iter().chain(self.exposed.values()).copied().collect::<BTreeSet<u32>>().into_iter().collect()
    }

    fn reads(&self, place: Place, pack: u32) -> bool {
        self.moved.contains(&pack) || self.exposed.get(&place) == Some(&pack)
    }
}

impl Repository {
    /// Moves the used blobs of the packs that are to be rewritten, each verified on its way, and those that would lose their last
    /// readable copy, and indexes the new packs.
    pub(super) async fn rewrite(
        &self,
        lock: &LockHandle,
        plan: &Arc<PrunePlan>,
        report: &mut PruneReport,
        control: &Control,
    ) -> Result<Rewritten> {
        let planned = Arc::clone(plan);
        let course = Arc::new(aside(move || Ok(Course::of(&planned))).await?);
        let packs = course.packs();
        if packs.is_empty() {
            return Ok(Rewritten::default());
        }
        let moved: HashSet<PackId> = plan.with_fate(Fate::Repack).map(|pack| pack.pack).collect();
        let mut groups = PackGroups::new(&plan.index, packs).await?;
        let options = SaverOptions { pack_size: plan.options.pack_size, open_packs: 1, ..SaverOptions::default() };
        // An index of its own: the saver must not think that a blob is stored because the old copy is.
        let saver = self.blob_saver(Arc::new(Index::default()), lock.clone(), options, control)?;
        let reader = self.blob_reader(Arc::clone(&plan.index), control);
        let mut spared = HashSet::new();
        loop {
            let (planned, course) = (Arc::clone(plan), Arc::clone(&course));
            let is_read = move |place, pack| {
                planned.used.contains(place) && planned.usage.is_home(place, pack) && course.reads(place, pack)
            };
            let Some(group) = groups.next(is_read).await? else { break };
            rewrite_group(group, &moved, &saver, &reader, &mut spared, report, control).await?;
        }
        report.packs_written = saver.flush().await?.packs;
        control.check()?;
        Ok(Rewritten { index: saver.index_files().into_iter().collect(), spared })
    }
}

async fn rewrite_group(
    group: Vec<PackEntries>,
    moved: &HashSet<PackId>,
    saver: &BlobSaver,
    reader: &BlobReader,
    spared: &mut HashSet<PackId>,
    report: &mut PruneReport,
    control: &Control,
) -> Result<()> {
    let mut fetches = futures::stream::iter(group)
        .map(|(pack, blobs)| async move {
            let blobs = placed(pack, blobs);
            (pack, reader.fetch_pack(pack, &blobs).await, blobs)
        })
        .buffered(PARALLEL_PACKS);
    while let Some((pack, fetched, blobs)) = fetches.next().await {
        let fetched = match fetched {
            Ok(fetched) => Ok(fetched),
            // The pack is not as long as it was, or gone; that the store does not let us look is no damage.
            Err(error) if error.is_damage() => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        let done = if moved.contains(&pack) {
            move_blobs(fetched, blobs, saver, reader).await?
        } else {
            secure_blobs(fetched, blobs, saver, reader).await?
        };
        match done {
            Moved::Sound => {}
            Moved::All(bytes) => {
                report.packs_rewritten += 1;
                report.bytes_rewritten += bytes;
            }
            Moved::Spared(reason) => {
                spared.insert(pack);
                name_damage(report, FileType::Pack.key(&pack), reason, control);
            }
        }
        Counters::add(&control.counters().packs_examined, 1);
    }
    Ok(())
}

fn name_damage(report: &mut PruneReport, key: String, reason: String, control: &Control) {
    report.packs_damaged += 1;
    if report.damaged.len() < limits::NAMED_DAMAGES {
        control.emit(Event::Damaged { key: key.clone(), reason: reason.clone() });
        report.damaged.push(Damage { key, reason });
    }
}

fn placed(pack: PackId, blobs: Vec<crate::format::IndexBlob>) -> Vec<PackedBlob> {
    let place = |blob: crate::format::IndexBlob| PackedBlob {
        blob_type: blob.blob_type,
        id: blob.id,
        location: BlobLocation { pack, offset: blob.offset, length: blob.length, uncompressed_length: blob.uncompressed_length },
    };
    blobs.into_iter().map(place).collect()
}

/// Opens every blob before any is moved, then moves them as they are sealed. `fetched` is why the pack could not be read, if it
/// could not.
async fn move_blobs(
    fetched: Result<FetchedPack, String>,
    blobs: Vec<PackedBlob>,
    saver: &BlobSaver,
    reader: &BlobReader,
) -> Result<Moved> {
    let pack = Arc::new((fetched, blobs));
    let examined = Arc::clone(&pack);
    let (damaged, why) = aside(move || Ok(damaged_blobs(&examined.0, &examined.1))).await?;
    if let Some(reason) = save_from_other_packs(&damaged, why, saver, reader).await? {
        return Ok(Moved::Spared(reason));
    }
    let saver = saver.clone();
    aside(move || move_sealed(&pack.0, &pack.1, &damaged, &saver)).await
}

/// Opens blobs of a pack that stays, and stores those that cannot be read from the copies that are about to go.
async fn secure_blobs(
    fetched: Result<FetchedPack, String>,
    blobs: Vec<PackedBlob>,
    saver: &BlobSaver,
    reader: &BlobReader,
) -> Result<Moved> {
    let (damaged, why) = aside(move || Ok(damaged_blobs(&fetched, &blobs))).await?;
    let Some(why) = why else { return Ok(Moved::Sound) };
    // What has no readable copy anywhere loses nothing by it.
    save_from_other_packs(&damaged, None, saver, reader).await?;
    Ok(Moved::Spared(why))
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Stores blobs from their copies in other packs. What is wrong if there is one that has no readable copy.
async fn save_from_other_packs(
    damaged: &[PackedBlob],
    why: Option<String>,
    saver: &BlobSaver,
    reader: &BlobReader,
) -> Result<Option<String>> {
    let mut lost = None;
    for blob in damaged {
        match reader.good_copy(blob.blob_type, &blob.id).await {
            Ok(copy) => {
                let saver = saver.clone();
                aside(move || saver.save_copy(&copy)).await?;
            }
            Err(error) if error.is_damage() => lost = lost.or_else(|| why.clone()).or(Some(error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(lost)
}

/// Moves all blobs but the damaged ones.
fn move_sealed(
    fetched: &Result<FetchedPack, String>,
    blobs: &[PackedBlob],
    damaged: &[PackedBlob],
    saver: &BlobSaver,
) -> Result<Moved> {
    let damaged: HashSet<_> = damaged.iter().map(|blob| blob.location.offset).collect();
    let mut moved = 0;
    for blob in blobs {
        moved += u64::from(blob.location.length);
        if damaged.contains(&blob.location.offset) {
            continue;
        }
        let sealed = fetched.as_ref().ok().and_then(|pack| pack.sealed(blob));
        let entry = HeaderEntry {
            id: blob.id,
            blob_type: blob.blob_type,
            length: blob.location.length,
            uncompressed_length: blob.location.uncompressed_length,
        };
        saver.move_sealed(entry, sealed.ok_or_else(|| Error::internal("a blob that was opened is no longer there"))?)?;
    }
    Ok(Moved::All(moved))
}

/// The blobs whose copy in this pack cannot be read, and what is wrong with the first.
fn damaged_blobs(fetched: &Result<FetchedPack, String>, blobs: &[PackedBlob]) -> (Vec<PackedBlob>, Option<String>) {
    let pack = match fetched {
        Ok(pack) => pack,
        Err(reason) => return (blobs.to_vec(), Some(reason.clone())),
    };
    let (mut scratch, mut damaged, mut why) = (BlobScratch::default(), Vec::new(), None);
    for blob in blobs {
        if let Err(error) = pack.verify(blob, &mut scratch) {
            why.get_or_insert_with(|| error.to_string());
            damaged.push(*blob);
        }
    }
    (damaged, why)
}
