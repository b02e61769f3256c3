//! Which Snapshot is restored, and what of it (specification §2.7 steps 1 and 3, §4.3, §4.6).

use crd_types::{Driver, RestoreDataSource, RestoreSession, Snapshot, SnapshotPhase, annotations, names as fixed, phase};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::SourceError;
use crate::{layout::match_component, workload::TargetKind};

/// How a data source picks its Snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// By name.
    Named(String),
    /// The newest Succeeded one of a Repository, up to a time if one is given.
    Newest {
        /// The Repository.
        repository: String,
        /// Upper bound, and whether a Snapshot taken exactly then counts.
        until: Option<(Timestamp, bool)>,
    },
}

/// One component to restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSource {
    /// Name of the component in the Snapshot.
    pub component: String,
    /// Path of its repository relative to the Repository.
    pub path: String,
    /// Restic snapshots, in order.
    pub ids: Vec<String>,
    /// The paths that they hold.
    pub host_paths: Vec<String>,
}

/// Reads a data source.
///
/// # Errors
/// [`SourceError`] when it is incomplete, or asks for something that is not supported yet.
pub fn choice(session: &RestoreSession) -> Result<Choice, SourceError> {
    let spec = &session.spec;
    if spec.hooks.as_ref().is_some_and(|hooks| !hooks.pre_restore.is_empty() || !hooks.post_restore.is_empty()) {
        return Err(SourceError::Hooks);
    }
    if spec.manifest_options.as_ref().is_some_and(|options| *options != Default::default()) {
        return Err(SourceError::Manifests);
    }
    let source = spec.data_source.as_ref().ok_or(SourceError::NoSource)?;
    let repository = source.repository.clone().filter(|name| !name.is_empty());
    if let Some(pitr) = &source.pitr {
        let repository = repository.ok_or(SourceError::NoRepository { what: "pitr" })?;
        let time = pitr.target_time.as_ref().ok_or(SourceError::NoTime)?;
        return Ok(Choice::Newest { repository, until: Some((time.0, pitr.exclusive != Some(true))) });
    }
    match source.snapshot.as_deref().filter(|name| !name.is_empty()) {
        None => Err(SourceError::NoSource),
        Some(fixed::LATEST) => {
            let repository = repository.ok_or(SourceError::NoRepository { what: "snapshot: latest" })?;
            Ok(Choice::Newest { repository, until: None })
        }
        Some(name) => Ok(Choice::Named(name.to_owned())),
    }
}

/// Namespace of the Repository and Snapshot.
pub fn source_namespace(session: &RestoreSession) -> String {
    let named = session.spec.data_source.as_ref().and_then(|source| source.namespace.clone());
    named.filter(|namespace| !namespace.is_empty()).or_else(|| session.namespace()).unwrap_or_default()
}

/// Checks a Snapshot that was named.
///
/// # Errors
/// [`SourceError`] when it belongs to another Repository, is not complete, or has lost its data.
pub fn check_named(snapshot: &Snapshot, source: &RestoreDataSource) -> Result<(), SourceError> {
    let namespace = snapshot.namespace().unwrap_or_default();
    let name = snapshot.name_any();
    let actual = snapshot.spec.repository.clone().unwrap_or_default();
    let named = source.repository.as_deref().unwrap_or_default();
    if !named.is_empty() && named != actual {
        return Err(SourceError::OtherRepository { namespace, snapshot: name, actual, named: named.to_owned() });
    }
    if is_emptied(snapshot) {
        return Err(SourceError::DataRemoved { namespace, snapshot: name });
    }
    match phase_of(snapshot) {
        SnapshotPhase::Succeeded => Ok(()),
        phase => Err(SourceError::NotSucceeded { namespace, snapshot: name, phase: phase.to_string() }),
    }
}

/// The newest Snapshot of a Repository that qualifies: by the time it was taken, then by its ULID.
///
/// # Errors
/// [`SourceError::NoneQualifies`].
pub fn newest<'a>(
    snapshots: &'a [Snapshot],
    namespace: &str,
    repository: &str,
    until: Option<(Timestamp, bool)>,
) -> Result<&'a Snapshot, SourceError> {
    let within = |taken: Timestamp| match until {
        None => true,
        Some((bound, true)) => taken <= bound,
        Some((bound, false)) => taken < bound,
    };
    snapshots
        .iter()
        .filter(|snapshot| snapshot.spec.repository.as_deref() == Some(repository))
        .filter(|snapshot| phase_of(snapshot) == SnapshotPhase::Succeeded && !is_emptied(snapshot))
        .filter(|snapshot| within(taken(snapshot)))
        .max_by_key(|snapshot| (taken(snapshot), snapshot.spec.snapshot_id.clone(), snapshot.name_any()))
        .ok_or_else(|| SourceError::NoneQualifies {
            namespace: namespace.to_owned(),
            repository: repository.to_owned(),
            condition: match until {
                None => String::new(),
                Some((bound, true)) => format!(" taken at {bound} or before"),
                Some((bound, false)) => format!(" taken before {bound}"),
            },
        })
}

/// The components to restore: those that are named, leniently, or all.
///
/// # Errors
/// [`SourceError`] for a component that is unknown, stored by another tool, or empty, and for several components where
/// the target takes one.
pub fn components(
    snapshot: &Snapshot,
    wanted: &[String],
    target: Option<(TargetKind, &str)>,
) -> Result<Vec<ComponentSource>, SourceError> {
    let name = snapshot.name_any();
    let status = snapshot.status.clone().unwrap_or_default();
    let available = || status.components.keys().map(String::as_str);
    let mut names: Vec<&str> = Vec::new();
    for component in wanted {
        let found = match_component(component, available()).ok_or_else(|| SourceError::UnknownComponent {
            snapshot: name.clone(),
            component: component.clone(),
            known: available().collect::<Vec<_>>().join(", "),
        })?;
        if !names.contains(&found) {
            names.push(found);
        }
    }
    if wanted.is_empty() {
        names = available().collect();
    }
    if let Some((kind, target)) = target
        && matches!(kind, TargetKind::Deployment | TargetKind::PersistentVolumeClaim)
        && names.len() > 1
    {
        return Err(SourceError::SeveralComponents {
            snapshot: name,
            components: names.join(", "),
            target: format!("{kind} {target}"),
        });
    }
    names.into_iter().map(|component| component_source(&name, component, &status)).collect()
}

fn component_source(snapshot: &str, component: &str, status: &crd_types::SnapshotStatus) -> Result<ComponentSource, SourceError> {
    let empty = || SourceError::Empty { snapshot: snapshot.to_owned(), component: component.to_owned() };
    let found = status.components.get(component).ok_or_else(empty)?;
    if let Some(driver) = found.driver.filter(|driver| *driver != Driver::Restic) {
        return Err(SourceError::OtherDriver {
            snapshot: snapshot.to_owned(),
            component: component.to_owned(),
            driver: driver.to_string(),
        });
    }
    let summaries = || found.restic_stats.iter().filter_map(|stats| stats.summary.as_ref());
    let source = ComponentSource {
        component: component.to_owned(),
        path: found.path.clone().ok_or_else(empty)?,
        ids: summaries().filter_map(|summary| summary.id.clone()).collect(),
        host_paths: summaries().filter_map(|summary| summary.host_path.clone()).collect(),
    };
    if source.ids.is_empty() { Err(empty()) } else { Ok(source) }
}

fn taken(snapshot: &Snapshot) -> Timestamp {
    let status = snapshot.status.as_ref().and_then(|status| status.snapshot_time.as_ref());
    status.or(snapshot.metadata.creation_timestamp.as_ref()).map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

fn phase_of(snapshot: &Snapshot) -> SnapshotPhase {
    snapshot.status.as_ref().map_or(SnapshotPhase::Pending, phase::snapshot)
}

fn is_emptied(snapshot: &Snapshot) -> bool {
    snapshot.annotations().contains_key(annotations::DATA_REMOVED) || snapshot.metadata.deletion_timestamp.is_some()
}
