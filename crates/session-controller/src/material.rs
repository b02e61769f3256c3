//! What this process reads from Secrets of Orlop's namespace, by name and again and again: the key that proves Jobs.

use std::sync::Arc;
use std::time::Duration;

use crd_types::names::own;
use kube::Client;
use kube_kit::secrets;
use service_kit::job_proof::ProofKey;
use service_kit::readiness::Gate;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Pause between looks while there is no key: without it no Job can be made.
const IMPATIENT: Duration = Duration::from_secs(2);
/// Pause between looks afterwards.
const PATIENT: Duration = Duration::from_secs(60);

/// The key, as it stands.
pub type ProofKeyWatch = watch::Receiver<Option<Arc<ProofKey>>>;

/// Reads the key that proves which Jobs are Orlop's, and reads it anew when it changes.
pub struct ProofKeyReader {
    client: Client,
    namespace: String,
    gate: Gate,
    sender: watch::Sender<Option<Arc<ProofKey>>>,
}

impl ProofKeyReader {
    /// Opens `gate` when the key was first read.
    pub fn new(client: Client, namespace: &str, gate: Gate) -> Self {
        Self { client, namespace: namespace.to_owned(), gate, sender: watch::Sender::new(None) }
    }

    /// Where the key shows up.
    pub fn key(&self) -> ProofKeyWatch {
        self.sender.subscribe()
    }

    /// Reads until cancelled. A Secret that is missing or cannot be read leaves the key that was read before.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let pause = match self.read().await {
                Ok(key) => {
                    self.sender.send_replace(Some(Arc::new(key)));
                    self.gate.open();
                    PATIENT
                }
                Err(error) => {
                    tracing::debug!(error = %error, "the key that proves Jobs cannot be read yet");
                    if self.sender.borrow().is_some() { PATIENT } else { IMPATIENT }
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn read(&self) -> Result<ProofKey, secrets::SecretError> {
        let secret = secrets::fetch(&self.client, &self.namespace, own::JOB_PROOF_SECRET).await?;
        secrets::value(&secret, own::JOB_PROOF_KEY).map(ProofKey::new)
    }
}
