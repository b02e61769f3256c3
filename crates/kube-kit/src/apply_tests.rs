#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::{BackupConfiguration, BackupSession};
use k8s_openapi::api::core::v1::ConfigMap;
use testkit::{ApiServer, Fault, Matcher, fixtures};

use super::*;
use crate::{finalize, status};

const MANAGER: &str = "orlop-test";

fn config_map(value: &str) -> ConfigMap {
    fixtures::object(json!({ "metadata": { "name": "a", "namespace": "shop" }, "data": { "key": value } }))
}

/// architecture §4 rule 2: AlreadyExists is success only for the same object.
#[tokio::test]
async fn an_existing_object_counts_only_if_owner_and_spec_agree() {
    let server = ApiServer::new();
    let owner = server.put(&fixtures::backup_configuration("shop", "web-backup"));
    let api: Api<BackupSession> = Api::namespaced(server.client(), "shop");
    let wanted = fixtures::backup_session(&owner, "one");
    assert!(create_if_absent(&api, &wanted).await.unwrap().created);
    let again = create_if_absent(&api, &wanted).await.unwrap();
    assert!(!again.created);

    let mut other_spec = wanted.clone();
    other_spec.spec.retry_left = Some(5);
    let refusal = create_if_absent(&api, &other_spec).await.unwrap_err();
    assert!(matches!(&refusal, ApplyError::NotOurs { difference, .. } if difference == "spec.retryLeft differs"), "{refusal}");
    assert!(create_if_absent_matching(&api, &other_spec, Match::Owner).await.is_ok());

    let mut other_owner = wanted.clone();
    other_owner.metadata.owner_references.as_mut().unwrap()[0].uid = "somebody-else".to_owned();
    let refusal = create_if_absent_matching(&api, &other_owner, Match::Owner).await.unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "BackupSession shop/one exists and is not ours (it is not owned by BackupConfiguration web-backup): rename or remove it"
    );
}

#[tokio::test]
async fn a_name_that_was_shortened_to_the_same_is_told_apart_by_its_tuple() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "shop");
    let with_tuple = |tuple: &str| {
        let mut object = config_map("1");
        object.metadata.annotations = Some([(TUPLE_ANNOTATION.to_owned(), tuple.to_owned())].into());
        object
    };
    create_if_absent(&api, &with_tuple("one")).await.unwrap();
    assert!(create_if_absent(&api, &with_tuple("one")).await.is_ok());
    let refusal = create_if_absent(&api, &with_tuple("two")).await.unwrap_err();
    assert!(matches!(refusal, ApplyError::NotOurs { .. }));
}

/// reliability B3: a create whose answer was lost is accepted the next time, not doubled.
#[tokio::test]
async fn a_create_that_worked_without_saying_so_is_found() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "shop");
    server.fail_next(Fault::AfterCommit(504), Matcher::of("create", "configmaps"));
    let failure = create_if_absent(&api, &config_map("1")).await.unwrap_err();
    assert!(failure.is_retryable());
    assert!(!create_if_absent(&api, &config_map("1")).await.unwrap().created);
    assert_eq!(server.all::<ConfigMap>().len(), 1);
}

#[tokio::test]
async fn a_delete_spares_a_recreated_object() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "shop");
    let first = server.put(&config_map("1"));
    server.delete::<ConfigMap>("shop", "a");
    server.put(&config_map("2"));
    assert_eq!(Deletion::background().run(&api, &first).await.unwrap(), Deleted::Gone);
    let second = server.get::<ConfigMap>("shop", "a").unwrap();
    assert_eq!(Deletion::background().run(&api, &second).await.unwrap(), Deleted::Asked);
    assert_eq!(Deletion::background().run(&api, &second).await.unwrap(), Deleted::Gone);
}

#[tokio::test]
async fn apply_removes_what_it_no_longer_states_and_sends_no_status() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "shop");
    let mut object = config_map("1");
    object.data.as_mut().unwrap().insert("other".to_owned(), "2".to_owned());
    apply(&api, MANAGER, &object).await.unwrap();
    let applied = apply(&api, MANAGER, &config_map("1")).await.unwrap();
    assert_eq!(applied.data.unwrap().into_keys().collect::<Vec<_>>(), ["key"]);
}

/// architecture §4 rule 1: a write that changes a phase is refused when the object moved on.
#[tokio::test]
async fn a_guarded_status_write_notices_a_change() {
    let server = ApiServer::new();
    let read = server.put(&fixtures::backup_configuration("shop", "web-backup"));
    let api: Api<BackupConfiguration> = Api::namespaced(server.client(), "shop");
    let fields = json!({ "targetFound": true });
    let written = status::apply_status(&api, MANAGER, &read, &fields, status::Guard::Version).await.unwrap();
    assert_eq!(written.status.unwrap().target_found, Some(true));
    let fields = json!({ "targetFound": false });
    let refusal = status::apply_status(&api, MANAGER, &read, &fields, status::Guard::Version).await.unwrap_err();
    assert!(matches!(refusal, status::StatusError::Conflict { .. }));
    assert!(status::apply_status(&api, MANAGER, &read, &fields, status::Guard::None).await.is_ok());
    server.delete::<BackupConfiguration>("shop", "web-backup");
    let refusal = status::apply_status(&api, MANAGER, &read, &fields, status::Guard::None).await.unwrap_err();
    assert!(matches!(refusal, status::StatusError::Gone { .. }));
}

#[tokio::test]
async fn finalizers_come_and_go_and_others_stay() {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "shop");
    let mut object = config_map("1");
    object.metadata.finalizers = Some(vec!["other.dev/keep".to_owned()]);
    let object = server.put(&object);
    let held = finalize::add(&api, MANAGER, &object, "orlop.dev/test").await.unwrap();
    assert!(finalize::has(&held, "orlop.dev/test"));
    let stale = finalize::remove(&api, MANAGER, &object, "other.dev/keep").await;
    assert!(stale.unwrap_err().is_conflict(), "a list read before another change is not written back");
    finalize::remove(&api, MANAGER, &held, "orlop.dev/test").await.unwrap();
    assert_eq!(server.get::<ConfigMap>("shop", "a").unwrap().metadata.finalizers.unwrap(), ["other.dev/keep"]);
    server.delete::<ConfigMap>("shop", "a");
    let marked = server.get::<ConfigMap>("shop", "a").unwrap();
    finalize::remove(&api, MANAGER, &marked, "other.dev/keep").await.unwrap();
    assert!(finalize::remove(&api, MANAGER, &marked, "other.dev/keep").await.is_ok(), "gone is fine");
}

#[tokio::test]
async fn a_namespace_that_is_gone_or_going_needs_no_care() {
    let server = ApiServer::new();
    let client = server.client();
    assert!(finalize::namespace_terminating(&client, "shop").await.unwrap());
    server.put(&fixtures::namespace("shop"));
    assert!(!finalize::namespace_terminating(&client, "shop").await.unwrap());
}
