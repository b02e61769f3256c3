//! The process: what runs in it and in which order it starts and ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crd_types::names::manager;
use kube_kit::controller::ControllerMetrics;
use kube_kit::events::Events;
use kube_kit::lease::{Elector, LeaseConfig};
use kube_kit::review::Reviewer;
use kube_kit::secrets::TlsWatcher;
use kube_kit::{client, identity};
use proto_api::mover::v1alpha1::mover_service_server::MoverServiceServer;
use proto_api::session::v1alpha1::session_service_server::SessionServiceServer;
use service_kit::grpc::{self, GrpcMetrics, GrpcServer, MAX_MESSAGE_BYTES};
use service_kit::metrics::Metrics;
use service_kit::readiness::Readiness;
use service_kit::supervise::{Stage, Supervisor};
use service_kit::tls::{self, CertificateStore};
use service_kit::{http, telemetry};
use tonic::service::Routes;

use crate::args::{Args, LeaderArgs};
use crate::attach::{MoverServer, Registry};
use crate::context::Context;
use crate::controllers::Controllers;
use crate::grpc::SessionServer;
use crate::material::ProofKeyReader;
use crate::metrics::SessionMetrics;
use crate::pods::{LivePods, Records};
use crate::queue::Queue;
use crate::settings::Settings;

/// Name of the service, of its Lease and of its ServiceAccount.
pub const SERVICE: &str = "orlop-session-controller";
/// Secret with its certificate.
const TLS_SECRET: &str = "orlop-session-controller-tls";

/// Runs the process until it is told to end.
///
/// # Errors
/// When it cannot start, or when a part of it ended on its own: the process should then exit with a failure.
pub fn start(args: Args) -> anyhow::Result<()> {
    tls::install_provider()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> anyhow::Result<()> {
    let Args { common, server, leader, mover, admission } = args;
    let telemetry = telemetry::init(SERVICE, &common.log)?;
    let mut metrics = Metrics::new(SERVICE, env!("CARGO_PKG_VERSION"));
    let readiness = Readiness::new();
    let mut supervisor = Supervisor::new(readiness.clone());
    let client = client::connect().await.context("the API server cannot be reached")?;

    let certificate = CertificateStore::new();
    let watcher = TlsWatcher::new(
        client.clone(),
        &common.namespace,
        TLS_SECRET,
        certificate.clone(),
        readiness.gate(format!("Secret {TLS_SECRET}")),
    );
    let proofs = ProofKeyReader::new(client.clone(), &common.namespace, readiness.gate("Secret orlop-job-proof"));
    let settings = Settings::new(&common.namespace, &mover, &admission);
    let context = Context {
        cluster_uid: identity::cluster_uid(&client).await.context("the cluster's identity cannot be read")?,
        namespace: common.namespace.clone(),
        registry: Registry::new(settings.progress_interval),
        records: Records::new(client.clone(), &common.namespace),
        live_pods: LivePods::default(),
        queue: Queue::new(settings.limits),
        settings: Arc::new(settings),
        events: Events::new(client.clone(), manager::SESSION_CONTROLLER, Some(common.pod_name.clone())),
        reviewer: Reviewer::new(client.clone()),
        metrics: SessionMetrics::register(metrics.registry()),
        ca_bundle: watcher.ca_bundle(),
        proof_key: proofs.key(),
        client: client.clone(),
    };

    let elector = Elector::new(client, lease(&common.namespace, &common.pod_name, &leader));
    let leadership = elector.leadership();
    let controllers = Controllers::new(&context, ControllerMetrics::register(metrics.registry()), metrics.kubestash_registry());
    let movers = MoverServer::new(context.clone(), supervisor.token(Stage::Work));
    let routes = Routes::new(SessionServiceServer::new(SessionServer::new(context)).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(MoverServiceServer::new(movers).max_decoding_message_size(MAX_MESSAGE_BYTES));
    let grpc_server = GrpcServer {
        listener: grpc::bind(server.grpc_listen).await?,
        certificate,
        routes,
        service_names: vec!["orlop.session.v1alpha1.SessionService", "orlop.mover.v1alpha1.MoverService"],
        reflection: server.grpc_reflection,
        metrics: GrpcMetrics::register(metrics.registry()),
    };
    let http_listener = http::bind(server.http_listen).await?;
    let (work, lease, observe) =
        (supervisor.token(Stage::Work), supervisor.token(Stage::Lease), supervisor.token(Stage::Observe));

    supervisor.spawn(Stage::Observe, "http", http::serve(http_listener, readiness.clone(), Arc::new(metrics), observe.clone()));
    supervisor.spawn(Stage::Observe, "certificate", until(watcher.run(observe.clone())));
    supervisor.spawn(Stage::Observe, "key of proofs", until(proofs.run(observe)));
    supervisor.spawn(Stage::Work, "grpc", grpc::serve(grpc_server, work.clone()));
    supervisor.spawn(Stage::Lease, "lease", elector.run(lease));
    supervisor.spawn(Stage::Work, "controllers", controllers.run(leadership, readiness, work));
    let ended = supervisor.run().await;
    telemetry.shutdown().await;
    Ok(ended?)
}

fn lease(namespace: &str, pod: &str, leader: &LeaderArgs) -> LeaseConfig {
    LeaseConfig {
        duration: Duration::from_secs(leader.lease_duration_seconds),
        renew_deadline: Duration::from_secs(leader.lease_renew_deadline_seconds),
        retry_period: Duration::from_secs(leader.lease_retry_period_seconds),
        ..LeaseConfig::new(namespace, SERVICE, pod)
    }
}

/// A task that only ends when it is asked to.
async fn until(task: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    task.await;
    Ok(())
}
