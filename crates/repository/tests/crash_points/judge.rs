//! Whether a state of the repository is as it must be.

use std::sync::Arc;

use object_store::path::Path;
use repository::maintenance::ReadData;
use repository::{Control, Damage, Error, LockHandle, LockMode, Repository};

use crate::harness::{MapStore, Names, PASSWORD, Reader, alone, complaints, locked, mend, names, open, prune_thoroughly};
use crate::operation::{Expected, Operation};
use crate::scenario::Scenario;

/// Objects of which only a part is there.
pub type Torn = Vec<Path>;

pub struct Judge<'a> {
    scenario: &'a Scenario,
    operation: Operation,
    reader: Reader,
    /// Of a damaged repository, the snapshots that read nevertheless.
    readable: Names,
}

impl<'a> Judge<'a> {
    pub async fn new(scenario: &'a Scenario, operation: Operation) -> Result<Self, String> {
        let mut judge = Self { scenario, operation, reader: Reader::default(), readable: Names::new() };
        if operation == Operation::Repair {
            let begin = operation.begin(scenario);
            let repository = open(begin.clone(), PASSWORD).await.map_err(said)?;
            let index = repository.load_index(&Control::default()).await.map_err(said)?;
            for (name, root) in &scenario.names {
                if judge.reader.read(&repository, &index, &begin, *root).await.is_ok() {
                    judge.readable.insert(name.clone(), *root);
                }
            }
        }
        Ok(judge)
    }

    fn expected(&self, done: bool) -> Expected {
        self.operation.expects(self.scenario, &self.readable, done)
    }

    /// I1: reopened, the repository has all it must have, and all it has reads in full; nothing is half there but what was torn.
    pub async fn survives(&mut self, state: &MapStore, done: bool, torn: &Torn) -> Result<(), String> {
        let expected = self.expected(done);
        // A fork, for looking takes a lock.
        let state = state.fork();
        let Some(repository) = open_as_expected(&state, &expected).await? else { return Ok(()) };
        let control = Control::default();
        let list = repository.snapshots(&control).await.map_err(said)?;
        let index = repository.load_index(&control).await.map_err(said)?;
        only_torn(&list.damaged, torn)?;
        if !expected.is_damaged {
            only_torn(index.damaged(), torn)?;
        }
        let found = names(&list)?;
        for (name, root) in &expected.must {
            if found.get(name) != Some(root) {
                return Err(format!("snapshot {name} is lost"));
            }
        }
        for (name, root) in &found {
            if expected.must.get(name).or(expected.may.get(name)) != Some(root) {
                return Err(format!("snapshot {name} is there, which nobody saved"));
            }
            if expected.must.contains_key(name) || !expected.is_damaged {
                let read = self.reader.read(&repository, &index, &state, *root).await;
                read.map_err(|reason| format!("snapshot {name} cannot be read: {reason}"))?;
            }
        }
        if expected.is_damaged { Ok(()) } else { check(&repository, ReadData::None, torn).await }
    }

    /// The next run clears up: what was torn is mended, and a thorough prune leaves nothing that nobody needs, no lock and no work to do.
    pub async fn clears_up(&mut self, state: &Arc<MapStore>, torn: &Torn, read: ReadData) -> Result<(), String> {
        let control = Control::default();
        let password = self.expected(true).opened_by[0];
        let repository = open(state.clone(), password).await.map_err(said)?;
        let work = async |lock: &LockHandle| {
            if needs_mending(torn) {
                mend(&repository, lock, &control).await?;
            }
            prune_thoroughly(&repository, lock, &control).await
        };
        let left = locked(&repository, alone(LockMode::Exclusive), &control, work).await.map_err(said)?;
        if left > 0 {
            return Err(format!("after a thorough prune another one would still touch {left} packs"));
        }
        check(&repository, read, &Torn::new()).await?;
        match state.keys("locks").as_slice() {
            [] => self.survives(state, true, &Torn::new()).await,
            left => Err(format!("nobody removes {left:?}")),
        }
    }

    /// A prune refuses to work where anything is damaged that may be needed (engine §4.5).
    pub async fn refuses(&self, state: &MapStore, torn: &Torn) -> Result<(), String> {
        if !self.operation.prunes() || !needs_mending(torn) {
            return Ok(());
        }
        match self.operation.perform(self.scenario, state.fork()).await {
            Err(Error::PruneRefused { .. }) => Ok(()),
            other => Err(format!("a prune beside {torn:?} ended with {other:?}")),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn said(error: Error) -> String {
    error.to_string()
}

/// The repository, opened by the passwords that open it; `None` if it need not be there.
async fn open_as_expected(state: &Arc<MapStore>, expected: &Expected) -> Result<Option<Repository>, String> {
    let mut opened = None;
    for password in &expected.closed_to {
        if !matches!(open(state.clone(), password).await, Err(Error::WrongPassword { .. })) {
            return Err(format!("the password {password:?} is not refused"));
        }
    }
    for password in &expected.opened_by {
        match open(state.clone(), password).await {
            Ok(repository) => opened = Some(repository),
            Err(Error::RepositoryMissing { .. }) if expected.may_be_missing => return Ok(None),
            Err(error) => return Err(format!("the password {password:?} does not open it: {error}")),
        }
    }
    for password in &expected.opened_by_one_of {
        opened = open(state.clone(), password).await.ok().or(opened);
    }
    opened.map(Some).ok_or_else(|| "no password opens it".to_owned())
}

fn only_torn(damaged: &[Damage], torn: &Torn) -> Result<(), String> {
    match damaged.iter().find(|damage| !torn.iter().any(|key| key.as_ref() == damage.key)) {
        None => Ok(()),
        Some(Damage { key, reason }) => Err(format!("{key} is damaged: {reason}")),
    }
}

async fn check(repository: &Repository, read: ReadData, torn: &Torn) -> Result<(), String> {
    let complaints = complaints(repository, read).await.map_err(said)?;
    let is_named = |text: &str| torn.iter().filter_map(Path::filename).any(|name| text.contains(name));
    match complaints.iter().find(|text| !is_named(text)) {
        None => Ok(()),
        Some(text) => Err(format!("check: {text}")),
    }
}

/// Whether something is torn that keeps a prune from working.
pub fn needs_mending(torn: &Torn) -> bool {
    torn.iter().any(|key| key.as_ref().starts_with("index/") || key.as_ref().starts_with("snapshots/"))
}
