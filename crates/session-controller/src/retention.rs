//! What retention has to do after a BackupSession: reads the policies and the Snapshots, and asks the planner.

use std::collections::{BTreeMap, BTreeSet};

use crd_types::{
    BackupConfiguration, BackupSession, ObjectReference, RestoreSession, RetentionPolicy, Session, Snapshot, labels,
};
use kube::ResourceExt as _;
use planner::access::{Subject, admits, default_retention_policy};
use planner::layout::ComponentPath;
use planner::names::label_value;
use planner::restore::{Stage, pinned_snapshot, source_namespace, stage};
use planner::retention::{Rules, SnapshotView, plan};
use planner::session::{Removal, RetentionVerdict, RetentionView};

use crate::context::Context;
use crate::reads::{ReadError, find, list, namespace_labels};

/// What retention has to do in each Repository of a session.
///
/// # Errors
/// [`ReadError`] when the API server does not answer; anything else is part of a verdict.
pub async fn views(ctx: &Context, session: &BackupSession) -> Result<Vec<RetentionView>, ReadError> {
    let namespace = session.namespace().unwrap_or_default();
    let invoker = session.spec.invoker.as_ref().map(|invoker| invoker.name.clone()).unwrap_or_default();
    let configuration: Option<BackupConfiguration> = find(ctx, &namespace, &invoker).await?;
    let entry = configuration.as_ref().and_then(|configuration| entry_of(configuration, session));
    let (Some(configuration), Some(entry)) = (&configuration, entry) else { return Ok(Vec::new()) };

    let namespace_labels = namespace_labels(ctx, &namespace).await?;
    let readers = readers(ctx, &namespace).await?;
    let mut views = Vec::new();
    let repositories = session.status.iter().flat_map(|status| &status.snapshots);
    let repositories: BTreeSet<String> = repositories.filter_map(|entry| entry.repository.clone()).collect();
    for repository in repositories {
        let found = policy_of(ctx, configuration, entry, &repository, &namespace_labels).await?;
        let (policy, verdict) = match found {
            Policy::None(why) => (None, RetentionVerdict::NoPolicy(why)),
            Policy::Missing(reference, why) => (Some(reference), RetentionVerdict::NoPolicy(why)),
            Policy::Unusable(reference, why) => (Some(reference), RetentionVerdict::Unusable(why)),
            Policy::Rules(reference, rules) => {
                let selector = format!("{}={}", labels::REPO_NAME, label_value(&repository));
                let mut snapshots: Vec<Snapshot> = list(ctx, &namespace, Some(&selector)).await?;
                snapshots.retain(|snapshot| {
                    snapshot.spec.repository.as_ref() == Some(&repository) && snapshot.spec.session == session.spec.session
                });
                (Some(reference), RetentionVerdict::Remove(removals(&rules, &snapshots, &readers, ctx.now())))
            }
        };
        views.push(RetentionView { repository, policy, verdict });
    }
    Ok(views)
}

/// The Snapshots that go, by the rules. Data that a Snapshot which stays refers to stays too (invariant I1).
fn removals(rules: &Rules, snapshots: &[Snapshot], readers: &BTreeMap<String, String>, now: jiff::Timestamp) -> Vec<Removal> {
    let mut views: Vec<SnapshotView> = snapshots.iter().filter_map(SnapshotView::of).collect();
    for view in &mut views {
        view.in_use = readers.get(&view.name).cloned();
    }
    let plan = plan(rules, &views, now);
    for verdict in &plan.verdicts {
        tracing::debug!(snapshot = verdict.name, verdict = verdict.message, "retention");
    }
    let gone: BTreeSet<&str> = plan.removals().into_iter().collect();
    let (removed, kept): (Vec<&Snapshot>, Vec<&Snapshot>) =
        snapshots.iter().partition(|snapshot| gone.contains(snapshot.name_any().as_str()));
    let needed: BTreeSet<(String, String)> = kept.into_iter().flat_map(data).collect();
    let data_gone = |name: &str| views.iter().any(|view| view.name == name && view.data_removed);
    removed
        .into_iter()
        .map(|snapshot| {
            let name = snapshot.name_any();
            let data = if data_gone(&name) { Vec::new() } else { data(snapshot) };
            Removal { data: data.into_iter().filter(|pair| !needed.contains(pair)).collect(), snapshot: name }
        })
        .collect()
}

/// Component path and restic snapshot of everything a Snapshot holds. A path that is none of ours leads nowhere.
fn data(snapshot: &Snapshot) -> Vec<(String, String)> {
    let components = snapshot.status.iter().flat_map(|status| status.components.values());
    components
        .filter_map(|component| Some((ComponentPath::parse(component.path.as_deref()?).ok()?.to_string(), component)))
        .flat_map(|(path, component)| {
            let summaries = component.restic_stats.iter().filter_map(|stats| stats.summary.as_ref());
            summaries.filter_map(|summary| summary.id.clone()).map(move |id| (path.clone(), id)).collect::<Vec<_>>()
        })
        .collect()
}

/// Snapshots of a namespace that a running restore reads, and which one.
async fn readers(ctx: &Context, namespace: &str) -> Result<BTreeMap<String, String>, ReadError> {
    let sessions: Vec<RestoreSession> = list(ctx, "", None).await?;
    let running = sessions.iter().filter(|session| stage(session) == Stage::Run && source_namespace(session) == namespace);
    let named = running.filter_map(|session| {
        let reader = format!("RestoreSession {}/{}", session.namespace().unwrap_or_default(), session.name_any());
        Some((pinned_snapshot(session)?.to_owned(), reader))
    });
    Ok(named.collect())
}

/// The policy of a Repository.
enum Policy {
    /// None is named, and none is the default.
    None(String),
    /// The one that is named does not exist.
    Missing(ObjectReference, String),
    /// It may not be used, or cannot be applied.
    Unusable(ObjectReference, String),
    /// It can.
    Rules(ObjectReference, Rules),
}

async fn policy_of(
    ctx: &Context,
    configuration: &BackupConfiguration,
    entry: &Session,
    repository: &str,
    namespace_labels: &BTreeMap<String, String>,
) -> Result<Policy, ReadError> {
    let namespace = configuration.namespace().unwrap_or_default();
    let info = entry.repositories.iter().find(|info| info.name.as_deref() == Some(repository));
    let wanted = info.and_then(|info| info.backend.as_deref()).unwrap_or_default();
    let backend = configuration.spec.backends.iter().find(|backend| backend.name.as_deref().unwrap_or_default() == wanted);
    let named = backend.and_then(|backend| backend.retention_policy.clone());
    let policy = match named {
        Some(reference) => {
            let at = reference.namespace.clone().filter(|at| !at.is_empty()).unwrap_or_else(|| namespace.clone());
            let reference = ObjectReference { name: reference.name, namespace: Some(at.clone()) };
            match find::<RetentionPolicy>(ctx, &at, &reference.name).await? {
                Some(policy) => policy,
                None => {
                    let why = format!("RetentionPolicy {at}/{} does not exist; create it", reference.name);
                    return Ok(Policy::Missing(reference, why));
                }
            }
        }
        None => {
            let all: Vec<RetentionPolicy> = list(ctx, "", None).await?;
            match default_retention_policy(&all, &namespace, namespace_labels) {
                Some(policy) => policy.clone(),
                None => return Ok(Policy::None("the backend names no RetentionPolicy and there is no default one".to_owned())),
            }
        }
    };
    let at = policy.namespace().unwrap_or_default();
    let reference = ObjectReference { name: policy.name_any(), namespace: Some(at.clone()) };
    let subject = Subject::new("RetentionPolicy", at, policy.name_any());
    if let Err(refusal) = admits(policy.spec.usage_policy.as_ref(), &subject, &namespace, namespace_labels) {
        return Ok(Policy::Unusable(reference, refusal.to_string()));
    }
    Ok(match Rules::from_policy(&policy) {
        Ok(rules) => Policy::Rules(reference, rules),
        Err(error) => Policy::Unusable(reference, error.to_string()),
    })
}

fn entry_of<'a>(configuration: &'a BackupConfiguration, session: &BackupSession) -> Option<&'a Session> {
    let name = session.spec.session.as_deref()?;
    configuration.spec.sessions.iter().find(|entry| entry.name.as_deref() == Some(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use planner::retention::KeepCounts;
    use serde_json::json;

    use super::*;

    fn snapshot(name: &str, day: u8, ids: &[&str]) -> Snapshot {
        let stats: Vec<_> = ids.iter().map(|id| json!({"summary": {"id": id, "hostPath": "/data"}})).collect();
        serde_json::from_value(json!({
            "apiVersion": "storage.kubestash.com/v1alpha1", "kind": "Snapshot",
            "metadata": {"name": name, "namespace": "demo"},
            "spec": {"repository": "web", "session": "nightly"},
            "status": {
                "phase": "Succeeded", "snapshotTime": format!("2026-01-{day:02}T00:00:00Z"),
                "components": {"dump": {"path": "repository/v1/nightly/dump", "resticStats": stats}},
            },
        }))
        .unwrap()
    }

    fn keep_last(last: u32) -> Rules {
        Rules { max_age: None, successful: Some(KeepCounts { last, ..KeepCounts::default() }), failed_last: 1 }
    }

    fn at() -> jiff::Timestamp {
        "2026-02-01T00:00:00Z".parse().unwrap()
    }

    /// I1: what a Snapshot that stays refers to is not forgotten, even if one that goes refers to it too.
    #[test]
    fn shared_data_stays() {
        let snapshots =
            [snapshot("new", 3, &["c"]), snapshot("middle", 2, &["b", "shared"]), snapshot("old", 1, &["a", "shared"])];
        let removals = removals(&keep_last(2), &snapshots, &BTreeMap::new(), at());
        let path = "repository/v1/nightly/dump".to_owned();
        assert_eq!(removals, [Removal { snapshot: "old".into(), data: vec![(path, "a".into())] }]);
    }

    /// G11: what a restore reads stays until the restore is over.
    #[test]
    fn a_snapshot_in_use_stays() {
        let snapshots = [snapshot("new", 3, &["c"]), snapshot("old", 1, &["a"])];
        let readers = BTreeMap::from([("old".to_owned(), "RestoreSession demo/back".to_owned())]);
        assert_eq!(removals(&keep_last(1), &snapshots, &readers, at()), []);
    }

    /// A Snapshot whose data is gone already needs no mover.
    #[test]
    fn an_emptied_snapshot_goes_without_work() {
        let mut emptied = snapshot("emptied", 2, &["b"]);
        let note = (planner::retention::DATA_REMOVED_ANNOTATION.to_owned(), "2026-01-05T00:00:00Z".to_owned());
        emptied.metadata.annotations = Some([note].into());
        let removals = removals(&keep_last(1), &[snapshot("new", 3, &["c"]), emptied], &BTreeMap::new(), at());
        assert_eq!(removals, [Removal { snapshot: "emptied".into(), data: Vec::new() }]);
    }
}
