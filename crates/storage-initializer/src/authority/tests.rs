#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::ByteString;
use service_kit::tls::CertificateStore;
use testkit::{ApiServer, fixtures};

use super::*;

const NAMESPACE: &str = "orlop-system";
const SECRETS: [&str; 5] =
    ["orlop-ca", "orlop-job-proof", "orlop-scheduler-tls", "orlop-session-controller-tls", "orlop-storage-initializer-tls"];

fn start() -> (ApiServer, Authority, Timestamp) {
    let server = ApiServer::new();
    let authority = Authority::new(server.client(), NAMESPACE, AuthorityMetrics::default());
    (server, authority, "2026-01-01T12:00:00Z".parse().unwrap())
}

fn text(server: &ApiServer, secret: &str, key: &str) -> String {
    let ByteString(bytes) = server.get::<Secret>(NAMESPACE, secret).unwrap().data.unwrap().remove(key).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn versions(server: &ApiServer) -> BTreeMap<String, Option<String>> {
    server
        .all::<Secret>()
        .into_iter()
        .map(|secret| (secret.metadata.name.unwrap_or_default(), secret.metadata.resource_version))
        .collect()
}

#[tokio::test]
async fn every_service_gets_a_usable_certificate() {
    let (server, authority, now) = start();
    authority.ensure(now).await.unwrap();
    assert_eq!(versions(&server).into_keys().collect::<Vec<_>>(), SECRETS);
    let certificate = text(&server, "orlop-scheduler-tls", "tls.crt");
    let key = text(&server, "orlop-scheduler-tls", "tls.key");
    assert!(CertificateStore::new().replace(certificate.as_bytes(), key.as_bytes()).unwrap());
    assert_eq!(text(&server, "orlop-scheduler-tls", "ca.crt").trim(), text(&server, "orlop-ca", "tls.crt").trim());
    let proof = server.get::<Secret>(NAMESPACE, "orlop-job-proof").unwrap().data.unwrap();
    assert_eq!(proof.get("key").unwrap().0.len(), 32);
}

/// I11: looking again changes nothing.
#[tokio::test]
async fn what_is_in_order_is_left_alone() {
    let (server, authority, now) = start();
    authority.ensure(now).await.unwrap();
    let before = versions(&server);
    authority.ensure(now.checked_add(SignedDuration::from_hours(24)).unwrap()).await.unwrap();
    assert_eq!(versions(&server), before);
}

#[tokio::test]
async fn a_missing_or_damaged_certificate_is_made_anew() {
    let (server, authority, now) = start();
    authority.ensure(now).await.unwrap();
    let authority_certificate = text(&server, "orlop-ca", "tls.crt");
    server.delete::<Secret>(NAMESPACE, "orlop-scheduler-tls");
    server.update::<Secret>(NAMESPACE, "orlop-session-controller-tls", |secret| {
        secret.data.as_mut().unwrap().insert("tls.key".to_owned(), ByteString(b"nonsense".to_vec()));
    });
    authority.ensure(now).await.unwrap();
    for secret in ["orlop-scheduler-tls", "orlop-session-controller-tls"] {
        let (certificate, key) = (text(&server, secret, "tls.crt"), text(&server, secret, "tls.key"));
        CertificateStore::new().replace(certificate.as_bytes(), key.as_bytes()).unwrap();
    }
    assert_eq!(text(&server, "orlop-ca", "tls.crt"), authority_certificate);
}

/// Architecture §7: replaceable by cert-manager.
#[tokio::test]
async fn somebody_elses_secret_is_left_alone() {
    let (server, authority, now) = start();
    server.put(&fixtures::secret(NAMESPACE, "orlop-scheduler-tls", "tls.crt", "kept by cert-manager"));
    authority.ensure(now).await.unwrap();
    assert_eq!(text(&server, "orlop-scheduler-tls", "tls.crt"), "kept by cert-manager");
}

/// Architecture §7: old and new authority are trusted together, and the certificate in force always verifies by the
/// bundle that pods carry.
#[tokio::test]
async fn a_rotation_keeps_every_bundle_in_use_valid() {
    let (server, authority, start) = start();
    let day = |days: i64| start.checked_add(SignedDuration::from_hours(24 * days)).unwrap();
    authority.ensure(day(0)).await.unwrap();
    let first = text(&server, "orlop-ca", "tls.crt");
    let count = |server: &ApiServer| text(server, "orlop-scheduler-tls", "ca.crt").matches("BEGIN CERTIFICATE").count();

    authority.ensure(day(645)).await.unwrap();
    assert_eq!((count(&server), text(&server, "orlop-ca", "tls.crt") == first), (2, true));
    authority.ensure(day(691)).await.unwrap();
    assert_eq!((count(&server), text(&server, "orlop-ca", "tls.crt") == first), (2, false));
    assert!(text(&server, "orlop-scheduler-tls", "ca.crt").contains(first.trim()));
    authority.ensure(day(731)).await.unwrap();
    assert_eq!(count(&server), 1);
}

#[tokio::test]
async fn server_certificates_are_renewed_in_time() {
    let (server, authority, start) = start();
    let day = |days: i64| start.checked_add(SignedDuration::from_hours(24 * days)).unwrap();
    authority.ensure(day(0)).await.unwrap();
    let first = text(&server, "orlop-scheduler-tls", "tls.crt");
    authority.ensure(day(50)).await.unwrap();
    assert_eq!(text(&server, "orlop-scheduler-tls", "tls.crt"), first);
    authority.ensure(day(62)).await.unwrap();
    assert_ne!(text(&server, "orlop-scheduler-tls", "tls.crt"), first);
}

/// Two leaders for a moment (reliability B2): one authority comes of it.
#[tokio::test]
async fn two_leaders_agree_on_one_authority() {
    let (server, one, now) = start();
    let other = Authority::new(server.client(), NAMESPACE, AuthorityMetrics::default());
    let (first, second) = tokio::join!(one.ensure(now), other.ensure(now));
    first.unwrap();
    second.unwrap();
    let bundle = text(&server, "orlop-scheduler-tls", "ca.crt");
    assert_eq!(bundle.trim(), text(&server, "orlop-ca", "tls.crt").trim());
}
