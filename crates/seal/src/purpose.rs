//! What secrets of a block are sealed for, and every column that holds some of them.
//!
//! A value can only be sealed for a [`Purpose`], and a purpose can only be declared together with
//! the columns that it stands in, so that a change of keys finds them all.

use publica_store::{Db, Sql, StoreError, Tx};

/// What secrets of a block are sealed for. [`sealed!`](crate::sealed) declares them.
#[derive(Debug)]
pub struct Purpose {
    name: &'static str,
    columns: &'static [Column],
}

/// A column of sealed values.
#[derive(Debug)]
pub struct Column {
    name: &'static str,
    /// Where the first page begins: a value before the first of each key column.
    start: &'static [&'static str],
    page: Sql,
    update: Sql,
}

/// A sealed value and the key of its row.
pub(crate) struct Found {
    pub(crate) key: Vec<String>,
    pub(crate) sealed: Vec<u8>,
}

impl Purpose {
    /// Used by [`sealed!`](crate::sealed).
    #[doc(hidden)]
    pub const fn new(name: &'static str, columns: &'static [Column]) -> Self {
        Self { name, columns }
    }

    /// Its name, which the sealed values are bound to.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The columns that hold values sealed for it.
    pub const fn columns(&self) -> &'static [Column] {
        self.columns
    }
}

impl Column {
    /// Used by [`sealed!`](crate::sealed).
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        start: &'static [&'static str],
        page: Sql,
        update: Sql,
    ) -> Self {
        Self {
            name,
            start,
            page,
            update,
        }
    }

    /// Its table and its own name: `voucher.number_sealed`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its statements, for the test that prepares them on both engines.
    #[doc(hidden)]
    pub const fn statements(&self) -> [(&'static str, Sql); 2] {
        [(self.name, self.page), (self.name, self.update)]
    }

    /// Rows in the order of their keys, after that of the page before. The first page begins behind
    /// the least key of its types, such as the nil UUID, which no row has.
    pub(crate) async fn page(
        &self,
        db: &Db,
        after: Option<&[String]>,
        limit: i64,
    ) -> Result<Vec<Found>, StoreError> {
        let mut query = db.query(self.page);
        match after {
            None => {
                for key in self.start {
                    query = query.bind(*key);
                }
            }
            Some(after) => {
                for key in after {
                    query = query.bind(key.as_str());
                }
            }
        }
        let query = query.bind(limit);
        Ok(match self.start.len() {
            1 => {
                let rows: Vec<(Vec<u8>, String)> = query.fetch_all().await?;
                let found = rows.into_iter().map(|(sealed, a)| Found {
                    key: vec![a],
                    sealed,
                });
                found.collect()
            }
            2 => {
                let rows: Vec<(Vec<u8>, String, String)> = query.fetch_all().await?;
                let found = rows.into_iter().map(|(sealed, a, b)| Found {
                    key: vec![a, b],
                    sealed,
                });
                found.collect()
            }
            _ => {
                let rows: Vec<(Vec<u8>, String, String, String)> = query.fetch_all().await?;
                let found = rows.into_iter().map(|(sealed, a, b, c)| Found {
                    key: vec![a, b, c],
                    sealed,
                });
                found.collect()
            }
        })
    }

    /// Puts a value in the place of the old one, if that still stands there.
    pub(crate) async fn replace(
        &self,
        tx: &mut Tx<'_>,
        row: &Found,
        sealed: &[u8],
    ) -> Result<u64, StoreError> {
        let mut query = tx.query(self.update).bind(sealed).bind(&*row.sealed);
        for key in &row.key {
            query = query.bind(key.as_str());
        }
        query.execute().await
    }
}

/// Declares what secrets of a block are sealed for, each with the columns that hold some and the
/// primary key of their rows, and `SEALED` with all of them. Parts of keys are `uuid`, `text` or
/// `int`. A purpose without columns is for values that leave the block and are not stored: what
/// is sealed for it does not open any more once its key is dropped.
///
/// ```
/// publica_seal::sealed! {
///     /// Numbers of vouchers.
///     NUMBER = "sample.number" [voucher(serial: text).number_sealed],
///     /// Addresses to tell, also of jobs of one kind.
///     CALLBACK = "sample.callback" [
///         batch_callback(batch_id: uuid, phase: int).target,
///         job(job_id: uuid).payload where "kind = 'sample.callback'",
///     ],
/// }
/// assert_eq!(SEALED.len(), 2);
/// assert_eq!(CALLBACK.columns()[1].name(), "job.payload");
/// ```
#[macro_export]
macro_rules! sealed {
    ($(
        $(#[$meta:meta])*
        $name:ident = $purpose:literal [$(
            $table:ident($($key:ident: $kind:ident),+).$column:ident $(where $which:literal)?
        ),* $(,)?]
    ),+ $(,)?) => {
        $(
            $(#[$meta])*
            pub(crate) static $name: $crate::Purpose = $crate::Purpose::new($purpose, &[$(
                $crate::Column::new(
                    concat!(stringify!($table), ".", stringify!($column)),
                    &[$($crate::key_sql!(start $kind)),+],
                    $crate::page_sql!(
                        $table, $column, concat!("" $(, " AND ", $which)?), $($key: $kind),+
                    ),
                    $crate::update_sql!($table, $column, $($key: $kind),+),
                )
            ),*]);
        )+

        /// Everything that is sealed here, for a change of keys.
        pub(crate) static SEALED: &[&$crate::Purpose] = &[$(&$name),+];
        // Where nothing is stored, nobody asks for all.
        const _: fn() = || {
            let _ = SEALED;
        };
    };
}

/// A part of a key as text, in both directions. Kinds differ by engine in how they are written.
#[doc(hidden)]
#[macro_export]
macro_rules! key_sql {
    (start uuid) => {
        "00000000000000000000000000000000"
    };
    (start text) => {
        ""
    };
    (start int) => {
        "-9223372036854775808"
    };
    (sqlite get uuid $key:ident) => {
        concat!("hex(", stringify!($key), ")")
    };
    (postgres get uuid $key:ident) => {
        concat!("CAST(", stringify!($key), " AS TEXT)")
    };
    ($engine:ident get text $key:ident) => {
        stringify!($key)
    };
    ($engine:ident get int $key:ident) => {
        concat!("CAST(", stringify!($key), " AS TEXT)")
    };
    (sqlite put uuid $n:literal) => {
        concat!("unhex($", $n, ")")
    };
    (postgres put uuid $n:literal) => {
        concat!("CAST(CAST($", $n, " AS TEXT) AS UUID)")
    };
    (sqlite put text $n:literal) => {
        concat!("$", $n)
    };
    (postgres put text $n:literal) => {
        concat!("CAST($", $n, " AS TEXT)")
    };
    (sqlite put int $n:literal) => {
        concat!("CAST($", $n, " AS INTEGER)")
    };
    (postgres put int $n:literal) => {
        concat!("CAST(CAST($", $n, " AS TEXT) AS BIGINT)")
    };
}

/// The statement that pages through a column.
#[doc(hidden)]
#[macro_export]
macro_rules! page_sql {
    ($table:ident, $column:ident, $which:expr, $($key:ident: $kind:ident),+) => {
        $crate::page_sql!(@both $table, $column, $which, $($key: $kind),+)
    };
    (@both $table:ident, $column:ident, $which:expr, $($key:ident: $kind:ident),+) => {
        $crate::macro_support::Sql::split(
            $crate::page_sql!(@one sqlite, $table, $column, $which, $($key: $kind),+),
            $crate::page_sql!(@one postgres, $table, $column, $which, $($key: $kind),+),
        )
    };
    (@one $engine:ident, $table:ident, $column:ident, $which:expr, $a:ident: $ak:ident) => {
        concat!(
            "SELECT ", stringify!($column), ", ", $crate::key_sql!($engine get $ak $a),
            " FROM ", stringify!($table),
            " WHERE ", stringify!($a), " > ", $crate::key_sql!($engine put $ak 1),
            " AND ", stringify!($column), " IS NOT NULL", $which,
            " ORDER BY ", stringify!($a), " LIMIT $2",
        )
    };
    (@one $engine:ident, $table:ident, $column:ident, $which:expr,
        $a:ident: $ak:ident, $b:ident: $bk:ident) => {
        concat!(
            "SELECT ", stringify!($column), ", ", $crate::key_sql!($engine get $ak $a), ", ",
            $crate::key_sql!($engine get $bk $b), " FROM ", stringify!($table),
            " WHERE (", stringify!($a), ", ", stringify!($b), ") > (",
            $crate::key_sql!($engine put $ak 1), ", ", $crate::key_sql!($engine put $bk 2), ")",
            " AND ", stringify!($column), " IS NOT NULL", $which,
            " ORDER BY ", stringify!($a), ", ", stringify!($b), " LIMIT $3",
        )
    };
    (@one $engine:ident, $table:ident, $column:ident, $which:expr,
        $a:ident: $ak:ident, $b:ident: $bk:ident, $c:ident: $ck:ident) => {
        concat!(
            "SELECT ", stringify!($column), ", ", $crate::key_sql!($engine get $ak $a), ", ",
            $crate::key_sql!($engine get $bk $b), ", ", $crate::key_sql!($engine get $ck $c),
            " FROM ", stringify!($table),
            " WHERE (", stringify!($a), ", ", stringify!($b), ", ", stringify!($c), ") > (",
            $crate::key_sql!($engine put $ak 1), ", ", $crate::key_sql!($engine put $bk 2), ", ",
            $crate::key_sql!($engine put $ck 3), ")",
            " AND ", stringify!($column), " IS NOT NULL", $which,
            " ORDER BY ", stringify!($a), ", ", stringify!($b), ", ", stringify!($c),
            " LIMIT $4",
        )
    };
}

/// The statement that replaces one value of a column.
#[doc(hidden)]
#[macro_export]
macro_rules! update_sql {
    ($table:ident, $column:ident, $($key:ident: $kind:ident),+) => {
        $crate::macro_support::Sql::split(
            $crate::update_sql!(@one sqlite, $table, $column, $($key: $kind),+),
            $crate::update_sql!(@one postgres, $table, $column, $($key: $kind),+),
        )
    };
    (@one $engine:ident, $table:ident, $column:ident, $a:ident: $ak:ident
        $(, $b:ident: $bk:ident $(, $c:ident: $ck:ident)?)?) => {
        concat!(
            "UPDATE ", stringify!($table), " SET ", stringify!($column), " = $1 WHERE ",
            stringify!($column), " = $2 AND ",
            stringify!($a), " = ", $crate::key_sql!($engine put $ak 3),
            $(" AND ", stringify!($b), " = ", $crate::key_sql!($engine put $bk 4),
            $(" AND ", stringify!($c), " = ", $crate::key_sql!($engine put $ck 5),)?)?
        )
    };
}
