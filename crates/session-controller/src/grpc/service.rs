//! The service itself: check the caller, do one thing, answer.

use std::pin::Pin;

use crd_types::{BackupSession, RestoreSession, annotations, names::manager};
use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use kube_kit::error;
use kube_kit::review::Access;
use proto_api::common::v1alpha1::ObjectRef;
use proto_api::session::v1alpha1::session_service_server::SessionService;
use proto_api::session::v1alpha1::{self as pb};
use proto_api::status::ApiError;
use serde::de::DeserializeOwned;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::authorise::{caller, require, require_access, streaming_caller};
use super::convert::{self, RESTORE_SESSION};
use super::{explain, read, start_restore};
use crate::context::Context;

/// Serves `orlop.session.v1alpha1.SessionService`, on every replica: it reads and writes through the API server only.
#[derive(Clone)]
pub struct SessionServer {
    context: Context,
}

type SessionStream = Pin<Box<dyn Stream<Item = Result<pb::WatchResponse, Status>> + Send>>;

impl SessionServer {
    /// A server that acts through the context's client.
    pub fn new(context: Context) -> Self {
        Self { context }
    }

    async fn start(&self, request: Request<pb::StartRestoreRequest>) -> Result<pb::StartRestoreResponse, ApiError> {
        let reviewer = &self.context.reviewer;
        let caller = caller(reviewer, &request).await?;
        let session = start_restore::restore_session(request.get_ref())?;
        let namespace = session.metadata.namespace.clone().unwrap_or_default();
        require(reviewer, &caller, "create", "restoresessions", &namespace, "").await?;
        // A Secret that the caller could not read himself must not be read for him (architecture §7).
        if let Some(secret) = session.spec.data_source.as_ref().and_then(|source| source.encryption_secret.as_ref()) {
            let namespace = secret.namespace.clone().unwrap_or_else(|| namespace.clone());
            let access =
                Access { verb: "get", group: "", resource: "secrets", subresource: "", namespace, name: secret.name.clone() };
            require_access(reviewer, &caller, &access).await?;
        }
        let api: Api<RestoreSession> = Api::namespaced(self.context.client.clone(), &namespace);
        let parameters = PostParams { field_manager: Some(manager::SESSION_CONTROLLER.to_owned()), ..PostParams::default() };
        let created = match api.create(&parameters, &session).await {
            Ok(created) => created,
            Err(cause) if error::is_already_exists(&cause) => self.same_restore(&api, &session).await?,
            Err(cause) if error::is_invalid(&cause) => return Err(ApiError::invalid_argument(cause.to_string())),
            Err(cause) => return Err(ApiError::unavailable(format!("the RestoreSession cannot be created now: {cause}"))),
        };
        Ok(pb::StartRestoreResponse { restore_session: Some(convert::reference(RESTORE_SESSION, &created.metadata)) })
    }

    /// A repeated call finds what the first one made; a different restore of that name is refused.
    async fn same_restore(&self, api: &Api<RestoreSession>, wanted: &RestoreSession) -> Result<RestoreSession, ApiError> {
        let name = wanted.metadata.name.clone().unwrap_or_default();
        let found = api.get(&name).await.map_err(|cause| ApiError::unavailable(cause.to_string()))?;
        if found.spec == wanted.spec {
            return Ok(found);
        }
        Err(ApiError::failed_precondition(format!("RestoreSession {name} exists and restores something else"))
            .with_remedy("choose another name"))
    }

    async fn read(&self, request: Request<pb::GetRequest>) -> Result<pb::Session, ApiError> {
        let caller = caller(&self.context.reviewer, &request).await?;
        let reference = read::named(request.into_inner().session)?;
        self.may(&caller, "get", &reference).await?;
        read::session(&self.context.client, &reference).await
    }

    async fn may(&self, caller: &kube_kit::review::Caller, verb: &'static str, session: &ObjectRef) -> Result<(), ApiError> {
        let resource = read::resource(&session.kind)?;
        require(&self.context.reviewer, caller, verb, resource, &session.namespace, &session.name).await
    }

    async fn page(&self, request: Request<pb::ListRequest>) -> Result<pb::ListResponse, ApiError> {
        let caller = caller(&self.context.reviewer, &request).await?;
        let request = request.into_inner();
        let kinds: &[&str] = match request.kind.as_str() {
            "" => &["backupsessions", "restoresessions"],
            kind => &[read::resource(kind)?],
        };
        for resource in kinds {
            require(&self.context.reviewer, &caller, "list", resource, &request.namespace, "").await?;
        }
        let (sessions, next_page_token) = read::page(read::list(&self.context.client, &request).await?, request.page.as_ref())?;
        Ok(pb::ListResponse { sessions, next_page_token })
    }

    async fn follow(&self, request: Request<pb::WatchRequest>) -> Result<SessionStream, ApiError> {
        let caller = streaming_caller(&self.context.reviewer, &request).await?;
        let reference = read::named(request.into_inner().session)?;
        self.may(&caller, "watch", &reference).await?;
        if reference.kind == RESTORE_SESSION {
            self.changes::<RestoreSession>(reference).await
        } else {
            self.changes::<BackupSession>(reference).await
        }
    }

    /// One answer for each change of the object, the last one when it is complete or gone.
    async fn changes<K>(&self, reference: ObjectRef) -> Result<SessionStream, ApiError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        read::session(&self.context.client, &reference).await?;
        let api: Api<K> = Api::namespaced(self.context.client.clone(), &reference.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", reference.name));
        let client = self.context.client.clone();
        let states = watcher(api, config).default_backoff().touched_objects().then(move |event| {
            let (client, reference) = (client.clone(), reference.clone());
            async move {
                event.map_err(|cause| ApiError::unavailable(format!("the watch broke: {cause}")))?;
                read::session(&client, &reference).await
            }
        });
        let answers = until_complete(states)
            .map(|state| state.map(|session| pb::WatchResponse { session: Some(session) }).map_err(Status::from));
        Ok(Box::pin(answers))
    }

    async fn stop(&self, request: Request<pb::CancelRequest>) -> Result<(), ApiError> {
        let caller = caller(&self.context.reviewer, &request).await?;
        let request = request.into_inner();
        let reference = read::named(request.session)?;
        self.may(&caller, "patch", &reference).await?;
        let session = read::session(&self.context.client, &reference).await?;
        if session.complete {
            return Err(ApiError::failed_precondition(format!(
                "{} {}/{} is complete",
                reference.kind, reference.namespace, reference.name
            )));
        }
        let reason = if request.reason.is_empty() { format!("asked for by {}", caller.username) } else { request.reason };
        if reference.kind == RESTORE_SESSION {
            self.annotate::<RestoreSession>(&reference, &reason).await
        } else {
            self.annotate::<BackupSession>(&reference, &reason).await
        }
    }

    async fn annotate<K>(&self, reference: &ObjectRef, reason: &str) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.context.client.clone(), &reference.namespace);
        let patch = json!({"metadata": {"annotations": {annotations::CANCEL: reason}}});
        let patched = api.patch(&reference.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.map(drop).map_err(|cause| ApiError::unavailable(format!("the request to cancel cannot be recorded now: {cause}")))
    }

    async fn chain(&self, request: Request<pb::ExplainRequest>) -> Result<pb::ExplainResponse, ApiError> {
        let caller = caller(&self.context.reviewer, &request).await?;
        let reference = read::named(request.into_inner().session)?;
        self.may(&caller, "get", &reference).await?;
        let session = read::session(&self.context.client, &reference).await?;
        Ok(pb::ExplainResponse { reasons: explain::reasons(&session) })
    }
}

/// The states of a session up to the one that completes it, or the first that cannot be told. It ends with that one:
/// a session that is complete changes no more, so waiting for the next event would keep the caller for ever.
fn until_complete(
    states: impl Stream<Item = Result<pb::Session, ApiError>> + Send + 'static,
) -> impl Stream<Item = Result<pb::Session, ApiError>> + Send {
    stream::unfold(Some(Box::pin(states)), |states| async {
        let mut states = states?;
        let state = states.next().await?;
        let more = state.as_ref().is_ok_and(|session| !session.complete);
        Some((state, more.then_some(states)))
    })
}

#[tonic::async_trait]
impl SessionService for SessionServer {
    type WatchStream = SessionStream;

    async fn start_restore(
        &self,
        request: Request<pb::StartRestoreRequest>,
    ) -> Result<Response<pb::StartRestoreResponse>, Status> {
        Ok(Response::new(self.start(request).await?))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        Ok(Response::new(pb::GetResponse { session: Some(self.read(request).await?) }))
    }

    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        Ok(Response::new(self.page(request).await?))
    }

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(self.follow(request).await?))
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Result<Response<pb::CancelResponse>, Status> {
        self.stop(request).await?;
        Ok(Response::new(pb::CancelResponse {}))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Result<Response<pb::ExplainResponse>, Status> {
        Ok(Response::new(self.chain(request).await?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn state(complete: bool) -> Result<pb::Session, ApiError> {
        Ok(pb::Session { complete, ..pb::Session::default() })
    }

    /// The watch of a finished session ends by itself, though the API server never sends another event.
    #[tokio::test]
    async fn a_watch_ends_with_the_completing_state() {
        let quiet = stream::iter([state(false), state(false), state(true)]).chain(stream::pending());
        let told: Vec<_> = until_complete(quiet).map(|state| state.unwrap().complete).collect().await;
        assert_eq!(told, [false, false, true]);
    }

    #[tokio::test]
    async fn a_watch_ends_with_the_first_error() {
        let broken = stream::iter([state(false), Err(ApiError::not_found("gone"))]).chain(stream::pending());
        let told: Vec<_> = until_complete(broken).map(|state| state.is_ok()).collect().await;
        assert_eq!(told, [true, false]);
    }
}
