//! Callbacks: outcomes on their way to whoever asked for them.
//!
//! A callback is enqueued in the unit of its outcome and delivered until the target takes it.
//! What it says about people is sealed while it waits.

pub(crate) mod bills;
pub(crate) mod shapes;

use std::time::Duration;

use publica_outbound::{Call, Client, Limits, Method, Sent, Targets};
use publica_proto::payments::v1 as pb;
use publica_rpc::Invalid;
use publica_seal::Keyring;
use publica_store::{Db, Tx};
use publica_types::{Origin, Uuid};
use publica_work::{Backoff, Claimed, Job, Outcome, Policy, enqueue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::app::batch::system;
use crate::app::settle::patience;
use crate::domain::ids::{BatchId, named};
use crate::domain::partner::Kind;
use crate::error::Error;
use crate::jobs::CALLBACK;
use crate::sealed::CALLBACK as SEALED_CALLBACK;
use crate::store::batch::BatchRow;
use crate::store::callback as sql;

/// Under which targets and bodies are sealed.
const CONTENT_TYPE: &str = "application/json; charset=utf-8";
const URL_CHARS: usize = 2_000;
const CORRELATION_CHARS: usize = 64;
/// All of a batch is done.
const WHOLE: i64 = 100;

/// The generation of the published interface whose shape is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    V1,
    V3,
}

/// How somebody is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    #[default]
    Post,
    Put,
    /// A question, without a body.
    Get,
}

/// Whom to tell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    url: String,
    correlation_id: String,
    /// Whose secret signs.
    party: String,
    #[serde(default)]
    kind: Kind,
    pub(crate) form: Form,
    #[serde(default)]
    way: Way,
    /// Where a bank answers, if it is one.
    #[serde(default)]
    answer_to: Option<String>,
}

/// What is said: a body that is known already, or one that is read when it is delivered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Content {
    Body(Value),
    Validation(Uuid),
    Progress(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Letter {
    target: Target,
    content: Content,
}

impl Target {
    /// A bank that is asked something, and answers to this address.
    pub(crate) fn of_bank(url: String, correlation_id: &str, payer: &str, base: String) -> Self {
        Self {
            answer_to: Some(base),
            ..Self::to(url, correlation_id, (Kind::Bank, payer))
        }
    }

    /// A party with an interface of its own.
    pub(crate) fn to(url: String, correlation_id: &str, (kind, party): (Kind, &str)) -> Self {
        Self {
            url,
            correlation_id: correlation_id.to_owned(),
            party: party.to_owned(),
            kind,
            form: Form::V3,
            way: Way::Post,
            answer_to: None,
        }
    }

    /// A biller that is asked something and answers later.
    pub(crate) fn asking(url: String, correlation_id: &str, biller: &str) -> Self {
        let url = format!("{url}?fields=inquiry&requestId={correlation_id}");
        Self {
            way: Way::Get,
            ..Self::to(url, correlation_id, (Kind::Biller, biller))
        }
    }

    const fn method(&self) -> Method {
        match self.way {
            Way::Post => Method::POST,
            Way::Put => Method::PUT,
            Way::Get => Method::GET,
        }
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let id = self.correlation_id.clone();
        match &self.answer_to {
            Some(base) if base.is_empty() => vec![("x-client-correlation-id", id)],
            Some(base) => vec![
                ("x-client-correlation-id", id),
                ("x-registering-institution-id", self.party.clone()),
                ("x-callback-url", base.clone()),
            ],
            None if id.is_empty() => Vec::new(),
            None => vec![("x-correlationid", id)],
        }
    }

    /// The same, delivered by PUT.
    pub(crate) fn by_put(mut self) -> Self {
        self.way = Way::Put;
        self
    }
}

impl App {
    /// Where a caller wants to be told, if it may be called.
    pub(crate) fn target(
        &self,
        callback: Option<pb::Callback>,
        party: &str,
    ) -> Result<Option<Target>, Error> {
        let Some(callback) = callback else {
            return Ok(None);
        };
        let mut invalid = Invalid::new();
        if callback.url.chars().count() > URL_CHARS {
            invalid.push("callback.url", "must have at most 2000 characters");
        }
        if let Err(why) = self.targets().check(&callback.url) {
            invalid.push("callback.url", why);
        }
        let id = &callback.correlation_id;
        if id.len() > CORRELATION_CHARS || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            invalid.push(
                "callback.correlation_id",
                "must be at most 64 visible characters",
            );
        }
        let form = match callback.form() {
            pb::CallbackForm::V1 => Form::V1,
            pb::CallbackForm::V3 => Form::V3,
            pb::CallbackForm::Unspecified => {
                invalid.push("callback.form", "is required");
                Form::V3
            }
        };
        invalid.check()?;
        Ok(Some(Target {
            url: callback.url,
            correlation_id: callback.correlation_id,
            party: party.to_owned(),
            kind: Kind::Block,
            form,
            way: Way::Post,
            answer_to: None,
        }))
    }

    pub(crate) fn targets(&self) -> Targets {
        let config = &self.config.callbacks;
        Targets {
            allow_private: config.allow_private.unwrap_or(self.open_targets),
            hosts: config.hosts.clone(),
        }
    }
}

/// Leaves a callback to be delivered. `name` makes it the only one of its kind while it waits.
pub(crate) async fn post(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    origin: &Origin,
    name: &str,
    target: &Target,
    content: Content,
) -> Result<(), Error> {
    let target = target.clone();
    let letter = serde_json::to_vec(&Letter { target, content });
    let letter = letter.map_err(|_| Error::corrupt("a callback"))?;
    let sealed = keyring.seal_block(&SEALED_CALLBACK, &letter);
    // The name has numbers of the caller's own in it, so it is not kept in clear either.
    let id = named("callback", name.as_bytes()).to_string();
    enqueue(tx, origin, Job::new(CALLBACK, id, sealed)).await?;
    Ok(())
}

/// Remembers whom to tell about a batch.
pub(crate) async fn follow(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    batch_id: BatchId,
    target: &Target,
) -> Result<(), Error> {
    let sealed = seal_target(keyring, target)?;
    Ok(sql::insert(tx, batch_id, &sealed).await?)
}

pub(crate) fn seal_target(keyring: &Keyring, target: &Target) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(target).map_err(|_| Error::corrupt("a callback"))?;
    Ok(keyring.seal_block(&SEALED_CALLBACK, &text))
}

pub(crate) fn open_target(keyring: &Keyring, sealed: &[u8]) -> Result<Target, Error> {
    let text = keyring.open_block(&SEALED_CALLBACK, sealed)?;
    serde_json::from_slice(&text).map_err(|_| Error::corrupt("a callback"))
}

/// Tells how far a batch has come, if it has come to the next phase. `ended` when nothing more
/// will happen to it.
pub(crate) async fn tell_progress(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    phases: &[i64],
    batch: &BatchRow,
    ended: bool,
) -> Result<(), Error> {
    let id = batch.batch_id;
    let Some(known) = sql::find(tx, id).await? else {
        return Ok(());
    };
    let share = match ended {
        true => WHOLE,
        false => {
            let done = sql::rows_done(tx, id).await?;
            done * WHOLE / batch.received_count.max(1)
        }
    };
    let reached = phases.iter().copied().filter(|phase| *phase <= share);
    let Some(phase) = reached.max().filter(|phase| *phase > known.phase) else {
        return Ok(());
    };
    // All rows may be done while some outcomes are still unknown; the end is told at the end.
    if phase >= WHOLE && !ended {
        return Ok(());
    }
    if !sql::set_phase(tx, id, phase).await? {
        return Ok(());
    }
    let target = open_target(keyring, &known.target)?;
    let (name, content) = (
        format!("progress:{id}:{phase}"),
        Content::Progress(id.to_string()),
    );
    post(tx, keyring, &system(batch), &name, &target, content).await
}

/// Delivers callbacks.
pub(crate) struct Deliverer {
    client: Client,
}

impl Deliverer {
    pub(crate) fn new(app: &App) -> Result<Self, String> {
        let limits = Limits {
            allow_private: app.targets().allow_private,
            timeout: app.config.callbacks.timeout(),
            user_agent: "publica-payments",
        };
        let client = Client::new(limits).map_err(|error| error.to_string())?;
        Ok(Self { client })
    }

    /// How deliveries are tried.
    pub(crate) fn policy(app: &App) -> Policy {
        let config = &app.config.callbacks;
        Policy {
            concurrency: config.concurrency,
            lease: config.timeout() * 3,
            // What ends it is time, not the number of attempts.
            attempts: i64::MAX,
            backoff: Backoff::default(),
        }
    }

    pub(crate) async fn deliver(&self, app: &App, job: &Claimed) -> Result<Outcome, Error> {
        let letter = app.keyring.open_block(&SEALED_CALLBACK, &job.payload)?;
        let letter: Letter =
            serde_json::from_slice(&letter).map_err(|_| Error::corrupt("a callback"))?;
        let target = letter.target;
        let body = match letter.content {
            Content::Body(body) => body,
            Content::Validation(id) => app.validation_body(&job.db, id).await?,
            Content::Progress(id) => app.progress_body(&job.db, &id).await?,
        };
        let sent = self.send(app, &job.key, &target, &body).await?;
        let give_up = app.config.callbacks.give_up_hours;
        Ok(sent.outcome(job.created, app.clock.now(), give_up))
    }

    /// Tells a biller that a bill was paid, until it has answered.
    pub(crate) async fn advise(&self, app: &App, job: &Claimed) -> Result<Outcome, Error> {
        let Some((target, body)) = app.advice(&job.db, &job.payload).await? else {
            return Ok(Outcome::Done);
        };
        let sent = self.send(app, &job.key, &target, &body).await?;
        if let Some(reason) = sent.problem() {
            tracing::warn!(reason, "a biller was not told that a bill was paid");
        }
        // Taking the advice is not answering it. One that is never answered is an operator's
        // case, who may have it sent once more.
        let hours = app.config.callbacks.advice_hours;
        if app.clock.now().since(job.created) >= Duration::from_hours(u64::from(hours)) {
            let reason = format!("the biller has not answered within {hours} hours");
            return Ok(Outcome::dead(reason));
        }
        let after = patience(job.created, app.clock.now());
        Ok(Outcome::Again { after })
    }

    async fn send(
        &self,
        app: &App,
        id: &str,
        target: &Target,
        body: &Value,
    ) -> Result<Sent, Error> {
        let url = match app.targets().check(&target.url) {
            Ok(url) => url,
            Err(why) => {
                let reason = format!("the target {why}");
                return Ok(Sent::Refused { reason });
            }
        };
        let call = Call {
            method: target.method(),
            url,
            id: id.to_owned(),
            now: app.clock.now(),
            secrets: vec![app.callback_secret(target.kind, &target.party)],
            headers: target.headers(),
            content_type: CONTENT_TYPE,
            body: match target.way {
                Way::Get => Vec::new(),
                Way::Post | Way::Put => body.to_string().into_bytes(),
            },
        };
        Ok(self.client.send(call).await)
    }
}

impl App {
    async fn validation_body(&self, db: &Db, id: Uuid) -> Result<Value, Error> {
        let (row, failures) = self.validation_result(db, id).await?;
        Ok(shapes::validation(&row, &failures))
    }

    async fn progress_body(&self, db: &Db, batch_id: &str) -> Result<Value, Error> {
        let batch = self.batch(db, batch_id).await?;
        let progress = self.progress(db, batch).await?;
        Ok(shapes::progress(&progress))
    }
}
