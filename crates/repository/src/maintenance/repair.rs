//! Repairing an index from the packs' own headers.

use std::collections::HashSet;

use futures::StreamExt;

use crate::control::{Control, Counters};
use crate::error::{Error, Result};
use crate::index::IndexWriter;
use crate::limits;
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::pack::read_pack_header;
use crate::snapshots::Damage;
use crate::{PackId, Repository};

/// What a repair did.
#[derive(Debug, Clone, Default)]
pub struct RepairReport {
    /// Packs that are in the index now.
    pub packs_added: Vec<PackId>,
    /// Packs whose header cannot be read; they stay where they are.
    pub packs_damaged: Vec<Damage>,
    /// Index files that could not be read and were removed after what they may have named was indexed anew.
    pub index_files_removed: Vec<String>,
}

impl Repository {
    /// Enters packs that no readable index names, and then removes unreadable index files.
    ///
    /// # Errors
    /// [`Error::NotExclusive`] without an exclusive lock, else of the store.
    pub async fn repair_index(&self, lock: &LockHandle, control: &Control) -> Result<RepairReport> {
        lock.require_exclusive("repairing the index")?;
        lock.verify().await?;
        let index = self.load_index(control).await?;
        let known: HashSet<PackId> = index.pack_ids().into_iter().collect();
        let mut lost = self.objects().list(FileType::Pack, control).await?;
        lost.retain(|pack| !known.contains(&pack.id));
        let mut report = RepairReport::default();
        let writer = IndexWriter::default();
        let mut headers = futures::stream::iter(lost)
            .map(|pack| async move { (pack.id, read_pack_header(self, &pack.id, pack.size, control).await) })
            .buffer_unordered(limits::PARALLEL_READS);
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
        writer.write(self, writer.rest()).await?;
        for damage in index.damaged() {
            let id = damage.key.rsplit('/').next().and_then(|name| name.parse().ok());
            if let Some(id) = id {
                lock.check()?;
                self.objects().delete(FileType::Index, &id).await?;
                report.index_files_removed.push(damage.key.clone());
            }
        }
        Ok(report)
    }
}
