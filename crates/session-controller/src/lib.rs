//! Jobs, status, retention and history of every backup and restore session.
//!
//! May use: crd-types, proto-api, planner, service-kit, kube-kit. Decides nothing by itself: `planner` does.

pub mod args;
