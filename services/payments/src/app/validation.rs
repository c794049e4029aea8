//! Prepayment validation: which instructions would fail, without paying any.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _};
use publica_journal::append;
use publica_proto::payments::v1 as pb;
use publica_rpc::{Invalid, PageToken, page_size};
use publica_store::Db;
use publica_types::{Origin, Uuid};
use serde_json::json;
use tonic::Status;

use crate::app::account::next;
use crate::app::bank::{Account, Question};
use crate::app::beneficiary::addresses;
use crate::app::callback::{self, Content, Target};
use crate::app::intake::received;
use crate::app::source::{check_number, check_source_id};
use crate::app::{App, entry};
use crate::domain::address::Modality;
use crate::domain::instruction::{self, Reason, Received};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::store::bank::{self, BankRow};
use crate::store::validation::{self as sql, FailureRow, NewValidation, ValidationRow};
use crate::store::{beneficiary, programme};

/// Failures in one callback.
const MOST_TOLD: i64 = 100_000;
/// Instructions in one unit of work.
const AT_ONCE: usize = 4_096;

/// A validation under way.
struct Run {
    row: ValidationRow,
    origin: Origin,
    target: Option<Target>,
    source_no: i64,
    /// The bank that is asked too, if there is one.
    bank: Option<BankRow>,
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
        let mut key = message.key.take().ok_or_else(missing)?;
        let target = self.target(key.callback.take(), &key.source_id)?;
        let row = self.begin_validation(origin, key).await?;
        if row.done || row.instruction_count > 0 {
            return Ok(answer(&row));
        }
        let source_no = row.source_no;
        let bank = self.bank_of(origin, source_no).await?;
        let mut run = Run {
            row,
            origin: origin.clone(),
            target,
            source_no,
            bank,
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
        check_source_id(&mut invalid, "key.source_id", &key.source_id);
        check_number(&mut invalid, "key.source_request", &key.source_request);
        check_number(&mut invalid, "key.source_batch", &key.source_batch);
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
        let questions = self.ask_bank(&db, run, &rows, &payees, &routes).await?;
        let mut failures = Vec::new();
        for ((ordinal, row), payee) in (run.checked..).zip(&rows).zip(&payees) {
            if let Some(reason) = verdict(row, routes.get(payee)) {
                failures.push(FailureRow {
                    ordinal,
                    instruction_id: row.instruction_id.clone(),
                    reason_code: reason.code.to_owned(),
                    reason: reason.text.to_owned(),
                    sealed: Vec::new(),
                });
            }
        }
        run.checked += i64::try_from(rows.len()).unwrap_or(0);
        run.failed += i64::try_from(failures.len()).unwrap_or(0);
        let ask = (run.origin.clone(), self.keyring.clone(), questions);
        let input = (run.row.validation_id, failures, ask);
        db.write(
            "payments.validate_part",
            input,
            |tx, (id, failures, ask)| {
                Box::pin(async move {
                    let (origin, keyring, questions) = ask;
                    sql::insert_failures(tx, *id, failures).await?;
                    for question in questions {
                        question.ask(tx, keyring, origin, *id).await?;
                    }
                    Ok::<_, Error>(())
                })
            },
        )
        .await
    }

    /// The bank of the programme that a source block pays from.
    async fn bank_of(&self, origin: &Origin, source_no: i64) -> Result<Option<BankRow>, Error> {
        let mut db = self.db(origin).await?;
        let source = programme::find_source_by_no(&mut db, source_no).await?;
        match source.and_then(|source| source.programme_id) {
            Some(id) => Ok(bank::find(&mut db, id).await?),
            None => Ok(None),
        }
    }

    /// What the bank is asked about those that can be paid as far as is known here.
    async fn ask_bank(
        &self,
        db: &Db,
        run: &Run,
        rows: &[Received],
        payees: &[Vec<u8>],
        routes: &BTreeMap<Vec<u8>, beneficiary::RouteRow>,
    ) -> Result<Vec<Question>, Error> {
        let Some(bank) = &run.bank else {
            return Ok(Vec::new());
        };
        let mappings = beneficiary::find_many(&mut db.clone(), run.source_no, payees).await?;
        let open = addresses(&self.keyring, db, run.source_no, &mappings).await?;
        let mut accounts = Vec::new();
        for (row, payee) in rows.iter().zip(payees) {
            let (Some(route), Some(address)) = (routes.get(payee), open.get(payee)) else {
                continue;
            };
            // Who is paid by voucher has no account.
            if verdict(row, Some(route)).is_none() && !address.is_empty() {
                accounts.push(Account {
                    institution: route.institution.clone(),
                    address: address.clone(),
                    row: row.clone(),
                });
            }
        }
        let id = (
            run.row.validation_id,
            run.row.source_batch.as_str(),
            run.checked,
        );
        Ok(self.questions(bank, id, accounts))
    }

    async fn finish_validation(&self, run: Run) -> Result<pb::ValidateInstructionsResponse, Error> {
        if run.checked == 0 {
            return Err(Invalid::new()
                .add("instructions", "must not be empty")
                .into());
        }
        let db = self.db(&run.origin).await?;
        let (checked, failed) = (run.checked, run.failed);
        let tell = (self.keyring.clone(), run.target);
        let input = (run.origin, run.row.validation_id, checked, failed, tell);
        db.write(
            "payments.finish_validation",
            input,
            |tx, (origin, id, checked, failed, (keyring, target))| {
                Box::pin(async move {
                    let open = bank::of_subject(tx, *id, bank::VALIDATE).await?;
                    let done = open.iter().all(|request| request.answered);
                    let sealed = match target {
                        Some(target) => Some(callback::seal_target(keyring, target)?),
                        None => None,
                    };
                    let counts = (*checked, *failed);
                    sql::checked(tx, *id, counts, done, sealed.as_deref()).await?;
                    if let (true, Some(target)) = (done, target) {
                        let (name, content) =
                            (format!("validation:{id}"), Content::Validation(*id));
                        callback::post(tx, keyring, origin, &name, target, content).await?;
                    }
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

    /// A validation with all that failed, at most as many as a request can have.
    pub(crate) async fn validation_result(
        &self,
        db: &Db,
        id: Uuid,
    ) -> Result<(ValidationRow, Vec<FailureRow>), Error> {
        let row = sql::find(&mut db.clone(), id).await?;
        let row = row.ok_or(Error::not_found("validation"))?;
        let failures = sql::failures(&mut db.clone(), id, -1, MOST_TOLD).await?;
        Ok((row, self.open_failures(failures)?))
    }

    /// The first validation of a source block that the caller speaks for.
    async fn own_validation(
        &self,
        origin: &Origin,
        found: Vec<ValidationRow>,
    ) -> Result<ValidationRow, Error> {
        let mut db = self.db(origin).await?;
        let mut others = None;
        for row in found {
            let source = programme::find_source_by_no(&mut db, row.source_no).await?;
            let source = source.ok_or(Error::corrupt("a source block is missing"))?;
            match self
                .may_speak(origin, Kind::Block, &source.source_id)
                .await?
            {
                true => return Ok(row),
                false => others = Some(source.source_id),
            }
        }
        match others {
            // The refusal goes on record.
            Some(source) => Err(self.foreign(origin, Kind::Block, &source).await?),
            None => Err(Error::not_found("validation")),
        }
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
        let meant = found
            .into_iter()
            .filter(|row| wanted.is_none_or(|no| no == row.source_no));
        let row = self.own_validation(origin, meant.collect()).await?;
        let after = after.unwrap_or(-1);
        let mut rows = sql::failures(&mut db, row.validation_id, after, limit + 1).await?;
        let token = |row: &FailureRow| PageToken::encode(&pair, &row.ordinal);
        let next_page_token = next(&mut rows, limit, token);
        let rows = self.open_failures(rows)?;
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
