//! The ids of restic repositories that are known to exist (architecture §4.6), one ConfigMap per Repository in Orlop's
//! namespace.
//!
//! An id on record means: here was a repository, and it is never initialised again. A record holds for one life of a
//! Repository object; what an earlier life left comes back from the bucket's `repository.yaml`, if it is the same place.

use std::collections::BTreeMap;

use crd_types::{Repository, labels};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use kube_kit::error::{is_already_exists, is_conflict, is_not_found};
use planner::names::{label_value, repository_ids_config_map, repository_ids_key};

use crate::references;

/// Exact names, where label values may be shortened.
pub const REPOSITORY: &str = "orlop.dev/repository";
/// UID of the Repository that the records belong to.
const REPOSITORY_UID: &str = "orlop.dev/repository-uid";

/// Attempts at a write that others come between.
const ATTEMPTS: u32 = 8;

/// Ids by component path.
pub type Ids = BTreeMap<String, String>;

/// Why the records could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} ConfigMap {namespace}/{name} with the repository ids of Repository {repository}: {cause}")]
pub struct RecordError {
    action: &'static str,
    namespace: String,
    name: String,
    repository: String,
    cause: String,
}

/// The records of one Repository.
pub struct Records<'a> {
    api: Api<ConfigMap>,
    namespace: String,
    name: String,
    repository: &'a Repository,
}

impl<'a> Records<'a> {
    /// The records of a Repository, kept in `namespace`.
    pub fn of(client: Client, namespace: &str, repository: &'a Repository) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: repository_ids_config_map(&references::namespace(repository), &repository.name_any()),
            repository,
        }
    }

    /// Every id on record.
    ///
    /// # Errors
    /// [`RecordError`] when the API server could not be asked: then nothing may be initialised.
    pub async fn load(&self) -> Result<Ids, RecordError> {
        let found = self.api.get_opt(&self.name).await.map_err(|error| self.failed("read", &error))?;
        Ok(found.map(|config_map| self.ids(&config_map)).unwrap_or_default())
    }

    /// Records ids that are not on record yet; those that are stay. Returns all ids on record afterwards.
    ///
    /// # Errors
    /// [`RecordError`]; what was written is then unknown, and calling again is safe.
    pub async fn add(&self, wanted: &Ids) -> Result<Ids, RecordError> {
        for _ in 0..ATTEMPTS {
            let found = self.api.get_opt(&self.name).await.map_err(|error| self.failed("read", &error))?;
            let known = found.as_ref().map(|config_map| self.ids(config_map)).unwrap_or_default();
            let mut merged = wanted.clone();
            merged.extend(known.clone());
            if merged == known {
                return Ok(known);
            }
            let mut config_map = self.config_map(&merged);
            let answer = match found {
                None => self.api.create(&PostParams::default(), &config_map).await,
                Some(found) => {
                    config_map.metadata.resource_version = found.metadata.resource_version;
                    self.api.replace(&self.name, &PostParams::default(), &config_map).await
                }
            };
            match answer {
                Ok(_) => return Ok(merged),
                Err(error) if is_conflict(&error) || is_already_exists(&error) || is_not_found(&error) => {}
                Err(error) => return Err(self.failed("write", &error)),
            }
        }
        Err(self.failed("write", &"others kept changing it"))
    }

    /// Forgets everything, when the Repository object goes. The bucket's `repository.yaml` still has it.
    ///
    /// # Errors
    /// [`RecordError`].
    pub async fn delete(&self) -> Result<(), RecordError> {
        match self.api.delete(&self.name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => Err(self.failed("delete", &error)),
        }
    }

    /// What a ConfigMap holds for this life of the Repository.
    fn ids(&self, config_map: &ConfigMap) -> Ids {
        if config_map.annotations().get(REPOSITORY_UID) != self.repository.metadata.uid.as_ref() {
            return Ids::new();
        }
        // Each value holds its path too: a key, where dots stand for slashes, cannot be turned back into it.
        let values = config_map.data.iter().flat_map(BTreeMap::values);
        values.filter_map(|value| value.split_once(' ')).map(|(id, path)| (path.to_owned(), id.to_owned())).collect()
    }

    fn config_map(&self, ids: &Ids) -> ConfigMap {
        let namespace = references::namespace(self.repository);
        let name = self.repository.name_any();
        let mut data = BTreeMap::new();
        for (path, id) in ids {
            let mut key = repository_ids_key(path);
            while data.contains_key(&key) {
                key.push('_');
            }
            data.insert(key, format!("{id} {path}"));
        }
        let pairs = |pairs: Vec<(&str, String)>| {
            Some(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>())
        };
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                labels: pairs(vec![
                    ("app.kubernetes.io/managed-by", "orlop".to_owned()),
                    (labels::REPOSITORY_NAMESPACE, label_value(&namespace)),
                    (labels::REPOSITORY_NAME, label_value(&name)),
                ]),
                annotations: pairs(vec![
                    (REPOSITORY, format!("{namespace}/{name}")),
                    (REPOSITORY_UID, self.repository.uid().unwrap_or_default()),
                ]),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        }
    }

    fn failed(&self, action: &'static str, cause: &dyn std::fmt::Display) -> RecordError {
        RecordError {
            action,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            repository: references::display(self.repository),
            cause: cause.to_string(),
        }
    }
}

/// The Repository that a ConfigMap's records belong to, as namespace and name.
pub fn repository_of(metadata: &ObjectMeta) -> Option<(String, String)> {
    let (namespace, name) = metadata.annotations.as_ref()?.get(REPOSITORY)?.split_once('/')?;
    Some((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests;
