//! Revocations: what makes earlier decisions worthless, numbered within a shard in the order of
//! commits, so that who has read up to a number has missed nothing.

use std::collections::BTreeMap;

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;
use serde_json::{Value, json};

/// Shards. A person's revocations share one, so that few writers wait for each other.
pub(crate) const SHARDS: usize = 16;

statements! {
    // The row's lock makes the numbers of a shard follow its commits.
    NEXT = "UPDATE revocation_shard SET seq = seq + $2 WHERE shard = $1 RETURNING seq",
    INSERT = "INSERT INTO revocation (shard, seq, individual_id, agreement_id, record_id, cause, \
              created) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    // Many at once. One text of rows for both engines: joining lists by position takes SQLite
    // quadratic time.
    INSERT_MANY = {
        sqlite: "INSERT INTO revocation (shard, seq, individual_id, agreement_id, record_id, \
            cause, created) SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, \
            value ->> 4, $2, $3 FROM jsonb_each($1)",
        postgres: "INSERT INTO revocation (shard, seq, individual_id, agreement_id, record_id, \
            cause, created) SELECT CAST(e ->> 0 AS BIGINT), CAST(e ->> 1 AS BIGINT), e ->> 2, \
            e ->> 3, e ->> 4, $2, $3 \
            FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e",
    },
    HEADS = "SELECT seq FROM revocation_shard ORDER BY shard",
    // Each engine unpacks lists in its own way.
    AFTER = {
        sqlite: "SELECT r.shard, r.seq, r.individual_id, r.agreement_id, r.record_id, r.cause, \
            r.created FROM jsonb_each($1) c \
            JOIN revocation r ON r.shard = c.key AND r.seq > c.value \
            ORDER BY r.shard, r.seq LIMIT $2",
        postgres: "SELECT r.shard, r.seq, r.individual_id, r.agreement_id, r.record_id, \
            r.cause, r.created \
            FROM jsonb_array_elements_text(CAST(CAST($1 AS TEXT) AS JSONB)) \
            WITH ORDINALITY AS c (seq, place) \
            JOIN revocation r ON r.shard = c.place - 1 AND r.seq > CAST(c.seq AS BIGINT) \
            ORDER BY r.shard, r.seq LIMIT $2",
    },
}

/// A revocation as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) shard: i64,
    pub(crate) seq: i64,
    pub(crate) individual_id: String,
    pub(crate) agreement_id: String,
    pub(crate) record_id: String,
    pub(crate) cause: i64,
    pub(crate) created: Timestamp,
}

/// The shard of a person, or of an agreement where everybody is meant.
fn shard(individual_id: &str, agreement_id: &str) -> i64 {
    let name = if individual_id.is_empty() {
        agreement_id
    } else {
        individual_id
    };
    // FNV-1a: it must only spread well and be the same in every process.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::try_from(hash % SHARDS as u64).unwrap_or(0)
}

/// Takes so many numbers of a shard; the last of them.
async fn next(tx: &mut Tx<'_>, shard: i64, count: i64) -> Result<i64, StoreError> {
    let query = tx.query(NEXT).bind(shard).bind(count);
    let seq: Option<i64> = query.fetch_scalar_optional().await?;
    seq.ok_or_else(|| StoreError::corrupt("a shard of revocations is missing"))
}

/// Adds revocations of answers: person, agreement and record of each. A shard is locked but once,
/// and shards in their order, so that nobody waits for each other in a circle.
pub(crate) async fn insert_many(
    tx: &mut Tx<'_>,
    answers: &[(&str, &str, &str)],
    cause: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    if answers.is_empty() {
        return Ok(());
    }
    let mut shards: BTreeMap<i64, Vec<_>> = BTreeMap::new();
    for one in answers {
        shards.entry(shard(one.0, one.1)).or_default().push(one);
    }
    let mut rows: Vec<Value> = Vec::with_capacity(answers.len());
    for (shard, answers) in shards {
        let count = i64::try_from(answers.len()).unwrap_or(i64::MAX);
        let first = next(tx, shard, count).await? - count + 1;
        for (seq, (person, agreement, record)) in (first..).zip(answers) {
            rows.push(json!([shard, seq, person, agreement, record]));
        }
    }
    let query = tx.query(INSERT_MANY).bind(Value::from(rows).to_string());
    query.bind(cause).bind(now).execute().await.map(drop)
}

/// Adds a revocation.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    individual_id: &str,
    agreement_id: &str,
    record_id: &str,
    cause: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let shard = shard(individual_id, agreement_id);
    let seq = next(tx, shard, 1).await?;
    tx.query(INSERT)
        .bind(shard)
        .bind(seq)
        .bind(individual_id)
        .bind(agreement_id)
        .bind(record_id)
        .bind(cause)
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// Where each shard ends now.
pub(crate) async fn heads(db: &Db) -> Result<Vec<i64>, StoreError> {
    db.query(HEADS).fetch_scalars().await
}

/// Revocations after a place in each shard, in the order of shards.
pub(crate) async fn after(db: &Db, cursor: &[i64], limit: i64) -> Result<Vec<Row>, StoreError> {
    let list = serde_json::json!(cursor).to_string();
    db.query(AFTER).bind(list).bind(limit).fetch_all().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_stays_in_a_shard_and_people_spread() {
        assert_eq!(shard("p", "a"), shard("p", "b"));
        let found: std::collections::BTreeSet<i64> =
            (0..500).map(|n| shard(&n.to_string(), "")).collect();
        assert_eq!(found.len(), SHARDS);
    }
}
