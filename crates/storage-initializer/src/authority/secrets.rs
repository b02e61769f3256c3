//! Authority, certificates and keys as Secrets, and back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use service_kit::tls::CertificateStore;

use super::{
    certificates::{CertificateError, Issued},
    rotation::{AuthorityState, Predecessor, Successor, server_is_due},
    services::{CA_SECRET, JOB_PROOF_KEY, JOB_PROOF_SECRET, Service},
};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const AUTHORITY: &str = "ca.crt";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const OLD_CERTIFICATE: &str = "previous.crt";

const EXPIRES: &str = "orlop.dev/expires";
const NEXT_EXPIRES: &str = "orlop.dev/next-expires";
const NEXT_TRUSTED_SINCE: &str = "orlop.dev/next-trusted-since";
const OLD_EXPIRES: &str = "orlop.dev/previous-expires";
/// Names a certificate was issued for. Its presence marks a Secret as ours.
const SERVER_NAMES: &str = "orlop.dev/server-names";

const TLS_TYPE: &str = "kubernetes.io/tls";
const OPAQUE_TYPE: &str = "Opaque";

/// The Secret of the authority.
pub(super) fn of_authority(state: &AuthorityState, namespace: &str) -> Secret {
    let AuthorityState { certificate, key, not_after, successor, predecessor } = state;
    let mut data = vec![(CERTIFICATE, certificate.as_bytes()), (KEY, key.as_bytes())];
    let mut annotations = Vec::new();
    if let Some(end) = not_after {
        annotations.push((EXPIRES, end.to_string()));
    }
    if let Some(Successor { issued, trusted_since }) = successor {
        data.push((NEXT_CERTIFICATE, issued.certificate.as_bytes()));
        data.push((NEXT_KEY, issued.key.as_bytes()));
        annotations.push((NEXT_EXPIRES, issued.not_after.to_string()));
        annotations.push((NEXT_TRUSTED_SINCE, trusted_since.to_string()));
    }
    if let Some(Predecessor { certificate, not_after }) = predecessor {
        data.push((OLD_CERTIFICATE, certificate.as_bytes()));
        annotations.push((OLD_EXPIRES, not_after.to_string()));
    }
    secret(CA_SECRET, namespace, OPAQUE_TYPE, data, annotations)
}

/// What the Secret of the authority says.
pub(super) fn to_authority(secret: &Secret) -> Result<AuthorityState, CertificateError> {
    let unusable = |key| CertificateError::Unusable { secret: CA_SECRET, key };
    let required = |key: &'static str| text(secret, key).ok_or_else(|| unusable(key));
    let successor = match text(secret, NEXT_CERTIFICATE) {
        None => None,
        Some(certificate) => Some(Successor {
            issued: Issued {
                certificate,
                key: required(NEXT_KEY)?,
                not_after: time(secret, NEXT_EXPIRES).ok_or_else(|| unusable(NEXT_EXPIRES))?,
            },
            trusted_since: time(secret, NEXT_TRUSTED_SINCE).ok_or_else(|| unusable(NEXT_TRUSTED_SINCE))?,
        }),
    };
    let predecessor = match text(secret, OLD_CERTIFICATE) {
        None => None,
        Some(certificate) => {
            let not_after = time(secret, OLD_EXPIRES).ok_or_else(|| unusable(OLD_EXPIRES))?;
            Some(Predecessor { certificate, not_after })
        }
    };
    Ok(AuthorityState {
        certificate: required(CERTIFICATE)?,
        key: required(KEY)?,
        not_after: time(secret, EXPIRES),
        successor,
        predecessor,
    })
}

/// The TLS Secret of a service, in cert-manager's format.
pub(super) fn of_service(service: &Service, state: &AuthorityState, issued: &Issued, namespace: &str) -> Secret {
    let bundle = state.bundle();
    let data = vec![(CERTIFICATE, issued.certificate.as_bytes()), (KEY, issued.key.as_bytes()), (AUTHORITY, bundle.as_bytes())];
    let annotations = vec![(EXPIRES, issued.not_after.to_string()), (SERVER_NAMES, service.server_names.join(","))];
    secret(service.secret, namespace, TLS_TYPE, data, annotations)
}

/// The Secret with the key of Job proofs.
pub(super) fn of_job_proof(key: &[u8], namespace: &str) -> Secret {
    secret(JOB_PROOF_SECRET, namespace, OPAQUE_TYPE, vec![(JOB_PROOF_KEY, key)], Vec::new())
}

/// Why a TLS Secret needs nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Settled {
    /// Somebody else keeps it.
    NotOurs,
    /// It is ours and in order.
    InOrder,
}

/// Whether a TLS Secret needs nothing; `None` if it is ours and has to be issued anew.
pub(super) fn settled(secret: &Secret, service: &Service, state: &AuthorityState, now: Timestamp) -> Option<Settled> {
    let Some(names) = annotation(secret, SERVER_NAMES) else { return Some(Settled::NotOurs) };
    let in_order = names == service.server_names.join(",")
        && time(secret, EXPIRES).is_some_and(|end| !server_is_due(end, now))
        && text(secret, AUTHORITY).is_some_and(|bundle| bundle == state.bundle())
        && usable(secret);
    in_order.then_some(Settled::InOrder)
}

/// When the certificate in a Secret of ours ends.
pub(super) fn expiry(secret: &Secret) -> Option<Timestamp> {
    time(secret, EXPIRES)
}

fn usable(secret: &Secret) -> bool {
    let (Some(certificate), Some(key)) = (text(secret, CERTIFICATE), text(secret, KEY)) else { return false };
    CertificateStore::new().replace(certificate.as_bytes(), key.as_bytes()).is_ok()
}

fn secret(name: &str, namespace: &str, type_: &str, data: Vec<(&str, &[u8])>, annotations: Vec<(&str, String)>) -> Secret {
    let labels = [("app.kubernetes.io/managed-by", "orlop"), ("app.kubernetes.io/part-of", "orlop")];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            annotations: Some(annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ..ObjectMeta::default()
        },
        type_: Some(type_.to_owned()),
        data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).collect::<BTreeMap<_, _>>()),
        ..Secret::default()
    }
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty())
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn time(secret: &Secret, key: &str) -> Option<Timestamp> {
    annotation(secret, key)?.parse().ok()
}
