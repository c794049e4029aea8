//! How far the passing of time has been told of, and what has come due since.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

use super::LAST;

statements! {
    BEGIN = "INSERT INTO timer (name, at, record_id) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING",
    MARK = "SELECT at, record_id FROM timer WHERE name = $1",
    NEXT_END = "SELECT valid_until FROM consent_record WHERE valid_until IS NOT NULL \
             AND (valid_until, record_id) > ($1, $2) AND opt_in AND is_current \
             ORDER BY valid_until, record_id LIMIT 1",
    NEXT_RECONFIRM = "SELECT reconfirm_from FROM consent_record WHERE reconfirm_from IS NOT NULL \
             AND (reconfirm_from, record_id) > ($1, $2) AND opt_in AND is_current \
             ORDER BY reconfirm_from, record_id LIMIT 1",
    // Whoever comes second finds another mark, and rolls back.
    ADVANCE = "UPDATE timer SET at = $4, record_id = $5 \
               WHERE name = $1 AND at = $2 AND record_id = $3",
    ENDED = "SELECT record_id, individual_id, agreement_id, valid_from, created, \
             valid_until AS at \
             FROM consent_record WHERE valid_until IS NOT NULL \
             AND (valid_until, record_id) > ($1, $2) AND valid_until <= $3 \
             AND opt_in AND is_current ORDER BY valid_until, record_id LIMIT $4",
    RECONFIRM = "SELECT record_id, individual_id, agreement_id, valid_from, created, \
             reconfirm_from AS at \
             FROM consent_record WHERE reconfirm_from IS NOT NULL \
             AND (reconfirm_from, record_id) > ($1, $2) AND reconfirm_from <= $3 \
             AND opt_in AND is_current ORDER BY reconfirm_from, record_id LIMIT $4",
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

/// When the first record behind the mark comes due, whether that is past or still to come.
pub(crate) async fn next(
    db: &Db,
    moment: Moment,
    from: &Mark,
) -> Result<Option<Timestamp>, StoreError> {
    let sql = match moment {
        Moment::End => NEXT_END,
        Moment::Reconfirmation => NEXT_RECONFIRM,
    };
    let query = db.query(sql).bind(from.0).bind(from.1.as_str());
    query.fetch_scalar_optional().await
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

/// Records that came due behind the mark.
pub(crate) async fn due(
    tx: &mut Tx<'_>,
    moment: Moment,
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
        .fetch_all()
        .await
}
