//! ScheduleService of the tests.

use std::sync::{Arc, Mutex};

use proto_api::common::v1alpha1::ObjectRef;
use proto_api::schedule::v1alpha1::schedule_service_server::ScheduleService;
use proto_api::schedule::v1alpha1::*;
use tonic::{Request, Response, Status};

use super::{ControlPlane, State};

pub struct Schedules {
    pub state: Arc<Mutex<State>>,
}

#[tonic::async_trait]
impl ScheduleService for Schedules {
    async fn trigger(&self, request: Request<TriggerRequest>) -> Result<Response<TriggerResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        ControlPlane::heard_token(&mut state, request.metadata())?;
        service_kit::deadline::required(request.metadata())?;
        if let Some(refusal) = state.trigger_refusals.pop() {
            return Err(refusal);
        }
        state.triggered.push(request.into_inner().session);
        let backup_session = Some(ObjectRef::named("BackupSession", "demo", "web-nightly-1"));
        Ok(Response::new(TriggerResponse { backup_session, created: true, reason: String::new() }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Err(Status::unimplemented("not for triggers"))
    }

    async fn preview(&self, _: Request<PreviewRequest>) -> Result<Response<PreviewResponse>, Status> {
        Err(Status::unimplemented("not for triggers"))
    }

    async fn pause(&self, _: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        Err(Status::unimplemented("not for triggers"))
    }

    async fn resume(&self, _: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        Err(Status::unimplemented("not for triggers"))
    }
}
