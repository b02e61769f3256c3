//! The process: what runs in it and in which order it starts and ends.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Context as _;
use crd_types::names::manager;
use jiff::Timestamp;
use kube_kit::{
    client,
    controller::{ControllerMetrics, RunnerError},
    events::Events,
    lease::{Elector, LeaseConfig, wait_until_leading},
    own_writes::OwnWrites,
    review::Reviewer,
    secrets::TlsWatcher,
};
use proto_api::schedule::v1alpha1::schedule_service_server::ScheduleServiceServer;
use service_kit::{
    args::LeaderArgs,
    grpc::{self, GrpcMetrics, GrpcServer, MAX_MESSAGE_BYTES},
    http,
    metrics::Metrics,
    readiness::Readiness,
    supervise::{Stage, Supervisor},
    telemetry,
    tls::{self, CertificateStore},
};
use tokio::sync::watch;
use tonic::service::Routes;

use crate::{
    args::Args,
    backup_batch, backup_configuration,
    context::Context,
    grpc::ScheduleServer,
    metrics::{ScheduleMetrics, register_gauges},
    retry,
    settings::Settings,
    watchdog,
};

/// Name of the service, of its Lease and of its ServiceAccount.
pub const SERVICE: &str = "orlop-scheduler";
/// Secret with its certificate.
const TLS_SECRET: &str = "orlop-scheduler-tls";

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
    let Args { common, server, leader, trigger, cross_namespace_secrets } = args;
    let telemetry = telemetry::init(SERVICE, &common.log)?;
    let mut metrics = Metrics::new(SERVICE, env!("CARGO_PKG_VERSION"));
    let readiness = Readiness::new();
    let mut supervisor = Supervisor::new(readiness.clone());
    let client = client::connect().await.context("the API server cannot be reached")?;

    let certificate = CertificateStore::new();
    let gate = readiness.gate(format!("Secret {TLS_SECRET}"));
    let watcher = TlsWatcher::new(client.clone(), &common.namespace, TLS_SECRET, certificate.clone(), gate);
    let settings = Settings::new(&common.namespace, &trigger, cross_namespace_secrets).context("ORLOP_TIME_ZONE")?;
    let context = Context {
        settings: Arc::new(settings),
        events: Events::new(client.clone(), manager::SCHEDULER, Some(common.pod_name.clone())),
        reviewer: Reviewer::new(client.clone()),
        metrics: ScheduleMetrics::register(metrics.registry()),
        ca_bundle: watcher.ca_bundle(),
        clock: Arc::new(Timestamp::now),
        client: client.clone(),
    };

    let elector = Elector::new(client, lease(&common.namespace, &common.pod_name, &leader));
    let leadership = elector.leadership();
    let grpc_server = GrpcServer {
        listener: grpc::bind(server.grpc_listen).await?,
        certificate,
        routes: Routes::new(
            ScheduleServiceServer::new(ScheduleServer::new(context.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES),
        ),
        service_names: vec!["orlop.schedule.v1alpha1.ScheduleService"],
        reflection: server.grpc_reflection,
        metrics: GrpcMetrics::register(metrics.registry()),
    };
    let http_listener = http::bind(server.http_listen).await?;
    let (work, lease, observe) =
        (supervisor.token(Stage::Work), supervisor.token(Stage::Lease), supervisor.token(Stage::Observe));
    let controllers = controllers(&context, &mut metrics, &readiness, leadership, work.clone());

    supervisor.spawn(Stage::Observe, "http", http::serve(http_listener, readiness, Arc::new(metrics), observe.clone()));
    supervisor.spawn(Stage::Observe, "certificate", async move {
        watcher.run(observe).await;
        Ok::<(), Infallible>(())
    });
    supervisor.spawn(Stage::Work, "grpc", grpc::serve(grpc_server, work));
    supervisor.spawn(Stage::Lease, "lease", elector.run(lease));
    supervisor.spawn(Stage::Work, "controllers", controllers);
    let ended = supervisor.run().await;
    telemetry.shutdown().await;
    Ok(ended?)
}

/// The controllers, which start when this replica leads. A replica that waits is ready without them.
fn controllers(
    context: &Context,
    metrics: &mut Metrics,
    readiness: &Readiness,
    mut leadership: watch::Receiver<kube_kit::lease::Leadership>,
    shutdown: tokio_util::sync::CancellationToken,
) -> impl Future<Output = Result<(), RunnerError>> + Send + 'static {
    let counters = ControllerMetrics::register(metrics.registry());
    let client = &context.client;
    let gates = ["watch BackupConfiguration", "watch CronJob", "watch BackupSession", "watch BackupBatch"].map(|name| {
        let gate = readiness.gate(name);
        gate.open();
        gate
    });
    let [configuration_gate, cron_job_gate, session_gate, batch_gate] = gates.clone();
    let configuration_writes = OwnWrites::default();
    let configurations = backup_configuration::runner(
        client,
        counters.clone(),
        configuration_writes.clone(),
        context.ca_bundle.clone(),
        configuration_gate,
    );
    let cron_jobs = watchdog::runner(client, counters.clone(), OwnWrites::default(), cron_job_gate);
    let sessions = retry::runner(client, counters.clone(), OwnWrites::default(), session_gate);
    let batches = backup_batch::runner(client, counters, OwnWrites::default(), batch_gate);
    let clock = context.clock.clone();
    register_gauges(metrics, configurations.store(), context.settings.zone.clone(), clock);
    let context = context.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            epoch = wait_until_leading(&mut leadership) => if epoch.is_none() { return shutdown_with(&shutdown).await },
        }
        for gate in &gates {
            gate.close();
        }
        let reconciler = Arc::new(backup_configuration::Controller::new(context.clone(), configuration_writes));
        let watchdog = Arc::new(watchdog::Watchdog::new(context.clone()));
        let retry = Arc::new(retry::Retry::new(context.clone()));
        let teller = Arc::new(backup_batch::Batches::new(context));
        tokio::try_join!(
            configurations.run(reconciler, shutdown.clone()),
            cron_jobs.run(watchdog, shutdown.clone()),
            sessions.run(retry, shutdown.clone()),
            batches.run(teller, shutdown),
        )?;
        Ok(())
    }
}

/// Leadership will not come: the elector has ended, and with it the process.
async fn shutdown_with(shutdown: &tokio_util::sync::CancellationToken) -> Result<(), RunnerError> {
    shutdown.cancelled().await;
    Ok(())
}

fn lease(namespace: &str, pod: &str, leader: &LeaderArgs) -> LeaseConfig {
    LeaseConfig {
        duration: Duration::from_secs(leader.lease_duration_seconds),
        renew_deadline: Duration::from_secs(leader.lease_renew_deadline_seconds),
        retry_period: Duration::from_secs(leader.lease_retry_period_seconds),
        ..LeaseConfig::new(namespace, SERVICE, pod)
    }
}
