//! What the store tells the metrics registry.

use std::time::Duration;

use crate::Engine;

/// One unit of work, from call to answer.
pub(crate) fn unit(name: &'static str, engine: Engine, outcome: &'static str, took: Duration) {
    metrics::histogram!(
        "store_unit_duration_seconds",
        "unit" => name, "engine" => engine.as_str(), "outcome" => outcome
    )
    .record(took.as_secs_f64());
}

/// A unit was run again after a conflict.
pub(crate) fn retry(name: &'static str, engine: Engine) {
    metrics::counter!("store_unit_retries_total", "unit" => name, "engine" => engine.as_str())
        .increment(1);
}

/// Somebody waited for a connection.
pub(crate) fn pool_wait(engine: Engine, waited: Duration) {
    metrics::histogram!("store_pool_wait_seconds", "engine" => engine.as_str())
        .record(waited.as_secs_f64());
}

/// One commit of the group writer.
pub(crate) fn group(size: usize) {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    metrics::histogram!("store_group_size").record(f64::from(size));
}

/// The group writer had to reopen its connection.
pub(crate) fn reopened() {
    metrics::counter!("store_writer_reopened_total").increment(1);
}

/// One statement that served several callers.
pub(crate) fn gathered(name: &'static str, size: usize) {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    metrics::histogram!("store_gather_size", "gather" => name).record(f64::from(size));
}
