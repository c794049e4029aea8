//! How far the passing of time has been told of, and what has come due since.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::LAST;

statements! {
    BEGIN = "INSERT INTO timer (name, at, record_id) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING",
    MARK = "SELECT at, record_id FROM timer WHERE name = $1",
    MARKS = "SELECT name, at FROM timer",
    NEXT_END = "SELECT r.valid_until FROM consent_record r WHERE r.valid_until IS NOT NULL \
             AND (r.valid_until, r.record_id) > ($1, $2) AND r.opt_in AND r.is_current \
             AND NOT EXISTS (SELECT 1 FROM timer_told t WHERE t.name = $3 \
             AND t.at = r.valid_until AND t.record_id = r.record_id) \
             ORDER BY r.valid_until, r.record_id LIMIT 1",
    NEXT_RECONFIRM = "SELECT r.reconfirm_from FROM consent_record r \
             WHERE r.reconfirm_from IS NOT NULL \
             AND (r.reconfirm_from, r.record_id) > ($1, $2) AND r.opt_in AND r.is_current \
             AND NOT EXISTS (SELECT 1 FROM timer_told t WHERE t.name = $3 \
             AND t.at = r.reconfirm_from AND t.record_id = r.record_id) \
             ORDER BY r.reconfirm_from, r.record_id LIMIT 1",
    // Whoever comes second finds another mark, and rolls back.
    ADVANCE = "UPDATE timer SET at = $4, record_id = $5 \
               WHERE name = $1 AND at = $2 AND record_id = $3",
    ENDED = "SELECT r.record_id, r.individual_id, r.agreement_id, r.valid_from, r.created, \
             r.valid_until AS at \
             FROM consent_record r WHERE r.valid_until IS NOT NULL \
             AND (r.valid_until, r.record_id) > ($1, $2) AND r.valid_until <= $3 \
             AND r.opt_in AND r.is_current \
             AND NOT EXISTS (SELECT 1 FROM timer_told t WHERE t.name = $5 \
             AND t.at = r.valid_until AND t.record_id = r.record_id) \
             ORDER BY r.valid_until, r.record_id LIMIT $4",
    RECONFIRM = "SELECT r.record_id, r.individual_id, r.agreement_id, r.valid_from, r.created, \
             r.reconfirm_from AS at \
             FROM consent_record r WHERE r.reconfirm_from IS NOT NULL \
             AND (r.reconfirm_from, r.record_id) > ($1, $2) AND r.reconfirm_from <= $3 \
             AND r.opt_in AND r.is_current \
             AND NOT EXISTS (SELECT 1 FROM timer_told t WHERE t.name = $5 \
             AND t.at = r.reconfirm_from AND t.record_id = r.record_id) \
             ORDER BY r.reconfirm_from, r.record_id LIMIT $4",
    // One text of rows for both engines: joining lists by position takes SQLite quadratic time.
    TOLD = {
        sqlite: "INSERT INTO timer_told (name, at, record_id) \
            SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each($1) \
            WHERE TRUE ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO timer_told (name, at, record_id) SELECT e ->> 0, \
            TIMESTAMPTZ 'epoch' + CAST(e ->> 1 AS BIGINT) * INTERVAL '1 microsecond', e ->> 2 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
            ON CONFLICT DO NOTHING",
    },
    FORGET = "DELETE FROM timer_told WHERE name = $1 AND at <= $2",
}

/// Which moment of a record comes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The end of its validity.
    End,
    /// When the person is to confirm it.
    Reconfirmation,
}

/// A place in the order in which records come due.
pub(crate) type Mark = (Timestamp, String);

/// A record that has come due.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Due {
    pub(crate) record_id: String,
    pub(crate) individual_id: String,
    pub(crate) agreement_id: String,
    pub(crate) valid_from: Timestamp,
    pub(crate) created: Timestamp,
    pub(crate) at: Timestamp,
}

/// The place behind everything that comes due at a moment.
pub(crate) fn behind(at: Timestamp) -> Mark {
    (at, LAST.to_owned())
}

/// How far was told; the very first look begins now.
pub(crate) async fn mark(tx: &mut Tx<'_>, name: &str, now: Timestamp) -> Result<Mark, StoreError> {
    let (at, id) = behind(now);
    let query = tx.query(BEGIN).bind(name).bind(at).bind(id);
    query.execute().await?;
    let found: Option<Mark> = tx.query(MARK).bind(name).fetch_optional().await?;
    found.ok_or_else(|| StoreError::corrupt("a timer has no mark"))
}

/// How far was told, if anybody ever looked.
pub(crate) async fn known(db: &Db, name: &str) -> Result<Option<Mark>, StoreError> {
    db.query(MARK).bind(name).fetch_optional().await
}

/// How far was told of everything: the name and the moment of each mark.
pub(crate) async fn marks(tx: &mut Tx<'_>) -> Result<Vec<(String, Timestamp)>, StoreError> {
    tx.query(MARKS).fetch_all().await
}

/// When the first record behind a place comes due that was not told of, whether that is past or
/// still to come.
pub(crate) async fn next(
    db: &Db,
    moment: Moment,
    name: &str,
    from: &Mark,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = match moment {
        Moment::End => NEXT_END,
        Moment::Reconfirmation => NEXT_RECONFIRM,
    };
    let query = db.query(sql).bind(from.0).bind(from.1.as_str());
    query.bind(name).fetch_scalar_optional().await
}

/// Moves the mark; false when somebody else did so meanwhile.
pub(crate) async fn advance(
    tx: &mut Tx<'_>,
    name: &str,
    from: &Mark,
    to: &Mark,
) -> Result<bool, StoreError> {
    let query = tx
        .query(ADVANCE)
        .bind(name)
        .bind(from.0)
        .bind(from.1.as_str())
        .bind(to.0)
        .bind(to.1.as_str());
    Ok(query.execute().await? == 1)
}

/// Records that came due behind a place and were not told of.
pub(crate) async fn due(
    tx: &mut Tx<'_>,
    (name, moment): (&str, Moment),
    from: &Mark,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, StoreError> {
    let sql = match moment {
        Moment::End => ENDED,
        Moment::Reconfirmation => RECONFIRM,
    };
    tx.query(sql)
        .bind(from.0)
        .bind(from.1.as_str())
        .bind(now)
        .bind(limit)
        .bind(name)
        .fetch_all()
        .await
}

/// Notes what is told of: name, moment and record of each; how many were not noted before.
pub(crate) async fn note(
    tx: &mut Tx<'_>,
    told: &[(&str, Timestamp, &str)],
) -> Result<u64, StoreError> {
    if told.is_empty() {
        return Ok(0);
    }
    let list: Value = told
        .iter()
        .map(|(name, at, record_id)| json!([name, at.micros(), record_id]))
        .collect();
    tx.query(TOLD).bind(list.to_string()).execute().await
}

/// Forgets what was told of up to a moment.
pub(crate) async fn forget(
    tx: &mut Tx<'_>,
    name: &str,
    until: Timestamp,
) -> Result<u64, StoreError> {
    let query = tx.query(FORGET).bind(name).bind(until);
    query.execute().await
}
