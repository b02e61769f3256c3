//! The metrics of one process, as OpenMetrics text.

use std::fmt;

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::info::Info,
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
}
