//! Opens a [`BackendConfig`] as an [`ObjectStore`]: S3 and its compatibles, Google Cloud Storage, Azure Blob Storage, or a
//! directory; with retries, limits and counters around it. Knows nothing of Kubernetes.
//!
//! ```
//! # fn main() -> Result<(), storage::Error> {
//! use storage::{Backend, BackendConfig, LocalConfig};
//!
//! let config = BackendConfig::new(Backend::Local(LocalConfig { root: "/backups".into() })).with_prefix("demo")?;
//! let store = storage::open(&config)?;
//! # drop(store);
//! # Ok(())
//! # }
//! ```

mod azure;
mod client;
mod config;
mod error;
mod gcs;
pub mod layers;
mod local;
mod marker;
mod outage;
mod pace;
mod prefix;
mod probe;
mod s3;
#[cfg(feature = "testsuite")]
pub mod testsuite;

use std::sync::Arc;

use object_store::ObjectStore;

pub use config::{
    AzureConfig, AzureCredentials, Backend, BackendConfig, GcsConfig, GcsCredentials, LocalConfig, S3Config, S3Credentials,
};
pub use error::{Error, ErrorKind, cause_of};
pub use layers::{Counters, CountersSnapshot, Limits};
pub use local::LocalStore;
pub use marker::put_folder_marker;
pub use outage::Outage;
pub use prefix::canonical as canonical_prefix;
pub use probe::{CreateIfAbsent, ProbeReport, probe, probe_store};

use client::Connector;
use layers::{CountStore, LimitStore, PrefixStore, RetryStore};
use pace::Pace;

/// What one user of a store shares among the stores it opens.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Limits that may change while work runs.
    pub limits: Option<Arc<Limits>>,
    /// Where to count.
    pub counters: Option<Arc<Counters>>,
    /// Where to note whether the store answers; one for each store.
    pub outage: Option<Arc<Outage>>,
}

/// Opens a store rooted at the configuration's prefix. Does not touch the network.
///
/// # Errors
/// If the configuration cannot be right: a prefix that leaves its place, a CA bundle that is none, a key that does not parse.
pub fn open(config: &BackendConfig) -> Result<Arc<dyn ObjectStore>, Error> {
    open_with(config, &OpenOptions::default())
}

/// [`open`] with shared limits and counters.
///
/// # Errors
/// As [`open`].
pub fn open_with(config: &BackendConfig, options: &OpenOptions) -> Result<Arc<dyn ObjectStore>, Error> {
    let prefix = prefix::canonical(&config.prefix).map_err(|cause| Error::configuration(config.describe(), cause))?;
    let counters = options.counters.clone().unwrap_or_default();
    let pace = Pace::default();
    let outage = options.outage.clone().unwrap_or_default();
    let connector = Connector::new(config, Arc::clone(&counters), outage, pace.clone());
    let provider: Arc<dyn ObjectStore> = match &config.backend {
        Backend::S3(s3) => s3::open(config, s3, connector)?,
        Backend::Gcs(gcs) => gcs::open(config, gcs, connector)?,
        Backend::Azure(azure) => azure::open(config, azure, connector)?,
        Backend::Local(local) => Arc::new(LocalStore::new(local.root.clone())),
    };
    let rooted: Arc<dyn ObjectStore> = if prefix.is_root() { provider } else { Arc::new(PrefixStore::new(provider, prefix)) };
    let mut store: Arc<dyn ObjectStore> = Arc::new(RetryStore::new(rooted, config.patience).paced_by(pace));
    if let Some(limits) = &options.limits {
        store = Arc::new(LimitStore::new(store, Arc::clone(limits)));
    }
    if let Some(most) = config.max_connections.filter(|most| *most > 0) {
        let limits = Limits::new();
        limits.set_concurrency(Some(most));
        store = Arc::new(LimitStore::new(store, limits));
    }
    Ok(Arc::new(CountStore::new(store, counters)))
}

/// A store that forgets everything at its end, for tests and rehearsals.
#[must_use]
pub fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(object_store::memory::InMemory::new())
}
