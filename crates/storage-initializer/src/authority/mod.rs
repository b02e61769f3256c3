//! The certificate authority of Orlop's services (architecture §7). Only the leader runs it.
//!
//! ```text
//!   orlop-ca ──signs──► orlop-<service>-tls (tls.crt, tls.key, ca.crt)     read by the services, by name
//!   orlop-job-proof                                                       read by the services that make or judge Jobs
//! ```
//!
//! A TLS Secret that somebody else keeps (cert-manager, say) is left alone: only Secrets that bear our mark are renewed.

mod certificates;
mod rotation;
mod secrets;
mod services;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use kube_kit::apply::{self, ApplyError, Match};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub use certificates::CertificateError;
pub use services::OWN_TLS_SECRET;

use crate::metrics::AuthorityMetrics;
use rotation::{Advance, AuthorityState};
use services::Service;

/// Pause between looks. Certificates are renewed weeks ahead, so this only bounds how long a deleted Secret is missed.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Why the Secrets could not be brought in order.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A certificate or key could not be made or read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A Secret could not be created.
    #[error(transparent)]
    Create(#[from] ApplyError),
    /// A Secret could not be read or replaced.
    #[error("cannot {action} Secret {namespace}/{name}: {source}")]
    Secret {
        /// `read` or `replace`.
        action: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// No random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// Keeps the Secrets of authority, services and Job proofs in order.
pub struct Authority {
    secrets: Api<Secret>,
    namespace: String,
    metrics: AuthorityMetrics,
}

impl Authority {
    /// An authority for the services of this namespace.
    pub fn new(client: Client, namespace: &str, metrics: AuthorityMetrics) -> Self {
        Self { secrets: Api::namespaced(client, namespace), namespace: namespace.to_owned(), metrics }
    }

    /// Looks again and again until cancelled. Failures are logged and tried again: the services go on with the
    /// certificates they have.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            let pause = match self.ensure(Timestamp::now()).await {
                Ok(()) => LOOK_AGAIN,
                Err(error) => {
                    tracing::warn!(%error, "certificates are not in order");
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Brings every Secret in order once.
    ///
    /// # Errors
    /// The first Secret that could not be; calling again goes on from there.
    pub async fn ensure(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let state = self.ensure_authority(now).await?;
        for service in services::all(&self.namespace) {
            self.ensure_service(&service, &state, now).await?;
        }
        self.ensure_job_proof().await
    }

    async fn ensure_authority(&self, now: Timestamp) -> Result<AuthorityState, AuthorityError> {
        let secret = match self.find(services::CA_SECRET).await? {
            Some(secret) => secret,
            None => {
                let state = AuthorityState::new(now)?;
                let wanted = secrets::of_authority(&state, &self.namespace);
                // Whoever was first made the authority; both go on with what is there.
                let ensured = apply::create_if_absent_matching(&self.secrets, &wanted, Match::Owner).await?;
                if ensured.created {
                    tracing::info!(secret = services::CA_SECRET, "certificate authority created");
                }
                ensured.object
            }
        };
        let state = secrets::to_authority(&secret)?;
        match state.advance(now)? {
            Advance::Stay => Ok(state),
            Advance::To { state, step } => {
                let wanted = secrets::of_authority(&state, &self.namespace);
                self.replace(secret, wanted).await?;
                tracing::info!(secret = services::CA_SECRET, step, "certificate authority rotated");
                Ok(*state)
            }
        }
    }

    async fn ensure_service(&self, service: &Service, state: &AuthorityState, now: Timestamp) -> Result<(), AuthorityError> {
        let existing = self.find(service.secret).await?;
        if let Some(expires) = existing.as_ref().and_then(secrets::expiry) {
            self.metrics.certificate_expires(service.name, expires);
        }
        if let Some(existing) = &existing
            && let Some(settled) = secrets::settled(existing, service, state, now)
        {
            if settled == secrets::Settled::NotOurs {
                tracing::debug!(secret = service.secret, "certificate is kept by somebody else");
            }
            return Ok(());
        }
        let issued = state.issue(&service.server_names, now)?;
        let wanted = secrets::of_service(service, state, &issued, &self.namespace);
        match existing {
            None => {
                apply::create_if_absent_matching(&self.secrets, &wanted, Match::Owner).await?;
            }
            Some(existing) => self.replace(existing, wanted).await?,
        }
        self.metrics.certificate_expires(service.name, issued.not_after);
        tracing::info!(secret = service.secret, expires = %issued.not_after, "certificate issued");
        Ok(())
    }

    async fn ensure_job_proof(&self) -> Result<(), AuthorityError> {
        if self.find(services::JOB_PROOF_SECRET).await?.is_some() {
            return Ok(());
        }
        let key = certificates::random_key().ok_or(AuthorityError::Random)?;
        let wanted = secrets::of_job_proof(&key, &self.namespace);
        apply::create_if_absent_matching(&self.secrets, &wanted, Match::Owner).await?;
        Ok(())
    }

    async fn find(&self, name: &str) -> Result<Option<Secret>, AuthorityError> {
        self.secrets.get_opt(name).await.map_err(|source| self.failed("read", name, source))
    }

    /// Replaces a Secret, unless it changed since it was read: of two leaders one gives way.
    async fn replace(&self, existing: Secret, mut wanted: Secret) -> Result<(), AuthorityError> {
        let name = existing.metadata.name.clone().unwrap_or_default();
        wanted.metadata.resource_version = existing.metadata.resource_version;
        wanted.metadata.uid = existing.metadata.uid;
        self.secrets
            .replace(&name, &PostParams::default(), &wanted)
            .await
            .map_err(|source| self.failed("replace", &name, source))?;
        Ok(())
    }

    fn failed(&self, action: &'static str, name: &str, source: kube::Error) -> AuthorityError {
        AuthorityError::Secret { action, namespace: self.namespace.clone(), name: name.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
