//! Jobs, status, retention and history of every backup and restore session.
//!
//! May use: crd-types, proto-api, planner, service-kit, kube-kit. Decides nothing by itself: `planner` does.

pub mod args;
pub mod attach;
pub mod backup_session;
pub mod context;
pub mod controllers;
pub mod grpc;
pub mod material;
pub mod metrics;
pub mod outcome;
pub mod pods;
pub mod prepare;
pub mod queue;
pub mod reads;
pub mod restore_session;
pub mod retention;
pub mod run;
pub mod settings;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod test_support;
