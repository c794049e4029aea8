//! Statements on both engines, and what they may do.

use publica_store::{Engine, Sql};
use publica_testkit::{both_engines, prepare_all};

use super::{chunk, inbound, operation, report, request, sms, suppression, template};

fn all() -> Vec<(&'static str, Sql)> {
    [
        chunk::ALL,
        inbound::ALL,
        operation::ALL,
        report::ALL,
        request::ALL,
        sms::ALL,
        suppression::ALL,
        template::ALL,
    ]
    .concat()
}

both_engines! {
    async fn every_statement_is_sound(db: publica_testkit::TestDatabase) {
        let db = db.db(crate::migrations()).await;
        prepare_all(&db, &all()).await;
        for column in crate::sealed::SEALED.iter().flat_map(|purpose| purpose.columns()) {
            prepare_all(&db, &column.statements()).await;
        }
    }
}

/// GovStack 5.1.1: nothing is updated, and rows are deleted where keys are destroyed and
/// nowhere else.
#[test]
fn tables_are_only_added_to() {
    for (name, sql) in all() {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            let text = sql.text(engine);
            let allowed = text.starts_with("SELECT")
                || text.starts_with("INSERT INTO")
                || text.starts_with("DELETE FROM content_key");
            assert!(allowed && !text.contains("DO UPDATE"), "{name}: {text}");
        }
    }
}
