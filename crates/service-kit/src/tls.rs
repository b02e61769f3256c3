//! Certificates of a server, replaceable while it serves.

use std::{io, sync::Arc, time::Duration};

use futures::Stream;
use parking_lot::RwLock;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Longest time a caller may take for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Most handshakes under way at once; more callers wait in the listener's queue, so that a flood costs bounded memory.
const CONCURRENT_HANDSHAKES: usize = 256;

/// Pause after the system refused to accept, for example for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What went wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The provider was installed before.
    #[error("a TLS provider is installed already: install it once, first in main")]
    ProviderInstalled,
    /// No certificate, or none that can be read.
    #[error("certificate is not PEM: {0}")]
    Certificate(String),
    /// No private key, or none that can be read.
    #[error("private key is not PEM: {0}")]
    Key(String),
    /// Certificate and key do not belong together, or the key's kind is unknown.
    #[error("certificate and private key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// Makes aws-lc-rs the provider of every TLS connection of this process. First line of every `main`.
///
/// # Errors
/// [`TlsError::ProviderInstalled`], which is a fault of the program.
pub fn install_provider() -> Result<(), TlsError> {
    aws_lc_rs::default_provider().install_default().map_err(|_| TlsError::ProviderInstalled)
}

/// The certificate that a server shows now. Clones share it; connections made before a replacement keep the old one.
#[derive(Clone, Debug, Default)]
pub struct CertificateStore {
    current: Arc<RwLock<Option<Arc<CertifiedKey>>>>,
}

impl CertificateStore {
    /// Empty: handshakes fail until a certificate is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows this certificate chain and key from now on. Returns whether the certificate differs from the one before.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be used; the certificate before stays in force.
    pub fn replace(&self, certificate_pem: &[u8], key_pem: &[u8]) -> Result<bool, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::Certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(TlsError::Certificate("it holds no certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| TlsError::Key(error.to_string()))?;
        let pair = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?;
        let mut current = self.current.write();
        let changed = current.as_ref().is_none_or(|before| before.cert != pair.cert);
        *current = Some(Arc::new(pair));
        Ok(changed)
    }

    /// Whether there is a certificate to show.
    pub fn is_loaded(&self) -> bool {
        self.current.read().is_some()
    }

    /// Configuration of a server that shows whatever certificate is current, and speaks HTTP/2.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.read().clone()
    }
}

/// Connections whose handshake is done, until the token is cancelled. A slow or broken handshake holds nobody up.
pub(crate) fn incoming(
    listener: TcpListener,
    config: ServerConfig,
    shutdown: CancellationToken,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let (sender, receiver) = mpsc::channel(CONCURRENT_HANDSHAKES);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, acceptor, sender) => {}
            () = shutdown.cancelled() => {}
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, sender: mpsc::Sender<io::Result<TlsStream<TcpStream>>>) {
    let slots = Arc::new(Semaphore::new(CONCURRENT_HANDSHAKES));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, sender) = (acceptor.clone(), sender.clone());
        tokio::spawn(async move {
            let _slot = slot;
            // Small messages both ways: waiting to fill a segment only adds delay.
            let _ = stream.set_nodelay(true);
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    // Fails only when the server is gone.
                    let _ = sender.send(Ok(stream)).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "handshake failed"),
                Err(_) => tracing::debug!(%peer, "handshake took too long"),
            }
        });
    }
}
