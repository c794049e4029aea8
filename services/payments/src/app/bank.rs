//! Banks of payers: asked whether a batch may be paid, and whether accounts can be.

use std::collections::BTreeMap;

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::{Origin, Uuid};
use serde_json::{Value, json};

use crate::app::batch::{release, system};
use crate::app::callback::{self, Content, Target, shapes};
use crate::app::release::Progress;
use crate::app::{App, call, check_short, check_text, entry};
use crate::domain::batch::State;
use crate::domain::ids::BatchId;
use crate::domain::instruction::Received;
use crate::error::Error;
use crate::store::bank::{self as sql, AUTHORISE, BankRow, RequestRow, VALIDATE};
use crate::store::batch::{self as batches, BatchRow};
use crate::store::programme;
use crate::store::validation::{self as validations, FailureRow};

const IDENTIFIER_CHARS: usize = 20;
const CORRELATION_CHARS: usize = 12;
const REASON_CHARS: usize = 100;
const MOST_FAILURES: usize = 10_000;
/// Where banks are asked about accounts, and where they answer.
const CHECK_ACCOUNTS: &str = "/beneficiaries?command=validate";
const ANSWER_ACCOUNTS: &str = "/beneficiaries/validation";
/// Where they answer about batches.
const ANSWER_BATCH: &str = "/batches/authorization";
/// Failures that a bank tells stand behind those found here.
const BANK_ORDINALS: i64 = 1 << 32;

/// An account that a bank is to check.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) institution: String,
    pub(crate) address: String,
    pub(crate) row: Received,
}

/// What one bank is asked about one institution's accounts.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    correlation_id: String,
    target: Target,
    body: Value,
}

/// Twelve characters that follow from what is asked, and that nobody else can work out: whoever
/// answers shows by them that they were asked.
fn correlation(keyring: &Keyring, name: &str) -> String {
    hex::encode(&keyring.lookup("payments.bank_request", name)[..CORRELATION_CHARS / 2])
}

impl App {
    pub(crate) async fn set_payer_bank(
        &self,
        origin: &Origin,
        request: pb::SetPayerBankRequest,
    ) -> Result<pb::SetPayerBankResponse, Error> {
        const RPC: &str = "/publica.payments.v1.ProgrammeService/SetPayerBank";
        let mut invalid = Invalid::new();
        if !request.url.is_empty() {
            let identifier = &request.payer_identifier;
            check_text(
                &mut invalid,
                "payer_identifier",
                identifier,
                IDENTIFIER_CHARS,
            );
            if let Err(why) = self.targets().check(&request.url) {
                invalid.push("url", why);
            }
        }
        invalid.check()?;
        let call = call(
            "payments.set_bank",
            RPC,
            origin,
            &request.request_id,
            &request,
        );
        let bank = BankRow {
            url: request.url.trim_end_matches('/').to_owned(),
            payer_identifier: request.payer_identifier,
        };
        let db = self.db(origin).await?;
        let input = (origin.clone(), request.programme, bank);
        write(&db, call, input, |tx, (origin, programme, bank)| {
            Box::pin(async move {
                let found = programme::find_programme_by(tx, programme).await?;
                let id = found.ok_or(Error::not_found("programme"))?.programme_id;
                sql::put(tx, id, bank).await?;
                let body = json!({"named": !bank.url.is_empty()});
                append(
                    tx,
                    origin,
                    entry("payments.programme.bank_set", "programme", id, body),
                );
                Ok(pb::SetPayerBankResponse {})
            })
        })
        .await
    }

    fn bank_target(
        &self,
        bank: &BankRow,
        path: &str,
        correlation_id: &str,
        answer: &str,
    ) -> Target {
        let url = format!("{}{path}", bank.url);
        let answer_to = match self.config.callbacks.public_url.as_str() {
            "" => String::new(),
            base => format!("{base}{answer}"),
        };
        Target::of_bank(url, correlation_id, &bank.payer_identifier, answer_to)
    }

    /// What is done with an approved batch: its bank is asked, if it has one.
    pub(crate) async fn authorise(
        &self,
        db: &Db,
        batch: &BatchRow,
    ) -> Result<Option<Progress>, Error> {
        let Some(bank) = sql::find(&mut db.clone(), batch.programme_id).await? else {
            return Ok(None);
        };
        let id = batch.batch_id;
        let asked = sql::of_subject(&mut db.clone(), id.as_uuid(), AUTHORISE).await?;
        if asked
            .iter()
            .any(|request| request.answered && request.accepted)
        {
            // The bank agreed before funds were short.
            return Ok(None);
        }
        let correlation_id = correlation(&self.keyring, &format!("authorise:{id}:{}", asked.len()));
        let path = format!("/batches/{id}?command=authorize");
        let target = self.bank_target(&bank, &path, &correlation_id, ANSWER_BATCH);
        let body = json!({
            "batchID": id.to_string(),
            "payerIdentifier": bank.payer_identifier,
            "currency": batch.currency,
            "amount": shapes::number(batch.accepted_minor, &batch.currency),
        });
        let question = Question {
            correlation_id,
            target,
            body,
        };
        let input = (batch.clone(), self.keyring.clone(), question);
        db.write("payments.authorise", input, |tx, input| {
            Box::pin(async move {
                let (batch, keyring, question) = input;
                let origin = system(batch);
                let id = batch.batch_id;
                sql::ask(tx, &question.correlation_id, AUTHORISE, id.as_uuid()).await?;
                batches::set_state(tx, batch, State::Authorising, "").await?;
                question.post(tx, keyring, &origin).await?;
                let body = json!({"amount_minor": batch.accepted_minor});
                append(
                    tx,
                    &origin,
                    entry("payments.batch.bank_asked", "batch", id, body),
                );
                Ok::<_, Error>(())
            })
        })
        .await?;
        Ok(Some(Progress::Finished))
    }

    /// What the bank said about a batch that waits for it.
    pub(crate) async fn authorised(
        &self,
        db: &Db,
        batch: &BatchRow,
    ) -> Result<Option<RequestRow>, Error> {
        let id = batch.batch_id.as_uuid();
        let asked = sql::of_subject(&mut db.clone(), id, AUTHORISE).await?;
        Ok(asked.into_iter().next().filter(|request| request.answered))
    }

    pub(crate) async fn record_authorisation(
        &self,
        origin: &Origin,
        request: pb::RecordAuthorisationRequest,
    ) -> Result<pb::RecordAuthorisationResponse, Error> {
        let mut invalid = Invalid::new();
        check_short(&mut invalid, "reason", &request.reason, REASON_CHARS);
        invalid.check()?;
        let db = self.db(origin).await?;
        let input = (origin.clone(), request);
        db.write("payments.bank_answer", input, |tx, (origin, request)| {
            Box::pin(async move {
                let id = request.correlation_id.as_str();
                let asked = sql::request(tx, id).await?;
                let asked = asked.filter(|asked| asked.kind == AUTHORISE);
                let asked = asked.ok_or(Error::not_found("request to a bank"))?;
                if !sql::answer(tx, id, request.accepted, &request.reason).await? {
                    return Ok(pb::RecordAuthorisationResponse {});
                }
                let batch = batches::lock(tx, BatchId::from_uuid(asked.subject_id)).await?;
                release(tx, &batch).await?;
                let body = json!({"accepted": request.accepted, "reason": request.reason});
                let batch_id = batch.batch_id;
                let entry = entry("payments.batch.bank_answered", "batch", batch_id, body);
                append(tx, origin, entry);
                Ok::<_, Error>(pb::RecordAuthorisationResponse {})
            })
        })
        .await
    }

    /// What a programme's bank is asked about accounts: one question an institution.
    pub(crate) fn questions(
        &self,
        bank: &BankRow,
        validation: (Uuid, &str, i64),
        accounts: Vec<Account>,
    ) -> Vec<Question> {
        let (validation_id, batch, part) = validation;
        let mut institutions: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for account in accounts {
            let row = account.row;
            let list = institutions.entry(account.institution).or_default();
            list.push(json!({
                "instructionID": row.instruction_id,
                "financialAddress": account.address,
                "amount": row.amount.parse::<serde_json::Number>().ok(),
                "currency": row.currency,
                "narration": row.narration,
            }));
        }
        let question = |(institution, list): (String, Vec<Value>)| {
            let name = format!("validate:{validation_id}:{part}:{institution}");
            let correlation_id = correlation(&self.keyring, &name);
            Question {
                target: self.bank_target(bank, CHECK_ACCOUNTS, &correlation_id, ANSWER_ACCOUNTS),
                correlation_id,
                body: json!({
                    "batchId": batch,
                    "destinationDFSPID": institution,
                    "creditInstructions": list,
                }),
            }
        };
        institutions.into_iter().map(question).collect()
    }

    pub(crate) async fn record_bank_validation(
        &self,
        origin: &Origin,
        request: pb::RecordBankValidationRequest,
    ) -> Result<pb::RecordBankValidationResponse, Error> {
        if request.failures.len() > MOST_FAILURES {
            let invalid = Invalid::new().add("failures", "must be at most 10000");
            return Err(invalid.into());
        }
        let db = self.db(origin).await?;
        let input = (origin.clone(), request, self.keyring.clone());
        db.write("payments.bank_validation", input, |tx, input| {
            Box::pin(async move {
                let (origin, request, keyring) = input;
                let id = request.correlation_id.as_str();
                let asked = sql::request(tx, id).await?;
                let asked = asked.filter(|asked| asked.kind == VALIDATE);
                let asked = asked.ok_or(Error::not_found("request to a bank"))?;
                if !sql::answer(tx, id, true, "").await? {
                    return Ok(pb::RecordBankValidationResponse {});
                }
                let validation = asked.subject_id;
                let told = told(tx, validation, &request.failures).await?;
                let open = sql::of_subject(tx, validation, VALIDATE).await?;
                let open = open.iter().any(|request| !request.answered);
                let target = validations::answered(tx, validation, told, !open).await?;
                if let (false, Some(sealed)) = (open, target) {
                    let target = callback::open_target(keyring, &sealed)?;
                    let name = format!("validation:{validation}");
                    let content = Content::Validation(validation);
                    callback::post(tx, keyring, origin, &name, &target, content).await?;
                }
                let body = json!({"failed": told, "open": open});
                let kind = "validation";
                append(
                    tx,
                    origin,
                    entry("payments.validation.bank_answered", kind, validation, body),
                );
                Ok::<_, Error>(pb::RecordBankValidationResponse {})
            })
        })
        .await
    }
}

impl Question {
    /// Notes the question and has it asked.
    pub(crate) async fn ask(
        &self,
        tx: &mut Tx<'_>,
        keyring: &Keyring,
        origin: &Origin,
        validation: Uuid,
    ) -> Result<(), Error> {
        sql::ask(tx, &self.correlation_id, VALIDATE, validation).await?;
        self.post(tx, keyring, origin).await
    }

    async fn post(&self, tx: &mut Tx<'_>, keyring: &Keyring, origin: &Origin) -> Result<(), Error> {
        let name = format!("bank:{}", self.correlation_id);
        let content = Content::Body(self.body.clone());
        callback::post(tx, keyring, origin, &name, &self.target, content).await
    }
}

/// Stores what a bank told, behind what is there, and tells how many.
async fn told(
    tx: &mut Tx<'_>,
    validation: Uuid,
    failures: &[pb::ValidationFailure],
) -> Result<i64, Error> {
    let last = validations::last_ordinal(tx, validation).await?;
    let first = last.map_or(BANK_ORDINALS, |last| last.max(BANK_ORDINALS) + 1);
    let rows: Vec<FailureRow> = (first..)
        .zip(failures)
        .map(|(ordinal, failure)| FailureRow {
            ordinal,
            instruction_id: failure.instruction_id.chars().take(16).collect(),
            reason_code: match failure.reason_code.as_str() {
                "" => "AC01".to_owned(),
                code => code.chars().take(4).collect(),
            },
            reason: failure.reason.chars().take(REASON_CHARS).collect(),
        })
        .collect();
    validations::insert_failures(tx, validation, &rows).await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}
