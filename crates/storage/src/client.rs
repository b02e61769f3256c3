//! The HTTP side shared by all remote providers: trust, timeouts, retries.
//!
//! A request must never hang: reads are killed when nothing arrives for [`STALL`]; uploads get that plus the time that their
//! bytes need at the store's [`Pace`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use tokio::time::Instant;

use crate::config::BackendConfig;
use crate::error::{Error, innermost};
use crate::layers::Counters;
use crate::outage::Outage;
use crate::pace::{Pace, USUAL};

/// Longest silence of a connection; a configuration with less patience than this waits only as long.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// Longest wait for a connection to stand.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);
/// Retries inside one operation. The signature of a request is not renewed between them, so this stays well under the
/// quarter of an hour that providers allow.
pub(crate) fn retry_config(config: &BackendConfig) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(5), base: 2.0 },
        // Time is the bound; the count only has to be out of its way.
        max_retries: 10_000,
        retry_timeout: config.patience.min(Duration::from_secs(300)),
    }
}

/// Trust and timeouts for a provider's client.
///
/// # Errors
/// If the CA bundle holds no certificate.
pub(crate) fn client_options(config: &BackendConfig, endpoint: Option<&str>, insecure_tls: bool) -> Result<ClientOptions, Error> {
    let plain_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_pool_idle_timeout(Duration::from_secs(60))
        .with_allow_http(plain_http)
        .with_http1_only();
    if insecure_tls {
        options = options.with_allow_invalid_certificates(true);
    }
    if plain_http || insecure_tls {
        // Nothing will be verified, so an image without system certificates must not fail for their lack.
        options = options.with_no_system_certificates(true);
    }
    if let Some(bundle) = &config.ca_bundle_pem {
        let certificates = Certificate::from_pem_bundle(bundle.as_bytes())
            .map_err(|error| Error::configuration(config.describe(), format!("CA_CERT_DATA is not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(Error::configuration(config.describe(), "CA_CERT_DATA holds no certificate"));
        }
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// How often one logical request went over the wire. Placed in the request's extensions by [`crate::layers::RetryStore`],
/// which must know whether a conditional create was ever repeated.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts(Arc<AtomicU32>);

impl Attempts {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes clients that cannot hang and that count what they do.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    counters: Arc<Counters>,
    outage: Arc<Outage>,
    stall: Duration,
    pace: Pace,
}

impl Connector {
    pub(crate) fn new(config: &BackendConfig, counters: Arc<Counters>, outage: Arc<Outage>, pace: Pace) -> Self {
        Self { counters, outage, pace, stall: config.patience.clamp(Duration::from_secs(1), STALL) }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let reads = ReqwestConnector::default().connect(&options.clone().with_read_timeout(self.stall))?;
        let uploads = ReqwestConnector::default().connect(&options.clone().with_read_timeout_disabled())?;
        let (counters, outage) = (Arc::clone(&self.counters), Arc::clone(&self.outage));
        Ok(HttpClient::new(GuardedService::new(reads, uploads, counters, outage, self.stall, self.pace.clone())))
    }
}

/// Kills requests that hang.
#[derive(Debug)]
pub(crate) struct GuardedService {
    reads: HttpClient,
    uploads: HttpClient,
    counters: Arc<Counters>,
    outage: Arc<Outage>,
    stall: Duration,
    pace: Pace,
}

impl GuardedService {
    pub(crate) fn new(
        reads: HttpClient,
        uploads: HttpClient,
        counters: Arc<Counters>,
        outage: Arc<Outage>,
        stall: Duration,
        pace: Pace,
    ) -> Self {
        Self { reads, uploads, counters, outage, stall, pace }
    }

    async fn upload(&self, request: HttpRequest, length: u64) -> Result<HttpResponse, HttpError> {
        let begin = Instant::now();
        let allowed = self.stall + self.pace.allowance(length);
        match tokio::time::timeout(allowed, self.uploads.execute(request)).await {
            Ok(answer) => {
                if answer.as_ref().is_ok_and(|response| response.status().is_success()) {
                    self.pace.arrived(length, begin.elapsed());
                }
                answer
            }
            Err(elapsed) => {
                self.pace.timed_out();
                Err(HttpError::new(HttpErrorKind::Timeout, elapsed))
            }
        }
    }
}

#[async_trait]
impl HttpService for GuardedService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(attempts) = request.extensions().get::<Attempts>() {
            attempts.0.fetch_add(1, Ordering::Relaxed);
        }
        let length = request.body().content_length() as u64;
        let answer = if length > USUAL { self.upload(request, length).await } else { self.reads.execute(request).await };
        let status = answer.as_ref().ok().map(|response| response.status().as_u16());
        self.counters.http(status);
        match (&answer, status) {
            (Err(error), _) => self.outage.failed(innermost(error)),
            (Ok(_), Some(status)) if status == 429 || status >= 500 => self.outage.failed(format!("HTTP {status}")),
            (Ok(_), _) => self.outage.answered(),
        }
        answer
    }
}
