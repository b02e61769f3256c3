//! The scheduler: checks BackupConfigurations, keeps their Repositories and CronJobs, and creates every BackupSession,
//! whether its cause is a slot, a slot whose trigger never came, a first backup, a retry, or a person.
//!
//! It never touches a bucket and never starts a mover. What should be done is decided in `planner`.
//!
//! ```text
//!  crd-types, planner, proto-api, service-kit, kube-kit  <-  scheduler
//! ```

pub mod args;
pub mod backup_batch;
pub mod backup_configuration;
pub mod context;
pub mod cron_job;
pub mod grpc;
pub mod limits;
pub mod metrics;
pub mod references;
pub mod retry;
pub mod run;
pub mod sessions;
pub mod settings;
pub mod suspension;
pub mod watchdog;

#[cfg(test)]
mod rbac_tests;
#[cfg(test)]
mod test_support;
