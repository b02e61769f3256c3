//! The handlers, thin: who calls, then what it means.

use proto_api::schedule::v1alpha1::{
    ListRequest, ListResponse, PauseRequest, PauseResponse, PreviewRequest, PreviewResponse, ResumeRequest, ResumeResponse,
    TriggerRequest, TriggerResponse, schedule_service_server::ScheduleService,
};
use tonic::{Request, Response, Status};

use super::{
    authorise::{self, TriggerCaller},
    list, pause, trigger,
};
use crate::context::Context;

/// Serves `ScheduleService`.
pub struct ScheduleServer {
    context: Context,
}

impl ScheduleServer {
    /// A server.
    pub fn new(context: Context) -> Self {
        Self { context }
    }
}

#[tonic::async_trait]
impl ScheduleService for ScheduleServer {
    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let caller = authorise::caller(&self.context.reviewer, request.metadata()).await?;
        Ok(Response::new(list::list(&self.context, &caller, request.get_ref()).await?))
    }

    async fn preview(&self, request: Request<PreviewRequest>) -> Result<Response<PreviewResponse>, Status> {
        authorise::caller(&self.context.reviewer, request.metadata()).await?;
        Ok(Response::new(list::preview(request.get_ref(), self.context.now())?))
    }

    async fn trigger(&self, request: Request<TriggerRequest>) -> Result<Response<TriggerResponse>, Status> {
        let caller = authorise::trigger_caller(&self.context.reviewer, request.metadata()).await?;
        let request = request.get_ref();
        let answer = match &caller {
            TriggerCaller::Pod(caller) => trigger::by_pod(&self.context, caller, request).await?,
            TriggerCaller::Platform(caller) => trigger::by_platform(&self.context, caller, request).await?,
        };
        Ok(Response::new(answer))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        let caller = authorise::caller(&self.context.reviewer, request.metadata()).await?;
        pause::set(&self.context, &caller, request.into_inner().backup_configuration, true).await?;
        Ok(Response::new(PauseResponse {}))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        let caller = authorise::caller(&self.context.reviewer, request.metadata()).await?;
        pause::set(&self.context, &caller, request.into_inner().backup_configuration, false).await?;
        Ok(Response::new(ResumeResponse {}))
    }
}
