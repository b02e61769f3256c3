//! W3C trace context across process borders: gRPC metadata, HTTP headers, annotations and environment variables.

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator as _},
    trace::TraceContextExt as _,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";

struct MetadataCarrier<'a>(&'a mut MetadataMap);

impl Injector for MetadataCarrier<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (key.parse::<AsciiMetadataKey>(), value.parse()) {
            self.0.insert(key, value);
        }
    }
}

struct HeaderCarrier<'a>(&'a HeaderMap);

impl Extractor for HeaderCarrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct TextCarrier<'a>(&'a str);

impl Extractor for TextCarrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

#[derive(Default)]
struct TraceparentSink(Option<String>);

impl Injector for TraceparentSink {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value);
        }
    }
}

/// Writes the current span's context into gRPC metadata. Nothing is written outside of a trace.
pub fn inject(metadata: &mut MetadataMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut MetadataCarrier(metadata));
}

/// The context that an HTTP or gRPC request carries; an empty one if it carries none.
pub fn extract(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderCarrier(headers))
}

/// The `traceparent` of a span, to be kept in an annotation or handed on in an environment variable.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut sink = TraceparentSink::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut sink);
    sink.0
}

/// The `traceparent` of the current span.
pub fn current_traceparent() -> Option<String> {
    traceparent(&Span::current())
}

/// Makes a span a child of the given `traceparent`. Call it before the span is entered. Malformed text is ignored: a
/// broken trace is no reason to fail a backup.
pub fn set_parent(span: &Span, traceparent: &str) {
    set_parent_context(span, TraceContextPropagator::new().extract_with_context(&Context::new(), &TextCarrier(traceparent)));
}

/// Makes a span a child of an extracted context, if that holds a trace.
pub fn set_parent_context(span: &Span, parent: Context) {
    if parent.span().span_context().is_valid() {
        // Fails only where no telemetry is installed, which is no fault.
        let _ = span.set_parent(parent);
    }
}

/// The trace id of a span in hexadecimal digits, for log lines.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| span_context.trace_id().to_string())
}

/// Writes the trace id into the span's field `trace_id`, which the span must have declared as empty; so every log line
/// of the span bears it.
pub fn record_trace_id(span: &Span) {
    if let Some(id) = trace_id(span) {
        span.record("trace_id", id);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn with_tracing(test: impl FnOnce()) {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), test);
    }

    /// One trace from trigger to mover: the id survives every carrier.
    #[test]
    fn the_trace_id_survives_metadata_and_text() {
        with_tracing(|| {
            let span = tracing::info_span!("backup", trace_id = tracing::field::Empty);
            set_parent(&span, PARENT);
            let _entered = span.enter();
            record_trace_id(&span);
            assert_eq!(trace_id(&span).unwrap(), "0af7651916cd43dd8448eb211c80319c");
            let mut metadata = MetadataMap::new();
            inject(&mut metadata);
            let sent = metadata.get(TRACEPARENT).unwrap().to_str().unwrap().to_owned();
            assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{sent}");
            assert_eq!(current_traceparent().unwrap(), sent);
            let context = extract(&metadata.into_headers());
            assert_eq!(context.span().span_context().trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        });
    }

    #[test]
    fn a_malformed_parent_is_ignored() {
        with_tracing(|| {
            let span = tracing::info_span!("backup");
            set_parent(&span, "nonsense");
            assert!(trace_id(&span).is_some(), "the span starts a trace of its own");
        });
    }
}
