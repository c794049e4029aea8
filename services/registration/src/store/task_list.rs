//! Lists of tasks, with statements for each kind of question, as for files.
//!
//! Values: `$1` main task, `$2` file, `$3` assignee, `$4` whether only open ones, `$5` whether
//! tasks of every role, `$6` the caller's roles, `$7` the caller, `$8` limit, `$9` offset, `$10`
//! sort key.

use publica_store::{Db, Sql, StoreError};

use crate::store::file_list::Key;
use crate::store::task::TaskRow;
use crate::store::{Window, counted};

/// What a list is filtered by; empty means everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) main_task_id: &'a str,
    pub(crate) file_id: &'a str,
    pub(crate) assignee_id: &'a str,
    pub(crate) open_only: bool,
    /// Whose list it is: nobody works on a file of their own.
    pub(crate) party: &'a str,
    /// The roles that the caller holds; all, if none are named.
    pub(crate) roles: Option<&'a [String]>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By when the task was opened.
    Created { descending: bool },
    /// By something else.
    Key { key: Key, descending: bool },
}

macro_rules! select {
    () => {
        "SELECT t.task_id, t.main_task_id, t.file_id, t.service_id, t.service_name, t.eform_id, \
         t.role_id, t.role_name, t.position, t.assignee_id, t.state, t.outcome, t.create_time, \
         t.complete_time, t.fingerprint, t.sealed FROM task t WHERE "
    };
}

macro_rules! visible {
    ($roles:literal) => {
        concat!(
            " AND ($4 = 0 OR t.state IN (1, 2)) AND ($5 = 1 OR t.role_id ",
            $roles,
            ") AND NOT EXISTS (SELECT 1 FROM application_file f \
             WHERE f.file_id = t.file_id AND f.applicant_id = $7)"
        )
    };
}

macro_rules! key {
    () => {
        " ORDER BY CASE CAST($10 AS BIGINT) WHEN 1 THEN t.task_id WHEN 2 THEN t.role_name \
         WHEN 3 THEN LOWER(t.role_name) ELSE t.assignee_id END"
    };
}

// Lists of values come as JSON on SQLite and as an array on PostgreSQL.
macro_rules! text {
    ($head:expr, $sqlite:literal, $postgres:literal, $tail:expr) => {
        Sql::split(
            concat!(
                $head,
                $sqlite,
                visible!("IN (SELECT value FROM json_each($6))"),
                $tail
            ),
            concat!($head, $postgres, visible!("= ANY($6)"), $tail),
        )
    };
}

macro_rules! shape {
    ($name:ident, $shape:literal) => {
        shape!($name, $shape, $shape);
    };
    ($name:ident, $sqlite:literal, $postgres:literal) => {
        pub(crate) mod $name {
            use publica_store::Sql;

            pub(crate) const COUNT: Sql = text!(
                "SELECT COUNT(*) FROM (SELECT 1 FROM task t WHERE ",
                $sqlite,
                $postgres,
                " LIMIT $8) counted"
            );
            pub(crate) const CREATED: Sql = text!(
                select!(),
                $sqlite,
                $postgres,
                " ORDER BY t.create_time, t.task_id LIMIT $8 OFFSET $9"
            );
            pub(crate) const CREATED_DESC: Sql = text!(
                select!(),
                $sqlite,
                $postgres,
                " ORDER BY t.create_time DESC, t.task_id DESC LIMIT $8 OFFSET $9"
            );
            pub(crate) const KEY: Sql = text!(
                select!(),
                $sqlite,
                $postgres,
                concat!(key!(), ", t.task_id LIMIT $8 OFFSET $9")
            );
            pub(crate) const KEY_DESC: Sql = text!(
                select!(),
                $sqlite,
                $postgres,
                concat!(key!(), " DESC, t.task_id DESC LIMIT $8 OFFSET $9")
            );

            /// Every statement declared here, by name.
            #[cfg(test)]
            pub(crate) const ALL: &[(&str, Sql)] = &[
                ("COUNT", COUNT),
                ("CREATED", CREATED),
                ("CREATED_DESC", CREATED_DESC),
                ("KEY", KEY),
                ("KEY_DESC", KEY_DESC),
            ];
        }
    };
}

shape!(
    of_file,
    "t.file_id = $2 AND ($1 = '' OR t.main_task_id = $1) AND ($3 = '' OR t.assignee_id = $3)"
);
shape!(
    of_main,
    "t.main_task_id = $1 AND $2 = '' AND ($3 = '' OR t.assignee_id = $3)"
);
shape!(of_assignee, "t.assignee_id = $3 AND $1 = '' AND $2 = ''");
shape!(
    of_open,
    "t.state IN (1, 2) AND $1 = '' AND $2 = '' AND $3 = ''"
);
shape!(
    of_roles,
    "t.role_id IN (SELECT value FROM json_each($6)) AND $1 = '' AND $2 = '' AND $3 = ''",
    "t.role_id = ANY($6) AND $1 = '' AND $2 = '' AND $3 = ''"
);
shape!(of_all, "$1 = '' AND $2 = '' AND $3 = ''");

/// The statements that answer a question: how many there are, and those in an order.
pub(crate) fn statements(filter: Filter<'_>, order: Order) -> (Sql, Sql) {
    macro_rules! of {
        ($shape:ident) => {
            (
                $shape::COUNT,
                match order {
                    Order::Created { descending: false } => $shape::CREATED,
                    Order::Created { descending: true } => $shape::CREATED_DESC,
                    Order::Key {
                        descending: false, ..
                    } => $shape::KEY,
                    Order::Key {
                        descending: true, ..
                    } => $shape::KEY_DESC,
                },
            )
        };
    }
    match (filter.file_id, filter.main_task_id, filter.assignee_id) {
        ("", "", "") if filter.open_only => of!(of_open),
        ("", "", "") if filter.roles.is_some() => of!(of_roles),
        ("", "", "") => of!(of_all),
        ("", "", _) => of!(of_assignee),
        ("", ..) => of!(of_main),
        _ => of!(of_file),
    }
}

/// A page of tasks, and how many there are; -1 if they are too many to count.
pub(crate) async fn list(
    db: &Db,
    filter: Filter<'_>,
    order: Order,
    window: Window,
) -> Result<(Vec<TaskRow>, i64), StoreError> {
    let (count, page) = statements(filter, order);
    let bound = |sql: Sql, limit: i64| {
        let query = db.query(sql).bind(filter.main_task_id).bind(filter.file_id);
        let query = query
            .bind(filter.assignee_id)
            .bind(i64::from(filter.open_only));
        query
            .bind(i64::from(filter.roles.is_none()))
            .bind_list(filter.roles.unwrap_or_default())
            .bind(filter.party)
            .bind(limit)
    };
    let total = bound(count, Window::COUNTED + 1).fetch_scalar().await?;
    let mut rows = bound(page, window.limit).bind(window.offset);
    if let Order::Key { key, .. } = order {
        rows = rows.bind(key.code());
    }
    Ok((rows.fetch_all().await?, counted(total)))
}
