#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crd_types::BackupStorage;
use k8s_openapi::ByteString;
use rstest::rstest;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

fn storage(backend: &Value) -> BackupStorage {
    serde_json::from_value(json!({
        "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "BackupStorage",
        "metadata": {"namespace": "demo", "name": "main"},
        "spec": {"storage": backend},
    }))
    .unwrap()
}

fn secret(pairs: &[(&str, &str)]) -> SecretData {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))).collect()
}

fn s3_secret() -> SecretData {
    secret(&[("AWS_ACCESS_KEY_ID", "canary-access-key\n"), ("AWS_SECRET_ACCESS_KEY", "canary-secret-key"), ("CA_CERT_DATA", PEM)])
}

#[test]
fn s3_is_described_as_written() {
    let storage = storage(&json!({"provider": "s3", "s3": {
        "endpoint": "https://store.example:9000/", "bucket": "b/", "region": "us-east-1",
        "prefix": "/cluster1/", "secretName": "keys", "insecureTLS": true, "maxConnections": 7,
    }}));
    assert_eq!(secret_name(&storage), Some("keys"));
    let description = describe(&storage, Some(&s3_secret())).unwrap();
    let Location::S3 { endpoint, bucket, region, prefix, insecure_tls } = &description.location else {
        panic!("{description:?}");
    };
    assert_eq!(endpoint.as_deref(), Some("https://store.example:9000"));
    assert_eq!((bucket.as_str(), prefix.as_str()), ("b", "cluster1"));
    assert_eq!(region.as_deref(), Some("us-east-1"));
    assert!(insecure_tls);
    assert_eq!(description.max_connections, Some(7));
    assert!(description.ca_bundle.is_some());
    let Credentials::S3 { access_key_id, .. } = &description.credentials else {
        panic!("an access key is given");
    };
    assert_eq!(access_key_id.expose_secret(), "canary-access-key");
}

/// Reliability S-60: a description can be logged.
#[test]
fn no_secret_is_printed() {
    let storage = storage(&json!({"provider": "s3", "s3": {"bucket": "b", "secretName": "keys"}}));
    let description = describe(&storage, Some(&s3_secret())).unwrap();
    assert!(!format!("{description:?}").contains("canary"));
    let broken = secret(&[("AWS_ACCESS_KEY_ID", "canary")]);
    let error = describe(&storage, Some(&broken)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
}

#[rstest]
#[case(json!({"provider": "s3", "s3": {"bucket": "b"}}))]
#[case(json!({"provider": "gcs", "gcs": {"bucket": "b"}}))]
#[case(json!({"provider": "azure", "azure": {"container": "c", "storageAccount": "a"}}))]
fn without_a_secret_the_process_identity_is_used(#[case] backend: Value) {
    let description = describe(&storage(&backend), None).unwrap();
    assert!(matches!(description.credentials, Credentials::Ambient));
}

#[test]
fn the_other_providers_are_described() {
    let gcs = storage(&json!({"provider": "gcs", "gcs": {"bucket": "b", "prefix": "p", "secretName": "keys"}}));
    let keys = secret(&[("GOOGLE_SERVICE_ACCOUNT_JSON_KEY", "{}"), ("GOOGLE_PROJECT_ID", "x")]);
    let description = describe(&gcs, Some(&keys)).unwrap();
    assert!(matches!(description.credentials, Credentials::Gcs { .. }));

    let azure = storage(&json!({"provider": "azure", "azure": {
        "container": "c", "storageAccount": "account", "secretName": "keys", "maxConnections": -1,
    }}));
    let description = describe(&azure, Some(&secret(&[("AZURE_ACCOUNT_KEY", "k")]))).unwrap();
    assert!(matches!(description.location, Location::Azure { ref account, .. } if account == "account"));
    assert_eq!(description.max_connections, None);

    let local = storage(&json!({"provider": "local", "local": {
        "mountPath": "/backups/", "subPath": "team-a", "persistentVolumeClaim": {"claimName": "archive"},
    }}));
    let description = describe(&local, None).unwrap();
    assert!(matches!(description.location, Location::Local { ref mount_path, .. } if mount_path == "/backups"));

    let certificates = storage(&json!({"provider": "s3", "s3": {"bucket": "b", "secretName": "ca"}}));
    let description = describe(&certificates, Some(&secret(&[("CA_CERT_DATA", PEM)]))).unwrap();
    assert!(matches!(description.credentials, Credentials::Ambient));
}

/// Every mistake names the storage and the remedy; none breaks the process (reliability Z-01).
#[rstest]
#[case(json!(null), "does not set spec.storage;")]
#[case(json!({}), "does not set spec.storage.provider")]
#[case(json!({"provider": "swift"}), "unknown provider \"swift\"")]
#[case(json!({"provider": "S3", "s3": {"bucket": "b"}}), "unknown provider \"S3\"")]
#[case(json!({"provider": "s3"}), "does not set spec.storage.s3;")]
#[case(json!({"provider": "s3", "s3": {"bucket": "/"}}), "does not set spec.storage.s3.bucket")]
#[case(json!({"provider": "s3", "s3": {"bucket": "b/c"}}), "put directories into prefix")]
#[case(json!({"provider": "s3", "s3": {"bucket": "b", "prefix": "../x"}}), "`..`")]
#[case(json!({"provider": "s3", "s3": {"bucket": "b", "endpoint": "ftp://x"}}), "https://")]
#[case(json!({"provider": "s3", "s3": {"bucket": "b", "secretName": "gone"}}), "Secret demo/gone does not exist")]
#[case(json!({"provider": "gcs"}), "spec.storage.gcs")]
#[case(json!({"provider": "azure", "azure": {"container": "c"}}), "storageAccount")]
#[case(json!({"provider": "local", "local": {"mountPath": "/b"}}), "hostPath")]
#[case(json!({"provider": "local", "local": {"mountPath": "b", "hostPath": {"path": "/x"}}}), "absolute path")]
#[case(json!({"provider": "local", "local": {"mountPath": "/b", "subPath": "../x", "hostPath": {"path": "/x"}}}), "relative path")]
#[case(json!({"provider": "local", "local": {"hostPath": {"path": "/x"}}}), "mountPath")]
fn mistakes_in_a_storage_are_named(#[case] backend: Value, #[case] words: &str) {
    let sentence = describe(&storage(&backend), None).unwrap_err().to_string();
    assert!(sentence.contains(words), "{sentence}");
    assert!(sentence.contains("BackupStorage demo/main"), "{sentence}");
}

#[rstest]
#[case(&[], "lacks the key AWS_ACCESS_KEY_ID")]
#[case(&[("AWS_ACCESS_KEY_ID", "a")], "lacks the key AWS_SECRET_ACCESS_KEY")]
#[case(&[("AWS_ACCESS_KEY_ID", "  \n"), ("AWS_SECRET_ACCESS_KEY", "b")], "lacks the key AWS_ACCESS_KEY_ID")]
#[case(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("CA_CERT_DATA", "nonsense")], "not a certificate")]
fn mistakes_in_a_secret_are_named(#[case] pairs: &[(&str, &str)], #[case] words: &str) {
    let storage = storage(&json!({"provider": "s3", "s3": {"bucket": "b", "secretName": "keys"}}));
    let error = describe(&storage, Some(&secret(pairs))).unwrap_err();
    let sentence = error.to_string();
    assert!(sentence.contains(words), "{sentence}");
    assert!(sentence.contains("Secret demo/keys") || sentence.contains("its Secret demo/keys"), "{sentence}");
    assert_eq!(error.reason(), "InvalidSecret");
}

#[test]
fn a_password_is_taken_byte_for_byte() {
    let read = |data: &SecretData| password(data, "demo/password", "Repository demo/web");
    let data = secret(&[("RESTIC_PASSWORD", " with blanks \n")]);
    assert_eq!(read(&data).unwrap().expose_secret(), " with blanks \n");
    let lacking = read(&secret(&[])).unwrap_err().to_string();
    assert_eq!(lacking, "Repository demo/web: its Secret demo/password lacks the key RESTIC_PASSWORD; add it");
    assert!(read(&secret(&[("RESTIC_PASSWORD", "")])).is_err());
    let binary = SecretData::from([("RESTIC_PASSWORD".to_owned(), ByteString(vec![0xff]))]);
    assert!(read(&binary).unwrap_err().to_string().contains("UTF-8"));
}

/// Specification §1.6 and §8 row 23.
#[rstest]
#[case(json!({"provider": "s3", "s3": {"bucket": "b", "prefix": "p", "endpoint": "http://a"}}),
       json!({"provider": "s3", "s3": {"bucket": "b/", "prefix": "/p/", "endpoint": "http://A/"}}), true)]
#[case(json!({"provider": "s3", "s3": {"bucket": "b", "prefix": "p", "endpoint": "http://a"}}),
       json!({"provider": "s3", "s3": {"bucket": "b", "prefix": "p", "endpoint": "http://b"}}), false)]
#[case(json!({"provider": "s3", "s3": {"bucket": "b"}}), json!({"provider": "gcs", "gcs": {"bucket": "b"}}), false)]
#[case(json!({"provider": "gcs", "gcs": {"bucket": "b"}}), json!({"provider": "gcs", "gcs": {"bucket": "b"}}), true)]
#[case(json!({"provider": "gcs", "gcs": {"bucket": "b"}}), json!({"provider": "gcs", "gcs": {"bucket": "b", "prefix": "p"}}), false)]
#[case(json!({"provider": "azure", "azure": {"container": "c", "storageAccount": "a"}}),
       json!({"provider": "azure", "azure": {"container": "c", "storageAccount": "b"}}), false)]
#[case(json!({"provider": "local", "local": {"mountPath": "/b"}}), json!({"provider": "local", "local": {"mountPath": "/b"}}), false)]
#[case(json!({"provider": "s3"}), json!({"provider": "s3"}), false)]
fn one_place_one_storage(#[case] one: Value, #[case] other: Value, #[case] expected: bool) {
    assert_eq!(same_place(&storage(&one), &storage(&other)), expected);
}
