//! The identity account mapper of version 3.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::beneficiary_service_client::BeneficiaryServiceClient;
use publica_rpc::Link;
use serde_json::{Value, json};

use super::{
    BODY_LIMIT, CALLBACK, Case, INSTITUTION, Members, Refusal, URL_CHARS, acknowledge, callback,
    needed, open, refused,
};
use crate::body::QueryPairs;
use crate::respond;
use crate::rest::payments::timed;
use crate::state::{Entry, GatewayState};

/// The most beneficiaries in a request.
const MOST: usize = 100_000;
/// The most functional ids in a look-up.
const MOST_LOOKED_UP: usize = 10_000;
const ID_CHARS: usize = 12;
const PAYEE_CHARS: usize = 20;
const INSTITUTION_CHARS: usize = 11;
/// The block lets only an IBAN exceed 30.
const ADDRESS_CHARS: usize = 34;

fn client(state: &GatewayState) -> BeneficiaryServiceClient<Link> {
    BeneficiaryServiceClient::new(state.link("payments"))
        .max_encoding_message_size(BODY_LIMIT)
        .max_decoding_message_size(BODY_LIMIT)
}

/// `POST /identityAccountMapper/beneficiary`.
pub(in crate::rest::payments) async fn register(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    answer(mapped(&state, request, true).await)
}

/// `PUT /identityAccountMapper/beneficiary`.
pub(in crate::rest::payments) async fn update(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    answer(mapped(&state, request, false).await)
}

fn answer(done: Result<String, (Refusal, Option<String>)>) -> Response {
    match done {
        Ok(id) => {
            let text = "The request was taken.";
            acknowledge(StatusCode::OK, Case::Lower, "00", text, Some(&id))
        }
        Err((refusal, id)) => refused(&refusal, id.as_deref()),
    }
}

async fn mapped(
    state: &GatewayState,
    request: Request,
    fresh: bool,
) -> Result<String, (Refusal, Option<String>)> {
    let (entry, headers, bytes) = open(state, request).await.map_err(|r| (r, None))?;
    let members = Members::of_body(&bytes).map_err(|r| (r, None))?;
    let id = members
        .needed("RequestID", ID_CHARS)
        .map_err(|r| (r, None))?;
    let done = map(state, &entry, &headers, &members, (fresh, &id)).await;
    done.map(|()| id.clone())
        .map_err(|refusal| (refusal, Some(id)))
}

async fn map(
    state: &GatewayState,
    entry: &Entry,
    headers: &HeaderMap,
    members: &Members<'_>,
    (fresh, request_id): (bool, &str),
) -> Result<(), Refusal> {
    let callback = Some(callback(headers)?);
    let source_id = match fresh {
        true => needed(headers, INSTITUTION, ID_CHARS)?,
        false => members.needed("sourceBBID", ID_CHARS)?,
    };
    let items = members.list("Beneficiaries")?;
    if items.len() > MOST {
        return Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "There are more than 100,000 beneficiaries; split them.",
        ));
    }
    let beneficiaries = items.iter().map(|item| beneficiary(item, fresh));
    let beneficiaries = beneficiaries.collect::<Result<Vec<_>, _>>()?;
    let source_request = request_id.to_owned();
    match fresh {
        true => {
            let message = api::RegisterBeneficiariesRequest {
                source_id,
                source_request,
                beneficiaries,
                callback,
            };
            let call = timed(entry.request(message));
            client(state).register_beneficiaries(call).await?;
        }
        false => {
            let message = api::UpdateBeneficiariesRequest {
                source_id,
                source_request,
                beneficiaries,
                callback,
            };
            let call = timed(entry.request(message));
            client(state).update_beneficiaries(call).await?;
        }
    }
    Ok(())
}

fn beneficiary(item: &Members<'_>, fresh: bool) -> Result<api::Beneficiary, Refusal> {
    let modality = item.text("paymentModality", 2)?.unwrap_or_default();
    if !matches!(modality.as_str(), "" | "00" | "01" | "02" | "03" | "04") {
        return Err(Refusal::invalid("paymentModality must be from 00 to 04."));
    }
    let in_use = match (fresh, item.text("status", 1)?.as_deref()) {
        (true, _) | (false, None) => None,
        (false, Some("1")) => Some(true),
        (false, Some("0")) => Some(false),
        (false, Some(_)) => return Err(Refusal::invalid("status must be 0 or 1.")),
    };
    let institution = item.text("bankingInstitutionCode", INSTITUTION_CHARS)?;
    let address = item.text("financialAddress", ADDRESS_CHARS)?;
    Ok(api::Beneficiary {
        functional_id: item.needed("payeeIdentity", PAYEE_CHARS)?,
        modality,
        institution: institution.unwrap_or_default(),
        financial_address: address.unwrap_or_default(),
        in_use,
        ..api::Beneficiary::default()
    })
}

/// `GET /beneficiary/?payeeIdentity=…&requestId=…`.
pub(in crate::rest::payments) async fn look_up(
    State(state): State<GatewayState>,
    query: QueryPairs,
    headers: HeaderMap,
) -> Response {
    let mut id = None;
    let found = async {
        let entry = state.enter(&headers).await?;
        id = Some(parameter(&query, "requestId", ID_CHARS)?);
        let payee = parameter(&query, "payeeIdentity", PAYEE_CHARS)?;
        find(&state, &entry, &headers, vec![payee]).await
    };
    let found = found.await;
    listed(found, id)
}

/// `PUT /beneficiary`: many at once.
pub(in crate::rest::payments) async fn look_up_all(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let mut id = None;
    let found = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        id = Some(members.needed("requestId", ID_CHARS)?);
        let raw = members.raw("payeePartyIds");
        let wrong = || Refusal::invalid("payeePartyIds must be a list of texts.");
        let payees: Vec<String> = raw
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .ok_or_else(wrong)?;
        let sound = |payee: &String| (1..=PAYEE_CHARS).contains(&payee.chars().count());
        if payees.is_empty() || !payees.iter().all(sound) {
            return Err(wrong());
        }
        if payees.len() > MOST_LOOKED_UP {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "There are more than 10,000 ids; split them.",
            ));
        }
        find(&state, &entry, &headers, payees).await
    };
    let found = found.await;
    listed(found, id)
}

fn parameter(query: &QueryPairs, name: &str, most: usize) -> Result<String, Refusal> {
    let value = query.get(name).unwrap_or_default();
    match (1..=most).contains(&value.chars().count()) {
        true => Ok(value.to_owned()),
        false => Err(Refusal::invalid(format!(
            "{name} must have 1 to {most} characters."
        ))),
    }
}

async fn find(
    state: &GatewayState,
    entry: &Entry,
    headers: &HeaderMap,
    functional_ids: Vec<String>,
) -> Result<Vec<Value>, Refusal> {
    // The answer is the result, so nobody is called; but the published header must be there.
    needed(headers, &CALLBACK, URL_CHARS)?;
    let message = api::LookUpBeneficiariesRequest {
        source_id: needed(headers, INSTITUTION, ID_CHARS)?,
        functional_ids,
    };
    let call = timed(entry.request(message));
    let found = client(state).look_up_beneficiaries(call).await?;
    let found = found.into_inner().beneficiaries.into_iter();
    let row = |row: api::Beneficiary| {
        json!({
            "payeeIdentity": row.functional_id,
            "paymentModality": row.modality,
            "financialAddress": row.financial_address,
            "bankingInstitutionCode": row.institution,
        })
    };
    // A mapping that must not be used is none.
    Ok(found.filter(|row| row.active).map(row).collect())
}

fn listed(found: Result<Vec<Value>, Refusal>, id: Option<String>) -> Response {
    match found {
        Ok(list) => {
            let body = json!({"requestId": id, "paymentModalityList": list});
            respond::json(StatusCode::OK, &body)
        }
        Err(refusal) => refused(&refusal, id.as_deref()),
    }
}
