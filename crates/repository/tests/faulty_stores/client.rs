//! One client: what it does, and what it may say about it afterwards.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use repository::limits::MIN_PACK_SIZE;
use repository::maintenance::{CheckOptions, PruneOptions, ReadData};
use repository::{Control, Error, LockHandle, LockMode, LockRequest, Repository, Result, SaverOptions, SnapshotId};
use secrecy::SecretString;

use crate::faulty_store::FaultyStore;
use crate::harness::{
    Content, MapStore, NEW_PASSWORD, PASSWORD, Reader, Saving, back_up, complaints, key_options, locked, open, prune,
};
use crate::support::identity;
use crate::world::{Registry, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Backup,
    Forget,
    Prune,
    Check,
    Read,
    Repair,
    AddKey,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Check => "check",
            Self::Read => "read",
            Self::Repair => "repair",
            Self::AddKey => "add key",
        }
    }

    pub fn is_shared(self) -> bool {
        matches!(self, Self::Backup | Self::Check | Self::Read | Self::AddKey)
    }
}

pub struct Client {
    pub world: Arc<World>,
    pub store: Arc<FaultyStore>,
    /// The pod's, and the snapshot's if it makes one.
    pub name: String,
    pub action: Action,
    /// What it backs up.
    pub content: Content,
    pub prune: PruneOptions,
    /// How many snapshots it forgets.
    pub victims: usize,
    /// How long it waits for locks.
    pub patience: Duration,
    pub verify_uploads: bool,
    /// Whether its listings are right.
    pub trusts_lists: bool,
    /// Whether what is deleted is gone.
    pub trusts_deletes: bool,
}

impl Client {
    /// Does its work. What it says of it is entered into the world's ledger: promises before they can be broken, tries before they are made.
    pub async fn act(&self, store: Arc<dyn ObjectStore>, is_beside_others: bool) -> Result<()> {
        let control = Control::default();
        let repository = open(store, PASSWORD).await?;
        if self.action == Action::AddKey {
            return self.add_key(&repository, &control).await;
        }
        let mode = if self.action.is_shared() { LockMode::Shared } else { LockMode::Exclusive };
        let work = async |lock: &LockHandle| match self.action {
            Action::Backup => self.back_up(&repository, lock, &control).await,
            Action::Forget => self.forget(&repository, lock, &control).await,
            Action::Prune => prune(&repository, lock, &self.prune, &control).await,
            Action::Check => self.check(&repository, lock, &control, is_beside_others).await,
            Action::Read => self.read(&repository, &control).await,
            Action::Repair => repository.repair_index(lock, &control).await.map(drop),
            Action::AddKey => Ok(()),
        };
        locked(&repository, self.lock_request(mode), &control, work).await
    }

    /// The protocol's own times but one: how far apart two looks are is measured by another clock than the one that jumps here.
    fn lock_request(&self, mode: LockMode) -> LockRequest {
        let registry = Arc::new(Registry(Arc::clone(&self.world)));
        let mut request = LockRequest::new(mode, identity(&self.name)).judged_by(registry).waiting(self.patience);
        request.times.between_looks = Duration::ZERO;
        request
    }

    async fn back_up(&self, repository: &Repository, lock: &LockHandle, control: &Control) -> Result<()> {
        self.world.tries(&self.name, self.content.root);
        let options = SaverOptions {
            pack_size: MIN_PACK_SIZE,
            open_packs: 1,
            verify_uploads: self.verify_uploads,
            ..SaverOptions::default()
        };
        let saving = Saving { options, flushes: 2 };
        let id = back_up(repository, lock, &self.content, &self.name, saving, control).await?;
        self.world.promises(&self.name, id, self.content.root);
        Ok(())
    }

    async fn forget(&self, repository: &Repository, lock: &LockHandle, control: &Control) -> Result<()> {
        let victims: Vec<_> = self.world.standing().into_iter().take(self.victims).collect();
        victims.iter().for_each(|(name, ..)| self.world.dooms(name));
        let ids: Vec<SnapshotId> = victims.into_iter().map(|(_, id, _)| id).collect();
        let report = repository.forget(lock, &ids, control).await?;
        if self.trusts_deletes {
            report.removed.iter().chain(&report.absent).for_each(|id| self.world.is_gone(*id));
        }
        Ok(())
    }

    /// A check that finds nothing says that all is well.
    async fn check(&self, repository: &Repository, lock: &LockHandle, control: &Control, is_beside_others: bool) -> Result<()> {
        let report = repository.check(lock, CheckOptions { read: ReadData::All }, control).await?;
        if report.errors.is_empty() && self.trusts_lists && !is_beside_others {
            let truth = open(self.world.truth.fork(), PASSWORD).await?;
            if let Some(complaint) = complaints(&truth, ReadData::All).await?.first() {
                self.world.violated(format!("I2: a check found nothing, and there is: {complaint}"));
            }
        }
        Ok(())
    }

    /// Reads a snapshot as a restore does: by its id.
    async fn read(&self, repository: &Repository, control: &Control) -> Result<()> {
        let Some((name, id, root)) = self.world.standing().pop() else { return Ok(()) };
        let snapshot = repository.snapshot(&id, control).await?;
        if snapshot.tree != root {
            self.world.violated(format!("I2: {name} reads as another snapshot"));
        }
        let index = repository.load_index(control).await?;
        let read = Reader::default().read(repository, &index, &MapStore::new(), snapshot.tree).await;
        read.map_err(|reason| {
            if reason.contains("with success") {
                self.world.violated(format!("I2: {reason}"));
            }
            Error::Internal { reason }
        })
    }

    async fn add_key(&self, repository: &Repository, control: &Control) -> Result<()> {
        repository.add_key(&SecretString::from(NEW_PASSWORD), &key_options(), control).await?;
        if open(self.world.truth.fork(), NEW_PASSWORD).await.is_err() {
            self.world.violated("I2: a key was added with success and opens nothing".into());
        }
        Ok(())
    }
}
