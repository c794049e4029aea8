//! Documents that applicants upload. Their type is found by looking at them.

use publica_journal::{Entry, append, write};
use publica_proto::registration::v1 as pb;
use publica_rpc::Invalid;
use serde_json::json;

use crate::app::{App, Who, call, is_findable, subject};
use crate::error::Error;
use crate::store::document::{self, NewDocument};

pub(crate) const FIELD: &str = "registration.document";

/// The largest document: what fits a message with room to spare.
pub(crate) const MAX_DOCUMENT: usize = 3 * 1024 * 1024;

const UPLOAD: &str = "/publica.registration.v1.DocumentService/UploadDocument";

/// The types that are taken, by how their bytes begin.
const SIGNATURES: &[(&[u8], &str)] = &[
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"PK\x03\x04", "application/zip"),
];

/// The media type of a document, or none that is taken. Text is what has no control characters
/// and no markup.
pub(crate) fn media_type(content: &[u8]) -> Option<&'static str> {
    let known = SIGNATURES
        .iter()
        .find(|(start, _)| content.starts_with(start));
    if let Some((_, kind)) = known {
        return Some(kind);
    }
    let text = std::str::from_utf8(content).ok()?;
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    let markup = text.trim_start().starts_with('<');
    (text.chars().all(plain) && !markup).then_some("text/plain")
}

/// By what the same document of an owner is known again.
pub(crate) fn digest(content: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    digest.as_ref().to_vec()
}

impl App {
    pub(crate) async fn upload_document(
        &self,
        who: &Who,
        request: pb::UploadDocumentRequest,
    ) -> Result<pb::UploadDocumentResponse, Error> {
        if request.content.is_empty() {
            return Err(Invalid::new().add("content", "must not be empty").into());
        }
        if request.content.len() > MAX_DOCUMENT {
            return Err(Error::DocumentTooLarge {
                limit: MAX_DOCUMENT,
            });
        }
        let media_type = media_type(&request.content).ok_or(Error::MediaType)?;
        let db = self.db(&who.origin).await?;
        let call = call(
            "registration.upload",
            UPLOAD,
            &who.origin,
            &request.request_id,
            &request,
        );
        let new = NewDocument {
            document_id: self.new_id(),
            owner: who.party().to_owned(),
            digest: digest(&request.content),
            media_type,
            size: i64::try_from(request.content.len()).unwrap_or(i64::MAX),
            created: None,
        };
        let input = (
            new,
            request.content.clone(),
            self.keyring.clone(),
            who.origin.clone(),
        );
        write(&db, call, input, |tx, (new, content, keyring, origin)| {
            Box::pin(async move {
                let key = keyring.subject(tx, &subject(&new.owner)).await?;
                let sealed = key.seal(FIELD, content);
                let document_id = document::store(tx, new, &sealed).await?;
                let entry = Entry::new("registration.document.uploaded")
                    .subject("document", &document_id)
                    .body(json!({"digest": hex::encode(&new.digest), "size": new.size}));
                append(tx, origin, entry);
                Ok::<_, Error>(pb::UploadDocumentResponse {
                    document_id,
                    media_type: new.media_type.to_owned(),
                    digest: new.digest.clone().into(),
                })
            })
        })
        .await
    }

    pub(crate) async fn get_document(
        &self,
        who: &Who,
        request: pb::GetDocumentRequest,
    ) -> Result<pb::GetDocumentResponse, Error> {
        let db = self.db(&who.origin).await?;
        let row = match is_findable(&request.document_id) {
            true => document::find(&db, &request.document_id).await?,
            false => None,
        };
        let row = row.filter(|row| row.owner == who.party() || who.works_on_files());
        let row = row.ok_or(Error::not_found("document"))?;
        let key = self.keyring.load(&db, &subject(&row.owner)).await?;
        let content = key
            .ok_or(Error::Corrupt("an owner has no key"))?
            .open(FIELD, &row.sealed)?;
        let entry = Entry::new("registration.document.read").subject("document", &row.document_id);
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::GetDocumentResponse {
            content: content.into(),
            media_type: row.media_type,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::media_type;

    #[test]
    fn types_are_found_by_content() {
        assert_eq!(media_type(b"%PDF-1.7 ..."), Some("application/pdf"));
        assert_eq!(media_type("näme".as_bytes()), Some("text/plain"));
        assert_eq!(media_type(b" <svg onload=x>"), None);
        assert_eq!(media_type(b"\x7fELF\x02\x00"), None);
    }
}
