//! A RestoreSession from a request, as a person would have written it.

use std::collections::BTreeMap;

use crd_types::{
    AddonInfo, ObjectReference, RestoreDataSource, RestoreSession, RestoreSessionSpec, TaskReference, TypedObjectReference,
};
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::session::v1alpha1::StartRestoreRequest;
use proto_api::status::ApiError;
use serde_json::Value;

/// Addon of workloads, unless the request names one.
const USUAL_ADDON: &str = "workload-addon";
/// Its restore task.
const USUAL_TASK: &str = "logical-backup-restore";

/// The object to create.
pub fn restore_session(request: &StartRestoreRequest) -> Result<RestoreSession, ApiError> {
    let StartRestoreRequest {
        restore_session,
        target,
        repository,
        snapshot,
        components,
        addon,
        task,
        parameters,
        encryption_secret,
    } = request;
    let session = restore_session.clone().unwrap_or_default();
    let repository = repository.clone().unwrap_or_default();
    for (value, what) in
        [(&session.namespace, "restore_session.namespace"), (&session.name, "restore_session.name"), (snapshot, "snapshot")]
    {
        if value.is_empty() {
            return Err(ApiError::invalid_argument(format!("{what} is missing")));
        }
    }
    let spec = RestoreSessionSpec {
        target: target.as_ref().map(|target| TypedObjectReference {
            api_group: Some(target.api_group.clone()),
            kind: Some(target.kind.clone()),
            name: target.name.clone(),
            namespace: Some(or(&target.namespace, &session.namespace)),
        }),
        data_source: Some(RestoreDataSource {
            namespace: filled(&repository.namespace),
            repository: filled(&repository.name),
            snapshot: filled(snapshot),
            components: components.clone(),
            encryption_secret: encryption_secret.as_ref().map(secret),
            ..RestoreDataSource::default()
        }),
        addon: Some(AddonInfo {
            name: Some(or(addon, USUAL_ADDON)),
            tasks: vec![TaskReference {
                name: Some(or(task, USUAL_TASK)),
                params: parameters
                    .iter()
                    .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                    .collect::<BTreeMap<_, _>>(),
                ..TaskReference::default()
            }],
            ..AddonInfo::default()
        }),
        ..RestoreSessionSpec::default()
    };
    Ok(RestoreSession::new(&session.name, spec).within(&session.namespace))
}

fn secret(reference: &ObjectRef) -> ObjectReference {
    ObjectReference { name: reference.name.clone(), namespace: filled(&reference.namespace) }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}
