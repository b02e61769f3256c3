//! Scenarios on a real cluster with a real object store, through public surfaces only: the Kubernetes API, gRPC,
//! the bucket, the nodes' processes and files. Nothing here links a service of Orlop's.
//!
//! `tests/scenarios` holds the scenarios; this library is what they are told in. Every wait is for a condition and has
//! an end; what was seen last is part of the failure.
#![allow(clippy::panic)] // a scenario fails by panicking

pub mod cluster;
pub mod files;
pub mod object_store;
pub mod platform;
pub mod processes;
pub mod proxy;
pub mod restic;
pub mod tenant;
pub mod traces;

pub use cluster::Cluster;
pub use tenant::Tenant;

use std::path::PathBuf;

/// Folder in which the cluster keeps its state: kubeconfig, S3 data, volumes, logs.
pub fn state_dir() -> PathBuf {
    std::env::var_os("ORLOP_CLUSTER_STATE").map_or_else(|| PathBuf::from("/var/lib/orlop-e2e"), PathBuf::from)
}

/// Folder of the cluster's tools: kubectl, restic, grpcurl, prometheus.
pub fn tools_dir() -> PathBuf {
    std::env::var_os("ORLOP_TOOLS")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/orlop/tools/bin"), PathBuf::from)
}

/// Address of the host on the bridge that it shares with the nodes; pods reach it.
pub const HOST_ADDRESS: &str = "10.250.0.1";

/// Namespace in which Orlop is installed.
pub const SYSTEM_NAMESPACE: &str = "orlop-system";
