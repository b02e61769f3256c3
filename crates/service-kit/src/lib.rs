//! What every process needs around its work: arguments, telemetry, metrics, health, TLS, gRPC, shutdown.
//!
//! Floor 1 of the house: uses `proto-api`, knows nothing of Kubernetes or storage. A process reads like this: install
//! the TLS provider, parse arguments, start telemetry, register metrics and readiness gates, hand its tasks to a
//! [`supervise::Supervisor`] and wait for it.

pub mod args;
pub mod auth;
pub mod client;
pub mod deadline;
pub mod environment;
pub mod grpc;
mod grpc_metrics;
pub mod http;
pub mod job_proof;
pub mod metrics;
pub mod readiness;
pub mod supervise;
pub mod telemetry;
pub mod tls;
pub mod trace_context;

#[cfg(test)]
mod test_certificates;
