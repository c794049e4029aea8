//! Notices that bills were paid: the biller is told again and again until it answers, and its
//! answer goes back to the payer's institution.

use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::Origin;
use publica_work::{Job, enqueue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::open_bill;
use super::voucher::{self, BillRedemption};
use crate::app::callback::{self, Content, Target, bills};
use crate::app::source::check_number;
use crate::app::{App, check_text, entry};
use crate::domain::ids::{GroupId, named};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::jobs::ADVICE;
use crate::store::bill::{self as sql, InquiryRow, PaymentRow};

const REFERENCE_CHARS: usize = 20;
/// A payment that its biller was not heard about yet, that is marked as paid, and that the biller
/// refused.
pub(crate) const ADVISED: i64 = 1;
pub(crate) const PAID: i64 = 2;
pub(crate) const REFUSED: i64 = 3;

/// Which payment a biller is told about.
#[derive(Debug, Serialize, Deserialize)]
struct Advised {
    bill_id: String,
    institution_id: String,
    payment_reference: String,
}

impl App {
    pub(crate) async fn notify_bill_payment(
        &self,
        origin: &Origin,
        request: pb::NotifyBillPaymentRequest,
    ) -> Result<pb::NotifyBillPaymentResponse, Error> {
        self.speak(origin, Kind::Institution, &request.institution_id)
            .await?;
        let mut invalid = Invalid::new();
        check_number(&mut invalid, "source_request", &request.source_request);
        let reference = &request.payment_reference;
        check_text(
            &mut invalid,
            "payment_reference",
            reference,
            REFERENCE_CHARS,
        );
        invalid.check()?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), self.keyring.clone(), request);
        db.write("payments.notify_payment", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, request) = input;
                notify(tx, keyring, origin, request).await
            })
        })
        .await
    }

    pub(crate) async fn record_bill_result(
        &self,
        origin: &Origin,
        request: pb::RecordBillResultRequest,
    ) -> Result<pb::RecordBillResultResponse, Error> {
        self.speak(origin, Kind::Biller, &request.biller_id).await?;
        let known = matches!(request.reject_reason.as_str(), "" | "Def" | "Dup" | "Und");
        if !known || (request.accepted && !request.reject_reason.is_empty()) {
            let invalid = Invalid::new().add("reject_reason", "must be Def, Dup or Und");
            return Err(invalid.into());
        }
        let db = self.db(origin).await?;
        let input = (origin.clone(), self.keyring.clone(), request, self.group());
        db.write("payments.bill_result", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, request, group) = input;
                result(tx, keyring, origin, request, *group).await
            })
        })
        .await
    }

    pub(crate) async fn pay_bill_by_voucher(
        &self,
        origin: &Origin,
        request: pb::PayBillByVoucherRequest,
    ) -> Result<pb::PayBillByVoucherResponse, Error> {
        // The block that a number is encrypted for does not call: whoever holds the number does.
        self.speak(origin, Kind::Institution, &request.institution_id)
            .await?;
        let mut invalid = Invalid::new();
        check_number(&mut invalid, "source_request", &request.source_request);
        invalid.check()?;
        let db = self.db(origin).await?;
        let number = self.voucher_number(&request.calling_block, &request.voucher_number)?;
        let redemption = self.bill_redemption(origin, &number)?;
        let input = (self.keyring.clone(), request, redemption);
        let done = db.write("payments.voucher_for_bill", input, |tx, input| {
            Box::pin(async move {
                let (keyring, request, redemption) = input;
                pay_by_voucher(tx, keyring, request, redemption).await
            })
        });
        self.judge_redemption(origin, done.await).await
    }

    /// What a biller is told about a payment; nothing once it has answered.
    pub(crate) async fn advice(
        &self,
        db: &Db,
        what: &[u8],
    ) -> Result<Option<(Target, serde_json::Value)>, Error> {
        let what: Advised =
            serde_json::from_slice(what).map_err(|_| Error::corrupt("an advice"))?;
        let payment = sql::find_payment(&mut db.clone(), &what.bill_id).await?;
        let open = |payment: &PaymentRow| {
            payment.state == ADVISED
                && payment.institution_id == what.institution_id
                && payment.payment_reference == what.payment_reference
        };
        let Some(payment) = payment.filter(open) else {
            return Ok(None);
        };
        let biller = sql::find_biller(&mut db.clone(), &payment.biller_id).await?;
        let biller = biller.ok_or(Error::corrupt("the biller of a bill is missing"))?;
        let url = format!("{}/billTransferRequests", biller.url);
        let target = Target::to(
            url,
            &payment.source_request,
            (Kind::Biller, &biller.biller_id),
        );
        Ok(Some((target, bills::advice(&payment))))
    }
}

/// The inquiry that a payment follows, if it is of this bill and was answered with one.
async fn answered(
    tx: &mut Tx<'_>,
    institution: &str,
    inquiry: &str,
    bill_id: &str,
) -> Result<Option<InquiryRow>, Error> {
    let found = sql::find_inquiry(tx, institution, inquiry).await?;
    let Some(found) = found.filter(|row| row.bill_id == bill_id) else {
        return Ok(None);
    };
    match found.details.is_some() {
        true => Ok(Some(found)),
        false => Err(Error::BillState("the bill was not presented")),
    }
}

async fn notify(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    request: &pb::NotifyBillPaymentRequest,
) -> Result<pb::NotifyBillPaymentResponse, Error> {
    let institution = sql::find_institution(tx, &request.institution_id).await?;
    let institution = institution.ok_or(Error::not_found("payer institution"))?;
    let (id, inquiry) = (&institution.institution_id, &request.inquiry_request);
    let biller_id = match answered(tx, id, inquiry, &request.bill_id).await? {
        Some(row) => row.biller_id,
        // A payment may follow a request to pay instead.
        None => {
            let asked = sql::request(tx, inquiry).await?;
            let fits = |row: &sql::PayRequestRow| {
                row.bill_id == request.bill_id && row.institution_id == *id
            };
            let asked = asked.filter(fits);
            asked.ok_or(Error::not_found("bill inquiry"))?.biller_id
        }
    };
    let row = PaymentRow {
        bill_id: request.bill_id.clone(),
        biller_id,
        institution_id: id.clone(),
        source_request: request.source_request.clone(),
        payment_reference: request.payment_reference.clone(),
        state: ADVISED,
        voucher_serial: None,
        transfer_id: None,
    };
    if !pay(tx, origin, &row).await? {
        let known = sql::find_payment(tx, &row.bill_id).await?;
        let known = known.ok_or(Error::corrupt("a payment is missing"))?;
        let same = known.payment_reference == row.payment_reference
            && known.institution_id == row.institution_id;
        if !same {
            // Somebody else paid it first.
            tell(tx, keyring, origin, &row, REFUSED, "Dup").await?;
        }
    }
    Ok(pb::NotifyBillPaymentResponse {})
}

/// Notes a payment and has its biller told; false if the bill is paid already.
async fn pay(tx: &mut Tx<'_>, origin: &Origin, row: &PaymentRow) -> Result<bool, Error> {
    if !sql::insert_payment(tx, row).await? {
        return Ok(false);
    }
    let what = Advised {
        bill_id: row.bill_id.clone(),
        institution_id: row.institution_id.clone(),
        payment_reference: row.payment_reference.clone(),
    };
    let what = serde_json::to_vec(&what).map_err(|_| Error::corrupt("an advice"))?;
    // A bill that is paid anew, after a refusal, is another advice.
    let key = named("advice", &what).to_string();
    let job = Job::new(ADVICE, key, what);
    enqueue(tx, origin, job).await?;
    let body = json!({"biller": row.biller_id, "institution": row.institution_id});
    append(
        tx,
        origin,
        entry("payments.bill.paid", "bill", &row.bill_id, body),
    );
    Ok(true)
}

async fn result(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    request: &pb::RecordBillResultRequest,
    group: GroupId,
) -> Result<pb::RecordBillResultResponse, Error> {
    let payment = sql::find_payment(tx, &request.bill_id).await?;
    let payment = payment.filter(|payment| payment.biller_id == request.biller_id);
    let payment = payment.ok_or(Error::not_found("bill payment"))?;
    let (state, reason) = match request.accepted {
        true => (PAID, ""),
        false => (REFUSED, request.reject_reason.as_str()),
    };
    if !sql::end_payment(tx, &payment.bill_id, state, reason).await? {
        return match payment.state == state {
            true => Ok(pb::RecordBillResultResponse {}),
            false => Err(Error::BillState("the payment has ended otherwise")),
        };
    }
    match state {
        PAID => sql::pay_requests(tx, &payment.bill_id).await?,
        _ => voucher::give_back(tx, origin, group, &payment).await?,
    }
    tell(tx, keyring, origin, &payment, state, reason).await?;
    let body = json!({"accepted": request.accepted, "reason": reason});
    let id = &payment.bill_id;
    append(
        tx,
        origin,
        entry("payments.bill.answered", "bill", id, body),
    );
    Ok(pb::RecordBillResultResponse {})
}

/// Tells the payer's institution what became of its payment.
async fn tell(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    payment: &PaymentRow,
    state: i64,
    reason: &str,
) -> Result<(), Error> {
    let institution = sql::find_institution(tx, &payment.institution_id).await?;
    let institution = institution.ok_or(Error::not_found("payer institution"))?;
    let url = format!("{}/billTransferRequests", institution.url);
    let target = Target::to(
        url,
        &payment.source_request,
        (Kind::Institution, &institution.institution_id),
    );
    let name = format!(
        "bill_status:{}:{}:{}",
        payment.institution_id, payment.source_request, payment.payment_reference
    );
    let body = bills::bill_status(payment, state == PAID, reason);
    callback::post(tx, keyring, origin, &name, &target, Content::Body(body)).await
}

async fn pay_by_voucher(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    request: &pb::PayBillByVoucherRequest,
    redemption: &BillRedemption,
) -> Result<pb::PayBillByVoucherResponse, Error> {
    let institution = sql::find_institution(tx, &request.institution_id).await?;
    let institution = institution.ok_or(Error::not_found("payer institution"))?;
    let id = &institution.institution_id;
    let inquiry = answered(tx, id, &request.inquiry_request, &request.bill_id).await?;
    let inquiry = inquiry.ok_or(Error::not_found("bill inquiry"))?;
    let sealed = inquiry.details.as_deref().unwrap_or_default();
    let bill = open_bill(keyring, sealed)?;
    let biller = sql::find_biller(tx, &inquiry.biller_id).await?;
    let biller = biller.ok_or(Error::not_found("biller"))?;
    let reference = super::twelve(keyring, &format!("voucher:{id}:{}", request.source_request));
    match sql::find_payment(tx, &request.bill_id).await? {
        // The same request was answered before, whatever became of the payment.
        Some(known) if known.payment_reference == reference => {
            let transfer_id = known.transfer_id.map(|id| id.to_string());
            return Ok(pb::PayBillByVoucherResponse {
                transfer_id: transfer_id.unwrap_or_default(),
            });
        }
        Some(known) if known.state != REFUSED => {
            return Err(Error::BillState("the bill is paid already"));
        }
        _ => {}
    }
    let (serial, transfer) = redemption.pay(tx, &biller, &bill).await?;
    let row = PaymentRow {
        bill_id: request.bill_id.clone(),
        biller_id: biller.biller_id,
        institution_id: id.clone(),
        source_request: request.source_request.clone(),
        payment_reference: reference,
        state: ADVISED,
        voucher_serial: Some(serial),
        transfer_id: Some(transfer),
    };
    if !pay(tx, redemption.origin(), &row).await? {
        return Err(Error::BillState("the bill is paid already"));
    }
    Ok(pb::PayBillByVoucherResponse {
        transfer_id: transfer.to_string(),
    })
}
