//! Who is calling: from the token to the pod, its Job, and the proof that the Job is ours (architecture §5).

use crd_types::{annotations, labels};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::ResourceExt as _;
use kube_kit::{
    error::ReconcileError as _,
    owners::{self, OwnerError},
    review::ReviewError,
};
use proto_api::{audience, status::ApiError};
use service_kit::{auth::bearer_token, job_proof::JobClaims};
use tonic::metadata::MetadataMap;

use super::StorageApi;

/// A running mover of ours.
#[derive(Clone, Debug)]
pub(super) struct Mover {
    /// Namespace of the pod, its Job and the session.
    pub(super) namespace: String,
    /// Name of the pod.
    pub(super) pod: String,
    /// Name of the Job.
    pub(super) job: String,
    /// The session that owns the Job.
    pub(super) session: OwnerReference,
    /// Value of the Job's component label.
    pub(super) component: String,
    /// Value of the Job's work label.
    pub(super) work: String,
}

/// Recognises a mover by its token.
///
/// # Errors
/// `Unauthenticated` for a token that is none, expired or of another audience; `PermissionDenied` for a pod that is not
/// a running mover of ours; `Unavailable` when the API server cannot be asked.
pub(super) async fn recognise(api: &StorageApi, metadata: &MetadataMap) -> Result<Mover, ApiError> {
    let token = bearer_token(metadata)?;
    let caller = api.reviewer.token(token, audience::STORAGE).await.map_err(|error| review_failed(&error))?;
    let not_a_mover = |what: &str| {
        ApiError::permission_denied(format!("{} {what}", caller.username))
            .with_remedy("only pods of Orlop's Jobs are given access, with the token that is mounted into them")
    };
    let Some((namespace, _)) = caller.service_account.clone() else {
        return Err(not_a_mover("is not a ServiceAccount"));
    };
    let Some(bound) = &caller.pod else {
        return Err(not_a_mover("shows a token that is not bound to a pod"));
    };
    let client = &api.context.client;
    let pod = owners::running_pod(client, &namespace, bound).await.map_err(|error| owner_failed(&error))?;
    let job = owners::job_of_pod(client, &pod).await.map_err(|error| owner_failed(&error))?;
    let mover = claim(&job, &namespace, &bound.name)?;
    if !api.proof_keys.verify(&claims(&mover, &job), proof(&job)).await? {
        let problem = format!("Job {namespace}/{} bears no valid proof that Orlop made it", mover.job);
        return Err(ApiError::permission_denied(problem));
    }
    if !owners::is_oldest_unfinished_pod(client, &job, &pod).await.map_err(|error| owner_failed(&error))? {
        let problem = format!("Pod {namespace}/{} is not the one that Job {} runs", bound.name, mover.job);
        return Err(ApiError::permission_denied(problem));
    }
    Ok(mover)
}

/// What the Job says of itself; worth nothing before its proof is verified.
fn claim(job: &Job, namespace: &str, pod: &str) -> Result<Mover, ApiError> {
    let name = job.name_any();
    let denied = |what: &str| ApiError::permission_denied(format!("Job {namespace}/{name} {what}"));
    let session = owners::controller_of(job).cloned().ok_or_else(|| denied("is not controlled by a session"))?;
    let label = |key: &str| job.labels().get(key).cloned().unwrap_or_default();
    if label(labels::SESSION_UID) != session.uid || label(labels::SESSION_KIND) != session.kind {
        return Err(denied("is controlled by another object than its labels say"));
    }
    Ok(Mover {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        session,
        component: label(labels::SESSION_COMPONENT),
        work: label(labels::WORK),
        job: name,
    })
}

fn claims<'a>(mover: &'a Mover, job: &'a Job) -> JobClaims<'a> {
    JobClaims {
        namespace: &mover.namespace,
        job: &mover.job,
        session_kind: &mover.session.kind,
        session_uid: &mover.session.uid,
        component: &mover.component,
        attempt: job.labels().get(labels::ATTEMPT).map(String::as_str).unwrap_or_default(),
        work: &mover.work,
    }
}

fn proof(job: &Job) -> &str {
    job.annotations().get(annotations::JOB_PROOF).map(String::as_str).unwrap_or_default()
}

/// What a failed review means to the caller.
pub(super) fn review_failed(error: &ReviewError) -> ApiError {
    match error {
        ReviewError::Unauthenticated { .. } => ApiError::unauthenticated(error.to_string()),
        ReviewError::Api(_) | ReviewError::TimedOut(_) => ApiError::unavailable(error.to_string()),
    }
}

fn owner_failed(error: &OwnerError) -> ApiError {
    if error.is_retryable() { ApiError::unavailable(error.to_string()) } else { ApiError::permission_denied(error.to_string()) }
}
