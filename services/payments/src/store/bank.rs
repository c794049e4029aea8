//! Banks of payers, and what they were asked.

use publica_store::{StoreError, Tx, statements};
use publica_types::Uuid;

use crate::domain::ids::ProgrammeId;
use crate::store::Ask;

/// A bank is asked whether a batch may be paid.
pub(crate) const AUTHORISE: i64 = 1;
/// A bank is asked to check accounts.
pub(crate) const VALIDATE: i64 = 2;

statements! {
    PUT = "INSERT INTO payer_bank (programme_id, url, payer_identifier) VALUES ($1, $2, $3) \
        ON CONFLICT (programme_id) DO UPDATE \
        SET url = excluded.url, payer_identifier = excluded.payer_identifier",
    REMOVE = "DELETE FROM payer_bank WHERE programme_id = $1",
    FIND = "SELECT url, payer_identifier FROM payer_bank WHERE programme_id = $1",
    PAYING_AS = "SELECT programme_id FROM payer_bank WHERE payer_identifier = $1",
    ASK_BANK = "INSERT INTO bank_request (correlation_id, kind, subject_id, answered, accepted, \
        items, asked_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    REQUEST = "SELECT kind, subject_id, answered, accepted, silent, reason, items \
        FROM bank_request WHERE correlation_id = $1",
    OF_SUBJECT = "SELECT kind, subject_id, answered, accepted, silent, reason, items \
        FROM bank_request WHERE subject_id = $1 AND kind = $2 \
        ORDER BY asked_at DESC, correlation_id",
    ANSWER = "UPDATE bank_request SET answered = $2, accepted = $3, reason = $4, \
        silent = $5 WHERE correlation_id = $1 AND answered <> $2",
}

/// A bank as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BankRow {
    pub(crate) url: String,
    pub(crate) payer_identifier: String,
}

/// What a bank was asked.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct RequestRow {
    pub(crate) kind: i64,
    pub(crate) subject_id: Uuid,
    pub(crate) answered: bool,
    pub(crate) accepted: bool,
    /// Whether it did not answer in time.
    pub(crate) silent: bool,
    /// What it said, sealed; empty where it said nothing.
    pub(crate) reason: Vec<u8>,
    /// The ids of the instructions that it was asked about, as JSON.
    pub(crate) items: Vec<u8>,
}

/// An answer, or that there is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) accepted: bool,
    pub(crate) silent: bool,
    /// What was said, sealed; empty where nothing was.
    pub(crate) reason: Vec<u8>,
}

/// Names a programme's bank; an empty URL forgets it.
pub(crate) async fn put(
    tx: &mut Tx<'_>,
    programme_id: ProgrammeId,
    bank: &BankRow,
) -> Result<(), StoreError> {
    if bank.url.is_empty() {
        return tx
            .query(REMOVE)
            .bind(programme_id)
            .execute()
            .await
            .map(drop);
    }
    let query = tx.query(PUT).bind(programme_id).bind(bank.url.as_str());
    query
        .bind(bank.payer_identifier.as_str())
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    programme_id: ProgrammeId,
) -> Result<Option<BankRow>, StoreError> {
    ask.ask(FIND).bind(programme_id).fetch_optional().await
}

/// The programmes whose bank knows its payer by this name.
pub(crate) async fn paying_as(
    ask: &mut impl Ask,
    payer: &str,
) -> Result<Vec<ProgrammeId>, StoreError> {
    ask.ask(PAYING_AS).bind(payer).fetch_scalars().await
}

/// Notes that a bank is asked; a repeat changes nothing.
pub(crate) async fn ask(
    tx: &mut Tx<'_>,
    correlation_id: &str,
    (kind, subject_id): (i64, Uuid),
    items: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(ASK_BANK).bind(correlation_id).bind(kind);
    let query = query.bind(subject_id).bind(false).bind(false).bind(items);
    if query.bind(now).execute().await? == 1 {
        return Ok(());
    }
    let known = request(tx, correlation_id).await?;
    match known.is_some_and(|row| row.kind == kind && row.subject_id == subject_id) {
        true => Ok(()),
        false => Err(StoreError::corrupt("an id of a question to a bank")),
    }
}

pub(crate) async fn request(
    ask: &mut impl Ask,
    correlation_id: &str,
) -> Result<Option<RequestRow>, StoreError> {
    ask.ask(REQUEST).bind(correlation_id).fetch_optional().await
}

/// What banks were asked about a batch or a validation, newest first.
pub(crate) async fn of_subject(
    ask: &mut impl Ask,
    subject_id: Uuid,
    kind: i64,
) -> Result<Vec<RequestRow>, StoreError> {
    ask.ask(OF_SUBJECT)
        .bind(subject_id)
        .bind(kind)
        .fetch_all()
        .await
}

/// Notes an answer; true if it is the first.
pub(crate) async fn answer(
    tx: &mut Tx<'_>,
    correlation_id: &str,
    answer: &Answer,
) -> Result<bool, StoreError> {
    let query = tx.query(ANSWER).bind(correlation_id).bind(true);
    let query = query.bind(answer.accepted).bind(answer.reason.as_slice());
    Ok(query.bind(answer.silent).execute().await? == 1)
}
