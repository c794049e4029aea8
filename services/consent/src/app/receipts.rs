//! Receipts of records, signed by the service.

use publica_jose::{Protected, sign_jws};
use publica_proto::consent::v1 as pb;

use super::policies::check_id;
use super::records::READ;
use super::shown::{key_of, present};
use super::texts::text;
use super::{App, Who, revisions};
use crate::domain::receipt::{self, Source};
use crate::domain::snapshot::canonical;
use crate::domain::violations::Violations;
use crate::error::{Error, Why};

/// The media type of a format that is JSON.
fn media_type(format: pb::ReceiptFormat) -> &'static str {
    match format {
        pb::ReceiptFormat::Fhir => "application/fhir+json",
        pb::ReceiptFormat::Dpv => "application/ld+json",
        _ => "application/json",
    }
}

impl App {
    /// Returns a receipt of a record.
    pub(crate) async fn get_receipt(
        &self,
        who: &Who,
        request: pb::GetConsentReceiptRequest,
    ) -> Result<pb::GetConsentReceiptResponse, Error> {
        check_id("consent_record_id", &request.consent_record_id)?;
        let shop = self.shop(&who.origin.tenant).await?;
        let id = request.consent_record_id.as_str();
        let (_, row) = self
            .own_row(&shop, who, id, &request.individual_id, READ)
            .await?;
        let key = key_of(&shop, &row.individual_id).await?;
        let record = present(&shop, &row, key.as_ref(), true).await?;
        let answered = text(&shop, &row.agreement_revision_id).await?;
        let revision = revisions::read(&shop, &row.revision_id).await?;
        let event = revision
            .create_time
            .as_ref()
            .and_then(crate::domain::record::read_time);
        let receipt_id = shop.id();
        let public_key = shop.key.public_jwk().to_value().to_string();
        let source = Source {
            receipt_id: &receipt_id,
            record: &record,
            agreement: &answered.agreement,
            notice_hash: &answered.revision.serialized_hash_sha256,
            event_time: event.unwrap_or(row.updated),
            public_key: &public_key,
        };
        let format = pb::ReceiptFormat::try_from(request.format)
            .map_err(|_| Violations::one("format", "is not a known value"))?;
        let made = match format {
            pb::ReceiptFormat::Kantara => receipt::kantara(source),
            pb::ReceiptFormat::Fhir => Ok(receipt::fhir::consent(source)),
            pb::ReceiptFormat::Dpv => Ok(receipt::dpv::record(source)),
            pb::ReceiptFormat::Unspecified
            | pb::ReceiptFormat::Iso27560
            | pb::ReceiptFormat::Pdf => receipt::iso27560(source),
        };
        let made = made.map_err(|gaps| Why::ReceiptIncomplete.about(gaps.join(", ")))?;
        let text = canonical(&made);
        let header = Protected::new().typ("consent-receipt+jws");
        let signed_receipt = sign_jws(&shop.key, header, text.as_bytes())?;
        let (document, content_type) = if format == pb::ReceiptFormat::Pdf {
            let paper = receipt::page::Paper {
                receipt: &made,
                signed: &signed_receipt,
                language: receipt::language(&source),
                made: shop.now(),
            };
            (receipt::page::pdf(paper), "application/pdf")
        } else {
            (Vec::new(), media_type(format))
        };
        self.journal_read(who, "consent_receipt", id).await?;
        Ok(pb::GetConsentReceiptResponse {
            receipt: text,
            signed_receipt,
            content_type: content_type.to_owned(),
            document: document.into(),
        })
    }
}
