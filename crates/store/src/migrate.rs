//! Bringing a store to the schema that the code knows.
//!
//! Each crate with tables has a set of numbered migrations; a block names the sets it needs,
//! in order. All that were applied are listed in the table `schema_migration`. A store that
//! lists one which the program does not know, or knows with another text, is refused: it
//! belongs to a newer program.

use std::collections::BTreeSet;

use publica_types::Timestamp;
use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::{Engine, StoreError};

/// The migrations of one crate, for both engines.
#[derive(Debug, Clone, Copy)]
pub struct MigrationSet {
    name: &'static str,
    sqlite: &'static Migrator,
    postgres: &'static Migrator,
    append_only: &'static [&'static str],
}

impl MigrationSet {
    /// Used by [`migration_set!`](crate::migration_set).
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        sqlite: &'static Migrator,
        postgres: &'static Migrator,
        append_only: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            sqlite,
            postgres,
            append_only,
        }
    }

    fn migrations(&self, engine: Engine) -> impl Iterator<Item = &'static Migration> {
        let migrator: &'static Migrator = match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        };
        migrator.iter()
    }
}

/// The migrations in `migrations/sqlite` and `migrations/postgres` of the crate at hand.
///
/// `append_only: ["table"]` names tables whose rows the service may add and read but neither
/// change nor delete; on PostgreSQL its role gets no right to.
///
/// A new file is noticed when the crate is compiled anew, so touch its sources after adding one.
#[macro_export]
macro_rules! migration_set {
    ("./migrations" $(, append_only: [$($table:literal),* $(,)?])? $(,)?) => {{
        static SQLITE: $crate::macro_support::sqlx::migrate::Migrator =
            $crate::macro_support::sqlx::migrate!("./migrations/sqlite");
        static POSTGRES: $crate::macro_support::sqlx::migrate::Migrator =
            $crate::macro_support::sqlx::migrate!("./migrations/postgres");
        $crate::MigrationSet::new(
            env!("CARGO_PKG_NAME"),
            &SQLITE,
            &POSTGRES,
            &[$($($table),*)?],
        )
    }};
}

/// All migrations of a block's store.
#[derive(Debug, Clone)]
pub struct Migrations {
    block: &'static str,
    sets: Vec<MigrationSet>,
}

impl Migrations {
    /// A store of `block`, without any table yet.
    pub const fn new(block: &'static str) -> Self {
        Self {
            block,
            sets: Vec::new(),
        }
    }

    /// Adds a shared crate's tables.
    pub fn with(mut self, set: MigrationSet) -> Self {
        self.sets.push(set);
        self
    }

    /// Adds the block's own tables, after those they refer to.
    pub fn block(self, set: MigrationSet) -> Self {
        self.with(set)
    }

    /// The block's name.
    pub const fn block_name(&self) -> &'static str {
        self.block
    }

    /// Compares what the code knows with what the store lists.
    fn pending(
        &self,
        engine: Engine,
        applied: &[Applied],
    ) -> Result<Vec<(MigrationSet, &'static Migration)>, StoreError> {
        let mut unknown: BTreeSet<(&str, i64)> = applied
            .iter()
            .map(|row| (row.set_name.as_str(), row.version))
            .collect();
        let mut pending = Vec::new();
        for set in &self.sets {
            for migration in set.migrations(engine) {
                unknown.remove(&(set.name, migration.version));
                let row = applied
                    .iter()
                    .find(|row| row.set_name == set.name && row.version == migration.version);
                match row {
                    None => pending.push((*set, migration)),
                    Some(row) if row.checksum == *migration.checksum => {}
                    Some(_) => {
                        return Err(StoreError::schema(format!(
                            "{} was applied with another text",
                            title(set, migration)
                        )));
                    }
                }
            }
        }
        match unknown.first() {
            None => Ok(pending),
            Some((set, version)) => Err(StoreError::schema(format!(
                "migration {version} of {set} is unknown to this program; use a newer one"
            ))),
        }
    }

    fn titles(pending: &[(MigrationSet, &'static Migration)]) -> Vec<String> {
        pending
            .iter()
            .map(|(set, migration)| title(set, migration))
            .collect()
    }
}

fn title(set: &MigrationSet, migration: &Migration) -> String {
    format!(
        "{} {:04} {}",
        set.name, migration.version, migration.description
    )
}

/// A migration that the store lists.
#[derive(sqlx::FromRow)]
struct Applied {
    set_name: String,
    version: i64,
    checksum: Vec<u8>,
}

const LIST: &str = "SELECT set_name, version, checksum FROM schema_migration";

const NOTE: &str = "INSERT INTO schema_migration (set_name, version, description, checksum, \
    applied_at) VALUES ($1, $2, $3, $4, $5)";

/// What a new PostgreSQL service may do; see [`grant`].
pub(crate) struct Grants<'a> {
    pub(crate) schema: &'a str,
    pub(crate) role: &'a str,
}

pub(crate) mod sqlite {
    //! Migrating an embedded store.

    use super::*;

    fn failed(error: sqlx::Error) -> StoreError {
        StoreError::from_driver(Engine::Sqlite, error)
    }

    /// The titles of the migrations that the store still lacks.
    pub(crate) async fn pending(
        conn: &mut SqliteConnection,
        migrations: &Migrations,
    ) -> Result<Vec<String>, StoreError> {
        let applied = list(conn).await?;
        migrations
            .pending(Engine::Sqlite, &applied)
            .map(|found| Migrations::titles(&found))
    }

    async fn list(conn: &mut SqliteConnection) -> Result<Vec<Applied>, StoreError> {
        let table = "SELECT name FROM sqlite_schema WHERE name = 'schema_migration'";
        let known: Option<(String,)> = sqlx::query_as(table)
            .fetch_optional(&mut *conn)
            .await
            .map_err(failed)?;
        match known {
            None => Ok(Vec::new()),
            Some(_) => sqlx::query_as(LIST).fetch_all(conn).await.map_err(failed),
        }
    }

    /// Applies what is missing, all of it or nothing.
    pub(crate) async fn run(
        conn: &mut SqliteConnection,
        migrations: &Migrations,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let missing = migrations.pending(Engine::Sqlite, &list(conn).await?)?;
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        conn.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
        let applied = apply(conn, &missing, now).await;
        let ended = if applied.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        conn.execute(ended).await.map_err(failed)?;
        applied.map(|()| Migrations::titles(&missing))
    }

    async fn apply(
        conn: &mut SqliteConnection,
        missing: &[(MigrationSet, &'static Migration)],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let table = "CREATE TABLE IF NOT EXISTS schema_migration (set_name TEXT NOT NULL, \
            version INTEGER NOT NULL, description TEXT NOT NULL, checksum BLOB NOT NULL, \
            applied_at INTEGER NOT NULL, PRIMARY KEY (set_name, version)) STRICT";
        conn.execute(table).await.map_err(failed)?;
        for (set, migration) in missing {
            let text = sqlx::raw_sql(migration.sql.clone());
            text.execute(&mut *conn)
                .await
                .map_err(|error| broken(set, migration, &error))?;
            let note = sqlx::query(NOTE)
                .bind(set.name)
                .bind(migration.version)
                .bind(&*migration.description)
                .bind(&*migration.checksum)
                .bind(now);
            note.execute(&mut *conn).await.map_err(failed)?;
        }
        Ok(())
    }
}

pub(crate) mod postgres {
    //! Migrating a schema on a server.

    use super::*;

    fn failed(error: sqlx::Error) -> StoreError {
        StoreError::from_driver(Engine::Postgres, error)
    }

    /// The titles of the migrations that the store still lacks.
    pub(crate) async fn pending(
        conn: &mut PgConnection,
        migrations: &Migrations,
    ) -> Result<Vec<String>, StoreError> {
        let applied = list(conn).await?;
        migrations
            .pending(Engine::Postgres, &applied)
            .map(|found| Migrations::titles(&found))
    }

    async fn list(conn: &mut PgConnection) -> Result<Vec<Applied>, StoreError> {
        let table = "SELECT to_regclass('schema_migration') IS NOT NULL";
        let (known,): (bool,) = sqlx::query_as(table)
            .fetch_one(&mut *conn)
            .await
            .map_err(failed)?;
        if !known {
            return Ok(Vec::new());
        }
        sqlx::query_as(LIST).fetch_all(conn).await.map_err(failed)
    }

    /// Applies what is missing, all of it or nothing.
    pub(crate) async fn run(
        conn: &mut PgConnection,
        migrations: &Migrations,
        grants: &Grants<'_>,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        conn.execute("BEGIN").await.map_err(failed)?;
        let applied = apply(conn, migrations, grants, now).await;
        let ended = if applied.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        conn.execute(ended).await.map_err(failed)?;
        applied
    }

    async fn apply(
        conn: &mut PgConnection,
        migrations: &Migrations,
        grants: &Grants<'_>,
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        // One migration at a time: the lock ends with the transaction, even if this process
        // does not.
        let lock = "SELECT pg_advisory_xact_lock(hashtext($1))";
        sqlx::query(lock)
            .bind(grants.schema)
            .execute(&mut *conn)
            .await
            .map_err(failed)?;
        execute(
            conn,
            format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", grants.schema),
        )
        .await?;
        let table = "CREATE TABLE IF NOT EXISTS schema_migration (\
            set_name TEXT COLLATE \"C\" NOT NULL, version BIGINT NOT NULL, \
            description TEXT NOT NULL, checksum BYTEA NOT NULL, \
            applied_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (set_name, version))";
        conn.execute(table).await.map_err(failed)?;
        let missing = migrations.pending(Engine::Postgres, &list(conn).await?)?;
        for (set, migration) in &missing {
            let text = sqlx::raw_sql(migration.sql.clone());
            text.execute(&mut *conn)
                .await
                .map_err(|error| broken(set, migration, &error))?;
            let note = sqlx::query(NOTE)
                .bind(set.name)
                .bind(migration.version)
                .bind(&*migration.description)
                .bind(&*migration.checksum)
                .bind(now);
            note.execute(&mut *conn).await.map_err(failed)?;
        }
        grant(conn, migrations, grants).await?;
        Ok(Migrations::titles(&missing))
    }

    /// Lets the service's role use what the owner made, but not rewrite what is append-only.
    async fn grant(
        conn: &mut PgConnection,
        migrations: &Migrations,
        grants: &Grants<'_>,
    ) -> Result<(), StoreError> {
        let owner: (String,) = sqlx::query_as("SELECT current_user::TEXT")
            .fetch_one(&mut *conn)
            .await
            .map_err(failed)?;
        if owner.0 == grants.role {
            return Ok(());
        }
        let (schema, role) = (grants.schema, grants.role.replace('"', "\"\""));
        let rights = [
            format!("GRANT USAGE ON SCHEMA \"{schema}\" TO \"{role}\""),
            format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{schema}\" \
                 TO \"{role}\""
            ),
            format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA \"{schema}\" TO \"{role}\""),
            format!("REVOKE INSERT, UPDATE, DELETE ON schema_migration FROM \"{role}\""),
        ];
        for right in rights {
            execute(conn, right).await?;
        }
        for table in migrations.sets.iter().flat_map(|set| set.append_only) {
            execute(
                conn,
                format!("REVOKE UPDATE, DELETE ON \"{table}\" FROM \"{role}\""),
            )
            .await?;
        }
        Ok(())
    }

    /// Refuses a role that may rewrite what is append-only, or become one that may.
    pub(crate) async fn guarded(
        conn: &mut PgConnection,
        migrations: &Migrations,
    ) -> Result<(), StoreError> {
        let may = "SELECT current_user::TEXT, COALESCE(\
            has_table_privilege(current_user, c.oid, 'UPDATE, DELETE, TRUNCATE') \
            OR pg_has_role(current_user, c.relowner, 'MEMBER'), false) \
            FROM pg_class c WHERE c.oid = to_regclass($1)";
        for table in migrations.sets.iter().flat_map(|set| set.append_only) {
            let found: Option<(String, bool)> = sqlx::query_as(may)
                .bind(*table)
                .fetch_optional(&mut *conn)
                .await
                .map_err(failed)?;
            if let Some((role, true)) = found {
                return Err(StoreError::config(format!(
                    "the role {role} may change or delete rows of {table}, which are only ever \
                     added: give the service a role of its own in database.url, name the owner \
                     in database.migrate_url, and run `publica migrate`, which grants that role \
                     what it needs"
                )));
            }
        }
        Ok(())
    }

    async fn execute(conn: &mut PgConnection, text: String) -> Result<(), StoreError> {
        // Built from the block's own name, the tenant's checked name and a quoted role.
        conn.execute(AssertSqlSafe(text))
            .await
            .map(drop)
            .map_err(failed)
    }
}

fn broken(set: &MigrationSet, migration: &Migration, error: &sqlx::Error) -> StoreError {
    StoreError::schema(format!("{} failed: {error}", title(set, migration)))
}
