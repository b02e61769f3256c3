//! Logs and traces of one process.
//!
//! Spans always have ids, so that log lines can be joined; they leave the process only when the standard `OTEL_*`
//! variables name a collector.

use std::{env, io, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::args::{LogArgs, LogFormat};

/// Longest wait for the last spans to be sent when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Variables that name a collector for traces.
const ENDPOINT_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in tracing's syntax.
    #[error("log level {filter:?} is malformed, write for example `info` or `info,kube=debug`: {source}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The `OTEL_*` variables make no exporter.
    #[error("cannot export traces as the OTEL_* variables ask: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A subscriber is installed already.
    #[error("telemetry is started twice: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Running telemetry. Keep it until the end and shut it down, or the last spans are lost.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

/// Starts logging to standard output and, where asked for, the export of traces. Needs a running tokio runtime.
///
/// # Errors
/// [`TelemetryError`]: malformed settings are said at the start, not swallowed.
pub fn init(service: &'static str, args: &LogArgs) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|source| TelemetryError::Filter { filter: args.log_level.clone(), source })?;
    let exports = export_is_wanted(|name| env::var(name).ok());
    let provider = tracer_provider(service, exports)?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    let log = match args.log_format {
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .with_writer(io::stdout)
            .boxed(),
        LogFormat::Text => tracing_subscriber::fmt::layer().with_writer(io::stdout).boxed(),
    };
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(service)).with_location(false).with_threads(false);
    tracing_subscriber::registry().with(filter).with(spans).with(log).try_init()?;
    tracing::info!(service, traces_exported = exports, "telemetry started");
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what is still held, for at most five seconds, and stops.
    pub async fn shutdown(self) {
        // The provider blocks its thread while it flushes.
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIMEOUT)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn tracer_provider(service: &'static str, exports: bool) -> Result<SdkTracerProvider, TelemetryError> {
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first: the detectors of the default resource read them.
    let named = env::var_os("OTEL_SERVICE_NAME").is_some();
    let resource = Resource::builder();
    let resource = if named { resource } else { resource.with_service_name(service) };
    let builder = SdkTracerProvider::builder().with_resource(resource.build());
    let builder = if exports { builder.with_batch_exporter(SpanExporter::builder().with_tonic().build()?) } else { builder };
    Ok(builder.build())
}

fn export_is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value.eq_ignore_ascii_case("none"));
    !disabled && ENDPOINT_VARIABLES.iter().any(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(variables: &[(&str, &str)]) -> bool {
        export_is_wanted(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn traces_are_exported_only_when_the_variables_say_so() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        assert!(!wanted(&[]));
        assert!(!wanted(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(wanted(&[endpoint]));
        assert!(wanted(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4317")]));
        assert!(!wanted(&[endpoint, ("OTEL_SDK_DISABLED", "true")]));
        assert!(!wanted(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }
}
