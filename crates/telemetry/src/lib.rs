//! Logs, metrics and traces of a process: what `main` installs once, so that libraries need
//! nothing but the facades `tracing` and `metrics`.
//!
//! Parts: [`TelemetryConfig`], [`start`] and the handle [`Telemetry`] it gives; [`LogLayer`]
//! with its redaction, for tests that look at what would be logged.
//!
//! Leaves out: metrics of a block, which live beside the code they measure, and the port on
//! which metrics are read, which is the host's.

#![warn(missing_docs)]

mod config;
mod logs;
mod prometheus;
mod redact;
mod traces;

use metrics_exporter_prometheus::PrometheusHandle;
use opentelemetry_sdk::trace::SdkTracerProvider;
use publica_types::SharedClock;
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use config::{LogConfig, LogFormat, OtlpConfig, TelemetryConfig};
pub use logs::{ContextSource, LogLayer, Style};
pub use prometheus::DURATION_BUCKETS;

/// Telemetry that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A subscriber is installed already.
    #[error("logging cannot be installed")]
    Logs(#[source] tracing_subscriber::util::TryInitError),
    /// A metrics recorder is installed already.
    #[error("metrics cannot be installed")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
    /// The exporter of traces does not accept its settings.
    #[error("the exporter of traces cannot be built")]
    Traces(#[source] opentelemetry_otlp::ExporterBuildError),
    /// The authorities of the collector cannot be read.
    #[error("the authorities of the collector in {} cannot be read", file.display())]
    Authorities {
        /// The file.
        file: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The running telemetry of a process.
#[derive(Debug, Clone)]
pub struct Telemetry {
    metrics: PrometheusHandle,
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.metrics.render()
    }

    /// Folds recorded samples into their buckets. Called every few seconds, it keeps memory
    /// bounded when nobody reads the metrics.
    pub fn upkeep(&self) {
        self.metrics.run_upkeep();
    }

    /// Sends the traces that are still in memory. It blocks, for as long as the exporter's own
    /// time limit.
    pub fn flush(&self) {
        if let Some(traces) = &self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::warn!(error = %error, "the last traces could not be sent");
        }
    }
}

/// Installs logs, metrics and, if an endpoint is configured, the export of traces. Only `main`
/// calls this, once, inside the runtime. `context` adds what the present call carries
/// (`trace_id`, `request_id`) to each line.
pub fn start(
    config: &TelemetryConfig,
    service: &'static str,
    version: &'static str,
    clock: SharedClock,
    context: ContextSource,
) -> Result<Telemetry, TelemetryError> {
    let metrics = prometheus::install().map_err(TelemetryError::Metrics)?;
    metrics::gauge!("publica_build_info", "version" => version).set(1.0);
    let traces = traces::provider(&config.otlp, service, version)?;
    let style = config.log.style();
    let logs = LogLayer::new(style, service, version, clock, context, std::io::stdout);
    subscriber(logs, &config.log.level, traces.as_ref())
        .try_init()
        .map_err(TelemetryError::Logs)?;
    log_panics();
    Ok(Telemetry { metrics, traces })
}

/// What gets logs and traces. An optional layer that is not there would have the spans and events
/// of every library looked at, on every call; so there is none.
fn subscriber<W>(logs: LogLayer<W>, level: &str, traces: Option<&SdkTracerProvider>) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let registry = tracing_subscriber::registry().with(logs::filtered(logs, level));
    match traces {
        Some(traces) => Dispatch::new(registry.with(traces::layer(traces))),
        None => Dispatch::new(registry),
    }
}

/// A panic becomes a log line like any other failure.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        tracing::error!(place, "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use publica_types::SystemClock;
    use tracing::callsite::Callsite as _;
    use tracing::metadata::Kind;

    use super::*;

    /// The answer of one subscriber. What a span or event finds enabled would also depend on the
    /// subscribers of tests that run beside this one.
    macro_rules! wanted {
        ($subscriber:expr, $kind:ident, $target:literal, $level:ident) => {{
            let place = tracing::callsite! {
                name: "tried",
                kind: Kind::$kind,
                target: $target,
                level: tracing::Level::$level,
                fields: message
            };
            !$subscriber.register_callsite(place.metadata()).is_never()
        }};
    }

    fn logs() -> LogLayer<fn() -> std::io::Sink> {
        let clock = Arc::new(SystemClock);
        LogLayer::new(Style::Json, "publica", "1.0", clock, |_| {}, std::io::sink)
    }

    #[test]
    fn without_an_exporter_nothing_looks_at_spans() {
        let subscriber = subscriber(logs(), "info", None);
        assert!(!wanted!(subscriber, SPAN, "publica_rpc::call", INFO));
        assert!(!wanted!(subscriber, EVENT, "publica_rpc::call", DEBUG));
        assert!(wanted!(subscriber, EVENT, "publica_rpc::call", INFO));
    }

    #[test]
    fn with_an_exporter_the_suite_s_own_spans_are_recorded() {
        let provider = SdkTracerProvider::builder().build();
        let subscriber = subscriber(logs(), "info", Some(&provider));
        assert!(wanted!(subscriber, SPAN, "publica_rpc::call", INFO));
        assert!(!wanted!(subscriber, SPAN, "publica_rpc::call", DEBUG));
        assert!(!wanted!(subscriber, SPAN, "hyper::other", INFO));
        assert!(wanted!(subscriber, EVENT, "hyper::other", INFO));
    }
}
