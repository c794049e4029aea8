//! Prepayment validation: which instructions would fail, without paying any.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _};
use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_types::Origin;
use serde_json::json;
use tonic::Status;

use crate::app::account::next;
use crate::app::intake::received;
use crate::app::source::check_twelve;
use crate::app::{App, entry};
use crate::domain::address::Modality;
use crate::domain::instruction::{self, Reason, Received};
use crate::error::Error;
use crate::store::beneficiary;
use crate::store::validation::{self as sql, FailureRow, NewValidation, ValidationRow};

/// Instructions in one unit of work.
const AT_ONCE: usize = 4_096;

/// A validation under way.
struct Run {
    row: ValidationRow,
    origin: Origin,
    source_no: i64,
    checked: i64,
    failed: i64,
}

impl App {
    pub(crate) async fn validate_instructions(
        &self,
        origin: &Origin,
        mut stream: impl Messages<pb::ValidateInstructionsRequest>,
    ) -> Result<pb::ValidateInstructionsResponse, Error> {
        let missing = || Invalid::new().add("key", "is required in the first message");
        let mut message = next_message(&mut stream).await?.ok_or_else(missing)?;
        let key = message.key.take().ok_or_else(missing)?;
        let row = self.begin_validation(origin, key).await?;
        if row.done {
            return Ok(answer(&row));
        }
        let source_no = row.source_no;
        let mut run = Run {
            row,
            origin: origin.clone(),
            source_no,
            checked: 0,
            failed: 0,
        };
        let mut waiting: Vec<Received> = Vec::new();
        loop {
            waiting.extend(message.instructions.into_iter().map(received));
            while waiting.len() >= AT_ONCE {
                let rest = waiting.split_off(AT_ONCE);
                self.validate_part(&mut run, std::mem::replace(&mut waiting, rest))
                    .await?;
            }
            if message.complete {
                break;
            }
            let incomplete = || Invalid::new().add("complete", "must be true in the last message");
            message = next_message(&mut stream).await?.ok_or_else(incomplete)?;
        }
        if !waiting.is_empty() {
            self.validate_part(&mut run, waiting).await?;
        }
        self.finish_validation(run).await
    }

    async fn begin_validation(
        &self,
        origin: &Origin,
        key: pb::ValidationKey,
    ) -> Result<ValidationRow, Error> {
        let mut invalid = Invalid::new();
        check_twelve(&mut invalid, "key.source_id", &key.source_id);
        check_twelve(&mut invalid, "key.source_request", &key.source_request);
        check_twelve(&mut invalid, "key.source_batch", &key.source_batch);
        if key.fingerprint.len() != 32 {
            invalid.push("key.fingerprint", "must be a SHA-256 hash");
        }
        invalid.check()?;
        let source = self.source(origin, &key.source_id).await?;
        let new = NewValidation {
            validation_id: self.uuid(),
            source_no: source.source_no,
            source_request: key.source_request,
            source_batch: key.source_batch,
            fingerprint: key.fingerprint.to_vec(),
        };
        let db = self.db(origin).await?;
        let row = db.write("payments.begin_validation", new.clone(), |tx, new| {
            Box::pin(async move { sql::begin(tx, new).await.map_err(Error::from) })
        });
        let row = row.await?;
        match row.fingerprint == new.fingerprint {
            true => Ok(row),
            false => Err(Error::SourceRequestReused),
        }
    }

    async fn validate_part(&self, run: &mut Run, rows: Vec<Received>) -> Result<(), Error> {
        let db = self.db(&run.origin).await?;
        let payees: Vec<Vec<u8>> = rows
            .iter()
            .map(|row| self.payee(&row.functional_id))
            .collect();
        let routes = beneficiary::routes(&mut db.clone(), run.source_no, &payees).await?;
        let routes: BTreeMap<Vec<u8>, beneficiary::RouteRow> = routes
            .into_iter()
            .map(|row| (row.payee.clone(), row))
            .collect();
        let mut failures = Vec::new();
        for ((ordinal, row), payee) in (run.checked..).zip(&rows).zip(&payees) {
            if let Some(reason) = verdict(row, routes.get(payee)) {
                failures.push(FailureRow {
                    ordinal,
                    instruction_id: row.instruction_id.clone(),
                    reason_code: reason.code.to_owned(),
                    reason: reason.text.to_owned(),
                });
            }
        }
        run.checked += i64::try_from(rows.len()).unwrap_or(0);
        run.failed += i64::try_from(failures.len()).unwrap_or(0);
        let input = (run.row.validation_id, failures);
        db.write("payments.validate_part", input, |tx, (id, failures)| {
            Box::pin(async move {
                sql::insert_failures(tx, *id, failures)
                    .await
                    .map_err(Error::from)
            })
        })
        .await
    }

    async fn finish_validation(&self, run: Run) -> Result<pb::ValidateInstructionsResponse, Error> {
        if run.checked == 0 {
            return Err(Invalid::new()
                .add("instructions", "must not be empty")
                .into());
        }
        let db = self.db(&run.origin).await?;
        let (checked, failed) = (run.checked, run.failed);
        let input = (run.origin, run.row.validation_id, checked, failed);
        db.write(
            "payments.finish_validation",
            input,
            |tx, (origin, id, checked, failed)| {
                Box::pin(async move {
                    sql::finish(tx, *id, *checked, *failed).await?;
                    let body = json!({"checked": checked, "failed": failed});
                    append(
                        tx,
                        origin,
                        entry("payments.validation.done", "validation", id, body),
                    );
                    Ok::<_, Error>(())
                })
            },
        )
        .await?;
        Ok(pb::ValidateInstructionsResponse {
            instruction_count: checked,
            failed_count: failed,
        })
    }

    pub(crate) async fn get_validation(
        &self,
        origin: &Origin,
        request: pb::GetValidationRequest,
    ) -> Result<pb::GetValidationResponse, Error> {
        let mut db = self.db(origin).await?;
        let limit = page_size(request.page_size, 1_000, 10_000)?;
        let pair = (&request.source_request, &request.source_batch);
        let after: Option<i64> = PageToken::decode(&pair, &request.page_token)?;
        let found = sql::find_pair(&mut db, pair.0, pair.1).await?;
        let wanted = match request.source_id.as_str() {
            "" => None,
            id => Some(crate::app::source::source_no(id)),
        };
        let row = found
            .into_iter()
            .find(|row| wanted.is_none_or(|no| no == row.source_no));
        let row = row.ok_or(Error::not_found("validation"))?;
        let after = after.unwrap_or(-1);
        let mut rows = sql::failures(&mut db, row.validation_id, after, limit + 1).await?;
        let token = |row: &FailureRow| PageToken::encode(&pair, &row.ordinal);
        let next_page_token = next(&mut rows, limit, token);
        let failures = rows.into_iter().map(|row| pb::ValidationFailure {
            instruction_id: row.instruction_id,
            reason: row.reason,
            reason_code: row.reason_code,
        });
        Ok(pb::GetValidationResponse {
            failures: failures.collect(),
            next_page_token,
            done: row.done,
            instruction_count: row.instruction_count,
            failed_count: row.failed_count,
        })
    }
}

fn answer(row: &ValidationRow) -> pb::ValidateInstructionsResponse {
    let (instruction_count, failed_count) = (row.instruction_count, row.failed_count);
    pb::ValidateInstructionsResponse {
        instruction_count,
        failed_count,
    }
}

fn verdict(row: &Received, route: Option<&beneficiary::RouteRow>) -> Option<Reason> {
    match (instruction::check(row), route) {
        (Err(reason), _) => Some(reason),
        (Ok(_), None) => Some(instruction::NO_MAPPING),
        (Ok(_), Some(route)) if !route.active => Some(instruction::INACTIVE_MAPPING),
        (Ok(_), Some(route)) if Modality::parse(&route.modality).is_none() => {
            Some(instruction::INACTIVE_MAPPING)
        }
        _ => None,
    }
}

/// A caller's stream of messages.
pub(crate) trait Messages<T>: Stream<Item = Result<T, Status>> + Send + Unpin {}

impl<T, S: Stream<Item = Result<T, Status>> + Send + Unpin> Messages<T> for S {}

/// The next message of a caller's stream. A stream that breaks off ends the call.
pub(crate) async fn next_message<T>(stream: &mut impl Messages<T>) -> Result<Option<T>, Error> {
    match stream.next().await {
        None => Ok(None),
        Some(Ok(message)) => Ok(Some(message)),
        Some(Err(_)) => Err(Invalid::new().add("stream", "broke off").into()),
    }
}
