//! Services and their forms.

use std::sync::Arc;

use publica_journal::{Entry, append, write};
use publica_proto::registration::v1 as pb;
use publica_rpc::{PageToken, page_size};
use publica_store::Db;
use serde_json::json;

use crate::app::{App, Who, call, is_findable};
use crate::domain::definition::Definition;
use crate::error::Error;
use crate::store::catalog::{self, FormRow, ServiceRow};

const DEFAULT_PAGE: i32 = 50;
const MAX_PAGE: i32 = 1_000;

pub(crate) fn service_message(row: &ServiceRow) -> pb::Service {
    let properties: Vec<(String, String)> =
        serde_json::from_str(&row.properties).unwrap_or_default();
    pb::Service {
        service_id: row.service_id.clone(),
        name: row.name.clone(),
        version: row.version,
        r#type: row.kind.clone(),
        is_executable: row.is_executable,
        is_closed: row.is_closed,
        description: row.description.clone(),
        properties: properties
            .into_iter()
            .map(|(code, value)| pb::Property { code, value })
            .collect(),
        definition_hash: row.definition_hash.clone().into(),
    }
}

fn form_message(row: FormRow, latest: bool) -> pb::EForm {
    pb::EForm {
        eform_id: row.eform_id,
        name: row.name,
        description: row.description,
        version: row.version,
        latest,
        schema_json: row.schema.into(),
    }
}

impl App {
    pub(crate) async fn list_services(
        &self,
        who: &Who,
        request: pb::ListServicesRequest,
    ) -> Result<pb::ListServicesResponse, Error> {
        let db = self.db(&who.origin).await?;
        let size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        if !is_findable(&request.name) {
            return Ok(pb::ListServicesResponse::default());
        }
        let (name, service_id): (String, String) =
            PageToken::decode(&request.name, &request.page_token)?.unwrap_or_default();
        let mut rows = catalog::list(&db, &request.name, (&name, &service_id), size + 1).await?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows
            .last()
            .filter(|_| more)
            .map(|row| PageToken::encode(&request.name, &(&row.name, &row.service_id)));
        Ok(pb::ListServicesResponse {
            services: rows.iter().map(service_message).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    pub(crate) async fn service(
        &self,
        db: &Db,
        service_id: &str,
    ) -> Result<Arc<ServiceRow>, Error> {
        let row = match is_findable(service_id) {
            true => self.services(db).ask(service_id.to_owned()).await?,
            false => None,
        };
        row.ok_or(Error::not_found("service"))
    }

    pub(crate) async fn get_service(
        &self,
        who: &Who,
        request: pb::GetServiceRequest,
    ) -> Result<pb::GetServiceResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = self.service(&db, &request.service_id).await?;
        Ok(pb::GetServiceResponse {
            service: Some(service_message(&row)),
        })
    }

    pub(crate) async fn list_e_forms(
        &self,
        who: &Who,
        request: pb::ListEFormsRequest,
    ) -> Result<pb::ListEFormsResponse, Error> {
        let db = self.db(&who.origin).await?;
        self.service(&db, &request.service_id).await?;
        let rows = catalog::forms(&db, &request.service_id).await?;
        let eforms = rows
            .into_iter()
            .map(|row| {
                form_message(
                    FormRow {
                        schema: Vec::new(),
                        ..row
                    },
                    true,
                )
            })
            .collect();
        Ok(pb::ListEFormsResponse { eforms })
    }

    pub(crate) async fn get_e_form(
        &self,
        who: &Who,
        request: pb::GetEFormRequest,
    ) -> Result<pb::GetEFormResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = match is_findable(&request.eform_id) {
            true => catalog::form(&db, &request.eform_id).await?,
            false => None,
        };
        let row = row.ok_or(Error::not_found("form"))?;
        Ok(pb::GetEFormResponse {
            eform: Some(form_message(row, true)),
        })
    }

    pub(crate) async fn publish_service(
        &self,
        who: &Who,
        request: pb::PublishServiceRequest,
    ) -> Result<pb::PublishServiceResponse, Error> {
        let definition = Definition::read(&request.definition_json).map_err(Error::Definition)?;
        let db = self.db(&who.origin).await?;
        let call = call(
            "registration.publish_service",
            "/publica.registration.v1.CatalogService/PublishService",
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = Published::new(&definition, &request.definition_json, who);
        write(&db, call, input, |tx, input| {
            Box::pin(async move {
                let row = input.store(tx).await?;
                Ok::<_, Error>(pb::PublishServiceResponse {
                    service: Some(service_message(&row)),
                })
            })
        })
        .await
    }

    pub(crate) async fn set_service_open(
        &self,
        who: &Who,
        request: pb::SetServiceOpenRequest,
    ) -> Result<pb::SetServiceOpenResponse, Error> {
        let db = self.db(&who.origin).await?;
        self.service(&db, &request.service_id).await?;
        let call = call(
            "registration.set_service_open",
            "/publica.registration.v1.CatalogService/SetServiceOpen",
            &who.origin,
            &request.request_id,
            &request,
        );
        let input = (request.service_id.clone(), request.open, who.origin.clone());
        write(&db, call, input, |tx, (service_id, open, origin)| {
            Box::pin(async move {
                if !catalog::set_open(tx, service_id, *open).await? {
                    return Err(Error::not_found("service"));
                }
                let row = catalog::find_in(tx, service_id).await?;
                let row = row.ok_or(Error::not_found("service"))?;
                let action = if *open {
                    "registration.service.opened"
                } else {
                    "registration.service.closed"
                };
                append(
                    tx,
                    origin,
                    Entry::new(action).subject("service", service_id),
                );
                Ok(pb::SetServiceOpenResponse {
                    service: Some(service_message(&row)),
                })
            })
        })
        .await
    }
}

/// A sound definition on its way into the store.
pub(crate) struct Published {
    row: ServiceRow,
    definition: Vec<u8>,
    forms: Vec<FormRow>,
    origin: publica_types::Origin,
}

impl Published {
    pub(crate) fn new(definition: &Definition, bytes: &[u8], who: &Who) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let properties: Vec<(&str, &str)> = definition
            .properties
            .iter()
            .map(|property| (property.code.as_str(), property.value.as_str()))
            .collect();
        let forms = definition
            .forms
            .iter()
            .map(|form| FormRow {
                eform_id: form.eform_id.clone(),
                name: form.name.clone(),
                description: form.description.clone(),
                version: form.version.clone(),
                schema: form.schema().to_string().into_bytes(),
            })
            .collect();
        Self {
            row: ServiceRow {
                service_id: definition.service_id.clone(),
                name: definition.name.clone(),
                version: 1,
                kind: definition.kind.clone(),
                description: definition.description.clone(),
                is_executable: true,
                is_closed: definition.is_closed,
                properties: json!(properties).to_string(),
                definition_hash: hash.as_ref().to_vec(),
            },
            definition: bytes.to_vec(),
            forms,
            origin: who.origin.clone(),
        }
    }

    /// Stores it as the next version; what is current already is left as it is.
    pub(crate) async fn store(&self, tx: &mut publica_store::Tx<'_>) -> Result<ServiceRow, Error> {
        let (row, fresh) = self.put(tx).await?;
        if fresh {
            let entry = Entry::new("registration.service.published")
                .subject("service", &row.service_id)
                .body(json!({
                    "version": row.version,
                    "definition_hash": hex::encode(&row.definition_hash),
                }));
            append(tx, &self.origin, entry);
        }
        Ok(row)
    }

    /// The same without an entry in the journal; tells whether the version is new.
    pub(crate) async fn put(
        &self,
        tx: &mut publica_store::Tx<'_>,
    ) -> Result<(ServiceRow, bool), Error> {
        let mut row = self.row.clone();
        if let Some(current) = catalog::find_in(tx, &row.service_id).await? {
            if current.definition_hash == row.definition_hash {
                return Ok((current, false));
            }
            row.version = current.version + 1;
            row.is_executable = current.is_executable;
        }
        if !catalog::publish(tx, &row, &self.definition, &self.forms).await? {
            return Err(Error::PublishedMeanwhile);
        }
        Ok((row, true))
    }
}
