//! Application files and their history.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO application_file (file_id, service_id, service_name, service_version, \
              applicant_id, eform_id, state, position, main_task_id, create_time, \
              register_time, process_id, version, marks, rule_trace, sealed) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    FIND = "SELECT file_id, service_id, service_name, service_version, applicant_id, eform_id, \
            state, position, main_task_id, create_time, register_time, process_id, version, \
            marks, rule_trace, sealed FROM application_file WHERE file_id = $1",
    UPDATE = "UPDATE application_file SET state = $3, position = $4, version = version + 1, \
              marks = $5, rule_trace = $6, sealed = $7 WHERE file_id = $1 AND version = $2",
    LAST_EVENT = "SELECT sequence, hash FROM file_event WHERE file_id = $1 \
                  ORDER BY sequence DESC LIMIT 1",
    ADD_EVENT = "INSERT INTO file_event (file_id, sequence, kind, actor, event_time, body, hash) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
    EVENTS = "SELECT sequence, kind, actor, event_time, body, hash FROM file_event \
              WHERE file_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
}

/// An application file as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct FileRow {
    pub(crate) file_id: String,
    pub(crate) service_id: String,
    pub(crate) service_name: String,
    pub(crate) service_version: i64,
    pub(crate) applicant_id: String,
    pub(crate) eform_id: String,
    pub(crate) state: i64,
    pub(crate) position: i64,
    pub(crate) main_task_id: String,
    pub(crate) create_time: Option<Timestamp>,
    pub(crate) register_time: Timestamp,
    pub(crate) process_id: String,
    pub(crate) version: i64,
    pub(crate) marks: String,
    pub(crate) rule_trace: String,
    pub(crate) sealed: Vec<u8>,
}

/// An entry of a file's history as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct EventRow {
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) actor: String,
    pub(crate) event_time: Timestamp,
    pub(crate) body: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, file: &FileRow) -> Result<(), StoreError> {
    let insert = tx
        .query(INSERT)
        .bind(&*file.file_id)
        .bind(&*file.service_id);
    let insert = insert.bind(&*file.service_name).bind(file.service_version);
    let insert = insert
        .bind(&*file.applicant_id)
        .bind(&*file.eform_id)
        .bind(file.state);
    let insert = insert
        .bind(file.position)
        .bind(&*file.main_task_id)
        .bind(file.create_time);
    let insert = insert
        .bind(file.register_time)
        .bind(&*file.process_id)
        .bind(file.version);
    let insert = insert
        .bind(&*file.marks)
        .bind(&*file.rule_trace)
        .bind(&*file.sealed);
    insert.execute().await.map(drop)
}

pub(crate) async fn find(db: &Db, file_id: &str) -> Result<Option<FileRow>, StoreError> {
    db.query(FIND).bind(file_id).fetch_optional().await
}

pub(crate) async fn find_in(tx: &mut Tx<'_>, file_id: &str) -> Result<Option<FileRow>, StoreError> {
    tx.query(FIND).bind(file_id).fetch_optional().await
}

/// Writes what may change; false if somebody else changed the file since it was read.
pub(crate) async fn update(tx: &mut Tx<'_>, file: &FileRow) -> Result<bool, StoreError> {
    let update = tx
        .query(UPDATE)
        .bind(&*file.file_id)
        .bind(file.version)
        .bind(file.state);
    let update = update
        .bind(file.position)
        .bind(&*file.marks)
        .bind(&*file.rule_trace);
    Ok(update.bind(&*file.sealed).execute().await? == 1)
}

/// Adds to the history: the hash covers the hash before it and everything in the entry.
pub(crate) async fn add_event(
    tx: &mut Tx<'_>,
    file_id: &str,
    kind: &str,
    actor: &str,
    body: &[u8],
) -> Result<(), StoreError> {
    let last: Option<(i64, Vec<u8>)> = tx.query(LAST_EVENT).bind(file_id).fetch_optional().await?;
    let (sequence, before) = last.map_or((1, Vec::new()), |(last, hash)| (last + 1, hash));
    let now = tx.now();
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(&before);
    for part in [
        kind.as_bytes(),
        actor.as_bytes(),
        &now.micros().to_be_bytes(),
        body,
    ] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let hash = context.finish();
    let add = tx
        .query(ADD_EVENT)
        .bind(file_id)
        .bind(sequence)
        .bind(kind)
        .bind(actor);
    add.bind(now)
        .bind(body)
        .bind(hash.as_ref())
        .execute()
        .await
        .map(drop)
}

pub(crate) async fn events(
    db: &Db,
    file_id: &str,
    after: i64,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    db.query(EVENTS)
        .bind(file_id)
        .bind(after)
        .bind(limit)
        .fetch_all()
        .await
}
