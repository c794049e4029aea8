//! Banks of payers: asked whether a batch may be paid, and whether accounts can be.

mod silence;

use std::collections::BTreeMap;
use std::time::Duration;

use publica_journal::{append, write};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::{Origin, Uuid};
use serde_json::{Value, json};

use crate::app::batch::{release, system};
use crate::app::callback::{self, Content, Target, shapes};
use crate::app::partner::{check_clients, put_clients};
use crate::app::release::Progress;
use crate::app::{App, call, check_short, check_text, entry};
use crate::domain::batch::State;
use crate::domain::ids::{BatchId, ProgrammeId};
use crate::domain::instruction::Received;
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::sealed::BANK_SAID;
use crate::store::bank::{self as sql, AUTHORISE, Answer, BankRow, RequestRow, VALIDATE};
use crate::store::batch::{self as batches, BatchRow};
use crate::store::programme;
use crate::store::validation::{self as validations, FailureRow};

/// Under which what banks say is sealed.
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
    /// The instructions that it is about.
    items: Vec<String>,
    /// How long the bank has to answer.
    patience: Duration,
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
        check_clients(&mut invalid, "clients", &request.clients);
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
        let clients = match bank.url.is_empty() {
            // Nobody speaks for a bank that is forgotten.
            true => Vec::new(),
            false => request.clients,
        };
        let input = (origin.clone(), request.programme, bank, clients);
        write(
            &db,
            call,
            input,
            |tx, (origin, programme, bank, clients)| {
                Box::pin(async move {
                    let found = programme::find_programme_by(tx, programme).await?;
                    let id = found.ok_or(Error::not_found("programme"))?.programme_id;
                    sql::put(tx, id, bank).await?;
                    put_clients(tx, origin, Kind::Bank, &id.to_string(), clients).await?;
                    let body = json!({"named": !bank.url.is_empty()});
                    append(
                        tx,
                        origin,
                        entry("payments.programme.bank_set", "programme", id, body),
                    );
                    Ok(pb::SetPayerBankResponse {})
                })
            },
        )
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
            items: Vec::new(),
            patience: self.config.callbacks.bank_patience(),
        };
        let input = (batch.clone(), self.keyring.clone(), question);
        db.write("payments.authorise", input, |tx, input| {
            Box::pin(async move {
                let (batch, keyring, question) = input;
                let origin = system(batch);
                let id = batch.batch_id;
                let subject = (AUTHORISE, id.as_uuid());
                sql::ask(tx, &question.correlation_id, subject, &[]).await?;
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

    /// What a bank was asked about under an id.
    async fn asked_about(&self, db: &Db, correlation_id: &str, kind: i64) -> Result<Uuid, Error> {
        let asked = sql::request(&mut db.clone(), correlation_id).await?;
        let asked = asked.filter(|asked| asked.kind == kind);
        Ok(asked
            .ok_or(Error::not_found("request to a bank"))?
            .subject_id)
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
        let subject = self
            .asked_about(&db, &request.correlation_id, AUTHORISE)
            .await?;
        let batch = batches::find(&mut db.clone(), BatchId::from_uuid(subject)).await?;
        let batch = batch.ok_or(Error::corrupt("a batch is missing"))?;
        self.speak_for_bank(origin, batch.programme_id, &request.payer_identifier)
            .await?;
        let answer = Answer {
            accepted: request.accepted,
            silent: false,
            reason: self.seal_said(&request.reason),
        };
        let input = (
            origin.clone(),
            request.correlation_id,
            batch.batch_id,
            answer,
        );
        db.write("payments.bank_answer", input, |tx, input| {
            Box::pin(async move {
                let (origin, correlation_id, batch_id, answer) = input;
                if sql::answer(tx, correlation_id, answer).await? {
                    go_on(tx, origin, *batch_id, answer).await?;
                }
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
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for account in accounts {
            let row = account.row;
            let named = ids.entry(account.institution.clone()).or_default();
            named.push(row.instruction_id.clone());
            let list = institutions.entry(account.institution).or_default();
            list.push(json!({
                "instructionID": row.instruction_id,
                "financialAddress": account.address,
                "amount": row.amount.parse::<serde_json::Number>().ok(),
                "currency": row.currency,
                "narration": row.narration,
            }));
        }
        let mut question = |(institution, list): (String, Vec<Value>)| {
            let name = format!("validate:{validation_id}:{part}:{institution}");
            let correlation_id = correlation(&self.keyring, &name);
            Question {
                items: ids.remove(&institution).unwrap_or_default(),
                patience: self.config.callbacks.bank_patience(),
                target: self.bank_target(bank, CHECK_ACCOUNTS, &correlation_id, ANSWER_ACCOUNTS),
                correlation_id,
                body: json!({
                    "batchId": batch,
                    "destinationDFSPID": institution,
                    "creditInstructions": list,
                }),
            }
        };
        institutions.into_iter().map(&mut question).collect()
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
        let subject = self
            .asked_about(&db, &request.correlation_id, VALIDATE)
            .await?;
        let programme_id = paying(&db, subject).await?;
        self.speak_for_bank(origin, programme_id, &request.payer_identifier)
            .await?;
        let told = Told {
            correlation_id: request.correlation_id,
            answer: Answer {
                accepted: true,
                ..Answer::default()
            },
            failures: self.refused_accounts(request.failures),
        };
        let input = (origin.clone(), self.keyring.clone(), told);
        db.write("payments.bank_validation", input, |tx, input| {
            Box::pin(async move {
                let (origin, keyring, told) = input;
                conclude(tx, keyring, origin, told).await?;
                Ok::<_, Error>(pb::RecordBankValidationResponse {})
            })
        })
        .await
    }

    /// What a bank says about accounts, in its own words, which are sealed.
    fn refused_accounts(&self, failures: Vec<pb::ValidationFailure>) -> Vec<FailureRow> {
        let row = |failure: pb::ValidationFailure| FailureRow {
            ordinal: 0,
            instruction_id: failure.instruction_id.chars().take(16).collect(),
            reason_code: match failure.reason_code.as_str() {
                "" => "AC01".to_owned(),
                code => code.chars().take(4).collect(),
            },
            reason: String::new(),
            sealed: self.seal_said(&failure.reason),
        };
        failures.into_iter().map(row).collect()
    }

    /// Seals what a bank said; nothing stays nothing.
    fn seal_said(&self, said: &str) -> Vec<u8> {
        let short: String = said.chars().take(REASON_CHARS).collect();
        match short.is_empty() {
            true => Vec::new(),
            false => self.keyring.seal_block(&BANK_SAID, short.as_bytes()),
        }
    }

    fn open_said(&self, sealed: &[u8]) -> Result<String, Error> {
        let said = self.keyring.open_block(&BANK_SAID, sealed)?;
        String::from_utf8(said).map_err(|_| Error::corrupt("what a bank said"))
    }

    /// Failures with the banks' own words in clear.
    pub(crate) fn open_failures(
        &self,
        mut failures: Vec<FailureRow>,
    ) -> Result<Vec<FailureRow>, Error> {
        for failure in failures.iter_mut().filter(|row| !row.sealed.is_empty()) {
            failure.reason = self.open_said(&failure.sealed)?;
        }
        Ok(failures)
    }

    /// What a batch's bank said when it refused; empty where it did not.
    pub(crate) async fn bank_reason(&self, db: &Db, batch: &BatchRow) -> Result<String, Error> {
        if batch.state()? != State::FundsRefused {
            return Ok(String::new());
        }
        let answer = self.authorised(db, batch).await?;
        match answer.filter(|answer| !answer.accepted && !answer.reason.is_empty()) {
            Some(answer) => self.open_said(&answer.reason),
            None => Ok(String::new()),
        }
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
        let items = serde_json::to_vec(&self.items).map_err(|_| Error::corrupt("a question"))?;
        sql::ask(tx, &self.correlation_id, (VALIDATE, validation), &items).await?;
        self.post(tx, keyring, origin).await
    }

    async fn post(&self, tx: &mut Tx<'_>, keyring: &Keyring, origin: &Origin) -> Result<(), Error> {
        silence::watch(tx, origin, &self.correlation_id, self.patience).await?;
        let name = format!("bank:{}", self.correlation_id);
        let content = Content::Body(self.body.clone());
        callback::post(tx, keyring, origin, &name, &self.target, content).await
    }
}

/// The programme whose bank was asked about a validation.
async fn paying(db: &Db, validation: Uuid) -> Result<ProgrammeId, Error> {
    let row = validations::find(&mut db.clone(), validation).await?;
    let row = row.ok_or(Error::corrupt("a validation is missing"))?;
    let source = programme::find_source_by_no(&mut db.clone(), row.source_no).await?;
    let programme_id = source.and_then(|source| source.programme_id);
    programme_id.ok_or(Error::corrupt("a validation has no programme"))
}

/// Has a batch go on whose bank has answered, or did not in time.
pub(crate) async fn go_on(
    tx: &mut Tx<'_>,
    origin: &Origin,
    batch_id: BatchId,
    answer: &Answer,
) -> Result<(), Error> {
    let batch = batches::lock(tx, batch_id).await?;
    release(tx, &batch).await?;
    // What a bank says may name people, so it stays out of the journal.
    let body = json!({"accepted": answer.accepted, "silent": answer.silent});
    let answered = entry("payments.batch.bank_answered", "batch", batch_id, body);
    append(tx, origin, answered);
    Ok(())
}

/// A bank's answer about accounts, or what stands for one.
pub(crate) struct Told {
    pub(crate) correlation_id: String,
    pub(crate) answer: Answer,
    pub(crate) failures: Vec<FailureRow>,
}

/// Notes a bank's answer about accounts and, once all questions of the validation have one, has
/// the result told. A second answer changes nothing.
pub(crate) async fn conclude(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    told: &Told,
) -> Result<(), Error> {
    let id = told.correlation_id.as_str();
    let asked = sql::request(tx, id).await?;
    let asked = asked.filter(|asked| asked.kind == VALIDATE);
    let asked = asked.ok_or(Error::not_found("request to a bank"))?;
    if !sql::answer(tx, id, &told.answer).await? {
        return Ok(());
    }
    let validation = asked.subject_id;
    let count = insert(tx, validation, &told.failures).await?;
    let open = sql::of_subject(tx, validation, VALIDATE).await?;
    let open = open.iter().any(|request| !request.answered);
    let target = validations::answered(tx, validation, count, !open).await?;
    if let (false, Some(sealed)) = (open, target) {
        let target = callback::open_target(keyring, &sealed)?;
        let name = format!("validation:{validation}");
        let content = Content::Validation(validation);
        callback::post(tx, keyring, origin, &name, &target, content).await?;
    }
    let body = json!({"failed": count, "open": open, "silent": told.answer.silent});
    let answered = entry(
        "payments.validation.bank_answered",
        "validation",
        validation,
        body,
    );
    append(tx, origin, answered);
    Ok(())
}

/// Stores what a bank told behind what is there, and tells how many.
async fn insert(tx: &mut Tx<'_>, validation: Uuid, told: &[FailureRow]) -> Result<i64, Error> {
    let last = validations::last_ordinal(tx, validation).await?;
    let first = last.map_or(BANK_ORDINALS, |last| last.max(BANK_ORDINALS) + 1);
    let rows: Vec<FailureRow> = (first..)
        .zip(told)
        .map(|(ordinal, failure)| FailureRow {
            ordinal,
            ..failure.clone()
        })
        .collect();
    validations::insert_failures(tx, validation, &rows).await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}
