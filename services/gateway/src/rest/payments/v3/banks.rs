//! What banks of payers answer, in version 3.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_proto::payments::v1::beneficiary_service_client::BeneficiaryServiceClient;
use serde_json::json;

use super::{INSTITUTION, Members, Refusal, batches, header, objects, open};
use crate::respond;
use crate::rest::payments::timed;
use crate::state::GatewayState;

const ID_CHARS: usize = 20;
const REASON_CHARS: usize = 100;

fn finish(result: Result<(), Refusal>) -> Response {
    match result {
        Ok(()) => {
            let body = json!({"message": "The answer was taken."});
            respond::json(StatusCode::ACCEPTED, &body)
        }
        Err(refusal) => batches::refused(refusal.status, &refusal.text),
    }
}

/// `POST /batches/authorization`: whether a batch may be paid.
pub(in crate::rest::payments) async fn authorization(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let taken = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        let accepted = match members.needed("status", 1)?.as_str() {
            "Y" => true,
            "N" => false,
            _ => return Err(Refusal::invalid("status must be Y or N.")),
        };
        let message = api::RecordAuthorisationRequest {
            correlation_id: members.needed("clientCorrelationId", ID_CHARS)?,
            accepted,
            reason: members.text("reason", REASON_CHARS)?.unwrap_or_default(),
            payer_identifier: payer(&headers)?,
        };
        let call = timed(entry.request(message));
        let mut client = BatchServiceClient::new(state.link("payments"));
        client.record_authorisation(call).await?;
        Ok(())
    };
    finish(taken.await)
}

/// `POST /beneficiaries/validation`: which accounts cannot be paid.
pub(in crate::rest::payments) async fn validation(
    State(state): State<GatewayState>,
    request: Request,
) -> Response {
    let taken = async {
        let (entry, headers, bytes) = open(&state, request).await?;
        let members = Members::of_body(&bytes)?;
        let text = members
            .raw("failedAccountLookups")
            .map_or("[]", |raw| raw.get());
        let items = objects(text)
            .ok_or_else(|| Refusal::invalid("failedAccountLookups must be a list of objects."))?;
        let count = members.number("numberOfFailedCases")?;
        if count.parse() != Ok(items.len()) {
            return Err(Refusal::invalid(
                "numberOfFailedCases is not what is listed.",
            ));
        }
        let failures = items.iter().map(failure).collect::<Result<_, _>>()?;
        let message = api::RecordBankValidationRequest {
            correlation_id: members.needed("clientCorrelationId", ID_CHARS)?,
            failures,
            payer_identifier: payer(&headers)?,
        };
        let call = timed(entry.request(message));
        let client = BeneficiaryServiceClient::new(state.link("payments"));
        let mut client = client.max_encoding_message_size(super::BODY_LIMIT);
        client.record_bank_validation(call).await?;
        Ok(())
    };
    finish(taken.await)
}

/// How the bank knows the payer, if it sends back the header that it was asked with.
fn payer(headers: &HeaderMap) -> Result<String, Refusal> {
    Ok(header(headers, INSTITUTION, ID_CHARS)?.unwrap_or_default())
}

fn failure(item: &Members<'_>) -> Result<api::ValidationFailure, Refusal> {
    let reason = item.text("failureReason", REASON_CHARS)?;
    Ok(api::ValidationFailure {
        instruction_id: item.needed("instructionID", 16)?,
        reason: reason.unwrap_or_else(|| "refused by the bank".to_owned()),
        reason_code: String::new(),
    })
}
