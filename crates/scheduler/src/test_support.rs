//! A scheduler against the simulated API server, with a clock that tests set.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use crd_types::{BackupConfiguration, BackupSession};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube_kit::{
    controller::{Next, Reconciler as _},
    events::Events,
    own_writes::OwnWrites,
    review::Reviewer,
};
use planner::access::SecretRule;
use prometheus_client::registry::Registry;
use serde_json::json;
use testkit::{ApiServer, fixtures};
use tokio::sync::watch;

use crate::{
    args::TriggerArgs,
    backup_configuration::{Controller, Failure},
    context::Context,
    metrics::ScheduleMetrics,
    settings::Settings,
};

pub(crate) const NAMESPACE: &str = fixtures::NAMESPACE;
pub(crate) const CONFIGURATION: &str = "web-backup";
pub(crate) const CRON_JOB: &str = "trigger-web-backup-nightly";

/// A cluster with everything that the fixtures' BackupConfiguration needs, but not the configuration itself.
pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) context: Context,
    seconds: Arc<AtomicI64>,
}

impl World {
    pub(crate) fn new(now: &str) -> Self {
        let server = ApiServer::new();
        server.put(&fixtures::namespace(NAMESPACE));
        server.put(&fixtures::backup_storage(NAMESPACE, "main"));
        server.put(&fixtures::retention_policy(NAMESPACE, "keep"));
        server.put(&fixtures::addon());
        server.put(&fixtures::function("workload-backup", "backup"));
        server.put(&fixtures::secret(NAMESPACE, "encryption", "RESTIC_PASSWORD", "pass"));
        server.put(&fixtures::deployment(NAMESPACE, "web"));
        let seconds = Arc::new(AtomicI64::new(0));
        let world = Self { context: context(&server, seconds.clone()), server, seconds };
        world.at(now);
        world
    }

    /// Sets the clock of the scheduler and of the server.
    pub(crate) fn at(&self, now: &str) {
        let now: Timestamp = now.parse().unwrap();
        self.seconds.store(now.as_second(), Ordering::SeqCst);
        self.server.set_clock(now);
    }

    pub(crate) fn configure(&self, change: impl FnOnce(&mut BackupConfiguration)) -> BackupConfiguration {
        let mut configuration = fixtures::backup_configuration(NAMESPACE, CONFIGURATION);
        change(&mut configuration);
        self.server.put(&configuration)
    }

    pub(crate) fn configuration(&self) -> BackupConfiguration {
        self.server.get(NAMESPACE, CONFIGURATION).unwrap()
    }

    pub(crate) fn sessions(&self) -> Vec<BackupSession> {
        self.server.all()
    }

    pub(crate) fn cron_job(&self) -> Option<CronJob> {
        self.server.get(NAMESPACE, CRON_JOB)
    }

    /// One reconcile of the configuration as it is.
    pub(crate) async fn reconcile(&self) -> Result<Next, Failure> {
        let controller = Controller::new(self.context.clone(), OwnWrites::default());
        controller.reconcile(Arc::new(self.configuration())).await
    }

    /// Reconciles until nothing changes any more.
    pub(crate) async fn settle(&self) {
        for _ in 0..10 {
            let before = self.configuration();
            let outcome = self.reconcile().await;
            if self.server.get::<BackupConfiguration>(NAMESPACE, CONFIGURATION).is_none() {
                return;
            }
            if outcome.is_ok() && self.configuration() == before {
                return;
            }
        }
        panic!("the configuration does not settle: {:?}", self.configuration().status);
    }

    /// A Ready configuration without sessions, as one is long after its first backup.
    pub(crate) async fn ready(&self) -> BackupConfiguration {
        self.configure(|_| {});
        self.settle().await;
        for session in self.sessions() {
            self.server.update(NAMESPACE, session.metadata.name.as_deref().unwrap(), |session: &mut BackupSession| {
                session.metadata.finalizers = None;
            });
            self.server.delete::<BackupSession>(NAMESPACE, session.metadata.name.as_deref().unwrap());
        }
        self.configuration()
    }

    /// What the CronJob controller does at a slot: a Job with the slot's annotation, and its pod.
    pub(crate) fn fire(&self, job: &str, slot: Option<&str>) {
        let cron_job = self.cron_job().unwrap();
        let uid = cron_job.metadata.uid.as_deref().unwrap();
        let mut made: Job = fixtures::job(NAMESPACE, job, Some(["batch/v1", "CronJob", CRON_JOB, uid]));
        made.metadata.annotations = slot.map(|slot| [(crd_types::annotations::CRON_JOB_SLOT.to_owned(), slot.to_owned())].into());
        self.server.put(&made);
        let owner = ["batch/v1", "Job", job, &format!("uid-job-{job}")];
        self.server.put(&fixtures::pod(NAMESPACE, &format!("{job}-pod"), "node-a", Some(owner)));
        if let Some(slot) = slot {
            self.server.update(NAMESPACE, CRON_JOB, |cron_job: &mut CronJob| {
                cron_job.status = Some(fixtures::object(json!({ "lastScheduleTime": slot })));
            });
        }
    }
}

fn context(server: &ApiServer, seconds: Arc<AtomicI64>) -> Context {
    let client = server.client();
    let trigger = TriggerArgs {
        mover_image: "example.com/orlop-data-mover:test".to_owned(),
        mover_image_pull_policy: "IfNotPresent".to_owned(),
        mover_image_pull_secrets: Vec::new(),
        trigger_service_account: "default".to_owned(),
        mover_network_policy: true,
        time_zone: "Etc/UTC".to_owned(),
        trigger_grace_seconds: 30,
    };
    Context {
        settings: Arc::new(Settings::new("orlop-system", &trigger, SecretRule::Consent).unwrap()),
        events: Events::new(client.clone(), "orlop-scheduler", None),
        reviewer: Reviewer::new(client.clone()),
        metrics: ScheduleMetrics::register(&mut Registry::default()),
        ca_bundle: watch::Sender::new(Some("-----BEGIN CERTIFICATE-----".to_owned())).subscribe(),
        clock: Arc::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).unwrap()),
        client,
    }
}

pub(crate) fn triggered_by(session: &BackupSession) -> &str {
    &session.metadata.annotations.as_ref().unwrap()[crd_types::annotations::TRIGGERED_BY]
}
