//! Every statement, on both engines.

use publica_testkit::{both_engines, prepare_all};

both_engines! {
    async fn statements_are_understood(db: TestDatabase) {
        let db = db.db(crate::migrations()).await;
        for statements in crate::store::STATEMENTS {
            prepare_all(&db, statements).await;
        }
        for column in crate::sealed::SEALED.iter().flat_map(|purpose| purpose.columns()) {
            prepare_all(&db, &column.statements()).await;
        }
    }
}
