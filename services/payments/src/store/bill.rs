//! Billers, inquiries, payments of bills and requests to pay.

use publica_store::{StoreError, Tx, statements};
use publica_types::Timestamp;

use crate::domain::ids::TransferId;
use crate::store::Ask;

statements! {
    PUT_BILLER = "INSERT INTO biller (biller_id, prefix, name, url, source_id, voucher_group) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (biller_id) DO UPDATE \
        SET prefix = excluded.prefix, name = excluded.name, url = excluded.url, \
        source_id = excluded.source_id, voucher_group = excluded.voucher_group",
    FIND_BILLER = "SELECT biller_id, prefix, name, url, source_id, voucher_group FROM biller \
        WHERE biller_id = $1",
    // The longest prefix wins.
    BILLER_OF = "SELECT biller_id, prefix, name, url, source_id, voucher_group FROM biller \
        WHERE prefix = substr($1, 1, length(prefix)) ORDER BY length(prefix) DESC LIMIT 1",
    PREFIX_TAKEN = "SELECT biller_id FROM biller WHERE prefix = $1 AND biller_id <> $2",
    LIST_BILLERS = "SELECT biller_id, prefix, name, url, source_id, voucher_group FROM biller \
        WHERE biller_id > $1 ORDER BY biller_id LIMIT $2",
    PUT_INSTITUTION = "INSERT INTO payer_institution (institution_id, name, url) \
        VALUES ($1, $2, $3) ON CONFLICT (institution_id) DO UPDATE \
        SET name = excluded.name, url = excluded.url",
    FIND_INSTITUTION = "SELECT institution_id, name, url FROM payer_institution \
        WHERE institution_id = $1",
    INSERT_INQUIRY = "INSERT INTO bill_inquiry (institution_id, source_request, correlation_id, \
        bill_id, biller_id, answered, asked_at) VALUES ($1, $2, $3, $4, $5, 0, $6) \
        ON CONFLICT DO NOTHING",
    FIND_INQUIRY = "SELECT institution_id, source_request, correlation_id, bill_id, biller_id, \
        details FROM bill_inquiry WHERE institution_id = $1 AND source_request = $2",
    INQUIRY_BY_CORRELATION = "SELECT institution_id, source_request, correlation_id, bill_id, \
        biller_id, details FROM bill_inquiry WHERE correlation_id = $1",
    ANSWER_INQUIRY = "UPDATE bill_inquiry SET answered = 1, details = $2 \
        WHERE correlation_id = $1 AND answered = 0",
    INSERT_PAYMENT = "INSERT INTO bill_payment (bill_id, biller_id, institution_id, \
        source_request, payment_reference, state, reject_reason, updated_at, voucher_serial, \
        transfer_id) VALUES ($1, $2, $3, $4, $5, 1, '', $6, $7, $8) ON CONFLICT DO NOTHING",
    FIND_PAYMENT = "SELECT bill_id, biller_id, institution_id, source_request, \
        payment_reference, state, voucher_serial, transfer_id FROM bill_payment \
        WHERE bill_id = $1",
    // One whose advice was rejected may be paid anew.
    RENEW_PAYMENT = "UPDATE bill_payment SET institution_id = $2, source_request = $3, \
        payment_reference = $4, state = 1, reject_reason = '', updated_at = $5, \
        voucher_serial = $6, transfer_id = $7 WHERE bill_id = $1 AND state = 3",
    END_PAYMENT = "UPDATE bill_payment SET state = $2, reject_reason = $3, updated_at = $4 \
        WHERE bill_id = $1 AND state = 1",
    INSERT_REQUEST = "INSERT INTO pay_request (biller_id, rtp_id, transaction_id, \
        source_request, fingerprint, bill_id, institution_id, state, expires_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    FIND_REQUEST = "SELECT biller_id, rtp_id, transaction_id, fingerprint, bill_id, \
        institution_id, state, expires_at, updated_at, refusal FROM pay_request \
        WHERE biller_id = $1 AND rtp_id = $2",
    REQUEST_BY_TRANSACTION = "SELECT biller_id, rtp_id, transaction_id, fingerprint, bill_id, \
        institution_id, state, expires_at, updated_at, refusal FROM pay_request \
        WHERE transaction_id = $1",
    SET_REQUEST = "UPDATE pay_request SET state = $3, updated_at = $4, refusal = $5 \
        WHERE transaction_id = $1 AND state = $2",
    PAY_REQUESTS = "UPDATE pay_request SET state = 4, updated_at = $2 \
        WHERE bill_id = $1 AND state IN (1, 2)",
}

/// A biller as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BillerRow {
    pub(crate) biller_id: String,
    pub(crate) prefix: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) source_id: String,
    pub(crate) voucher_group: String,
}

/// An institution as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct InstitutionRow {
    pub(crate) institution_id: String,
    pub(crate) name: String,
    pub(crate) url: String,
}

/// An inquiry as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct InquiryRow {
    pub(crate) institution_id: String,
    pub(crate) source_request: String,
    pub(crate) correlation_id: String,
    pub(crate) bill_id: String,
    pub(crate) biller_id: String,
    pub(crate) details: Option<Vec<u8>>,
}

/// A payment of a bill as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PaymentRow {
    pub(crate) bill_id: String,
    pub(crate) biller_id: String,
    pub(crate) institution_id: String,
    pub(crate) source_request: String,
    pub(crate) payment_reference: String,
    pub(crate) state: i64,
    /// The voucher that it was paid by, and the transfer, if it was.
    pub(crate) voucher_serial: Option<String>,
    pub(crate) transfer_id: Option<TransferId>,
}

/// A request to pay as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PayRequestRow {
    pub(crate) biller_id: String,
    pub(crate) rtp_id: i64,
    pub(crate) transaction_id: String,
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) bill_id: String,
    pub(crate) institution_id: String,
    pub(crate) state: i64,
    pub(crate) expires_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// Why the payer will not pay, sealed; empty where nothing was said.
    pub(crate) refusal: Vec<u8>,
}

/// False if another biller has the prefix.
pub(crate) async fn put_biller(tx: &mut Tx<'_>, row: &BillerRow) -> Result<bool, StoreError> {
    let query = tx.query(PREFIX_TAKEN).bind(row.prefix.as_str());
    let query = query.bind(row.biller_id.as_str());
    if query.fetch_scalar_optional::<String>().await?.is_some() {
        return Ok(false);
    }
    let query = tx.query(PUT_BILLER).bind(row.biller_id.as_str());
    let query = query.bind(row.prefix.as_str()).bind(row.name.as_str());
    let query = query.bind(row.url.as_str()).bind(row.source_id.as_str());
    query.bind(row.voucher_group.as_str()).execute().await?;
    Ok(true)
}

pub(crate) async fn find_biller(
    ask: &mut impl Ask,
    biller_id: &str,
) -> Result<Option<BillerRow>, StoreError> {
    ask.ask(FIND_BILLER).bind(biller_id).fetch_optional().await
}

/// The biller whose bill this is, by its prefix.
pub(crate) async fn biller_of(
    ask: &mut impl Ask,
    bill_id: &str,
) -> Result<Option<BillerRow>, StoreError> {
    ask.ask(BILLER_OF).bind(bill_id).fetch_optional().await
}

pub(crate) async fn list_billers(
    ask: &mut impl Ask,
    after: &str,
    limit: i64,
) -> Result<Vec<BillerRow>, StoreError> {
    ask.ask(LIST_BILLERS)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

pub(crate) async fn put_institution(
    tx: &mut Tx<'_>,
    row: &InstitutionRow,
) -> Result<(), StoreError> {
    let query = tx.query(PUT_INSTITUTION).bind(row.institution_id.as_str());
    let query = query.bind(row.name.as_str()).bind(row.url.as_str());
    query.execute().await.map(drop)
}

pub(crate) async fn find_institution(
    ask: &mut impl Ask,
    institution_id: &str,
) -> Result<Option<InstitutionRow>, StoreError> {
    ask.ask(FIND_INSTITUTION)
        .bind(institution_id)
        .fetch_optional()
        .await
}

/// True if the inquiry is new.
pub(crate) async fn insert_inquiry(tx: &mut Tx<'_>, row: &InquiryRow) -> Result<bool, StoreError> {
    let now = tx.now();
    let query = tx.query(INSERT_INQUIRY).bind(row.institution_id.as_str());
    let query = query
        .bind(row.source_request.as_str())
        .bind(row.correlation_id.as_str());
    let query = query
        .bind(row.bill_id.as_str())
        .bind(row.biller_id.as_str());
    Ok(query.bind(now).execute().await? == 1)
}

pub(crate) async fn find_inquiry(
    ask: &mut impl Ask,
    institution_id: &str,
    source_request: &str,
) -> Result<Option<InquiryRow>, StoreError> {
    let query = ask.ask(FIND_INQUIRY).bind(institution_id);
    query.bind(source_request).fetch_optional().await
}

pub(crate) async fn inquiry(
    ask: &mut impl Ask,
    correlation_id: &str,
) -> Result<Option<InquiryRow>, StoreError> {
    ask.ask(INQUIRY_BY_CORRELATION)
        .bind(correlation_id)
        .fetch_optional()
        .await
}

/// True if it is the first answer.
pub(crate) async fn answer_inquiry(
    tx: &mut Tx<'_>,
    correlation_id: &str,
    details: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let query = tx.query(ANSWER_INQUIRY).bind(correlation_id);
    Ok(query.bind(details).execute().await? == 1)
}

/// True if the bill had not been paid before.
pub(crate) async fn insert_payment(tx: &mut Tx<'_>, row: &PaymentRow) -> Result<bool, StoreError> {
    let now = tx.now();
    let query = tx.query(INSERT_PAYMENT).bind(row.bill_id.as_str());
    let query = query
        .bind(row.biller_id.as_str())
        .bind(row.institution_id.as_str());
    let query = query
        .bind(row.source_request.as_str())
        .bind(row.payment_reference.as_str());
    let query = query.bind(now).bind(row.voucher_serial.as_deref());
    if query.bind(row.transfer_id).execute().await? == 1 {
        return Ok(true);
    }
    let query = tx.query(RENEW_PAYMENT).bind(row.bill_id.as_str());
    let query = query
        .bind(row.institution_id.as_str())
        .bind(row.source_request.as_str());
    let query = query.bind(row.payment_reference.as_str()).bind(now);
    let query = query.bind(row.voucher_serial.as_deref());
    Ok(query.bind(row.transfer_id).execute().await? == 1)
}

pub(crate) async fn find_payment(
    ask: &mut impl Ask,
    bill_id: &str,
) -> Result<Option<PaymentRow>, StoreError> {
    ask.ask(FIND_PAYMENT).bind(bill_id).fetch_optional().await
}

/// True if the payment was still open.
pub(crate) async fn end_payment(
    tx: &mut Tx<'_>,
    bill_id: &str,
    state: i64,
    reject_reason: &str,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let query = tx
        .query(END_PAYMENT)
        .bind(bill_id)
        .bind(state)
        .bind(reject_reason);
    Ok(query.bind(now).execute().await? == 1)
}

/// True if the request is new.
pub(crate) async fn insert_request(
    tx: &mut Tx<'_>,
    row: &PayRequestRow,
    source_request: &str,
) -> Result<bool, StoreError> {
    let query = tx
        .query(INSERT_REQUEST)
        .bind(row.biller_id.as_str())
        .bind(row.rtp_id);
    let query = query.bind(row.transaction_id.as_str()).bind(source_request);
    let query = query
        .bind(row.fingerprint.as_slice())
        .bind(row.bill_id.as_str());
    let query = query.bind(row.institution_id.as_str()).bind(row.state);
    let query = query.bind(row.expires_at).bind(row.updated_at);
    Ok(query.execute().await? == 1)
}

pub(crate) async fn find_request(
    ask: &mut impl Ask,
    biller_id: &str,
    rtp_id: i64,
) -> Result<Option<PayRequestRow>, StoreError> {
    ask.ask(FIND_REQUEST)
        .bind(biller_id)
        .bind(rtp_id)
        .fetch_optional()
        .await
}

pub(crate) async fn request(
    ask: &mut impl Ask,
    transaction_id: &str,
) -> Result<Option<PayRequestRow>, StoreError> {
    ask.ask(REQUEST_BY_TRANSACTION)
        .bind(transaction_id)
        .fetch_optional()
        .await
}

/// Moves a request on; false if it was not in that state.
pub(crate) async fn set_request(
    tx: &mut Tx<'_>,
    transaction_id: &str,
    (from, to): (i64, i64),
    refusal: &[u8],
) -> Result<bool, StoreError> {
    let now = tx.now();
    let query = tx
        .query(SET_REQUEST)
        .bind(transaction_id)
        .bind(from)
        .bind(to);
    Ok(query.bind(now).bind(refusal).execute().await? == 1)
}

/// Ends the open requests to pay a bill that was paid.
pub(crate) async fn pay_requests(tx: &mut Tx<'_>, bill_id: &str) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(PAY_REQUESTS).bind(bill_id).bind(now);
    query.execute().await.map(drop)
}
