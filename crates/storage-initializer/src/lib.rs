//! Prepares buckets and repositories and hands out access to them.
//!
//! Sole writer of `BackupStorage.status`, `Repository.status`, the bucket conditions of Snapshots, and the metadata
//! objects in the bucket (architecture §1); keeper of the certificates of Orlop's services; the only process that hands
//! credentials to movers.
//!
//! ```text
//!  crd-types, planner, storage, service-kit, kube-kit  <-  storage-initializer
//! ```

pub mod args;
pub mod authority;
pub mod backends;
pub mod backup_storage;
pub mod bucket;
pub mod caches;
pub mod changes;
pub mod context;
pub mod limits;
pub mod metrics;
pub mod object_metrics;
pub mod references;
pub mod repository;
pub mod repository_ids;
pub mod run;
pub mod service;
pub mod snapshot;

#[cfg(test)]
mod scenarios;
