//! Reads: everything that a decision about a BackupSession rests on.
//!
//! All of it comes from the API server itself, not from a cache, so no decision is made on the past (B5); what costs many
//! requests is read only when the planner asks for it.

use std::collections::BTreeSet;

use crd_types::{
    AddonInfo, BackupConfiguration, BackupSession, Repository, RestoreSession, Session, Snapshot, TypedObjectReference, labels,
};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::ListParams};
use planner::admission::Admission;
use planner::attempt::{JobView, Reports};
use planner::decision::Decision;
use planner::resolve::Verb;
use planner::restore::holds_backups;
use planner::session::{Limits, Need, Preparation, RetentionView, Sibling, TargetProgress, View};

use super::{Error, Shared, Validated};
use crate::prepare::{PrepareRequest, Prepared, prepare};
use crate::queue::occupant;
use crate::reads::configuration_of;
use crate::{pods, retention};

/// What every decision rests on.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The configuration, if that exists still.
    pub configuration: Option<BackupConfiguration>,
    /// Snapshots of the session.
    pub snapshots: Vec<Snapshot>,
    /// Jobs of the session.
    pub jobs: Vec<JobView>,
    /// What movers reported over their streams.
    pub reports: Reports,
    progress: Vec<TargetProgress>,
    last_progress: Option<Timestamp>,
}

/// What was read because the planner asked for it.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    siblings: Option<Vec<Sibling>>,
    restores: Option<Vec<String>>,
    /// Jobs' parts.
    pub prepared: Option<Prepared>,
    /// The user's settings for them.
    pub info: Option<AddonInfo>,
    preparation: Option<Preparation>,
    admission: Option<Decision<Admission>>,
    retention: Option<Vec<RetentionView>>,
}

/// Reads what every decision rests on.
pub async fn observe(shared: &Shared, validated: &Validated) -> Result<Observed, Error> {
    let ctx = &shared.ctx;
    let owner = &validated.owner;
    let snapshots: Api<Snapshot> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let own = ListParams::default().labels(&format!("{}={}", labels::SESSION_UID, owner.uid));
    let (configuration, snapshots, jobs) = tokio::join!(
        configuration_of(ctx, &validated.session),
        snapshots.list(&own),
        pods::read_jobs(ctx, &owner.namespace, &owner.uid),
    );
    let snapshots = snapshots.map_err(|source| Error::read(format!("Snapshots of {}", validated.display()), source))?;
    Ok(Observed {
        configuration: configuration?,
        snapshots: snapshots.items,
        jobs: jobs?,
        reports: ctx.registry.reports(&owner.uid),
        progress: ctx.registry.progress(&owner.uid),
        last_progress: ctx.registry.last_progress(&owner.uid),
    })
}

/// The view that the planner decides on.
pub fn view<'a>(
    validated: &'a Validated,
    observed: &'a Observed,
    answers: &'a Answers,
    limits: &'a Limits,
    now: Timestamp,
) -> View<'a> {
    View {
        now,
        limits,
        session: &validated.session,
        configuration: observed.configuration.as_ref(),
        snapshots: &observed.snapshots,
        jobs: &observed.jobs,
        reports: &observed.reports,
        progress: &observed.progress,
        last_progress: observed.last_progress,
        siblings: answers.siblings.as_deref(),
        restores: answers.restores.as_deref(),
        preparation: answers.preparation.as_ref(),
        admission: answers.admission.as_ref(),
        retention: answers.retention.as_deref(),
    }
}

/// Reads what the planner asked for.
pub async fn answer(
    shared: &Shared,
    validated: &Validated,
    observed: &Observed,
    answers: &mut Answers,
    need: Need,
) -> Result<(), Error> {
    match need {
        Need::Siblings => answers.siblings = Some(siblings(shared, validated).await?),
        Need::Restores => answers.restores = Some(restores(shared, validated, observed).await?),
        Need::Preparation => {
            let prepared = prepared(shared, validated, observed).await?;
            answers.preparation = Some(prepared.preparation());
            answers.prepared = Some(prepared);
            answers.info = entry(validated, observed).and_then(|entry| entry.addon.clone());
        }
        Need::Admission => answers.admission = Some(admission(shared, validated, observed, answers).await?),
        Need::Retention => answers.retention = Some(retention::views(&shared.ctx, &validated.session).await?),
    }
    Ok(())
}

async fn siblings(shared: &Shared, validated: &Validated) -> Result<Vec<Sibling>, Error> {
    let namespace = &validated.owner.namespace;
    let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), namespace);
    let listed = api.list(&ListParams::default()).await;
    let listed = listed.map_err(|source| Error::read(format!("BackupSessions of namespace {namespace}"), source))?;
    let own = &validated.session;
    let others = listed.items.iter().filter(|other| {
        other.uid().as_deref() != Some(validated.owner.uid.as_str())
            && other.spec.invoker == own.spec.invoker
            && other.spec.session == own.spec.session
            && other.metadata.deletion_timestamp.is_none()
    });
    Ok(others.map(Sibling::of).collect())
}

async fn restores(shared: &Shared, validated: &Validated, observed: &Observed) -> Result<Vec<String>, Error> {
    let namespace = &validated.owner.namespace;
    let target = observed.configuration.as_ref().and_then(|configuration| configuration.spec.target.as_ref());
    let Some(target) = target else { return Ok(Vec::new()) };
    let api: Api<RestoreSession> = Api::namespaced(shared.ctx.client.clone(), namespace);
    let listed = api.list(&ListParams::default()).await;
    let listed = listed.map_err(|source| Error::read(format!("RestoreSessions of namespace {namespace}"), source))?;
    let same = |restore: &RestoreSession| {
        restore.spec.target.as_ref().is_some_and(|other| other.kind == target.kind && other.name == target.name)
    };
    let holding = listed.items.iter().filter(|restore| same(restore) && holds_backups(restore));
    Ok(holding.map(|restore| format!("{namespace}/{}", restore.name_any())).collect())
}

async fn prepared(shared: &Shared, validated: &Validated, observed: &Observed) -> Result<Prepared, Error> {
    let request = PrepareRequest {
        verb: Verb::Backup,
        namespace: &validated.owner.namespace,
        invoker_kind: "BackupConfiguration",
        invoker_name: validated.session.spec.invoker.as_ref().map_or("", |invoker| invoker.name.as_str()),
        session: &validated.owner.name,
        snapshot: None,
        info: entry(validated, observed).and_then(|entry| entry.addon.as_ref()),
        target: observed.configuration.as_ref().and_then(|configuration| configuration.spec.target.as_ref()),
        paths: &[],
    };
    Ok(prepare(&shared.ctx, &request).await?)
}

/// The entry of the configuration that the session runs.
fn entry<'a>(validated: &Validated, observed: &'a Observed) -> Option<&'a Session> {
    let name = validated.session.spec.session.as_deref()?;
    observed.configuration.as_ref()?.spec.sessions.iter().find(|entry| entry.name.as_deref() == Some(name))
}

/// The target, for the Snapshots of a session.
pub fn target(observed: &Observed) -> Option<&TypedObjectReference> {
    observed.configuration.as_ref()?.spec.target.as_ref()
}

async fn admission(
    shared: &Shared,
    validated: &Validated,
    observed: &Observed,
    answers: &Answers,
) -> Result<Decision<Admission>, Error> {
    let queue = &shared.ctx.queue;
    let owner = &validated.owner;
    let created = validated.session.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let storages = if queue.counts_storages() { storages(shared, validated, observed).await? } else { BTreeSet::new() };
    let ready = answers.prepared.as_ref().and_then(Prepared::ready);
    let placements = ready.into_iter().flat_map(|ready| &ready.components).map(|component| &component.placement);
    let nodes = placements.filter_map(|placement| placement.node.clone()).collect();
    let occupant = occupant("BackupSession", &owner.namespace, &owner.name, storages, nodes);
    Ok(queue.ask(occupant, created, shared.ctx.now()))
}

async fn storages(shared: &Shared, validated: &Validated, observed: &Observed) -> Result<BTreeSet<String>, Error> {
    let namespace = &validated.owner.namespace;
    let api: Api<Repository> = Api::namespaced(shared.ctx.client.clone(), namespace);
    let repositories = entry(validated, observed).into_iter().flat_map(|entry| &entry.repositories);
    let mut storages = BTreeSet::new();
    for name in repositories.filter_map(|repository| repository.name.as_deref()) {
        let read = |source| Error::read(format!("Repository {namespace}/{name}"), source);
        let Some(storage) = api.get_opt(name).await.map_err(read)?.and_then(|found| found.spec.storage_ref) else { continue };
        storages.insert(format!("{}/{}", storage.namespace.as_deref().unwrap_or(namespace), storage.name));
    }
    Ok(storages)
}
