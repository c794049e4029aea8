//! Delegations, sealed under the key of the person acted for.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

use super::Page;

statements! {
    INSERT = "INSERT INTO delegation (delegation_id, individual_id, delegate_id, relationship, \
              sealed, valid_from, valid_until, void, created) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $8) ON CONFLICT DO NOTHING",
    FIND = "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, valid_from, \
            valid_until, revoked, void, created FROM delegation WHERE delegation_id = $1",
    // Each engine unpacks lists in its own way.
    FIND_MANY = {
        sqlite: "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE delegation_id IN (SELECT value FROM jsonb_each($1))",
        postgres: "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE delegation_id = ANY ($1::TEXT[])",
    },
    // Those that may still hold; how many there may be is bounded.
    OPEN = "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE individual_id = $1 AND revoked IS NULL ORDER BY created, delegation_id",
    OF_PERSON = "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE individual_id = $1 AND ($2 = '' OR delegate_id = $2) \
            AND (created, delegation_id) > ($3, $4) \
            ORDER BY created, delegation_id LIMIT $5 OFFSET $6",
    OF_DELEGATE = "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE delegate_id = $1 AND (created, delegation_id) > ($2, $3) \
            ORDER BY created, delegation_id LIMIT $4 OFFSET $5",
    // Only a lock of the engine keeps others from taking a row back until the unit ends; SQLite
    // has one writer.
    HELD = {
        sqlite: "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE individual_id = $1 AND delegate_id = $2 AND revoked IS NULL \
            ORDER BY delegation_id",
        postgres: "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE individual_id = $1 AND delegate_id = $2 AND revoked IS NULL \
            ORDER BY delegation_id FOR SHARE",
    },
    // All that were not taken back, about to change.
    OVER = {
        sqlite: "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE individual_id = $1 AND revoked IS NULL ORDER BY delegation_id",
        postgres: "SELECT delegation_id, individual_id, delegate_id, relationship, sealed, \
            valid_from, valid_until, revoked, void, created FROM delegation \
            WHERE individual_id = $1 AND revoked IS NULL ORDER BY delegation_id FOR UPDATE",
    },
    MOVE_END = "UPDATE delegation SET valid_until = $2 WHERE delegation_id = $1",
    // Answers that a delegate gave: when they are to be confirmed.
    MOVE_RECONFIRMATION = "UPDATE consent_record SET reconfirm_from = $2 \
             WHERE delegation_id = $1",
    COUNT = "SELECT COUNT(*) FROM delegation WHERE individual_id = $1 AND revoked IS NULL",
    REVOKE = "UPDATE delegation SET revoked = $2, void = $3 \
              WHERE delegation_id = $1 AND (revoked IS NULL OR ($3 AND NOT void))",
    // All of a person, ended or not.
    IDS_OVER = "SELECT delegation_id FROM delegation WHERE individual_id = $1",
    // What a person may still do for others; how many there may be is bounded by those.
    IDS_HELD = "SELECT delegation_id FROM delegation \
                WHERE delegate_id = $1 AND revoked IS NULL ORDER BY delegation_id",
    EVER_HELD = "SELECT COUNT(*) FROM delegation WHERE delegate_id = $1",
    DELETE_OVER = "DELETE FROM delegation WHERE individual_id = $1",
    // Answers that a delegate gave, or that need a signature of theirs: to be confirmed from now
    // on, or without force.
    ENDED = "UPDATE consent_record SET reconfirm_from = CASE WHEN reconfirm_from IS NULL \
             OR reconfirm_from > $2 THEN $2 ELSE reconfirm_from END, \
             delegation_void = (delegation_void OR $3) WHERE record_id IN (\
             SELECT r.record_id FROM consent_record r WHERE r.delegation_id = $1 UNION \
             SELECT r.record_id FROM signature s JOIN consent_record r \
             ON r.record_id = s.record_id AND r.revision_id = s.revision_id \
             WHERE s.delegation_id = $1 AND s.delegation_id <> '')",
    // Whether an answer rests on a delegation that never held.
    VOID = "SELECT COUNT(*) FROM delegation WHERE void AND delegation_id IN (\
            SELECT r.delegation_id FROM consent_record r WHERE r.record_id = $1 UNION ALL \
            SELECT s.delegation_id FROM consent_record r JOIN signature s \
            ON s.record_id = r.record_id AND s.revision_id = r.revision_id \
            WHERE r.record_id = $1)",
}

/// A delegation as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) delegation_id: String,
    pub(crate) individual_id: String,
    pub(crate) delegate_id: String,
    pub(crate) relationship: i64,
    pub(crate) sealed: Vec<u8>,
    pub(crate) valid_from: Timestamp,
    pub(crate) valid_until: Option<Timestamp>,
    pub(crate) revoked: Option<Timestamp>,
    pub(crate) void: bool,
    pub(crate) created: Timestamp,
}

/// Stores a delegation; false when the id is in use.
pub(crate) async fn insert(tx: &mut Tx<'_>, row: &Row) -> Result<bool, StoreError> {
    let added = tx
        .query(INSERT)
        .bind(row.delegation_id.as_str())
        .bind(row.individual_id.as_str())
        .bind(row.delegate_id.as_str())
        .bind(row.relationship)
        .bind(row.sealed.as_slice())
        .bind(row.valid_from)
        .bind(row.valid_until)
        .bind(row.created)
        .execute()
        .await?;
    Ok(added == 1)
}

/// A delegation.
pub(crate) async fn find(db: &Db, delegation_id: &str) -> Result<Option<Row>, StoreError> {
    db.query(FIND).bind(delegation_id).fetch_optional().await
}

/// A delegation, read within a unit.
pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    delegation_id: &str,
) -> Result<Option<Row>, StoreError> {
    tx.query(FIND).bind(delegation_id).fetch_optional().await
}

/// Those of these delegations that there are, read within a unit.
pub(crate) async fn find_many(tx: &mut Tx<'_>, ids: &[&str]) -> Result<Vec<Row>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    tx.query(FIND_MANY).bind_list(ids).fetch_all().await
}

/// Delegations over a person that were not taken back, oldest first.
pub(crate) async fn open(db: &Db, individual_id: &str) -> Result<Vec<Row>, StoreError> {
    db.query(OPEN).bind(individual_id).fetch_all().await
}

/// Delegations over a person, to one delegate unless empty; the page is an ascending one.
pub(crate) async fn of_person(
    db: &Db,
    individual_id: &str,
    delegate_id: &str,
    page: &Page,
) -> Result<Vec<Row>, StoreError> {
    let (at, id) = page.edge();
    let query = db.query(OF_PERSON).bind(individual_id).bind(delegate_id);
    let query = query.bind(at).bind(id).bind(page.limit).bind(page.skip);
    query.fetch_all().await
}

/// Delegations that a person holds; the page is an ascending one.
pub(crate) async fn of_delegate(
    db: &Db,
    delegate_id: &str,
    page: &Page,
) -> Result<Vec<Row>, StoreError> {
    let (at, id) = page.edge();
    let query = db.query(OF_DELEGATE).bind(delegate_id).bind(at).bind(id);
    query.bind(page.limit).bind(page.skip).fetch_all().await
}

/// Delegations from a person to a delegate that were not taken back, and will not be before this
/// unit has ended.
pub(crate) async fn hold(
    tx: &mut Tx<'_>,
    individual_id: &str,
    delegate_id: &str,
) -> Result<Vec<Row>, StoreError> {
    let query = tx.query(HELD).bind(individual_id).bind(delegate_id);
    query.fetch_all().await
}

/// Delegations over a person that were not taken back, held until the unit ends.
pub(crate) async fn over(tx: &mut Tx<'_>, individual_id: &str) -> Result<Vec<Row>, StoreError> {
    tx.query(OVER).bind(individual_id).fetch_all().await
}

/// Moves the end of a delegation, and with it the moment from which on the answers that rest on
/// it are to be confirmed; how many there are.
pub(crate) async fn move_end(
    tx: &mut Tx<'_>,
    delegation_id: &str,
    until: Option<Timestamp>,
    reconfirm: Option<Timestamp>,
) -> Result<u64, StoreError> {
    let query = tx.query(MOVE_END).bind(delegation_id).bind(until);
    query.execute().await?;
    let query = tx.query(MOVE_RECONFIRMATION).bind(delegation_id);
    query.bind(reconfirm).execute().await
}

/// Delegations over a person that were not taken back.
pub(crate) async fn count(tx: &mut Tx<'_>, individual_id: &str) -> Result<i64, StoreError> {
    tx.query(COUNT).bind(individual_id).fetch_scalar().await
}

/// Ends a delegation; false when it had ended so before.
pub(crate) async fn revoke(
    tx: &mut Tx<'_>,
    delegation_id: &str,
    at: Timestamp,
    void: bool,
) -> Result<bool, StoreError> {
    let query = tx.query(REVOKE).bind(delegation_id).bind(at).bind(void);
    Ok(query.execute().await? == 1)
}

/// Marks the answers that were given by a delegation; how many there are.
pub(crate) async fn ended(
    tx: &mut Tx<'_>,
    delegation_id: &str,
    at: Timestamp,
    void: bool,
) -> Result<u64, StoreError> {
    let query = tx.query(ENDED).bind(delegation_id).bind(at).bind(void);
    query.execute().await
}

/// Whether an answer rests on a delegation that was found never to have held.
pub(crate) async fn rests_on_void(db: &Db, record_id: &str) -> Result<bool, StoreError> {
    let void: i64 = db.query(VOID).bind(record_id).fetch_scalar().await?;
    Ok(void > 0)
}

/// Ids of the delegations that a person holds and that were not taken back.
pub(crate) async fn held_by(tx: &mut Tx<'_>, delegate_id: &str) -> Result<Vec<String>, StoreError> {
    tx.query(IDS_HELD).bind(delegate_id).fetch_scalars().await
}

/// Whether a person ever held a delegation.
pub(crate) async fn ever_held(tx: &mut Tx<'_>, delegate_id: &str) -> Result<bool, StoreError> {
    let held: i64 = tx.query(EVER_HELD).bind(delegate_id).fetch_scalar().await?;
    Ok(held > 0)
}

/// Removes all delegations over a person; which they were.
pub(crate) async fn delete_over(
    tx: &mut Tx<'_>,
    individual_id: &str,
) -> Result<Vec<String>, StoreError> {
    let ids = tx.query(IDS_OVER).bind(individual_id);
    let ids = ids.fetch_scalars().await?;
    let query = tx.query(DELETE_OVER).bind(individual_id);
    query.execute().await?;
    Ok(ids)
}
