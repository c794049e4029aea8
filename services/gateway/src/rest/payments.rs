//! The payments surface as GovStack publishes it (version 1: beneficiaries, bulk payment and
//! vouchers; version 3: account mapper, batch transactions and vouchers), and the native paths
//! under `/v1` beside it.

mod csv;
mod currency;
mod g2p;
mod input;
mod native;
mod operations;
mod pages;
mod rows;
mod shape;
mod strict;
mod upload;
mod v3;
mod vouchers;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, patch, post, put};
use publica_proto::payments::v1 as api;

use crate::problem::Problem;
use crate::rest::Surface;
use crate::state::GatewayState;
use crate::{body, respond};

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "payments",
    router,
    operations: operations::OPERATIONS,
    services: &[
        "publica.payments.v1.AccountService",
        "publica.payments.v1.TransferService",
        "publica.payments.v1.PeriodService",
        "publica.payments.v1.ProgrammeService",
        "publica.payments.v1.BeneficiaryService",
        "publica.payments.v1.BatchService",
        "publica.payments.v1.VoucherService",
        "publica.payments.v1.BillService",
        "publica.payments.v1.ReconciliationService",
    ],
};

/// The block's part of the time that a published client waits.
const DEADLINE: Duration = Duration::from_secs(14);
/// A body that comes with a wrong method is read up to here, so that the connection stays
/// usable.
const DRAIN_MAX: usize = 1_024 * 1_024;

fn router(state: GatewayState) -> Router {
    bills(third(published(Router::new())))
        .merge(programmes())
        .merge(batches())
        .merge(others())
        .merge(statements())
        .merge(periods())
        .method_not_allowed_fallback(|request: Request| async move {
            let method = request.method().clone();
            let _ = body::read(request, DRAIN_MAX).await;
            not_allowed(&method)
        })
        .fallback(|request: Request| async move {
            let published = !request.uri().path().starts_with("/v1");
            let _ = body::read(request, DRAIN_MAX).await;
            match published {
                true => respond::json(
                    StatusCode::NOT_FOUND,
                    &serde_json::json!({"message": "There is nothing here."}),
                ),
                false => Problem::new(
                    StatusCode::NOT_FOUND,
                    "UNKNOWN_PATH",
                    "There is nothing here.",
                )
                .answer(),
            }
        })
        .with_state(state)
}

fn published(router: Router<GatewayState>) -> Router<GatewayState> {
    let with = |path: MethodRouter<GatewayState>, allow, shape: Shape| {
        path.fallback(move |request: Request| other_method(request, allow, shape))
    };
    let ack = |path| with(path, "POST", Shape::Acknowledgement);
    router
        .route("/register-beneficiary", ack(post(g2p::register)))
        .route("/update-beneficiary-details", ack(post(g2p::update)))
        .route("/prepayment-validation", ack(post(g2p::validate)))
        .route(
            "/prepayment-validation-response",
            ack(post(g2p::validation_result)),
        )
        .route("/bulk-payment", ack(post(g2p::pay)))
        .route(
            "/vouchers/voucher_preactivation",
            with(post(vouchers::preactivate), "POST", Shape::Message),
        )
        .route(
            "/vouchers/voucher_activation",
            with(patch(vouchers::activate), "PATCH", Shape::Message),
        )
        .route(
            "/vouchers/voucher_redemption",
            with(post(vouchers::redeem), "POST", Shape::Message),
        )
        .route(
            "/vouchers/voucherstatuscheck/{serial}",
            with(
                get(vouchers::status).patch(vouchers::cancel),
                "GET, HEAD, PATCH",
                Shape::Message,
            ),
        )
}

/// Version 3.
fn third(router: Router<GatewayState>) -> Router<GatewayState> {
    let with = |path: MethodRouter<GatewayState>, allow, shape: Shape| {
        path.fallback(move |request: Request| other_method(request, allow, shape))
    };
    router
        .route(
            "/identityAccountMapper/beneficiary",
            with(
                post(v3::mapper::register).put(v3::mapper::update),
                "POST, PUT",
                Shape::Third,
            ),
        )
        .route(
            "/beneficiary/",
            with(
                get(v3::mapper::look_up).put(v3::mapper::look_up_all),
                "GET, HEAD, PUT",
                Shape::Third,
            ),
        )
        .route(
            "/beneficiary",
            with(
                get(v3::mapper::look_up).put(v3::mapper::look_up_all),
                "GET, HEAD, PUT",
                Shape::Third,
            ),
        )
        .route(
            "/batchtransactions",
            with(post(v3::batches::submit), "POST", Shape::Message),
        )
        .route(
            "/api/v1/batch",
            with(
                get(v3::batches::progress).post(v3::batches::bank_status),
                "GET, HEAD, POST",
                Shape::Message,
            ),
        )
        .route(
            "/batches/authorization",
            with(post(v3::banks::authorization), "POST", Shape::Message),
        )
        .route(
            "/beneficiaries/validation",
            with(post(v3::banks::validation), "POST", Shape::Message),
        )
        .route(
            "/api/v1/batch/detail",
            with(get(v3::batches::detail), "GET, HEAD", Shape::Message),
        )
        .route(
            "/vouchers",
            with(
                post(v3::vouchers::post).put(v3::vouchers::put),
                "POST, PUT",
                Shape::Third,
            ),
        )
        .route(
            "/vouchers/{serial}",
            with(get(v3::vouchers::status), "GET, HEAD", Shape::Voucher),
        )
}

/// Bills and requests to pay, of version 3.
fn bills(router: Router<GatewayState>) -> Router<GatewayState> {
    let with = |path: MethodRouter<GatewayState>, allow| {
        path.fallback(move |request: Request| other_method(request, allow, Shape::Bill))
    };
    router
        .route(
            "/bills/{bill}",
            with(
                get(v3::bills::inquire).post(v3::bills::present),
                "GET, HEAD, POST",
            ),
        )
        .route(
            "/billTransferRequests",
            with(post(v3::bills::transfer), "POST"),
        )
        .route("/rtpRequest", with(post(v3::bills::request_to_pay), "POST"))
        .route("/rtpResponse", with(post(v3::bills::answer), "POST"))
        .route(
            "/transferRequests/{request}",
            with(get(v3::bills::status), "GET, HEAD"),
        )
        .route("/voucherRedemption", with(post(v3::bills::redeem), "POST"))
}

fn programmes() -> Router<GatewayState> {
    Router::new()
        .route(
            "/v1/funding-accounts",
            post(native::create_funding_account).get(native::list_funding_accounts),
        )
        .route(
            "/v1/funding-accounts/{account}",
            get(native::get_funding_account),
        )
        .route(
            "/v1/funding-accounts/{account}/deposits",
            post(native::deposit),
        )
        .route(
            "/v1/programmes",
            post(native::create_programme).get(native::list_programmes),
        )
        .route("/v1/programmes/{programme}", get(native::get_programme))
        .route(
            "/v1/programmes/{programme}/stop",
            post(native::stop_programme),
        )
        .route(
            "/v1/programmes/{programme}/resume",
            post(native::resume_programme),
        )
        .route(
            "/v1/programmes/{programme}/payer-bank",
            put(native::set_payer_bank),
        )
        .route(
            "/v1/source-blocks",
            post(native::create_source_block).get(native::list_source_blocks),
        )
        .route("/v1/source-blocks/{source}", get(native::get_source_block))
        .route(
            "/v1/blocks/{block}/clients",
            put(native::others::set_block_clients),
        )
        .route(
            "/v1/partners/{party}/keys",
            get(native::others::partner_keys),
        )
        .route("/v1/beneficiaries/read", post(native::read_beneficiary))
        .route("/v1/beneficiaries/erase", post(native::erase_beneficiary))
}

fn batches() -> Router<GatewayState> {
    Router::new()
        .route(
            "/v1/batches",
            post(native::batches::create).get(native::batches::list),
        )
        .route("/v1/batches/{batch}", get(native::batches::get))
        .route(
            "/v1/batches/{batch}/instructions",
            post(upload::instructions).get(native::batches::list_instructions),
        )
        .route(
            "/v1/batches/{batch}/refusals",
            get(native::batches::list_refusals),
        )
        .route(
            "/v1/batches/{batch}/approve",
            post(native::batches::approve),
        )
        .route(
            "/v1/batches/{batch}/decline",
            post(native::batches::decline),
        )
        .route("/v1/batches/{batch}/cancel", post(native::batches::cancel))
        .route("/v1/batches/{batch}/pause", post(native::batches::pause))
        .route("/v1/batches/{batch}/resume", post(native::batches::resume))
        .route("/v1/batches/{batch}/report", get(native::batches::report))
        .route(
            "/v1/batches/{batch}/forecast",
            get(native::batches::forecast),
        )
        .route(
            "/v1/batches/{batch}/receipts",
            get(native::batches::list_receipts),
        )
        .route(
            "/v1/batches/{batch}/receipts/{instruction}",
            get(native::batches::receipt),
        )
        .route(
            "/v1/batches/{batch}/vouchers",
            get(native::batches::list_vouchers),
        )
}

fn others() -> Router<GatewayState> {
    Router::new()
        .route("/v1/billers", get(native::others::list_billers))
        .route("/v1/billers/{biller}", put(native::others::put_biller))
        .route(
            "/v1/payer-institutions/{institution}",
            put(native::others::put_payer_institution),
        )
        .route(
            "/v1/voucher-groups",
            post(native::others::create_voucher_group).get(native::others::list_voucher_groups),
        )
        .route(
            "/v1/vouchers/{serial}/suspend",
            post(native::others::suspend_voucher),
        )
        .route(
            "/v1/vouchers/{serial}/reactivate",
            post(native::others::reactivate_voucher),
        )
        .route("/v1/merchants", post(native::others::create_merchant))
        .route(
            "/v1/calling-blocks",
            post(native::others::create_calling_block),
        )
        .route("/v1/ledger/accounts", get(native::others::list_accounts))
        .route(
            "/v1/ledger/accounts/{account}",
            get(native::others::get_account),
        )
        .route("/v1/ledger/check", get(native::others::check_ledger))
}

fn statements() -> Router<GatewayState> {
    use native::statements as s;
    let item = "/v1/reconciliation/items/{item}";
    Router::new()
        .route("/v1/statements", get(s::list))
        .route("/v1/statements/{statement}", get(s::get).post(s::upload))
        .route("/v1/reconciliation/items", get(s::list_items))
        .route("/v1/reconciliation/ageing", get(s::ageing))
        .route(&format!("{item}/resolve"), post(s::resolve))
        .route(&format!("{item}/approve"), post(s::approve))
        .route(&format!("{item}/decline"), post(s::decline))
}

fn periods() -> Router<GatewayState> {
    use native::periods as p;
    let period = "/v1/ledger/periods/{period}";
    Router::new()
        .route("/v1/ledger/periods", get(p::list).post(p::create))
        .route(period, get(p::get))
        .route(&format!("{period}/close"), post(p::close))
        .route(&format!("{period}/balances"), get(p::balances))
        .route(&format!("{period}/balances/{{account}}"), get(p::balance))
}

/// The error bodies of this surface.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `ResponseCode`, `ResponseDescription`, `RequestID`.
    Acknowledgement,
    /// `message`.
    Message,
    /// The acknowledgement of version 3.
    Third,
    /// The state of a voucher, of version 3.
    Voucher,
    /// The acknowledgement of bills, of version 3.
    Bill,
}

/// A method that a published path does not have.
async fn other_method(request: Request, allow: &'static str, shape: Shape) -> Response {
    let method = request.method().clone();
    let _ = body::read(request, DRAIN_MAX).await;
    let text = format!("The method {method} is not offered here.");
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut response = match (method == Method::OPTIONS, shape) {
        (true, _) => respond::empty(StatusCode::NO_CONTENT),
        (false, Shape::Acknowledgement) => g2p::refused(status, &text, None),
        (false, Shape::Message) => vouchers::refused(status, &text),
        (false, Shape::Third) => v3::other_method(status, &text),
        (false, Shape::Bill) => v3::bills::refused(status, &text),
        (false, Shape::Voucher) => v3::vouchers::unread(status, &text, ""),
    };
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn not_allowed(method: &Method) -> Response {
    let text = format!("The method {method} is not offered here.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", text).answer()
}

const CALLBACK: [&str; 3] = ["x-callback-url", "x-callbackurl", "x-callback_url"];
const CORRELATION: [&str; 3] = [
    "x-correlationid",
    "x-correlation-id",
    "x-client-correlation-id",
];

/// Where the outcome of a request of version 1 goes, if its caller wants to be called. The block
/// judges the target.
fn callback(headers: &HeaderMap) -> Result<Option<api::Callback>, String> {
    let value = |names: [&str; 3]| names.into_iter().find_map(|name| headers.get(name));
    let Some(url) = value(CALLBACK) else {
        return Ok(None);
    };
    let malformed = || "X-Callback-URL is malformed.".to_owned();
    let url = url.to_str().map_err(|_| malformed())?.trim();
    let id = value(CORRELATION)
        .and_then(|id| id.to_str().ok())
        .unwrap_or_default();
    Ok(Some(api::Callback {
        url: url.to_owned(),
        correlation_id: id.trim().to_owned(),
        form: api::CallbackForm::V1.into(),
    }))
}

/// A call with this surface's deadline.
fn timed<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    request.set_timeout(DEADLINE);
    request
}
