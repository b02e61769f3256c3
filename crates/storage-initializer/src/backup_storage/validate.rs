//! Rules that need more than one object (specification §1.6), checked at every use.

use crd_types::NamespacesFrom;
use kube::ResourceExt as _;

use super::{
    apply::{Finding, Secret},
    dereference::{Observed, SecretLook},
};

/// Whether the storage can be looked at at all.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// It can.
    Usable,
    /// It cannot, for this reason.
    Refused(Finding),
}

pub(super) fn validate(observed: &Observed) -> Verdict {
    let namespace = observed.storage.namespace().unwrap_or_default();
    match &observed.secret {
        SecretLook::Missing { name } => {
            let message = format!("Secret {namespace}/{name} does not exist; create it, backups go on by themselves");
            return Verdict::Refused(Finding::without_secret(message));
        }
        SecretLook::Unreadable { message } => {
            return Verdict::Refused(Finding::without_secret(message.clone()));
        }
        SecretLook::NotNamed | SecretLook::Found(_) => {}
    }
    let secret = Secret::of(&observed.secret);
    if selector_is_missing(observed) {
        let message = format!(
            "BackupStorage {} says usagePolicy.allowedNamespaces.from: Selector and has no selector; add one",
            observed.display()
        );
        return Verdict::Refused(Finding::failed(secret, "InvalidUsagePolicy", message));
    }
    if let Some(rival) = observed.rivals.first() {
        let message = format!(
            "BackupStorage {} is the same place as the older BackupStorage {rival}; use that one, or another bucket or \
             prefix",
            observed.display()
        );
        return Verdict::Refused(Finding::failed(secret, "PlaceTaken", message));
    }
    if let Some(other) = observed.defaults.first() {
        let message = format!(
            "BackupStorage {other} is the default of namespace {namespace} already; set spec.default: false on BackupStorage {}",
            observed.display()
        );
        return Verdict::Refused(Finding::failed(secret, "SecondDefault", message));
    }
    Verdict::Usable
}

fn selector_is_missing(observed: &Observed) -> bool {
    let policy = observed.storage.spec.usage_policy.as_ref();
    policy
        .and_then(|policy| policy.allowed_namespaces.as_ref())
        .is_some_and(|allowed| allowed.from == Some(NamespacesFrom::Selector) && allowed.selector.is_none())
}
