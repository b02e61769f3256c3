//! Carrying out a prune: new packs → new index → look again → delete old index → delete packs.
//!
//! At every moment each blob that a snapshot needs is in a pack that is there and that an index names; a prune that is killed
//! leaves nothing worse than copies, which the next one removes (reliability §1.3, E1).

use std::collections::HashSet;
use std::sync::Arc;

use super::prune_plan::{Fate, PackDecision, PrunePlan};
use super::replace::Expected;
use crate::control::{Control, Event};
use crate::error::{Error, Result};
use crate::lock::LockHandle;
use crate::objects::FileType;
use crate::snapshots::Damage;
use crate::{PackId, Repository};

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
    /// Packs that stay as they are, because blobs of them that snapshots need cannot be read. Looked at are those that were to be
    /// rewritten, and of the others what had a copy in a pack that goes: that copy was kept.
    pub packs_damaged: u64,
    /// The first thousand of them.
    pub damaged: Vec<Damage>,
}

impl Repository {
    /// Carries out a plan under the exclusive lock it was made under. A pack that turns out to be damaged stays as it is, and the
    /// report says so.
    ///
    /// # Errors
    /// [`Error::PruneRefused`] if the repository is no longer what the plan saw, or the plan is one to be shown only;
    /// [`Error::LockLost`]; of the store. Whatever happens, everything that snapshots need stays as readable as it was.
    pub async fn prune(&self, lock: &LockHandle, plan: PrunePlan, control: &Control) -> Result<PruneReport> {
        lock.require_exclusive("prune")?;
        if !plan.may_be_carried_out {
            return Err(Error::PruneRefused { reason: "the plan was made beside others, to be shown only".to_owned() });
        }
        if plan.is_empty() {
            return Ok(PruneReport::default());
        }
        control.finish(self.carry_out(lock, &Arc::new(plan), control)).await
    }

    async fn carry_out(&self, lock: &LockHandle, plan: &Arc<PrunePlan>, control: &Control) -> Result<PruneReport> {
        lock.verify().await?;
        let mut report = PruneReport::default();
        control.emit(Event::PhaseStarted("rewriting packs"));
        let rewritten = self.rewrite(lock, plan, &mut report, control).await?;
        let going: Vec<&PackDecision> =
            plan.packs.iter().filter(|pack| pack.fate != Fate::Keep && !rewritten.spared.contains(&pack.pack)).collect();
        control.emit(Event::PhaseStarted("rewriting the index"));
        let gone: HashSet<PackId> = going.iter().map(|pack| pack.pack).chain(plan.forgotten.iter().copied()).collect();
        let replacement = self.replace_index(lock, &plan.index, &gone, control).await?;
        control.check()?;
        let index_files = plan.index_files.iter().chain(&rewritten.index).chain(&replacement.new).copied().collect();
        let expected = Expected { snapshots: plan.snapshots.clone(), index_files };
        if !planted!(PruneLooksOnce)
            && let Some(reason) = self.look_again(lock, &expected, control).await?
        {
            return Err(Error::PruneRefused { reason });
        }
        control.emit(Event::PhaseStarted("removing packs"));
        // From here on a cancellation would leave only waste behind; it is still obeyed between objects.
        self.delete_index_files(lock, &replacement.old, control).await?;
        let packs: Vec<PackId> = going.iter().map(|pack| pack.pack).collect();
        self.delete_in_turn(lock, FileType::Pack, &packs, control).await?;
        report.index_files_removed = replacement.old.len();
        report.packs_removed = packs.len();
        report.bytes_removed = going.iter().map(|pack| pack.size).sum();
        Ok(report)
    }
}
