//! Vouchers, their groups, and the merchants and blocks that deal with them.

use std::time::Duration;

use publica_store::{StoreError, Tx, statements};
use publica_types::{Timestamp, Uuid};

use crate::domain::ids::{BatchId, MerchantId, ProgrammeId, TransferId};
use crate::domain::voucher::{FIRST_NUMBER, State, Voucher};
use crate::error::Error;
use crate::store::Ask;
use crate::store::columns::bind_columns;

statements! {
    INSERT_BLOCK = "INSERT INTO calling_block (name, created_at) VALUES ($1, $2) \
        ON CONFLICT DO NOTHING",
    FIND_BLOCK = "SELECT name FROM calling_block WHERE name = $1",
    INSERT_GROUP = "INSERT INTO voucher_group (name, stock, programme_id, created_at) \
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    FIND_GROUP = "SELECT name, stock, programme_id FROM voucher_group WHERE name = $1",
    LIST_GROUPS = "SELECT name, stock, programme_id FROM voucher_group WHERE name > $1 \
        ORDER BY name LIMIT $2",
    TAKE_STOCK = "UPDATE voucher_group SET stock = stock - 1 \
        WHERE name = $1 AND (stock IS NULL OR stock > 0)",
    RETURN_STOCK = "UPDATE voucher_group SET stock = stock + 1 \
        WHERE name = $1 AND stock IS NOT NULL",
    COUNTS = "SELECT state, currency, COUNT(*) AS item_count, \
        CAST(SUM(amount_minor) AS BIGINT) AS amount_minor FROM voucher \
        WHERE voucher_group = $1 GROUP BY state, currency ORDER BY state, currency",
    INSERT_MERCHANT = "INSERT INTO merchant (merchant_id, lookup, name, bank_details, \
        voucher_group, blocked, created_at, agent_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
        ON CONFLICT DO NOTHING",
    FIND_MERCHANT = "SELECT merchant_id, voucher_group, blocked, agent_id FROM merchant \
        WHERE lookup = $1",
    FIND_AGENT = "SELECT merchant_id, voucher_group, blocked, agent_id FROM merchant \
        WHERE agent_id = $1",
    FIND_ISSUANCE = "SELECT source_request, serial FROM voucher_issuance \
        WHERE calling_block = $1 AND instruction_id = $2",
    INSERT_ISSUANCE = "INSERT INTO voucher_issuance (calling_block, instruction_id, \
        source_request, serial, payee) VALUES ($1, $2, $3, $4, $5)",
    INSERT_FIRST_SERIAL = "INSERT INTO voucher_serial (one, next_serial) VALUES (1, $1) \
        ON CONFLICT DO NOTHING",
    TAKE_SERIALS = "UPDATE voucher_serial SET next_serial = next_serial + $1 WHERE one = 1 \
        RETURNING next_serial - $1",
    INSERT = "INSERT INTO voucher (serial, number_hash, number_sealed, calling_block, \
        voucher_group, currency, amount_minor, amount_text, state, created_at, hold_until, \
        expires_at, redeemed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
        $13) ON CONFLICT DO NOTHING",
    INSERT_MANY = {
        sqlite: "INSERT INTO voucher (created_at, serial, number_hash, number_sealed, \
            calling_block, voucher_group, currency, amount_minor, amount_text, state, \
            hold_until, expires_at) SELECT $1, value ->> 0, unhex(value ->> 1), \
            unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
            value ->> 7, value ->> 8, value ->> 9, value ->> 10 FROM json_each($2) WHERE TRUE \
            ON CONFLICT DO NOTHING RETURNING serial",
        postgres: "INSERT INTO voucher (created_at, serial, number_hash, number_sealed, \
            calling_block, voucher_group, currency, amount_minor, amount_text, state, \
            hold_until, expires_at) SELECT $1, a, b, c, d, e, f, g, h, i, j, k \
            FROM UNNEST($2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], \
            $7::text[], $8::bigint[], $9::text[], $10::bigint[], $11::timestamptz[], \
            $12::timestamptz[]) AS v (a, b, c, d, e, f, g, h, i, j, k) \
            ON CONFLICT DO NOTHING RETURNING serial",
    },
    IMPORTED = {
        sqlite: "SELECT serial, number_hash, calling_block, voucher_group, currency, \
            amount_minor, state, hold_until, expires_at FROM voucher \
            WHERE serial IN (SELECT value FROM json_each($1))",
        postgres: "SELECT serial, number_hash, calling_block, voucher_group, currency, \
            amount_minor, state, hold_until, expires_at FROM voucher \
            WHERE serial = ANY($1::text[])",
    },
    INSERT_FOR_BATCH = {
        sqlite: "INSERT INTO voucher (calling_block, voucher_group, currency, batch_id, state, \
            created_at, hold_until, serial, number_hash, number_sealed, amount_minor, \
            amount_text, ordinal) SELECT $1, $2, $3, $4, 2, $5, $6, value ->> 0, \
            unhex(value ->> 1), unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5 \
            FROM json_each($7)",
        postgres: "INSERT INTO voucher (calling_block, voucher_group, currency, batch_id, \
            state, created_at, hold_until, serial, number_hash, number_sealed, amount_minor, \
            amount_text, ordinal) SELECT $1, $2, $3, $4, 2, $5, $6, a, b, c, d, e, f \
            FROM UNNEST($7::text[], $8::bytea[], $9::bytea[], $10::bigint[], $11::text[], \
            $12::bigint[]) AS v (a, b, c, d, e, f)",
    },
    FIND = "SELECT serial, number_sealed, calling_block, voucher_group, currency, amount_minor, \
        amount_text, state, hold_until, expires_at, ordinal FROM voucher WHERE serial = $1",
    // A unit that decides by a voucher's state must keep others out until it has written.
    LOCK = {
        sqlite: "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
            amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
            WHERE serial = $1",
        postgres: "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
            amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
            WHERE serial = $1 FOR UPDATE",
    },
    LOCK_BY_NUMBER = {
        sqlite: "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
            amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
            WHERE number_hash = $1",
        postgres: "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
            amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
            WHERE number_hash = $1 FOR UPDATE",
    },
    SET_STATE = "UPDATE voucher SET state = $2, expires_at = $3 WHERE serial = $1",
    CONSUME = "UPDATE voucher SET state = 7, redeemed_at = $2, merchant_id = $3, \
        transfer_id = $4 WHERE serial = $1",
    REDEEMED = "SELECT expires_at, redeemed_at FROM voucher \
        WHERE serial = $1 AND state = 7 AND transfer_id = $2",
    RESTORE = "UPDATE voucher SET state = 3, expires_at = $3, redeemed_at = NULL, \
        merchant_id = NULL, transfer_id = NULL \
        WHERE serial = $1 AND state = 7 AND transfer_id = $2",
    FIND_MANY = {
        sqlite: "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
            amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
            WHERE serial IN (SELECT value FROM json_each($1))",
        postgres: "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
            amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
            WHERE serial = ANY($1::text[])",
    },
    OF_BATCH = "SELECT serial, number_sealed, calling_block, voucher_group, currency, \
        amount_minor, amount_text, state, hold_until, expires_at, ordinal FROM voucher \
        WHERE batch_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3",
    ORDINALS_OF_BATCH = "SELECT ordinal FROM voucher WHERE batch_id = $1 AND ordinal >= $2 \
        AND ordinal < $3",
    SUM_OF_BATCH = "SELECT COUNT(*) AS item_count, \
        CAST(COALESCE(SUM(amount_minor), 0) AS BIGINT) AS amount_minor FROM voucher \
        WHERE batch_id = $1",
}

/// A voucher as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct VoucherRow {
    pub(crate) serial: String,
    pub(crate) number_sealed: Option<Vec<u8>>,
    pub(crate) calling_block: String,
    pub(crate) voucher_group: String,
    pub(crate) currency: String,
    pub(crate) amount_minor: i64,
    pub(crate) amount_text: String,
    pub(crate) state: i64,
    pub(crate) hold_until: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) ordinal: Option<i64>,
}

impl VoucherRow {
    /// What the rules need to know.
    pub(crate) fn facts(&self) -> Result<Voucher, Error> {
        Ok(Voucher {
            state: State::of_code(self.state).ok_or(Error::corrupt("voucher state"))?,
            calling_block: self.calling_block.clone(),
            voucher_group: self.voucher_group.clone(),
            hold_until: self.hold_until,
            expires_at: self.expires_at,
        })
    }
}

/// A voucher to store.
#[derive(Debug, Clone)]
pub(crate) struct NewVoucher {
    pub(crate) serial: String,
    pub(crate) number_hash: Option<Vec<u8>>,
    pub(crate) number_sealed: Option<Vec<u8>>,
    pub(crate) calling_block: String,
    pub(crate) voucher_group: String,
    pub(crate) currency: String,
    pub(crate) amount_minor: i64,
    pub(crate) amount_text: String,
    pub(crate) state: State,
    pub(crate) hold_until: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) redeemed_at: Option<Timestamp>,
}

/// What an import compares with a stored voucher.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ImportedRow {
    pub(crate) serial: String,
    pub(crate) number_hash: Option<Vec<u8>>,
    pub(crate) calling_block: String,
    pub(crate) voucher_group: String,
    pub(crate) currency: String,
    pub(crate) amount_minor: i64,
    pub(crate) state: i64,
    pub(crate) hold_until: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// A voucher in place of a payment.
#[derive(Debug, Clone)]
pub(crate) struct BatchVoucher {
    pub(crate) serial: String,
    pub(crate) number_hash: Vec<u8>,
    pub(crate) number_sealed: Vec<u8>,
    pub(crate) amount_minor: i64,
    pub(crate) amount_text: String,
    pub(crate) ordinal: i64,
}

/// What vouchers of a batch have in common.
#[derive(Debug, Clone)]
pub(crate) struct BatchVouchers {
    pub(crate) batch_id: BatchId,
    pub(crate) calling_block: String,
    pub(crate) voucher_group: String,
    pub(crate) currency: String,
    pub(crate) hold_until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct GroupRow {
    pub(crate) name: String,
    pub(crate) stock: Option<i64>,
    pub(crate) programme_id: Option<ProgrammeId>,
}

/// Vouchers of a group in one state and currency.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct CountRow {
    pub(crate) state: i64,
    pub(crate) currency: String,
    pub(crate) item_count: i64,
    pub(crate) amount_minor: i64,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct MerchantRow {
    pub(crate) merchant_id: MerchantId,
    pub(crate) voucher_group: String,
    pub(crate) blocked: bool,
    pub(crate) agent_id: Option<String>,
}

/// Which voucher an instruction was answered with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewIssuance<'a> {
    pub(crate) calling_block: &'a str,
    pub(crate) instruction_id: &'a str,
    pub(crate) source_request: &'a str,
    pub(crate) serial: &'a str,
    pub(crate) payee: &'a [u8],
}

/// A merchant to store.
#[derive(Debug, Clone)]
pub(crate) struct NewMerchant {
    pub(crate) merchant_id: MerchantId,
    pub(crate) lookup: Vec<u8>,
    pub(crate) name: String,
    pub(crate) bank_details: Vec<u8>,
    pub(crate) voucher_group: String,
    pub(crate) blocked: bool,
    pub(crate) agent_id: Option<String>,
}

pub(crate) async fn insert_block(tx: &mut Tx<'_>, name: &str) -> Result<bool, StoreError> {
    let now = tx.now();
    Ok(tx
        .query(INSERT_BLOCK)
        .bind(name)
        .bind(now)
        .execute()
        .await?
        == 1)
}

pub(crate) async fn knows_block(ask: &mut impl Ask, name: &str) -> Result<bool, StoreError> {
    let found = ask
        .ask(FIND_BLOCK)
        .bind(name)
        .fetch_scalar_optional::<String>()
        .await?;
    Ok(found.is_some())
}

pub(crate) async fn insert_group(tx: &mut Tx<'_>, row: &GroupRow) -> Result<bool, StoreError> {
    let now = tx.now();
    let query = tx
        .query(INSERT_GROUP)
        .bind(row.name.as_str())
        .bind(row.stock);
    Ok(query.bind(row.programme_id).bind(now).execute().await? == 1)
}

pub(crate) async fn find_group(
    ask: &mut impl Ask,
    name: &str,
) -> Result<Option<GroupRow>, StoreError> {
    ask.ask(FIND_GROUP).bind(name).fetch_optional().await
}

pub(crate) async fn list_groups(
    ask: &mut impl Ask,
    after: &str,
    limit: i64,
) -> Result<Vec<GroupRow>, StoreError> {
    ask.ask(LIST_GROUPS)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

/// Takes one voucher out of a group's stock; false when there is none left.
pub(crate) async fn take_stock(tx: &mut Tx<'_>, group: &str) -> Result<bool, StoreError> {
    Ok(tx.query(TAKE_STOCK).bind(group).execute().await? == 1)
}

/// Gives one voucher back into a group's stock.
pub(crate) async fn return_stock(tx: &mut Tx<'_>, group: &str) -> Result<(), StoreError> {
    tx.query(RETURN_STOCK).bind(group).execute().await.map(drop)
}

pub(crate) async fn counts(ask: &mut impl Ask, group: &str) -> Result<Vec<CountRow>, StoreError> {
    ask.ask(COUNTS).bind(group).fetch_all().await
}

pub(crate) async fn insert_merchant(
    tx: &mut Tx<'_>,
    new: &NewMerchant,
) -> Result<bool, StoreError> {
    let now = tx.now();
    let query = tx
        .query(INSERT_MERCHANT)
        .bind(new.merchant_id)
        .bind(new.lookup.as_slice());
    let query = query
        .bind(new.name.as_str())
        .bind(new.bank_details.as_slice());
    let query = query
        .bind(new.voucher_group.as_str())
        .bind(new.blocked)
        .bind(now)
        .bind(new.agent_id.as_deref());
    Ok(query.execute().await? == 1)
}

pub(crate) async fn find_agent(
    ask: &mut impl Ask,
    agent_id: &str,
) -> Result<Option<MerchantRow>, StoreError> {
    ask.ask(FIND_AGENT).bind(agent_id).fetch_optional().await
}

/// The request and the serial number that an instruction was answered with.
pub(crate) async fn issuance(
    tx: &mut Tx<'_>,
    calling_block: &str,
    instruction_id: &str,
) -> Result<Option<(String, String)>, StoreError> {
    let query = tx.query(FIND_ISSUANCE).bind(calling_block);
    query.bind(instruction_id).fetch_optional().await
}

pub(crate) async fn insert_issuance(
    tx: &mut Tx<'_>,
    new: &NewIssuance<'_>,
) -> Result<(), StoreError> {
    let query = tx.query(INSERT_ISSUANCE).bind(new.calling_block);
    let query = query.bind(new.instruction_id).bind(new.source_request);
    query
        .bind(new.serial)
        .bind(new.payee)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn find_merchant(
    ask: &mut impl Ask,
    lookup: &[u8],
) -> Result<Option<MerchantRow>, StoreError> {
    ask.ask(FIND_MERCHANT).bind(lookup).fetch_optional().await
}

/// Takes serial numbers and returns the first.
pub(crate) async fn take_serials(tx: &mut Tx<'_>, count: i64) -> Result<i64, StoreError> {
    let first = i64::try_from(FIRST_NUMBER).unwrap_or(i64::MAX);
    tx.query(INSERT_FIRST_SERIAL).bind(first).execute().await?;
    tx.query(TAKE_SERIALS).bind(count).fetch_scalar().await
}

/// True if the voucher was stored; false if its serial or number is taken.
pub(crate) async fn insert(tx: &mut Tx<'_>, new: &NewVoucher) -> Result<bool, StoreError> {
    let now = tx.now();
    let inserted = tx
        .query(INSERT)
        .bind(new.serial.as_str())
        .bind(new.number_hash.as_deref())
        .bind(new.number_sealed.as_deref())
        .bind(new.calling_block.as_str())
        .bind(new.voucher_group.as_str())
        .bind(new.currency.as_str())
        .bind(new.amount_minor)
        .bind(new.amount_text.as_str())
        .bind(new.state.code())
        .bind(now)
        .bind(new.hold_until)
        .bind(new.expires_at)
        .bind(new.redeemed_at)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Stores vouchers whose serials and numbers are free; returns the serials of these.
pub(crate) async fn insert_many(
    tx: &mut Tx<'_>,
    rows: &[&NewVoucher],
) -> Result<Vec<String>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let (now, engine) = (tx.now(), tx.engine());
    let serials: Vec<&str> = rows.iter().map(|row| row.serial.as_str()).collect();
    let hashes: Vec<Option<Vec<u8>>> = rows.iter().map(|row| row.number_hash.clone()).collect();
    let sealed: Vec<Option<Vec<u8>>> = rows.iter().map(|row| row.number_sealed.clone()).collect();
    let blocks: Vec<&str> = rows.iter().map(|row| row.calling_block.as_str()).collect();
    let groups: Vec<&str> = rows.iter().map(|row| row.voucher_group.as_str()).collect();
    let currencies: Vec<&str> = rows.iter().map(|row| row.currency.as_str()).collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount_minor).collect();
    let texts: Vec<&str> = rows.iter().map(|row| row.amount_text.as_str()).collect();
    let states: Vec<i64> = rows.iter().map(|row| row.state.code()).collect();
    let holds: Vec<Option<Timestamp>> = rows.iter().map(|row| row.hold_until).collect();
    let ends: Vec<Option<Timestamp>> = rows.iter().map(|row| row.expires_at).collect();
    let query = tx.query(INSERT_MANY).bind(now);
    bind_columns!(
        engine,
        query,
        &serials,
        &hashes,
        &sealed,
        &blocks,
        &groups,
        &currencies,
        &amounts,
        &texts,
        &states,
        &holds,
        &ends
    )
    .fetch_scalars()
    .await
}

/// The vouchers of some serials, as far as an import compares them.
pub(crate) async fn imported(
    tx: &mut Tx<'_>,
    serials: &[&str],
) -> Result<Vec<ImportedRow>, StoreError> {
    if serials.is_empty() {
        return Ok(Vec::new());
    }
    tx.query(IMPORTED).bind_list(serials).fetch_all().await
}

pub(crate) async fn insert_for_batch(
    tx: &mut Tx<'_>,
    common: &BatchVouchers,
    rows: &[BatchVoucher],
) -> Result<(), StoreError> {
    let (now, engine) = (tx.now(), tx.engine());
    let serials: Vec<&str> = rows.iter().map(|row| row.serial.as_str()).collect();
    let hashes: Vec<&[u8]> = rows.iter().map(|row| row.number_hash.as_slice()).collect();
    let sealed: Vec<&[u8]> = rows
        .iter()
        .map(|row| row.number_sealed.as_slice())
        .collect();
    let amounts: Vec<i64> = rows.iter().map(|row| row.amount_minor).collect();
    let texts: Vec<&str> = rows.iter().map(|row| row.amount_text.as_str()).collect();
    let ordinals: Vec<i64> = rows.iter().map(|row| row.ordinal).collect();
    let query = tx
        .query(INSERT_FOR_BATCH)
        .bind(common.calling_block.as_str());
    let query = query
        .bind(common.voucher_group.as_str())
        .bind(common.currency.as_str());
    let query = query
        .bind(common.batch_id)
        .bind(now)
        .bind(common.hold_until);
    bind_columns!(
        engine, query, &serials, &hashes, &sealed, &amounts, &texts, &ordinals
    )
    .execute()
    .await
    .map(drop)
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    serial: &str,
) -> Result<Option<VoucherRow>, StoreError> {
    ask.ask(FIND).bind(serial).fetch_optional().await
}

pub(crate) async fn lock(tx: &mut Tx<'_>, serial: &str) -> Result<Option<VoucherRow>, StoreError> {
    tx.query(LOCK).bind(serial).fetch_optional().await
}

pub(crate) async fn lock_by_number(
    tx: &mut Tx<'_>,
    number_hash: &[u8],
) -> Result<Option<VoucherRow>, StoreError> {
    tx.query(LOCK_BY_NUMBER)
        .bind(number_hash)
        .fetch_optional()
        .await
}

pub(crate) async fn set_state(
    tx: &mut Tx<'_>,
    serial: &str,
    state: State,
    expires_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let query = tx.query(SET_STATE).bind(serial).bind(state.code());
    query.bind(expires_at).execute().await.map(drop)
}

pub(crate) async fn consume(
    tx: &mut Tx<'_>,
    serial: &str,
    merchant_id: MerchantId,
    transfer_id: Uuid,
) -> Result<(), StoreError> {
    let now = tx.now();
    let query = tx.query(CONSUME).bind(serial).bind(now).bind(merchant_id);
    query.bind(transfer_id).execute().await.map(drop)
}

/// Makes a voucher usable again that a transfer was paid with; false if it was not. The time that
/// it was used up for does not count.
pub(crate) async fn restore(
    tx: &mut Tx<'_>,
    serial: &str,
    paid: TransferId,
) -> Result<bool, StoreError> {
    let query = tx.query(REDEEMED).bind(serial).bind(paid);
    let found: Option<(Option<Timestamp>, Option<Timestamp>)> = query.fetch_optional().await?;
    let Some((expires_at, redeemed_at)) = found else {
        return Ok(false);
    };
    let now = tx.now();
    let away = redeemed_at.map_or(Duration::ZERO, |redeemed| now.since(redeemed));
    let expires_at = expires_at.map(|end| end.plus(away));
    let query = tx.query(RESTORE).bind(serial).bind(paid);
    Ok(query.bind(expires_at).execute().await? == 1)
}

/// Vouchers by their serial numbers, in no order.
pub(crate) async fn find_many(
    ask: &mut impl Ask,
    serials: &[&str],
) -> Result<Vec<VoucherRow>, StoreError> {
    ask.ask(FIND_MANY).bind_list(serials).fetch_all().await
}

pub(crate) async fn of_batch(
    ask: &mut impl Ask,
    batch_id: BatchId,
    after: i64,
    limit: i64,
) -> Result<Vec<VoucherRow>, StoreError> {
    ask.ask(OF_BATCH)
        .bind(batch_id)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}

/// The rows of a range that have a voucher.
pub(crate) async fn ordinals_of_batch(
    ask: &mut impl Ask,
    batch_id: BatchId,
    from: i64,
    to: i64,
) -> Result<Vec<i64>, StoreError> {
    ask.ask(ORDINALS_OF_BATCH)
        .bind(batch_id)
        .bind(from)
        .bind(to)
        .fetch_scalars()
        .await
}

pub(crate) async fn sum_of_batch(
    ask: &mut impl Ask,
    batch_id: BatchId,
) -> Result<(i64, i64), StoreError> {
    ask.ask(SUM_OF_BATCH).bind(batch_id).fetch_one().await
}
