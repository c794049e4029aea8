//! Reading entries in the order of the log.

use publica_store::{Db, StoreError};
use publica_types::{Timestamp, Uuid};

use super::log::hash;
use crate::entry::EntryRow;
use crate::merkle::Hash;

publica_store::statements! {
    FROM = "SELECT leaf.position, leaf.leaf_hash, leaf.entry_id, journal.time, journal.actor, \
        journal.on_behalf_of, journal.action, journal.outcome, journal.subject_kind, \
        journal.subject_id, journal.process_id, journal.request_id, journal.trace_id, \
        journal.body_sha256, journal.body FROM journal_leaf AS leaf \
        LEFT JOIN journal ON journal.entry_id = leaf.entry_id \
        WHERE leaf.position >= $1 AND leaf.position < $2 ORDER BY leaf.position LIMIT $3",
    OF_PROCESS = "SELECT leaf.position, leaf.leaf_hash, leaf.entry_id, journal.time, \
        journal.actor, journal.on_behalf_of, journal.action, journal.outcome, \
        journal.subject_kind, journal.subject_id, journal.process_id, journal.request_id, \
        journal.trace_id, journal.body_sha256, journal.body FROM journal \
        JOIN journal_leaf AS leaf ON leaf.entry_id = journal.entry_id \
        WHERE journal.process_id = $4 AND ($5 = '' OR journal.subject_id = $5) \
        AND leaf.position >= $1 AND leaf.position < $2 ORDER BY leaf.position LIMIT $3",
    OF_SUBJECT = "SELECT leaf.position, leaf.leaf_hash, leaf.entry_id, journal.time, \
        journal.actor, journal.on_behalf_of, journal.action, journal.outcome, \
        journal.subject_kind, journal.subject_id, journal.process_id, journal.request_id, \
        journal.trace_id, journal.body_sha256, journal.body FROM journal \
        JOIN journal_leaf AS leaf ON leaf.entry_id = journal.entry_id \
        WHERE journal.subject_id = $4 \
        AND leaf.position >= $1 AND leaf.position < $2 ORDER BY leaf.position LIMIT $3",
    // By time: an entry that was only just committed has no position yet.
    LATEST = "SELECT body FROM journal WHERE subject_id = $1 AND subject_kind = $2 \
        AND action <> $3 AND body IS NOT NULL ORDER BY time DESC, entry_id DESC LIMIT $4",
    // Each engine unpacks lists in its own way.
    ABOUT = {
        sqlite: "SELECT leaf.position, leaf.leaf_hash, leaf.entry_id, journal.time, \
            journal.actor, journal.on_behalf_of, journal.action, journal.outcome, \
            journal.subject_kind, journal.subject_id, journal.process_id, journal.request_id, \
            journal.trace_id, journal.body_sha256, journal.body FROM journal \
            JOIN journal_leaf AS leaf ON leaf.entry_id = journal.entry_id \
            WHERE journal.subject_id IN (SELECT value FROM jsonb_each($1)) \
            AND journal.action <> $2 AND leaf.position < $3 \
            ORDER BY leaf.position DESC LIMIT $4",
        postgres: "SELECT leaf.position, leaf.leaf_hash, leaf.entry_id, journal.time, \
            journal.actor, journal.on_behalf_of, journal.action, journal.outcome, \
            journal.subject_kind, journal.subject_id, journal.process_id, journal.request_id, \
            journal.trace_id, journal.body_sha256, journal.body FROM journal \
            JOIN journal_leaf AS leaf ON leaf.entry_id = journal.entry_id \
            WHERE journal.subject_id IN \
            (SELECT jsonb_array_elements_text(CAST(CAST($1 AS TEXT) AS JSONB))) \
            AND journal.action <> $2 AND leaf.position < $3 \
            ORDER BY leaf.position DESC LIMIT $4",
    },
    // Ids of entries begin with the time at which they were made.
    BETWEEN = "SELECT leaf.position, leaf.leaf_hash, leaf.entry_id, journal.time, \
        journal.actor, journal.on_behalf_of, journal.action, journal.outcome, \
        journal.subject_kind, journal.subject_id, journal.process_id, journal.request_id, \
        journal.trace_id, journal.body_sha256, journal.body FROM journal \
        JOIN journal_leaf AS leaf ON leaf.entry_id = journal.entry_id \
        WHERE journal.entry_id >= $1 AND journal.entry_id < $2 \
        ORDER BY journal.entry_id LIMIT $3",
    LEAVES_OF_PROCESS = "SELECT leaf.position, leaf.leaf_hash, journal.body IS NOT NULL \
        FROM journal \
        JOIN journal_leaf AS leaf ON leaf.entry_id = journal.entry_id \
        WHERE journal.process_id = $1 AND leaf.position >= $2 AND leaf.position < $3 \
        ORDER BY leaf.position LIMIT $4",
    // An entry whose row is gone keeps its leaf.
    LEAVES = "SELECT leaf.position, leaf.leaf_hash, journal.body IS NOT NULL \
        FROM journal_leaf AS leaf \
        LEFT JOIN journal ON journal.entry_id = leaf.entry_id \
        WHERE leaf.position >= $1 AND leaf.position < $2 ORDER BY leaf.position LIMIT $3",
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    position: i64,
    leaf_hash: Vec<u8>,
    entry_id: Uuid,
    time: Option<Timestamp>,
    actor: Option<String>,
    on_behalf_of: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    subject_kind: Option<String>,
    subject_id: Option<String>,
    process_id: Option<String>,
    request_id: Option<String>,
    trace_id: Option<String>,
    body_sha256: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
}

/// A leaf with its entry, unless the entry's row is gone from the store.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) position: i64,
    pub(crate) leaf_hash: Hash,
    pub(crate) entry_id: Uuid,
    pub(crate) entry: Option<EntryRow>,
}

impl TryFrom<Row> for Placed {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let entry = match (row.time, row.body_sha256) {
            (Some(time), Some(digest)) => Some(EntryRow {
                entry_id: row.entry_id,
                time,
                actor: row.actor.unwrap_or_default(),
                on_behalf_of: row.on_behalf_of,
                action: row.action.unwrap_or_default(),
                outcome: row
                    .outcome
                    .unwrap_or_default()
                    .parse()
                    .map_err(|error| StoreError::corrupt(format!("{error}")))?,
                subject_kind: row.subject_kind.unwrap_or_default(),
                subject_id: row.subject_id.unwrap_or_default(),
                process_id: row.process_id,
                request_id: row.request_id,
                trace_id: row.trace_id,
                body_sha256: hash(&digest)?,
                body: row.body,
            }),
            _ => None,
        };
        let leaf_hash = hash(&row.leaf_hash)?;
        Ok(Self {
            position: row.position,
            leaf_hash,
            entry_id: row.entry_id,
            entry,
        })
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) process_id: String,
    pub(crate) subject_id: String,
}

/// Entries of positions `from..to`, in order, at most `limit`.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<Placed>, StoreError> {
    let query = match (filter.process_id.as_str(), filter.subject_id.as_str()) {
        ("", "") => db.query(FROM).bind(from).bind(to).bind(limit),
        ("", subject) => db
            .query(OF_SUBJECT)
            .bind(from)
            .bind(to)
            .bind(limit)
            .bind(subject),
        (process, subject) => db
            .query(OF_PROCESS)
            .bind(from)
            .bind(to)
            .bind(limit)
            .bind(process)
            .bind(subject),
    };
    query
        .fetch_all::<Row>()
        .await?
        .into_iter()
        .map(Placed::try_from)
        .collect()
}

/// Entries with ids `from..to`, by id and so by time, at most `limit`.
pub(crate) async fn between(
    db: &Db,
    from: Uuid,
    to: Uuid,
    limit: i64,
) -> Result<Vec<Placed>, StoreError> {
    let rows: Vec<Row> = db
        .query(BETWEEN)
        .bind(from)
        .bind(to)
        .bind(limit)
        .fetch_all()
        .await?;
    rows.into_iter().map(Placed::try_from).collect()
}

/// Bodies of the latest entries about a subject of a kind, newest first, at most `limit`, without
/// those of one action.
pub async fn latest(
    db: &Db,
    (subject_kind, subject_id): (&str, &str),
    except: &str,
    limit: i64,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let query = db.query(LATEST).bind(subject_id).bind(subject_kind);
    query.bind(except).bind(limit).fetch_scalars().await
}

/// Entries about any of some subjects before a position of the log, newest first, at most `limit`,
/// without those of one action. An entry that was only just committed has no position yet;
/// [`crate::Journal::catch_up`] waits for it.
pub async fn about(
    db: &Db,
    subjects: &[String],
    except: &str,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, EntryRow)>, StoreError> {
    let list = serde_json::json!(subjects).to_string();
    let query = db.query(ABOUT).bind(list).bind(except).bind(before);
    let rows: Vec<Row> = query.bind(limit).fetch_all().await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let placed = Placed::try_from(row)?;
        found.extend(placed.entry.map(|entry| (placed.position, entry)));
    }
    Ok(found)
}

/// Leaves of a case with whether their entries have a body, in order, at most `limit`.
pub(crate) async fn leaves(
    db: &Db,
    process_id: Option<&str>,
    from: i64,
    to: i64,
    limit: i64,
) -> Result<Vec<(i64, Hash, bool)>, StoreError> {
    let query = match process_id {
        Some(process_id) => db.query(LEAVES_OF_PROCESS).bind(process_id),
        None => db.query(LEAVES),
    };
    let query = query.bind(from).bind(to).bind(limit);
    let rows: Vec<(i64, Vec<u8>, bool)> = query.fetch_all().await?;
    rows.into_iter()
        .map(|(position, leaf, has_body)| Ok((position, hash(&leaf)?, has_body)))
        .collect()
}
