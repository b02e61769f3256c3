//! Runs one controller: watches, queue, limits, errors, panics, readiness, metrics and shutdown.
//!
//! A reconciler only says what one object needs. Everything that must be the same for all controllers is here:
//!
//! * a malformed object is set aside, the watch of the others goes on;
//! * a reconcile ends after a limit, a panic is caught and counted, a failure waits longer each time (per object);
//! * an object is held until the cache has our own last write of it (architecture §4 rule 8);
//! * every object is looked at again from time to time, so that a lost event costs minutes, not for ever;
//! * readiness opens when every watch has synced.

mod backoff;
mod metrics;
mod reconcile;
mod runner;
mod scoped;
mod store;
mod watch;

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use metrics::ControllerMetrics;
pub use runner::{Resource, Runner, RunnerError};
pub use store::Store;
pub use watch::Trigger;

use crate::error::ReconcileError;

/// When an object should be looked at again after a reconcile that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// When it, or something it depends on, changes.
    Changed,
    /// After this time, or earlier if something changes.
    After(Duration),
}

/// What one controller does for one object.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind under control.
    type Resource: Resource;
    /// Why a reconcile fails.
    type Error: ReconcileError;

    /// Brings the world closer to what the object asks for. Called for one object at a time, again after every change,
    /// and again after every failure; it must do nothing twice.
    fn reconcile(&self, object: Arc<Self::Resource>) -> impl Future<Output = Result<Next, Self::Error>> + Send;

    /// An object that does not even parse as its kind. `problem` names the field.
    fn malformed(&self, meta: &ObjectMeta, problem: &str) {
        tracing::warn!(
            namespace = meta.namespace.as_deref().unwrap_or_default(),
            name = meta.name.as_deref().unwrap_or_default(),
            problem,
            "object is malformed and is left alone"
        );
    }
}

/// Limits of one controller.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Objects reconciled at the same time.
    pub concurrency: u16,
    /// Longest reconcile. kube retries 429 and 503 for minutes, so this is what bounds a reconcile.
    pub timeout: Duration,
    /// First pause after a failure.
    pub first_backoff: Duration,
    /// Longest pause after failures.
    pub longest_backoff: Duration,
    /// After this time an object is looked at even if nothing changed.
    pub resync: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 8,
            timeout: Duration::from_secs(60),
            first_backoff: Duration::from_secs(1),
            // reliability B11
            longest_backoff: Duration::from_secs(300),
            // reliability B6
            resync: Duration::from_secs(600),
        }
    }
}

#[cfg(test)]
mod tests;
