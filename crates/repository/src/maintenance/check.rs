//! Checking a repository: that everything its snapshots need is indexed and there, and on demand that it reads.

use std::collections::HashMap;
use std::sync::Arc;

use super::damaged_blobs::DamagedBlobs;
use super::groups::count_entries;
use super::rotation::Rotation;
use super::trace::{DamagedBlob, trace};
use super::usage::{Usage, for_each_copy};
use super::walk::{Missing, UsedBlobs, walk};
use crate::control::{Control, Event};
use crate::error::Result;
use crate::format::BlobType;
use crate::index::Index;
use crate::limits::NAMED_DAMAGES;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::pack::BlobReader;
use crate::snapshots::Damage;
use crate::{BlobId, PackId, Repository, SnapshotId, TreeId};

/// Which packs a check reads in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadData {
    /// None: the structure alone.
    #[default]
    None,
    /// All.
    All,
    /// One part of several, chosen by the packs' ids: `index` from 0 to `of - 1` covers all.
    Part {
        /// Which part.
        index: u16,
        /// Of how many.
        of: u16,
    },
    /// Those that are due.
    Due(Rotation),
}

impl ReadData {
    pub(super) fn includes(self, pack: &PackId) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Part { index, of } => u16::from_be_bytes([pack.0[0], pack.0[1]]) % of.max(1) == index,
            Self::Due(rotation) => rotation.includes(pack),
        }
    }
}

/// How thorough a check is.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// Packs to read.
    pub read: ReadData,
}

/// A fault of the repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A snapshot or index cannot be read.
    #[error("{} is damaged: {}", .0.key, .0.reason)]
    Damaged(Damage),
    /// The index names a pack that is not there.
    #[error("pack {pack} is in the index but not in the store; {used_blobs} of its blobs are in use")]
    PackMissing {
        /// The pack.
        pack: PackId,
        /// Blobs of it that snapshots need.
        used_blobs: u32,
    },
    /// A pack has another size than its blobs and header take.
    #[error("pack {pack} has {found} bytes instead of {expected}")]
    PackSize {
        /// The pack.
        pack: PackId,
        /// Bytes by the index.
        expected: u64,
        /// Bytes in the store.
        found: u64,
    },
    /// A pack that was read is not what it must be.
    #[error("pack {pack} is damaged: {reason}")]
    PackDamaged {
        /// The pack.
        pack: PackId,
        /// What is wrong.
        reason: String,
    },
    /// A directory cannot be read.
    #[error("tree {tree} cannot be read: {reason}")]
    TreeUnreadable {
        /// The tree.
        tree: TreeId,
        /// What happened.
        reason: String,
    },
    /// A file has content that no index knows.
    #[error("file {name:?} of tree {tree} needs blob {blob}, which is not in the index")]
    BlobMissing {
        /// The blob.
        blob: BlobId,
        /// The directory.
        tree: TreeId,
        /// The file's name.
        name: String,
    },
    /// An entry of a directory says something impossible.
    #[error("entry {name:?} of tree {tree}: {reason}")]
    Entry {
        /// The directory.
        tree: TreeId,
        /// The entry's name.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// The faults, the first thousand of each kind of search; none means that all is well as far as it was looked at.
    pub errors: Vec<CheckError>,
    /// Further faults that are not named.
    pub errors_omitted: u64,
    /// Packs that no index names: left by a killed backup, harmless.
    pub unindexed_packs: Vec<PackId>,
    /// Snapshots that were walked.
    pub snapshots: usize,
    /// Trees that were read.
    pub trees: u64,
    /// Packs in the index.
    pub packs: usize,
    /// Blobs in the index.
    pub blobs: usize,
    /// Packs that were read in full.
    pub packs_read: usize,
    /// Bytes of them.
    pub bytes_read: u64,
    /// Blobs of which no readable copy was found, with the files and directories that need them; the first thousand.
    pub damaged_blobs: Vec<DamagedBlob>,
    /// Further findings of damaged blobs, which were not traced.
    pub damaged_blobs_omitted: u64,
}

impl CheckReport {
    /// Names a fault, or only counts it if there are `most` already.
    pub(super) fn add(&mut self, most: usize, error: CheckError) {
        if self.errors.len() < most {
            self.errors.push(error);
        } else {
            self.errors_omitted += 1;
        }
    }
}

impl Repository {
    /// Checks the repository under any lock. If something is damaged, all trees are walked once more to name what needs it.
    ///
    /// # Errors
    /// Of the store and [`crate::Error::Cancelled`]; faults of the repository are in the report.
    pub async fn check(&self, lock: &LockHandle, options: CheckOptions, control: &Control) -> Result<CheckReport> {
        lock.check()?;
        let mut report = CheckReport::default();
        control.emit(Event::PhaseStarted("checking the structure"));
        let list = self.snapshots(control).await?;
        let index = self.load_index(control).await?;
        report.errors.extend(list.damaged.iter().chain(index.damaged()).cloned().map(CheckError::Damaged));
        let roots: Vec<_> = list.snapshots.iter().map(|(id, snapshot)| (*id, snapshot.tree)).collect();
        let reader = self.blob_reader(Arc::clone(&index), control);
        let (mut damaged, walked) = check_trees(&reader, &roots, &mut report, control).await?;
        let to_read = self.check_listing(&index, walked, options.read, &mut report, &mut damaged, control).await?;
        if !to_read.is_empty() {
            control.emit(Event::PhaseStarted("reading packs"));
            lock.check()?;
            self.check_packs(&index, to_read, &mut report, &mut damaged, control).await?;
        }
        if !damaged.is_empty() {
            control.emit(Event::PhaseStarted("looking for what is damaged in the snapshots"));
            lock.check()?;
            let names = self.names_of(&index, damaged.unnamed(), control).await?;
            damaged.name(&names);
            let damaged = without_readable(damaged, &reader).await?;
            report.damaged_blobs_omitted = damaged.omitted;
            report.damaged_blobs = trace(&reader, roots, damaged, control).await?;
        }
        Ok(report)
    }

    /// Compares the index with the packs that are there. Returns the numbers of the packs that are to be read.
    async fn check_listing(
        &self,
        index: &Arc<Index>,
        used: Arc<UsedBlobs>,
        read: ReadData,
        report: &mut CheckReport,
        damaged: &mut DamagedBlobs,
        control: &Control,
    ) -> Result<Vec<u32>> {
        let listed: HashMap<PackId, u64> =
            self.objects().list(FileType::Pack, control).await?.into_iter().map(|pack| (pack.id, pack.size)).collect();
        let usage = Usage::measure(index, &used, &listed);
        let most = report.errors.len() + NAMED_DAMAGES;
        // Of each pack that is gone or not whole, how much of it is there.
        let (mut to_read, mut cut, mut unindexed) = (Vec::new(), HashMap::new(), listed.clone());
        for ((pack, usage), number) in index.pack_ids().into_iter().zip(&usage.packs).zip(0u32..) {
            match unindexed.remove(&pack) {
                None => {
                    cut.insert(number, 0);
                    report.add(most, CheckError::PackMissing { pack, used_blobs: usage.used_blobs });
                }
                Some(found) if found != usage.size() => {
                    cut.insert(number, found);
                    report.add(most, CheckError::PackSize { pack, expected: usage.size(), found });
                }
                Some(_) if read.includes(&pack) => to_read.push(number),
                Some(_) => {}
            }
            report.packs += 1;
        }
        report.unindexed_packs = unindexed.into_keys().collect();
        report.unindexed_packs.sort_unstable();
        if !cut.is_empty() {
            for_each_copy(index, |place, pack, blob| {
                let end = u64::from(blob.offset) + u64::from(blob.length);
                let is_cut = cut.get(&pack).is_some_and(|there| end > *there);
                if is_cut && used.contains(place) && usage.is_home(place, pack) {
                    damaged.add_place(place);
                }
            });
        }
        Ok(to_read)
    }

    /// Reads the packs of an index whose turn it is, as far as anything is known to stand in them.
    pub(crate) async fn check_due(&self, index: &Arc<Index>, rotation: Rotation, control: &Control) -> Result<CheckReport> {
        let packs = index.pack_ids().into_iter().zip(count_entries(index)).zip(0u32..);
        let due = packs.filter(|((pack, entries), _)| *entries > 0 && rotation.includes(pack)).map(|(_, number)| number);
        let due: Vec<u32> = due.collect();
        let mut report = CheckReport { packs: due.len(), blobs: index.len(), ..CheckReport::default() };
        control.emit(Event::PhaseStarted("reading packs"));
        self.check_packs(index, due, &mut report, &mut DamagedBlobs::default(), control).await?;
        Ok(report)
    }
}

/// Walks all trees. Returns what they lack and what they use.
async fn check_trees(
    reader: &BlobReader,
    roots: &[(SnapshotId, TreeId)],
    report: &mut CheckReport,
    control: &Control,
) -> Result<(DamagedBlobs, Arc<UsedBlobs>)> {
    let trees: Vec<_> = roots.iter().map(|(_, root)| *root).collect();
    let walked = walk(reader, &trees, control).await?;
    report.snapshots = roots.len();
    report.blobs = reader.index().len();
    report.trees = walked.trees;
    report.errors.extend(walked.missing.iter().map(to_error));
    report.errors_omitted += walked.missing_omitted;
    let mut damaged = DamagedBlobs::default();
    for missing in &walked.missing {
        match missing {
            Missing::Tree { id, .. } => damaged.add((BlobType::Tree, *id)),
            Missing::Data { id, .. } => damaged.add((BlobType::Data, *id)),
            Missing::Entry { .. } => {}
        }
    }
    damaged.omitted += walked.missing_omitted;
    Ok((damaged, walked.used))
}

/// Leaves out what another pack has: a damaged copy costs nothing if there is a second one.
async fn without_readable(damaged: DamagedBlobs, reader: &BlobReader) -> Result<DamagedBlobs> {
    let mut is_readable = Vec::with_capacity(damaged.keys().len());
    for (blob_type, id) in damaged.keys() {
        let readable = if reader.index().other_copies(*blob_type, id).is_empty() {
            false
        } else {
            match reader.good_copy(*blob_type, id).await {
                Ok(_) => true,
                Err(error) if error.is_damage() => false,
                Err(error) => return Err(error),
            }
        };
        is_readable.push(readable);
    }
    Ok(damaged.without(&is_readable))
}

fn to_error(missing: &Missing) -> CheckError {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    match missing {
        Missing::Tree { id, error } => CheckError::TreeUnreadable { tree: *id, reason: error.to_string() },
        Missing::Data { id, tree, name } => CheckError::BlobMissing { blob: *id, tree: *tree, name: text(name) },
        Missing::Entry { tree, name, reason } => CheckError::Entry { tree: *tree, name: text(name), reason },
    }
}
