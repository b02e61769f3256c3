//! What every controller counts. Names get the registry's prefix `orlop`.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

/// Reconciles are mostly a few API calls; the last bucket is the limit of a reconcile.
const SECONDS: [f64; 10] = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    controller: &'static str,
    kind: String,
}

type Histograms = Family<ControllerLabels, Histogram, fn() -> Histogram>;

/// Counters of all controllers of a process. Clones count into the same series.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    reconciles: Family<ResultLabels, Counter>,
    durations: Histograms,
    panics: Family<ControllerLabels, Counter>,
    watch_errors: Family<WatchLabels, Counter>,
    held: Family<ControllerLabels, Counter>,
}

impl ControllerMetrics {
    /// Registers the series.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            durations: Family::new_with_constructor(seconds),
            panics: Family::default(),
            watch_errors: Family::default(),
            held: Family::default(),
        };
        registry.register(
            "reconcile",
            "Reconciles by controller and result: ok, or the category of the error",
            metrics.reconciles.clone(),
        );
        registry.register("reconcile_duration_seconds", "Duration of reconciles", metrics.durations.clone());
        registry.register("panics", "Panics caught in reconciles", metrics.panics.clone());
        registry.register("watch_errors", "Errors of watches, by watched kind", metrics.watch_errors.clone());
        registry.register(
            "reconcile_held",
            "Reconciles put off because the cache had not yet seen our own write",
            metrics.held.clone(),
        );
        metrics
    }

    pub(super) fn reconciled(&self, controller: &'static str, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ResultLabels { controller, result }).inc();
        self.durations.get_or_create(&ControllerLabels { controller }).observe(took.as_secs_f64());
    }

    pub(super) fn panicked(&self, controller: &'static str) {
        self.panics.get_or_create(&ControllerLabels { controller }).inc();
    }

    pub(super) fn watch_failed(&self, controller: &'static str, kind: &str) {
        self.watch_errors.get_or_create(&WatchLabels { controller, kind: kind.to_owned() }).inc();
    }

    pub(super) fn held(&self, controller: &'static str) {
        self.held.get_or_create(&ControllerLabels { controller }).inc();
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}
