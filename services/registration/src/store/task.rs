//! Tasks of operators, and the decisions that statistics count.

use publica_store::{Db, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    INSERT = "INSERT INTO task (task_id, main_task_id, file_id, service_id, service_name, \
              eform_id, role_id, role_name, position, assignee_id, state, outcome, create_time, \
              complete_time, fingerprint, sealed) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    FIND = "SELECT task_id, main_task_id, file_id, service_id, service_name, eform_id, role_id, \
            role_name, position, assignee_id, state, outcome, create_time, complete_time, \
            fingerprint, sealed FROM task WHERE task_id = $1",
    OPEN_OF_FILE = "SELECT task_id, main_task_id, file_id, service_id, service_name, eform_id, \
                    role_id, role_name, position, assignee_id, state, outcome, create_time, \
                    complete_time, fingerprint, sealed FROM task \
                    WHERE file_id = $1 AND state IN (1, 2) ORDER BY create_time LIMIT 1",
    CLAIM = "UPDATE task SET state = $2, assignee_id = $3 \
             WHERE task_id = $1 AND state = $4 AND assignee_id = $5",
    COMPLETE = "UPDATE task SET state = 3, outcome = $2, assignee_id = $3, complete_time = $4, \
                fingerprint = $5, sealed = $6 WHERE task_id = $1 AND state IN (1, 2)",
    CANCEL = "UPDATE task SET state = 4 WHERE file_id = $1 AND state IN (1, 2)",
    // Lists of values come as JSON on SQLite and as an array on PostgreSQL.
    OPEN_OF_FILES = {
        sqlite: "SELECT task_id, main_task_id, file_id, service_id, service_name, eform_id, \
                 role_id, role_name, position, assignee_id, state, outcome, create_time, \
                 complete_time, fingerprint, sealed FROM task \
                 WHERE file_id IN (SELECT value FROM json_each($1)) AND state IN (1, 2)",
        postgres: "SELECT task_id, main_task_id, file_id, service_id, service_name, eform_id, \
                   role_id, role_name, position, assignee_id, state, outcome, create_time, \
                   complete_time, fingerprint, sealed FROM task \
                   WHERE file_id = ANY($1) AND state IN (1, 2)"
    },
    OF_FILE = "SELECT task_id, main_task_id, file_id, service_id, service_name, eform_id, \
               role_id, role_name, position, assignee_id, state, outcome, create_time, \
               complete_time, fingerprint, sealed FROM task WHERE file_id = $1 \
               ORDER BY create_time, task_id",
    KNOWN = {
        sqlite: "SELECT task_id FROM task WHERE task_id IN (SELECT value FROM json_each($1))",
        postgres: "SELECT task_id FROM task WHERE task_id = ANY($1)"
    },
    WORKED_ON = {
        sqlite: "SELECT COUNT(*) FROM task WHERE file_id = $1 \
                 AND role_id IN (SELECT value FROM json_each($2))",
        postgres: "SELECT COUNT(*) FROM task WHERE file_id = $1 AND role_id = ANY($2)"
    },
    DECIDE = "INSERT INTO decision (task_id, day, service_id, service_name, role_id, operator, \
              outcome) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    STATISTICS = "SELECT day, outcome, COUNT(*) FROM decision \
                  WHERE day BETWEEN $1 AND $2 AND ($3 = '' OR service_name = $3) \
                  AND ($4 = '' OR operator = $4) AND ($5 = '' OR role_id = $5) \
                  GROUP BY day, outcome ORDER BY day, outcome",
}

/// A task as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct TaskRow {
    pub(crate) task_id: String,
    pub(crate) main_task_id: String,
    pub(crate) file_id: String,
    pub(crate) service_id: String,
    pub(crate) service_name: String,
    pub(crate) eform_id: String,
    pub(crate) role_id: String,
    pub(crate) role_name: String,
    pub(crate) position: i64,
    pub(crate) assignee_id: String,
    pub(crate) state: i64,
    pub(crate) outcome: i64,
    pub(crate) create_time: Timestamp,
    pub(crate) complete_time: Option<Timestamp>,
    pub(crate) fingerprint: Option<Vec<u8>>,
    pub(crate) sealed: Option<Vec<u8>>,
}

pub(crate) async fn insert(tx: &mut Tx<'_>, task: &TaskRow) -> Result<(), StoreError> {
    let insert = tx
        .query(INSERT)
        .bind(&*task.task_id)
        .bind(&*task.main_task_id);
    let insert = insert
        .bind(&*task.file_id)
        .bind(&*task.service_id)
        .bind(&*task.service_name);
    let insert = insert
        .bind(&*task.eform_id)
        .bind(&*task.role_id)
        .bind(&*task.role_name);
    let insert = insert
        .bind(task.position)
        .bind(&*task.assignee_id)
        .bind(task.state);
    let insert = insert
        .bind(task.outcome)
        .bind(task.create_time)
        .bind(task.complete_time);
    let insert = insert
        .bind(task.fingerprint.as_deref())
        .bind(task.sealed.as_deref());
    insert.execute().await.map(drop)
}

pub(crate) async fn find(db: &Db, task_id: &str) -> Result<Option<TaskRow>, StoreError> {
    db.query(FIND).bind(task_id).fetch_optional().await
}

pub(crate) async fn open_of(db: &Db, file_id: &str) -> Result<Option<TaskRow>, StoreError> {
    db.query(OPEN_OF_FILE).bind(file_id).fetch_optional().await
}

/// Moves a task from one state and assignee to another; false if it was not there any more.
pub(crate) async fn claim(
    tx: &mut Tx<'_>,
    task: &TaskRow,
    state: i64,
    assignee: &str,
) -> Result<bool, StoreError> {
    let claim = tx
        .query(CLAIM)
        .bind(&*task.task_id)
        .bind(state)
        .bind(assignee);
    Ok(claim
        .bind(task.state)
        .bind(&*task.assignee_id)
        .execute()
        .await?
        == 1)
}

/// Completes an open task; false if somebody else did.
pub(crate) async fn complete(tx: &mut Tx<'_>, task: &TaskRow) -> Result<bool, StoreError> {
    let complete = tx.query(COMPLETE).bind(&*task.task_id).bind(task.outcome);
    let complete = complete.bind(&*task.assignee_id).bind(task.complete_time);
    let complete = complete
        .bind(task.fingerprint.as_deref())
        .bind(task.sealed.as_deref());
    Ok(complete.execute().await? == 1)
}

pub(crate) async fn cancel_open(tx: &mut Tx<'_>, file_id: &str) -> Result<u64, StoreError> {
    tx.query(CANCEL).bind(file_id).execute().await
}

/// The open tasks of some files.
pub(crate) async fn open_of_files(db: &Db, files: &[&str]) -> Result<Vec<TaskRow>, StoreError> {
    db.query(OPEN_OF_FILES).bind_list(files).fetch_all().await
}

/// Every task of a file, open or not.
pub(crate) async fn of_file(tx: &mut Tx<'_>, file_id: &str) -> Result<Vec<TaskRow>, StoreError> {
    tx.query(OF_FILE).bind(file_id).fetch_all().await
}

/// Those of some ids that tasks have.
pub(crate) async fn known(tx: &mut Tx<'_>, ids: &[&str]) -> Result<Vec<String>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    tx.query(KNOWN).bind_list(ids).fetch_scalars().await
}

/// Whether one of these roles works or worked on a file.
pub(crate) async fn worked_on(
    db: &Db,
    file_id: &str,
    roles: &[String],
) -> Result<bool, StoreError> {
    let query = db.query(WORKED_ON).bind(file_id).bind_list(roles);
    Ok(query.fetch_scalar::<i64>().await? > 0)
}

/// One decision, for statistics. Each task or automatic decision counts once.
#[derive(Debug, Clone)]
pub(crate) struct Decided<'a> {
    pub(crate) id: &'a str,
    pub(crate) day: i64,
    pub(crate) service_id: &'a str,
    pub(crate) service_name: &'a str,
    pub(crate) role_id: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) outcome: i64,
}

pub(crate) async fn count_decision(
    tx: &mut Tx<'_>,
    decided: &Decided<'_>,
) -> Result<(), StoreError> {
    let decide = tx
        .query(DECIDE)
        .bind(decided.id)
        .bind(decided.day)
        .bind(decided.service_id);
    let decide = decide.bind(decided.service_name).bind(decided.role_id);
    decide
        .bind(decided.operator)
        .bind(decided.outcome)
        .execute()
        .await
        .map(drop)
}

/// Counts by day and outcome.
pub(crate) async fn statistics(
    db: &Db,
    days: (i64, i64),
    service_name: &str,
    operator: &str,
    role_id: &str,
) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    let query = db
        .query(STATISTICS)
        .bind(days.0)
        .bind(days.1)
        .bind(service_name);
    query.bind(operator).bind(role_id).fetch_all().await
}
