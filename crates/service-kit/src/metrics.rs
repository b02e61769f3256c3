//! The metrics of one process, as OpenMetrics text.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeMetric as _,
        text::{encode_eof, encode_registry},
    },
    metrics::{MetricType, gauge::ConstGauge, info::Info},
    registry::Registry,
};

/// Content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PREFIX: &str = "orlop";

/// Two registries that are served as one: Orlop's own names, and those of KubeStash, which bear no prefix of ours
/// (specification §5.1).
#[derive(Debug)]
pub struct Metrics {
    ours: Registry,
    kubestash: Registry,
}

impl Metrics {
    /// Metrics of a service, with `orlop_build_info` registered.
    pub fn new(service: &'static str, version: &'static str) -> Self {
        let mut ours = Registry::with_prefix(PREFIX);
        let labels = vec![("service", service), ("version", version)];
        ours.register("build", "Which build this is", Info::new(labels));
        Self { ours, kubestash: Registry::default() }
    }

    /// Registry whose names begin with `orlop_`.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.ours
    }

    /// Registry for KubeStash's names, which are kept exactly (architecture §9).
    pub fn kubestash_registry(&mut self) -> &mut Registry {
        &mut self.kubestash
    }

    /// Everything as text of type [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When a metric of ours cannot be written, which is a fault of its encoder.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.ours)?;
        encode_registry(&mut text, &self.kubestash)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// Labels and value of one series.
pub type Sample = (Vec<(&'static str, String)>, f64);

/// One gauge with all its series.
#[derive(Clone, Debug)]
pub struct GaugeFamily {
    /// Name without the registry's prefix.
    pub name: &'static str,
    /// What it says, without a final period.
    pub help: &'static str,
    /// The series.
    pub samples: Vec<Sample>,
}

/// Gauges that are computed when they are asked for, for example from a cache of objects. A series is gone as soon as
/// its object is, so no dead object leaves a stale "ok" (reliability §5.2).
pub struct GaugeSnapshot<F> {
    read: F,
}

impl<F> GaugeSnapshot<F>
where
    F: Fn() -> Vec<GaugeFamily> + Send + Sync + 'static,
{
    /// Gauges that `read` computes. Register it with `register_collector`.
    pub fn new(read: F) -> Self {
        Self { read }
    }
}

impl<F> fmt::Debug for GaugeSnapshot<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GaugeSnapshot")
    }
}

impl<F> Collector for GaugeSnapshot<F>
where
    F: Fn() -> Vec<GaugeFamily> + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in (self.read)() {
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, MetricType::Gauge)?;
            for (labels, value) in &family.samples {
                ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn own_names_bear_the_prefix_and_kubestash_names_do_not() {
        let mut metrics = Metrics::new("scheduler", "0.1.0");
        metrics.registry().register("leader", "Whether this replica leads", Gauge::<i64>::default());
        metrics.kubestash_registry().register("storage_kubestash_com_repository_phase", "Phase", Gauge::<i64>::default());
        let text = metrics.encode().unwrap();
        assert!(text.contains(r#"orlop_build_info{service="scheduler",version="0.1.0"} 1"#), "{text}");
        assert!(text.contains("\norlop_leader 0"), "{text}");
        assert!(text.contains("\nstorage_kubestash_com_repository_phase 0"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn computed_gauges_follow_what_they_are_computed_from() {
        let phases = std::sync::Arc::new(parking_lot::Mutex::new(vec!["Ready"]));
        let mut metrics = Metrics::new("storage-initializer", "0.1.0");
        let read = phases.clone();
        metrics.kubestash_registry().register_collector(Box::new(GaugeSnapshot::new(move || {
            let samples = read.lock().iter().map(|phase| (vec![("phase", (*phase).to_owned())], 1.0)).collect();
            vec![GaugeFamily { name: "storage_kubestash_com_repository_phase", help: "Phase", samples }]
        })));
        assert!(metrics.encode().unwrap().contains("storage_kubestash_com_repository_phase{phase=\"Ready\"} 1"));
        phases.lock().clear();
        assert!(!metrics.encode().unwrap().contains("phase=\"Ready\""));
    }
}
