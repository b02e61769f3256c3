//! Reading a session's Jobs and pods.
//!
//! They are listed anew for each decision and not taken from a cache: a Job that was just made and is not yet in a cache
//! would look like one that somebody deleted, and a second attempt would start beside the first (invariant I4).

use crd_types::{annotations, labels};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{Api, api::ListParams};
use kube_kit::apply::ApplyError;
use kube_kit::error::{self, ReconcileError};
use kube_kit::owners::controller_of;
use planner::attempt::{JobState, JobView, POD_EXPECTED};
use service_kit::job_proof::{JobClaims, ProofKey};

use super::jobs::job_views;
use super::refusals::refusal;
use crate::context::Context;

/// Why Jobs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PodsError {
    /// The API server did not answer.
    #[error("{what} of session {session_uid} in namespace {namespace} cannot be read: {source}")]
    Api {
        /// Jobs, pods or events.
        what: &'static str,
        /// Namespace.
        namespace: String,
        /// UID of the session.
        session_uid: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// A Job could not be deleted.
    #[error(transparent)]
    Delete(#[from] ApplyError),
    /// The key that proves Jobs is not there yet.
    #[error("Secret orlop-job-proof has not been read yet: the storage-initializer's leader makes it")]
    NoProofKey,
}

impl ReconcileError for PodsError {
    fn category(&self) -> &'static str {
        match self {
            Self::Api { source, .. } => error::category(source),
            Self::Delete(error) => error.category(),
            Self::NoProofKey => "proof_key_missing",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Api { source, .. } => error::is_retryable(source),
            Self::Delete(error) => error.is_retryable(),
            Self::NoProofKey => true,
        }
    }
}

/// The Jobs that we made for a session, with their pods.
///
/// # Errors
/// [`PodsError`] when the API server or the key is not there.
pub async fn read_jobs(ctx: &Context, namespace: &str, session_uid: &str) -> Result<Vec<JobView>, PodsError> {
    let failed = |what| {
        move |source| PodsError::Api { what, namespace: namespace.to_owned(), session_uid: session_uid.to_owned(), source }
    };
    let key = ctx.proof_key().ok_or(PodsError::NoProofKey)?;
    let ours = ListParams::default().labels(&format!("{}={session_uid}", labels::SESSION_UID));
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), namespace);
    // Jobs first: a pod that is seen then always has a Job that was made before it.
    let mut jobs = jobs.list(&ours).await.map_err(failed("Jobs"))?.items;
    let pods = pods.list(&ours).await.map_err(failed("pods"))?.items;
    jobs.retain(|job| is_genuine(job, namespace, session_uid, &key));

    let now = ctx.now();
    let mut views = job_views(&jobs, &pods, now);
    for view in &mut views {
        let waited = now.duration_since(view.created);
        if view.state != JobState::Live || view.pod.is_some() || waited < POD_EXPECTED {
            continue;
        }
        let job = jobs.iter().find(|job| job.metadata.name.as_ref() == Some(&view.name));
        if let Some(uid) = job.and_then(|job| job.metadata.uid.as_deref()) {
            view.refusal = refusal(&ctx.client, namespace, uid).await.map_err(failed("events"))?;
        }
    }
    Ok(views)
}

/// Whether we made the Job for this session: anybody may write labels and owner references.
pub fn is_genuine(job: &Job, namespace: &str, session_uid: &str, key: &ProofKey) -> bool {
    let owned = controller_of(job).is_some_and(|owner| owner.uid == session_uid);
    owned && claims(job, namespace, session_uid).is_some_and(|(claims, proof)| key.verify(&claims, proof))
}

/// What a Job claims to be, and the proof that it bears.
pub fn claims<'a>(job: &'a Job, namespace: &'a str, session_uid: &'a str) -> Option<(JobClaims<'a>, &'a str)> {
    let metadata = &job.metadata;
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    let proof = metadata.annotations.as_ref()?.get(annotations::JOB_PROOF)?;
    let claims = JobClaims {
        namespace,
        job: metadata.name.as_deref()?,
        session_kind: label(labels::SESSION_KIND)?,
        session_uid,
        component: label(labels::SESSION_COMPONENT)?,
        attempt: label(labels::ATTEMPT)?,
        work: label(labels::WORK)?,
    };
    Some((claims, proof))
}
