//! What an attached mover is to do, read from the objects.

use crd_types::{
    BackupConfiguration, BackupSession, RestoreSession, Snapshot, SnapshotPhase, annotations, labels, names as fixed,
};
use kube::{Api, ResourceExt as _};
use kube_kit::identity::node_machine_id;
use planner::build::Work;
use planner::restore::{Existing, Privileged, components, pinned_snapshot, restore_policy, source_namespace};
use planner::session::{RetentionVerdict, RetentionView, target_id};
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::mover::v1alpha1::{
    Assignment, BackupWork, ExistingPolicy, OwnershipPolicy, PrivilegedPolicy, RestoreWork, RetentionWork, SourceErrorPolicy,
    Target, target,
};
use proto_api::storage::v1alpha1::{
    AccessSubject, BackupSessionAccess, RestoreSessionAccess, RetentionAccess, access_subject::Subject,
};
use proto_api::time;

use super::AttachError;
use super::authorise::SessionObject;
use super::claim::Claim;
use super::data_check;
use super::limits::{limits, to_wire};
use crate::context::Context;
use crate::reads::configuration_of;
use crate::retention;

/// Tag by which an attempt finds what an earlier one of its session has finished.
const SESSION_TAG: &str = "orlop.dev/session-uid";
/// Tag of the component.
const COMPONENT_TAG: &str = "orlop.dev/component";
/// Value of the annotations that let a component with errors succeed.
const REPORT: &str = "report";
/// Value by which files that change while they are read fail the component as unreadable ones do.
const FAIL: &str = "fail";

/// The assignment of a mover.
pub(super) async fn assignment(ctx: &Context, claim: &Claim, session: &SessionObject) -> Result<Assignment, AttachError> {
    let configuration = match session {
        SessionObject::Backup(session) => configuration_of(ctx, session).await,
        SessionObject::Restore(_) => Ok(None),
    };
    let configuration = configuration.map_err(|error| not_ready(claim, error.to_string()))?;
    let configuration = configuration.as_ref();
    let targets = match (session, claim.work) {
        (SessionObject::Backup(session), Work::Backup) => backup_targets(ctx, claim, session, configuration).await?,
        (SessionObject::Backup(session), Work::Retention) => retention_targets(ctx, claim, session).await?,
        (SessionObject::Restore(session), Work::Restore) => restore_targets(ctx, claim, session).await?,
        _ => return Err(over(claim, "its kind of session has no such work")),
    };
    let limits = match session {
        SessionObject::Backup(session) => limits(session.as_ref(), configuration),
        SessionObject::Restore(session) => limits(session.as_ref(), None),
    };
    let (existing, privileged) = target_policies(claim, session)?;
    let node = &claim.node;
    let machine_id = node_machine_id(&ctx.client, node).await.map_err(|source| read("Node", "", node, source))?;
    Ok(Assignment {
        targets,
        limits: Some(to_wire(limits.bandwidth)),
        deadline: Some(time::to_proto(claim.deadline)),
        traceparent: annotation(session, annotations::TRACEPARENT).unwrap_or_default(),
        cluster_uid: ctx.cluster_uid.clone(),
        machine_id: machine_id.unwrap_or_default(),
        node_name: node.clone(),
        source_errors: source_errors(session, configuration).into(),
        ownership: if annotation(session, annotations::OWNERSHIP).as_deref() == Some(REPORT) {
            OwnershipPolicy::Report.into()
        } else {
            OwnershipPolicy::Fail.into()
        },
        existing: existing.into(),
        privileged: privileged.into(),
    })
}

/// One target for each Repository in which the component is still open.
async fn backup_targets(
    ctx: &Context,
    claim: &Claim,
    session: &BackupSession,
    configuration: Option<&BackupConfiguration>,
) -> Result<Vec<Target>, AttachError> {
    let api: Api<Snapshot> = Api::namespaced(ctx.client.clone(), &claim.namespace);
    let entries = session.status.iter().flat_map(|status| &status.snapshots);
    let mut targets = Vec::new();
    for name in entries.filter_map(|entry| entry.name.as_deref()) {
        let found = api.get_opt(name).await.map_err(|source| read("Snapshot", &claim.namespace, name, source))?;
        // A Snapshot that was deleted, or made anew for something else, receives nothing.
        let Some(snapshot) = found.filter(|snapshot| is_of(snapshot, &claim.session_uid)) else { continue };
        let component = snapshot.status.as_ref().and_then(|status| status.components.get(&claim.component));
        let Some(component) = component else {
            return Err(not_ready(claim, format!("component {} is not announced in Snapshot {name} yet", claim.component)));
        };
        if component.phase.is_some_and(SnapshotPhase::is_completed) {
            continue;
        }
        let repository = snapshot.spec.repository.clone().unwrap_or_default();
        let data_check = data_check::of_target(ctx, session, configuration, (name, &repository, &claim.component)).await;
        let data_check = data_check.map_err(|error| not_ready(claim, error.to_string()))?;
        let subject = Subject::BackupSession(BackupSessionAccess {
            backup_session: Some(session_ref(claim)),
            repository: Some(ObjectRef::named("Repository", claim.namespace.clone(), repository.clone())),
            component: claim.component.clone(),
        });
        targets.push(Target {
            id: repository,
            subject: Some(AccessSubject { subject: Some(subject) }),
            component_path: component.path.clone().unwrap_or_default(),
            work: Some(target::Work::Backup(BackupWork {
                host: fixed::RESTIC_HOST.to_owned(),
                tags: vec![format!("{SESSION_TAG}={}", claim.session_uid), format!("{COMPONENT_TAG}={}", claim.component)],
                data_check,
            })),
        });
    }
    Ok(targets)
}

/// One target for each restic repository in which something is to be forgotten.
async fn retention_targets(ctx: &Context, claim: &Claim, session: &BackupSession) -> Result<Vec<Target>, AttachError> {
    let views = retention::views(ctx, session).await.map_err(|error| not_ready(claim, error.to_string()))?;
    let mut targets: Vec<Target> = Vec::new();
    for RetentionView { repository, policy: _, verdict } in views {
        let RetentionVerdict::Remove(removals) = verdict else { continue };
        for (path, snapshot_id) in removals.into_iter().flat_map(|removal| removal.data) {
            let id = target_id(&repository, &path);
            let known = targets.iter_mut().find(|target| target.id == id);
            if let Some(Target { work: Some(target::Work::Retention(work)), .. }) = known {
                work.forget_snapshot_ids.push(snapshot_id);
                continue;
            }
            let subject = Subject::Retention(RetentionAccess {
                backup_session: Some(session_ref(claim)),
                repository: Some(ObjectRef::named("Repository", claim.namespace.clone(), repository.clone())),
                component_paths: vec![path.clone()],
            });
            targets.push(Target {
                id,
                subject: Some(AccessSubject { subject: Some(subject) }),
                component_path: path,
                work: Some(target::Work::Retention(RetentionWork { forget_snapshot_ids: vec![snapshot_id] })),
            });
        }
    }
    Ok(targets)
}

/// One target: the component, from the Snapshot that was chosen when the session was validated.
async fn restore_targets(ctx: &Context, claim: &Claim, session: &RestoreSession) -> Result<Vec<Target>, AttachError> {
    let name = pinned_snapshot(session).ok_or_else(|| not_ready(claim, "its Snapshot has not been chosen yet".to_owned()))?;
    let namespace = source_namespace(session);
    let api: Api<Snapshot> = Api::namespaced(ctx.client.clone(), &namespace);
    let found = api.get_opt(name).await.map_err(|source| read("Snapshot", &namespace, name, source))?;
    let snapshot = found.ok_or_else(|| over(claim, &format!("Snapshot {namespace}/{name} is gone")))?;
    let wanted = [claim.component.clone()];
    let sources = components(&snapshot, &wanted, None).map_err(|error| over(claim, &error.to_string()))?;
    let subject = |component: &str| AccessSubject {
        subject: Some(Subject::RestoreSession(RestoreSessionAccess {
            restore_session: Some(session_ref(claim)),
            snapshot: Some(ObjectRef::named("Snapshot", namespace.clone(), name).with_uid(snapshot.uid().unwrap_or_default())),
            component: component.to_owned(),
        })),
    };
    let targets = sources.into_iter().map(|source| Target {
        id: claim.component.clone(),
        subject: Some(subject(&source.component)),
        component_path: source.path,
        work: Some(target::Work::Restore(RestoreWork { snapshot_ids: source.ids, root: String::new() })),
    });
    Ok(targets.collect())
}

/// The session's own word, else its configuration's.
fn source_errors(session: &SessionObject, configuration: Option<&BackupConfiguration>) -> SourceErrorPolicy {
    let chosen = annotation(session, annotations::SOURCE_ERRORS)
        .or_else(|| configuration?.annotations().get(annotations::SOURCE_ERRORS).cloned());
    match chosen.as_deref() {
        Some(REPORT) => SourceErrorPolicy::Report,
        Some(FAIL) => SourceErrorPolicy::Fail,
        _ => SourceErrorPolicy::Unspecified,
    }
}

/// What a restore does about its target. A word that became unknown after the session was validated is waited out.
fn target_policies(claim: &Claim, session: &SessionObject) -> Result<(ExistingPolicy, PrivilegedPolicy), AttachError> {
    let SessionObject::Restore(session) = session else {
        return Ok((ExistingPolicy::Unspecified, PrivilegedPolicy::Unspecified));
    };
    let policy = restore_policy(session).map_err(|error| not_ready(claim, error.to_string()))?;
    let existing = match policy.existing {
        Existing::Merge => ExistingPolicy::Merge,
        Existing::Replace => ExistingPolicy::Replace,
        Existing::Refuse => ExistingPolicy::Refuse,
    };
    let privileged = match policy.privileged {
        Privileged::Restore => PrivilegedPolicy::Restore,
        Privileged::Drop => PrivilegedPolicy::Drop,
    };
    Ok((existing, privileged))
}

fn annotation(session: &SessionObject, name: &str) -> Option<String> {
    let metadata = match session {
        SessionObject::Backup(session) => &session.metadata,
        SessionObject::Restore(session) => &session.metadata,
    };
    metadata.annotations.as_ref()?.get(name).cloned()
}

fn is_of(snapshot: &Snapshot, session_uid: &str) -> bool {
    snapshot.labels().get(labels::SESSION_UID).is_some_and(|uid| uid == session_uid)
}

fn session_ref(claim: &Claim) -> ObjectRef {
    ObjectRef::named(claim.kind.as_str(), claim.namespace.clone(), claim.session_name.clone()).with_uid(claim.session_uid.clone())
}

fn session_name(claim: &Claim) -> String {
    session_ref(claim).display().to_string()
}

fn not_ready(claim: &Claim, problem: String) -> AttachError {
    AttachError::NotReady { session: session_name(claim), problem }
}

fn over(claim: &Claim, problem: &str) -> AttachError {
    AttachError::Over { session: session_name(claim), problem: problem.to_owned() }
}

fn read(kind: &str, namespace: &str, name: &str, source: kube::Error) -> AttachError {
    AttachError::Api { what: format!("{kind} {namespace}/{name}"), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::attach::SessionKind;
    use crate::test_support::claim_of;
    use crd_types::RestoreSessionSpec;

    #[test]
    fn annotations_of_a_restore_reach_its_mover() {
        let claim = claim_of(SessionKind::Restore, "back", "uid", "dump", 1);
        let policies = |pairs: &[(&str, &str)]| {
            let mut session = RestoreSession::new("back", RestoreSessionSpec::default());
            let annotations = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            session.metadata.annotations = Some(annotations.collect());
            target_policies(&claim, &SessionObject::Restore(Box::new(session)))
        };
        assert_eq!(policies(&[]).unwrap(), (ExistingPolicy::Merge, PrivilegedPolicy::Restore));
        let chosen = policies(&[(annotations::EXISTING, "replace"), (annotations::PRIVILEGED, "drop")]);
        assert_eq!(chosen.unwrap(), (ExistingPolicy::Replace, PrivilegedPolicy::Drop));
        assert_eq!(policies(&[(annotations::EXISTING, "refuse")]).unwrap().0, ExistingPolicy::Refuse);
        let refused = policies(&[(annotations::PRIVILEGED, "dorp")]).unwrap_err().to_string();
        assert!(refused.contains("write restore or drop"), "{refused}");
    }
}
