//! Spans around calls, made only while something records them.

use opentelemetry::trace::TraceContextExt as _;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::context::{CallContext, TraceContext};

/// The target of call spans. Subscribers that record traces enable it; without one, a call
/// costs no span at all.
pub const TARGET: &str = "publica_rpc::call";

/// The span of a served call, joined to the caller's trace if it has one; `None` while nothing
/// records. A call without a trace begins one, which the sampler decides on.
pub(crate) fn server(method: &str, context: &mut CallContext) -> Option<Span> {
    let span = tracing::info_span!(
        target: TARGET,
        "rpc",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
    );
    if span.is_disabled() {
        return None;
    }
    if context.joined {
        let caller = context.trace.to_otel();
        let parent = opentelemetry::Context::new().with_remote_span_context(caller);
        // Fails only when the recording layer is missing, and then there is nothing to join.
        let _ = span.set_parent(parent);
    }
    let own = span.context().span().span_context().clone();
    if own.is_valid() {
        context.trace = TraceContext::from_otel(&own);
    }
    Some(span)
}

pub(crate) async fn run<F: Future>(span: Span, future: F) -> F::Output {
    future.instrument(span).await
}
