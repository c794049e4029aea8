//! Reading the register, which needs the person's consent at each read, field by field.

use publica_journal::{Entry, Outcome};
use publica_proto::registration::v1 as pb;
use publica_rpc::Invalid;
use serde_json::{Map, Value, json};

use crate::app::{App, Who, subject};
use crate::error::Error;
use crate::store::register;

pub(crate) const FIELD: &str = "registration.register";
const MAX_FIELDS: usize = 100;

impl App {
    pub(crate) async fn read_entry(
        &self,
        who: &Who,
        request: pb::ReadEntryRequest,
    ) -> Result<pb::ReadEntryResponse, Error> {
        let mut invalid = Invalid::new();
        for (field, value) in [
            ("register", &request.register),
            ("person_id", &request.person_id),
            ("data_agreement_id", &request.data_agreement_id),
        ] {
            invalid.require(field, value);
        }
        if request.fields.is_empty() || request.fields.len() > MAX_FIELDS {
            invalid.push("fields", format!("must be 1 to {MAX_FIELDS}"));
        }
        invalid.check()?;
        let db = self.db(&who.origin).await?;
        let wanted = &request.fields;
        let allowed = self
            .require_consent(who, &request.person_id, &request.data_agreement_id, wanted)
            .await;
        let entry = |fields: &[String], withheld: &[String]| {
            Entry::new("registration.register.read")
                .subject("person", &request.person_id)
                .body(json!({
                    "register": request.register,
                    "data_agreement_id": request.data_agreement_id,
                    "fields": fields,
                    "withheld": withheld,
                }))
        };
        let permit = match allowed {
            Ok(permit) => permit,
            Err(refusal) => {
                let denied = entry(&[], wanted).outcome(Outcome::Denied);
                self.journal.record(&who.origin, denied).await?;
                return Err(refusal);
            }
        };
        // Only what is granted by name is given out, whatever else the entry holds.
        let (granted, withheld): (Vec<String>, Vec<String>) = request
            .fields
            .iter()
            .cloned()
            .partition(|field| permit.granted.contains(field));
        let sealed = register::find(&db, &request.register, &request.person_id).await?;
        let sealed = sealed.ok_or(Error::not_found("entry"))?;
        let key = self.keyring.load(&db, &subject(&request.person_id)).await?;
        let plain = key
            .ok_or(Error::Corrupt("a person has no key"))?
            .open(FIELD, &sealed)?;
        let known: Map<String, Value> =
            serde_json::from_slice(&plain).map_err(|_| Error::Corrupt("a register entry"))?;
        let given: Map<String, Value> = known
            .into_iter()
            .filter(|(name, _)| granted.contains(name))
            .collect();
        let read = entry(&granted, &withheld);
        self.journal.record(&who.origin, read).await?;
        Ok(pb::ReadEntryResponse {
            fields_json: Value::Object(given).to_string().into_bytes().into(),
            consent_record_id: permit.consent_record_id,
            withheld_fields: withheld,
        })
    }
}
