//! The statements of the unit's last call.

use publica_store::{StoreError, Tx};
use publica_types::{Timestamp, Uuid};

use crate::canonical;
use crate::entry::EntryRow;
use crate::ledger::Sealed;

// Several inserts in one call: SQLite takes them as several statements of one text, where `$n`
// addresses the same values throughout, and PostgreSQL as expressions of one statement.
publica_store::statements! {
    ENTRY = {
        sqlite: "INSERT INTO journal (entry_id, time, actor, on_behalf_of, action, outcome, \
            subject_kind, subject_id, process_id, request_id, trace_id, body_sha256, body) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13); \
            INSERT INTO journal_pending (entry_id, leaf_hash) VALUES ($1, $14)",
        postgres: "WITH entry AS (INSERT INTO journal (entry_id, time, actor, on_behalf_of, \
            action, outcome, subject_kind, subject_id, process_id, request_id, trace_id, \
            body_sha256, body) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)) \
            INSERT INTO journal_pending (entry_id, leaf_hash) VALUES ($1, $14)",
    },
    ENTRY_AND_ANSWER = {
        sqlite: "INSERT INTO journal (entry_id, time, actor, on_behalf_of, action, outcome, \
            subject_kind, subject_id, process_id, request_id, trace_id, body_sha256, body) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13); \
            INSERT INTO journal_pending (entry_id, leaf_hash) VALUES ($1, $14); \
            INSERT INTO request_ledger (caller, rpc, request_id, fingerprint, sealed_answer, \
            attempt, time) VALUES ($15, $16, $17, $18, $19, 1, $2)",
        postgres: "WITH entry AS (INSERT INTO journal (entry_id, time, actor, on_behalf_of, \
            action, outcome, subject_kind, subject_id, process_id, request_id, trace_id, \
            body_sha256, body) \
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)), \
            pending AS (INSERT INTO journal_pending (entry_id, leaf_hash) VALUES ($1, $14)) \
            INSERT INTO request_ledger (caller, rpc, request_id, fingerprint, sealed_answer, \
            attempt, time) VALUES ($15, $16, $17, $18, $19, 1, $2)",
    },
    ANSWER = "INSERT INTO request_ledger \
        (caller, rpc, request_id, fingerprint, sealed_answer, attempt, time) \
        VALUES ($1, $2, $3, $4, $5, 1, $6)",
    // A list of rows is one JSON text on SQLite and one array a column on PostgreSQL. Of
    // `json_each`, SQLite would write and read each row's text again for every value.
    ENTRIES = {
        sqlite: "INSERT INTO journal (entry_id, time, actor, on_behalf_of, action, outcome, \
            subject_kind, subject_id, process_id, request_id, trace_id, body_sha256, body) \
            SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, \
            value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, \
            unhex(value ->> 11), unhex(value ->> 12) FROM jsonb_each($1); \
            INSERT INTO journal_pending (entry_id, leaf_hash) \
            SELECT unhex(value ->> 0), unhex(value ->> 13) FROM jsonb_each($1)",
        postgres: "WITH given AS (SELECT * FROM UNNEST($1::UUID[], $2::TIMESTAMPTZ[], \
            $3::TEXT[], $4::TEXT[], $5::TEXT[], $6::TEXT[], $7::TEXT[], $8::TEXT[], $9::TEXT[], \
            $10::TEXT[], $11::TEXT[], $12::BYTEA[], $13::BYTEA[], $14::BYTEA[]) AS given \
            (entry_id, time, actor, on_behalf_of, action, outcome, subject_kind, subject_id, \
            process_id, request_id, trace_id, body_sha256, body, leaf_hash)), \
            entry AS (INSERT INTO journal (entry_id, time, actor, on_behalf_of, action, outcome, \
            subject_kind, subject_id, process_id, request_id, trace_id, body_sha256, body) \
            SELECT entry_id, time, actor, on_behalf_of, action, outcome, subject_kind, \
            subject_id, process_id, request_id, trace_id, body_sha256, body FROM given) \
            INSERT INTO journal_pending (entry_id, leaf_hash) \
            SELECT entry_id, leaf_hash FROM given",
    },
}

macro_rules! bind_entry {
    ($query:expr, $row:expr) => {
        $query
            .bind($row.entry_id)
            .bind($row.time)
            .bind($row.actor.as_str())
            .bind($row.on_behalf_of.as_deref())
            .bind($row.action.as_str())
            .bind($row.outcome.as_str())
            .bind($row.subject_kind.as_str())
            .bind($row.subject_id.as_str())
            .bind($row.process_id.as_deref())
            .bind($row.request_id.as_deref())
            .bind($row.trace_id.as_deref())
            .bind($row.body_sha256.as_slice())
            .bind($row.body.as_deref())
            .bind($row.leaf_hash().as_slice())
    };
}

pub(crate) async fn entry(tx: &mut Tx<'_>, row: &EntryRow) -> Result<(), StoreError> {
    bind_entry!(tx.query(ENTRY), row).execute().await.map(drop)
}

pub(crate) async fn entry_and_answer(
    tx: &mut Tx<'_>,
    row: &EntryRow,
    kept: &Sealed,
) -> Result<(), StoreError> {
    bind_entry!(tx.query(ENTRY_AND_ANSWER), row)
        .bind(kept.key.caller.as_str())
        .bind(kept.key.rpc)
        .bind(kept.key.request_id.as_str())
        .bind(kept.fingerprint.as_slice())
        .bind(kept.answer.as_slice())
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn answer(tx: &mut Tx<'_>, kept: &Sealed) -> Result<(), StoreError> {
    let now = tx.now();
    tx.query(ANSWER)
        .bind(kept.key.caller.as_str())
        .bind(kept.key.rpc)
        .bind(kept.key.request_id.as_str())
        .bind(kept.fingerprint.as_slice())
        .bind(kept.answer.as_slice())
        .bind(now)
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn entries_sqlite(tx: &mut Tx<'_>, rows: &[EntryRow]) -> Result<(), StoreError> {
    // Written straight into one text: there are many rows under load.
    let mut list = Vec::with_capacity(rows.len() * 1_024 + 2);
    for row in rows {
        list.push(if list.is_empty() { b'[' } else { b',' });
        write_row(&mut list, row);
    }
    list.push(b']');
    let list = String::from_utf8(list).map_err(|error| StoreError::corrupt(error.to_string()))?;
    tx.query(ENTRIES).bind(list).execute().await.map(drop)
}

/// One row as a JSON array, its bytes in hexadecimal digits.
fn write_row(out: &mut Vec<u8>, row: &EntryRow) {
    out.push(b'[');
    write_hex(out, row.entry_id.as_bytes());
    out.push(b',');
    out.extend_from_slice(row.time.micros().to_string().as_bytes());
    let texts = [
        Some(row.actor.as_str()),
        row.on_behalf_of.as_deref(),
        Some(row.action.as_str()),
        Some(row.outcome.as_str()),
        Some(row.subject_kind.as_str()),
        Some(row.subject_id.as_str()),
        row.process_id.as_deref(),
        row.request_id.as_deref(),
        row.trace_id.as_deref(),
    ];
    for text in texts {
        out.push(b',');
        match text {
            Some(text) => canonical::write_string(out, text),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b',');
    write_hex(out, &row.body_sha256);
    out.push(b',');
    match &row.body {
        Some(body) => write_hex(out, body),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
    write_hex(out, &row.leaf_hash());
    out.push(b']');
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 2);
    out.push(b'"');
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'"');
}

pub(crate) async fn entries_postgres(tx: &mut Tx<'_>, rows: &[EntryRow]) -> Result<(), StoreError> {
    fn column<T>(rows: &[EntryRow], of: impl Fn(&EntryRow) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    let texts = |of: fn(&EntryRow) -> &String| column(rows, |row| of(row).clone());
    let options = |of: fn(&EntryRow) -> &Option<String>| column(rows, |row| of(row).clone());
    let ids: Vec<Uuid> = column(rows, |row| row.entry_id);
    let times: Vec<Timestamp> = column(rows, |row| row.time);
    let outcomes = column(rows, |row| row.outcome.as_str().to_owned());
    let digests = column(rows, |row| row.body_sha256.to_vec());
    let bodies = column(rows, |row| row.body.clone());
    let leaves = column(rows, |row| row.leaf_hash().to_vec());
    tx.query(ENTRIES)
        .bind_list(&ids)
        .bind_list(&times)
        .bind_list(&texts(|row| &row.actor))
        .bind_list(&options(|row| &row.on_behalf_of))
        .bind_list(&texts(|row| &row.action))
        .bind_list(&outcomes)
        .bind_list(&texts(|row| &row.subject_kind))
        .bind_list(&texts(|row| &row.subject_id))
        .bind_list(&options(|row| &row.process_id))
        .bind_list(&options(|row| &row.request_id))
        .bind_list(&options(|row| &row.trace_id))
        .bind_list(&digests)
        .bind_list(&bodies)
        .bind_list(&leaves)
        .execute()
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::entry::tests::row;

    #[test]
    fn rows_are_written_as_json() {
        let mut row = row(5, "case \"1\"");
        let body = row.body.take().unwrap_or_default();
        for body in [Some(body), None] {
            row.body = body;
            let mut out = Vec::new();
            write_row(&mut out, &row);
            let expected = json!([
                hex::encode(row.entry_id.as_bytes()),
                row.time.micros(),
                row.actor,
                row.on_behalf_of,
                row.action,
                row.outcome.as_str(),
                row.subject_kind,
                row.subject_id,
                row.process_id,
                row.request_id,
                row.trace_id,
                hex::encode(row.body_sha256),
                row.body.as_ref().map(hex::encode),
                hex::encode(row.leaf_hash()),
            ]);
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        }
    }
}
