//! One reconcile: held, bounded, caught, counted.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{Resource, ResourceExt, core::DeserializeGuard, runtime::controller::Action};
use tokio::time::Instant;
use tracing::Instrument;

use super::{ControllerMetrics, Next, Options, Reconciler, backoff::Backoff};
use crate::{
    error::ReconcileError,
    own_writes::{Key, OwnWrites},
};

/// Pause while the cache has not seen our own write. Events arrive within milliseconds, and end the pause themselves.
const HOLD: Duration = Duration::from_millis(100);

/// How a reconcile ended badly.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure<E: ReconcileError> {
    #[error(transparent)]
    Reconciler(E),
    #[error("reconcile took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("reconcile panicked: {0}")]
    Panicked(String),
}

impl<E: ReconcileError> Failure<E> {
    fn category(&self) -> &'static str {
        match self {
            Self::Reconciler(error) => error.category(),
            Self::TimedOut(_) => "timeout",
            Self::Panicked(_) => "panic",
        }
    }

    fn is_retryable(&self) -> bool {
        match self {
            Self::Reconciler(error) => error.is_retryable(),
            Self::TimedOut(_) | Self::Panicked(_) => true,
        }
    }
}

/// The shared context of one controller's reconciles.
pub(super) struct Work<R: Reconciler> {
    controller: &'static str,
    options: Options,
    metrics: ControllerMetrics,
    own_writes: OwnWrites,
    backoff: Backoff,
    reconciler: Arc<R>,
}

impl<R: Reconciler> Work<R> {
    pub(super) fn new(
        controller: &'static str,
        options: Options,
        metrics: ControllerMetrics,
        own_writes: OwnWrites,
        reconciler: Arc<R>,
    ) -> Self {
        let backoff = Backoff::new(options.first_backoff, options.longest_backoff);
        Self { controller, options, metrics, own_writes, backoff, reconciler }
    }

    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.backoff.forget(&(namespace.to_owned(), name.to_owned()));
        self.own_writes.forget(namespace, name);
    }

    pub(super) async fn reconcile(
        object: Arc<DeserializeGuard<R::Resource>>,
        work: Arc<Self>,
    ) -> Result<Action, Failure<R::Error>> {
        let object = match &object.0 {
            Ok(parsed) => Arc::new(parsed.clone()),
            Err(invalid) => {
                work.reconciler.malformed(&invalid.metadata, &invalid.error);
                work.metrics.reconciled(work.controller, "malformed", Duration::ZERO);
                return Ok(Action::await_change());
            }
        };
        let (namespace, name) = key(object.as_ref());
        if !work.own_writes.has_caught_up(&namespace, &name, object.meta().resource_version.as_deref()) {
            work.metrics.held(work.controller);
            return Ok(Action::requeue(HOLD));
        }
        let span = tracing::info_span!(
            "reconcile",
            controller = work.controller,
            kind = %<R::Resource as kube::Resource>::kind(&()),
            namespace,
            name,
            generation = object.meta().generation,
        );
        let started = Instant::now();
        let outcome = work.bounded(object).instrument(span.clone()).await;
        let took = started.elapsed();
        match outcome {
            Ok(next) => {
                work.metrics.reconciled(work.controller, "ok", took);
                work.backoff.forget(&(namespace, name));
                Ok(match next {
                    Next::Changed => Action::requeue(work.options.resync),
                    Next::After(pause) => Action::requeue(pause.min(work.options.resync)),
                })
            }
            Err(failure) => {
                work.metrics.reconciled(work.controller, failure.category(), took);
                if matches!(failure, Failure::Panicked(_)) {
                    work.metrics.panicked(work.controller);
                }
                span.in_scope(|| {
                    tracing::warn!(error = %chain(&failure), category = failure.category(), "reconcile failed");
                });
                Err(failure)
            }
        }
    }

    async fn bounded(&self, object: Arc<R::Resource>) -> Result<Next, Failure<R::Error>> {
        let limit = self.options.timeout;
        let reconciler = self.reconciler.clone();
        // The call itself may panic before there is a future, so it is made inside of one.
        let call = AssertUnwindSafe(async move { reconciler.reconcile(object).await }).catch_unwind();
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(Ok(next))) => Ok(next),
            Ok(Ok(Err(error))) => Err(Failure::Reconciler(error)),
            Ok(Err(panic)) => Err(Failure::Panicked(panic_text(panic.as_ref()))),
            Err(_) => Err(Failure::TimedOut(limit)),
        }
    }

    /// What cannot be cured by time waits for a change; it is still looked at as rarely as the backoff allows, because
    /// the change may be in an object that is not watched.
    #[allow(clippy::needless_pass_by_value)] // the signature is kube's
    pub(super) fn after_failure(
        object: Arc<DeserializeGuard<R::Resource>>,
        failure: &Failure<R::Error>,
        work: Arc<Self>,
    ) -> Action {
        let pause = work.backoff.failed(&key(object.as_ref()));
        Action::requeue(if failure.is_retryable() { pause } else { work.options.longest_backoff })
    }
}

fn key<K: kube::Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// The error and its causes in one line. Causes that only repeat what the line says already are left out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
