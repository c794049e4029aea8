//! The histogram of how long calls take.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use metrics::{Histogram, histogram};

/// `http_server_request_duration_seconds` by route, method and status. A handle is made when such
/// a call first ends: looking for it by its labels takes far longer than the counting.
///
/// Routes and methods come from closed lists, so that this does not grow with what clients send.
#[derive(Default)]
pub(crate) struct Durations(RwLock<HashMap<String, ByKind>>);

/// Of one route, by method and status.
type ByKind = HashMap<(&'static str, StatusCode), Histogram>;

impl Durations {
    /// Counts a call.
    pub(crate) fn record(
        &self,
        route: &str,
        method: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(route).and_then(|by| by.get(&(method, status))) {
            return known.record(took.as_secs_f64());
        }
        drop(known);
        let handle = histogram!(
            "http_server_request_duration_seconds",
            "http_request_method" => method,
            "http_route" => route.to_owned(),
            "http_response_status_code" => status.as_str().to_owned(),
        );
        handle.record(took.as_secs_f64());
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_route = all.entry(route.to_owned()).or_default();
        of_route.insert((method, status), handle);
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durations")
    }
}
