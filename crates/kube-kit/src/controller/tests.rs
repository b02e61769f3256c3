#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, Client, ResourceExt, runtime::watcher};
use parking_lot::Mutex;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::json;
use service_kit::readiness::Readiness;
use testkit::{ApiServer, Fault, Matcher, fixtures};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::own_writes::OwnWrites;

/// Counts reconciles by name; does what the object's name says.
#[derive(Default)]
struct Counting {
    calls: Mutex<HashMap<String, u32>>,
    malformed: Mutex<Vec<String>>,
}

impl Counting {
    fn calls(&self, name: &str) -> u32 {
        self.calls.lock().get(name).copied().unwrap_or(0)
    }
}

impl Reconciler for Counting {
    type Resource = Pod;
    type Error = kube::Error;

    async fn reconcile(&self, object: Arc<Pod>) -> Result<Next, kube::Error> {
        let name = object.name_any();
        *self.calls.lock().entry(name.clone()).or_default() += 1;
        match name.as_str() {
            "panics" => panic!("as told"),
            "hangs" => std::future::pending().await,
            "fails" => Err(kube::Error::TlsRequired),
            _ => Ok(Next::Changed),
        }
    }

    fn malformed(&self, meta: &ObjectMeta, _problem: &str) {
        self.malformed.lock().push(meta.name.clone().unwrap_or_default());
    }
}

struct Running {
    reconciler: Arc<Counting>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunnerError>>,
    registry: Registry,
    readiness: Readiness,
    trigger: Trigger,
    store: Store<Pod>,
    own_writes: OwnWrites,
}

impl Running {
    fn metrics(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }
}

fn start(server: &ApiServer) -> Running {
    let client: Client = server.client();
    let mut registry = Registry::default();
    let metrics = ControllerMetrics::register(&mut registry);
    let (readiness, shutdown, own_writes) = (Readiness::default(), CancellationToken::new(), OwnWrites::default());
    let runner = Runner::new("pods", Api::<Pod>::all(client.clone()), Options::default(), metrics, own_writes.clone())
        .owns::<ConfigMap>(Api::all(client), watcher::Config::default())
        .gate(readiness.gate("watch Pod"));
    let reconciler = Arc::new(Counting::default());
    let (trigger, store) = (runner.trigger(), runner.store());
    let task = tokio::spawn(runner.run(reconciler.clone(), shutdown.clone()));
    Running { reconciler, shutdown, task, registry, readiness, trigger, store, own_writes }
}

fn pod(name: &str) -> Pod {
    fixtures::pod("shop", name, "node-a", None)
}

#[tokio::test(start_paused = true)]
async fn objects_children_triggers_and_time_lead_to_reconciles() {
    let server = ApiServer::new();
    server.put(&pod("a"));
    let running = start(&server);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.reconciler.calls("a"), 1);
    assert!(running.readiness.is_ready());
    assert!(running.store.get("shop", "a").is_some());

    server.put::<ConfigMap>(&fixtures::object(json!({ "metadata": { "namespace": "shop", "name": "child", "ownerReferences": [
        { "apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "uid-pod-a", "controller": true },
    ] } })));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.reconciler.calls("a"), 2);

    running.trigger.now("shop", "a");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.reconciler.calls("a"), 3);

    // reliability B6: looked at again even if nothing happens.
    sleep(Duration::from_secs(601)).await;
    assert_eq!(running.reconciler.calls("a"), 4);

    running.shutdown.cancel();
    running.task.await.unwrap().unwrap();
}

/// reliability B5: who reads this cache hears of a change only when it stands there, whether it was listed, watched or deleted.
#[tokio::test(start_paused = true)]
async fn others_are_told_once_the_cache_has_the_change() {
    let server = ApiServer::new();
    server.put(&pod("listed"));
    let metrics = ControllerMetrics::register(&mut Registry::default());
    let runner = Runner::new("pods", Api::<Pod>::all(server.client()), Options::default(), metrics, OwnWrites::default());
    let store = runner.store();
    let (sender, mut told) = mpsc::unbounded_channel();
    let runner = runner.tells(Trigger { sender }, move |pod: &Pod| {
        let cached = store.get("shop", &pod.name_any());
        let state = match cached {
            None => "gone",
            Some(cached) if cached.metadata.labels == pod.metadata.labels => "known",
            Some(_) => "stale",
        };
        vec![(state.to_owned(), pod.name_any())]
    });
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(runner.run(Arc::new(Counting::default()), shutdown.clone()));
    let mut next = async |state: &str, name: &str| {
        let heard = timeout(Duration::from_secs(5), told.recv()).await.expect("somebody is told").unwrap();
        assert_eq!((heard.0.as_str(), heard.1.as_str()), (state, name));
    };
    next("known", "listed").await;
    server.put(&pod("watched"));
    next("known", "watched").await;
    server.update("shop", "watched", |pod: &mut Pod| pod.metadata.labels = Some([("new".to_owned(), "label".to_owned())].into()));
    next("known", "watched").await;
    server.delete::<Pod>("shop", "watched");
    next("gone", "watched").await;
    shutdown.cancel();
    task.await.unwrap().unwrap();
}

/// reliability B11: a panic, a hang and a malformed object delay nobody else.
#[tokio::test(start_paused = true)]
async fn poison_is_contained_counted_and_backed_off() {
    let server = ApiServer::new();
    for name in ["panics", "hangs", "fails", "fine"] {
        server.put(&pod(name));
    }
    let mut malformed = serde_json::to_value(pod("malformed")).unwrap();
    malformed["spec"]["containers"] = json!("not a list");
    server.put_json("", "pods", malformed);
    let running = start(&server);
    sleep(Duration::from_secs(5)).await;
    server.update("shop", "fine", |pod: &mut Pod| pod.metadata.labels = Some([("new".to_owned(), "label".to_owned())].into()));
    sleep(Duration::from_secs(300)).await;
    assert_eq!(running.reconciler.calls("fine"), 2);
    assert_eq!(*running.reconciler.malformed.lock(), ["malformed"]);
    for name in ["panics", "fails"] {
        let calls = running.reconciler.calls(name);
        assert!((8..=11).contains(&calls), "{name} was tried {calls} times in five minutes");
    }
    let metrics = running.metrics();
    assert!(metrics.contains("reconcile_total{controller=\"pods\",result=\"timeout\"}"), "{metrics}");
    assert!(metrics.contains("reconcile_total{controller=\"pods\",result=\"panic\"}"), "{metrics}");
    assert!(metrics.contains("panics_total{controller=\"pods\"}"), "{metrics}");
}

/// architecture §4 rule 8: not reconciled on a cache that lacks our own write.
#[tokio::test(start_paused = true)]
async fn a_key_is_held_until_the_cache_has_our_write() {
    let server = ApiServer::new();
    let running = start(&server);
    sleep(Duration::from_secs(1)).await;
    running.own_writes.record_version("shop", "a", "1000");
    server.put(&pod("a"));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(running.reconciler.calls("a"), 0);
    running.own_writes.forget("shop", "a");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.reconciler.calls("a"), 1);
}

/// A kind that cannot be watched is named by readiness, and the rest works.
#[tokio::test(start_paused = true)]
async fn a_watch_that_fails_is_retried_and_keeps_the_replica_unready() {
    let server = ApiServer::new();
    server.fail(Fault::Status(403, "Forbidden"), Matcher::of("list", "configmaps"), 3);
    server.put(&pod("a"));
    let running = start(&server);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(running.reconciler.calls("a"), 1);
    assert_eq!(running.readiness.pending(), ["watch Pod"]);
    sleep(Duration::from_secs(120)).await;
    assert!(running.readiness.is_ready());
    assert!(running.metrics().contains("watch_errors_total{controller=\"pods\",kind=\"ConfigMap\"}"));
}
