//! Writes: what the planner decided, in its order.

use std::collections::BTreeMap;

use crd_types::{BackupSession, Repository, Snapshot, annotations, names::manager};
use jiff::Timestamp;
use kube::{Api, ResourceExt as _};
use kube_kit::apply::{Deletion, annotate};
use kube_kit::status::{Guard, apply_status};
use planner::attempt::Reports;
use planner::build::{self, Named, SnapshotRequest, Work, retention_task};
use planner::names::{self, Owner};
use planner::session::{ATTEMPTS_ANNOTATION, Action, Plan, begun, deadline};
use planner::workload::unprivileged;

use super::{Error, Shared, Validated, dereference::Answers, dereference::Observed};
use crate::pods;
use crate::prepare::{JobOrder, PrepareError, SessionIdentity, create_named, retention_plan, start_job};

/// What came of a plan's actions.
#[derive(Debug)]
pub enum Applied {
    /// All were done; the plan's status may be written on this state of the session.
    Done(Box<Validated>),
    /// The API server said no to one of them, for this reason.
    Refused(Box<Validated>, String),
}

/// Writes Snapshots, then does the actions of a plan.
pub async fn apply(
    shared: &Shared,
    mut validated: Validated,
    observed: &Observed,
    answers: &Answers,
    plan: &Plan,
) -> Result<Applied, Error> {
    write_snapshots(shared, &validated, observed, plan).await?;
    for action in &plan.actions {
        let done = match action {
            Action::CreateSnapshots(repositories) => create_snapshots(shared, &validated, observed, repositories).await,
            Action::DiscardSnapshots(names) => delete_snapshots(shared, &validated, observed, names, None).await,
            Action::RemoveSnapshots(names) => {
                let now = shared.ctx.now();
                shared.ctx.metrics.snapshots_removed(names.len() as u64);
                delete_snapshots(shared, &validated, observed, names, Some(now)).await
            }
            Action::StopJobs { jobs, reason } => {
                let Owner { namespace, uid, .. } = &validated.owner;
                pods::stop_jobs(&shared.ctx, namespace, uid, jobs, reason).await.map_err(Error::from)
            }
            Action::DeleteSessions(names) => delete_sessions(shared, &validated, names).await,
            Action::MarkRetried(name) => mark_retried(shared, &validated, name).await,
            Action::StartJob { component, attempt, work, begun } => {
                let order = Order { component, attempt: *attempt, work: *work, begun };
                let (after, done) = start(shared, validated, answers, &order).await?;
                validated = after;
                done
            }
        };
        match done {
            Ok(()) => {}
            Err(Error::Prepare(PrepareError::Refused(message))) => return Ok(Applied::Refused(Box::new(validated), message)),
            Err(error) => return Err(error),
        }
    }
    Ok(Applied::Done(Box::new(validated)))
}

/// Tells the movers of a session that their reports are on record.
pub fn acknowledge(shared: &Shared, owner: &Owner, reports: &Reports) {
    shared.ctx.registry.recorded(&owner.uid, reports);
}

async fn write_snapshots(shared: &Shared, validated: &Validated, observed: &Observed, plan: &Plan) -> Result<(), Error> {
    let api: Api<Snapshot> = Api::namespaced(shared.ctx.client.clone(), &validated.owner.namespace);
    for write in &plan.snapshots {
        let Some(snapshot) = observed.snapshots.iter().find(|snapshot| snapshot.name_any() == write.name) else { continue };
        let before = snapshot.status.as_ref().and_then(|status| status.phase);
        // Live figures may be written over whatever the storage-initializer wrote beside them; a phase may not.
        let guard = if before == write.status.phase { Guard::None } else { Guard::Version };
        apply_status(&api, manager::SESSION_CONTROLLER, snapshot, &write.status, guard).await?;
    }
    Ok(())
}

async fn create_snapshots(
    shared: &Shared,
    validated: &Validated,
    observed: &Observed,
    repositories: &[String],
) -> Result<(), Error> {
    let owner = &validated.owner;
    let client = &shared.ctx.client;
    let api: Api<Repository> = Api::namespaced(client.clone(), &owner.namespace);
    let snapshots: Api<Snapshot> = Api::namespaced(client.clone(), &owner.namespace);
    let target = super::dereference::target(observed);
    for name in repositories {
        let read = |source| Error::read(format!("Repository {}/{name}", owner.namespace), source);
        let Some(repository) = api.get_opt(name).await.map_err(read)? else {
            let message =
                format!("Repository {}/{name} does not exist: the scheduler makes it when its storage is ready", owner.namespace);
            return Err(PrepareError::Refused(message).into());
        };
        let identity = names::snapshot(&Owner::new(&owner.namespace, name, repository.uid().unwrap_or_default()), owner);
        let snapshot_id = ulid(shared.ctx.now());
        create_named(&snapshots, &identity, "Snapshot", &validated.display(), |candidate| {
            build::snapshot(&SnapshotRequest {
                named: Named { name: candidate, identity: &identity },
                repository: &repository,
                backup_session: &validated.session,
                target,
                snapshot_id: snapshot_id.clone(),
            })
        })
        .await?;
    }
    Ok(())
}

async fn delete_snapshots(
    shared: &Shared,
    validated: &Validated,
    observed: &Observed,
    names: &[String],
    data_removed: Option<Timestamp>,
) -> Result<(), Error> {
    let namespace = &validated.owner.namespace;
    let api: Api<Snapshot> = Api::namespaced(shared.ctx.client.clone(), namespace);
    for name in names {
        let known = observed.snapshots.iter().find(|snapshot| snapshot.name_any() == *name).cloned();
        let snapshot = match known {
            Some(snapshot) => Some(snapshot),
            None => api.get_opt(name).await.map_err(|source| Error::read(format!("Snapshot {namespace}/{name}"), source))?,
        };
        let Some(mut snapshot) = snapshot else { continue };
        if let Some(at) = data_removed {
            // The mark first: whoever finalises the Snapshot has to know that only its metadata is left.
            let mark = BTreeMap::from([(annotations::DATA_REMOVED.to_owned(), Some(at.to_string()))]);
            snapshot = annotate(&api, manager::SESSION_CONTROLLER, &snapshot, &mark).await?;
        }
        Deletion::background().run(&api, &snapshot).await?;
    }
    Ok(())
}

async fn delete_sessions(shared: &Shared, validated: &Validated, names: &[String]) -> Result<(), Error> {
    let namespace = &validated.owner.namespace;
    let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), namespace);
    for name in names {
        let read = |source| Error::read(format!("BackupSession {namespace}/{name}"), source);
        if let Some(session) = api.get_opt(name).await.map_err(read)? {
            Deletion::background().run(&api, &session).await?;
        }
    }
    Ok(())
}

async fn mark_retried(shared: &Shared, validated: &Validated, name: &str) -> Result<(), Error> {
    let namespace = &validated.owner.namespace;
    let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), namespace);
    let read = |source| Error::read(format!("BackupSession {namespace}/{name}"), source);
    let Some(failed) = api.get_opt(name).await.map_err(read)? else { return Ok(()) };
    let mut status = failed.status.clone().unwrap_or_default();
    status.retried = Some(true);
    apply_status(&api, manager::SESSION_CONTROLLER, &failed, &status, Guard::Version).await?;
    Ok(())
}

/// One Job to start.
struct Order<'a> {
    component: &'a str,
    attempt: u32,
    work: Work,
    begun: &'a BTreeMap<String, u32>,
}

/// Records an attempt, then makes its Job. A definite no takes the record back, so that it costs no attempt.
async fn start(
    shared: &Shared,
    validated: Validated,
    answers: &Answers,
    order: &Order<'_>,
) -> Result<(Validated, Result<(), Error>), Error> {
    let before = begun(&validated.session);
    let validated = record(shared, validated, order.begun).await?;
    match make(shared, &validated, answers, order).await {
        Ok(()) => {
            if order.attempt > 1 {
                shared.ctx.metrics.attempt_repeated("attempt");
            }
            Ok((validated, Ok(())))
        }
        Err(error) if matches!(error, PrepareError::Refused(_) | PrepareError::NotReady(_)) => {
            let validated = record(shared, validated, &before).await?;
            Ok((validated, Err(error.into())))
        }
        Err(error) => Err(error.into()),
    }
}

async fn record(shared: &Shared, validated: Validated, begun: &BTreeMap<String, u32>) -> Result<Validated, Error> {
    let api: Api<BackupSession> = Api::namespaced(shared.ctx.client.clone(), &validated.owner.namespace);
    let record = serde_json::to_string(begun).unwrap_or_default();
    let change = BTreeMap::from([(ATTEMPTS_ANNOTATION.to_owned(), Some(record))]);
    let session = annotate(&api, manager::SESSION_CONTROLLER, &validated.session, &change).await?;
    Ok(validated.with(session))
}

async fn make(shared: &Shared, validated: &Validated, answers: &Answers, order: &Order<'_>) -> Result<(), PrepareError> {
    let session = &validated.session;
    let identity = SessionIdentity::of("BackupSession", session, session.spec.session.as_deref());
    let created = session.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let deadline = deadline(created, session.spec.backup_timeout.as_deref(), &shared.limits);
    let retention = retention_task(&shared.ctx.settings.mover_image);
    let retention_plan = retention_plan(&retention, unprivileged(None));
    let ready = answers.prepared.as_ref().and_then(crate::prepare::Prepared::ready);
    let info = answers.info.as_ref();
    let (task, plan, host_namespaces, name) = match order.work {
        Work::Retention => {
            let name = names::retention_job(&validated.owner, order.attempt);
            (&retention, &retention_plan, false, name)
        }
        Work::Backup | Work::Restore => {
            let Some(ready) = ready else { return Ok(()) };
            let Some(plan) = ready.components.iter().find(|plan| plan.component == order.component) else {
                let message = format!("component {} is not part of the target any more", order.component);
                return Err(PrepareError::Refused(message));
            };
            let name = names::backup_job(&validated.owner, order.component, None, order.attempt);
            (&ready.task, plan, ready.host_namespaces, name)
        }
    };
    let order = JobOrder {
        session: identity,
        name,
        work: order.work,
        component: order.component,
        attempt: order.attempt,
        task,
        plan,
        info,
        host_namespaces,
        deadline,
    };
    start_job(&shared.ctx, &order).await.map(|_| ())
}

/// A fresh ULID: the time, and chance.
fn ulid(now: Timestamp) -> String {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or_default();
    ulid::Ulid::from_parts(milliseconds, rand::random()).to_string()
}
