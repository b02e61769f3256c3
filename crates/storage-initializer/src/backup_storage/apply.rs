//! Looks at the backend and keeps `metadata.yaml`.

use crd_types::{RepositoryPhase, conditions};
use jiff::Timestamp;
use kube::ResourceExt as _;
use planner::layout::{
    METADATA_KEY,
    documents::{self, BackendMeta, RepositoryRecord},
};
use storage::{CreateIfAbsent, ProbeReport};

use super::{
    BackupStorages,
    dereference::{Observed, SecretLook},
    looks::Need,
};
use crate::{
    bucket::{Bucket, Created},
    references,
};

/// Attempts at `metadata.yaml` when another writer comes between.
const WRITE_ATTEMPTS: u32 = 3;

/// What condition `BackendSecretFound` should say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Secret {
    /// Nothing: no Secret is named.
    NotNamed,
    Found,
    Missing(String),
}

impl Secret {
    pub(super) fn of(look: &SecretLook) -> Self {
        match look {
            SecretLook::NotNamed => Self::NotNamed,
            SecretLook::Found(_) => Self::Found,
            SecretLook::Missing { name } => Self::Missing(name.clone()),
            SecretLook::Unreadable { message } => Self::Missing(message.clone()),
        }
    }
}

/// What condition `BackendInitialized` should say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Initialised {
    /// What it said before: nothing new is known.
    Unknown,
    Yes,
    No(String),
}

/// What condition `orlop.dev/StoreCapable` should say: whether, one word, a sentence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Capability {
    pub(super) capable: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Everything that one look came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) secret: Secret,
    pub(super) initialised: Initialised,
    /// Nothing new if absent.
    pub(super) capability: Option<Capability>,
    /// For metrics: `ok`, or why not.
    pub(super) result: &'static str,
}

impl Finding {
    /// Without credentials nothing can be looked at; what was known of the backend stays.
    pub(super) fn without_secret(message: String) -> Self {
        Self { secret: Secret::Missing(message), initialised: Initialised::Unknown, capability: None, result: "SecretMissing" }
    }

    pub(super) fn failed(secret: Secret, reason: &'static str, message: String) -> Self {
        Self { secret, initialised: Initialised::No(message), capability: None, result: reason }
    }

    /// Whether the storage can be used.
    pub(super) fn is_fine(&self) -> bool {
        self.initialised == Initialised::Yes
    }
}

/// Looks at the backend as far as is needed.
pub(super) async fn look(controller: &BackupStorages, observed: &Observed, need: Need, now: Timestamp) -> Finding {
    let finding = try_look(controller, observed, need, now).await;
    controller.context.metrics.probed(finding.result);
    finding
}

async fn try_look(controller: &BackupStorages, observed: &Observed, need: Need, now: Timestamp) -> Finding {
    let secret = Secret::of(&observed.secret);
    let credentials = match &observed.secret {
        SecretLook::Found(secret) => Some(secret.as_ref()),
        SecretLook::NotNamed | SecretLook::Missing { .. } | SecretLook::Unreadable { .. } => None,
    };
    let bucket = match controller.context.backends.open_with(&observed.storage, credentials) {
        Ok(bucket) => bucket,
        Err(error) => return Finding::failed(secret, error.reason(), error.to_string()),
    };
    let mut capability = None;
    if need == Need::Everything {
        let report = storage::probe_store(bucket.store(), bucket.place()).await;
        let judged = judge(&report);
        if let Some(message) = obstacle(&report) {
            let reason = judged.reason;
            let message = told_with_secret(message, observed);
            return Finding { capability: Some(judged), ..Finding::failed(secret, reason, message) };
        }
        capability = Some(judged);
    }
    match keep_metadata(&bucket, observed, now).await {
        Ok(written) => {
            if written {
                controller.context.metrics.uploaded("metadata", true);
            }
            Finding { secret, initialised: Initialised::Yes, capability, result: "ok" }
        }
        Err(problem) => {
            if problem.is_write {
                controller.context.metrics.uploaded("metadata", false);
            }
            Finding { capability, ..Finding::failed(secret, problem.reason, problem.message) }
        }
    }
}

/// The sentence with the Secret that the credentials came from, so that nobody has to look it up to correct it.
fn told_with_secret(message: String, observed: &Observed) -> String {
    let namespace = observed.storage.metadata.namespace.as_deref().unwrap_or_default();
    match planner::backend::secret_name(&observed.storage) {
        Some(name) => format!("{message} (credentials: Secret {namespace}/{name})"),
        None => message,
    }
}

/// What keeps the storage from being used: listing, reading and writing are needed. Deleting is not: an append-only
/// identity can back up, and retention says for itself that it may not remove (reliability D6).
pub(crate) fn obstacle(report: &ProbeReport) -> Option<String> {
    let ProbeReport { list, write, read, delete: _, create_if_absent: _, versioned: _ } = report;
    if let Err(error) = list {
        return Some(error.sentence());
    }
    [("write", write), ("read", read)].into_iter().find_map(|(what, trial)| match trial {
        Some(Err(error)) => Some(format!("cannot {what} a trial object: {}", error.sentence())),
        Some(Ok(())) | None => None,
    })
}

/// What the store does, in one word and one sentence. Each missing permission has a word of its own.
pub(super) fn judge(report: &ProbeReport) -> Capability {
    let ProbeReport { list, write, read, delete, create_if_absent, versioned: _ } = report;
    let trials = [
        ("ListDenied", list.as_ref().err()),
        ("WriteDenied", failure(write)),
        ("ReadDenied", failure(read)),
        ("DeleteDenied", failure(delete)),
    ];
    for (denied, trial) in trials {
        if let Some(error) = trial {
            let is_denial = error.kind() == storage::ErrorKind::AccessDenied;
            let reason = if is_denial { denied } else { error.kind().reason() };
            return Capability { capable: false, reason, message: error.sentence() };
        }
    }
    let incapable = |reason, message: &str| Capability { capable: false, reason, message: message.to_owned() };
    match create_if_absent {
        CreateIfAbsent::Honoured => Capability {
            capable: true,
            reason: conditions::reason::EVERYTHING_ALLOWED,
            message: "list, read, write, delete and create-if-absent work".to_owned(),
        },
        CreateIfAbsent::Ignored => incapable(
            "CreateIfAbsentIgnored",
            "the store overwrites objects that should only be created; backups work, races are settled by locks alone",
        ),
        CreateIfAbsent::Unsupported => incapable(
            "CreateIfAbsentUnsupported",
            "the store does not know create-if-absent; backups work, races are settled by locks alone",
        ),
        CreateIfAbsent::Unknown => {
            incapable(conditions::reason::SOMETHING_MISSING, "the store's create-if-absent could not be tried")
        }
    }
}

fn failure(trial: &Option<Result<(), storage::Error>>) -> Option<&storage::Error> {
    trial.as_ref().and_then(|trial| trial.as_ref().err())
}

struct Problem {
    reason: &'static str,
    message: String,
    is_write: bool,
}

impl From<storage::Error> for Problem {
    fn from(error: storage::Error) -> Self {
        Self { reason: error.kind().reason(), message: error.sentence(), is_write: true }
    }
}

impl From<documents::DocumentError> for Problem {
    fn from(error: documents::DocumentError) -> Self {
        Self { reason: "MetadataUnreadable", message: error.to_string(), is_write: false }
    }
}

/// Creates `metadata.yaml` if absent, or brings its list of Repositories up to date. Entries that this cluster knows
/// nothing of are kept: they belong to another one, or to one that is gone (architecture §4 rule 6).
async fn keep_metadata(bucket: &Bucket, observed: &Observed, now: Timestamp) -> Result<bool, Problem> {
    let ours = records(observed);
    for _ in 0..WRITE_ATTEMPTS {
        let Some(stored) = bucket.read(METADATA_KEY).await? else {
            let fresh = documents::backend_meta(now, concat!("v", env!("CARGO_PKG_VERSION")), &ours);
            match bucket.create(METADATA_KEY, &documents::to_yaml(&fresh)?).await? {
                Created::New => return Ok(true),
                Created::Existed => continue,
            }
        };
        let known = documents::parse_backend_meta(&stored.text)?;
        let Some(wanted) = refreshed(&known, &ours, observed) else { return Ok(false) };
        if bucket.replace(METADATA_KEY, &documents::to_yaml(&wanted)?, &stored).await? {
            return Ok(true);
        }
    }
    Err(Problem {
        reason: "MetadataContended",
        message: format!(
            "{METADATA_KEY} in {} is changed by somebody else all the time; look for a second installation on this prefix",
            bucket.place()
        ),
        is_write: true,
    })
}

/// The Repositories of this cluster as `metadata.yaml` lists them: those that were initialised.
pub(super) fn records(observed: &Observed) -> Vec<RepositoryRecord> {
    observed
        .repositories
        .iter()
        .filter_map(|repository| {
            let status = repository.status.as_ref()?;
            (status.phase == Some(RepositoryPhase::Ready)).then(|| RepositoryRecord {
                name: repository.name_any(),
                namespace: repository.namespace().unwrap_or_default(),
                path: repository.spec.path.clone().unwrap_or_default(),
                size: status.size.clone(),
                synced: Some(true),
                error: None,
            })
        })
        .collect()
}

/// The content with our entries brought up to date, if that changes anything.
pub(super) fn refreshed(known: &BackendMeta, ours: &[RepositoryRecord], observed: &Observed) -> Option<BackendMeta> {
    // Listed in our own status before: the entry was ours, and its object is gone on somebody's word.
    let was_ours = |record: &RepositoryRecord| {
        let status = observed.storage.status.as_ref();
        status.is_some_and(|status| {
            status
                .repositories
                .iter()
                .any(|known| known.name.as_deref() == Some(&record.name) && known.namespace.as_deref() == Some(&record.namespace))
        })
    };
    let is_ours = |record: &RepositoryRecord| {
        observed.repositories.iter().any(|repository| {
            repository.name_any() == record.name && references::namespace(repository.as_ref()) == record.namespace
        })
    };
    let foreign = known.repositories.iter().filter(|record| !is_ours(record) && !was_ours(record));
    let mut repositories: Vec<RepositoryRecord> = foreign.chain(ours).cloned().collect();
    repositories.sort_by(|one, other| (&one.namespace, &one.name, &one.path).cmp(&(&other.namespace, &other.name, &other.path)));
    (repositories != known.repositories).then(|| BackendMeta { repositories, ..known.clone() })
}
