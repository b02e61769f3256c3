//! What is interrupted, and what must be true of the repository meanwhile and afterwards.

use std::sync::Arc;

use object_store::ObjectStore;
use repository::{Control, Error, LockHandle, LockMode, Repository, Result, SnapshotId};
use secrecy::SecretString;

use crate::harness::{
    MapStore, NEW_PASSWORD, Names, PASSWORD, Reader, alone, back_up, init, key_options, locked, names, open, prune,
};
use crate::scenario::Scenario;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Init,
    Backup,
    Forget,
    Prune,
    ForgetAndPrune,
    Repair,
    AddKey,
    RemoveKey,
    ChangePassword,
    /// Reads everything; here the client dies at reads as well.
    Read,
}

/// The name under which the operation's own backup appears.
const FRESH: &str = "fresh";

/// What must be true of a state of the repository.
#[derive(Debug, Default)]
pub struct Expected {
    /// Snapshots that are there and read in full.
    pub must: Names,
    /// Snapshots that may be there, and then read in full.
    pub may: Names,
    /// Index files may be damaged, and what they name unreadable for now: what of `must` reads nevertheless is in `must`.
    pub is_damaged: bool,
    /// There may be no repository yet.
    pub may_be_missing: bool,
    /// Passwords of which each opens it.
    pub opened_by: Vec<&'static str>,
    /// Passwords of which one at least opens it.
    pub opened_by_one_of: Vec<&'static str>,
    /// Passwords that do not open it.
    pub closed_to: Vec<&'static str>,
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Init,
        Self::Backup,
        Self::Forget,
        Self::Prune,
        Self::ForgetAndPrune,
        Self::Repair,
        Self::AddKey,
        Self::RemoveKey,
        Self::ChangePassword,
        Self::Read,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::ForgetAndPrune => "forget-and-prune",
            Self::Repair => "repair",
            Self::AddKey => "add-key",
            Self::RemoveKey => "remove-key",
            Self::ChangePassword => "change-password",
            Self::Read => "read",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Whether it refuses to work where anything is damaged.
    pub fn prunes(self) -> bool {
        matches!(self, Self::Prune | Self::ForgetAndPrune)
    }

    /// The state in which it begins.
    pub fn begin(self, scenario: &Scenario) -> Arc<MapStore> {
        match self {
            Self::Init => MapStore::new(),
            Self::Repair => scenario.damaged.fork(),
            Self::RemoveKey => scenario.two_keys.fork(),
            _ => scenario.start.fork(),
        }
    }

    /// Whatever happens on the way (`done` is false), and after success.
    pub fn expects(self, scenario: &Scenario, readable: &Names, done: bool) -> Expected {
        let all = Expected { must: scenario.names.clone(), opened_by: vec![PASSWORD], ..Expected::default() };
        let fresh = || (FRESH.to_owned(), scenario.fresh.root);
        match (self, done) {
            (Self::Init, _) => Expected { must: Names::new(), may_be_missing: !done, ..all },
            (Self::Backup, false) => Expected { may: Names::from([fresh()]), ..all },
            (Self::Backup, true) => Expected { must: all.must.into_iter().chain([fresh()]).collect(), ..all },
            (Self::Forget | Self::ForgetAndPrune, false) => {
                Expected { must: scenario.kept(), may: scenario.names.clone(), ..all }
            }
            (Self::Forget | Self::ForgetAndPrune, true) => Expected { must: scenario.kept(), ..all },
            (Self::Repair, false) => Expected { must: readable.clone(), may: all.must, is_damaged: true, ..all },
            (Self::AddKey, true) => Expected { opened_by: vec![PASSWORD, NEW_PASSWORD], ..all },
            (Self::RemoveKey, true) => Expected { closed_to: vec![NEW_PASSWORD], ..all },
            (Self::ChangePassword, false) => {
                Expected { opened_by: Vec::new(), opened_by_one_of: vec![PASSWORD, NEW_PASSWORD], ..all }
            }
            (Self::ChangePassword, true) => Expected { opened_by: vec![NEW_PASSWORD], closed_to: vec![PASSWORD], ..all },
            _ => all,
        }
    }

    /// One client's whole work: it opens the repository, takes a lock if it needs one, and gives it back.
    pub async fn perform(self, scenario: &Scenario, store: Arc<dyn ObjectStore>) -> Result<()> {
        match self {
            Self::Init => return initialise(store).await,
            Self::ChangePassword => return change_password(store).await,
            _ => {}
        }
        let control = Control::default();
        let repository = open(store, PASSWORD).await?;
        let (repository, control) = (&repository, &control);
        match self {
            Self::AddKey => repository.add_key(&SecretString::from(NEW_PASSWORD), &key_options(), control).await.map(drop),
            Self::RemoveKey => remove_other_keys(repository, control).await,
            Self::Backup => {
                let work = async |lock: &LockHandle| {
                    back_up(repository, lock, &scenario.fresh, FRESH, scenario.saving, control).await.map(drop)
                };
                locked(repository, alone(LockMode::Shared), control, work).await
            }
            Self::Read => {
                locked(repository, alone(LockMode::Shared), control, async |_| read(scenario, repository, control).await).await
            }
            _ => {
                locked(repository, alone(LockMode::Exclusive), control, async |lock| {
                    self.exclusively(scenario, repository, lock, control).await
                })
                .await
            }
        }
    }

    async fn exclusively(self, scenario: &Scenario, repository: &Repository, lock: &LockHandle, control: &Control) -> Result<()> {
        if matches!(self, Self::Forget | Self::ForgetAndPrune) {
            let ids: Vec<SnapshotId> = scenario.forget.iter().filter_map(|name| scenario.ids.get(name)).copied().collect();
            repository.forget(lock, &ids, control).await?;
        }
        if self.prunes() {
            prune(repository, lock, &scenario.prune, control).await?;
        }
        if self == Self::Repair {
            repository.repair_index(lock, control).await?;
        }
        Ok(())
    }
}

async fn initialise(store: Arc<dyn ObjectStore>) -> Result<()> {
    match init(Arc::clone(&store)).await {
        Err(Error::RepositoryExists { .. }) => open(store, PASSWORD).await.map(drop),
        other => other.map(drop),
    }
}

async fn remove_other_keys(repository: &Repository, control: &Control) -> Result<()> {
    for key in repository.list_keys(control).await? {
        if !key.current {
            repository.remove_key(&key.id).await?;
        }
    }
    Ok(())
}

/// The new key is added and opened before the old one goes (reliability E13).
async fn change_password(store: Arc<dyn ObjectStore>) -> Result<()> {
    let control = Control::default();
    let renewed = match open(Arc::clone(&store), NEW_PASSWORD).await {
        // An earlier attempt came so far.
        Ok(renewed) => renewed,
        Err(Error::WrongPassword { .. }) => {
            let repository = open(Arc::clone(&store), PASSWORD).await?;
            repository.add_key(&SecretString::from(NEW_PASSWORD), &key_options(), &control).await?;
            open(store, NEW_PASSWORD).await?
        }
        Err(error) => return Err(error),
    };
    remove_other_keys(&renewed, &control).await
}

async fn read(scenario: &Scenario, repository: &Repository, control: &Control) -> Result<()> {
    let list = repository.snapshots(control).await?;
    let index = repository.load_index(control).await?;
    let nothing_known = MapStore::new();
    for (_, snapshot) in &list.snapshots {
        let read = Reader::default().read(repository, &index, &nothing_known, snapshot.tree).await;
        read.map_err(|reason| Error::Internal { reason })?;
    }
    assert!(list.damaged.is_empty() && names(&list).as_ref() == Ok(&scenario.names), "what was read with success is not all");
    Ok(())
}
