//! KubeStash's custom resources as Rust types, and everything that has a fixed name: phases, conditions, labels,
//! annotations.
//!
//! This crate only describes. It has no client, no clock and no I/O, and it depends on no other crate of the
//! workspace; all others may depend on it.
//!
//! ```text
//!   crd-types  <-  planner, proto-api, kube-kit, services, mover
//! ```

pub mod addons;
pub mod annotations;
pub mod conditions;
pub mod core;
pub mod duration;
pub mod labels;
mod macros;
pub mod names;
pub mod phase;
pub mod schema;
pub mod shared;
pub mod size;
pub mod storage;

pub use addons::v1alpha1::*;
pub use core::v1alpha1::*;
pub use schema::crds;
pub use shared::*;
pub use storage::v1alpha1::*;
