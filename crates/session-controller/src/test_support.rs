//! What tests of this crate share: a context on the simulated API server, and the objects of a session's Job.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crd_types::{annotations, labels};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube_kit::events::Events;
use kube_kit::review::Reviewer;
use planner::admission::Limits;
use planner::build::{PodManners, Work};
use prometheus_client::registry::Registry as MetricsRegistry;
use service_kit::job_proof::{JobClaims, ProofKey};
use testkit::{ApiServer, fixtures};
use tokio::sync::watch;

use crate::attach::{Claim, Registry, SessionKind};
use crate::context::Context;
use crate::metrics::SessionMetrics;
use crate::pods::{LivePods, Records};
use crate::queue::Queue;
use crate::settings::{Services, Settings};

/// Namespace that Orlop is installed in.
pub(crate) const HOME: &str = "orlop-system";
/// Namespace of the sessions.
pub(crate) const SHOP: &str = fixtures::NAMESPACE;
/// The cluster's identity.
pub(crate) const CLUSTER: &str = "cluster-uid";

/// A context whose API server is `server`.
pub(crate) fn context(server: &ApiServer) -> Context {
    let client = server.client();
    server.put(&fixtures::namespace(SHOP));
    Context {
        namespace: HOME.to_owned(),
        cluster_uid: CLUSTER.to_owned(),
        settings: Arc::new(Settings {
            mover_image: "example.com/orlop-data-mover:test".to_owned(),
            manners: PodManners::default(),
            mover_network_policy: true,
            services: Services {
                session_address: "sessions:9443".to_owned(),
                session_server_name: "sessions".to_owned(),
                storage_address: "storages:9443".to_owned(),
                storage_server_name: "storages".to_owned(),
            },
            progress_interval: Duration::ZERO,
            data_check_period: Some(SignedDuration::from_hours(30 * 24)),
            limits: Limits::default(),
        }),
        events: Events::new(client.clone(), "orlop-session-controller", None),
        reviewer: Reviewer::new(client.clone()),
        metrics: SessionMetrics::register(&mut MetricsRegistry::default()),
        ca_bundle: watch::Sender::new(Some("certificates".to_owned())).subscribe(),
        proof_key: watch::Sender::new(Some(Arc::new(proof_key()))).subscribe(),
        registry: Registry::new(Duration::ZERO),
        records: Records::new(client.clone(), HOME),
        live_pods: LivePods::default(),
        queue: Queue::new(Limits::default()),
        client,
    }
}

/// The key of the proofs in tests.
pub(crate) fn proof_key() -> ProofKey {
    ProofKey::new(&[7; 32])
}

/// One Job as the session-controller makes it.
pub(crate) struct JobOf<'a> {
    pub kind: &'a str,
    pub session: &'a str,
    pub session_uid: &'a str,
    pub name: &'a str,
    pub component: &'a str,
    pub attempt: u32,
    pub work: &'a str,
}

impl JobOf<'_> {
    fn labels(&self) -> BTreeMap<String, String> {
        [
            (labels::SESSION_UID, self.session_uid.to_owned()),
            (labels::SESSION_KIND, self.kind.to_owned()),
            (labels::SESSION_COMPONENT, self.component.to_owned()),
            (labels::ATTEMPT, self.attempt.to_string()),
            (labels::WORK, self.work.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The Job, with its proof.
    pub(crate) fn job(&self) -> Job {
        let owner = ["core.kubestash.com/v1alpha1", self.kind, self.session, self.session_uid];
        let mut job = fixtures::job(SHOP, self.name, Some(owner));
        let attempt = self.attempt.to_string();
        let proof = proof_key().sign(&JobClaims {
            namespace: SHOP,
            job: self.name,
            session_kind: self.kind,
            session_uid: self.session_uid,
            component: self.component,
            attempt: &attempt,
            work: self.work,
        });
        job.metadata.labels = Some(self.labels());
        job.metadata.annotations = Some([(annotations::JOB_PROOF.to_owned(), proof)].into());
        job
    }

    /// A running pod of the Job.
    pub(crate) fn pod(&self, name: &str) -> Pod {
        let job_uid = format!("uid-job-{}", self.name);
        let mut pod = fixtures::pod(SHOP, name, "worker", Some(["batch/v1", "Job", self.name, &job_uid]));
        let mut labels = self.labels();
        labels.insert("batch.kubernetes.io/job-name".to_owned(), self.name.to_owned());
        labels.insert("batch.kubernetes.io/controller-uid".to_owned(), job_uid);
        pod.metadata.labels = Some(labels);
        pod
    }
}

/// The claim of a mover that has proven what it is.
pub(crate) fn claim_of(kind: SessionKind, session: &str, session_uid: &str, component: &str, attempt: u32) -> Claim {
    Claim {
        kind,
        namespace: SHOP.to_owned(),
        session_name: session.to_owned(),
        session_uid: session_uid.to_owned(),
        component: component.to_owned(),
        attempt,
        work: if kind == SessionKind::Backup { Work::Backup } else { Work::Restore },
        job: format!("job-{attempt}"),
        pod: "mover".to_owned(),
        node: "worker".to_owned(),
        deadline: Timestamp::MAX,
    }
}
