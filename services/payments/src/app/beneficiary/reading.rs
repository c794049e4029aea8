//! Reading the account mapper, on record each time.

use std::collections::BTreeMap;

use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, timestamp};
use publica_seal::{Keyring, SealError};
use publica_store::Db;
use publica_types::Origin;
use serde_json::json;

use super::{FIELD_ADDRESS, FIELD_ID};
use crate::app::{App, entry, subject};
use crate::error::Error;
use crate::store::beneficiary as sql;

/// Functional ids in one look-up.
const MOST_LOOKED_UP: usize = 10_000;

impl App {
    pub(crate) async fn get_beneficiary(
        &self,
        origin: &Origin,
        request: pb::GetBeneficiaryRequest,
    ) -> Result<pb::GetBeneficiaryResponse, Error> {
        let source = self.source(origin, &request.source_id).await?;
        let db = self.db(origin).await?;
        let payee = self.payee(&request.functional_id);
        let source_no = source.source_no;
        let row = sql::find(&mut db.clone(), source_no, &payee).await?;
        let row = row.ok_or(Error::not_found("beneficiary"))?;
        let name = subject(source_no, &payee);
        let key = match self.keyring.load(&db, &name).await {
            Ok(Some(key)) => key,
            Ok(None) | Err(SealError::Erased) => return Err(Error::not_found("beneficiary")),
            Err(error) => return Err(error.into()),
        };
        // On record before the answer leaves.
        let entry = entry("payments.beneficiary.read", "payee", name, json!({}));
        self.journal.record(origin, entry).await?;
        Ok(pb::GetBeneficiaryResponse {
            beneficiary: Some(pb::Beneficiary {
                functional_id: key.open_text(FIELD_ID, &row.functional_id)?,
                modality: row.modality,
                institution: row.institution,
                financial_address: key.open_text(FIELD_ADDRESS, &row.address)?,
                active: row.active,
                update_time: Some(timestamp(row.updated_at)),
                in_use: None,
            }),
        })
    }

    pub(crate) async fn look_up_beneficiaries(
        &self,
        origin: &Origin,
        request: pb::LookUpBeneficiariesRequest,
    ) -> Result<pb::LookUpBeneficiariesResponse, Error> {
        let ids = request.functional_ids;
        if ids.is_empty() || ids.len() > MOST_LOOKED_UP {
            let invalid = Invalid::new().add("functional_ids", "must be from 1 to 10000");
            return Err(invalid.into());
        }
        let source = self.source(origin, &request.source_id).await?;
        let source_no = source.source_no;
        let db = self.db(origin).await?;
        let payees: Vec<Vec<u8>> = ids.iter().map(|id| self.payee(id)).collect();
        let rows = sql::find_many(&mut db.clone(), source_no, &payees).await?;
        let mut open = addresses(&self.keyring, &db, source_no, &rows).await?;
        let rows: BTreeMap<&[u8], &sql::BeneficiaryRow> =
            rows.iter().map(|row| (row.payee.as_slice(), row)).collect();
        let mut beneficiaries = Vec::new();
        for (functional_id, payee) in ids.into_iter().zip(&payees) {
            let (Some(row), Some(address)) = (rows.get(payee.as_slice()), open.remove(payee))
            else {
                continue;
            };
            beneficiaries.push(pb::Beneficiary {
                functional_id,
                modality: row.modality.clone(),
                institution: row.institution.clone(),
                financial_address: address,
                active: row.active,
                update_time: Some(timestamp(row.updated_at)),
                in_use: None,
            });
        }
        // On record before the answer leaves.
        let body = json!({"asked": payees.len(), "found": beneficiaries.len()});
        let read = entry(
            "payments.beneficiaries.read",
            "source_block",
            &source.source_id,
            body,
        );
        self.journal.record(origin, read).await?;
        Ok(pb::LookUpBeneficiariesResponse { beneficiaries })
    }
}

/// Opens the addresses of payees of one source block; those that were erased are left out.
pub(crate) async fn addresses(
    keyring: &Keyring,
    db: &Db,
    source_no: i64,
    rows: &[sql::BeneficiaryRow],
) -> Result<BTreeMap<Vec<u8>, String>, Error> {
    let address = |row: &sql::BeneficiaryRow| (FIELD_ADDRESS, row.address.clone());
    open_each(keyring, db, source_no, rows, address).await
}

/// The same for their functional ids.
pub(crate) async fn functional_ids(
    keyring: &Keyring,
    db: &Db,
    source_no: i64,
    rows: &[sql::BeneficiaryRow],
) -> Result<BTreeMap<Vec<u8>, String>, Error> {
    let id = |row: &sql::BeneficiaryRow| (FIELD_ID, row.functional_id.clone());
    open_each(keyring, db, source_no, rows, id).await
}

async fn open_each(
    keyring: &Keyring,
    db: &Db,
    source_no: i64,
    rows: &[sql::BeneficiaryRow],
    sealed: impl Fn(&sql::BeneficiaryRow) -> (&'static str, Vec<u8>),
) -> Result<BTreeMap<Vec<u8>, String>, Error> {
    let names: Vec<String> = rows
        .iter()
        .map(|row| subject(source_no, &row.payee))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let keys = keyring.load_many(db, &names).await?;
    let mut open = BTreeMap::new();
    for (row, name) in rows.iter().zip(names) {
        if let Some(key) = keys.get(name) {
            let (field, sealed) = sealed(row);
            open.insert(row.payee.clone(), key.open_text(field, &sealed)?);
        }
    }
    Ok(open)
}
