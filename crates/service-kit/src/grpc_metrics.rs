//! Counts and times gRPC calls by method and code.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use prost::Message as _;
use proto_api::status::ErrorCode;
use tonic::{Code, service::Routes};

/// Seconds; from a local look-up to a probe of a far store.
const BUCKETS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

/// Label of calls to methods that do not exist, so that a scanner cannot make new series.
const OTHER: &str = "other";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CallLabels {
    method: String,
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct MethodLabels {
    method: String,
}

/// `orlop_grpc_requests_total` and `orlop_grpc_request_duration_seconds`. Clones count into the same series.
///
/// For a streaming answer the code and the duration are those of its beginning.
#[derive(Clone, Debug)]
pub struct GrpcMetrics {
    requests: Family<CallLabels, Counter>,
    duration: Family<MethodLabels, Histogram>,
    methods: Arc<BTreeSet<String>>,
}

impl GrpcMetrics {
    /// Registers the series.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            methods: Arc::new(known_methods()),
        };
        registry.register("grpc_requests", "gRPC calls answered", metrics.requests.clone());
        registry.register_with_unit(
            "grpc_request_duration",
            "Time until a gRPC call was answered",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        metrics
    }

    pub(crate) fn measure(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(from_fn_with_state(self, count)))
    }

    fn method(&self, path: &str) -> String {
        let name = path.trim_start_matches('/');
        if self.methods.contains(name) { name.to_owned() } else { OTHER.to_owned() }
    }
}

async fn count(State(metrics): State<GrpcMetrics>, request: Request, next: Next) -> Response {
    let method = metrics.method(request.uri().path());
    let started = Instant::now();
    let response = next.run(request).await;
    // A failed call carries its code in the headers; one that succeeds carries it behind the last message.
    let code = response.headers().get("grpc-status").map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()));
    let code = if code == Code::Ok { "ok" } else { ErrorCode::from_grpc(code).label() };
    metrics.requests.get_or_create(&CallLabels { method: method.clone(), code }).inc();
    metrics.duration.get_or_create(&MethodLabels { method }).observe(started.elapsed().as_secs_f64());
    response
}

fn known_methods() -> BTreeSet<String> {
    // The set is built into the binary; a test of proto-api decodes it.
    let set = prost_types::FileDescriptorSet::decode(proto_api::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut methods = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reliability §5.2: label values are bounded.
    #[test]
    fn unknown_methods_share_one_label() {
        let metrics = GrpcMetrics::register(&mut Registry::default());
        let known = "/orlop.storage.v1alpha1.StorageService/IssueAccess";
        assert_eq!(metrics.method(known), known.trim_start_matches('/'));
        assert_eq!(metrics.method("/anything/else"), OTHER);
    }
}
