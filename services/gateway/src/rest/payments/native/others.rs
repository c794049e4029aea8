//! Voucher groups, merchants, calling blocks and the ledger on the native paths.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::account_service_client::AccountServiceClient;
use publica_proto::payments::v1::bill_service_client::BillServiceClient;
use publica_proto::payments::v1::voucher_service_client::VoucherServiceClient;
use publica_rpc::Link;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reason, created, enter, listed, ok, open, page, param, problem, programmes};
use crate::body::{Params, QueryPairs};
use crate::problem::Problem;
use crate::rest::payments::{shape, timed};
use crate::state::GatewayState;

fn vouchers(state: &GatewayState) -> VoucherServiceClient<Link> {
    VoucherServiceClient::new(state.link("payments"))
}

fn accounts(state: &GatewayState) -> AccountServiceClient<Link> {
    AccountServiceClient::new(state.link("payments"))
}

#[derive(Deserialize)]
struct NewGroup {
    name: String,
    #[serde(default)]
    stock: Option<i64>,
    #[serde(default)]
    programme: String,
}

pub(in crate::rest::payments) async fn create_voucher_group(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewGroup>(&state, request).await?;
        let message = api::CreateVoucherGroupRequest {
            name: read.name,
            stock: read.stock,
            programme: read.programme,
            request_id,
        };
        let call = timed(entry.request(message));
        let answer = vouchers(&state)
            .create_voucher_group(call)
            .await
            .map_err(problem)?;
        Ok(shape::voucher_group(
            &answer.into_inner().voucher_group.unwrap_or_default(),
        ))
    };
    created(create.await)
}

pub(in crate::rest::payments) async fn list_voucher_groups(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let call = timed(entry.request(api::ListVoucherGroupsRequest {
            page_size,
            page_token,
        }));
        let answer = vouchers(&state)
            .list_voucher_groups(call)
            .await
            .map_err(problem)?;
        let answer = answer.into_inner();
        let items = answer
            .voucher_groups
            .iter()
            .map(shape::voucher_group)
            .collect();
        Ok(listed("voucher_groups", items, &answer.next_page_token))
    };
    ok(list.await)
}

async fn suspension(
    state: &GatewayState,
    params: &Params,
    request: Request,
    lift: bool,
) -> Result<Value, Problem> {
    let (entry, read, request_id) = open::<Reason>(state, request).await?;
    let serial_number = param(params, "serial");
    let reason = read.reason;
    let message = api::SuspendVoucherRequest {
        serial_number,
        lift,
        reason,
        request_id,
    };
    let call = timed(entry.request(message));
    let answer = vouchers(state)
        .suspend_voucher(call)
        .await
        .map_err(problem)?;
    Ok(json!({"state": shape::voucher_state(answer.into_inner().state())}))
}

pub(in crate::rest::payments) async fn suspend_voucher(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    ok(suspension(&state, &params, request, false).await)
}

pub(in crate::rest::payments) async fn reactivate_voucher(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    ok(suspension(&state, &params, request, true).await)
}

#[derive(Deserialize)]
struct NewMerchant {
    name: String,
    bank_details: String,
    voucher_group: String,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    agent_id: String,
}

pub(in crate::rest::payments) async fn create_merchant(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewMerchant>(&state, request).await?;
        let message = api::CreateMerchantRequest {
            name: read.name,
            bank_details: read.bank_details,
            voucher_group: read.voucher_group,
            blocked: read.blocked,
            request_id,
            agent_id: read.agent_id,
        };
        let call = timed(entry.request(message));
        let answer = vouchers(&state)
            .create_merchant(call)
            .await
            .map_err(problem)?;
        Ok(json!({"merchant_id": answer.into_inner().merchant_id}))
    };
    created(create.await)
}

#[derive(Deserialize)]
struct NewCallingBlock {
    name: String,
    #[serde(default)]
    clients: Vec<String>,
}

pub(in crate::rest::payments) async fn create_calling_block(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let create = async {
        let (entry, read, request_id) = open::<NewCallingBlock>(&state, request).await?;
        let name = read.name.clone();
        let message = api::CreateCallingBlockRequest {
            name: read.name,
            request_id,
            clients: read.clients,
        };
        let call = timed(entry.request(message));
        vouchers(&state)
            .create_calling_block(call)
            .await
            .map_err(problem)?;
        Ok(json!({"name": name}))
    };
    created(create.await)
}

pub(in crate::rest::payments) async fn list_accounts(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    query: QueryPairs,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let code_prefix = query.get("code_prefix").unwrap_or_default().to_owned();
        let message = api::ListAccountsRequest {
            page_size,
            page_token,
            code_prefix,
        };
        let call = timed(entry.request(message));
        let answer = accounts(&state)
            .list_accounts(call)
            .await
            .map_err(problem)?
            .into_inner();
        let items = answer.accounts.iter().map(shape::account).collect();
        Ok(listed("accounts", items, &answer.next_page_token))
    };
    ok(list.await)
}

pub(in crate::rest::payments) async fn get_account(
    State(state): State<GatewayState>,
    headers: HeaderMap,
    params: Params,
) -> Response {
    let get = async {
        let entry = enter(&state, &headers).await?;
        let account = param(&params, "account");
        let message = api::GetAccountRequest {
            account,
            as_of_time: None,
        };
        let call = timed(entry.request(message));
        let answer = accounts(&state).get_account(call).await.map_err(problem)?;
        Ok(shape::account(
            &answer.into_inner().account.unwrap_or_default(),
        ))
    };
    ok(get.await)
}

pub(in crate::rest::payments) async fn check_ledger(
    State(state): State<GatewayState>,
    headers: HeaderMap,
) -> Response {
    let check = async {
        let entry = enter(&state, &headers).await?;
        let call = timed(entry.request(api::CheckLedgerRequest {}));
        let answer = accounts(&state).check_ledger(call).await.map_err(problem)?;
        Ok(shape::ledger_check(&answer.into_inner()))
    };
    ok(check.await)
}

fn bills(state: &GatewayState) -> BillServiceClient<Link> {
    BillServiceClient::new(state.link("payments"))
}

#[derive(Deserialize)]
struct Clients {
    clients: Vec<String>,
}

/// `PUT /v1/blocks/{block}/clients`.
pub(in crate::rest::payments) async fn set_block_clients(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let set = async {
        let (entry, read, request_id) = open::<Clients>(&state, request).await?;
        let message = api::SetBlockClientsRequest {
            block: param(&params, "block"),
            clients: read.clients,
            request_id,
        };
        let call = timed(entry.request(message));
        programmes(&state)
            .set_block_clients(call)
            .await
            .map_err(problem)?;
        Ok(json!({}))
    };
    ok(set.await)
}

/// `GET /v1/partners/{party}/keys?kind=`.
pub(in crate::rest::payments) async fn partner_keys(
    State(state): State<GatewayState>,
    params: Params,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let read = async {
        let entry = enter(&state, &headers).await?;
        let kind = match query.get("kind") {
            None => api::PartnerKind::Unspecified,
            Some("block") => api::PartnerKind::Block,
            Some("biller") => api::PartnerKind::Biller,
            Some("payer_institution") => api::PartnerKind::PayerInstitution,
            Some("payer_bank") => api::PartnerKind::PayerBank,
            Some(_) => {
                let detail = "kind must be block, biller, payer_institution or payer_bank";
                let status = StatusCode::BAD_REQUEST;
                return Err(Problem::new(status, "INVALID_FIELDS", detail));
            }
        };
        let message = api::GetPartnerKeysRequest {
            party: param(&params, "party"),
            kind: kind.into(),
        };
        let call = timed(entry.request(message));
        let keys = programmes(&state)
            .get_partner_keys(call)
            .await
            .map_err(problem)?;
        let keys = keys.into_inner();
        Ok(json!({
            "callback_secret": keys.callback_secret,
            "voucher_key": shape::or_null(&keys.voucher_key),
        }))
    };
    ok(read.await)
}

#[derive(Deserialize)]
struct NewBiller {
    prefix: String,
    name: String,
    url: String,
    #[serde(default)]
    source_id: String,
    #[serde(default)]
    voucher_group: String,
    #[serde(default)]
    clients: Vec<String>,
}

/// `PUT /v1/billers/{biller}`.
pub(in crate::rest::payments) async fn put_biller(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let put = async {
        let (entry, read, request_id) = open::<NewBiller>(&state, request).await?;
        let biller = api::Biller {
            biller_id: param(&params, "biller"),
            prefix: read.prefix,
            name: read.name,
            url: read.url,
            source_id: read.source_id,
            voucher_group: read.voucher_group,
            clients: read.clients,
        };
        let message = api::PutBillerRequest {
            biller: Some(biller),
            request_id,
        };
        let call = timed(entry.request(message));
        bills(&state).put_biller(call).await.map_err(problem)?;
        Ok(json!({}))
    };
    ok(put.await)
}

/// `GET /v1/billers`.
pub(in crate::rest::payments) async fn list_billers(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let list = async {
        let entry = enter(&state, &headers).await?;
        let (page_size, page_token) = page(&query)?;
        let message = api::ListBillersRequest {
            page_size,
            page_token,
        };
        let call = timed(entry.request(message));
        let answer = bills(&state).list_billers(call).await.map_err(problem)?;
        let answer = answer.into_inner();
        let biller = |row: &api::Biller| {
            json!({
                "biller_id": row.biller_id,
                "prefix": row.prefix,
                "name": row.name,
                "url": row.url,
                "source_id": row.source_id,
                "voucher_group": row.voucher_group,
                "clients": row.clients,
            })
        };
        let items = answer.billers.iter().map(biller).collect();
        Ok(listed("billers", items, &answer.next_page_token))
    };
    ok(list.await)
}

#[derive(Deserialize)]
struct NewPayerInstitution {
    name: String,
    url: String,
    #[serde(default)]
    clients: Vec<String>,
}

/// `PUT /v1/payer-institutions/{institution}`.
pub(in crate::rest::payments) async fn put_payer_institution(
    State(state): State<GatewayState>,
    params: Params,
    request: Request,
) -> Response {
    let put = async {
        let (entry, read, request_id) = open::<NewPayerInstitution>(&state, request).await?;
        let message = api::PutPayerInstitutionRequest {
            institution_id: param(&params, "institution"),
            name: read.name,
            url: read.url,
            request_id,
            clients: read.clients,
        };
        let call = timed(entry.request(message));
        bills(&state)
            .put_payer_institution(call)
            .await
            .map_err(problem)?;
        Ok(json!({}))
    };
    ok(put.await)
}
