//! Every statement is one that both engines take.

use publica_testkit::{both_engines, prepare_all};

use crate::store::STATEMENTS;

both_engines! {
    async fn statements_are_understood(database: TestDatabase) {
        let db = database.db(crate::migrations()).await;
        for statements in STATEMENTS {
            prepare_all(&db, statements).await;
        }
        for column in crate::sealed::SEALED.iter().flat_map(|purpose| purpose.columns()) {
            prepare_all(&db, &column.statements()).await;
        }
    }
}
