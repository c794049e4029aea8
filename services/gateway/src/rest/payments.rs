//! The payments surface as GovStack publishes it (version 1: beneficiaries, bulk payment,
//! vouchers), and the native paths under `/v1` beside it.

mod currency;
mod g2p;
mod input;
mod native;
mod rows;
mod shape;
mod upload;
mod vouchers;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, patch, post};

use crate::description::Operation;
use crate::problem::Problem;
use crate::rest::Surface;
use crate::state::GatewayState;
use crate::{body, respond};

/// The surface.
pub(crate) const SURFACE: Surface = Surface {
    block: "payments",
    router,
    operations: OPERATIONS,
    services: &[
        "publica.payments.v1.AccountService",
        "publica.payments.v1.TransferService",
        "publica.payments.v1.ProgrammeService",
        "publica.payments.v1.BeneficiaryService",
        "publica.payments.v1.BatchService",
        "publica.payments.v1.VoucherService",
    ],
};

const OPERATIONS: &[Operation] = &[
    Operation::published("POST", "/register-beneficiary", "Register beneficiaries"),
    Operation::published(
        "POST",
        "/update-beneficiary-details",
        "Change beneficiaries",
    ),
    Operation::published(
        "POST",
        "/prepayment-validation",
        "Check a batch before paying it",
    ),
    Operation::published(
        "POST",
        "/prepayment-validation-response",
        "Result of a check",
    ),
    Operation::published("POST", "/bulk-payment", "Submit a batch"),
    Operation::published("POST", "/vouchers/voucher_preactivation", "Issue a voucher"),
    Operation::published(
        "PATCH",
        "/vouchers/voucher_activation",
        "Activate a voucher",
    ),
    Operation::published("POST", "/vouchers/voucher_redemption", "Redeem a voucher"),
    Operation::published(
        "GET",
        "/vouchers/voucherstatuscheck/{voucherserialnumber}",
        "State of a voucher",
    ),
    Operation::published(
        "PATCH",
        "/vouchers/voucherstatuscheck/{voucherserialnumber}",
        "Cancel a voucher",
    ),
    Operation::native("POST", "/v1/funding-accounts", "Open a funding account"),
    Operation::native("GET", "/v1/funding-accounts", "Funding accounts"),
    Operation::native(
        "GET",
        "/v1/funding-accounts/{account}",
        "One funding account",
    ),
    Operation::native(
        "POST",
        "/v1/funding-accounts/{account}/deposits",
        "Record a deposit",
    ),
    Operation::native("POST", "/v1/programmes", "Create a programme"),
    Operation::native("GET", "/v1/programmes", "Programmes"),
    Operation::native("GET", "/v1/programmes/{programme}", "One programme"),
    Operation::native(
        "POST",
        "/v1/programmes/{programme}/stop",
        "Stop a programme",
    ),
    Operation::native(
        "POST",
        "/v1/programmes/{programme}/resume",
        "Let a programme go on",
    ),
    Operation::native("POST", "/v1/source-blocks", "Register a source block"),
    Operation::native("GET", "/v1/source-blocks", "Source blocks"),
    Operation::native("GET", "/v1/source-blocks/{source}", "One source block"),
    Operation::native(
        "POST",
        "/v1/beneficiaries/read",
        "Read a beneficiary in clear",
    ),
    Operation::native("POST", "/v1/beneficiaries/erase", "Forget a beneficiary"),
    Operation::native("POST", "/v1/batches", "Announce a batch"),
    Operation::native("GET", "/v1/batches", "Batches, newest first"),
    Operation::native("GET", "/v1/batches/{batch}", "One batch"),
    Operation::native(
        "POST",
        "/v1/batches/{batch}/instructions",
        "Upload instructions as CSV, JSON or JSON lines",
    ),
    Operation::native(
        "GET",
        "/v1/batches/{batch}/instructions",
        "Instructions of a batch",
    ),
    Operation::native(
        "GET",
        "/v1/batches/{batch}/refusals",
        "Rows refused at intake",
    ),
    Operation::native(
        "POST",
        "/v1/batches/{batch}/approve",
        "Approve a batch by its digest",
    ),
    Operation::native("POST", "/v1/batches/{batch}/decline", "Decline a batch"),
    Operation::native("POST", "/v1/batches/{batch}/cancel", "Cancel a batch"),
    Operation::native("POST", "/v1/batches/{batch}/pause", "Pause a batch"),
    Operation::native("POST", "/v1/batches/{batch}/resume", "Go on with a batch"),
    Operation::native("GET", "/v1/batches/{batch}/report", "Report on a batch"),
    Operation::native(
        "GET",
        "/v1/batches/{batch}/receipts/{instruction}",
        "Proof that an instruction was approved",
    ),
    Operation::native(
        "GET",
        "/v1/batches/{batch}/vouchers",
        "Vouchers issued for a batch",
    ),
    Operation::native("POST", "/v1/voucher-groups", "Create a voucher group"),
    Operation::native(
        "GET",
        "/v1/voucher-groups",
        "Voucher groups with their stock",
    ),
    Operation::native("POST", "/v1/vouchers/{serial}/suspend", "Suspend a voucher"),
    Operation::native(
        "POST",
        "/v1/vouchers/{serial}/reactivate",
        "Lift a suspension",
    ),
    Operation::native("POST", "/v1/merchants", "Register a merchant"),
    Operation::native(
        "POST",
        "/v1/calling-blocks",
        "Register a block that issues vouchers",
    ),
    Operation::native("GET", "/v1/ledger/accounts", "Accounts of the ledger"),
    Operation::native(
        "GET",
        "/v1/ledger/accounts/{account}",
        "One account of the ledger",
    ),
    Operation::native("GET", "/v1/ledger/check", "Add up the whole ledger"),
];

/// The block's part of the time that a published client waits.
const DEADLINE: Duration = Duration::from_secs(14);
/// A body that comes with a wrong method is read up to here, so that the connection stays
/// usable.
const DRAIN_MAX: usize = 1_024 * 1_024;

fn router(state: GatewayState) -> Router {
    published(Router::new())
        .merge(programmes())
        .merge(batches())
        .merge(others())
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
            "/v1/source-blocks",
            post(native::create_source_block).get(native::list_source_blocks),
        )
        .route("/v1/source-blocks/{source}", get(native::get_source_block))
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

/// The error bodies of this surface.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `ResponseCode`, `ResponseDescription`, `RequestID`.
    Acknowledgement,
    /// `message`.
    Message,
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

/// A call with this surface's deadline.
fn timed<T>(mut request: tonic::Request<T>) -> tonic::Request<T> {
    request.set_timeout(DEADLINE);
    request
}
