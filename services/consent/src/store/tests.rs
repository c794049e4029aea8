//! Every statement is prepared on both engines.

use publica_testkit::{both_engines, prepare_all};

both_engines! {
    async fn statements_are_sound(db: TestDatabase) {
        let db = db.db(crate::migrations()).await;
        for statements in [
            crate::store::ALL,
            crate::store::agreement::ALL,
            crate::store::check::ALL,
            crate::store::delegation::ALL,
            crate::store::individual::ALL,
            crate::store::keys::ALL,
            crate::store::notice::ALL,
            crate::store::policy::ALL,
            crate::store::record::ALL,
            crate::store::record_key::ALL,
            crate::store::revision::ALL,
            crate::store::revocation::ALL,
            crate::store::signature::ALL,
            crate::store::timer::ALL,
            crate::tests::ALL,
            crate::app::tampering::ALL,
        ] {
            prepare_all(&db, statements).await;
        }
        for column in crate::sealed::SEALED.iter().flat_map(|purpose| purpose.columns()) {
            prepare_all(&db, &column.statements()).await;
        }
    }
}
