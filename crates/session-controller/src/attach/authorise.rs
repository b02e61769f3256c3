//! Who is calling: from the token to the pod, its Job and the session, with a proof at each step (architecture §5, §7).

use std::collections::BTreeMap;

use crd_types::{BackupSession, RestoreSession, phase};
use jiff::Timestamp;
use kube::{Api, Resource, ResourceExt as _};
use kube_kit::owners;
use planner::build::Work;
use planner::names::label_value;
use planner::restore;
use planner::session::{self, attempts_of};
use proto_api::{PROTOCOL_VERSION, audience, mover::v1alpha1::Hello};
use serde::de::DeserializeOwned;

use super::claim::Claim;
use super::{AttachError, SessionKind};
use crate::context::Context;
use crate::pods::{claims, is_genuine};

/// The session as it stands.
pub(super) enum SessionObject {
    Backup(Box<BackupSession>),
    Restore(Box<RestoreSession>),
}

/// Checks what a mover claims. The answer is the work that it may do.
pub(super) async fn authorise(ctx: &Context, token: &str, hello: &Hello) -> Result<(Claim, SessionObject), AttachError> {
    if hello.protocol_version != PROTOCOL_VERSION {
        return Err(AttachError::Protocol { found: hello.protocol_version, ours: PROTOCOL_VERSION });
    }
    let caller = ctx.reviewer.token(token, audience::SESSION).await?;
    let (Some((namespace, _)), Some(bound)) = (&caller.service_account, &caller.pod) else {
        return Err(AttachError::NoPod);
    };
    let reference = hello.session.clone().unwrap_or_default();
    let refuse = |problem| AttachError::Refused {
        namespace: namespace.clone(),
        pod: bound.name.clone(),
        claimed: reference.display().to_string(),
        problem,
    };
    let kind = SessionKind::of(&reference.kind).ok_or_else(|| refuse("no session of this kind has movers"))?;
    if reference.namespace != *namespace {
        return Err(refuse("the session is in another namespace"));
    }

    let pod = owners::running_pod(&ctx.client, namespace, bound).await?;
    let job = owners::job_of_pod(&ctx.client, &pod).await?;
    let key = ctx.proof_key().ok_or(AttachError::NotLeading)?;
    if !is_genuine(&job, namespace, &reference.uid, &key) {
        return Err(refuse("its Job was not made by Orlop for that session"));
    }
    let (claimed, _) = claims(&job, namespace, &reference.uid).ok_or_else(|| refuse("its Job lacks Orlop's labels"))?;
    let attempt = hello.attempt.to_string();
    let matches = claimed.session_kind == reference.kind
        && claimed.component == label_value(&hello.component)
        && claimed.attempt == attempt;
    if !matches {
        return Err(refuse("its Job does another component or attempt"));
    }
    let work = Work::from_label(claimed.work).ok_or_else(|| refuse("its Job does work that this version does not know"))?;
    if !owners::is_oldest_unfinished_pod(&ctx.client, &job, &pod).await? {
        return Err(refuse("another pod of the Job works already"));
    }

    let object = fetch(ctx, kind, namespace, &reference.name).await?;
    let standing = object.standing();
    let session = reference.display().to_string();
    if standing.uid != reference.uid {
        return Err(AttachError::Over { session, problem: "it was deleted and made anew".to_owned() });
    }
    if standing.deleting {
        return Err(AttachError::Over { session, problem: "it is being deleted".to_owned() });
    }
    if standing.complete {
        return Err(AttachError::Over { session, problem: "it has ended".to_owned() });
    }
    let known = ctx.registry.latest_attempt(&reference.uid, &hello.component);
    let begun = standing.begun(&hello.component).max(known);
    if begun > hello.attempt {
        let problem = format!("attempt {begun} of component {} has taken over from attempt {}", hello.component, hello.attempt);
        return Err(AttachError::Over { session, problem });
    }
    let claim = Claim {
        kind,
        namespace: namespace.clone(),
        session_name: reference.name.clone(),
        session_uid: reference.uid.clone(),
        component: hello.component.clone(),
        attempt: hello.attempt,
        work,
        job: job.name_any(),
        pod: pod.name_any(),
        node: pod.spec.and_then(|spec| spec.node_name).or(caller.node).unwrap_or_default(),
        deadline: standing.deadline,
    };
    Ok((claim, object))
}

/// What the checks need of a session.
struct Standing {
    uid: String,
    deleting: bool,
    complete: bool,
    attempts: BTreeMap<String, u32>,
    deadline: Timestamp,
}

impl Standing {
    fn begun(&self, component: &str) -> u32 {
        self.attempts.get(component).copied().unwrap_or(0)
    }
}

impl SessionObject {
    fn standing(&self) -> Standing {
        let limits = session::Limits::default();
        let (metadata, complete, timeout) = match self {
            Self::Backup(session) => {
                let status = session.status.clone().unwrap_or_default();
                let complete = phase::backup_session(&status).is_completed();
                (&session.metadata, complete, session.spec.backup_timeout.as_deref())
            }
            Self::Restore(session) => {
                let complete = restore::stage(session) == restore::Stage::Complete;
                (&session.metadata, complete, session.spec.restore_timeout.as_deref())
            }
        };
        let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        Standing {
            uid: metadata.uid.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            complete,
            attempts: attempts_of(metadata.annotations.as_ref()),
            deadline: session::deadline(created, timeout, &limits),
        }
    }
}

async fn fetch(ctx: &Context, kind: SessionKind, namespace: &str, name: &str) -> Result<SessionObject, AttachError> {
    match kind {
        SessionKind::Backup => get(ctx, namespace, name).await.map(|session| SessionObject::Backup(Box::new(session))),
        SessionKind::Restore => get(ctx, namespace, name).await.map(|session| SessionObject::Restore(Box::new(session))),
    }
}

async fn get<K>(ctx: &Context, namespace: &str, name: &str) -> Result<K, AttachError>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let session = format!("{} {namespace}/{name}", K::kind(&()));
    let found = Api::<K>::namespaced(ctx.client.clone(), namespace).get_opt(name).await;
    match found {
        Ok(Some(object)) => Ok(object),
        Ok(None) => Err(AttachError::Over { session, problem: "it is gone".to_owned() }),
        Err(source) => Err(AttachError::Api { what: session, source }),
    }
}

#[cfg(test)]
#[path = "authorise_tests.rs"]
mod tests;
