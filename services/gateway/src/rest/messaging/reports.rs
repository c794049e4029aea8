//! `POST /reports/sms/{provider}`: what a provider of short messages reports. It proves itself to
//! the block, by the secret that its settings have there; it has no account here.

use std::collections::HashMap;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::messaging::v1 as api;
use publica_proto::messaging::v1::inbound_service_client::InboundServiceClient;
use serde_json::json;

use crate::body::{self, BodyFault, Params};
use crate::problem::Problem;
use crate::respond;
use crate::state::GatewayState;

const BODY_MAX: usize = 256 * 1024;
/// Headers that are passed on; what is beyond is no report.
const HEADERS_MAX: usize = 64;

pub(super) async fn receive(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    match try_receive(&state, &params, request).await {
        Ok(()) => respond::json(StatusCode::OK, &json!({})),
        Err(problem) => problem.answer(),
    }
}

async fn try_receive(
    state: &GatewayState,
    params: &Params,
    request: Request,
) -> Result<(), Problem> {
    let headers = request.headers().clone();
    let body = body::read(request, BODY_MAX).await;
    let body = body.map_err(|fault| match fault {
        BodyFault::TooLarge => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            "The report is larger than 256 KiB.",
        ),
        _ => Problem::new(
            StatusCode::BAD_REQUEST,
            "REPORT_UNREADABLE",
            "The report broke off.",
        ),
    })?;
    let message = api::ReceiveSmsReportRequest {
        provider: params.get("provider").unwrap_or_default().to_owned(),
        headers: passed_on(&headers),
        body,
    };
    let taken = InboundServiceClient::new(state.own_link("messaging"))
        .receive_sms_report(state.own_request(&headers, message))
        .await;
    let taken = taken.map_err(|status| Problem::of(&status))?.into_inner();
    match taken.verdict() {
        api::ReportVerdict::Taken => Ok(()),
        api::ReportVerdict::Unreadable => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "REPORT_UNREADABLE",
            "The report cannot be read.",
        )),
        api::ReportVerdict::Refused | api::ReportVerdict::Unspecified => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "REPORT_REFUSED",
            "The report does not prove itself.",
        )),
    }
}

/// Headers by their names, which are in small letters; of those that stand twice, the first.
fn passed_on(headers: &HeaderMap) -> HashMap<String, String> {
    let texts = headers.keys().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    texts.take(HEADERS_MAX).collect()
}
