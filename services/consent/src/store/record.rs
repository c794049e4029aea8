//! Consent records.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::{Page, Span};

statements! {
    INSERT = "INSERT INTO consent_record (record_id, individual_id, agreement_id, \
              agreement_revision_id, agreement_revision_hash, opt_in, ever_given, state, \
              is_current, valid_from, valid_until, sealed, revision_id, revision_sha256, \
              signature_id, created, updated, delegation_id, reconfirm_from, delegation_void) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
              $17, $18, $19, $20) ON CONFLICT DO NOTHING",
    // Answers of many people at once. One text of rows for both engines: joining lists by position
    // takes SQLite quadratic time.
    INSERT_MANY = {
        sqlite: "INSERT INTO consent_record (record_id, individual_id, agreement_id, \
            agreement_revision_id, agreement_revision_hash, opt_in, ever_given, state, \
            is_current, valid_from, valid_until, sealed, revision_id, revision_sha256, \
            signature_id, created, updated, delegation_id, reconfirm_from, delegation_void) \
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
            value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, \
            unhex(value ->> 11), value ->> 12, value ->> 13, value ->> 14, value ->> 15, \
            value ->> 16, value ->> 17, value ->> 18, value ->> 19 \
            FROM jsonb_each($1) WHERE TRUE ON CONFLICT DO NOTHING RETURNING record_id",
        postgres: "INSERT INTO consent_record (record_id, individual_id, agreement_id, \
            agreement_revision_id, agreement_revision_hash, opt_in, ever_given, state, \
            is_current, valid_from, valid_until, sealed, revision_id, revision_sha256, \
            signature_id, created, updated, delegation_id, reconfirm_from, delegation_void) \
            SELECT e ->> 0, e ->> 1, e ->> 2, e ->> 3, e ->> 4, CAST(e ->> 5 AS BOOLEAN), \
            CAST(e ->> 6 AS BOOLEAN), CAST(e ->> 7 AS BIGINT), CAST(e ->> 8 AS BOOLEAN), \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 9 AS BIGINT) * INTERVAL '1 microsecond', \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 10 AS BIGINT) * INTERVAL '1 microsecond', \
            decode(e ->> 11, 'hex'), e ->> 12, e ->> 13, e ->> 14, \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 15 AS BIGINT) * INTERVAL '1 microsecond', \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 16 AS BIGINT) * INTERVAL '1 microsecond', \
            e ->> 17, \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 18 AS BIGINT) * INTERVAL '1 microsecond', \
            CAST(e ->> 19 AS BOOLEAN) \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            ON CONFLICT DO NOTHING RETURNING record_id",
    },
    RETIRE = "UPDATE consent_record SET is_current = FALSE, updated = $4 \
              WHERE individual_id = $1 AND agreement_id = $2 AND is_current \
              AND agreement_revision_id <> $3",
    // The same for many people; each engine unpacks lists in its own way.
    RETIRE_MANY = {
        sqlite: "UPDATE consent_record SET is_current = FALSE, updated = $4 \
            WHERE individual_id IN (SELECT value FROM jsonb_each($1)) AND agreement_id = $2 \
            AND is_current AND agreement_revision_id <> $3",
        postgres: "UPDATE consent_record SET is_current = FALSE, updated = $4 \
            WHERE individual_id = ANY ($1::TEXT[]) AND agreement_id = $2 AND is_current \
            AND agreement_revision_id <> $3",
    },
    // Which of these answers take the place of others. A server without statistics yet would read
    // the whole table for a join; LIMIT holds it to an index.
    STANDING = {
        sqlite: "SELECT e.key FROM jsonb_each($1) AS e WHERE EXISTS ( \
            SELECT 1 FROM consent_record WHERE individual_id = e.value ->> 0 \
            AND agreement_id = e.value ->> 1 AND is_current \
            AND agreement_revision_id <> e.value ->> 2)",
        postgres: "SELECT place - 1 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) \
            WITH ORDINALITY AS t (e, place) CROSS JOIN LATERAL ( \
            SELECT record_id FROM consent_record WHERE individual_id = e ->> 0 \
            AND agreement_id = e ->> 1 AND is_current \
            AND agreement_revision_id <> e ->> 2 LIMIT 1) r",
    },
    // The same, each with an agreement, a text and a time of its own; whose answer it was.
    RETIRE_EACH = {
        sqlite: "UPDATE consent_record SET is_current = FALSE, updated = e.value ->> 3 \
            FROM jsonb_each($1) AS e WHERE individual_id = e.value ->> 0 \
            AND agreement_id = e.value ->> 1 AND is_current \
            AND agreement_revision_id <> e.value ->> 2 RETURNING individual_id, agreement_id",
        postgres: "UPDATE consent_record r SET is_current = FALSE, updated = \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 3 AS BIGINT) * INTERVAL '1 microsecond' \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            WHERE r.individual_id = e ->> 0 AND r.agreement_id = e ->> 1 AND r.is_current \
            AND r.agreement_revision_id <> e ->> 2 RETURNING r.individual_id, r.agreement_id",
    },
    FIND = "SELECT r.record_id, r.individual_id, r.agreement_id, r.agreement_revision_id, \
            r.agreement_revision_hash, r.opt_in, r.ever_given, r.state, r.is_current, \
            r.valid_from, r.valid_until, r.sealed, r.revision_id, r.revision_sha256, \
            r.signature_id, r.created, r.updated, r.delegation_id, r.reconfirm_from, \
            r.delegation_void, a.lifecycle, a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.record_id = $1",
    // Writers of a record wait for each other; SQLite has one writer anyway. Records are locked in
    // one order, so that nobody waits for each other in a circle.
    LOCK = {
        sqlite: "SELECT r.record_id, r.individual_id, r.agreement_id, \
            r.agreement_revision_id, r.agreement_revision_hash, r.opt_in, r.ever_given, \
            r.state, r.is_current, r.valid_from, r.valid_until, r.sealed, r.revision_id, \
            r.revision_sha256, r.signature_id, r.created, r.updated, r.delegation_id, \
            r.reconfirm_from, r.delegation_void, a.lifecycle, \
            a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.record_id IN (SELECT value FROM jsonb_each($1))",
        postgres: "SELECT r.record_id, r.individual_id, r.agreement_id, \
            r.agreement_revision_id, r.agreement_revision_hash, r.opt_in, r.ever_given, \
            r.state, r.is_current, r.valid_from, r.valid_until, r.sealed, r.revision_id, \
            r.revision_sha256, r.signature_id, r.created, r.updated, r.delegation_id, \
            r.reconfirm_from, r.delegation_void, a.lifecycle, \
            a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.record_id = ANY ($1::TEXT[]) ORDER BY r.record_id FOR UPDATE OF r",
    },
    CURRENT = "SELECT r.record_id, r.individual_id, r.agreement_id, r.agreement_revision_id, \
            r.agreement_revision_hash, r.opt_in, r.ever_given, r.state, r.is_current, \
            r.valid_from, r.valid_until, r.sealed, r.revision_id, r.revision_sha256, \
            r.signature_id, r.created, r.updated, r.delegation_id, r.reconfirm_from, \
            r.delegation_void, a.lifecycle, a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.individual_id = $1 AND r.agreement_id = $2 AND r.is_current",
    SAME = "SELECT record_id, revision_id, revision_sha256 FROM consent_record \
            WHERE agreement_revision_id = $1 AND individual_id = $2",
    // Answers of many people to one text; each engine unpacks lists in its own way.
    SAME_MANY = {
        sqlite: "SELECT record_id, individual_id, revision_id, revision_sha256 \
            FROM consent_record WHERE agreement_revision_id = $1 \
            AND individual_id IN (SELECT value FROM jsonb_each($2))",
        postgres: "SELECT record_id, individual_id, revision_id, revision_sha256 \
            FROM consent_record WHERE agreement_revision_id = $1 \
            AND individual_id = ANY ($2::TEXT[])",
    },
    CHANGE = "UPDATE consent_record SET opt_in = $2, ever_given = $3, state = $4, \
              valid_from = $5, valid_until = $6, sealed = $7, revision_id = $8, \
              revision_sha256 = $9, signature_id = '', updated = $10, delegation_id = $11, \
              reconfirm_from = $12, delegation_void = $13 WHERE record_id = $1",
    SIGNED = "UPDATE consent_record SET state = $2, signature_id = $3, updated = $4, \
              delegation_id = $5, reconfirm_from = $6 WHERE record_id = $1",
    IDS_OF_PERSON = "SELECT record_id FROM consent_record WHERE individual_id = $1 \
                     ORDER BY created DESC, record_id DESC",
    DELETE = "DELETE FROM consent_record WHERE record_id = $1",
    // All answers of a person with what decides about their erasure.
    OF_PERSON = {
        sqlite: "SELECT r.record_id, r.state, a.forgettable, r.opt_in FROM consent_record r \
            JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.individual_id = $1 ORDER BY r.created, r.record_id",
        postgres: "SELECT r.record_id, r.state, a.forgettable, r.opt_in FROM consent_record r \
            JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.individual_id = $1 ORDER BY r.created, r.record_id FOR UPDATE OF r",
    },
    LIST = "SELECT r.record_id, r.individual_id, r.agreement_id, r.agreement_revision_id, \
            r.agreement_revision_hash, r.opt_in, r.ever_given, r.state, r.is_current, \
            r.valid_from, r.valid_until, r.sealed, r.revision_id, r.revision_sha256, \
            r.signature_id, r.created, r.updated, r.delegation_id, r.reconfirm_from, \
            r.delegation_void, a.lifecycle, a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE (r.created, r.record_id) < ($1, $2) AND r.created >= $3 AND r.created < $4 \
            AND ($5 = '' OR r.agreement_id = $5) AND ($6 = '' OR r.agreement_revision_id = $6) \
            AND (CAST($7 AS BOOLEAN) IS NULL OR r.opt_in = $7) AND ($8 = 0 OR r.state = $8) \
            AND ($9 = '' OR a.policy_id = $9) AND ($10 = 0 OR a.lawful_basis = $10) \
            AND (NOT $11 OR r.is_current) \
            ORDER BY r.created DESC, r.record_id DESC LIMIT $12 OFFSET $13",
    LIST_ASCENDING = "SELECT r.record_id, r.individual_id, r.agreement_id, \
            r.agreement_revision_id, \
            r.agreement_revision_hash, r.opt_in, r.ever_given, r.state, r.is_current, \
            r.valid_from, r.valid_until, r.sealed, r.revision_id, r.revision_sha256, \
            r.signature_id, r.created, r.updated, r.delegation_id, r.reconfirm_from, \
            r.delegation_void, a.lifecycle, a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE (r.created, r.record_id) > ($1, $2) AND r.created >= $3 AND r.created < $4 \
            AND ($5 = '' OR r.agreement_id = $5) AND ($6 = '' OR r.agreement_revision_id = $6) \
            AND (CAST($7 AS BOOLEAN) IS NULL OR r.opt_in = $7) AND ($8 = 0 OR r.state = $8) \
            AND ($9 = '' OR a.policy_id = $9) AND ($10 = 0 OR a.lawful_basis = $10) \
            AND (NOT $11 OR r.is_current) \
            ORDER BY r.created, r.record_id LIMIT $12 OFFSET $13",
    LIST_PERSON = "SELECT r.record_id, r.individual_id, r.agreement_id, \
            r.agreement_revision_id, \
            r.agreement_revision_hash, r.opt_in, r.ever_given, r.state, r.is_current, \
            r.valid_from, r.valid_until, r.sealed, r.revision_id, r.revision_sha256, \
            r.signature_id, r.created, r.updated, r.delegation_id, r.reconfirm_from, \
            r.delegation_void, a.lifecycle, a.published_revision_id \
            FROM consent_record r JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE r.individual_id = $14 \
            AND (r.created, r.record_id) < ($1, $2) AND r.created >= $3 AND r.created < $4 \
            AND ($5 = '' OR r.agreement_id = $5) AND ($6 = '' OR r.agreement_revision_id = $6) \
            AND (CAST($7 AS BOOLEAN) IS NULL OR r.opt_in = $7) AND ($8 = 0 OR r.state = $8) \
            AND ($9 = '' OR a.policy_id = $9) AND ($10 = 0 OR a.lawful_basis = $10) \
            AND (NOT $11 OR r.is_current) \
            ORDER BY r.created DESC, r.record_id DESC LIMIT $12 OFFSET $13",
    COUNT = "SELECT COUNT(*) FROM consent_record r \
            JOIN agreement a ON a.agreement_id = r.agreement_id \
            WHERE ($1 = '' OR r.individual_id = $1) AND r.created >= $2 AND r.created < $3 \
            AND ($4 = '' OR r.agreement_id = $4) AND ($5 = '' OR r.agreement_revision_id = $5) \
            AND (CAST($6 AS BOOLEAN) IS NULL OR r.opt_in = $6) AND ($7 = 0 OR r.state = $7) \
            AND ($8 = '' OR a.policy_id = $8) AND ($9 = 0 OR a.lawful_basis = $9) \
            AND (NOT $10 OR r.is_current)",
}

/// A record as stored, with where its agreement stands.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) record_id: String,
    pub(crate) individual_id: String,
    pub(crate) agreement_id: String,
    pub(crate) agreement_revision_id: String,
    pub(crate) agreement_revision_hash: String,
    pub(crate) opt_in: Option<bool>,
    pub(crate) ever_given: bool,
    pub(crate) state: i64,
    pub(crate) is_current: bool,
    pub(crate) valid_from: Timestamp,
    pub(crate) valid_until: Option<Timestamp>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) revision_id: String,
    pub(crate) revision_sha256: String,
    pub(crate) signature_id: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// The delegation by which the present answer was given; empty when the person gave it.
    pub(crate) delegation_id: String,
    /// From when on the person is to confirm what a delegate answered.
    pub(crate) reconfirm_from: Option<Timestamp>,
    /// The delegate's authority turned out never to have held.
    pub(crate) delegation_void: bool,
    pub(crate) lifecycle: i64,
    pub(crate) published_revision_id: String,
}

/// Stores a record; false when the person has answered this text before.
pub(crate) async fn insert(tx: &mut Tx<'_>, row: &Row) -> Result<bool, StoreError> {
    let added = tx
        .query(INSERT)
        .bind(row.record_id.as_str())
        .bind(row.individual_id.as_str())
        .bind(row.agreement_id.as_str())
        .bind(row.agreement_revision_id.as_str())
        .bind(row.agreement_revision_hash.as_str())
        .bind(row.opt_in)
        .bind(row.ever_given)
        .bind(row.state)
        .bind(row.is_current)
        .bind(row.valid_from)
        .bind(row.valid_until)
        .bind(row.sealed.clone())
        .bind(row.revision_id.as_str())
        .bind(row.revision_sha256.as_str())
        .bind(row.signature_id.as_str())
        .bind(row.created)
        .bind(row.updated)
        .bind(row.delegation_id.as_str())
        .bind(row.reconfirm_from)
        .bind(row.delegation_void)
        .execute()
        .await?;
    Ok(added == 1)
}

/// Stores answers of people who have not answered their texts before; the ids of those that are
/// new.
pub(crate) async fn insert_many(tx: &mut Tx<'_>, rows: &[Row]) -> Result<Vec<String>, StoreError> {
    let list: Value = rows
        .iter()
        .map(|row| {
            json!([
                row.record_id,
                row.individual_id,
                row.agreement_id,
                row.agreement_revision_id,
                row.agreement_revision_hash,
                row.opt_in.map(i64::from),
                i64::from(row.ever_given),
                row.state,
                i64::from(row.is_current),
                row.valid_from.micros(),
                row.valid_until.map(Timestamp::micros),
                row.sealed.as_ref().map(hex::encode),
                row.revision_id,
                row.revision_sha256,
                row.signature_id,
                row.created.micros(),
                row.updated.micros(),
                row.delegation_id,
                row.reconfirm_from.map(Timestamp::micros),
                i64::from(row.delegation_void),
            ])
        })
        .collect();
    let query = tx.query(INSERT_MANY).bind(list.to_string());
    query.fetch_scalars().await
}

/// Makes an earlier answer of the person to another text of the agreement history.
pub(crate) async fn retire(
    tx: &mut Tx<'_>,
    individual_id: &str,
    agreement_id: &str,
    revision_id: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let query = tx.query(RETIRE).bind(individual_id).bind(agreement_id);
    query.bind(revision_id).bind(now).execute().await
}

/// The same for many people.
pub(crate) async fn retire_many(
    tx: &mut Tx<'_>,
    people: &[&str],
    agreement_id: &str,
    revision_id: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let query = tx.query(RETIRE_MANY).bind_list(people).bind(agreement_id);
    query.bind(revision_id).bind(now).execute().await
}

/// The same for people who answer texts of agreements of their own; whose answers those were, and
/// to which agreements.
pub(crate) async fn retire_each(
    tx: &mut Tx<'_>,
    rows: &[&Row],
) -> Result<Vec<(String, String)>, StoreError> {
    let list = |rows: &[&Row]| {
        let row = |row: &&Row| {
            json!([
                row.individual_id,
                row.agreement_id,
                row.agreement_revision_id,
                row.created.micros(),
            ])
        };
        rows.iter().map(row).collect::<Value>().to_string()
    };
    let query = tx.query(STANDING).bind(list(rows));
    let standing: Vec<i64> = query.fetch_scalars().await?;
    // Hardly any, and most often none at all.
    let places = standing.into_iter().filter_map(|n| usize::try_from(n).ok());
    let rows: Vec<&Row> = places.filter_map(|n| rows.get(n).copied()).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let query = tx.query(RETIRE_EACH).bind(list(&rows));
    query.fetch_all().await
}

/// A record.
pub(crate) async fn find(db: &Db, record_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(record_id).fetch_optional().await
}

/// A record that is about to change.
pub(crate) async fn lock(tx: &mut Tx<'_>, record_id: &str) -> Result<Option<Row>, StoreError> {
    Ok(lock_many(tx, &[record_id]).await?.pop())
}

/// Those of these records that there are, about to change.
pub(crate) async fn lock_many(tx: &mut Tx<'_>, records: &[&str]) -> Result<Vec<Row>, StoreError> {
    tx.query(LOCK).bind_list(records).fetch_all().await
}

/// The person's current answer to an agreement.
pub(crate) async fn current(
    db: &Db,
    individual_id: &str,
    agreement_id: &str,
) -> Result<Option<Row>, StoreError> {
    db.query(CURRENT)
        .bind(individual_id)
        .bind(agreement_id)
        .fetch_optional()
        .await
}

/// The person's answer to one text: record, revision and that revision's SHA-256.
pub(crate) async fn same(
    tx: &mut Tx<'_>,
    agreement_revision_id: &str,
    individual_id: &str,
) -> Result<Option<(String, String, String)>, StoreError> {
    tx.query(SAME)
        .bind(agreement_revision_id)
        .bind(individual_id)
        .fetch_optional()
        .await
}

/// Answers of many people to one text: record, person, revision and its SHA-256.
pub(crate) async fn same_many(
    tx: &mut Tx<'_>,
    agreement_revision_id: &str,
    people: &[&str],
) -> Result<Vec<(String, String, String, String)>, StoreError> {
    tx.query(SAME_MANY)
        .bind(agreement_revision_id)
        .bind_list(people)
        .fetch_all()
        .await
}

/// Stores a new answer; the record becomes unsigned.
pub(crate) async fn change(tx: &mut Tx<'_>, row: &Row) -> Result<(), StoreError> {
    tx.query(CHANGE)
        .bind(row.record_id.as_str())
        .bind(row.opt_in)
        .bind(row.ever_given)
        .bind(row.state)
        .bind(row.valid_from)
        .bind(row.valid_until)
        .bind(row.sealed.clone())
        .bind(row.revision_id.as_str())
        .bind(row.revision_sha256.as_str())
        .bind(row.updated)
        .bind(row.delegation_id.as_str())
        .bind(row.reconfirm_from)
        .bind(row.delegation_void)
        .execute()
        .await?;
    Ok(())
}

/// Stores how far the signatures have come, and on whose word.
pub(crate) async fn signed(tx: &mut Tx<'_>, row: &Row) -> Result<(), StoreError> {
    tx.query(SIGNED)
        .bind(row.record_id.as_str())
        .bind(row.state)
        .bind(row.signature_id.as_str())
        .bind(row.updated)
        .bind(row.delegation_id.as_str())
        .bind(row.reconfirm_from)
        .execute()
        .await?;
    Ok(())
}

/// Removes an erased record.
pub(crate) async fn delete(tx: &mut Tx<'_>, record_id: &str) -> Result<u64, StoreError> {
    tx.query(DELETE).bind(record_id).execute().await
}

/// What decides about the erasure of a person's record.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Erasable {
    pub(crate) record_id: String,
    pub(crate) state: i64,
    pub(crate) forgettable: bool,
    pub(crate) opt_in: Option<bool>,
}

/// All answers of a person, held until the unit ends.
pub(crate) async fn of_person(
    tx: &mut Tx<'_>,
    individual_id: &str,
) -> Result<Vec<Erasable>, StoreError> {
    tx.query(OF_PERSON).bind(individual_id).fetch_all().await
}

/// Ids of a person's records: at most one for each published text.
pub(crate) async fn ids_of_person(db: &Db, individual_id: &str) -> Result<Vec<String>, StoreError> {
    db.query(IDS_OF_PERSON)
        .bind(individual_id)
        .fetch_scalars()
        .await
}

/// Which records a list shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) individual_id: String,
    pub(crate) agreement_id: String,
    pub(crate) agreement_revision_id: String,
    pub(crate) opt_in: Option<bool>,
    pub(crate) state: i32,
    pub(crate) policy_id: String,
    pub(crate) lawful_basis: i32,
    pub(crate) current_only: bool,
    pub(crate) span: Span,
}

/// A page of records. Lists of one person are always newest first.
pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Vec<Row>, StoreError> {
    let of_person = !filter.individual_id.is_empty();
    let sql = match (of_person, page.ascending) {
        (true, _) => LIST_PERSON,
        (false, true) => LIST_ASCENDING,
        (false, false) => LIST,
    };
    let page = if of_person {
        &Page {
            ascending: false,
            ..page.clone()
        }
    } else {
        page
    };
    let ((at, id), (from, to)) = (page.edge(), filter.span.ends());
    let query = db
        .query(sql)
        .bind(at)
        .bind(id)
        .bind(from)
        .bind(to)
        .bind(filter.agreement_id.as_str())
        .bind(filter.agreement_revision_id.as_str())
        .bind(filter.opt_in)
        .bind(i64::from(filter.state))
        .bind(filter.policy_id.as_str())
        .bind(i64::from(filter.lawful_basis))
        .bind(filter.current_only)
        .bind(page.limit)
        .bind(page.skip);
    let query = if of_person {
        query.bind(filter.individual_id.as_str())
    } else {
        query
    };
    query.fetch_all().await
}

/// How many records a list shows.
pub(crate) async fn count(db: &Db, filter: &Filter) -> Result<i64, StoreError> {
    let (from, to) = filter.span.ends();
    db.query(COUNT)
        .bind(filter.individual_id.as_str())
        .bind(from)
        .bind(to)
        .bind(filter.agreement_id.as_str())
        .bind(filter.agreement_revision_id.as_str())
        .bind(filter.opt_in)
        .bind(i64::from(filter.state))
        .bind(filter.policy_id.as_str())
        .bind(i64::from(filter.lawful_basis))
        .bind(filter.current_only)
        .fetch_scalar()
        .await
}
