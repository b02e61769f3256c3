//! `orlop.storage.v1alpha1.StorageService`. Served by every replica, leader or not: it reads the API server itself.
//!
//! Movers ask for access ([`mover`] knows who they are, [`subject`] what their Job may claim, [`scope`] what that
//! entitles to, [`grant`] what they are given); platform tooling asks what Kubernetes would let it see
//! ([`platform`]).

mod grant;
mod mover;
mod page;
mod platform;
mod proof_key;
mod record;
mod scope;
mod subject;

use std::pin::Pin;

use futures::Stream;
use kube_kit::review::Reviewer;
use proto_api::{
    status::{ApiError, ErrorCode, ServiceError as _},
    storage::v1alpha1::{
        BrowseRequest, BrowseResponse, IssueAccessRequest, IssueAccessResponse, ListRepositoriesRequest,
        ListRepositoriesResponse, ListSnapshotsRequest, ListSnapshotsResponse, ProbeRequest, ProbeResponse, ReadFileRequest,
        ReadFileResponse, RecordRepositoryRequest, RecordRepositoryResponse,
        storage_service_server::{StorageService, StorageServiceServer},
    },
};
use service_kit::grpc::MAX_MESSAGE_BYTES;
use tonic::{Request, Response, Status};

use crate::context::Context;
use proof_key::ProofKeys;

/// Full name of the service, for health.
pub const NAME: &str = "orlop.storage.v1alpha1.StorageService";

/// The service.
#[derive(Clone)]
pub struct StorageApi {
    context: Context,
    reviewer: Reviewer,
    proof_keys: ProofKeys,
}

impl StorageApi {
    /// The service over this API server and these stores.
    pub fn new(context: Context) -> Self {
        let reviewer = Reviewer::new(context.client.clone());
        let proof_keys = ProofKeys::new(context.client.clone(), &context.namespace);
        Self { context, reviewer, proof_keys }
    }

    /// As tonic serves it.
    pub fn into_server(self) -> StorageServiceServer<Self> {
        StorageServiceServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Counts and logs a refusal on its way out.
    fn refuse(&self, method: &'static str, error: &ApiError) -> Status {
        if matches!(error.code(), ErrorCode::PermissionDenied | ErrorCode::Unauthenticated) {
            self.context.metrics.refused(error.code().label());
            tracing::warn!(method, %error, "call refused");
        } else {
            tracing::info!(method, code = error.code().label(), %error, "call failed");
        }
        error.to_status()
    }
}

/// Why a subject cannot be served yet.
fn unsupported(what: &str) -> ApiError {
    ApiError::new(ErrorCode::Unimplemented, format!("access for {what} is not supported yet"))
}

#[tonic::async_trait]
impl StorageService for StorageApi {
    type ReadFileStream = Pin<Box<dyn Stream<Item = Result<ReadFileResponse, Status>> + Send>>;

    async fn probe(&self, request: Request<ProbeRequest>) -> Result<Response<ProbeResponse>, Status> {
        let answer = platform::probe(self, &request).await;
        answer.map(Response::new).map_err(|error| self.refuse("Probe", &error))
    }

    async fn list_repositories(
        &self,
        request: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        let answer = platform::list_repositories(self, &request).await;
        answer.map(Response::new).map_err(|error| self.refuse("ListRepositories", &error))
    }

    async fn list_snapshots(&self, request: Request<ListSnapshotsRequest>) -> Result<Response<ListSnapshotsResponse>, Status> {
        let answer = platform::list_snapshots(self, &request).await;
        answer.map(Response::new).map_err(|error| self.refuse("ListSnapshots", &error))
    }

    async fn browse(&self, _: Request<BrowseRequest>) -> Result<Response<BrowseResponse>, Status> {
        Err(ApiError::unimplemented("StorageService.Browse").into())
    }

    async fn read_file(&self, _: Request<ReadFileRequest>) -> Result<Response<Self::ReadFileStream>, Status> {
        Err(ApiError::unimplemented("StorageService.ReadFile").into())
    }

    async fn issue_access(&self, request: Request<IssueAccessRequest>) -> Result<Response<IssueAccessResponse>, Status> {
        let answer = grant::issue(self, &request).await;
        answer.map(Response::new).map_err(|error| self.refuse("IssueAccess", &error))
    }

    async fn record_repository(
        &self,
        request: Request<RecordRepositoryRequest>,
    ) -> Result<Response<RecordRepositoryResponse>, Status> {
        let answer = record::record(self, &request).await;
        answer.map(Response::new).map_err(|error| self.refuse("RecordRepository", &error))
    }
}

#[cfg(test)]
mod tests;
