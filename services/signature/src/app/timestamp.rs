//! The time-stamping authority.

use publica_journal::Entry;
use publica_proto::signature::v1 as pb;
use serde_json::json;

use crate::app::{App, Who};
use crate::domain::tsp::{self, Query};
use crate::error::Error;

/// The longest query that is looked at.
const MAX_QUERY: usize = 64 * 1024;

impl App {
    pub(crate) async fn create_timestamp(
        &self,
        who: &Who,
        request: pb::CreateTimestampRequest,
    ) -> Result<pb::CreateTimestampResponse, Error> {
        let query = match Query::read(request.query.get(..MAX_QUERY).unwrap_or(&request.query)) {
            Ok(query) => query,
            Err(refusal) => {
                return Ok(pb::CreateTimestampResponse {
                    reply: tsp::refused(refusal).into(),
                });
            }
        };
        let db = self.db(&who.origin).await?;
        let authorities = self.authorities(&db).await?;
        let serial = self.new_serial();
        let time = self.clock.now();
        let token = tsp::token(&authorities.timestamping, &query, &serial, time)?;
        let entry = Entry::new("signature.timestamp.issued")
            .subject("timestamp", hex::encode(&serial))
            .body(json!({"time": time.to_string()}));
        self.journal.record(&who.origin, entry).await?;
        Ok(pb::CreateTimestampResponse {
            reply: tsp::granted(&token).into(),
        })
    }
}
