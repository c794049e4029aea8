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

    use super::*;

    #[test]
    fn without_an_exporter_nothing_looks_at_spans() {
        let clock = Arc::new(SystemClock);
        let logs = LogLayer::new(Style::Json, "publica", "1.0", clock, |_| {}, std::io::sink);
        tracing::dispatcher::with_default(&subscriber(logs, "info", None), || {
            let span = tracing::info_span!(target: "publica_rpc::call", "rpc");
            assert!(span.is_disabled());
            assert!(!tracing::enabled!(tracing::Level::DEBUG));
            assert!(tracing::event_enabled!(tracing::Level::INFO));
        });
    }

    #[test]
    fn with_an_exporter_the_suite_s_own_spans_are_recorded() {
        let clock = Arc::new(SystemClock);
        let logs = LogLayer::new(Style::Json, "publica", "1.0", clock, |_| {}, std::io::sink);
        let provider = SdkTracerProvider::builder().build();
        tracing::dispatcher::with_default(&subscriber(logs, "info", Some(&provider)), || {
            let ours = tracing::info_span!(target: "publica_rpc::own", "rpc");
            assert!(!ours.is_disabled());
            let others = tracing::info_span!(target: "hyper::other", "rpc");
            assert!(others.is_disabled());
        });
    }
}
