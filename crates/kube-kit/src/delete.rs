//! Deleting exactly the object that was looked at.

use std::fmt::Debug;

use kube::{
    Api, Resource,
    api::{DeleteParams, Preconditions, PropagationPolicy},
};
use serde::de::DeserializeOwned;

use crate::{apply::ApplyError, error};

/// What a delete found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The API server accepted; finalizers and dependents may still hold the object.
    Asked,
    /// That object was gone already. One of the same name with another UID may be there and was not touched.
    Gone,
}

/// A delete of one life of one object: guarded by its UID, so that a recreated object survives.
#[derive(Debug, Clone)]
pub struct Deletion {
    propagation: PropagationPolicy,
    at_version: bool,
}

impl Deletion {
    /// The object goes at once, its dependents afterwards.
    #[must_use]
    pub fn background() -> Self {
        Self { propagation: PropagationPolicy::Background, at_version: false }
    }

    /// The object stays, marked, until its dependents are gone.
    #[must_use]
    pub fn foreground() -> Self {
        Self { propagation: PropagationPolicy::Foreground, at_version: false }
    }

    /// The object goes, its dependents stay.
    #[must_use]
    pub fn orphan() -> Self {
        Self { propagation: PropagationPolicy::Orphan, at_version: false }
    }

    /// Only if the object did not change since it was read.
    #[must_use]
    pub fn at_version(mut self) -> Self {
        self.at_version = true;
        self
    }

    /// Deletes `object`.
    ///
    /// # Errors
    /// [`ApplyError::Api`]; with [`Deletion::at_version`] a changed object answers [`ApplyError::is_conflict`].
    pub async fn run<K>(&self, api: &Api<K>, object: &K) -> Result<Deleted, ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let meta = object.meta();
        let params = DeleteParams {
            propagation_policy: Some(self.propagation.clone()),
            preconditions: Some(Preconditions {
                uid: meta.uid.clone(),
                resource_version: if self.at_version { meta.resource_version.clone() } else { None },
            }),
            ..DeleteParams::default()
        };
        let name = meta.name.as_deref().unwrap_or_default();
        match api.delete(name, &params).await {
            Ok(_) => Ok(Deleted::Asked),
            Err(refusal) if error::is_not_found(&refusal) => Ok(Deleted::Gone),
            Err(refusal) if error::is_conflict(&refusal) && !self.at_version => Ok(Deleted::Gone),
            Err(source) => Err(ApplyError::api::<K>("delete", meta, source)),
        }
    }
}
