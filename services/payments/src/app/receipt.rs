//! Receipts: that an instruction is part of the content that was approved.

use publica_proto::payments::v1 as pb;
use publica_rpc::{PageToken, page_size, timestamp};
use publica_store::Db;
use publica_types::Origin;

use crate::app::intake::hashes;
use crate::app::release::leaves;
use crate::app::settle::place;
use crate::app::{App, wire};
use crate::domain::batch::Total;
use crate::domain::merkle::{self, Tree};
use crate::error::Error;
use crate::store::batch::BatchRow;
use crate::store::chunk::{self as sql, InstructionRow};
use crate::store::programme;

impl App {
    pub(crate) async fn get_receipt(
        &self,
        origin: &Origin,
        request: pb::GetReceiptRequest,
    ) -> Result<pb::GetReceiptResponse, Error> {
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let id = batch.batch_id;
        let found = match request.instruction_id.as_str() {
            "" => sql::find_row(&mut db.clone(), id, request.ordinal).await?,
            named => sql::find_by_id(&mut db.clone(), id, batch.source_no, named).await?,
        };
        let row = found.ok_or(Error::not_found("instruction"))?;
        let receipt = self.receipts(&db, &batch, vec![row]).await?.pop();
        receipt.ok_or(Error::corrupt("a receipt is missing"))
    }

    pub(crate) async fn list_receipts(
        &self,
        origin: &Origin,
        request: pb::ListReceiptsRequest,
    ) -> Result<pb::ListReceiptsResponse, Error> {
        let db = self.db(origin).await?;
        let batch = self.visible_batch(origin, &db, &request.batch_id).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<i64> = PageToken::decode(&request.batch_id, &request.page_token)?;
        let id = batch.batch_id;
        let mut rows = sql::page(&mut db.clone(), id, after.unwrap_or(-1), limit + 1).await?;
        let found = rows.len();
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        // A page stays within a chunk, whose tree is built once for all of it.
        if let Some(first) = rows.first() {
            let chunk_no = first.ordinal / batch.chunk_rows;
            rows.retain(|row| row.ordinal / batch.chunk_rows == chunk_no);
        }
        let next_page_token = match rows.last() {
            Some(last) if rows.len() < found => PageToken::encode(&request.batch_id, &last.ordinal),
            _ => String::new(),
        };
        let receipts = match rows.is_empty() {
            true => Vec::new(),
            false => self.receipts(&db, &batch, rows).await?,
        };
        Ok(pb::ListReceiptsResponse {
            receipts,
            next_page_token,
        })
    }

    /// The receipts of instructions of one chunk.
    async fn receipts(
        &self,
        db: &Db,
        batch: &BatchRow,
        wanted: Vec<InstructionRow>,
    ) -> Result<Vec<pb::GetReceiptResponse>, Error> {
        let (Some(root), Some(digest)) = (&batch.root, &batch.digest) else {
            return Err(Error::BatchState {
                state: batch.state()?.as_str(),
            });
        };
        let (mut reads, id) = (db.clone(), batch.batch_id);
        let first = wanted.first().map_or(0, |row| row.ordinal);
        let chunk_no = first / batch.chunk_rows;
        let chunk = sql::find(&mut reads, id, chunk_no).await?;
        let chunk = chunk.ok_or(Error::corrupt("a chunk is missing"))?;
        let rows = sql::rows(&mut reads, id, chunk.first_ordinal, chunk.end()).await?;
        let tree = Tree::new(leaves(db, batch, &chunk, &rows).await?);
        let roots = hashes(sql::roots(&mut reads, id).await?)?;
        let chunk_at = usize::try_from(chunk_no).map_err(|_| Error::corrupt("chunk number"))?;
        let above = merkle::path(&roots, chunk_at);
        let content = content(&mut reads, batch).await?;
        let mut receipts = Vec::with_capacity(wanted.len());
        for row in &wanted {
            let beyond = || Error::corrupt("a row out of its chunk");
            let at = place(&chunk, row).ok_or_else(beyond)?;
            let leaf = tree.leaf(at).ok_or_else(beyond)?;
            let path = tree.path(at);
            receipts.push(pb::GetReceiptResponse {
                leaf: hex::encode(leaf),
                path: path.iter().chain(&above).map(hex::encode).collect(),
                root: hex::encode(root),
                tree_size: batch.received_count,
                leaf_index: row.ordinal,
                digest: hex::encode(digest),
                update_time: Some(timestamp(batch.updated_at)),
                programme_id: batch.programme_id.to_string(),
                payee: hex::encode(&row.payee),
                content: Some(content.clone()),
                instruction: None,
            });
        }
        let statuses = self.statuses(db, batch, wanted).await?;
        for (receipt, status) in receipts.iter_mut().zip(statuses) {
            receipt.instruction = Some(status);
        }
        Ok(receipts)
    }
}

/// What approvers sign for, besides the root.
async fn content(db: &mut Db, batch: &BatchRow) -> Result<pb::ReceiptContent, Error> {
    let source = programme::find_source_by_no(db, batch.source_no).await?;
    let source = source.ok_or(Error::corrupt("the source block of a batch is missing"))?;
    let totals = sql::sum_totals(db, batch.batch_id).await?;
    let total = |total: Total| pb::ReceiptTotal {
        institution: total.institution,
        verdict: total.verdict,
        tally: Some(wire::tally(total.item_count, total.amount_minor)),
    };
    Ok(pb::ReceiptContent {
        batch_id: batch.batch_id.to_string(),
        source_id: source.source_id,
        source_batch: batch.source_batch.clone(),
        programme_id: batch.programme_id.to_string(),
        currency: batch.currency.clone(),
        totals: totals.into_iter().map(total).collect(),
    })
}
