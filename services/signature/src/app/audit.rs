//! Finished signatures: collecting one, and the record of all.

use publica_journal::Entry;
use publica_proto::signature::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::Db;
use publica_types::Timestamp;

use crate::app::authority::Authorities;
use crate::app::certificate::cursor;
use crate::app::{App, MAX_PAGE, PAGE, Who, subject};
use crate::domain::cms::read::SignedData;
use crate::domain::der::{self, Reader};
use crate::domain::oid;
use crate::error::Error;
use crate::store::signature::{self, SignatureRow};

pub(crate) const VALUE: &str = "signature.value";
pub(crate) const DISPLAY: &str = "signature.display";

/// A certificate and a signature value as they are sealed together.
pub(crate) fn value_bytes(certificate: &[u8], value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::octets(certificate), &der::octets(value)])
}

fn read_value(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let mut pair = Reader::within(bytes, der::SEQUENCE)?;
    let certificate = pair.expect(der::OCTET_STRING)?.content.to_vec();
    Ok((
        certificate,
        pair.expect(der::OCTET_STRING)?.content.to_vec(),
    ))
}

/// The message of a signature; `value` is its certificate and its value, where they may be seen.
pub(crate) fn signature_message(
    row: &SignatureRow,
    authorities: &Authorities,
    value: Option<(&[u8], &[u8])>,
) -> pb::Signature {
    let mut message = pb::Signature {
        signature_id: row.signature_id.clone(),
        format: i32::try_from(row.format).unwrap_or_default(),
        hash_type: i32::try_from(row.hash_type).unwrap_or_default(),
        hash: row.hash.clone().into(),
        sign_time: Some(publica_rpc::timestamp(row.sign_time)),
        ..pb::Signature::default()
    };
    if let Some((certificate, value)) = value {
        message.certificate = certificate.to_vec().into();
        message.chain = authorities.chain();
        message.value = value.to_vec().into();
        let token = SignedData::read(value)
            .ok()
            .and_then(|data| {
                data.signer
                    .unsigned(oid::SIGNATURE_TIME_STAMP)
                    .first()
                    .copied()
            })
            .unwrap_or_default();
        message.timestamp_token = token.to_vec().into();
    }
    message
}

impl App {
    /// A signature with what was sealed; without it, once its signer was erased.
    pub(crate) async fn opened(
        &self,
        db: &Db,
        row: &SignatureRow,
        authorities: &Authorities,
    ) -> Result<pb::Signature, Error> {
        let key = match &row.sealed_value {
            Some(sealed) => match self.keyring.load(db, &subject(&row.owner)).await {
                Ok(Some(key)) => Some(key.open(VALUE, sealed)?),
                Ok(None) | Err(publica_seal::SealError::Erased) => None,
                Err(error) => return Err(error.into()),
            },
            None => None,
        };
        let value = key.map(|bytes| read_value(&bytes)).transpose()?;
        let value = value
            .as_ref()
            .map(|(certificate, value)| (&**certificate, &**value));
        Ok(signature_message(row, authorities, value))
    }

    pub(crate) async fn get_signature(
        &self,
        who: &Who,
        request: pb::GetSignatureRequest,
    ) -> Result<pb::GetSignatureResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = signature::find(&db, &request.signature_id).await?;
        let row = row.filter(|row| row.owner == who.party());
        let row = row.ok_or(Error::not_found("signature"))?;
        let authorities = self.authorities(&db).await?;
        let signature = Some(self.opened(&db, &row, &authorities).await?);
        let entry = Entry::new("signature.signature.collected");
        let entry = entry.subject("signature", &row.signature_id);
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::GetSignatureResponse { signature })
    }

    pub(crate) async fn list_signatures(
        &self,
        who: &Who,
        request: pb::ListSignaturesRequest,
    ) -> Result<pb::ListSignaturesResponse, Error> {
        let limit = page_size(request.page_size, PAGE, MAX_PAGE)?;
        let time = |name: &str, value: Option<&prost_types::Timestamp>, default| match value {
            Some(value) => publica_rpc::from_timestamp(name, value),
            None => Ok(default),
        };
        let start = time("start_time", request.start_time.as_ref(), Timestamp::EPOCH)?;
        // Far enough, and within what both engines store.
        let last = Timestamp::from_date(9_999, 1, 1).unwrap_or(Timestamp::EPOCH);
        let end = time("end_time", request.end_time.as_ref(), last)?;
        if start > end {
            return Err(Invalid::new()
                .add("start_time", "must not be after end_time")
                .into());
        }
        let arguments = (who.party(), start.micros(), end.micros());
        let after = PageToken::decode(&arguments, &request.page_token)?;
        let db = self.db(&who.origin).await?;
        let owner = (!who.audits()).then(|| who.party());
        let mut rows = signature::list(&db, owner, (start, end), &cursor(after), limit + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_page_token = match rows.last().filter(|_| more) {
            Some(last) => {
                let place = (last.sign_time.micros(), &last.signature_id);
                PageToken::encode(&arguments, &place)
            }
            None => String::new(),
        };
        let authorities = self.authorities(&db).await?;
        let mut signatures = Vec::with_capacity(rows.len());
        for row in &rows {
            signatures.push(if row.owner == who.party() {
                self.opened(&db, row, &authorities).await?
            } else {
                signature_message(row, &authorities, None)
            });
        }
        let entry = Entry::new("signature.log.read");
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::ListSignaturesResponse {
            signatures,
            next_page_token,
        })
    }
}
