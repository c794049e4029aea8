//! Source blocks: who submits beneficiaries and batches.

use aws_lc_rs::digest::{SHA256, digest};
use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::account::next;
use crate::app::partner::{check_clients, clients_of, put_clients};
use crate::app::{App, call, check_text, entry, wire};
use crate::config::SourceMode;
use crate::domain::address::within;
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::store::programme::{self as sql, SourceRow};
use crate::store::voucher;

const TITLE_CHARS: usize = 200;
/// The most characters of a source block's id. Version 1 of the published interface has exactly
/// 12, which is for the gateway to see to.
pub(crate) const SOURCE_CHARS: usize = 20;
/// The most characters of its request and batch numbers.
const NUMBER_CHARS: usize = 64;

/// The number of a source block follows from its id, so that replicas need not agree on one.
pub(crate) fn source_no(source_id: &str) -> i64 {
    let hash = digest(&SHA256, source_id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_ref()[..8]);
    i64::from_be_bytes(bytes) & i64::MAX
}

/// Registers a source block, which may also issue vouchers under its id.
pub(crate) async fn create_source(
    tx: &mut Tx<'_>,
    origin: &Origin,
    source_id: &str,
    name: &str,
    programme: &str,
    clients: &[String],
) -> Result<SourceRow, Error> {
    let programme_id = match programme {
        "" => None,
        named => {
            let found = sql::find_programme_by(tx, named).await?;
            Some(found.ok_or(Error::not_found("programme"))?.programme_id)
        }
    };
    let row = SourceRow {
        source_no: source_no(source_id),
        source_id: source_id.to_owned(),
        name: name.to_owned(),
        programme_id,
        active: true,
    };
    if !sql::insert_source(tx, &row).await? {
        return Err(Error::Exists {
            kind: "source block",
        });
    }
    voucher::insert_block(tx, source_id).await?;
    append(
        tx,
        origin,
        entry(
            "payments.source_block.created",
            "source_block",
            source_id,
            json!({}),
        ),
    );
    // A calling block of this name may have its own already.
    if !clients.is_empty() {
        put_clients(tx, origin, Kind::Block, source_id, clients).await?;
    }
    Ok(row)
}

/// A source block's id.
pub(crate) fn check_source_id(invalid: &mut Invalid, field: &str, text: &str) {
    if !within(text, SOURCE_CHARS) {
        invalid.push(field, "must have 1 to 20 characters");
    }
}

/// A source block's number of a request or a batch.
pub(crate) fn check_number(invalid: &mut Invalid, field: &str, text: &str) {
    if !within(text, NUMBER_CHARS) {
        invalid.push(field, "must have 1 to 64 characters");
    }
}

impl App {
    pub(crate) async fn create_source_block(
        &self,
        origin: &Origin,
        request: pb::CreateSourceBlockRequest,
    ) -> Result<pb::CreateSourceBlockResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/CreateSourceBlock";
        let mut invalid = Invalid::new();
        check_source_id(&mut invalid, "source_id", &request.source_id);
        check_text(&mut invalid, "name", &request.name, TITLE_CHARS);
        check_clients(&mut invalid, "clients", &request.clients);
        invalid.check()?;
        let call = call(
            "payments.create_source",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let db = self.db(origin).await?;
        write(
            &db,
            call,
            (origin.clone(), request),
            |tx, (origin, request)| {
                Box::pin(async move {
                    let (id, name) = (request.source_id.as_str(), request.name.as_str());
                    let (programme, clients) = (&request.programme, &request.clients);
                    let row = create_source(tx, origin, id, name, programme, clients).await?;
                    let clients = clients_of(tx, Kind::Block, &[id]).await?;
                    Ok(pb::CreateSourceBlockResponse {
                        source_block: Some(wire::source(row, &clients)),
                    })
                })
            },
        )
        .await
    }

    pub(crate) async fn get_source_block(
        &self,
        origin: &Origin,
        request: pb::GetSourceBlockRequest,
    ) -> Result<pb::GetSourceBlockResponse, Error> {
        let mut db = self.db(origin).await?;
        let row = sql::find_source(&mut db, &request.source_id).await?;
        let row = row.ok_or(Error::not_found("source block"))?;
        let clients = clients_of(&mut db, Kind::Block, &[&row.source_id]).await?;
        Ok(pb::GetSourceBlockResponse {
            source_block: Some(wire::source(row, &clients)),
        })
    }

    pub(crate) async fn list_source_blocks(
        &self,
        origin: &Origin,
        request: pb::ListSourceBlocksRequest,
    ) -> Result<pb::ListSourceBlocksResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 100, 1_000)?;
        let after: Option<String> = PageToken::decode(&"sources", &request.page_token)?;
        let mut rows = sql::list_sources(&mut db, &after.unwrap_or_default(), limit + 1).await?;
        let token = |row: &SourceRow| PageToken::encode(&"sources", &row.source_id);
        let next_page_token = next(&mut rows, limit, token);
        let names: Vec<&str> = rows.iter().map(|row| row.source_id.as_str()).collect();
        let clients = clients_of(&mut db, Kind::Block, &names).await?;
        let source_blocks = rows.into_iter().map(|row| wire::source(row, &clients));
        Ok(pb::ListSourceBlocksResponse {
            source_blocks: source_blocks.collect(),
            next_page_token,
        })
    }

    /// The source block that submits, if it may and the caller speaks for it.
    pub(crate) async fn source(
        &self,
        origin: &Origin,
        source_id: &str,
    ) -> Result<SourceRow, Error> {
        self.speak(origin, Kind::Block, source_id).await?;
        let mut db = self.db(origin).await?;
        let found = sql::find_source(&mut db, source_id).await?;
        if found.is_none() && self.config.source_blocks == SourceMode::Open {
            let input = (origin.clone(), source_id.to_owned());
            let made = db.write("payments.meet_source", input, |tx, (origin, source_id)| {
                Box::pin(create_source(tx, origin, source_id, source_id, "", &[]))
            });
            // Somebody else may have met it meanwhile.
            made.await.or_else(|error| match error {
                Error::Exists { .. } => Ok(SourceRow {
                    source_no: source_no(source_id),
                    source_id: source_id.to_owned(),
                    name: source_id.to_owned(),
                    programme_id: None,
                    active: true,
                }),
                other => Err(other),
            })
        } else {
            found.filter(|row| row.active).ok_or(Error::SourceUnknown)
        }
    }
}
