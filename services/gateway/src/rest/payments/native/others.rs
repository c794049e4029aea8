//! Voucher groups, merchants, calling blocks and the ledger on the native paths.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::account_service_client::AccountServiceClient;
use publica_proto::payments::v1::voucher_service_client::VoucherServiceClient;
use publica_rpc::Link;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Reason, created, enter, listed, ok, open, page, param, problem};
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
