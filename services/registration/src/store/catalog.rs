//! Services, their versions and their forms.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;
use publica_store::{Db, Gather, StoreError, Tx, statements};
use publica_types::Timestamp;

statements! {
    FIND = "SELECT service_id, name, version, kind, description, is_executable, is_closed, \
            properties, definition_hash FROM service WHERE service_id = $1",
    // Services of a list of ids.
    FIND_ALL = {
        sqlite: "SELECT service_id, name, version, kind, description, is_executable, is_closed, \
                 properties, definition_hash FROM json_each($1) k \
                 CROSS JOIN service ON service_id = k.value",
        postgres: "SELECT service_id, name, version, kind, description, is_executable, is_closed, \
                   properties, definition_hash FROM service \
                   WHERE service_id = ANY(ARRAY(SELECT jsonb_array_elements_text( \
                   CAST(CAST($1 AS TEXT) AS JSONB))))",
    },
    LIST = "SELECT service_id, name, version, kind, description, is_executable, is_closed, \
            properties, definition_hash FROM service \
            WHERE ($1 = '' OR name = $1) AND (name, service_id) > ($2, $3) \
            ORDER BY name, service_id LIMIT $4",
    UPSERT = "INSERT INTO service (service_id, name, version, kind, description, is_executable, \
              is_closed, properties, definition_hash) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
              ON CONFLICT (service_id) DO UPDATE SET name = excluded.name, \
              version = excluded.version, kind = excluded.kind, \
              description = excluded.description, is_closed = excluded.is_closed, \
              properties = excluded.properties, definition_hash = excluded.definition_hash \
              WHERE service.version = excluded.version - 1",
    SET_OPEN = "UPDATE service SET is_executable = $2 WHERE service_id = $1",
    ADD_VERSION = "INSERT INTO service_version (service_id, version, definition, \
                   definition_hash, create_time) VALUES ($1, $2, $3, $4, $5)",
    DEFINITION = "SELECT definition FROM service_version WHERE service_id = $1 AND version = $2",
    DROP_FORMS = "DELETE FROM eform WHERE service_id = $1",
    ADD_FORM = "INSERT INTO eform (eform_id, service_id, service_version, position, name, \
                description, version, schema) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    FORMS = "SELECT eform_id, name, description, version, schema FROM eform \
             WHERE service_id = $1 ORDER BY position LIMIT 100",
    FORM = "SELECT eform_id, name, description, version, schema FROM eform \
            WHERE eform_id = $1 ORDER BY service_version DESC, service_id LIMIT 1",
    NAMED = "SELECT COUNT(*) FROM service WHERE name = $1",
}

/// A service as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct ServiceRow {
    pub(crate) service_id: String,
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) kind: String,
    pub(crate) description: String,
    pub(crate) is_executable: bool,
    pub(crate) is_closed: bool,
    pub(crate) properties: String,
    pub(crate) definition_hash: Vec<u8>,
}

/// A form as stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct FormRow {
    pub(crate) eform_id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) version: String,
    pub(crate) schema: Vec<u8>,
}

/// Looks services up by their ids, look-ups in flight sharing a statement.
pub(crate) type Services = Gather<String, Option<Arc<ServiceRow>>>;

/// The services of a store.
pub(crate) fn services(db: &Db) -> Services {
    Gather::reads("registration.services", db, |tx, ids| find_all(tx, ids))
}

/// Reads all ids at once, an id that many ask for only once.
fn find_all<'a>(
    tx: &'a mut Tx<'_>,
    ids: &'a [String],
) -> BoxFuture<'a, Result<Vec<Option<Arc<ServiceRow>>>, StoreError>> {
    Box::pin(async move {
        let wanted: BTreeSet<&String> = ids.iter().collect();
        let list = serde_json::json!(wanted).to_string();
        let rows = tx
            .query(FIND_ALL)
            .bind(list)
            .fetch_all::<ServiceRow>()
            .await?;
        let found: HashMap<String, Arc<ServiceRow>> = rows
            .into_iter()
            .map(|row| (row.service_id.clone(), Arc::new(row)))
            .collect();
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    })
}

pub(crate) async fn find_in(
    tx: &mut Tx<'_>,
    service_id: &str,
) -> Result<Option<ServiceRow>, StoreError> {
    tx.query(FIND).bind(service_id).fetch_optional().await
}

/// Services after (name, id) in order, of one name if that is not empty.
pub(crate) async fn list(
    db: &Db,
    name: &str,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<ServiceRow>, StoreError> {
    db.query(LIST)
        .bind(name)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .fetch_all()
        .await
}

/// Stores a service's new current version; false if another one came first.
pub(crate) async fn publish(
    tx: &mut Tx<'_>,
    service: &ServiceRow,
    definition: &[u8],
    forms: &[FormRow],
) -> Result<bool, StoreError> {
    let upsert = tx
        .query(UPSERT)
        .bind(&*service.service_id)
        .bind(&*service.name);
    let upsert = upsert
        .bind(service.version)
        .bind(&*service.kind)
        .bind(&*service.description);
    let upsert = upsert.bind(service.is_executable).bind(service.is_closed);
    let upsert = upsert
        .bind(&*service.properties)
        .bind(&*service.definition_hash);
    if upsert.execute().await? != 1 {
        return Ok(false);
    }
    let now: Timestamp = tx.now();
    let add = tx
        .query(ADD_VERSION)
        .bind(&*service.service_id)
        .bind(service.version);
    add.bind(definition)
        .bind(&*service.definition_hash)
        .bind(now)
        .execute()
        .await?;
    tx.query(DROP_FORMS)
        .bind(&*service.service_id)
        .execute()
        .await?;
    for (position, form) in (0_i64..).zip(forms) {
        let add = tx
            .query(ADD_FORM)
            .bind(&*form.eform_id)
            .bind(&*service.service_id);
        let add = add.bind(service.version).bind(position).bind(&*form.name);
        let add = add
            .bind(&*form.description)
            .bind(&*form.version)
            .bind(&*form.schema);
        add.execute().await?;
    }
    Ok(true)
}

pub(crate) async fn set_open(
    tx: &mut Tx<'_>,
    service_id: &str,
    open: bool,
) -> Result<bool, StoreError> {
    Ok(tx
        .query(SET_OPEN)
        .bind(service_id)
        .bind(open)
        .execute()
        .await?
        == 1)
}

pub(crate) async fn definition(
    db: &Db,
    service_id: &str,
    version: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    db.query(DEFINITION)
        .bind(service_id)
        .bind(version)
        .fetch_scalar_optional()
        .await
}

pub(crate) async fn definition_in(
    tx: &mut Tx<'_>,
    service_id: &str,
    version: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    tx.query(DEFINITION)
        .bind(service_id)
        .bind(version)
        .fetch_scalar_optional()
        .await
}

pub(crate) async fn forms(db: &Db, service_id: &str) -> Result<Vec<FormRow>, StoreError> {
    db.query(FORMS).bind(service_id).fetch_all().await
}

pub(crate) async fn form(db: &Db, eform_id: &str) -> Result<Option<FormRow>, StoreError> {
    db.query(FORM).bind(eform_id).fetch_optional().await
}

/// Whether any service has this name.
pub(crate) async fn is_named(db: &Db, name: &str) -> Result<bool, StoreError> {
    Ok(db.query(NAMED).bind(name).fetch_scalar::<i64>().await? > 0)
}
