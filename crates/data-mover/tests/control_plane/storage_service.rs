//! StorageService of the tests.

use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures::Stream;
use proto_api::storage::v1alpha1::storage_service_server::StorageService;
use proto_api::storage::v1alpha1::*;
use tonic::{Request, Response, Status};

use super::{ControlPlane, State};

/// What one component path is granted.
#[derive(Clone)]
pub struct Grant {
    pub backend: Backend,
    pub values: Vec<(String, String)>,
    pub password: String,
    pub key_prefix: String,
    pub may_initialise: bool,
    pub expected_repository_id: String,
}

pub struct Storage {
    pub state: Arc<Mutex<State>>,
}

type Pieces = Pin<Box<dyn Stream<Item = Result<ReadFileResponse, Status>> + Send>>;

#[tonic::async_trait]
impl StorageService for Storage {
    type ReadFileStream = Pieces;

    async fn issue_access(&self, request: Request<IssueAccessRequest>) -> Result<Response<IssueAccessResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        ControlPlane::heard_token(&mut state, request.metadata())?;
        if let Some(refusal) = state.access_refusals.pop() {
            return Err(refusal);
        }
        // The tests' subjects carry the component path in the component's name.
        let component = match request.into_inner().subject.and_then(|subject| subject.subject) {
            Some(access_subject::Subject::BackupSession(access)) => access.component,
            Some(access_subject::Subject::RestoreSession(access)) => access.component,
            Some(access_subject::Subject::Retention(access)) => access.component_paths.into_iter().next().unwrap_or_default(),
            _ => return Err(Status::invalid_argument("no subject")),
        };
        let grant = state.access.get(&component).cloned().ok_or_else(|| Status::permission_denied("not granted"))?;
        Ok(Response::new(IssueAccessResponse {
            backend: Some(grant.backend),
            grant: Some(AccessGrant {
                grant: Some(access_grant::Grant::StorageKey(StorageKey { values: grant.values.into_iter().collect() })),
            }),
            repository_password: grant.password,
            repositories: vec![RepositoryAccess {
                component_path: component,
                key_prefix: grant.key_prefix,
                may_initialise: grant.may_initialise,
                expected_repository_id: grant.expected_repository_id,
            }],
            ..IssueAccessResponse::default()
        }))
    }

    async fn record_repository(
        &self,
        request: Request<RecordRepositoryRequest>,
    ) -> Result<Response<RecordRepositoryResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        ControlPlane::heard_token(&mut state, request.metadata())?;
        let request = request.into_inner();
        let recorded = state.recorded.entry(request.component_path).or_insert(request.repository_id);
        Ok(Response::new(RecordRepositoryResponse { repository_id: recorded.clone() }))
    }

    async fn probe(&self, _: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        Err(Status::unimplemented("not for movers"))
    }

    async fn list_repositories(&self, _: Request<ListRepositoriesRequest>) -> Result<Response<ListRepositoriesResponse>, Status> {
        Err(Status::unimplemented("not for movers"))
    }

    async fn list_snapshots(&self, _: Request<ListSnapshotsRequest>) -> Result<Response<ListSnapshotsResponse>, Status> {
        Err(Status::unimplemented("not for movers"))
    }

    async fn browse(&self, _: Request<BrowseRequest>) -> Result<Response<BrowseResponse>, Status> {
        Err(Status::unimplemented("not for movers"))
    }

    async fn read_file(&self, _: Request<ReadFileRequest>) -> Result<Response<Pieces>, Status> {
        Err(Status::unimplemented("not for movers"))
    }
}
