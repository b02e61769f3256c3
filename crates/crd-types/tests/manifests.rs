//! Manifests as people write them, read into the types and written again.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use crd_types::{
    Addon, BackupBlueprint, BackupConfiguration, BackupSession, BackupSessionPhase, BackupStorage, BackupVerifier, Function,
    HookTemplate, Repository, RestoreSession, RetentionPolicy, Snapshot,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

fn through<K: Serialize + DeserializeOwned>(document: &Value) -> Value {
    let object: K = serde_json::from_value(document.clone()).unwrap();
    serde_json::to_value(object).unwrap()
}

fn through_its_type(document: &Value) -> Value {
    match document["kind"].as_str().unwrap() {
        "Addon" => through::<Addon>(document),
        "BackupBlueprint" => through::<BackupBlueprint>(document),
        "BackupConfiguration" => through::<BackupConfiguration>(document),
        "BackupSession" => through::<BackupSession>(document),
        "BackupStorage" => through::<BackupStorage>(document),
        "BackupVerifier" => through::<BackupVerifier>(document),
        "Function" => through::<Function>(document),
        "HookTemplate" => through::<HookTemplate>(document),
        "Repository" => through::<Repository>(document),
        "RestoreSession" => through::<RestoreSession>(document),
        "RetentionPolicy" => through::<RetentionPolicy>(document),
        "Snapshot" => through::<Snapshot>(document),
        kind => panic!("no type for {kind}"),
    }
}

/// Manifests written for KubeStash work unchanged: reading loses nothing.
#[test]
fn nothing_is_lost_between_reading_and_writing() {
    let texts = [include_str!("manifests/first_backup.yaml"), include_str!("manifests/whole_house.yaml")];
    for document in texts.into_iter().flat_map(documents) {
        assert_eq!(through_its_type(&document), document, "{} {}", document["kind"], document["metadata"]["name"]);
    }
}

/// Specification 6.3 and 6.4: none of these may stop a watch.
#[test]
fn peculiar_manifests_are_read() {
    let documents = documents(include_str!("manifests/peculiar.yaml"));
    let [without_spec, empty_spec, without_target, null_group, future] = &documents[..] else { panic!("five documents") };
    for document in [without_spec, empty_spec] {
        let configuration: BackupConfiguration = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(configuration.spec, Default::default());
        assert_eq!(configuration.status, None);
    }
    let configuration: BackupConfiguration = serde_json::from_value(without_target.clone()).unwrap();
    assert_eq!(configuration.spec.target, None);
    let settings = configuration.spec.sessions[0].addon.as_ref().unwrap().container_runtime_settings.as_ref().unwrap();
    assert_eq!(settings.resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0, "1");
    let configuration: BackupConfiguration = serde_json::from_value(null_group.clone()).unwrap();
    assert_eq!(configuration.spec.target.unwrap().api_group, None);
    let session: BackupSession = serde_json::from_value(future.clone()).unwrap();
    assert_eq!(session.status.unwrap().phase, Some(BackupSessionPhase::Unrecognised));
}
