//! The native paths: JSON with snake-case members, money as decimal text, problem documents.

pub(super) mod batches;
pub(super) mod others;
pub(super) mod periods;
pub(super) mod statements;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::beneficiary_service_client::BeneficiaryServiceClient;
use publica_proto::payments::v1::programme_service_client::ProgrammeServiceClient;
use publica_rpc::Link;
use publica_types::{Currency, Money};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tonic::Status;

use super::{shape, timed};
use crate::body::{self, BodyFault, Params, QueryPairs};
use crate::convert::idempotency_key;
use crate::problem::Problem;
use crate::respond;
use crate::state::{Entry, GatewayState};

const BODY_LIMIT: usize = 256 * 1_024;

/// Lets a caller in.
pub(super) async fn enter(state: &GatewayState, headers: &HeaderMap) -> Result<Entry, Problem> {
    let entered = state.enter(headers).await;
    entered.map_err(|fault| Problem::new(fault.status(), "CREDENTIALS_REFUSED", fault.to_string()))
}

/// Lets a caller in, reads the body and takes the caller's own name for the mutation.
async fn open<T: DeserializeOwned>(
    state: &GatewayState,
    request: Request,
) -> Result<(Entry, T, String), Problem> {
    let entry = enter(state, request.headers()).await?;
    let request_id = idempotency_key(request.headers()).unwrap_or_default();
    let bytes = body::read(request, BODY_LIMIT)
        .await
        .map_err(|fault| unread(&fault))?;
    let read = body::parse(&bytes).map_err(|fault| unread(&fault))?;
    Ok((entry, read, request_id))
}

fn unread(fault: &BodyFault) -> Problem {
    let status = match fault {
        BodyFault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    Problem::new(status, "BODY_MALFORMED", fault.to_string())
}

fn problem(status: Status) -> Problem {
    Problem::of(&status)
}

fn ok(result: Result<Value, Problem>) -> Response {
    finish(StatusCode::OK, result)
}

fn created(result: Result<Value, Problem>) -> Response {
    finish(StatusCode::CREATED, result)
}

fn finish(status: StatusCode, result: Result<Value, Problem>) -> Response {
    match result {
        Ok(body) => respond::json(status, &body),
        Err(problem) => problem.answer(),
    }
}

#[derive(Deserialize)]
struct PayerBank {
    #[serde(default)]
    url: String,
    #[serde(default)]
    payer_identifier: String,
    #[serde(default)]
    clients: Vec<String>,
}

/// `PUT /v1/programmes/{programme}/payer-bank`.
pub(super) async fn set_payer_bank(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let set = async {
        let (entry, read, request_id) = open::<PayerBank>(&state, request).await?;
        let message = api::SetPayerBankRequest {
            programme: param(&params, "programme"),
            url: read.url,
            payer_identifier: read.payer_identifier,
            request_id,
            clients: read.clients,
        };
        let call = timed(entry.request(message));
        programmes(&state)
            .set_payer_bank(call)
            .await
            .map_err(problem)?;
        Ok(json!({}))
    };
    ok(set.await)
}

fn param(params: &Params, name: &str) -> String {
    params.get(name).unwrap_or_default().to_owned()
}

/// Size and token of a page.
fn page(query: &QueryPairs) -> Result<(i32, String), Problem> {
    let size = match query.get("page_size") {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "INVALID_FIELDS",
                "page_size must be a number",
            )
        })?,
    };
    Ok((size, query.get("page_token").unwrap_or_default().to_owned()))
}

fn listed(name: &str, items: Vec<Value>, next_page_token: &str) -> Value {
    let next = if next_page_token.is_empty() {
        Value::Null
    } else {
        json!(next_page_token)
    };
    json!({name: items, "next_page_token": next})
}

fn minor(amount: &str, currency: &str) -> Result<i64, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "AMOUNT_INVALID", detail);
    let currency: Currency = currency.parse().map_err(|error| bad(format!("{error}")))?;
    let money = Money::parse(amount, currency).map_err(|error| bad(error.to_string()))?;
    Ok(money.amount_minor)
}

fn programmes(state: &GatewayState) -> ProgrammeServiceClient<Link> {
    ProgrammeServiceClient::new(state.link("payments"))
}

fn beneficiaries(state: &GatewayState) -> BeneficiaryServiceClient<Link> {
    BeneficiaryServiceClient::new(state.link("payments"))
}

#[derive(Deserialize)]
struct NewFundingAccount {
    #[serde(default)]
    name: String,
    currency: String,
    #[serde(default)]
    voucher_group: String,
}

pub(super) async fn create_funding_account(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewFundingAccount>(&state, request).await?;
        let message = api::CreateFundingAccountRequest {
            name: read.name,
            currency: read.currency,
            voucher_group: read.voucher_group,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = programmes(&state)
            .create_funding_account(call)
            .await
            .map_err(problem)?;
        let account = answer.into_inner().funding_account.unwrap_or_default();
        Ok(shape::funding_account(&account))
    };
    created(create.await)
}

pub(super) async fn list_funding_accounts(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListFundingAccountsRequest {
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = programmes(&state)
            .list_funding_accounts(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let items = answer
            .funding_accounts
            .iter()
            .map(shape::funding_account)
            .collect();
        Ok(listed("funding_accounts", items, &answer.next_page_token))
    };
    ok(list.await)
}

async fn find_funding_account(
    state: &GatewayState,
    entry: &Entry,
    funding_account: String,
) -> Result<api::FundingAccount, Problem> {
    let call = timed(entry.request(api::GetFundingAccountRequest { funding_account }));
    let answer = programmes(state)
        .get_funding_account(call)
        .await
        .map_err(problem)?;
    Ok(answer.into_inner().funding_account.unwrap_or_default())
}

pub(super) async fn get_funding_account(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let account = find_funding_account(&state, &entry, param(&params, "account")).await?;
        Ok(shape::funding_account(&account))
    };
    ok(get.await)
}

#[derive(Deserialize)]
struct Deposit {
    amount: String,
    #[serde(default)]
    reference: String,
}

pub(super) async fn deposit(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let deposit = async {
        let (entry, read, request_id) = open::<Deposit>(&state, request).await?;
        let account = find_funding_account(&state, &entry, param(&params, "account")).await?;
        let message = api::DepositFundsRequest {
            amount_minor: minor(&read.amount, &account.currency)?,
            funding_account_id: account.funding_account_id,
            reference: read.reference,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = programmes(&state)
            .deposit_funds(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let account = answer.funding_account.unwrap_or_default();
        Ok(json!({
            "funding_account": shape::funding_account(&account),
            "transfer_id": answer.transfer_id,
        }))
    };
    created(deposit.await)
}

#[derive(Deserialize)]
struct NewProgramme {
    code: String,
    name: String,
    currency: String,
    funding_account: String,
    #[serde(default)]
    fallback_voucher_group: String,
    #[serde(default)]
    approvals_needed: i32,
    #[serde(default)]
    batch_ceiling: Option<String>,
}

pub(super) async fn create_programme(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewProgramme>(&state, request).await?;
        let batch_ceiling_minor = match &read.batch_ceiling {
            None => 0,
            Some(amount) => minor(amount, &read.currency)?,
        };
        let message = api::CreateProgrammeRequest {
            code: read.code,
            name: read.name,
            currency: read.currency,
            funding_account: read.funding_account,
            fallback_voucher_group: read.fallback_voucher_group,
            approvals_needed: read.approvals_needed,
            batch_ceiling_minor,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = programmes(&state)
            .create_programme(call)
            .await
            .map_err(problem)?;
        Ok(shape::programme(
            &answer.into_inner().programme.unwrap_or_default(),
        ))
    };
    created(create.await)
}

pub(super) async fn list_programmes(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let call = timed(entry.request(api::ListProgrammesRequest {
            page_size,
            page_token,
        }));
        let answer = programmes(&state)
            .list_programmes(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let items = answer.programmes.iter().map(shape::programme).collect();
        Ok(listed("programmes", items, &answer.next_page_token))
    };
    ok(list.await)
}

pub(super) async fn get_programme(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let programme = param(&params, "programme");
        let call = timed(entry.request(api::GetProgrammeRequest { programme }));
        let answer = programmes(&state)
            .get_programme(call)
            .await
            .map_err(problem)?;
        Ok(shape::programme(
            &answer.into_inner().programme.unwrap_or_default(),
        ))
    };
    ok(get.await)
}

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

async fn set_programme_state(
    state: &GatewayState,
    params: &Params,
    request: Request,
    wanted: api::ProgrammeState,
) -> Result<Value, Problem> {
    let (entry, read, request_id) = open::<Reason>(state, request).await?;
    let message = api::SetProgrammeStateRequest {
        programme: param(params, "programme"),
        state: wanted.into(),
        reason: read.reason,
        request_id,
    };
    let call = timed(entry.request(message));
    let answer = programmes(state)
        .set_programme_state(call)
        .await
        .map_err(problem)?;
    Ok(shape::programme(
        &answer.into_inner().programme.unwrap_or_default(),
    ))
}

pub(super) async fn stop_programme(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let stopped = api::ProgrammeState::Stopped;
    ok(set_programme_state(&state, &params, request, stopped).await)
}

pub(super) async fn resume_programme(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let active = api::ProgrammeState::Active;
    ok(set_programme_state(&state, &params, request, active).await)
}

#[derive(Deserialize)]
struct NewSourceBlock {
    source_id: String,
    name: String,
    #[serde(default)]
    programme: String,
    #[serde(default)]
    clients: Vec<String>,
}

pub(super) async fn create_source_block(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewSourceBlock>(&state, request).await?;
        let message = api::CreateSourceBlockRequest {
            source_id: read.source_id,
            name: read.name,
            programme: read.programme,
            request_id,
            clients: read.clients,
        };
        let call = timed(entry.request(message));
        let answer = programmes(&state)
            .create_source_block(call)
            .await
            .map_err(problem)?;
        Ok(shape::source_block(
            &answer.into_inner().source_block.unwrap_or_default(),
        ))
    };
    created(create.await)
}

pub(super) async fn list_source_blocks(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let call = timed(entry.request(api::ListSourceBlocksRequest {
            page_size,
            page_token,
        }));
        let answer = programmes(&state)
            .list_source_blocks(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let items = answer
            .source_blocks
            .iter()
            .map(shape::source_block)
            .collect();
        Ok(listed("source_blocks", items, &answer.next_page_token))
    };
    ok(list.await)
}

pub(super) async fn get_source_block(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let source_id = param(&params, "source");
        let call = timed(entry.request(api::GetSourceBlockRequest { source_id }));
        let answer = programmes(&state)
            .get_source_block(call)
            .await
            .map_err(problem)?;
        Ok(shape::source_block(
            &answer.into_inner().source_block.unwrap_or_default(),
        ))
    };
    ok(get.await)
}

/// A payee is named in the body: an id that leads to a person has no place in a URL.
#[derive(Deserialize)]
struct Payee {
    source_id: String,
    functional_id: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn read_beneficiary(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let read = async {
        let (entry, payee, _) = open::<Payee>(&state, request).await?;
        let (source_id, functional_id) = (payee.source_id, payee.functional_id);
        let message = api::GetBeneficiaryRequest {
            source_id,
            functional_id,
        };
        let call = timed(entry.request(message));
        let answer = beneficiaries(&state)
            .get_beneficiary(call)
            .await
            .map_err(problem)?;
        Ok(shape::beneficiary(
            &answer.into_inner().beneficiary.unwrap_or_default(),
        ))
    };
    ok(read.await)
}

pub(super) async fn erase_beneficiary(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let erase = async {
        let (entry, payee, request_id) = open::<Payee>(&state, request).await?;
        let message = api::EraseBeneficiaryRequest {
            source_id: payee.source_id,
            functional_id: payee.functional_id,
            reason: payee.reason,
            request_id,
        };
        let call = timed(entry.request(message));
        beneficiaries(&state)
            .erase_beneficiary(call)
            .await
            .map_err(problem)?;
        Ok(json!({"erased": true}))
    };
    ok(erase.await)
}
