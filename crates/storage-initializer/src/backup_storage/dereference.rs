//! Reads what a BackupStorage refers to, and what refers to it.

use std::sync::Arc;

use crd_types::{BackupStorage, Repository};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube_kit::{error, secrets::SecretError};
use planner::backend::{same_place, secret_name};

use super::{BackupStorageError, BackupStorages};
use crate::references;

/// What became of the Secret.
#[derive(Clone, Debug)]
pub(super) enum SecretLook {
    /// None is named: workload identity, or a volume.
    NotNamed,
    /// It is there.
    Found(Box<Secret>),
    /// It is named and not there.
    Missing { name: String },
    /// It may not be read.
    Unreadable { message: String },
}

/// A BackupStorage with everything that is needed to judge it.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    pub(super) storage: BackupStorage,
    pub(super) secret: SecretLook,
    /// Repositories on this storage, by namespace and name.
    pub(super) repositories: Vec<Arc<Repository>>,
    /// Older storages at the same place, as `namespace/name`.
    pub(super) rivals: Vec<String>,
    /// Older default storages of the same namespace, if this one wants to be the default too.
    pub(super) defaults: Vec<String>,
}

impl Observed {
    pub(super) fn display(&self) -> String {
        references::display(&self.storage)
    }

    /// Changes when what is reached, or as whom, may have changed.
    pub(super) fn fingerprint(&self) -> (Option<i64>, Option<String>) {
        let version = match &self.secret {
            SecretLook::Found(secret) => secret.resource_version(),
            SecretLook::NotNamed | SecretLook::Missing { .. } | SecretLook::Unreadable { .. } => None,
        };
        (self.storage.metadata.generation, version)
    }
}

pub(super) async fn observe(controller: &BackupStorages, storage: BackupStorage) -> Result<Observed, BackupStorageError> {
    let secret = look_for_secret(controller, &storage).await?;
    let mut repositories = controller.repositories.filter(|repository| references::is_on(repository, &storage));
    repositories.sort_by_key(|repository| (repository.namespace(), repository.name_any()));
    let older = controller.storages.filter(|other| is_older(other, &storage));
    let named = |wanted: &dyn Fn(&BackupStorage) -> bool| {
        let mut names: Vec<String> =
            older.iter().filter(|other| wanted(other)).map(|other| references::display(other.as_ref())).collect();
        names.sort();
        names
    };
    let rivals = named(&|other| same_place(other, &storage));
    let defaults = named(&|other| other.namespace() == storage.namespace() && is_default(other) && is_default(&storage));
    Ok(Observed { storage, secret, repositories, rivals, defaults })
}

async fn look_for_secret(controller: &BackupStorages, storage: &BackupStorage) -> Result<SecretLook, BackupStorageError> {
    let Some(name) = secret_name(storage) else { return Ok(SecretLook::NotNamed) };
    match controller.context.backends.secret(storage).await {
        Ok(Some(secret)) => Ok(SecretLook::Found(Box::new(secret))),
        Ok(None) => Ok(SecretLook::Missing { name: name.to_owned() }),
        Err(SecretError::Api { source, .. }) if error::is_forbidden(&source) => Ok(SecretLook::Unreadable {
            message: format!(
                "Orlop may not read Secret {}/{name}; give the storage-initializer's ServiceAccount the verb get on it",
                storage.namespace().unwrap_or_default()
            ),
        }),
        Err(error) => Err(error.into()),
    }
}

fn is_default(storage: &BackupStorage) -> bool {
    storage.spec.default.unwrap_or_default()
}

/// Of two storages at one place the older one stands; equal ages are told apart by UID.
fn is_older(one: &BackupStorage, other: &BackupStorage) -> bool {
    let age =
        |storage: &BackupStorage| (storage.creation_timestamp().map(|created| created.0), storage.uid().unwrap_or_default());
    one.uid() != other.uid() && one.metadata.deletion_timestamp.is_none() && age(one) < age(other)
}
