//! Every statement is one that both engines take, and lists are read by an index.

use publica_store::{Db, Engine, Sql, StoreError};
use publica_testkit::{both_engines, prepare_all};

use crate::store::STATEMENTS;
use crate::store::file_list::{of_all, of_applicant, of_service};
use crate::store::task_list::{of_assignee, of_file, of_main, of_open, of_roles};

publica_store::statements! {
    // On a few rows PostgreSQL prefers to read them all, whatever index there is.
    NO_SCANS = {
        sqlite: "SELECT COUNT(*) FROM application_file",
        postgres: "SELECT CAST(LENGTH(set_config('enable_seqscan', 'off', true)) AS BIGINT)"
    },
}

/// How the engine would read a list, one line a step.
async fn plan(db: &Db, sql: Sql, values: Values, counted: bool) -> Vec<String> {
    let input = (sql, values, counted, db.engine());
    db.read(
        "registration.explain",
        input,
        |tx, (sql, values, counted, engine)| {
            Box::pin(async move {
                let _: i64 = tx.query(NO_SCANS).fetch_scalar().await?;
                let engine = *engine;
                let explain = match engine {
                    Engine::Sqlite => "EXPLAIN QUERY PLAN ",
                    Engine::Postgres => "EXPLAIN ",
                };
                let text: &'static str = format!("{explain}{}", sql.text(engine)).leak();
                let query = values.bind(tx.query(Sql::shared(text)), *counted);
                Ok::<_, StoreError>(match engine {
                    Engine::Sqlite => {
                        let rows: Vec<(i64, i64, i64, String)> = query.fetch_all().await?;
                        rows.into_iter().map(|row| row.3).collect()
                    }
                    Engine::Postgres => query.fetch_scalars().await?,
                })
            })
        },
    )
    .await
    .unwrap()
}

/// What a list is asked with; the engine sees that only one kind of question fits.
#[derive(Debug, Clone, Copy)]
enum Values {
    /// Service and applicant.
    Files(&'static str, &'static str),
    /// Main task, file, assignee.
    Tasks(&'static str, &'static str, &'static str),
}

impl Values {
    fn bind(self, query: publica_store::Query<'_>, counted: bool) -> publica_store::Query<'_> {
        let bound = match self {
            Self::Files(service, applicant) => {
                let query = query.bind(service).bind(applicant).bind(0_i64).bind(0_i64);
                query.bind("p").bind_list(&["clerk"])
            }
            Self::Tasks(main, file, assignee) => {
                let query = query.bind(main).bind(file).bind(assignee).bind(0_i64);
                query.bind(0_i64).bind_list(&["clerk"]).bind("o")
            }
        };
        let bound = bound.bind(50_i64);
        if counted { bound } else { bound.bind(0_i64) }
    }
}

both_engines! {
    async fn statements_are_understood(database: TestDatabase) {
        let db = database.db(crate::migrations()).await;
        for statements in STATEMENTS {
            prepare_all(&db, statements).await;
        }
    }

    async fn lists_are_read_by_an_index(database: TestDatabase) {
        let db = database.db(crate::migrations()).await;
        let (applicant, service) = (Values::Files("", "p"), Values::Files("s", ""));
        let (files, tasks) = (Values::Files("", ""), Values::Tasks("", "", ""));
        let (file, main) = (Values::Tasks("", "f", ""), Values::Tasks("m", "", ""));
        let assignee = Values::Tasks("", "", "o");
        for (name, sql, values, index) in [
            ("applicant", of_applicant::NEWEST, applicant, "application_file_applicant"),
            ("counted, applicant", of_applicant::COUNT, applicant, "application_file_applicant"),
            ("service", of_service::NEWEST, service, "application_file_service"),
            ("counted, service", of_service::COUNT, service, "application_file_service"),
            ("all", of_all::NEWEST, files, "application_file_time"),
            ("all, created", of_all::CREATED, files, "application_file_created"),
            ("all, created last", of_all::CREATED_DESC, files, "application_file_created"),
            ("tasks of a file", of_file::CREATED_DESC, file, "task_file"),
            ("tasks of a main task", of_main::CREATED_DESC, main, "task_main"),
            ("tasks of somebody", of_assignee::CREATED_DESC, assignee, "task_assignee"),
            ("counted, tasks", of_assignee::COUNT, assignee, "task_assignee"),
            ("open tasks", of_open::CREATED_DESC, tasks, "task_"),
            ("tasks of roles", of_roles::CREATED_DESC, tasks, "task_"),
        ] {
            let plan = plan(&db, sql, values, name.starts_with("counted")).await;
            let text = plan.join("\n");
            assert!(text.contains(index), "{name}:\n{text}");
            let scans = ["Seq Scan", "SCAN application_file", "SCAN f\n", "SCAN task", "SCAN t\n"];
            for scan in scans {
                assert!(!format!("{text}\n").contains(scan), "{name}:\n{text}");
            }
        }
    }
}
