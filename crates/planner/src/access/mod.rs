//! Who may use what: usage policies, the consent of a Secret's owner, restores across namespaces,
//! and which object is meant where none is named (architecture §7, specification §1.2.1, §1.6).
//!
//! The boundary is the controller: these checks are made at every use, not at admission alone, so
//! that a policy or a namespace's labels changed today count today (reliability S-04).

use std::{collections::BTreeMap, fmt, str::FromStr};

use crd_types::{BackupStorage, NamespacesFrom, ObjectReference, RetentionPolicy, UsagePolicy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use thiserror::Error;

/// Annotation by which a Secret's owner lets other namespaces use it: their names, separated by
/// commas, or `*`.
pub const ALLOW_NAMESPACES_ANNOTATION: &str = crd_types::annotations::ALLOW_NAMESPACES;

/// An object that is used by somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Subject {
    /// The object of that kind, namespace and name.
    pub fn new(kind: &'static str, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Why an object may not be used. The message names the object and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its usage policy leaves the namespace out.
    #[error(
        "{subject} may not be used from namespace {consumer}: {policy}; let its owner change spec.usagePolicy.allowedNamespaces"
    )]
    NotAdmitted {
        /// The object.
        subject: Subject,
        /// The namespace that wants to use it.
        consumer: String,
        /// What the policy says.
        policy: String,
    },
    /// The Secret's owner has not agreed.
    #[error(
        "{secret} may not be used from namespace {consumer}; let its owner annotate it with {ALLOW_NAMESPACES_ANNOTATION}: {consumer}"
    )]
    NoConsent {
        /// The Secret.
        secret: Subject,
        /// The namespace that wants to use it.
        consumer: String,
    },
    /// Secrets of other namespaces are ruled out altogether.
    #[error(
        "{secret} may not be used from namespace {consumer}: the installation denies Secrets of other namespaces; \
         copy it into namespace {consumer}"
    )]
    Denied {
        /// The Secret.
        secret: Subject,
        /// The namespace that wants to use it.
        consumer: String,
    },
    /// Nothing says where the password is.
    #[error("{repository} has no encryption Secret; name one with the key RESTIC_PASSWORD in {field}")]
    NoPassword {
        /// The Repository.
        repository: Subject,
        /// Where to name it.
        field: &'static str,
    },
}

impl Refusal {
    /// The refusal as one word for conditions, events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotAdmitted { .. } => "UsagePolicyDenied",
            Self::NoConsent { .. } => "SecretConsentMissing",
            Self::Denied { .. } => "CrossNamespaceSecretDenied",
            Self::NoPassword { .. } => "EncryptionSecretMissing",
        }
    }
}

/// Whether a usage policy admits a namespace with these labels.
///
/// A missing policy means the object's own namespace; one that does not say from where admits
/// nobody, as in KubeStash.
///
/// # Errors
/// If it does not.
pub fn admits(
    policy: Option<&UsagePolicy>,
    subject: &Subject,
    consumer: &str,
    consumer_labels: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    let refuse = |policy: &str| {
        Err(Refusal::NotAdmitted { subject: subject.clone(), consumer: consumer.to_owned(), policy: policy.to_owned() })
    };
    let same = || {
        if consumer == subject.namespace { Ok(()) } else { refuse("it admits its own namespace only") }
    };
    let Some(policy) = policy else {
        return same();
    };
    let allowed = policy.allowed_namespaces.as_ref();
    match allowed.and_then(|allowed| allowed.from) {
        Some(NamespacesFrom::All) => Ok(()),
        Some(NamespacesFrom::Same) => same(),
        Some(NamespacesFrom::Selector) => match allowed.and_then(|allowed| allowed.selector.as_ref()) {
            Some(selector) if matches(selector, consumer_labels) => Ok(()),
            Some(_) => refuse("its selector does not match the namespace's labels"),
            None => refuse("it says from: Selector and has no selector"),
        },
        Some(NamespacesFrom::Unrecognised) => refuse("its from is none of All, Selector and Same"),
        None => refuse("it does not say from where"),
    }
}

/// Whether a label selector matches. An empty one matches everything; an operator nobody knows,
/// nothing.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let LabelSelector { match_labels, match_expressions } = selector;
    let labelled = match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    labelled
        && match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(&expression.key);
            let listed = || {
                let mut values = expression.values.iter().flatten();
                value.is_some_and(|value| values.any(|one| one == value))
            };
            match expression.operator.as_str() {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// What the installation says about Secrets of other namespaces: chart value
/// `crossNamespaceSecrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecretRule {
    /// With the consent of the Secret's owner.
    #[default]
    Consent,
    /// Always.
    Allow,
    /// Never.
    Deny,
}

impl FromStr for SecretRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "consent" => Ok(Self::Consent),
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err(format!("{text:?} is no rule for Secrets of other namespaces; use consent, allow or deny")),
        }
    }
}

/// Whether a Secret may be used from a namespace. `metadata` is the Secret's.
///
/// # Errors
/// If it is another namespace's and the rule or its owner says no.
pub fn secret_use(rule: SecretRule, secret: &Subject, metadata: &ObjectMeta, consumer: &str) -> Result<(), Refusal> {
    if secret.namespace == consumer {
        return Ok(());
    }
    let agreed = || {
        let allowed = metadata.annotations.as_ref().and_then(|annotations| annotations.get(ALLOW_NAMESPACES_ANNOTATION));
        allowed.is_some_and(|allowed| allowed.split(',').map(str::trim).any(|one| one == "*" || one == consumer))
    };
    match rule {
        SecretRule::Allow => Ok(()),
        SecretRule::Consent if agreed() => Ok(()),
        SecretRule::Consent => Err(Refusal::NoConsent { secret: secret.clone(), consumer: consumer.to_owned() }),
        SecretRule::Deny => Err(Refusal::Denied { secret: secret.clone(), consumer: consumer.to_owned() }),
    }
}

/// The Secret a reference in `namespace` means.
pub fn secret_of(reference: &ObjectReference, namespace: &str) -> Subject {
    let namespace = reference.namespace.as_deref().filter(|named| !named.is_empty()).unwrap_or(namespace);
    Subject::new("Secret", namespace, &reference.name)
}

/// The password of a backup or of retention: the Repository's Secret. Whether it may be used is
/// [`secret_use`], asked for the Repository's namespace.
///
/// # Errors
/// If the Repository names none.
pub fn backup_password(repository: &Subject, encryption_secret: Option<&ObjectReference>) -> Result<Subject, Refusal> {
    encryption_secret.map(|reference| secret_of(reference, &repository.namespace)).ok_or_else(|| Refusal::NoPassword {
        repository: repository.clone(),
        field: "sessions[].repositories[].encryptionSecret",
    })
}

/// The password of a restore into `consumer`: the session's own Secret if it names one, else the
/// Repository's (architecture §7). Whether it may be used is [`secret_use`], asked for `consumer`;
/// whether the storage may, [`admits`].
///
/// # Errors
/// If neither names one.
pub fn restore_password(
    consumer: &str,
    own: Option<&ObjectReference>,
    repository: &Subject,
    encryption_secret: Option<&ObjectReference>,
) -> Result<Subject, Refusal> {
    let own = own.map(|reference| secret_of(reference, consumer));
    let of_repository = || encryption_secret.map(|reference| secret_of(reference, &repository.namespace));
    own.or_else(of_repository)
        .ok_or_else(|| Refusal::NoPassword { repository: repository.clone(), field: "dataSource.encryptionSecret" })
}

/// The BackupStorage meant where a backend names none (specification §1.6): a default one of the
/// namespace itself, then one whose selector matches, then one open to all.
pub fn default_storage<'a>(
    storages: impl IntoIterator<Item = &'a BackupStorage>,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'a BackupStorage> {
    let eligible = storages.into_iter().filter(|storage| storage.spec.default.unwrap_or_default());
    choose_default(eligible, namespace, labels, |storage| (&storage.metadata, storage.spec.usage_policy.as_ref()))
}

/// The RetentionPolicy meant where a backend names none; the same order as [`default_storage`].
pub fn default_retention_policy<'a>(
    policies: impl IntoIterator<Item = &'a RetentionPolicy>,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'a RetentionPolicy> {
    let eligible = policies.into_iter().filter(|policy| policy.spec.default.unwrap_or_default());
    choose_default(eligible, namespace, labels, |policy| (&policy.metadata, policy.spec.usage_policy.as_ref()))
}

/// Of several on one step the first by namespace and name, so that the choice does not wander.
fn choose_default<'a, T>(
    eligible: impl Iterator<Item = &'a T>,
    namespace: &str,
    labels: &BTreeMap<String, String>,
    parts: impl Fn(&'a T) -> (&'a ObjectMeta, Option<&'a UsagePolicy>),
) -> Option<&'a T> {
    let step = |object: &'a T| {
        let (metadata, policy) = parts(object);
        let from = match policy {
            None => NamespacesFrom::Same,
            Some(policy) => policy.allowed_namespaces.as_ref()?.from?,
        };
        let selector = policy.and_then(|policy| policy.allowed_namespaces.as_ref()).and_then(|allowed| allowed.selector.as_ref());
        let own = metadata.namespace.as_deref() == Some(namespace);
        match from {
            NamespacesFrom::Same => own.then_some(0),
            NamespacesFrom::Selector => selector.is_some_and(|selector| matches(selector, labels)).then_some(1),
            NamespacesFrom::All => Some(2),
            NamespacesFrom::Unrecognised => None,
        }
    };
    eligible
        .filter(|object| parts(*object).0.deletion_timestamp.is_none())
        .filter_map(|object| step(object).map(|step| (step, object)))
        .min_by_key(|(step, object)| {
            let metadata = parts(*object).0;
            (*step, metadata.namespace.clone(), metadata.name.clone())
        })
        .map(|(_, object)| object)
}

#[cfg(test)]
mod tests;
