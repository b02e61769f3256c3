//! The key by which Jobs are recognised as ours.

use std::sync::Arc;

use kube::Client;
use kube_kit::secrets;
use parking_lot::Mutex;
use proto_api::status::ApiError;
use service_kit::job_proof::{JobClaims, ProofKey};

const SECRET: &str = crd_types::names::own::JOB_PROOF_SECRET;
const KEY: &str = crd_types::names::own::JOB_PROOF_KEY;

/// Reads the key when it is first needed, and again when a proof does not hold: it may have been replaced.
#[derive(Clone)]
pub(super) struct ProofKeys {
    client: Client,
    namespace: String,
    current: Arc<Mutex<Option<ProofKey>>>,
}

impl ProofKeys {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), current: Arc::default() }
    }

    /// Whether the proof is one of ours for these claims.
    ///
    /// # Errors
    /// `Unavailable` when the key cannot be read.
    pub(super) async fn verify(&self, claims: &JobClaims<'_>, proof: &str) -> Result<bool, ApiError> {
        let remembered = self.current.lock().clone();
        if remembered.is_some_and(|key| key.verify(claims, proof)) {
            return Ok(true);
        }
        let fresh = self.read().await?;
        let holds = fresh.verify(claims, proof);
        *self.current.lock() = Some(fresh);
        Ok(holds)
    }

    async fn read(&self) -> Result<ProofKey, ApiError> {
        let unavailable = |error: secrets::SecretError| {
            ApiError::unavailable(error.to_string()).with_remedy("the storage-initializer's leader makes it, try again")
        };
        let secret = secrets::fetch(&self.client, &self.namespace, SECRET).await.map_err(unavailable)?;
        Ok(ProofKey::new(secrets::value(&secret, KEY).map_err(unavailable)?))
    }
}
