//! Whether what was found can be restored (specification §2.7 steps 1 and 3, architecture §7).

use crd_types::{BackupStorage, BackupStoragePhase, ResourceFoundStatus, RestoreSession, Snapshot};
use kube::ResourceExt as _;
use planner::access::{Subject, admits, restore_password};
use planner::decision::Reason;
use planner::restore::{Choice, SourceError, Validation, check_named, components, newest, restore_policy};
use planner::workload::TargetKind;

use super::dereference::Source;

const STEP: &str = "validate";

/// What the planner asks for, and what the Jobs need besides.
pub(super) struct Validated {
    pub validation: Validation,
    /// The Snapshot that is restored.
    pub snapshot: Option<String>,
    /// The paths that it holds.
    pub paths: Vec<String>,
    /// Namespace and name of the BackupStorage that it lies in.
    pub storage: Option<String>,
}

/// Validates a data source.
pub(super) fn validate(session: &RestoreSession, source: &Source) -> Validated {
    let mut dependencies = Vec::new();
    let outcome = examine(session, source);
    let chosen = outcome.as_ref().ok().map(|found| found.snapshot.clone());
    if let Some(name) = chosen.as_ref().or(source.wanted.as_ref()) {
        dependencies.push(ResourceFoundStatus {
            kind: Some("Snapshot".to_owned()),
            name: name.clone(),
            namespace: Some(source.namespace.clone()),
            found: Some(chosen.is_some()),
            ..ResourceFoundStatus::default()
        });
    }
    if let (Some(addon), Some(found)) = (session.spec.addon.as_ref().and_then(|addon| addon.name.clone()), source.addon_found) {
        let kind = Some("Addon".to_owned());
        dependencies.push(ResourceFoundStatus { kind, name: addon, found: Some(found), ..ResourceFoundStatus::default() });
    }
    let storage = source.storage.as_ref();
    let storage = storage.map(|storage| format!("{}/{}", storage.namespace().unwrap_or_default(), storage.name_any()));
    match outcome {
        Ok(Found { snapshot, components, paths }) => Validated {
            validation: Validation { dependencies, outcome: Ok(components) },
            snapshot: Some(snapshot),
            paths,
            storage,
        },
        Err(reason) => Validated {
            validation: Validation { dependencies, outcome: Err(reason) },
            snapshot: None,
            paths: Vec::new(),
            storage,
        },
    }
}

struct Found {
    snapshot: String,
    components: Vec<String>,
    paths: Vec<String>,
}

fn examine(session: &RestoreSession, source: &Source) -> Result<Found, Reason> {
    restore_policy(session).map_err(|error| Reason::new(STEP, "PolicyNotUnderstood", error.to_string()))?;
    let choice = match &source.choice {
        Some(Ok(choice)) => choice,
        Some(Err(error)) => return Err(no_source(error)),
        None => return Err(no_source(&SourceError::NoSource)),
    };
    let snapshot = chosen(session, source, choice).map_err(|error| no_source(&error))?;
    let may_use = entitled(session, source, snapshot)?;
    ready(may_use)?;
    let data_source = session.spec.data_source.clone().unwrap_or_default();
    let target = session.spec.target.as_ref();
    let kind = target.and_then(|target| Some((TargetKind::of(target).ok()?, target.name.as_str())));
    let found = components(snapshot, &data_source.components, kind).map_err(|error| no_source(&error))?;
    let mut paths: Vec<String> = found.iter().flat_map(|component| component.host_paths.iter().cloned()).collect();
    paths.sort();
    paths.dedup();
    let components = found.into_iter().map(|component| component.component).collect();
    Ok(Found { snapshot: snapshot.name_any(), components, paths })
}

fn chosen<'a>(session: &RestoreSession, source: &'a Source, choice: &Choice) -> Result<&'a Snapshot, SourceError> {
    if let Some(wanted) = &source.wanted {
        let missing = || SourceError::SnapshotMissing { namespace: source.namespace.clone(), snapshot: wanted.clone() };
        let snapshot = source.named.as_ref().ok_or_else(missing)?;
        check_named(snapshot, &session.spec.data_source.clone().unwrap_or_default())?;
        return Ok(snapshot);
    }
    let Choice::Newest { repository, until } = choice else { return Err(SourceError::NoSource) };
    if source.repository.is_none() {
        return Err(SourceError::RepositoryMissing { namespace: source.namespace.clone(), repository: repository.clone() });
    }
    newest(&source.candidates, &source.namespace, repository, *until)
}

/// Whether the session's namespace may use the storage, and has a password to try. Whether the Secret itself may be used
/// is decided where it is read, when access is issued.
fn entitled<'a>(session: &RestoreSession, source: &'a Source, snapshot: &Snapshot) -> Result<&'a BackupStorage, Reason> {
    let namespace = session.namespace().unwrap_or_default();
    let name = snapshot.spec.repository.clone().unwrap_or_default();
    let Some(repository) = &source.repository else {
        let missing = SourceError::RepositoryMissing { namespace: source.namespace.clone(), repository: name };
        return Err(no_source(&missing));
    };
    let Some(storage) = &source.storage else {
        let message = format!("the BackupStorage of Repository {}/{name} does not exist: create it again", source.namespace);
        return Err(Reason::new(STEP, "StorageNotFound", message));
    };
    let subject = Subject::new("BackupStorage", storage.namespace().unwrap_or_default(), storage.name_any());
    let refused = |refusal: planner::access::Refusal| Reason::new(STEP, refusal.reason(), refusal.to_string());
    admits(storage.spec.usage_policy.as_ref(), &subject, &namespace, &source.namespace_labels).map_err(refused)?;
    let own = session.spec.data_source.as_ref().and_then(|source| source.encryption_secret.as_ref());
    let subject = Subject::new("Repository", source.namespace.clone(), name);
    restore_password(&namespace, own, &subject, repository.spec.encryption_secret.as_ref()).map_err(refused)?;
    Ok(storage)
}

fn ready(storage: &BackupStorage) -> Result<(), Reason> {
    let status = storage.status.clone().unwrap_or_default();
    if status.phase == Some(BackupStoragePhase::Ready) {
        return Ok(());
    }
    let cause = status.conditions.iter().find(|condition| condition.status == crd_types::ConditionStatus::False);
    let cause =
        cause.and_then(|condition| condition.message.clone()).unwrap_or_else(|| "it has not been initialised yet".to_owned());
    let (namespace, name) = (storage.namespace().unwrap_or_default(), storage.name_any());
    Err(Reason::new(STEP, "StorageNotReady", format!("BackupStorage {namespace}/{name} is not Ready: {cause}")))
}

fn no_source(error: &SourceError) -> Reason {
    Reason::new(STEP, "DataSource", error.to_string())
}
