//! The one way a process gets its connection to the API server.

use std::time::Duration;

use kube::{Client, Config, config::InferConfigError};

/// How long a TCP and TLS handshake may take. Longer than a node's conntrack hiccup, shorter than a lease.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may sit in the send buffer before the connection counts as dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither an in-cluster ServiceAccount nor a usable kubeconfig was found.
    #[error("no cluster to talk to: run in a pod or set KUBECONFIG")]
    Configuration(#[source] Box<InferConfigError>),
    /// The configuration is there but no client could be made of it.
    #[error("the cluster configuration does not make a client")]
    Build(#[source] Box<kube::Error>),
}

/// Connects as the pod's ServiceAccount, or as the current context of `KUBECONFIG`. Nothing is sent yet.
///
/// Reads have no timeout here, because a watch reads for hours; callers bound their calls
/// ([`crate::error::within`], the controller's limit per reconcile).
///
/// # Errors
/// [`ClientError`] when no configuration is found or it cannot be used.
pub async fn connect() -> Result<Client, ClientError> {
    let mut config = Config::infer().await.map_err(|source| ClientError::Configuration(Box::new(source)))?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    Client::try_from(config).map_err(|source| ClientError::Build(Box::new(source)))
}
