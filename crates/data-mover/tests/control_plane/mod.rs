//! A control plane in the test's own process: MoverService, StorageService and ScheduleService over TLS, with a record of what
//! was said to it, and levers to misbehave.
#![allow(dead_code, unused_imports, missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mover;
mod schedule;
mod storage_service;
mod world;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_mover::environment::{AgentEnvironment, Patience, Service, TriggerEnvironment};
use prometheus_client::registry::Registry;
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::mover::v1alpha1::mover_service_server::MoverServiceServer;
use proto_api::mover::v1alpha1::{Assignment, AttachResponse, Hello, HolderState, LockSeen, Outcome, Progress, attach_response};
use proto_api::schedule::v1alpha1::schedule_service_server::ScheduleServiceServer;
use proto_api::storage::v1alpha1::storage_service_server::StorageServiceServer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use service_kit::client::ClientTls;
use service_kit::grpc::{GrpcMetrics, GrpcServer};
use service_kit::tls::CertificateStore;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

pub use world::{PASSWORD, World, random_bytes, write_tree};

const SERVER_NAME: &str = "orlop-session-controller.orlop-system.svc";
pub const TOKEN: &str = "projected-token";

/// How the control plane behaves, and what it heard.
#[derive(Default)]
pub struct State {
    pub assignment: Assignment,
    /// Attach is answered with this instead.
    pub attach_refusal: Option<Code>,
    /// Outcomes are not acknowledged.
    pub deaf: bool,
    /// What is said about lock holders; nothing if none.
    pub verdict: Option<(HolderState, String)>,
    /// Access by component path.
    pub access: HashMap<String, storage_service::Grant>,
    /// IssueAccess is answered with these first, one each.
    pub access_refusals: Vec<Status>,
    /// Trigger is answered with these first, one each.
    pub trigger_refusals: Vec<Status>,

    pub hellos: Vec<Hello>,
    pub progress: Vec<Progress>,
    pub locks_seen: Vec<LockSeen>,
    pub outcomes: Vec<Outcome>,
    pub tokens: Vec<String>,
    pub recorded: HashMap<String, String>,
    pub triggered: Vec<String>,
    streams: Vec<(mpsc::Sender<Result<AttachResponse, Status>>, CancellationToken)>,
}

#[derive(Clone)]
pub struct ControlPlane {
    pub state: Arc<Mutex<State>>,
    pub address: SocketAddr,
    tls: ClientTls,
    folder: Arc<tempfile::TempDir>,
    shutdown: CancellationToken,
}

impl ControlPlane {
    pub async fn start() -> Self {
        let _already = service_kit::tls::install_provider();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let store = CertificateStore::new();
        store.replace(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();

        let listener = service_kit::grpc::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<Mutex<State>> = Arc::default();
        let shutdown = CancellationToken::new();
        let mut routes = tonic::service::Routes::default();
        routes = routes.add_service(MoverServiceServer::new(mover::Mover { state: state.clone() }));
        routes = routes.add_service(StorageServiceServer::new(storage_service::Storage { state: state.clone() }));
        routes = routes.add_service(ScheduleServiceServer::new(schedule::Schedules { state: state.clone() }));
        let server = GrpcServer {
            listener,
            certificate: store,
            routes,
            service_names: Vec::new(),
            reflection: false,
            metrics: GrpcMetrics::register(&mut Registry::default()),
        };
        tokio::spawn(service_kit::grpc::serve(server, shutdown.clone()));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("token"), TOKEN).unwrap();
        let tls = ClientTls { ca_pem: issuer.pem(), server_name: SERVER_NAME.to_owned() };
        Self { state, address, tls, folder, shutdown }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn service(&self) -> Service {
        Service { address: self.address.to_string(), tls: self.tls.clone(), token_file: self.folder.path().join("token") }
    }

    /// The environment of one attempt of one component.
    pub fn agent(&self, component: &str, attempt: u32) -> AgentEnvironment {
        AgentEnvironment {
            session_service: self.service(),
            storage_service: self.service(),
            session: ObjectRef::named("BackupSession", "demo", "web-1").with_uid("session-uid"),
            component: component.to_owned(),
            attempt,
            traceparent: None,
            pod_name: format!("web-1-{attempt}"),
            pod_uid: format!("pod-uid-{attempt}"),
            termination_log: self.folder.path().join(format!("termination-log-{component}-{attempt}")),
            patience: Patience {
                start_up: Duration::from_secs(3),
                refusal: Duration::from_millis(600),
                service: Duration::from_secs(5),
                outage: Duration::from_secs(30),
                acknowledgement: Duration::from_secs(60),
                hurried_acknowledgement: Duration::from_millis(500),
            },
        }
    }

    pub fn trigger(&self) -> TriggerEnvironment {
        let agent = self.agent("trigger", 1);
        TriggerEnvironment {
            schedule_service: self.service(),
            backup_configuration: ObjectRef::named("BackupConfiguration", "demo", "web"),
            session: "nightly".to_owned(),
            traceparent: None,
            termination_log: agent.termination_log,
            patience: agent.patience,
        }
    }

    /// Says something on every stream that stands.
    pub async fn say(&self, message: attach_response::Message) {
        let streams: Vec<_> = self.with(|state| state.streams.iter().map(|(sender, _)| sender.clone()).collect());
        for sender in streams {
            let _gone = sender.send(Ok(AttachResponse { message: Some(message.clone()) })).await;
        }
    }

    /// Breaks every stream that stands.
    pub fn drop_streams(&self) {
        for (_, end) in self.with(|state| std::mem::take(&mut state.streams)) {
            end.cancel();
        }
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&mut State) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while !self.with(&mut holds) {
            assert!(tokio::time::Instant::now() < deadline, "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The outcome that the session has recorded last.
    pub fn outcome(&self) -> Outcome {
        self.with(|state| state.outcomes.last().cloned()).expect("an outcome was reported")
    }

    /// What the kubelet would find.
    pub fn last_words(environment: &AgentEnvironment) -> Outcome {
        let text = std::fs::read_to_string(&environment.termination_log).expect("there is a termination message");
        proto_api::termination::decode(&text).expect("the termination message can be read").outcome
    }

    fn heard_token(state: &mut State, metadata: &tonic::metadata::MetadataMap) -> Result<(), Status> {
        let token = service_kit::auth::bearer_token(metadata)?;
        state.tokens.push(token.to_owned());
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if Arc::strong_count(&self.folder) == 1 {
            self.shutdown.cancel();
        }
    }
}
