//! Whether a Repository can be prepared now.

use std::sync::Arc;

use crd_types::{BackupStorage, BackupStoragePhase, Repository, conditions};
use kube::ResourceExt as _;
use planner::layout::{Directory, DirectoryClaim, check_directories};

use super::dereference::Observed;
use crate::references;

/// Whether a Repository can be prepared now.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It can, there.
    Ready { directory: Directory, storage: Arc<BackupStorage> },
    /// Its storage is not ready. A Repository that was initialised stays so.
    Wait(String),
    /// It cannot until somebody changes something.
    Refused(String),
}

pub(super) fn validate(observed: &Observed) -> Verdict {
    let display = observed.display();
    let Some((space, name)) = references::storage_of(&observed.repository) else {
        return Verdict::Refused(format!("Repository {display} does not set spec.storageRef; set it"));
    };
    let path = observed.repository.spec.path.as_deref().unwrap_or_default();
    let directory = match Directory::parse(path) {
        Ok(directory) => directory,
        Err(error) => return Verdict::Refused(format!("Repository {display}: {error}")),
    };
    let Some(storage) = &observed.storage else {
        return Verdict::Refused(format!("BackupStorage {space}/{name} does not exist; create it"));
    };
    if storage.metadata.deletion_timestamp.is_some() {
        return Verdict::Refused(format!("BackupStorage {space}/{name} is being deleted; use another one"));
    }
    if let Some(refusal) = &observed.refusal {
        return Verdict::Refused(refusal.to_string());
    }
    let own = claim(&observed.repository, &directory);
    let others: Vec<DirectoryClaim> = observed.neighbours.iter().filter_map(|other| older_claim(other, observed)).collect();
    if let Err(error) = check_directories(&own, &others) {
        return Verdict::Refused(error.to_string());
    }
    match not_ready(storage) {
        Some(cause) => Verdict::Wait(format!("BackupStorage {space}/{name} is not ready: {cause}")),
        None => Verdict::Ready { directory, storage: storage.clone() },
    }
}

/// What an unready storage says of itself.
fn not_ready(storage: &BackupStorage) -> Option<String> {
    let status = storage.status.clone().unwrap_or_default();
    if status.phase == Some(BackupStoragePhase::Ready) {
        return None;
    }
    let said = [conditions::BACKEND_SECRET_FOUND, conditions::BACKEND_INITIALIZED].into_iter().find_map(|type_| {
        let condition = conditions::find(&status.conditions, type_)?;
        conditions::is_false(&status.conditions, type_).then(|| condition.message.clone()).flatten()
    });
    Some(said.unwrap_or_else(|| "it was not looked at yet".to_owned()))
}

fn claim(repository: &Repository, directory: &Directory) -> DirectoryClaim {
    DirectoryClaim {
        namespace: references::namespace(repository),
        repository: repository.name_any(),
        storage: references::storage_of(repository).unwrap_or_default(),
        directory: directory.clone(),
    }
}

/// What a neighbour may claim before this Repository: the older one keeps its directory.
fn older_claim(other: &Repository, observed: &Observed) -> Option<DirectoryClaim> {
    let age = |repository: &Repository| {
        (repository.creation_timestamp().map(|created| created.0), repository.uid().unwrap_or_default())
    };
    let is_older = age(other) < age(&observed.repository);
    let directory = Directory::parse(other.spec.path.as_deref().unwrap_or_default()).ok()?;
    is_older.then(|| claim(other, &directory))
}
