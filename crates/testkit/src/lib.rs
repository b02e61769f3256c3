//! Doubles and fixtures for tests. No production crate depends on this one.
//!
//! [`ApiServer`] is a Kubernetes API server in memory, good enough for the kinds Orlop owns: resource versions,
//! generations, server-side apply by manager, the status subresource, finalizers, owners, selectors, watches, scripted
//! faults, and a record of every request, from which the RBAC test learns the verbs that are really used.

#![allow(clippy::panic, reason = "a double that is used wrongly has to fail the test that does so")]

mod api_server;
pub mod chart;
pub mod fixtures;

pub use api_server::{ApiServer, Fault, Matcher, Recorded};
