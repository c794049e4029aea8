//! Lists of application files. Each kind of question has statements of its own, so that each is
//! answered by walking an index: `$n = '' OR …` over everything would be a scan. Orders by a key
//! sort what the filter leaves.
//!
//! Values: `$1` service, `$2` applicant, `$3` state, `$4` whether every file may be seen, `$5`
//! the caller, `$6` the caller's roles, `$7` limit, `$8` offset, `$9` sort key.

use publica_store::{Db, Sql, StoreError};

use crate::store::file::FileRow;
use crate::store::{Window, counted};

/// What a list is filtered by; empty and zero mean everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) service_id: &'a str,
    pub(crate) applicant_id: &'a str,
    pub(crate) state: i64,
    /// Whose list it is: their own files and those of their roles are in it.
    pub(crate) party: &'a str,
    /// The roles whose files the caller sees; all files, if none are named.
    pub(crate) roles: Option<&'a [String]>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By registration, newest first.
    Newest,
    /// By when the draft was begun, or the file registered where that is not known.
    Created { descending: bool },
    /// By something else.
    Key { key: Key, descending: bool },
}

/// What a list can be ordered by besides time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Id,
    Name,
    NameCaseInsensitive,
    Assignee,
}

impl Key {
    /// The number that stands for the key in statements.
    pub(crate) fn code(self) -> i64 {
        match self {
            Self::Id => 1,
            Self::Name => 2,
            Self::NameCaseInsensitive => 3,
            Self::Assignee => 4,
        }
    }
}

macro_rules! select {
    () => {
        "SELECT f.file_id, f.service_id, f.service_name, f.service_version, f.applicant_id, \
         f.eform_id, f.state, f.position, f.main_task_id, f.create_time, f.register_time, \
         f.process_id, f.version, f.marks, f.rule_trace, f.sealed FROM application_file f WHERE "
    };
}

macro_rules! visible {
    ($roles:literal) => {
        concat!(
            " AND ($3 = 0 OR f.state = $3) AND ($4 = 1 OR f.applicant_id = $5 OR EXISTS \
             (SELECT 1 FROM task t WHERE t.file_id = f.file_id AND t.role_id ",
            $roles,
            "))"
        )
    };
}

macro_rules! key {
    () => {
        " ORDER BY CASE CAST($9 AS BIGINT) WHEN 1 THEN f.file_id WHEN 2 THEN f.service_name \
         WHEN 3 THEN LOWER(f.service_name) ELSE COALESCE((SELECT MAX(t.assignee_id) FROM task t \
         WHERE t.file_id = f.file_id AND t.state IN (1, 2)), '') END"
    };
}

// Lists of values come as JSON on SQLite and as an array on PostgreSQL.
macro_rules! text {
    ($head:expr, $shape:literal, $tail:expr) => {
        Sql::split(
            concat!(
                $head,
                $shape,
                visible!("IN (SELECT value FROM json_each($6))"),
                $tail
            ),
            concat!($head, $shape, visible!("= ANY($6)"), $tail),
        )
    };
}

macro_rules! shape {
    ($name:ident, $shape:literal) => {
        pub(crate) mod $name {
            use publica_store::Sql;

            pub(crate) const COUNT: Sql = text!(
                "SELECT COUNT(*) FROM (SELECT 1 FROM application_file f WHERE ",
                $shape,
                " LIMIT $7) counted"
            );
            pub(crate) const NEWEST: Sql = text!(
                select!(),
                $shape,
                " ORDER BY f.register_time DESC, f.file_id DESC LIMIT $7 OFFSET $8"
            );
            pub(crate) const CREATED: Sql = text!(
                select!(),
                $shape,
                " ORDER BY COALESCE(f.create_time, f.register_time), f.file_id \
                 LIMIT $7 OFFSET $8"
            );
            pub(crate) const CREATED_DESC: Sql = text!(
                select!(),
                $shape,
                " ORDER BY COALESCE(f.create_time, f.register_time) DESC, f.file_id DESC \
                 LIMIT $7 OFFSET $8"
            );
            pub(crate) const KEY: Sql = text!(
                select!(),
                $shape,
                concat!(key!(), ", f.file_id LIMIT $7 OFFSET $8")
            );
            pub(crate) const KEY_DESC: Sql = text!(
                select!(),
                $shape,
                concat!(key!(), " DESC, f.file_id DESC LIMIT $7 OFFSET $8")
            );

            /// Every statement declared here, by name.
            #[cfg(test)]
            pub(crate) const ALL: &[(&str, Sql)] = &[
                ("COUNT", COUNT),
                ("NEWEST", NEWEST),
                ("CREATED", CREATED),
                ("CREATED_DESC", CREATED_DESC),
                ("KEY", KEY),
                ("KEY_DESC", KEY_DESC),
            ];
        }
    };
}

shape!(
    of_applicant,
    "f.applicant_id = $2 AND ($1 = '' OR f.service_id = $1)"
);
shape!(of_service, "f.service_id = $1 AND $2 = ''");
shape!(of_all, "$1 = '' AND $2 = ''");

/// The statements that answer a question: how many there are, and those in an order.
pub(crate) fn statements(filter: Filter<'_>, order: Order) -> (Sql, Sql) {
    macro_rules! of {
        ($shape:ident) => {
            (
                $shape::COUNT,
                match order {
                    Order::Newest => $shape::NEWEST,
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
    match (filter.applicant_id, filter.service_id) {
        ("", "") => of!(of_all),
        ("", _) => of!(of_service),
        _ => of!(of_applicant),
    }
}

/// A page of files, and how many there are; -1 if they are too many to count.
pub(crate) async fn list(
    db: &Db,
    filter: Filter<'_>,
    order: Order,
    window: Window,
) -> Result<(Vec<FileRow>, i64), StoreError> {
    let (count, page) = statements(filter, order);
    let bound = |sql: Sql, limit: i64| {
        let query = db
            .query(sql)
            .bind(filter.service_id)
            .bind(filter.applicant_id);
        let query = query
            .bind(filter.state)
            .bind(i64::from(filter.roles.is_none()));
        query
            .bind(filter.party)
            .bind_list(filter.roles.unwrap_or_default())
            .bind(limit)
    };
    let total = bound(count, Window::COUNTED + 1).fetch_scalar().await?;
    let mut rows = bound(page, window.limit).bind(window.offset);
    if let Order::Key { key, .. } = order {
        rows = rows.bind(key.code());
    }
    Ok((rows.fetch_all().await?, counted(total)))
}
