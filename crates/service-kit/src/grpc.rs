//! The gRPC port: TLS, health, reflection, limits, metrics, spans, graceful end.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tonic_health::ServingStatus;
use tracing::Span;

pub use crate::grpc_metrics::GrpcMetrics;
use crate::{
    tls::{self, CertificateStore, TlsError},
    trace_context,
};

/// Largest message a service accepts or sends; set it on each generated server. The largest of ours, an outcome with
/// fifty file errors of the longest paths, is well below.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Callers are probed this often, so that a vanished mover's stream does not look alive.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Most calls under way on one connection. A mover has two; platform tooling may watch many sessions.
const MAX_CONCURRENT_STREAMS: u32 = 256;

/// Why the gRPC port could not be served.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}, choose another address with ORLOP_GRPC_LISTEN: {source}")]
    Bind {
        /// Address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS settings were refused.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The descriptor set is damaged.
    #[error("gRPC reflection cannot be offered: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The server broke.
    #[error("gRPC server ended: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// What a gRPC port serves.
pub struct GrpcServer {
    /// Bound port.
    pub listener: TcpListener,
    /// Certificate to show, reloaded from elsewhere.
    pub certificate: CertificateStore,
    /// The services.
    pub routes: Routes,
    /// Full names of the services, for health: `orlop.storage.v1alpha1.StorageService`.
    pub service_names: Vec<&'static str>,
    /// Whether to offer reflection.
    pub reflection: bool,
    /// Where calls are counted.
    pub metrics: GrpcMetrics,
}

/// Binds the port, so that a wrong address fails the start and not a task later.
///
/// # Errors
/// [`GrpcError::Bind`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, GrpcError> {
    TcpListener::bind(address).await.map_err(|source| GrpcError::Bind { address, source })
}

/// Serves until the token is cancelled, then accepts nothing more and waits for calls under way. Handlers of long
/// streams must watch the token themselves.
///
/// # Errors
/// [`GrpcError`].
pub async fn serve(server: GrpcServer, shutdown: CancellationToken) -> Result<(), GrpcError> {
    let GrpcServer { listener, certificate, routes, service_names, reflection, metrics } = server;
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in &service_names {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let mut routes = routes.add_service(health_service);
    if reflection {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto_api::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        routes = routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?);
    }
    let routes = metrics.measure(routes);

    let incoming = tls::incoming(listener, certificate.server_config()?, shutdown.clone());
    let signal = async move {
        shutdown.cancelled().await;
        for name in service_names.iter().copied().chain([""]) {
            health.set_service_status(name, ServingStatus::NotServing).await;
        }
    };
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .trace_fn(call_span)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, signal)
        .await?;
    Ok(())
}

fn call_span(request: &http::Request<()>) -> Span {
    let path = request.uri().path();
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or(("", path));
    let span = tracing::info_span!(
        "rpc",
        otel.name = path.trim_start_matches('/'),
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        trace_id = tracing::field::Empty,
    );
    trace_context::set_parent_context(&span, trace_context::extract(request.headers()));
    trace_context::record_trace_id(&span);
    span
}

#[cfg(test)]
#[path = "grpc_tests.rs"]
mod tests;
