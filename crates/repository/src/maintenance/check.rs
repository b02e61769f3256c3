//! Checking a repository: that everything its snapshots need is indexed and there, and on demand that it reads.

use std::collections::HashMap;
use std::sync::Arc;

use super::usage::Usage;
use super::walk::{Missing, walk};
use crate::control::{Control, Event};
use crate::error::Result;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::snapshots::Damage;
use crate::{BlobId, PackId, Repository, TreeId};

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
}

impl ReadData {
    pub(super) fn includes(self, pack: &PackId) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Part { index, of } => u16::from_be_bytes([pack.0[0], pack.0[1]]) % of.max(1) == index,
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
}

impl Repository {
    /// Checks the repository under any lock.
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
        let roots: Vec<_> = list.snapshots.iter().map(|(_, snapshot)| snapshot.tree).collect();
        report.snapshots = roots.len();
        report.blobs = index.len();
        let walked = walk(&self.blob_reader(Arc::clone(&index), control), &roots, control).await?;
        report.trees = walked.trees;
        report.errors.extend(walked.missing.iter().map(to_error));
        report.errors_omitted = walked.missing_omitted;

        let usage = Usage::measure(&index, &walked.used);
        let mut listed: HashMap<PackId, u64> =
            self.objects().list(FileType::Pack, control).await?.into_iter().map(|pack| (pack.id, pack.size)).collect();
        let mut to_read = Vec::new();
        for (pack, usage) in index.pack_ids().into_iter().zip(&usage.packs) {
            match listed.remove(&pack) {
                None => report.errors.push(CheckError::PackMissing { pack, used_blobs: usage.used_blobs }),
                Some(found) if found != usage.size() => {
                    report.errors.push(CheckError::PackSize { pack, expected: usage.size(), found });
                }
                Some(_) if options.read.includes(&pack) => to_read.push(pack),
                Some(_) => {}
            }
            report.packs += 1;
        }
        report.unindexed_packs = listed.into_keys().collect();
        report.unindexed_packs.sort_unstable();
        if !to_read.is_empty() {
            control.emit(Event::PhaseStarted("reading packs"));
            lock.check()?;
            self.check_packs(&index, &to_read, &mut report, control).await?;
        }
        Ok(report)
    }
}

fn to_error(missing: &Missing) -> CheckError {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    match missing {
        Missing::Tree { id, error } => CheckError::TreeUnreadable { tree: *id, reason: error.to_string() },
        Missing::Data { id, tree, name } => CheckError::BlobMissing { blob: *id, tree: *tree, name: text(name) },
        Missing::Entry { tree, name, reason } => CheckError::Entry { tree: *tree, name: text(name), reason },
    }
}
