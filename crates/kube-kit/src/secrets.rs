//! Secrets, one by one and by name: Orlop may not list or watch them (architecture §7).

use std::time::Duration;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use service_kit::{readiness::Gate, tls::CertificateStore};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::error::{self, ReconcileError, TimedOut, within};

/// How long one read may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between looks while there is no certificate: the replica serves nothing until it has one.
const IMPATIENT: Duration = Duration::from_secs(2);
/// Pause between looks afterwards. A new certificate overlaps the old one by far more.
const PATIENT: Duration = Duration::from_secs(30);

/// Why there is no Secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It does not exist.
    #[error("Secret {namespace}/{name} does not exist: create it")]
    NotFound {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// It exists without what is needed.
    #[error("Secret {namespace}/{name} has no key {key}: add it")]
    KeyMissing {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// The key that is missing.
        key: &'static str,
    },
    /// The API server refused or could not be reached.
    #[error("cannot read Secret {namespace}/{name}")]
    Api {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
    /// The API server did not answer.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
}

impl ReconcileError for SecretError {
    fn category(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "secret_missing",
            Self::KeyMissing { .. } => "secret_incomplete",
            Self::Api { source, .. } => error::category(source),
            Self::TimedOut(_) => "api_timeout",
        }
    }

    fn is_retryable(&self) -> bool {
        true
    }
}

/// The Secret, or `None` if there is none.
///
/// # Errors
/// [`SecretError::Api`] and [`SecretError::TimedOut`]: then nothing is known about the Secret.
pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Option<Secret>, SecretError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    within("reading a Secret", TIMEOUT, api.get_opt(name)).await?.map_err(|source| SecretError::Api {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    })
}

/// The Secret, which has to exist.
///
/// # Errors
/// [`SecretError::NotFound`] and those of [`find`].
pub async fn fetch(client: &Client, namespace: &str, name: &str) -> Result<Secret, SecretError> {
    find(client, namespace, name)
        .await?
        .ok_or_else(|| SecretError::NotFound { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// The value under `key`, which has to be there and not empty.
///
/// # Errors
/// [`SecretError::KeyMissing`].
pub fn value<'a>(secret: &'a Secret, key: &'static str) -> Result<&'a [u8], SecretError> {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .map(|ByteString(bytes)| bytes.as_slice())
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| SecretError::KeyMissing {
            namespace: secret.metadata.namespace.clone().unwrap_or_default(),
            name: secret.metadata.name.clone().unwrap_or_default(),
            key,
        })
}

/// Keeps a server's certificate, and the CA bundle that goes into pods, equal to a TLS Secret.
pub struct TlsWatcher {
    client: Client,
    namespace: String,
    secret: String,
    store: CertificateStore,
    gate: Gate,
    bundle: watch::Sender<Option<String>>,
}

impl TlsWatcher {
    /// Watches `secret` (type `kubernetes.io/tls` with `ca.crt`) for `store`; `gate` opens with the first certificate.
    #[must_use]
    pub fn new(client: Client, namespace: &str, secret: &str, store: CertificateStore, gate: Gate) -> Self {
        Self { client, namespace: namespace.to_owned(), secret: secret.to_owned(), store, gate, bundle: watch::Sender::new(None) }
    }

    /// Certificates of the CA (old and new while it rotates), PEM. `None` until the Secret was read.
    #[must_use]
    pub fn ca_bundle(&self) -> watch::Receiver<Option<String>> {
        self.bundle.subscribe()
    }

    /// Looks again and again until cancelled. A Secret that turns bad leaves the last good certificate in place.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            if let Err(problem) = self.look().await {
                tracing::warn!(secret = self.secret, namespace = self.namespace, problem, "no new server certificate");
            }
            let pause = if self.store.is_loaded() { PATIENT } else { IMPATIENT };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn look(&self) -> Result<(), String> {
        let secret = fetch(&self.client, &self.namespace, &self.secret).await.map_err(|error| error.to_string())?;
        let certificate = value(&secret, "tls.crt").map_err(|error| error.to_string())?;
        let key = value(&secret, "tls.key").map_err(|error| error.to_string())?;
        let changed = self.store.replace(certificate, key).map_err(|error| error.to_string())?;
        if changed {
            tracing::info!(secret = self.secret, "server certificate loaded");
        }
        self.gate.open();
        let authority = value(&secret, "ca.crt").map_err(|error| error.to_string())?;
        let bundle = String::from_utf8_lossy(authority).into_owned();
        self.bundle.send_if_modified(|known| {
            let differs = known.as_deref() != Some(bundle.as_str());
            if differs {
                *known = Some(bundle);
            }
            differs
        });
        Ok(())
    }
}
