//! Texts of agreements by revision. They never change, so they are kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use publica_proto::consent::v1 as pb;
use publica_store::Tx;

use super::{Shop, revisions, seals};
use crate::error::{Error, Why};
use crate::store;

/// Texts kept at most; an agreement with its policy takes a few kilobytes.
const KEPT: usize = 2_048;

/// One text with the revision that locks it.
#[derive(Debug)]
pub(crate) struct Text {
    /// The agreement as of the revision, its policy included.
    pub(crate) agreement: pb::DataAgreement,
    /// The revision, without its successor, which may come later.
    pub(crate) revision: pb::Revision,
}

/// The texts in memory.
#[derive(Debug, Default)]
pub(crate) struct Texts(RwLock<HashMap<String, Arc<Text>>>);

impl Texts {
    fn get(&self, revision_id: &str) -> Option<Arc<Text>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(revision_id)
            .cloned()
    }

    fn keep(&self, shop: &Shop, row: &store::revision::Row) -> Result<Arc<Text>, Error> {
        let snapshot = seals::sound_text(shop, row)?;
        let body = row.body.as_deref().unwrap_or_default();
        let mut agreement: pb::DataAgreement = store::decode(body)?;
        agreement.revision_id.clone_from(&row.revision_id);
        agreement.data_agreement_id.clone_from(&row.object_id);
        let mut revision = revisions::present(row, snapshot);
        revision.successor_id.clear();
        let text = Arc::new(Text {
            agreement,
            revision,
        });
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(row.revision_id.clone(), Arc::clone(&text));
        Ok(text)
    }
}

/// The text of a revision of an agreement.
pub(crate) async fn text(shop: &Shop, revision_id: &str) -> Result<Arc<Text>, Error> {
    if let Some(text) = shop.texts.get(revision_id) {
        return Ok(text);
    }
    // In a box, since it is hardly ever needed, and every decision would have room for it.
    let row = Box::pin(store::revision::find(&shop.db, revision_id)).await?;
    found(shop, row, revision_id)
}

/// The same within a unit.
pub(crate) async fn text_in(
    tx: &mut Tx<'_>,
    shop: &Shop,
    revision_id: &str,
) -> Result<Arc<Text>, Error> {
    if let Some(text) = shop.texts.get(revision_id) {
        return Ok(text);
    }
    let row = store::revision::find_in(tx, revision_id).await?;
    found(shop, row, revision_id)
}

/// The published text of an agreement, read within a unit; nothing for a draft, whose id is empty.
pub(crate) async fn published_in(
    tx: &mut Tx<'_>,
    shop: &Shop,
    revision_id: &str,
) -> Result<Option<Arc<Text>>, Error> {
    if revision_id.is_empty() {
        return Ok(None);
    }
    text_in(tx, shop, revision_id).await.map(Some)
}

fn found(
    shop: &Shop,
    row: Option<store::revision::Row>,
    revision_id: &str,
) -> Result<Arc<Text>, Error> {
    let kind = i64::from(pb::Schema::DataAgreement as i32);
    match row {
        Some(row) if row.kind == kind => shop.texts.keep(shop, &row),
        Some(_) => Err(Why::RevisionMismatch.about(revision_id)),
        None => Err(Why::RevisionNotFound.about(revision_id)),
    }
}
