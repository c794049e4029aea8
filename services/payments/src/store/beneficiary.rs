//! The account mapper.

use publica_store::{StoreError, Tx, statements};
use publica_types::Timestamp;

use crate::store::Ask;
use crate::store::columns::bind_columns;

statements! {
    INSERT = {
        sqlite: "INSERT INTO beneficiary (source_no, payee, modality, institution, active, \
            version, functional_id, address, updated_at, registered_by) SELECT $1, \
            unhex(value ->> 0), value ->> 1, value ->> 2, 1, 1, unhex(value ->> 3), \
            unhex(value ->> 4), $2, $3 FROM json_each($4) WHERE true ON CONFLICT DO NOTHING",
        postgres: "INSERT INTO beneficiary (source_no, payee, modality, institution, active, \
            version, functional_id, address, updated_at, registered_by) SELECT $1, a, b, c, \
            true, 1, d, e, $2, $3 \
            FROM UNNEST($4::bytea[], $5::text[], $6::text[], $7::bytea[], $8::bytea[]) \
            AS v (a, b, c, d, e) ON CONFLICT DO NOTHING",
    },
    FIND = "SELECT payee, modality, institution, active, version, functional_id, address, \
        updated_at FROM beneficiary WHERE source_no = $1 AND payee = $2",
    // Lists: an array on PostgreSQL, JSON on SQLite.
    FIND_MANY = {
        sqlite: "SELECT payee, modality, institution, active, version, functional_id, address, \
            updated_at FROM beneficiary WHERE source_no = $1 \
            AND payee IN (SELECT unhex(value) FROM json_each($2))",
        postgres: "SELECT payee, modality, institution, active, version, functional_id, address, \
            updated_at FROM beneficiary WHERE source_no = $1 \
            AND payee = ANY($2::bytea[])",
    },
    ROUTES = {
        sqlite: "SELECT payee, modality, institution, active, version, registered_by \
            FROM beneficiary WHERE source_no = $1 \
            AND payee IN (SELECT unhex(value) FROM json_each($2))",
        postgres: "SELECT payee, modality, institution, active, version, registered_by \
            FROM beneficiary WHERE source_no = $1 AND payee = ANY($2::bytea[])",
    },
    HISTORY = {
        sqlite: "SELECT payee, version, address FROM beneficiary_history WHERE source_no = $1 \
            AND payee IN (SELECT unhex(value) FROM json_each($2))",
        postgres: "SELECT payee, version, address FROM beneficiary_history \
            WHERE source_no = $1 AND payee = ANY($2::bytea[])",
    },
    KEEP_HISTORY = "INSERT INTO beneficiary_history (source_no, payee, version, modality, \
        institution, active, address, updated_at) SELECT source_no, payee, version, modality, \
        institution, active, address, updated_at FROM beneficiary \
        WHERE source_no = $1 AND payee = $2",
    UPDATE = "UPDATE beneficiary SET modality = $3, institution = $4, active = $5, \
        address = $6, version = version + 1, updated_at = $7 \
        WHERE source_no = $1 AND payee = $2",
    DEACTIVATE = "UPDATE beneficiary SET active = $3, version = version + 1, updated_at = $4 \
        WHERE source_no = $1 AND payee = $2",
}

/// A mapping as stored; id and address are sealed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BeneficiaryRow {
    pub(crate) payee: Vec<u8>,
    pub(crate) modality: String,
    pub(crate) institution: String,
    pub(crate) active: bool,
    pub(crate) version: i64,
    pub(crate) functional_id: Vec<u8>,
    pub(crate) address: Vec<u8>,
    pub(crate) updated_at: Timestamp,
}

/// What intake needs of a mapping.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct RouteRow {
    pub(crate) payee: Vec<u8>,
    pub(crate) modality: String,
    pub(crate) institution: String,
    pub(crate) active: bool,
    pub(crate) version: i64,
    pub(crate) registered_by: String,
}

/// Where a payee was paid before.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct EarlierRow {
    pub(crate) payee: Vec<u8>,
    pub(crate) version: i64,
    pub(crate) address: Vec<u8>,
}

/// A mapping to store.
#[derive(Debug, Clone)]
pub(crate) struct NewBeneficiary {
    pub(crate) payee: Vec<u8>,
    pub(crate) modality: &'static str,
    pub(crate) institution: String,
    pub(crate) functional_id: Vec<u8>,
    pub(crate) address: Vec<u8>,
}

/// Stores mappings that are new and tells how many were. Sorted by key, because neighbouring
/// keys share pages.
pub(crate) async fn insert(
    tx: &mut Tx<'_>,
    source_no: i64,
    registered_by: &str,
    rows: &[NewBeneficiary],
) -> Result<u64, StoreError> {
    let (now, engine) = (tx.now(), tx.engine());
    let payees: Vec<Vec<u8>> = rows.iter().map(|row| row.payee.clone()).collect();
    let modalities: Vec<&str> = rows.iter().map(|row| row.modality).collect();
    let institutions: Vec<&str> = rows.iter().map(|row| row.institution.as_str()).collect();
    let ids: Vec<Vec<u8>> = rows.iter().map(|row| row.functional_id.clone()).collect();
    let addresses: Vec<Vec<u8>> = rows.iter().map(|row| row.address.clone()).collect();
    let query = tx
        .query(INSERT)
        .bind(source_no)
        .bind(now)
        .bind(registered_by);
    bind_columns!(
        engine,
        query,
        &payees,
        &modalities,
        &institutions,
        &ids,
        &addresses
    )
    .execute()
    .await
}

pub(crate) async fn find(
    ask: &mut impl Ask,
    source_no: i64,
    payee: &[u8],
) -> Result<Option<BeneficiaryRow>, StoreError> {
    ask.ask(FIND)
        .bind(source_no)
        .bind(payee)
        .fetch_optional()
        .await
}

pub(crate) async fn find_many(
    ask: &mut impl Ask,
    source_no: i64,
    payees: &[Vec<u8>],
) -> Result<Vec<BeneficiaryRow>, StoreError> {
    ask.ask(FIND_MANY)
        .bind(source_no)
        .bind_list(payees)
        .fetch_all()
        .await
}

pub(crate) async fn routes(
    ask: &mut impl Ask,
    source_no: i64,
    payees: &[Vec<u8>],
) -> Result<Vec<RouteRow>, StoreError> {
    ask.ask(ROUTES)
        .bind(source_no)
        .bind_list(payees)
        .fetch_all()
        .await
}

/// Earlier mappings of payees, in no order.
pub(crate) async fn history(
    ask: &mut impl Ask,
    source_no: i64,
    payees: &[Vec<u8>],
) -> Result<Vec<EarlierRow>, StoreError> {
    ask.ask(HISTORY)
        .bind(source_no)
        .bind_list(payees)
        .fetch_all()
        .await
}

/// Replaces a mapping and keeps the earlier one.
pub(crate) async fn update(
    tx: &mut Tx<'_>,
    source_no: i64,
    row: &NewBeneficiary,
    active: bool,
) -> Result<(), StoreError> {
    let now = tx.now();
    keep_history(tx, source_no, &row.payee).await?;
    let query = tx
        .query(UPDATE)
        .bind(source_no)
        .bind(row.payee.as_slice())
        .bind(row.modality);
    let query = query
        .bind(row.institution.as_str())
        .bind(active)
        .bind(row.address.as_slice());
    query.bind(now).execute().await.map(drop)
}

async fn keep_history(tx: &mut Tx<'_>, source_no: i64, payee: &[u8]) -> Result<(), StoreError> {
    let query = tx.query(KEEP_HISTORY).bind(source_no).bind(payee);
    query.execute().await.map(drop)
}

/// Takes a mapping out of use.
pub(crate) async fn deactivate(
    tx: &mut Tx<'_>,
    source_no: i64,
    payee: &[u8],
) -> Result<(), StoreError> {
    let now = tx.now();
    keep_history(tx, source_no, payee).await?;
    let query = tx.query(DEACTIVATE).bind(source_no).bind(payee).bind(false);
    query.bind(now).execute().await.map(drop)
}
