//! Channels to Orlop's services: trust a given CA bundle, verify a given name, dial a given address.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// Longest time to reach an address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A silent connection is probed this often, so that a dead peer behind a stateful firewall is noticed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no channel could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not `host:port`.
    #[error("service address {address:?} is not host:port: {source}")]
    Address {
        /// Address given.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// The name cannot be resolved.
    #[error("cannot resolve {address}, is the Service there and does the pod's DNS work: {source}")]
    Resolve {
        /// Address given.
        address: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The name resolves to nothing.
    #[error("{address} has no addresses yet, no replica of the service is running")]
    NoAddresses {
        /// Address given.
        address: String,
    },
    /// The CA bundle is empty or malformed.
    #[error("CA bundle holds no certificate that can be read: {0}")]
    Bundle(String),
    /// The TLS settings were refused.
    #[error("TLS settings for {server_name} were refused: {source}")]
    Tls {
        /// Name that the server must bear.
        server_name: String,
        /// What is wrong.
        source: tonic::transport::Error,
    },
}

/// Whom a client trusts, and as whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientTls {
    /// Certificate authorities, PEM; may hold the old and the new one.
    pub ca_pem: String,
    /// Name that the server's certificate must bear, whatever address was dialled.
    pub server_name: String,
}

impl ClientTls {
    fn config(&self) -> Result<ClientTlsConfig, ClientError> {
        let count = CertificateDer::pem_slice_iter(self.ca_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ClientError::Bundle(error.to_string()))?
            .len();
        if count == 0 {
            return Err(ClientError::Bundle("it is empty".to_owned()));
        }
        Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca_pem)).domain_name(&self.server_name))
    }
}

/// All addresses of `host:port`, each once. A headless Service gives one per replica.
///
/// # Errors
/// [`ClientError::Resolve`] or [`ClientError::NoAddresses`].
pub async fn resolve(address: &str) -> Result<Vec<SocketAddr>, ClientError> {
    let found =
        tokio::net::lookup_host(address).await.map_err(|source| ClientError::Resolve { address: address.to_owned(), source })?;
    let addresses: BTreeSet<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(ClientError::NoAddresses { address: address.to_owned() });
    }
    Ok(addresses.into_iter().collect())
}

/// An endpoint for `host:port`, resolved anew on each connection. Call `connect` or `connect_lazy` on it.
///
/// # Errors
/// [`ClientError`] when address or bundle are malformed.
pub fn endpoint(address: &str, tls: &ClientTls) -> Result<Endpoint, ClientError> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .map_err(|source| ClientError::Address { address: address.to_owned(), source })?;
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tls_config(tls.config()?)
        .map_err(|source| ClientError::Tls { server_name: tls.server_name.clone(), source })
}

/// An endpoint for one address of several, as [`resolve`] gave them.
///
/// # Errors
/// [`ClientError`] when the bundle is malformed.
pub fn endpoint_at(address: SocketAddr, tls: &ClientTls) -> Result<Endpoint, ClientError> {
    endpoint(&address.to_string(), tls)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn an_address_is_resolved_to_itself() {
        assert_eq!(resolve("127.0.0.1:9443").await.unwrap(), ["127.0.0.1:9443".parse().unwrap()]);
        assert_eq!(resolve("[::1]:9443").await.unwrap(), ["[::1]:9443".parse().unwrap()]);
    }

    #[test]
    fn an_empty_bundle_is_refused() {
        let tls = ClientTls { ca_pem: String::new(), server_name: "x".to_owned() };
        assert!(matches!(endpoint("localhost:1", &tls), Err(ClientError::Bundle(_))));
    }
}
