//! Why no pod of a Job can be made: quotas, Pod Security, admission. The Job controller says it in an event only.

use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, api::ListParams};

/// The newest refusal of the API server to make a pod of the Job, in its own words.
///
/// # Errors
/// The API server's answer when events cannot be read.
pub(super) async fn refusal(client: &Client, namespace: &str, job_uid: &str) -> Result<Option<String>, kube::Error> {
    let selector = format!("involvedObject.uid={job_uid},reason=FailedCreate");
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let events = api.list(&ListParams::default().fields(&selector)).await?;
    let seen = |event: &Event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        series.or(last).or(event.event_time.as_ref().map(|time| time.0))
    };
    let newest = events.items.into_iter().max_by_key(seen);
    Ok(newest.and_then(|event| event.message).filter(|message| !message.is_empty()))
}
