//! What a decision about a RestoreSession asks for, read when it asks.

use std::collections::BTreeSet;

use crd_types::names::CORE_GROUP;
use crd_types::{Addon, BackupConfiguration, BackupStorage, Repository, RestoreSession, Snapshot, TypedObjectReference, labels};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use planner::admission::Admission;
use planner::decision::Decision;
use planner::names::label_value;
use planner::resolve::Verb;
use planner::restore::{Choice, SourceError, Validation, choice, pinned_snapshot, source_namespace};
use planner::session::Preparation;
use planner::workload::TargetKind;

use super::RestoreError;
use super::validate;
use crate::attach::SessionKind;
use crate::context::Context;
use crate::prepare::{PrepareRequest, Prepared, Ready, prepare};
use crate::queue::occupant;
use crate::reads::{ReadError, find, list, namespace_labels};

/// The data source as it was found.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// What the session asks for, or why that cannot be read.
    pub choice: Option<Result<Choice, SourceError>>,
    /// Namespace of Repository and Snapshot.
    pub namespace: String,
    /// The Snapshot that was chosen when the session was validated, or the one that is named.
    pub named: Option<Snapshot>,
    /// Name of that Snapshot.
    pub wanted: Option<String>,
    /// Snapshots to choose among.
    pub candidates: Vec<Snapshot>,
    /// The Repository.
    pub repository: Option<Repository>,
    /// Its storage.
    pub storage: Option<BackupStorage>,
    /// Labels of the session's namespace.
    pub namespace_labels: std::collections::BTreeMap<String, String>,
    /// Whether the Addon exists.
    pub addon_found: Option<bool>,
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Answers {
    validated: Option<validate::Validated>,
    prepared: Option<Prepared>,
    admission: Option<Decision<Admission>>,
    backups: Option<Vec<TypedObjectReference>>,
}

impl Answers {
    pub(super) fn validation(&self) -> Option<Validation> {
        self.validated.as_ref().map(|validated| validated.validation.clone())
    }

    pub(super) fn preparation(&self) -> Option<Preparation> {
        self.prepared.as_ref().map(Prepared::preparation)
    }

    pub(super) fn ready(&self) -> Option<&Ready> {
        self.prepared.as_ref().and_then(Prepared::ready)
    }

    pub(super) fn admission(&self) -> Option<&Decision<Admission>> {
        self.admission.as_ref()
    }

    pub(super) fn backups(&self) -> Option<&[TypedObjectReference]> {
        self.backups.as_deref()
    }

    /// The data source and everything that it refers to.
    pub(super) async fn read_source(&mut self, ctx: &Context, session: &RestoreSession) -> Result<(), RestoreError> {
        let source = source(ctx, session).await?;
        self.validated = Some(validate::validate(session, &source));
        Ok(())
    }

    /// Addon, Function, target and volumes. The paths come from the Snapshot.
    pub(super) async fn read_preparation(&mut self, ctx: &Context, session: &RestoreSession) -> Result<(), RestoreError> {
        if self.validated.is_none() {
            self.read_source(ctx, session).await?;
        }
        let paths = self.validated.as_ref().map(|validated| validated.paths.clone()).unwrap_or_default();
        let snapshot = self.validated.as_ref().and_then(|validated| validated.snapshot.clone());
        let namespace = session.namespace().unwrap_or_default();
        let name = session.name_any();
        let request = PrepareRequest {
            verb: Verb::Restore,
            namespace: &namespace,
            invoker_kind: SessionKind::Restore.as_str(),
            invoker_name: &name,
            session: &name,
            snapshot: snapshot.as_deref(),
            info: session.spec.addon.as_ref(),
            target: session.spec.target.as_ref(),
            paths: &paths,
        };
        self.prepared = Some(prepare(ctx, &request).await?);
        Ok(())
    }

    /// Whether it is the session's turn.
    pub(super) fn ask_for_place(&mut self, ctx: &Context, session: &RestoreSession) {
        let components = self.ready().into_iter().flat_map(|ready| &ready.components);
        let nodes: BTreeSet<String> = components.filter_map(|component| component.placement.node.clone()).collect();
        let storages = self.validated.iter().filter_map(|validated| validated.storage.clone()).collect();
        let (namespace, name) = (session.namespace().unwrap_or_default(), session.name_any());
        let created = session.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let occupant = occupant(SessionKind::Restore.as_str(), &namespace, &name, storages, nodes);
        self.admission = Some(ctx.queue.ask(occupant, created, ctx.now()));
    }

    /// BackupConfigurations of the same target, which are held while the restore runs.
    pub(super) async fn read_backups(&mut self, ctx: &Context, session: &RestoreSession) -> Result<(), RestoreError> {
        let namespace = session.namespace().unwrap_or_default();
        let configurations: Vec<BackupConfiguration> = list(ctx, &namespace, None).await?;
        let same = |configuration: &BackupConfiguration| {
            let target = configuration.spec.target.as_ref();
            target.zip(session.spec.target.as_ref()).is_some_and(|(one, other)| is_same_target(one, other, &namespace))
        };
        let backups = configurations.iter().filter(|configuration| same(configuration));
        let references = backups.map(|configuration| TypedObjectReference {
            api_group: Some(CORE_GROUP.to_owned()),
            kind: Some("BackupConfiguration".to_owned()),
            name: configuration.name_any(),
            namespace: configuration.namespace(),
        });
        self.backups = Some(references.collect());
        Ok(())
    }
}

/// Whether two references in `namespace` mean one workload, however the API group is spelt.
fn is_same_target(one: &TypedObjectReference, other: &TypedObjectReference, namespace: &str) -> bool {
    let place = |reference: &TypedObjectReference| {
        reference.namespace.clone().filter(|at| !at.is_empty()).unwrap_or_else(|| namespace.to_owned())
    };
    one.name == other.name
        && place(one) == place(other)
        && matches!((TargetKind::of(one), TargetKind::of(other)), (Ok(one), Ok(other)) if one == other)
}

async fn source(ctx: &Context, session: &RestoreSession) -> Result<Source, ReadError> {
    let namespace = source_namespace(session);
    let choice = choice(session);
    let mut source = Source { namespace: namespace.clone(), ..Source::default() };
    // A Snapshot that was chosen once stays, whatever `latest` means by now.
    let pinned = pinned_snapshot(session).map(ToOwned::to_owned);
    source.wanted = match (&pinned, &choice) {
        (Some(pinned), Ok(_)) => Some(pinned.clone()),
        (None, Ok(Choice::Named(name))) => Some(name.clone()),
        _ => None,
    };
    if let Some(name) = &source.wanted {
        source.named = find(ctx, &namespace, name).await?;
    }
    let named_repository = source.named.as_ref().and_then(|snapshot| snapshot.spec.repository.clone());
    let repository = match &choice {
        Ok(Choice::Newest { repository, .. }) => Some(repository.clone()),
        _ => named_repository,
    };
    if let Some(name) = &repository {
        source.repository = find(ctx, &namespace, name).await?;
        if source.wanted.is_none() {
            let selector = format!("{}={}", labels::REPO_NAME, label_value(name));
            source.candidates = list(ctx, &namespace, Some(&selector)).await?;
        }
    }
    if let Some(storage) = source.repository.as_ref().and_then(|repository| repository.spec.storage_ref.clone()) {
        let at = storage.namespace.filter(|at| !at.is_empty()).unwrap_or_else(|| namespace.clone());
        source.storage = find(ctx, &at, &storage.name).await?;
    }
    source.namespace_labels = namespace_labels(ctx, &session.namespace().unwrap_or_default()).await?;
    if let Some(addon) = session.spec.addon.as_ref().and_then(|addon| addon.name.as_deref()).filter(|name| !name.is_empty()) {
        let found = Api::<Addon>::all(ctx.client.clone()).get_opt(addon).await;
        let found = found.map_err(|source| ReadError { what: format!("Addon {addon}"), source })?;
        source.addon_found = Some(found.is_some());
    }
    source.choice = Some(choice);
    Ok(source)
}
