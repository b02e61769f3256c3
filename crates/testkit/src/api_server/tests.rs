#![allow(clippy::unwrap_used, clippy::expect_used)]

use crd_types::BackupStorage;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, watcher},
};
use serde_json::json;

use super::*;
use crate::fixtures;

fn config_map(name: &str, value: &str) -> ConfigMap {
    fixtures::object(json!({ "metadata": { "name": name, "namespace": "default" }, "data": { "key": value } }))
}

#[tokio::test]
async fn create_get_list_and_conflicts() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::default_namespaced(server.client());
    let made = api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_some());
    let again = api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err();
    assert!(matches!(again, kube::Error::Api(status) if status.is_already_exists()));
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);

    let mut stale = made.clone();
    stale.data = Some([("key".to_owned(), "2".to_owned())].into());
    let newer = api.replace("a", &PostParams::default(), &stale).await.unwrap();
    assert_ne!(newer.metadata.resource_version, made.metadata.resource_version);
    let refused = api.replace("a", &PostParams::default(), &stale).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.is_conflict()));
}

/// architecture §4 rule 1: two managers of one list of conditions keep their own.
#[tokio::test]
async fn apply_keeps_other_managers_conditions_and_drops_what_a_manager_leaves_out() {
    let server = ApiServer::new();
    server.put(&fixtures::backup_storage("shop", "main"));
    let api: Api<BackupStorage> = Api::namespaced(server.client(), "shop");
    let apply = |manager: &'static str, status: Value| {
        let api = api.clone();
        async move {
            let patch = json!({ "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "BackupStorage", "status": status });
            api.patch_status("main", &PatchParams::apply(manager).force(), &Patch::Apply(&patch)).await.unwrap()
        }
    };
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    apply("one", json!({ "totalSize": "1 B", "conditions": [condition("A"), condition("B")] })).await;
    apply("two", json!({ "conditions": [condition("C")] })).await;
    let last = apply("one", json!({ "conditions": [condition("B")] })).await;
    let status = last.status.unwrap();
    let types: Vec<String> = status.conditions.iter().map(|condition| condition.type_.clone()).collect();
    assert_eq!(types, ["B", "C"]);
    assert_eq!(status.total_size, None, "left out by its manager");
    assert_eq!(status.phase.unwrap().as_str(), "Ready", "never applied by anybody");
}

#[tokio::test]
async fn the_status_endpoint_writes_status_only_and_the_other_one_never_does() {
    let server = ApiServer::new();
    server.put(&fixtures::backup_storage("shop", "main"));
    let api: Api<BackupStorage> = Api::namespaced(server.client(), "shop");
    let patch = json!({ "spec": { "default": true }, "status": { "phase": "NotReady" } });
    let written = api.patch_status("main", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!((written.spec.default, written.status.unwrap().phase.unwrap().as_str()), (None, "NotReady"));
    let patch = json!({ "spec": { "default": true }, "status": { "phase": "Ready" } });
    let written = api.patch("main", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert_eq!((written.spec.default, written.status.unwrap().phase.unwrap().as_str()), (Some(true), "NotReady"));
    assert_eq!(written.metadata.generation, Some(2));
}

#[tokio::test]
async fn finalizers_hold_and_dependents_follow() {
    let server = ApiServer::new();
    let owner = server.put::<ConfigMap>(&fixtures::object(
        json!({ "metadata": { "name": "owner", "namespace": "default", "finalizers": ["orlop.dev/test"] } }),
    ));
    let uid = owner.metadata.uid.unwrap();
    server.put(&fixtures::pod("default", "dependent", "node", Some(["v1", "ConfigMap", "owner", &uid])));
    let api: Api<ConfigMap> = Api::default_namespaced(server.client());
    api.delete("owner", &DeleteParams::background()).await.unwrap();
    assert!(api.get("owner").await.unwrap().metadata.deletion_timestamp.is_some());
    assert!(server.get::<Pod>("default", "dependent").is_some());
    let patch = json!({ "metadata": { "finalizers": [] } });
    api.patch("owner", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    assert!(server.get::<ConfigMap>("default", "owner").is_none());
    assert!(server.get::<Pod>("default", "dependent").is_none());
}

#[tokio::test]
async fn watches_hear_lists_changes_and_deletes() {
    let server = ApiServer::new();
    server.put(&config_map("a", "1"));
    let api: Api<ConfigMap> = Api::all(server.client());
    let mut events = watcher(api, watcher::Config::default()).boxed();
    let mut next = async || events.try_next().await.unwrap().unwrap();
    assert!(matches!(next().await, watcher::Event::Init));
    assert!(matches!(next().await, watcher::Event::InitApply(object) if object.metadata.name.as_deref() == Some("a")));
    assert!(matches!(next().await, watcher::Event::InitDone));
    server.put(&config_map("b", "1"));
    assert!(matches!(next().await, watcher::Event::Apply(object) if object.metadata.name.as_deref() == Some("b")));
    server.delete::<ConfigMap>("default", "a");
    assert!(matches!(next().await, watcher::Event::Delete(object) if object.metadata.name.as_deref() == Some("a")));
}

#[tokio::test]
async fn faults_and_records() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::default_namespaced(server.client());
    server.fail_next(Fault::Status(403, "Forbidden"), Matcher::of("create", "configmaps"));
    assert!(api.create(&PostParams::default(), &config_map("a", "1")).await.is_err());
    server.fail_next(Fault::AfterCommit(500), Matcher::of("create", "configmaps"));
    assert!(api.create(&PostParams::default(), &config_map("a", "1")).await.is_err());
    assert!(server.get::<ConfigMap>("default", "a").is_some(), "it took effect all the same");
    let verbs = server.verbs();
    assert_eq!(verbs[&(String::new(), "configmaps".to_owned())], BTreeSet::from(["create".to_owned()]));
    assert_eq!(server.requests().iter().map(|request| request.answer).collect::<Vec<_>>(), [403, 500]);
}
