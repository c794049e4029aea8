//! Accounting periods of the ledger, and what its accounts held at their end.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::period_service_client::PeriodServiceClient;
use publica_rpc::{Link, timestamp};
use publica_types::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{created, enter, listed, ok, open, page, param, problem};
use crate::body::{Params, QueryPairs};
use crate::convert::idempotency_key;
use crate::problem::Problem;
use crate::rest::payments::{shape, timed};
use crate::state::GatewayState;

fn client(state: &GatewayState) -> PeriodServiceClient<Link> {
    PeriodServiceClient::new(state.link("payments"))
}

#[derive(Deserialize)]
struct NewPeriod {
    period_id: String,
    #[serde(default)]
    start_time: Option<String>,
    end_time: String,
}

fn moment(name: &str, text: &str) -> Result<prost_types::Timestamp, Problem> {
    let time = text.parse::<Timestamp>().map(timestamp);
    let detail = || format!("{name} must be a date and time");
    time.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "INVALID_FIELDS", detail()))
}

/// `POST /v1/ledger/periods`.
pub(in crate::rest::payments) async fn create(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewPeriod>(&state, request).await?;
        let start_time = read.start_time.as_deref();
        let message = api::CreatePeriodRequest {
            period_id: read.period_id,
            start_time: start_time
                .map(|text| moment("start_time", text))
                .transpose()?,
            end_time: Some(moment("end_time", &read.end_time)?),
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).create_period(call).await.map_err(problem)?;
        Ok(shape::period(
            &answer.into_inner().period.unwrap_or_default(),
        ))
    };
    created(create.await)
}

/// `GET /v1/ledger/periods`.
pub(in crate::rest::payments) async fn list(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListPeriodsRequest {
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = client(&state).list_periods(call).await.map_err(problem)?;
        let answer = answer.into_inner();
        let rows = answer.periods.iter().map(shape::period).collect();
        Ok(listed("periods", rows, &answer.next_page_token))
    };
    ok(list.await)
}

/// `GET /v1/ledger/periods/{period}`.
pub(in crate::rest::payments) async fn get(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let period_id = param(&params, "period");
        let call = timed(entry.request(api::GetPeriodRequest { period_id }));
        let answer = client(&state).get_period(call).await.map_err(problem)?;
        Ok(shape::period(
            &answer.into_inner().period.unwrap_or_default(),
        ))
    };
    ok(get.await)
}

/// `POST /v1/ledger/periods/{period}/close`.
pub(in crate::rest::payments) async fn close(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let close = async {
        let entry = enter(&state, &headers).await?;
        let message = api::ClosePeriodRequest {
            period_id: param(&params, "period"),
            request_id: idempotency_key(&headers).unwrap_or_default(),
        };
        let call = timed(entry.request(message));
        let answer = client(&state).close_period(call).await.map_err(problem)?;
        Ok(shape::period(
            &answer.into_inner().period.unwrap_or_default(),
        ))
    };
    ok(close.await)
}

/// `GET /v1/ledger/periods/{period}/balances`.
pub(in crate::rest::payments) async fn balances(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListPeriodBalancesRequest {
            period_id: param(&params, "period"),
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .list_period_balances(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let rows = answer.balances.iter().map(shape::period_balance).collect();
        Ok(listed("balances", rows, &answer.next_page_token))
    };
    ok(list.await)
}

/// `GET /v1/ledger/periods/{period}/balances/{account}`.
pub(in crate::rest::payments) async fn balance(
    State(state): State<GatewayState>,
    params: Params,
    headers: HeaderMap,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let message = api::GetPeriodBalanceRequest {
            period_id: param(&params, "period"),
            account: param(&params, "account"),
        };
        let call = timed(entry.request(message));
        let answer = client(&state)
            .get_period_balance(call)
            .await
            .map_err(problem)?;
        let proof = answer.into_inner();
        Ok(json!({
            "balance": proof.balance.as_ref().map(shape::period_balance),
            "leaf": proof.leaf,
            "leaf_index": proof.leaf_index,
            "path": proof.path,
            "period": proof.period.as_ref().map(shape::period),
        }))
    };
    ok(get.await)
}
