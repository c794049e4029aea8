//! Documents from another system, under the ids that they had.

use publica_imports::Outcome;
use publica_store::Tx;

use super::lines::DocumentLine;
use super::{Chunk, ERASED};
use crate::app::document::{FIELD, digest};
use crate::error::Error;
use crate::store::document::{self, NewDocument};

impl Chunk {
    /// Stores a document, once.
    pub(super) async fn document(
        &self,
        tx: &mut Tx<'_>,
        line: &DocumentLine,
    ) -> Result<Outcome, Error> {
        let digest = digest(&line.content);
        if let Some(known) = document::about(tx, &line.document_id).await? {
            let times = line
                .created
                .is_none_or(|created| created == known.create_time);
            let same = known.owner == line.owner_id && known.digest == digest && times;
            return Ok(if same {
                Outcome::Repeated
            } else {
                Outcome::differs("documentId")
            });
        }
        if document::same(tx, &line.owner_id, &digest).await?.is_some() {
            let what = "is stored already under another id of the owner";
            return Ok(Outcome::refused("content", what));
        }
        let Some(key) = self.key(tx, &line.owner_id).await? else {
            return Ok(Outcome::refused("ownerId", ERASED));
        };
        let new = NewDocument {
            document_id: line.document_id.clone(),
            owner: line.owner_id.clone(),
            digest,
            media_type: line.media_type,
            size: i64::try_from(line.content.len()).unwrap_or(i64::MAX),
            created: line.created,
        };
        document::store(tx, &new, &key.seal(FIELD, &line.content)).await?;
        Ok(Outcome::Stored)
    }
}
