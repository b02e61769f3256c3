//! The record of movers' containers that were seen to end, kept for a day in a ConfigMap of Orlop's namespace: proof for
//! the removal of their locks when pods, Jobs and this process are long gone (architecture §4.7).

use std::collections::BTreeMap;
use std::sync::Arc;

use crd_types::names::own;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::PostParams};
use kube_kit::error;
use parking_lot::Mutex;
use planner::build::inherit;
use serde::{Deserialize, Serialize};

/// How long a record is kept. A lock that is older than this is stale by the store's clock anyway.
pub const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A new leader and an old one may write at once for a moment; more than this many times in a row they do not.
const MOST_TRIES: usize = 5;

/// A container that was seen to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When it ended.
    pub at: Timestamp,
    /// Machine id of its node, which a clone of the cluster does not share.
    pub machine_id: String,
    /// Name of its node.
    pub node: String,
}

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("ConfigMap {namespace}/{name} cannot be {done}: {source}", name = own::TERMINATED_PODS_CONFIG_MAP)]
pub struct RecordsError {
    namespace: String,
    done: &'static str,
    source: kube::Error,
}

/// The record, by UID of the pod.
#[derive(Clone)]
pub struct Records {
    client: Client,
    namespace: String,
    known: Arc<Mutex<BTreeMap<String, Record>>>,
}

impl Records {
    /// An empty record; [`Records::load`] fills it.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), known: Arc::default() }
    }

    /// The record of a pod.
    pub fn find(&self, pod_uid: &str) -> Option<Record> {
        self.known.lock().get(pod_uid).cloned()
    }

    /// Reads what earlier leaders saw.
    ///
    /// # Errors
    /// [`RecordsError`] when the ConfigMap cannot be read; one that does not exist is an empty one.
    pub async fn load(&self) -> Result<(), RecordsError> {
        let found = self.api().get_opt(own::TERMINATED_PODS_CONFIG_MAP).await.map_err(|source| self.failed("read", source))?;
        let read = found.map(|config_map| parse(&config_map)).unwrap_or_default();
        let mut known = self.known.lock();
        for (uid, record) in read {
            known.entry(uid).or_insert(record);
        }
        Ok(())
    }

    /// Adds records and drops those that are too old. They count from when they are written.
    ///
    /// # Errors
    /// [`RecordsError`] when the ConfigMap could not be written; nothing is remembered then.
    pub async fn remember(&self, seen: &BTreeMap<String, Record>, now: Timestamp) -> Result<(), RecordsError> {
        let api = self.api();
        let mut tries = 0;
        loop {
            tries += 1;
            let found = api.get_opt(own::TERMINATED_PODS_CONFIG_MAP).await.map_err(|source| self.failed("read", source))?;
            let mut merged = found.as_ref().map(parse).unwrap_or_default();
            merged.extend(seen.iter().map(|(uid, record)| (uid.clone(), record.clone())));
            merged.retain(|_, record| now.duration_since(record.at) < KEPT_FOR);
            let written = match &found {
                None => api.create(&PostParams::default(), &self.config_map(&merged, None)).await,
                Some(found) => {
                    let config_map = self.config_map(&merged, Some(found));
                    api.replace(own::TERMINATED_PODS_CONFIG_MAP, &PostParams::default(), &config_map).await
                }
            };
            match written {
                Ok(_) => {
                    *self.known.lock() = merged;
                    return Ok(());
                }
                Err(source)
                    if tries < MOST_TRIES
                        && (error::is_conflict(&source) || error::is_already_exists(&source) || error::is_not_found(&source)) => {
                }
                Err(source) => return Err(self.failed("written", source)),
            }
        }
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn config_map(&self, records: &BTreeMap<String, Record>, found: Option<&ConfigMap>) -> ConfigMap {
        let data = records.iter().filter_map(|(uid, record)| Some((uid.clone(), serde_json::to_string(record).ok()?)));
        let mut config_map = ConfigMap { data: Some(data.collect()), ..ConfigMap::default() };
        let metadata = &mut config_map.metadata;
        metadata.name = Some(own::TERMINATED_PODS_CONFIG_MAP.to_owned());
        metadata.namespace = Some(self.namespace.clone());
        if let Some(found) = found {
            metadata.resource_version.clone_from(&found.metadata.resource_version);
            metadata.labels = found.metadata.labels.as_ref().map(inherit);
        }
        config_map
    }

    fn failed(&self, done: &'static str, source: kube::Error) -> RecordsError {
        RecordsError { namespace: self.namespace.clone(), done, source }
    }
}

/// Records that can be read; one that cannot is no proof.
fn parse(config_map: &ConfigMap) -> BTreeMap<String, Record> {
    let data = config_map.data.iter().flatten();
    data.filter_map(|(uid, text)| Some((uid.clone(), serde_json::from_str(text).ok()?))).collect()
}
