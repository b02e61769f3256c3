//! Ending Jobs before their time.

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube_kit::apply::{ApplyError, Deletion};

use super::PodsError;
use crate::context::Context;

/// Tells the movers of these Jobs to stop and deletes the Jobs, pods first: a Job stays until its pods are gone, so that
/// it is seen for how long they may still write.
///
/// # Errors
/// [`PodsError`] when the API server does not answer. Jobs that are gone already are fine.
pub async fn stop_jobs(
    ctx: &Context,
    namespace: &str,
    session_uid: &str,
    jobs: &[String],
    reason: &str,
) -> Result<(), PodsError> {
    ctx.registry.cancel_jobs(session_uid, jobs, reason);
    let api: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    for name in jobs {
        let read = |source| PodsError::Api {
            what: "Jobs",
            namespace: namespace.to_owned(),
            session_uid: session_uid.to_owned(),
            source,
        };
        let Some(job) = api.get_opt(name).await.map_err(read)? else { continue };
        match Deletion::foreground().run(&api, &job).await {
            Ok(_) => tracing::info!(namespace, job = name, reason, "Job is being deleted"),
            Err(error) if ApplyError::is_not_found(&error) => {}
            Err(error) => return Err(PodsError::Delete(error)),
        }
    }
    Ok(())
}
