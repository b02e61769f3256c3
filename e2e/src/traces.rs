//! Where the services and movers of the cluster send their traces while scenarios run: a receiver of OTLP over gRPC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::HOST_ADDRESS;

/// Port that the tests' chart values name.
const PORT: u16 = 4317;

/// Names of spans by service.
pub type Spans = BTreeMap<String, BTreeSet<String>>;

/// Everything received, by trace id in hexadecimal. Clones share it.
#[derive(Clone, Default)]
pub struct Traces(Arc<Mutex<BTreeMap<String, Spans>>>);

impl Traces {
    /// The receiver of this process; started by the first who asks.
    pub fn receive() -> Result<Self> {
        static RECEIVER: OnceLock<Traces> = OnceLock::new();
        if let Some(known) = RECEIVER.get() {
            return Ok(known.clone());
        }
        let listener = std::net::TcpListener::bind((HOST_ADDRESS, PORT)).context("the port of the trace receiver")?;
        listener.set_nonblocking(true)?;
        let traces = RECEIVER.get_or_init(Self::default).clone();
        let service = TraceServiceServer::new(traces.clone());
        // Each scenario has a runtime that ends with it, so the receiver has its own.
        std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener)?);
                Ok(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await?)
            })
        });
        Ok(traces)
    }

    /// The spans of a trace, so far.
    pub fn of(&self, trace_id: &str) -> Spans {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(trace_id).cloned().unwrap_or_default()
    }
}

#[tonic::async_trait]
impl TraceService for Traces {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for resource_spans in request.into_inner().resource_spans {
            let service = service_name(resource_spans.resource.as_ref());
            for span in resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let trace_id = span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
                let spans: &mut Spans = known.entry(trace_id).or_default();
                spans.entry(service.clone()).or_default().insert(span.name);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn service_name(resource: Option<&Resource>) -> String {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    match name.and_then(|name| name.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(name)) => name.clone(),
        _ => String::new(),
    }
}
