//! The look-up behind decisions: one statement for all questions in flight.

use publica_store::{BoxFuture, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

statements! {
    // A row for each question and agreement that may cover it, whether or not the person is
    // known and has answered. Each engine unpacks the text of questions in its own way.
    LOOK_UP = {
        sqlite: "SELECT k.key AS n, COALESCE(i.individual_id, j.individual_id) \
            AS individual_id, a.agreement_id, a.lifecycle, a.published_revision_id, \
            r.record_id, r.agreement_revision_id, r.opt_in, r.ever_given, r.state, \
            r.valid_from, r.valid_until, r.sealed, r.revision_sha256, r.delegation_void \
            FROM jsonb_each($1) k \
            LEFT JOIN individual i ON i.individual_id = k.value ->> 0 AND i.erased IS NULL \
            LEFT JOIN individual j ON j.identity_hash = unhex(k.value ->> 1) \
            LEFT JOIN agreement a ON a.agreement_id IN ( \
                SELECT k.value ->> 2 UNION ALL \
                SELECT q.agreement_id FROM jsonb_each(k.value ->> 4) c JOIN agreement q \
                ON q.published_purpose_code = c.value UNION ALL \
                SELECT q.agreement_id FROM agreement q WHERE k.value ->> 2 = '' \
                AND q.published_purpose = k.value ->> 3) \
            LEFT JOIN consent_record r \
            ON r.individual_id = COALESCE(i.individual_id, j.individual_id) \
            AND r.agreement_id = a.agreement_id AND r.is_current",
        // Without statistics yet, joins would read whole tables; LIMIT holds them to an index.
        postgres: "SELECT k.n, p.individual_id, a.agreement_id, a.lifecycle, \
            a.published_revision_id, \
            r.record_id, r.agreement_revision_id, r.opt_in, r.ever_given, r.state, \
            r.valid_from, r.valid_until, r.sealed, r.revision_sha256, r.delegation_void \
            FROM (SELECT e ->> 0 AS person, decode(e ->> 1, 'hex') AS hash, \
                e ->> 2 AS agreement, e ->> 3 AS purpose, \
                ARRAY(SELECT jsonb_array_elements_text(e -> 4)) AS codes, place - 1 AS n \
                FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) \
                WITH ORDINALITY AS t (e, place)) k \
            LEFT JOIN LATERAL (SELECT i.individual_id FROM individual i \
                WHERE k.hash = '' AND i.individual_id = k.person AND i.erased IS NULL UNION ALL \
                SELECT j.individual_id FROM individual j \
                WHERE k.hash <> '' AND j.identity_hash = k.hash LIMIT 1) p ON TRUE \
            LEFT JOIN LATERAL (SELECT b.agreement_id, b.lifecycle, b.published_revision_id \
                FROM agreement b WHERE b.agreement_id = k.agreement UNION ALL \
                SELECT b.agreement_id, b.lifecycle, b.published_revision_id \
                FROM agreement b \
                WHERE k.agreement = '' AND b.published_purpose_code = ANY (k.codes) UNION ALL \
                SELECT b.agreement_id, b.lifecycle, b.published_revision_id \
                FROM agreement b \
                WHERE k.agreement = '' AND b.published_purpose = k.purpose \
                AND b.published_purpose_code <> ALL (k.codes)) a ON TRUE \
            LEFT JOIN LATERAL (SELECT record_id, agreement_revision_id, opt_in, ever_given, \
                state, valid_from, valid_until, sealed, revision_sha256, delegation_void \
                FROM consent_record WHERE individual_id = p.individual_id \
                AND agreement_id = a.agreement_id AND is_current LIMIT 1) r ON TRUE",
    },
    UNUSE = "UPDATE record_use SET uses = uses - 1 WHERE record_id = $1 AND day = $2",
    USE = "INSERT INTO record_use (record_id, day, uses) VALUES ($1, $2, 1) \
           ON CONFLICT (record_id, day) DO UPDATE SET uses = record_use.uses + 1 \
           WHERE record_use.uses < $3 RETURNING uses",
}

/// Who and what is looked up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Key {
    /// The person's id; empty when the hash names the person.
    pub(crate) individual_id: String,
    /// Keyed hash of the external identity; empty when the id names the person.
    pub(crate) identity_hash: Vec<u8>,
    /// The agreement; empty to look by purpose.
    pub(crate) agreement_id: String,
    /// The purpose or its code.
    pub(crate) purpose: String,
    /// Codes, an agreement to any of which covers the purpose; empty when the agreement is
    /// named.
    pub(crate) codes: Vec<String>,
}

/// One agreement that may cover a question, and the person's current answer to it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) n: i64,
    pub(crate) individual_id: Option<String>,
    pub(crate) agreement_id: Option<String>,
    pub(crate) lifecycle: Option<i64>,
    pub(crate) published_revision_id: Option<String>,
    pub(crate) record_id: Option<String>,
    pub(crate) agreement_revision_id: Option<String>,
    pub(crate) opt_in: Option<bool>,
    pub(crate) ever_given: Option<bool>,
    pub(crate) state: Option<i64>,
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) valid_until: Option<Timestamp>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) revision_sha256: Option<String>,
    pub(crate) delegation_void: Option<bool>,
}

/// Looks up all keys at once; the rows of each, in the order of the keys.
pub(crate) fn look_up<'a>(
    tx: &'a mut Tx<'_>,
    keys: &'a [Key],
) -> BoxFuture<'a, Result<Vec<Vec<Row>>, StoreError>> {
    Box::pin(async move {
        let list: Value = keys
            .iter()
            .map(|key| {
                json!([
                    key.individual_id,
                    hex::encode(&key.identity_hash),
                    key.agreement_id,
                    key.purpose,
                    key.codes,
                ])
            })
            .collect();
        let rows = tx
            .query(LOOK_UP)
            .bind(list.to_string())
            .fetch_all::<Row>()
            .await?;
        let mut found = vec![Vec::new(); keys.len()];
        for row in rows {
            let place = usize::try_from(row.n).ok();
            if let Some(slot) = place.and_then(|n| found.get_mut(n)) {
                slot.push(row);
            }
        }
        Ok(found)
    })
}

/// Counts one use in a window; how many there are now, or none when the limit is reached.
pub(crate) async fn count_use(
    tx: &mut Tx<'_>,
    record_id: &str,
    window: i64,
    limit: i64,
) -> Result<Option<i64>, StoreError> {
    tx.query(USE)
        .bind(record_id)
        .bind(window)
        .bind(limit)
        .fetch_scalar_optional()
        .await
}

/// Takes a counted use back, when another limit does not allow it.
pub(crate) async fn uncount_use(
    tx: &mut Tx<'_>,
    record_id: &str,
    window: i64,
) -> Result<(), StoreError> {
    let query = tx.query(UNUSE).bind(record_id).bind(window);
    query.execute().await?;
    Ok(())
}
