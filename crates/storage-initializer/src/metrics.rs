//! What the storage-initializer counts. Gauges about objects are computed in `object_metrics`.

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ServiceLabels {
    service: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct UploadLabels {
    object: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct GrantLabels {
    subject: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct DeniedLabels {
    service: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ProbeLabels {
    result: &'static str,
}

/// Ends of the certificates.
#[derive(Clone, Debug, Default)]
pub struct AuthorityMetrics {
    expiry: Family<ServiceLabels, Gauge<i64>>,
}

impl AuthorityMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of a service ends",
            metrics.expiry.clone(),
        );
        metrics
    }

    /// The certificate of a service ends then.
    pub fn certificate_expires(&self, service: &'static str, at: Timestamp) {
        self.expiry.get_or_create(&ServiceLabels { service }).set(at.as_second());
    }
}

/// Everything that is counted. Clones count into the same series.
#[derive(Clone, Debug, Default)]
pub struct InitializerMetrics {
    /// Certificates.
    pub authority: AuthorityMetrics,
    uploads: Family<UploadLabels, Counter>,
    grants: Family<GrantLabels, Counter>,
    denied: Family<DeniedLabels, Counter>,
    probes: Family<ProbeLabels, Counter>,
}

impl InitializerMetrics {
    /// Registers the series.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { authority: AuthorityMetrics::register(registry), ..Self::default() };
        registry.register("metadata_uploads", "Metadata objects written to buckets", metrics.uploads.clone());
        registry.register("access_grants", "Answers to movers that asked for access", metrics.grants.clone());
        registry.register("authz_denied", "Calls that were refused", metrics.denied.clone());
        registry.register("storage_probes", "Looks at storages, by what was found", metrics.probes.clone());
        metrics
    }

    /// A metadata object was written, or could not be. `object` is `metadata`, `repository` or `snapshot`.
    pub fn uploaded(&self, object: &'static str, succeeded: bool) {
        let result = if succeeded { "succeeded" } else { "failed" };
        self.uploads.get_or_create(&UploadLabels { object, result }).inc();
    }

    /// A mover asked for access.
    pub fn granted(&self, subject: &'static str, result: &'static str) {
        self.grants.get_or_create(&GrantLabels { subject, result }).inc();
    }

    /// A call was refused.
    pub fn refused(&self, reason: &'static str) {
        self.denied.get_or_create(&DeniedLabels { service: "storage", reason }).inc();
    }

    /// A storage was looked at; `result` is `ok` or the reason of the failure.
    pub fn probed(&self, result: &'static str) {
        self.probes.get_or_create(&ProbeLabels { result }).inc();
    }
}
