//! What was handed to the rails that pay, what became of it, and the files that told so.

use std::collections::BTreeMap;

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use crate::domain::ids::BatchId;
use crate::store::Ask;
use crate::store::columns::bind_columns;

/// States of a message.
pub(crate) const TO_SEND: i64 = 0;
pub(crate) const STAGED: i64 = 1;
pub(crate) const SENT: i64 = 2;
/// States of an item: the last two are final.
pub(crate) const NEW: i64 = 0;
pub(crate) const ORDERED: i64 = 1;
pub(crate) const ACCEPTED: i64 = 2;
pub(crate) const SETTLED: i64 = 3;
pub(crate) const REJECTED: i64 = 4;

statements! {
    INSERT_MESSAGE = "INSERT INTO rail_message (message_id, rail, batch_id, institution, \
        currency, state, staged, addresses, created_at) VALUES ($1, $2, $3, $4, $5, 0, '', $6, \
        $7) ON CONFLICT DO NOTHING",
    INSERT_ITEMS = {
        sqlite: "INSERT INTO rail_item (end_to_end, message_id, place, amount_minor, state, \
            reason_code) SELECT unhex(value ->> 0), $1, value ->> 1, value ->> 2, value ->> 3, \
            value ->> 4 FROM json_each($2)",
        postgres: "INSERT INTO rail_item (end_to_end, message_id, place, amount_minor, state, \
            reason_code) SELECT a, $1, b, c, d, e FROM UNNEST($2::uuid[], $3::bigint[], \
            $4::bigint[], $5::bigint[], $6::text[]) AS v (a, b, c, d, e)",
    },
    FIND_MESSAGE = "SELECT message_id, rail, batch_id, institution, currency, state, staged, \
        addresses, created_at FROM rail_message WHERE message_id = $1",
    ITEMS = "SELECT end_to_end, place, amount_minor, state, reason_code, reference FROM rail_item \
        WHERE message_id = $1 ORDER BY place",
    STAGE = "UPDATE rail_message SET state = 1, staged = $2 \
        WHERE message_id = $1 AND state = 0",
    // What it was to be sent to is not needed any more.
    END = {
        sqlite: "UPDATE rail_message SET state = 2, staged = '', addresses = x'' \
            WHERE message_id = $1 AND state < 2",
        postgres: "UPDATE rail_message SET state = 2, staged = '', addresses = ''::bytea \
            WHERE message_id = $1 AND state < 2",
    },
    KNOWN = {
        sqlite: "SELECT i.end_to_end, i.amount_minor, i.state, m.rail, m.batch_id, m.currency \
            FROM rail_item i JOIN rail_message m ON m.message_id = i.message_id \
            WHERE i.end_to_end IN (SELECT unhex(value) FROM json_each($1))",
        postgres: "SELECT i.end_to_end, i.amount_minor, i.state, m.rail, m.batch_id, \
            m.currency FROM rail_item i JOIN rail_message m ON m.message_id = i.message_id \
            WHERE i.end_to_end = ANY($1::uuid[])",
    },
    // What is final stays what it is.
    SET_ITEMS = {
        sqlite: "UPDATE rail_item SET state = v.value ->> 1, reason_code = v.value ->> 2 \
            FROM json_each($1) AS v WHERE end_to_end = unhex(v.value ->> 0) \
            AND rail_item.state < 3",
        postgres: "UPDATE rail_item SET state = v.b, reason_code = v.c \
            FROM UNNEST($1::uuid[], $2::bigint[], $3::text[]) AS v (a, b, c) \
            WHERE end_to_end = v.a AND rail_item.state < 3",
    },
    SET_PROGRESS = {
        sqlite: "UPDATE rail_item SET state = v.value ->> 1, reason_code = v.value ->> 2, \
            reference = v.value ->> 3 FROM json_each($1) AS v \
            WHERE end_to_end = unhex(v.value ->> 0) AND rail_item.state < 3",
        postgres: "UPDATE rail_item SET state = v.b, reason_code = v.c, reference = v.d \
            FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[]) AS v (a, b, c, d) \
            WHERE end_to_end = v.a AND rail_item.state < 3",
    },
    FIND_FILE = "SELECT digest FROM rail_file WHERE digest = $1",
    FILE_OF = "SELECT digest FROM rail_file WHERE rail = $1 AND kind = $2 AND file_id = $3",
    INSERT_FILE = "INSERT INTO rail_file (digest, rail, kind, file_id, taken_at) \
        VALUES ($1, $2, $3, $4, $5)",
}

/// A message as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct MessageRow {
    pub(crate) message_id: Uuid,
    pub(crate) rail: String,
    pub(crate) batch_id: BatchId,
    pub(crate) institution: String,
    pub(crate) currency: String,
    pub(crate) state: i64,
    pub(crate) staged: String,
    pub(crate) addresses: Vec<u8>,
    pub(crate) created_at: Timestamp,
}

/// A message to store.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub(crate) message_id: Uuid,
    pub(crate) rail: String,
    pub(crate) batch_id: BatchId,
    pub(crate) institution: String,
    pub(crate) currency: String,
    pub(crate) addresses: Vec<u8>,
    pub(crate) items: Vec<ItemRow>,
}

/// An item as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ItemRow {
    pub(crate) end_to_end: Uuid,
    pub(crate) place: i64,
    pub(crate) amount_minor: i64,
    pub(crate) state: i64,
    pub(crate) reason_code: String,
    /// The rail's own id of it, if it told one.
    pub(crate) reference: String,
}

/// How far an item has come.
#[derive(Debug, Clone)]
pub(crate) struct Progress<'a> {
    pub(crate) end_to_end: Uuid,
    pub(crate) state: i64,
    pub(crate) reason_code: &'a str,
    pub(crate) reference: &'a str,
}

/// What is known of an item that somebody says something of.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct KnownRow {
    pub(crate) end_to_end: Uuid,
    pub(crate) amount_minor: i64,
    pub(crate) state: i64,
    pub(crate) rail: String,
    pub(crate) batch_id: BatchId,
    pub(crate) currency: String,
}

/// A file that was taken in.
#[derive(Debug, Clone)]
pub(crate) struct NewFile {
    pub(crate) digest: Vec<u8>,
    pub(crate) rail: String,
    pub(crate) kind: &'static str,
    pub(crate) file_id: String,
}

/// Keeps a message with its items; false if it is there already.
pub(crate) async fn insert(tx: &mut Tx<'_>, new: &NewMessage) -> Result<bool, StoreError> {
    let (now, engine) = (tx.now(), tx.engine());
    let query = tx.query(INSERT_MESSAGE).bind(new.message_id);
    let query = query.bind(new.rail.as_str()).bind(new.batch_id);
    let query = query.bind(new.institution.as_str());
    let query = query.bind(new.currency.as_str());
    let query = query.bind(new.addresses.as_slice()).bind(now);
    if query.execute().await? == 0 {
        return Ok(false);
    }
    let ids: Vec<Uuid> = new.items.iter().map(|item| item.end_to_end).collect();
    let places: Vec<i64> = new.items.iter().map(|item| item.place).collect();
    let amounts: Vec<i64> = new.items.iter().map(|item| item.amount_minor).collect();
    let states: Vec<i64> = new.items.iter().map(|item| item.state).collect();
    let codes: Vec<&str> = new.items.iter().map(|i| i.reason_code.as_str()).collect();
    let query = tx.query(INSERT_ITEMS).bind(new.message_id);
    let insert = bind_columns!(engine, query, &ids, &places, &amounts, &states, &codes);
    insert.execute().await?;
    Ok(true)
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    message_id: Uuid,
) -> Result<Option<MessageRow>, StoreError> {
    ask.ask(FIND_MESSAGE)
        .bind(message_id)
        .fetch_optional()
        .await
}

/// The items of a message, in its order.
pub(crate) async fn items(
    ask: &mut impl Ask,
    message_id: Uuid,
) -> Result<Vec<ItemRow>, StoreError> {
    ask.ask(ITEMS).bind(message_id).fetch_all().await
}

/// Notes under which name a message's file is on its way out; false if another one is, or was.
pub(crate) async fn stage(
    tx: &mut Tx<'_>,
    message_id: Uuid,
    staged: &str,
) -> Result<bool, StoreError> {
    let query = tx.query(STAGE).bind(message_id).bind(staged);
    Ok(query.execute().await? == 1)
}

/// Notes that a message is sent; false if that was known.
pub(crate) async fn end(tx: &mut Tx<'_>, message_id: Uuid) -> Result<bool, StoreError> {
    Ok(tx.query(END).bind(message_id).execute().await? == 1)
}

/// Items by end-to-end id; those that nobody knows are left out.
pub(crate) async fn known(
    ask: &mut impl Ask,
    ids: &[Uuid],
) -> Result<BTreeMap<Uuid, KnownRow>, StoreError> {
    let rows: Vec<KnownRow> = ask.ask(KNOWN).bind_list(ids).fetch_all().await?;
    Ok(rows.into_iter().map(|row| (row.end_to_end, row)).collect())
}

/// Says what became of items: id, state and reason. What is final stays what it is.
pub(crate) async fn set_items(
    tx: &mut Tx<'_>,
    changes: &[(Uuid, i64, String)],
) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let engine = tx.engine();
    let ids: Vec<Uuid> = changes.iter().map(|change| change.0).collect();
    let states: Vec<i64> = changes.iter().map(|change| change.1).collect();
    let codes: Vec<&str> = changes.iter().map(|change| change.2.as_str()).collect();
    let query = tx.query(SET_ITEMS);
    let set = bind_columns!(engine, query, &ids, &states, &codes);
    set.execute().await.map(drop)
}

/// Says how far items have come. What is final stays what it is.
pub(crate) async fn set_progress(
    tx: &mut Tx<'_>,
    changes: &[Progress<'_>],
) -> Result<(), StoreError> {
    let engine = tx.engine();
    let ids: Vec<Uuid> = changes.iter().map(|change| change.end_to_end).collect();
    let states: Vec<i64> = changes.iter().map(|change| change.state).collect();
    let codes: Vec<&str> = changes.iter().map(|change| change.reason_code).collect();
    let references: Vec<&str> = changes.iter().map(|change| change.reference).collect();
    let query = tx.query(SET_PROGRESS);
    let set = bind_columns!(engine, query, &ids, &states, &codes, &references);
    set.execute().await.map(drop)
}

/// Whether a file with these bytes was taken in.
pub(crate) async fn has_file(ask: &mut impl Ask, digest: &[u8]) -> Result<bool, StoreError> {
    let query = ask.ask(FIND_FILE).bind(digest);
    let found: Option<Vec<u8>> = query.fetch_scalar_optional().await?;
    Ok(found.is_some())
}

/// The digest of a file that was taken in under an id.
pub(crate) async fn file_of(
    ask: &mut impl Ask,
    (rail, kind, file_id): (&str, &str, &str),
) -> Result<Option<Vec<u8>>, StoreError> {
    let query = ask.ask(FILE_OF).bind(rail).bind(kind);
    query.bind(file_id).fetch_scalar_optional().await
}

pub(crate) async fn insert_file(tx: &mut Tx<'_>, new: &NewFile) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(INSERT_FILE).bind(new.digest.as_slice());
    let query = query.bind(new.rail.as_str()).bind(new.kind);
    let query = query.bind(new.file_id.as_str()).bind(now);
    query.execute().await.map(drop)
}
