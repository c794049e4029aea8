//! Requests to pay, from a biller to the institution of a payer, and the answers back.

use std::time::Duration;

use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, timestamp};
use publica_seal::Keyring;
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use serde_json::{Value, json};

use super::twelve;
use crate::app::callback::{self, Content, Target, bills};
use crate::app::source::{check_number, source_no};
use crate::app::{App, check_short, check_text, entry};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::sealed::REFUSAL;
use crate::store::beneficiary;
use crate::store::bill::{self as sql, BillerRow, InstitutionRow, PayRequestRow};

/// Sent, accepted by the payer, refused, and paid.
pub(crate) const SENT: i64 = 1;
pub(crate) const ACCEPTED: i64 = 2;
pub(crate) const REFUSED: i64 = 3;
pub(crate) const PAID: i64 = 4;
/// After which nobody will answer any more.
const LIFE: Duration = Duration::from_hours(7 * 24);
/// Under which a payer's reason is sealed.
const BILL_CHARS: usize = 20;
const NAME_CHARS: usize = 100;
const AMOUNT_CHARS: usize = 23;
const ALIAS_CHARS: usize = 30;

/// A request with what follows from it.
struct Asked {
    request: pb::RequestToPayRequest,
    fingerprint: Vec<u8>,
    payee: Vec<u8>,
}

impl App {
    pub(crate) async fn request_to_pay(
        &self,
        origin: &Origin,
        request: pb::RequestToPayRequest,
    ) -> Result<pb::RequestToPayResponse, Error> {
        self.speak(origin, Kind::Biller, &request.biller_id).await?;
        let mut invalid = Invalid::new();
        check_number(&mut invalid, "source_request", &request.source_request);
        check_text(&mut invalid, "bill_id", &request.bill_id, BILL_CHARS);
        check_short(
            &mut invalid,
            "biller_name",
            &request.biller_name,
            NAME_CHARS,
        );
        check_text(&mut invalid, "amount", &request.amount, AMOUNT_CHARS);
        check_short(&mut invalid, "alias", &request.alias, ALIAS_CHARS);
        if request.institution_id.is_empty() == request.alias.is_empty() {
            invalid.push(
                "alias",
                "must be there if the institution is not, and only then",
            );
        }
        invalid.check()?;
        let db = self.db(origin).await?;
        let asked = Asked {
            fingerprint: publica_journal::fingerprint(&request).to_vec(),
            payee: self.payee(&request.alias),
            request,
        };
        let input = (origin.clone(), self.keyring.clone(), asked);
        db.write("payments.request_to_pay", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, asked) = input;
                ask(tx, keyring, origin, asked).await
            })
        })
        .await
    }

    pub(crate) async fn record_payer_answer(
        &self,
        origin: &Origin,
        request: pb::RecordPayerAnswerRequest,
    ) -> Result<pb::RecordPayerAnswerResponse, Error> {
        self.speak(origin, Kind::Institution, &request.institution_id)
            .await?;
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "reject_reason", &request.reject_reason, 10);
        invalid.check()?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), self.keyring.clone(), request);
        db.write("payments.payer_answer", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, request) = input;
                answer(tx, keyring, origin, request).await
            })
        })
        .await
    }

    pub(crate) async fn get_transfer_request(
        &self,
        origin: &Origin,
        request: pb::GetTransferRequestRequest,
    ) -> Result<pb::GetTransferRequestResponse, Error> {
        self.speak(origin, Kind::Biller, &request.biller_id).await?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), self.keyring.clone(), request);
        db.write("payments.transfer_request", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, request) = input;
                tell_status(tx, keyring, origin, request).await
            })
        })
        .await
    }
}

async fn ask(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    asked: &Asked,
) -> Result<pb::RequestToPayResponse, Error> {
    let request = &asked.request;
    let biller = sql::find_biller(tx, &request.biller_id).await?;
    let biller = biller.ok_or(Error::not_found("biller"))?;
    if let Some(known) = sql::find_request(tx, &biller.biller_id, request.rtp_id).await? {
        return match known.fingerprint == asked.fingerprint {
            true => Ok(pb::RequestToPayResponse {
                transaction_id: known.transaction_id,
            }),
            false => Err(Error::SourceRequestReused),
        };
    }
    check_owner(tx, &biller, &request.bill_id).await?;
    let transaction_id = twelve(
        keyring,
        &format!("rtp:{}:{}", biller.biller_id, request.rtp_id),
    );
    let named = match request.institution_id.as_str() {
        "" => {
            let mapped = beneficiary::find(tx, source_no(&biller.source_id), &asked.payee).await?;
            mapped.filter(|row| row.active).map(|row| row.institution)
        }
        given => Some(given.to_owned()),
    };
    let institution = match &named {
        Some(id) => sql::find_institution(tx, id).await?,
        None => None,
    };
    let now = tx.now();
    let row = PayRequestRow {
        biller_id: biller.biller_id.clone(),
        rtp_id: request.rtp_id,
        transaction_id: transaction_id.clone(),
        fingerprint: asked.fingerprint.clone(),
        bill_id: request.bill_id.clone(),
        institution_id: named.unwrap_or_default(),
        state: if institution.is_some() { SENT } else { REFUSED },
        expires_at: now.plus(LIFE),
        updated_at: now,
        refusal: Vec::new(),
    };
    if !sql::insert_request(tx, &row, &request.source_request).await? {
        return Err(Error::SourceRequestReused);
    }
    match institution {
        Some(institution) => {
            let name = match request.biller_name.as_str() {
                "" => biller.name.as_str(),
                given => given,
            };
            let body = bills::request_to_pay(&row, name, &request.amount);
            pass_on(tx, keyring, origin, &institution, &row, body).await?;
        }
        // Nobody can be asked: the biller learns that like a refusal.
        None => update(tx, keyring, origin, &biller, &row, "R").await?,
    }
    let body = json!({"biller": row.biller_id, "sent": row.state == SENT});
    let entry = entry(
        "payments.pay_request.made",
        "pay_request",
        &transaction_id,
        body,
    );
    append(tx, origin, entry);
    Ok(pb::RequestToPayResponse { transaction_id })
}

/// Sends a request to the payer's institution.
async fn pass_on(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    institution: &InstitutionRow,
    row: &PayRequestRow,
    body: Value,
) -> Result<(), Error> {
    let url = format!("{}/rtpRequest", institution.url);
    let id = &row.transaction_id;
    let target = Target::to(url, id, (Kind::Institution, &institution.institution_id));
    let name = format!("rtp:{id}");
    callback::post(tx, keyring, origin, &name, &target, Content::Body(body)).await
}

/// Nobody asks for the money of somebody else's bill.
async fn check_owner(tx: &mut Tx<'_>, biller: &BillerRow, bill_id: &str) -> Result<(), Error> {
    let owner = sql::biller_of(tx, bill_id).await?;
    match owner.is_some_and(|owner| owner.biller_id == biller.biller_id) {
        true => Ok(()),
        false => Err(Error::not_found("bill of this biller")),
    }
}

async fn answer(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    request: &pb::RecordPayerAnswerRequest,
) -> Result<pb::RecordPayerAnswerResponse, Error> {
    let row = sql::request(tx, &request.transaction_id).await?;
    let row = row.filter(|row| row.institution_id == request.institution_id);
    let mut row = row.ok_or(Error::not_found("request to pay"))?;
    let next = if request.accepted { ACCEPTED } else { REFUSED };
    if row.state == next {
        return Ok(pb::RecordPayerAnswerResponse {});
    }
    let expired = row.state == SENT && tx.now() >= row.expires_at;
    let refusal = match request.reject_reason.as_str() {
        "" => Vec::new(),
        said => keyring.seal_block(&REFUSAL, said.as_bytes()),
    };
    let moved = (SENT, next);
    if expired || !sql::set_request(tx, &row.transaction_id, moved, &refusal).await? {
        return Err(Error::BillState("the request to pay has ended"));
    }
    row.state = next;
    let biller = sql::find_biller(tx, &row.biller_id).await?;
    let biller = biller.ok_or(Error::not_found("biller"))?;
    let reason = if request.accepted { "" } else { "R" };
    update(tx, keyring, origin, &biller, &row, reason).await?;
    let body = json!({"accepted": request.accepted});
    let id = &row.transaction_id;
    append(
        tx,
        origin,
        entry("payments.pay_request.answered", "pay_request", id, body),
    );
    Ok(pb::RecordPayerAnswerResponse {})
}

/// Tells a biller what became of its request.
async fn update(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    biller: &BillerRow,
    row: &PayRequestRow,
    reason: &str,
) -> Result<(), Error> {
    let url = format!("{}/rtpUpdate", biller.url);
    let target = Target::to(url, &row.transaction_id, (Kind::Biller, &biller.biller_id));
    let body = bills::request_update(row, row.state == ACCEPTED, reason);
    let name = format!("rtp_update:{}", row.transaction_id);
    callback::post(tx, keyring, origin, &name, &target, Content::Body(body)).await
}

async fn tell_status(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    request: &pb::GetTransferRequestRequest,
) -> Result<pb::GetTransferRequestResponse, Error> {
    let biller = sql::find_biller(tx, &request.biller_id).await?;
    let biller = biller.ok_or(Error::not_found("biller"))?;
    let row = sql::find_request(tx, &biller.biller_id, request.rtp_id).await?;
    let row = row.ok_or(Error::not_found("request to pay"))?;
    let status = status(&row, tx.now());
    let payment = match row.state {
        PAID => sql::find_payment(tx, &row.bill_id).await?,
        _ => None,
    };
    let reference = payment.map(|payment| payment.payment_reference);
    let answer = pb::GetTransferRequestResponse {
        status: status.into(),
        payment_reference: reference.unwrap_or_default(),
        update_time: Some(timestamp(row.updated_at)),
        reject_reason: match row.refusal.as_slice() {
            [] => String::new(),
            sealed => String::from_utf8(keyring.open_block(&REFUSAL, sealed)?)
                .map_err(|_| Error::corrupt("a payer's reason"))?,
        },
    };
    let url = format!("{}/transferRequests/{}", biller.url, row.rtp_id);
    let target = Target::to(
        url,
        &request.source_request,
        (Kind::Biller, &biller.biller_id),
    );
    let body = bills::transfer_request(&row, &request.source_request, &answer);
    let name = format!(
        "transfer_request:{}:{}:{}",
        row.transaction_id, request.source_request, row.state
    );
    callback::post(tx, keyring, origin, &name, &target, Content::Body(body)).await?;
    let id = &row.transaction_id;
    let entry = entry("payments.pay_request.read", "pay_request", id, json!({}));
    append(tx, origin, entry);
    Ok(answer)
}

fn status(row: &PayRequestRow, now: Timestamp) -> pb::TransferRequestStatus {
    use pb::TransferRequestStatus as S;
    match row.state {
        PAID => S::Completed,
        REFUSED => S::Rejected,
        _ if now >= row.expires_at => S::Expired,
        _ => S::Pending,
    }
}
