//! The register that approvals write into.

use publica_store::{Db, StoreError, Tx, statements};
use serde_json::{Value, json};

statements! {
    PUT = "INSERT INTO register_entry (register, person_id, file_id, update_time, sealed) \
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (register, person_id) DO UPDATE SET \
           file_id = excluded.file_id, update_time = excluded.update_time, \
           sealed = excluded.sealed",
    FIND = "SELECT sealed FROM register_entry WHERE register = $1 AND person_id = $2",
    // Rows travel as one JSON text, which the engines take apart in their own ways.
    INSERT_MANY = {
        sqlite: "INSERT INTO register_entry (register, person_id, file_id, update_time, sealed) \
                 SELECT value ->> 0, value ->> 1, value ->> 2, $2, unhex(value ->> 3) \
                 FROM json_each($1) WHERE TRUE ON CONFLICT DO NOTHING \
                 RETURNING register, person_id",
        postgres: "INSERT INTO register_entry (register, person_id, file_id, update_time, \
                   sealed) SELECT e ->> 0, e ->> 1, e ->> 2, $2, decode(e ->> 3, 'hex') \
                   FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
                   ON CONFLICT DO NOTHING RETURNING register, person_id",
    },
    FIND_MANY = {
        sqlite: "SELECT r.register, r.person_id, r.file_id, r.sealed FROM json_each($1) k \
                 CROSS JOIN register_entry r \
                 ON r.register = k.value ->> 0 AND r.person_id = k.value ->> 1",
        postgres: "SELECT r.register, r.person_id, r.file_id, r.sealed \
                   FROM jsonb_array_elements(CAST(CAST($1 AS TEXT) AS JSONB)) AS e \
                   JOIN register_entry r ON r.register = e ->> 0 AND r.person_id = e ->> 1",
    },
}

/// An entry to store.
#[derive(Debug)]
pub(crate) struct NewEntry<'e> {
    pub(crate) register: &'e str,
    pub(crate) person_id: &'e str,
    pub(crate) file_id: &'e str,
    pub(crate) sealed: Vec<u8>,
}

/// An entry as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct EntryRow {
    pub(crate) register: String,
    pub(crate) person_id: String,
    pub(crate) file_id: String,
    pub(crate) sealed: Vec<u8>,
}

pub(crate) async fn put(
    tx: &mut Tx<'_>,
    register: &str,
    person_id: &str,
    file_id: &str,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    let put = tx
        .query(PUT)
        .bind(register)
        .bind(person_id)
        .bind(file_id)
        .bind(now);
    put.bind(sealed).execute().await.map(drop)
}

pub(crate) async fn find(
    db: &Db,
    register: &str,
    person_id: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(FIND)
        .bind(register)
        .bind(person_id)
        .fetch_scalar_optional()
        .await
}

/// Stores entries where there are none yet; returns the registers and people of these.
pub(crate) async fn insert_many(
    tx: &mut Tx<'_>,
    entries: &[NewEntry<'_>],
) -> Result<Vec<(String, String)>, StoreError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let rows = entries.iter().map(|one| {
        json!([
            one.register,
            one.person_id,
            one.file_id,
            hex::encode(&one.sealed)
        ])
    });
    let rows = Value::Array(rows.collect()).to_string();
    let now = tx.now();
    tx.query(INSERT_MANY).bind(rows).bind(now).fetch_all().await
}

/// The entries of some registers and people.
pub(crate) async fn find_many(
    tx: &mut Tx<'_>,
    places: &[(&str, &str)],
) -> Result<Vec<EntryRow>, StoreError> {
    let rows = json!(places).to_string();
    tx.query(FIND_MANY).bind(rows).fetch_all().await
}
