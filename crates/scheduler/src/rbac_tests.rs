//! The chart grants the scheduler what it uses, and nothing else (reliability S-20, architecture §7).
//!
//! The whole process is run against the simulated API server, which records every verb; the rules of the chart's template
//! are compared with that record in both directions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use crd_types::{BackupConfiguration, BackupSession};
use kube_kit::{
    controller::ControllerMetrics,
    lease::{Elector, LeaseConfig},
    own_writes::OwnWrites,
};
use prometheus_client::registry::Registry;
use proto_api::{
    audience,
    common::v1alpha1::ObjectRef,
    schedule::v1alpha1::{ListRequest, PauseRequest, TriggerRequest, schedule_service_server::ScheduleService as _},
};
use serde_json::json;
use service_kit::readiness::Readiness;
use testkit::{Fault, Matcher, fixtures};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::{
    backup_batch, backup_configuration,
    grpc::ScheduleServer,
    retry,
    test_support::{CONFIGURATION, NAMESPACE, World},
    watchdog,
};

/// (group, resource or resource/subresource) to verbs.
type Rules = BTreeMap<(String, String), BTreeSet<String>>;

/// Verbs that no API server records because its own machinery asks for them: setting an owner that blocks deletion.
const IMPLIED: [(&str, &str, &str); 1] = [("core.kubestash.com", "backupconfigurations/finalizers", "update")];

#[tokio::test(start_paused = true)]
async fn the_chart_grants_exactly_what_is_used() {
    let used = used().await;
    let mut granted = granted();
    for (group, resource, verb) in IMPLIED {
        let rule = granted.get_mut(&(group.to_owned(), resource.to_owned())).expect("the chart grants what is implied");
        assert!(rule.remove(verb), "{group} {resource} {verb}");
    }
    for (key, verbs) in &used {
        let allowed = granted.get(key).cloned().unwrap_or_default();
        let missing: Vec<_> = verbs.difference(&allowed).collect();
        assert!(missing.is_empty(), "the chart does not grant {missing:?} on {key:?}");
    }
    let mut needless_rules = Vec::new();
    for (key, verbs) in &granted {
        let needed = used.get(key).cloned().unwrap_or_default();
        let needless: Vec<_> = verbs.difference(&needed).collect();
        needless_rules.extend(needless.into_iter().map(|verb| (key.clone(), verb.clone())));
    }
    assert!(needless_rules.is_empty(), "the chart grants what nothing uses: {needless_rules:?}");
}

/// Runs everything that the scheduler does, and answers the verbs it took.
async fn used() -> Rules {
    let world = World::new("2026-03-01T20:00:00Z");
    world.server.forget_requests();
    // Another replica was faster: what it made is looked at.
    world.server.fail_next(Fault::Status(409, "AlreadyExists"), Matcher::of("create", "backupsessions"));
    world.server.answer_tokens(|token, audiences| {
        let audience = if token == "tool" { audience::PLATFORM } else { audience::SCHEDULE };
        (audiences == [audience]).then(|| fixtures::service_account_user(NAMESPACE, "default", "one-pod", "node-a"))
    });
    world.server.answer_access(|_| true);
    let shutdown = CancellationToken::new();
    let tasks = spawn(&world, &shutdown);

    world.server.put::<crd_types::BackupBatch>(&fixtures::object(
        json!({"metadata": {"namespace": NAMESPACE, "name": "all"}, "spec": {}}),
    ));
    // Two sessions, one of which goes again; defaults instead of a named retention policy.
    world.configure(|configuration| {
        configuration.spec.backends[0].retention_policy = None;
        let mut second = configuration.spec.sessions[0].clone();
        second.name = Some("hourly".to_owned());
        configuration.spec.sessions.push(second);
    });
    world.server.update(NAMESPACE, "keep", |policy: &mut crd_types::RetentionPolicy| policy.spec.default = Some(true));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.sessions().len(), 2, "{:?}", world.configuration().status);
    world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
        configuration.spec.sessions.pop();
    });
    sleep(Duration::from_secs(30)).await;

    call(&world).await;
    targets(&world).await;

    let session = world.sessions().remove(0).metadata.name.unwrap();
    world.server.update(NAMESPACE, &session, |session: &mut BackupSession| {
        session.spec.retry_left = Some(1);
        session.status = Some(fixtures::object(json!({ "phase": "Failed", "nextRetry": "2026-03-01T20:00:00Z" })));
    });
    sleep(Duration::from_secs(30)).await;
    world.server.delete::<BackupConfiguration>(NAMESPACE, CONFIGURATION);
    sleep(Duration::from_secs(30)).await;
    assert!(world.server.all::<BackupConfiguration>().is_empty());

    shutdown.cancel();
    for task in tasks {
        task.await.unwrap();
    }
    world.server.verbs()
}

fn spawn(world: &World, shutdown: &CancellationToken) -> Vec<tokio::task::JoinHandle<()>> {
    let context = world.context.clone();
    let client = context.client.clone();
    let metrics = ControllerMetrics::register(&mut Registry::default());
    let readiness = Readiness::new();
    let writes = OwnWrites::default();
    let configurations = backup_configuration::runner(
        &client,
        metrics.clone(),
        writes.clone(),
        context.ca_bundle.clone(),
        readiness.gate("configurations"),
    );
    let reconciler = Arc::new(backup_configuration::Controller::new(context.clone(), writes));
    let cron_jobs = watchdog::runner(&client, metrics.clone(), OwnWrites::default(), readiness.gate("cron jobs"));
    let sessions = retry::runner(&client, metrics.clone(), OwnWrites::default(), readiness.gate("sessions"));
    let batches = backup_batch::runner(&client, metrics, OwnWrites::default(), readiness.gate("batches"));
    let elector = Elector::new(client, LeaseConfig::new("orlop-system", "orlop-scheduler", "one"));
    let [first, second, third, fourth, fifth] = std::array::from_fn(|_| shutdown.clone());
    vec![
        tokio::spawn(async move { configurations.run(reconciler, first).await.unwrap() }),
        tokio::spawn({
            let watchdog = Arc::new(watchdog::Watchdog::new(context.clone()));
            async move { cron_jobs.run(watchdog, second).await.unwrap() }
        }),
        tokio::spawn({
            let retry = Arc::new(retry::Retry::new(context.clone()));
            async move { sessions.run(retry, third).await.unwrap() }
        }),
        tokio::spawn({
            let batch_teller = Arc::new(backup_batch::Batches::new(context));
            async move { batches.run(batch_teller, fourth).await.unwrap() }
        }),
        tokio::spawn(async move { elector.run(fifth).await.unwrap() }),
    ]
}

async fn call(world: &World) {
    let server = ScheduleServer::new(world.context.clone());
    let configuration = || Some(ObjectRef::named("BackupConfiguration", NAMESPACE, CONFIGURATION));
    world.at("2026-03-02T02:00:02Z");
    world.fire("one", Some("2026-03-02T02:00:00Z"));
    let trigger =
        TriggerRequest { backup_configuration: configuration(), session: "nightly".to_owned(), idempotency_key: String::new() };
    assert!(server.trigger(request("pod", trigger)).await.unwrap().into_inner().created);
    server.list(request("tool", ListRequest::default())).await.unwrap();
    server.pause(request("tool", PauseRequest { backup_configuration: configuration() })).await.unwrap();
    // The same event twice is one event with a count: that takes `patch`.
    for _ in 0..2 {
        world.context.events.normal(&world.configuration(), "Test", "Test", "twice").await;
    }
}

/// One look at a target of every kind.
async fn targets(world: &World) {
    for kind in ["StatefulSet", "DaemonSet", "PersistentVolumeClaim"] {
        world.server.update(NAMESPACE, CONFIGURATION, |configuration: &mut BackupConfiguration| {
            let target = configuration.spec.target.as_mut().unwrap();
            target.kind = Some(kind.to_owned());
            target.api_group = Some(String::new());
        });
        sleep(Duration::from_secs(2)).await;
    }
}

fn request<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.metadata_mut().insert("grpc-timeout", "30S".parse().unwrap());
    request
}

/// The rules of the chart's ClusterRole, those that all services share, and those of the Lease. The Role for our own TLS
/// Secret adds nothing to `secrets get`.
fn granted() -> Rules {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/orlop/templates");
    let mut rules = Rules::new();
    for (file, blocks) in
        [("scheduler-rbac.yaml", None), ("_service.tpl", Some(["orlop.commonClusterRules", "orlop.leaseRules"]))]
    {
        let text = fs::read_to_string(templates.join(file)).unwrap();
        match blocks {
            None => collect(&text, &mut rules),
            Some(names) => {
                for name in names {
                    let start = text.find(&format!("define \"{name}\"")).unwrap();
                    let block = &text[start..];
                    collect(&block[..block.find("{{- end }}").unwrap()], &mut rules);
                }
            }
        }
    }
    rules
}

/// Reads rules written as three flow lists, one to a line.
fn collect(text: &str, rules: &mut Rules) {
    let (mut groups, mut resources) = (Vec::new(), Vec::new());
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ")) {
        let Some((field, list)) = line.split_once(": [") else { continue };
        let items: Vec<String> =
            list.trim_end_matches(']').split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect();
        match field {
            "apiGroups" => groups = items,
            "resources" => resources = items,
            "verbs" => {
                for group in &groups {
                    for resource in &resources {
                        assert!(group != "*" && resource != "*", "no wildcard in rules");
                        rules.entry((group.clone(), resource.clone())).or_default().extend(items.iter().cloned());
                    }
                }
            }
            _ => {}
        }
    }
}
