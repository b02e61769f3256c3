//! How Orlop talks to the API server: writing objects and status, conditions, events, finalizers, leader election,
//! running controllers, and reviewing callers.
//!
//! It knows Kubernetes but no backup: no phase, no schedule, no repository. What should be done is decided in `planner`
//! and said by the services; here is how it is done safely.
//!
//! ```text
//!  crd-types, service-kit  <-  kube-kit  <-  storage-initializer, scheduler, session-controller
//! ```

pub mod apply;
pub mod client;
pub mod conditions;
pub mod controller;
mod covers;
mod delete;
pub mod error;
pub mod events;
pub mod finalize;
pub mod identity;
pub mod lease;
pub mod own_writes;
pub mod owners;
pub mod review;
pub mod secrets;
pub mod status;

pub use error::ReconcileError;
