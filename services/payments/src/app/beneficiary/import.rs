//! Beneficiaries from another system.

use publica_proto::payments::v1 as pb;
use publica_seal::{Keyring, SealError};
use publica_store::Tx;

use super::{Candidate, FIELD_ADDRESS, Share, seal};
use crate::app::source::source_no;
use crate::app::{App, subject};
use crate::domain::address::{self, AddressError};
use crate::error::Error;
use crate::store::beneficiary as sql;
use crate::store::programme::find_source;
use crate::store::request::Key;

/// A beneficiary as an import brings it.
#[derive(Debug, Clone)]
pub(crate) struct Imported {
    source_id: String,
    candidate: Candidate,
}

impl Imported {
    /// By what the journal names it: the source block and the keyed hash of the payee.
    pub(crate) fn leaf(&self) -> String {
        format!("{}/{}", self.source_id, hex::encode(&self.candidate.payee))
    }
}

impl App {
    /// Reads a beneficiary of an import: modality, institution and address as received.
    pub(crate) fn read_beneficiary(
        &self,
        source_id: &str,
        functional_id: &str,
        parts: [&str; 3],
    ) -> Result<Imported, Vec<AddressError>> {
        let mut wrong = Vec::new();
        if !address::functional_id(functional_id) {
            wrong.push(AddressError::FunctionalId);
        }
        let [modality, institution, financial_address] = parts;
        let mapping = match address::mapping(modality, institution, financial_address) {
            Ok(mapping) if wrong.is_empty() => mapping,
            Ok(_) => return Err(wrong),
            Err(error) => {
                wrong.push(error);
                return Err(wrong);
            }
        };
        let candidate = Candidate {
            functional_id: functional_id.to_owned(),
            payee: self.payee(functional_id),
            given: pb::Beneficiary::default(),
            mapping: Some(mapping),
        };
        Ok(Imported {
            source_id: source_id.to_owned(),
            candidate,
        })
    }
}

/// Marks what came by import, so that it cannot be taken for a source block's own request.
const IMPORTED: &str = "";

/// Stores a beneficiary of an import.
pub(crate) async fn store(tx: &mut Tx<'_>, keyring: &Keyring, new: &Imported) -> Result<(), Error> {
    let source = find_source(tx, &new.source_id).await?;
    let source_no = source.ok_or(Error::SourceUnknown)?.source_no;
    let payee = new.candidate.payee.clone();
    if !sql::routes(tx, source_no, &[payee]).await?.is_empty() {
        return Err(Error::Exists {
            kind: "beneficiary",
        });
    }
    let key = Key {
        source_no,
        operation: "import",
        request: IMPORTED.to_owned(),
    };
    let share = Share {
        keyring: keyring.clone(),
        key,
        candidates: Vec::new(),
    };
    let rows = seal(tx, &share, &[&new.candidate]).await?;
    sql::insert(tx, source_no, IMPORTED, &rows).await?;
    Ok(())
}

/// Whether a beneficiary is stored with the mapping that an import brings.
pub(crate) async fn is_stored(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    new: &Imported,
) -> Result<bool, Error> {
    let source_no = source_no(&new.source_id);
    let payee = &new.candidate.payee;
    let row = sql::find(tx, source_no, payee).await?;
    let Some((row, mapping)) = row.zip(new.candidate.mapping.as_ref()) else {
        return Ok(false);
    };
    let key = match keyring.load_in(tx, &subject(source_no, payee)).await {
        Ok(Some(key)) => key,
        Ok(None) | Err(SealError::Erased) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    Ok(row.modality == mapping.modality.code()
        && row.institution == mapping.institution
        && key.open_text(FIELD_ADDRESS, &row.address)? == mapping.address)
}
