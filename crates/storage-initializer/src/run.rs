//! Puts the process together: what every replica does, and what only the leader does.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use crd_types::{BackupStorage, Repository, Snapshot, labels};
use futures::future::try_join;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, runtime::watcher};
use kube_kit::{
    controller::{ControllerMetrics, Options, Runner, Store},
    events::Events,
    lease::{Elector, Leadership, LeaseConfig, wait_until_leading},
    own_writes::{Key, OwnWrites},
    secrets::TlsWatcher,
};
use prometheus_client::metrics::gauge::Gauge;
use service_kit::{
    args::{CommonArgs, LeaderArgs},
    grpc::{self, GrpcMetrics, GrpcServer},
    http,
    metrics::Metrics,
    readiness::Readiness,
    supervise::{Stage, Supervisor},
    telemetry,
    tls::CertificateStore,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    args::Args,
    authority::{Authority, OWN_TLS_SECRET},
    backends::{Ambient, Backends},
    backup_storage::{self, BackupStorages},
    caches::Caches,
    changes::Changes,
    context::{Context, Policy},
    metrics::InitializerMetrics,
    object_metrics::{self, Objects},
    references,
    repository::{self, Repositories},
    repository_ids,
    service::{self, StorageApi},
    snapshot::{self, Snapshots},
};

/// Name of the service, of its Lease and of its reporter in events.
const NAME: &str = "orlop-storage-initializer";

/// Runs until it is told to stop.
///
/// # Errors
/// Whatever made a part of the process end, in one sentence.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let Args { common, server, leader: leader_args, shared_storage_keys, cross_namespace_secrets } = args;
    let telemetry = telemetry::init(NAME, &common.log)?;
    let client = kube_kit::client::connect().await.context("cannot reach the API server")?;
    let readiness = Readiness::new();
    let mut supervisor = Supervisor::new(readiness.clone());

    let mut metrics = Metrics::new(NAME, env!("CARGO_PKG_VERSION"));
    let initializer_metrics = InitializerMetrics::register(metrics.registry());
    let grpc_metrics = GrpcMetrics::register(metrics.registry());
    let leader = Gauge::<i64>::default();
    metrics.registry().register("leader", "Whether this replica leads", leader.clone());

    let context = Context {
        client: client.clone(),
        namespace: common.namespace.clone(),
        backends: Backends::new(client.clone(), Ambient::from_environment()),
        events: Events::new(client.clone(), NAME, Some(common.pod_name.clone())),
        policy: Policy { shared_storage_keys, cross_namespace_secrets },
        metrics: initializer_metrics,
    };
    let controllers = Controllers::new(&context, &ControllerMetrics::register(metrics.registry()));
    object_metrics::register(&mut metrics, &controllers.objects);

    let certificate = CertificateStore::new();
    let gate = readiness.gate("certificate");
    let watcher = TlsWatcher::new(client.clone(), &common.namespace, OWN_TLS_SECRET, certificate.clone(), gate);
    let grpc_server = GrpcServer {
        listener: grpc::bind(server.grpc_listen).await?,
        certificate,
        routes: Routes::new(StorageApi::new(context.clone()).into_server()),
        service_names: vec![service::NAME],
        reflection: server.grpc_reflection,
        metrics: grpc_metrics,
    };
    let http_listener = http::bind(server.http_listen).await?;
    let elector = Elector::new(client, lease_config(&common, &leader_args));
    let leadership = elector.leadership();

    let stop = supervisor.token(Stage::Work);
    supervisor.spawn(Stage::Work, "certificate", {
        let stop = stop.clone();
        async move {
            watcher.run(stop).await;
            anyhow::Ok(())
        }
    });
    supervisor.spawn(Stage::Work, "grpc", grpc::serve(grpc_server, stop.clone()));
    supervisor.spawn(Stage::Work, "controllers", lead(context, controllers, readiness.clone(), leadership, leader, stop));
    supervisor.spawn(Stage::Lease, "lease", elector.run(supervisor.token(Stage::Lease)));
    let observe = supervisor.token(Stage::Observe);
    supervisor.spawn(Stage::Observe, "http", http::serve(http_listener, readiness, Arc::new(metrics), observe));

    let ended = supervisor.run().await;
    telemetry.shutdown().await;
    Ok(ended?)
}

fn lease_config(common: &CommonArgs, leader: &LeaderArgs) -> LeaseConfig {
    let LeaderArgs { lease_duration_seconds, lease_renew_deadline_seconds, lease_retry_period_seconds } = leader;
    LeaseConfig {
        duration: Duration::from_secs(*lease_duration_seconds),
        renew_deadline: Duration::from_secs(*lease_renew_deadline_seconds),
        retry_period: Duration::from_secs(*lease_retry_period_seconds),
        ..LeaseConfig::new(&common.namespace, NAME, &common.pod_name)
    }
}

/// The controllers with their watches, not running yet.
pub(crate) struct Controllers {
    storages: Runner<BackupStorage>,
    storage_writes: OwnWrites,
    repositories: Runner<Repository>,
    repository_writes: OwnWrites,
    snapshots: Runner<Snapshot>,
    snapshot_writes: OwnWrites,
    objects: Objects,
}

impl Controllers {
    pub(crate) fn new(context: &Context, metrics: &ControllerMetrics) -> Self {
        let client = &context.client;
        let (storage_writes, repository_writes, snapshot_writes) =
            (OwnWrites::default(), OwnWrites::default(), OwnWrites::default());
        let options = Options::default();
        let storages =
            Runner::new(backup_storage::CONTROLLER, Api::all(client.clone()), options, metrics.clone(), storage_writes.clone());
        let repositories =
            Runner::new(repository::CONTROLLER, Api::all(client.clone()), options, metrics.clone(), repository_writes.clone());
        let snapshots =
            Runner::new(snapshot::CONTROLLER, Api::all(client.clone()), options, metrics.clone(), snapshot_writes.clone());
        let objects = Objects { storages: storages.store(), repositories: repositories.store(), snapshots: snapshots.store() };
        let (to_storages, to_repositories, to_snapshots) = (storages.trigger(), repositories.trigger(), snapshots.trigger());
        let known_repositories = repositories.store();
        Self {
            storages: storages.tells(to_repositories.clone(), repositories_of_storage(known_repositories)),
            repositories: repositories
                .tells(to_storages, storage_of_repository())
                .tells(to_snapshots, snapshots_of_repository())
                .watches_meta(
                    Api::<ConfigMap>::namespaced(client.clone(), &context.namespace),
                    watcher::Config::default().labels(labels::REPOSITORY_NAME),
                    |metadata| repository_ids::repository_of(metadata).into_iter().collect(),
                ),
            snapshots: snapshots.tells(to_repositories, repository_of_snapshot()),
            storage_writes,
            repository_writes,
            snapshot_writes,
            objects,
        }
    }
}

/// A storage sums up its Repositories.
fn storage_of_repository() -> impl Fn(&Repository) -> Vec<Key> + Send {
    let changes = Changes::of(|repository: &Repository| {
        let status = repository.status.clone().unwrap_or_default();
        let conditions = status.conditions.into_iter().map(|condition| (condition.type_, condition.message));
        (repository.metadata.generation, status.phase, status.size, conditions.collect::<Vec<_>>())
    });
    move |repository| references::storage_of(repository).filter(|_| changes.has(repository)).into_iter().collect()
}

/// A Repository needs its storage.
fn repositories_of_storage(known: Store<Repository>) -> impl Fn(&BackupStorage) -> Vec<Key> + Send {
    let changes = Changes::of(|storage: &BackupStorage| {
        let phase = storage.status.as_ref().and_then(|status| status.phase);
        (storage.metadata.generation, phase)
    });
    move |storage| {
        if changes.has(storage) { known.keys(|repository| references::is_on(repository, storage)) } else { Vec::new() }
    }
}

/// A Repository sums up its Snapshots.
fn repository_of_snapshot() -> impl Fn(&Snapshot) -> Vec<Key> + Send {
    let changes = Changes::of(|snapshot: &Snapshot| {
        let status = snapshot.status.clone().unwrap_or_default();
        let components = status.components.into_values().map(|component| {
            let ids = component.restic_stats.into_iter().filter_map(|stats| stats.summary?.id);
            (component.path, component.size, ids.collect::<Vec<_>>())
        });
        let taken = status.snapshot_time.map(|time| time.0);
        (status.phase, status.size, status.integrity, taken, components.collect::<Vec<_>>())
    });
    move |snapshot| {
        let repository = snapshot.spec.repository.clone().filter(|_| changes.has(snapshot));
        repository.map(|name| (references::namespace(snapshot), name)).into_iter().collect()
    }
}

/// A Snapshot is told when its Repository lists it, and when its Repository becomes usable.
fn snapshots_of_repository() -> impl Fn(&Repository) -> Vec<Key> + Send {
    let changes = Changes::of(|repository: &Repository| {
        let status = repository.status.clone().unwrap_or_default();
        let names = status.recent_snapshots.into_iter().map(|recent| recent.name);
        (status.phase, names.collect::<Vec<_>>())
    });
    move |repository| {
        if !changes.has(repository) {
            return Vec::new();
        }
        let namespace = references::namespace(repository);
        let recent = repository.status.iter().flat_map(|status| &status.recent_snapshots);
        recent.filter_map(|recent| Some((namespace.clone(), recent.name.clone()?))).collect()
    }
}

/// Runs what only the leader may do, once this replica leads.
async fn lead(
    context: Context,
    controllers: Controllers,
    readiness: Readiness,
    mut leadership: watch::Receiver<Leadership>,
    leader: Gauge<i64>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let leads = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        epoch = wait_until_leading(&mut leadership) => epoch.is_some(),
    };
    if !leads {
        // The lease's own task says why, and ends the process.
        stop.cancelled().await;
        return Ok(());
    }
    leader.set(1);
    let authority = Authority::new(context.client.clone(), &context.namespace, context.metrics.authority.clone());
    let certificates = async {
        authority.run(stop.clone()).await;
        anyhow::Ok(())
    };
    try_join(certificates, run_controllers(context, controllers, &readiness, stop.clone())).await?;
    Ok(())
}

/// Runs the three controllers until cancelled, or until one of them ends.
pub(crate) async fn run_controllers(
    context: Context,
    controllers: Controllers,
    readiness: &Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Controllers { storages, storage_writes, repositories, repository_writes, snapshots, snapshot_writes, objects } =
        controllers;
    let caches = Caches::awaiting(readiness, &["BackupStorage", "Repository", "Snapshot"]);
    let storage_controller = Arc::new(BackupStorages::new(
        context.clone(),
        caches.clone(),
        objects.storages.clone(),
        objects.repositories.clone(),
        storage_writes,
    ));
    let repository_controller = Arc::new(Repositories::new(
        context.clone(),
        caches.clone(),
        objects.storages.clone(),
        objects.repositories.clone(),
        objects.snapshots,
        repository_writes,
    ));
    let snapshot_controller = Arc::new(Snapshots {
        context,
        caches: caches.clone(),
        storages: objects.storages,
        repositories: objects.repositories,
        own_writes: snapshot_writes,
    });
    let [storage_gate, repository_gate, snapshot_gate] = caches.gates();
    // Dropped with this future: a process that lost its lease must not go on in tasks that nobody holds.
    let mut tasks = JoinSet::new();
    tasks.spawn(storages.gate(storage_gate).run(storage_controller, stop.clone()));
    tasks.spawn(repositories.gate(repository_gate).run(repository_controller, stop.clone()));
    tasks.spawn(snapshots.gate(snapshot_gate).run(snapshot_controller, stop));
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
