//! Whom a notice concerns. People who want none, or of whom nothing personal is known and so no
//! address, are left out here, so that they cost nothing further.

use publica_store::{Db, StoreError, statements};
use publica_types::Timestamp;

statements! {
    // People with a present yes to an agreement, in the order in which they answered.
    CONCERNED = "SELECT r.record_id, r.individual_id, r.agreement_id, r.created, r.valid_until, \
            r.sealed AS circumstances, i.sealed AS known \
            FROM consent_record r JOIN individual i ON i.individual_id = r.individual_id \
            WHERE r.agreement_id = $1 AND (r.created, r.record_id) > ($2, $3) \
            AND r.is_current AND r.opt_in AND i.notify AND i.sealed IS NOT NULL \
            ORDER BY r.created, r.record_id LIMIT $4",
    // Those of some answers that are still a present yes; each engine unpacks lists in its own
    // way.
    STANDING = {
        sqlite: "SELECT r.record_id, r.individual_id, r.agreement_id, r.created, r.valid_until, \
            r.sealed AS circumstances, i.sealed AS known \
            FROM consent_record r JOIN individual i ON i.individual_id = r.individual_id \
            WHERE r.record_id IN (SELECT value FROM jsonb_each($1)) \
            AND r.is_current AND r.opt_in AND i.notify AND i.sealed IS NOT NULL \
            ORDER BY r.created, r.record_id",
        postgres: "SELECT r.record_id, r.individual_id, r.agreement_id, r.created, \
            r.valid_until, r.sealed AS circumstances, i.sealed AS known \
            FROM consent_record r JOIN individual i ON i.individual_id = r.individual_id \
            WHERE r.record_id = ANY ($1::TEXT[]) \
            AND r.is_current AND r.opt_in AND i.notify AND i.sealed IS NOT NULL \
            ORDER BY r.created, r.record_id",
    },
    PERSON = "SELECT sealed FROM individual \
            WHERE individual_id = $1 AND notify AND sealed IS NOT NULL",
    AGREEMENTS = "SELECT agreement_id FROM agreement \
            WHERE policy_id = $1 AND agreement_id > $2 AND published_revision_id <> '' \
            AND lifecycle = $3 ORDER BY agreement_id LIMIT $4",
}

/// An answer whose person may be told something.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Concerned {
    pub(crate) record_id: String,
    pub(crate) individual_id: String,
    pub(crate) agreement_id: String,
    pub(crate) created: Timestamp,
    pub(crate) valid_until: Option<Timestamp>,
    /// Circumstances of the answer, sealed.
    pub(crate) circumstances: Option<Vec<u8>>,
    /// What is known of the person, sealed.
    pub(crate) known: Vec<u8>,
}

/// People with a yes to an agreement, behind a place.
pub(crate) async fn concerned(
    db: &Db,
    agreement_id: &str,
    after: (Timestamp, &str),
    limit: i64,
) -> Result<Vec<Concerned>, StoreError> {
    db.query(CONCERNED)
        .bind(agreement_id)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all()
        .await
}

/// Those of these answers that are still a present yes.
pub(crate) async fn standing(db: &Db, records: &[&str]) -> Result<Vec<Concerned>, StoreError> {
    db.query(STANDING).bind_list(records).fetch_all().await
}

/// What is known of a person who wants to be told, sealed.
pub(crate) async fn person(db: &Db, individual_id: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let query = db.query(PERSON).bind(individual_id);
    query.fetch_scalar_optional().await
}

/// Published agreements under a policy, behind one of them.
pub(crate) async fn agreements(
    db: &Db,
    policy_id: &str,
    after: &str,
    lifecycle: i64,
    limit: i64,
) -> Result<Vec<String>, StoreError> {
    db.query(AGREEMENTS)
        .bind(policy_id)
        .bind(after)
        .bind(lifecycle)
        .bind(limit)
        .fetch_scalars()
        .await
}
