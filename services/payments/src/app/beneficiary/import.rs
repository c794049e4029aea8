//! Beneficiaries from another system.

use publica_proto::payments::v1 as pb;
use publica_seal::Keyring;
use publica_store::Tx;

use super::{Candidate, Share, seal};
use crate::app::App;
use crate::app::source::source_no;
use crate::domain::address;
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

impl App {
    /// Reads a beneficiary of an import: modality, institution and address as received.
    pub(crate) fn read_beneficiary(
        &self,
        source_id: &str,
        functional_id: &str,
        parts: [&str; 3],
    ) -> Result<Imported, address::AddressError> {
        if !address::functional_id(functional_id) {
            return Err(address::AddressError::FunctionalId);
        }
        let [modality, institution, financial_address] = parts;
        let mapping = address::mapping(modality, institution, financial_address)?;
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

/// Whether a beneficiary is stored with the route that an import brings.
pub(crate) async fn is_stored(tx: &mut Tx<'_>, new: &Imported) -> Result<bool, Error> {
    let source_no = source_no(&new.source_id);
    let rows = sql::routes(tx, source_no, &[new.candidate.payee.clone()]).await?;
    let mapping = new.candidate.mapping.as_ref();
    Ok(rows.iter().zip(mapping).any(|(row, mapping)| {
        row.modality == mapping.modality.code() && row.institution == mapping.institution
    }))
}
