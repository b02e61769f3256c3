//! Repositories: backends, directories, passwords, and what stands in their place already (specification §1.6).

use std::collections::{BTreeMap, BTreeSet};

use crd_types::{BackupConfiguration, Repository, RepositoryDeletionPolicy, RepositoryInfo};
use kube::ResourceExt as _;
use planner::{
    access::{secret_of, secret_use},
    layout::{Directory, DirectoryClaim, check_directories},
};

use super::{
    super::dereference::{Backend, Dereferenced},
    Checked, CheckedRepository,
};
use crate::{
    references::{full_name, namespace, resolve, session_name, workload},
    settings::Settings,
};

pub(super) fn check<'a>(
    checked: &mut Checked<'a>,
    configuration: &'a BackupConfiguration,
    found: &Dereferenced,
    settings: &Settings,
) {
    let here = namespace(configuration);
    let mut claims: BTreeMap<&str, DirectoryClaim> = BTreeMap::new();
    for session in &configuration.spec.sessions {
        let name = session_name(session);
        if session.repositories.is_empty() {
            checked.problem("NoRepository", format!("session {name:?} has no repository; name at least one"));
        }
        let mut names = BTreeSet::new();
        for entry in &session.repositories {
            let repository = entry.name.as_deref().unwrap_or_default();
            if repository.is_empty() {
                checked.problem("RepositoryNotNamed", format!("a repository of session {name:?} has no name; give it one"));
                continue;
            }
            if !names.insert(repository) {
                let message = format!("session {name:?} names Repository {repository} twice; name each once");
                checked.problem("RepositoryNotUnique", message);
            }
            remark(checked, entry, repository);
            check_password(checked, entry, repository, &here, found, settings);
            let Some(backend) = backend(checked, entry, name, found) else { continue };
            let Some(storage) = backend.storage.clone() else { continue };
            let Some(directory) = directory(checked, entry, repository) else { continue };
            let claim = DirectoryClaim {
                namespace: here.clone(),
                repository: repository.to_owned(),
                storage: resolve(&storage, &here),
                directory,
            };
            match claims.get(repository) {
                Some(known) if *known != claim => checked.problem(
                    "RepositoryDiffers",
                    format!("two sessions give Repository {repository} different storages or directories; use one name for each"),
                ),
                Some(_) => {}
                None => {
                    check_claim(checked, configuration, &claim, claims.values(), found);
                    checked.repositories.push(CheckedRepository { name: repository, entry, storage });
                    claims.insert(repository, claim);
                }
            }
        }
    }
}

fn remark(checked: &mut Checked<'_>, entry: &RepositoryInfo, repository: &str) {
    let mut remarks = Vec::new();
    if entry.backup_verifier.is_some() {
        remarks.push(format!("the backupVerifier of Repository {repository} is not supported yet and does not run"));
    }
    if entry.deletion_policy == Some(RepositoryDeletionPolicy::WipeOut) {
        remarks.push(format!("deletionPolicy WipeOut of Repository {repository} is not supported yet: its data would stay"));
    }
    for remark in remarks {
        if !checked.remarks.contains(&remark) {
            checked.remarks.push(remark);
        }
    }
}

fn backend<'f>(checked: &mut Checked<'_>, entry: &RepositoryInfo, session: &str, found: &'f Dereferenced) -> Option<&'f Backend> {
    let name = entry.backend.as_deref().unwrap_or_default();
    let backend = found.backends.iter().find(|backend| backend.name == name);
    if backend.is_none() {
        let repository = entry.name.as_deref().unwrap_or_default();
        checked.problem(
            "BackendUnknown",
            format!("Repository {repository} of session {session:?} names backend {name:?}, which is not in spec.backends"),
        );
    }
    backend
}

fn directory(checked: &mut Checked<'_>, entry: &RepositoryInfo, repository: &str) -> Option<Directory> {
    match Directory::parse(entry.directory.as_deref().unwrap_or_default()) {
        Ok(directory) => Some(directory),
        Err(error) => {
            checked.problem("DirectoryInvalid", format!("Repository {repository}: {error}"));
            None
        }
    }
}

fn check_password(
    checked: &mut Checked<'_>,
    entry: &RepositoryInfo,
    repository: &str,
    here: &str,
    found: &Dereferenced,
    settings: &Settings,
) {
    let Some(reference) = &entry.encryption_secret else {
        checked.problem(
            "EncryptionSecretMissing",
            format!("Repository {repository} has no encryptionSecret; name a Secret with the key RESTIC_PASSWORD"),
        );
        return;
    };
    let secret = secret_of(reference, here);
    match found.secrets.get(&(secret.namespace.clone(), secret.name.clone())) {
        None => checked.problem(
            "EncryptionSecretNotFound",
            format!("{secret} of Repository {repository} does not exist; create it with the key RESTIC_PASSWORD"),
        ),
        Some(meta) => {
            if let Err(refusal) = secret_use(settings.cross_namespace_secrets, &secret, meta, here) {
                checked.problem(refusal.reason(), refusal.to_string());
            }
        }
    }
}

/// Against the configuration's own Repositories, those of the cluster, and the one that bears its name already.
fn check_claim<'c>(
    checked: &mut Checked<'_>,
    configuration: &BackupConfiguration,
    claim: &DirectoryClaim,
    own: impl Iterator<Item = &'c DirectoryClaim>,
    found: &Dereferenced,
) {
    let others: Vec<DirectoryClaim> = own.cloned().chain(found.repositories.iter().filter_map(claim_of)).collect();
    if let Err(error) = check_directories(claim, &others) {
        checked.problem("DirectoryTaken", error.to_string());
    }
    let existing = found
        .repositories
        .iter()
        .find(|repository| repository.name_any() == claim.repository && namespace(*repository) == claim.namespace);
    let Some(existing) = existing else { return };
    let here = &claim.namespace;
    let target = configuration.spec.target.as_ref().map(|target| workload(target, here));
    let app = existing.spec.app_ref.as_ref().map(|app| workload(app, here));
    if target.is_some() && app != target {
        let (kind, app_namespace, name) = app.unwrap_or_default();
        checked.problem(
            "RepositoryOfAnother",
            format!(
                "Repository {} holds backups of {kind} {app_namespace}/{name}; choose another name for this target's Repository",
                full_name(existing)
            ),
        );
    }
    let Some(known) = claim_of(existing) else { return };
    if known.storage != claim.storage || known.directory != claim.directory {
        let (storage_namespace, storage) = known.storage;
        checked.problem(
            "RepositoryElsewhere",
            format!(
                "Repository {} exists in directory `{}` of BackupStorage {storage_namespace}/{storage}; choose another name, or its place",
                full_name(existing),
                known.directory
            ),
        );
    }
}

fn claim_of(repository: &Repository) -> Option<DirectoryClaim> {
    let here = namespace(repository);
    Some(DirectoryClaim {
        storage: resolve(repository.spec.storage_ref.as_ref()?, &here),
        directory: Directory::parse(repository.spec.path.as_deref()?).ok()?,
        repository: repository.name_any(),
        namespace: here,
    })
}
