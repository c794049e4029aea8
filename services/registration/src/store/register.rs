//! The register that approvals write into.

use publica_store::{Db, StoreError, Tx, statements};

statements! {
    PUT = "INSERT INTO register_entry (register, person_id, file_id, update_time, sealed) \
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT (register, person_id) DO UPDATE SET \
           file_id = excluded.file_id, update_time = excluded.update_time, \
           sealed = excluded.sealed",
    FIND = "SELECT sealed FROM register_entry WHERE register = $1 AND person_id = $2",
}

pub(crate) async fn put(
    tx: &mut Tx<'_>,
    register: &str,
    person_id: &str,
    file_id: &str,
    sealed: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    let put = tx
        .query(PUT)
        .bind(register)
        .bind(person_id)
        .bind(file_id)
        .bind(now);
    put.bind(sealed).execute().await.map(drop)
}

pub(crate) async fn find(
    db: &Db,
    register: &str,
    person_id: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(FIND)
        .bind(register)
        .bind(person_id)
        .fetch_scalar_optional()
        .await
}
