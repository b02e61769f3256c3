//! Repairing the index from the packs' own headers.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::StreamExt;

use super::super::compare::{Disagreement, suspects};
use super::super::walk::walk;
use crate::control::{Control, Counters, Event};
use crate::error::{Error, Result};
use crate::index::{Index, IndexWriter};
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::{FileType, Listed};
use crate::pack::read_pack_header;
use crate::snapshots::Damage;
use crate::{Id, IndexId, PackId, Repository, TreeId};

/// How the index is repaired.
#[derive(Debug, Clone, Copy, Default)]
pub struct RepairIndexOptions {
    /// Reads the headers of all packs, not only of those that the index does not name as they are.
    pub read_all_packs: bool,
}

/// What a repair did.
#[derive(Debug, Clone, Default)]
pub struct RepairReport {
    /// Packs that are in the index now, or as their headers say.
    pub packs_added: Vec<PackId>,
    /// Packs that left the index, because they are not in the store.
    pub packs_dropped: Vec<PackId>,
    /// Packs whose header cannot be read; they stay where they are, and in the index if they were there.
    pub packs_damaged: Vec<Damage>,
    /// Index files that could not be read and were removed after what they may have named was indexed anew.
    pub index_files_removed: Vec<String>,
    /// Index files that could not be read and stay, because snapshots miss something that the index does not name without them.
    pub index_files_kept: Vec<String>,
}

impl Repository {
    /// Enters packs that no readable index names, or that are not as it names them, takes out those that are gone, and then removes
    /// unreadable index files if no snapshot misses anything without them.
    ///
    /// # Errors
    /// [`Error::NotExclusive`] without an exclusive lock, else of the store.
    pub async fn repair_index(&self, lock: &LockHandle, control: &Control) -> Result<RepairReport> {
        self.repair_index_with(lock, RepairIndexOptions::default(), control).await
    }

    /// [`Self::repair_index`] with options.
    ///
    /// # Errors
    /// As there.
    pub async fn repair_index_with(
        &self,
        lock: &LockHandle,
        options: RepairIndexOptions,
        control: &Control,
    ) -> Result<RepairReport> {
        lock.require_exclusive("repairing the index")?;
        control.finish(self.make_index_agree(lock, options, control)).await
    }

    async fn make_index_agree(&self, lock: &LockHandle, options: RepairIndexOptions, control: &Control) -> Result<RepairReport> {
        lock.verify().await?;
        let index = self.load_index_with_ids(control).await?;
        let listed = self.objects().list(FileType::Pack, control).await?;
        let Differences { absent, to_read } = self.differences(&index, listed, options, control).await?;
        let mut report = RepairReport { packs_dropped: absent, ..RepairReport::default() };
        control.emit(Event::PhaseStarted("reading headers of packs"));
        self.index_from_headers(to_read, lock, &mut report, control).await?;
        // Packs that are in the index files just written leave the old ones: two descriptions of a pack are one too many.
        let named: HashSet<PackId> = index.pack_ids().into_iter().collect();
        let renewed = report.packs_added.iter().filter(|pack| named.contains(pack));
        let gone: HashSet<PackId> = report.packs_dropped.iter().chain(renewed).copied().collect();
        self.remove_from_index(&index, &gone, lock, &mut report, control).await?;
        Ok(report)
    }

    async fn differences(
        &self,
        index: &Arc<Index>,
        listed: Vec<Listed>,
        options: RepairIndexOptions,
        control: &Control,
    ) -> Result<Differences> {
        let (suspects, mut to_read) = suspects(index, listed).await?;
        let looked = self.look_at(suspects, control).await?;
        let is_absent = |pack: &PackId| looked.get(pack) == Some(&Disagreement::Absent);
        let mut absent: Vec<PackId> = looked.keys().filter(|pack| is_absent(pack)).copied().collect();
        absent.sort_unstable();
        let named: HashSet<PackId> = index.pack_ids().into_iter().collect();
        // The size is that of the look: a listing that names another one lied.
        for pack in &mut to_read {
            if let Some(Disagreement::Size { found, .. }) = looked.get(&pack.id) {
                pack.size = *found;
            }
        }
        to_read.retain(|pack| {
            let differs = !named.contains(&pack.id) || matches!(looked.get(&pack.id), Some(Disagreement::Size { .. }));
            (differs || options.read_all_packs) && !is_absent(&pack.id)
        });
        Ok(Differences { absent, to_read })
    }

    /// Writes index files from the headers of packs.
    async fn index_from_headers(
        &self,
        packs: Vec<Listed>,
        lock: &LockHandle,
        report: &mut RepairReport,
        control: &Control,
    ) -> Result<()> {
        let writer = IndexWriter::default();
        let mut headers = futures::stream::iter(packs)
            .map(|pack| async move { (pack.id, read_pack_header(self, &pack.id, pack.size, control).await) })
            .buffer_unordered(limits::PARALLEL_HEADERS);
        while let Some((id, header)) = headers.next().await {
            match header {
                Ok(pack) => {
                    report.packs_added.push(id);
                    if let Some(packs) = writer.add(pack) {
                        lock.check()?;
                        writer.write(self, packs).await?;
                    }
                }
                Err(Error::Damaged { key, reason }) => report.packs_damaged.push(Damage { key, reason }),
                Err(error) => return Err(error),
            }
            Counters::add(&control.counters().packs_examined, 1);
        }
        lock.verify().await?;
        writer.write_rest(self).await
    }

    /// Takes packs out of the index, and removes the files that cannot be read.
    async fn remove_from_index(
        &self,
        index: &Arc<Index>,
        gone: &HashSet<PackId>,
        lock: &LockHandle,
        report: &mut RepairReport,
        control: &Control,
    ) -> Result<()> {
        let mut old = Vec::new();
        if !gone.is_empty() {
            control.emit(Event::PhaseStarted("rewriting the index"));
            let replacement = self.replace_index(lock, index, gone, control).await?;
            old.extend(replacement.old);
        }
        old.extend(self.useless_index_files(index, report, control).await?);
        lock.verify().await?;
        self.delete_index_files(lock, &old, control).await
    }

    /// Index files that could not be read and can go: they cannot be read now either, and no snapshot misses anything without
    /// them. A store may cut an answer short, or leave packs out of a listing; what then looks unreadable is well, and what it
    /// names was not indexed anew.
    async fn useless_index_files(&self, index: &Index, report: &mut RepairReport, control: &Control) -> Result<Vec<IndexId>> {
        if index.damaged().is_empty() {
            return Ok(Vec::new());
        }
        let now = self.load_index_with_ids(control).await?;
        let unreadable: HashSet<&str> = now.damaged().iter().map(|damage| damage.key.as_str()).collect();
        let unreadable = index.damaged().iter().map(|damage| &damage.key).filter(|key| unreadable.contains(key.as_str()));
        let unreadable: Vec<String> = unreadable.cloned().collect();
        if unreadable.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_all_indexed(now, control).await? {
            report.index_files_kept = unreadable;
            return Ok(Vec::new());
        }
        let id_of = |key: &String| key.rsplit('/').next().and_then(|name| name.parse::<Id>().ok());
        let ids = unreadable.iter().filter_map(id_of).collect();
        report.index_files_removed = unreadable;
        Ok(ids)
    }

    /// Whether the index names all that snapshots need. They are listed twice, because a listing may leave some out.
    async fn is_all_indexed(&self, index: Arc<Index>, control: &Control) -> Result<bool> {
        control.emit(Event::PhaseStarted("looking whether snapshots miss anything"));
        let (first, second) = (self.snapshots(control).await?, self.snapshots(control).await?);
        // What a snapshot needs that cannot be read nobody knows.
        if !first.damaged.is_empty() || !second.damaged.is_empty() {
            return Ok(false);
        }
        let roots: BTreeSet<TreeId> =
            first.snapshots.iter().chain(&second.snapshots).map(|(_, snapshot)| snapshot.tree).collect();
        let roots: Vec<TreeId> = roots.into_iter().collect();
        let walked = walk(&self.blob_reader(index, control), &roots, control).await?;
        Ok(walked.missing.is_empty() && walked.missing_omitted == 0)
    }
}

/// Packs that are not as the index names them.
struct Differences {
    /// Named by it, and not in the store: neither listed nor found by looking for them.
    absent: Vec<PackId>,
    /// Those whose headers are read.
    to_read: Vec<Listed>,
}
