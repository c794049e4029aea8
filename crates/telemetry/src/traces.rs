//! The export of traces over OTLP.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::{OtlpConfig, TelemetryError};

/// A collector that does not answer within this time loses a batch of spans.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn provider(
    config: &OtlpConfig,
    service: &'static str,
    version: &'static str,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(endpoint) = &config.endpoint else {
        return Ok(None);
    };
    let mut exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_LIMIT);
    if let Some(file) = &config.authorities {
        let pem = std::fs::read(file).map_err(|source| TelemetryError::Authorities {
            file: file.clone(),
            source,
        })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        exporter = exporter.with_tls_config(tls);
    }
    let exporter = exporter.build().map_err(TelemetryError::Traces)?;
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", version))
        .build();
    let ratio = Sampler::TraceIdRatioBased(config.sample_ratio);
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(ratio)))
            .with_resource(resource)
            .build(),
    ))
}

/// Records the suite's own spans; those of libraries below would repeat them.
pub(crate) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let own = filter_fn(|metadata| {
        metadata.is_span()
            && metadata.target().starts_with("publica")
            && *metadata.level() <= Level::INFO
    })
    .with_max_level_hint(Level::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("publica"))
        .with_filter(own)
}
