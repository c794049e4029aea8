//! Notices to people, given through the messaging block: enqueued in the unit that they tell of,
//! sent afterwards, a bounded number of people at a time.

use std::collections::BTreeMap;

use publica_journal::append;
use publica_proto::consent::v1 as pb;
use publica_proto::messaging::v1 as messaging;
use publica_proto::messaging::v1::message_service_client::MessageServiceClient;
use publica_seal::SubjectKey;
use publica_store::Tx;
use publica_types::{Origin, Timestamp};
use publica_work::{Claimed, Handler, Job, Outcome, Policy, Ticket, Worker, enqueue};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::individuals::open_known;
use super::shown::open_circumstances;
use super::texts::text;
use super::{App, Shop, Who, entry, root};
use crate::domain::notice::{self, Kind, Values};
use crate::error::Error;
use crate::store;
use crate::store::notice::Concerned;

/// The block that delivers.
pub(crate) const PEER: &str = "messaging";
/// The kind of job that tells people something.
const TELL: &str = "consent.tell_people";
/// People who are told at a time.
const CHUNK: i64 = 500;
/// Agreements that are looked up at a time.
const AGREEMENTS: i64 = 100;

/// Something that people are to be told. It waits in the store, so it names nobody but by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    pub(super) kind: Kind,
    pub(super) about: About,
    /// What it tells of, so that the rounds of two changes are told apart.
    #[serde(default)]
    pub(super) cause: String,
}

/// Whom a notice concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum About {
    /// Everybody with a yes to an agreement, behind the answer with this time and id.
    Agreement {
        id: String,
        after: Option<(i64, String)>,
    },
    /// Everybody with a yes to an agreement under a policy, behind this agreement.
    Policy { id: String, after: String },
    /// Those who gave these answers, as far as they are still a yes.
    Answers { ids: Vec<String> },
    /// One person, whatever they answered.
    Person {
        individual_id: String,
        agreement_id: String,
        reference: String,
    },
}

/// What one person is sent.
struct Letter {
    /// What it is about, for the proof that it was sent: a record or a delegation.
    reference: String,
    email: String,
    subject: String,
    text: String,
}

/// A round of telling: what is sent, and what is left to do.
#[derive(Default)]
pub(super) struct Round {
    letters: Vec<Letter>,
    pub(super) further: Vec<Job>,
}

/// What an agreement adds to a text.
struct Named {
    controller: String,
    purpose: String,
    language: String,
}

/// Why a round failed.
enum Failed {
    /// Another attempt may help.
    Now(String),
    /// No further attempt helps.
    ForGood(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        tracing::warn!(%error, "a notice could not be prepared");
        Self::Now("the store could not be read or written".to_owned())
    }
}

fn job(notice: &Notice, key: String) -> Job {
    // These types always have a JSON form.
    let payload = serde_json::to_vec(notice).unwrap_or_default();
    Job::new(TELL, key, payload).lane(2)
}

impl Notice {
    /// A further round of it, told from those of other changes by what it tells of.
    fn further(&self, about: About, place: &str) -> Job {
        let key = format!("{}:{}:{place}", self.kind.name(), self.cause);
        let (kind, cause) = (self.kind, self.cause.clone());
        job(&Self { kind, about, cause }, key)
    }
}

/// Leaves a notice to be given once this unit is durable; `cause` tells it from all others. Where
/// nobody could deliver it nothing is left, so that no heap of old news waits for the peer.
async fn leave(
    tx: &mut Tx<'_>,
    shop: &Shop,
    origin: &Origin,
    (kind, about): (Kind, About),
    cause: &str,
) -> Result<(), Error> {
    if !shop.tells_people() {
        return Ok(());
    }
    let key = format!("{}:{cause}", kind.name());
    let cause = cause.to_owned();
    let notice = Notice { kind, about, cause };
    enqueue(tx, origin, job(&notice, key)).await?;
    Ok(())
}

/// Tells everybody with a yes to an agreement.
pub(crate) async fn agreement(
    tx: &mut Tx<'_>,
    shop: &Shop,
    origin: &Origin,
    kind: Kind,
    agreement_id: &str,
    revision_id: &str,
) -> Result<(), Error> {
    let about = About::Agreement {
        id: agreement_id.to_owned(),
        after: None,
    };
    leave(tx, shop, origin, (kind, about), revision_id).await
}

/// Tells everybody with a yes to an agreement under a policy.
pub(crate) async fn policy(
    tx: &mut Tx<'_>,
    shop: &Shop,
    origin: &Origin,
    policy_id: &str,
    revision_id: &str,
) -> Result<(), Error> {
    let about = About::Policy {
        id: policy_id.to_owned(),
        after: String::new(),
    };
    let kind = Kind::PolicyChanged;
    leave(tx, shop, origin, (kind, about), revision_id).await
}

/// Tells those who gave these answers.
pub(crate) async fn answers(
    tx: &mut Tx<'_>,
    shop: &Shop,
    origin: &Origin,
    kind: Kind,
    ids: Vec<String>,
    cause: &str,
) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let about = About::Answers { ids };
    leave(tx, shop, origin, (kind, about), cause).await
}

/// Whom one notice is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct For<'a> {
    pub(crate) individual_id: &'a str,
    /// Empty when no agreement is meant.
    pub(crate) agreement_id: &'a str,
    /// What it is about: a record or a delegation.
    pub(crate) reference: &'a str,
}

/// Tells one person.
pub(crate) async fn person(
    tx: &mut Tx<'_>,
    shop: &Shop,
    origin: &Origin,
    kind: Kind,
    whom: For<'_>,
    cause: &str,
) -> Result<(), Error> {
    let about = About::Person {
        individual_id: whom.individual_id.to_owned(),
        agreement_id: whom.agreement_id.to_owned(),
        reference: whom.reference.to_owned(),
    };
    leave(tx, shop, origin, (kind, about), cause).await
}

/// Tells the person that somebody else gave, changed or signed an answer of theirs: a delegate, or
/// whoever assisted.
pub(crate) async fn answered(
    tx: &mut Tx<'_>,
    shop: &Shop,
    who: &Who,
    row: &store::record::Row,
) -> Result<(), Error> {
    let whom = For {
        individual_id: &row.individual_id,
        agreement_id: &row.agreement_id,
        reference: &row.record_id,
    };
    let cause = format!("{}:{}", row.revision_id, row.signature_id);
    person(tx, shop, &who.origin, Kind::AnsweredForYou, whom, &cause).await
}

impl Shop {
    /// Whether people can be told anything.
    pub(crate) fn tells_people(&self) -> bool {
        !self.rules.notices.sender.is_empty() && self.peers.is_configured(PEER)
    }

    /// What an agreement adds to a text: as it is published, or as it was last.
    async fn named(&self, agreement_id: &str) -> Result<Option<Named>, Error> {
        if agreement_id.is_empty() {
            return Ok(None);
        }
        let Some(row) = store::agreement::find(&self.db, agreement_id).await? else {
            return Ok(None);
        };
        let agreement = match row.published_revision_id.as_str() {
            "" => row.agreement()?,
            id => text(self, id).await?.agreement.clone(),
        };
        Ok(Some(Named {
            controller: agreement.controller.unwrap_or_default().name,
            purpose: agreement.purpose,
            language: agreement.language,
        }))
    }

    /// What one person is sent, if they can be written to.
    fn letter(
        &self,
        kind: Kind,
        known: &pb::KnownIdentity,
        languages: &[&str],
        named: Option<&Named>,
        (reference, date): (&str, &str),
    ) -> Option<Letter> {
        let kept = (&known.external_id_type, &known.external_id);
        let email = notice::address(&known.email, kept.0, kept.1)?;
        let rules = &self.rules.notices;
        let mut wanted = languages.to_vec();
        wanted.extend(named.map(|one| one.language.as_str()));
        wanted.push(&rules.language);
        let words = rules.texts.choose(&wanted, kind)?;
        let values = Values {
            controller: named.map_or("", |one| &one.controller),
            purpose: named.map_or("", |one| &one.purpose),
            date,
            link: &rules.link,
            reference,
        };
        Some(Letter {
            reference: reference.to_owned(),
            email: email.to_owned(),
            subject: words.subject.clone(),
            text: notice::fill(&words.text, &values),
        })
    }

    /// What the people behind some answers are sent.
    async fn letters(&self, kind: Kind, rows: &[Concerned]) -> Result<Vec<Letter>, Error> {
        let people: Vec<&str> = rows.iter().map(|row| row.individual_id.as_str()).collect();
        if people.is_empty() {
            return Ok(Vec::new());
        }
        // Whose key was destroyed is left out: nothing is known of them any more.
        let keys = self.keyring.load_many(&self.db, &people).await?;
        let mut named: BTreeMap<&str, Option<Named>> = BTreeMap::new();
        let now = self.now();
        let mut letters = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(key) = keys.get(&row.individual_id) else {
                continue;
            };
            let ends = row.valid_until.map(date).unwrap_or_default();
            // What has ended meanwhile does not end soon.
            if kind == Kind::Expiring && row.valid_until.is_none_or(|until| until <= now) {
                continue;
            }
            if !named.contains_key(row.agreement_id.as_str()) {
                named.insert(&row.agreement_id, self.named(&row.agreement_id).await?);
            }
            let agreement = named
                .get(row.agreement_id.as_str())
                .and_then(Option::as_ref);
            let language = language(key, row.circumstances.as_deref())?;
            let about = (row.record_id.as_str(), ends.as_str());
            let known = open_known(key, &row.known)?;
            letters.extend(self.letter(kind, &known, &[&language], agreement, about));
        }
        Ok(letters)
    }
}

/// The language in which a person answered.
fn language(key: &SubjectKey, circumstances: Option<&[u8]>) -> Result<String, Error> {
    match circumstances {
        Some(sealed) => Ok(open_circumstances(key, sealed)?.language),
        None => Ok(String::new()),
    }
}

fn date(time: Timestamp) -> String {
    let (year, month, day) = time.date();
    format!("{year:04}-{month:02}-{day:02}")
}

impl App {
    /// Gives notices until `stop`.
    pub(crate) async fn tell_people(&self, stop: CancellationToken) {
        // Two at a time: a notice to a million people must not keep others from theirs, and none
        // of them hurries.
        let policy = Policy {
            concurrency: 2,
            ..Policy::default()
        };
        let (clock, entropy) = (self.0.clock.clone(), self.0.entropy.clone());
        let worker = Worker::new(self.0.stores.clone(), clock, entropy);
        let worker = worker.on_with(TELL, Teller(self.clone()), policy);
        worker.run(stop).await;
    }

    pub(super) async fn round(&self, shop: &Shop, notice: &Notice) -> Result<Round, Error> {
        let kind = notice.kind;
        let mut round = Round::default();
        match &notice.about {
            About::Agreement { id, after } => {
                let place = match after {
                    Some((at, record)) => (Timestamp::from_micros(*at), record.as_str()),
                    None => (store::FIRST_TIME, ""),
                };
                let rows = store::notice::concerned(&shop.db, id, place, CHUNK).await?;
                if let Some(last) = rows.last().filter(|_| is_full(rows.len(), CHUNK)) {
                    let place = format!("{id}:{}", last.record_id);
                    let after = Some((last.created.micros(), last.record_id.clone()));
                    let id = id.clone();
                    let about = About::Agreement { id, after };
                    round.further.push(notice.further(about, &place));
                }
                round.letters = shop.letters(kind, &rows).await?;
            }
            About::Policy { id, after } => {
                round.further = under_policy(shop, notice, id, after).await?;
            }
            About::Answers { ids } => {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                let rows = store::notice::standing(&shop.db, &ids).await?;
                round.letters = shop.letters(kind, &rows).await?;
            }
            About::Person {
                individual_id,
                agreement_id,
                reference,
            } => {
                let whom = For {
                    individual_id,
                    agreement_id,
                    reference,
                };
                round.letters.extend(letter_to(shop, kind, whom).await?);
            }
        }
        Ok(round)
    }

    async fn tell(&self, job: &Claimed) -> Result<(), Failed> {
        let unreadable = |_| Failed::ForGood("the notice cannot be read".to_owned());
        let notice: Notice = serde_json::from_slice(&job.payload).map_err(unreadable)?;
        let shop = self.shop(&job.origin.tenant).await?;
        let round = self.round(&shop, &notice).await?;
        if !round.letters.is_empty() {
            send(&shop, job, &notice, &round.letters).await?;
        }
        let sent: Vec<&str> = round.letters.iter().map(|one| &*one.reference).collect();
        let told = (!sent.is_empty()).then(
            || json!({ "notice": notice.kind.name(), "people": sent.len(), "root": root(&sent) }),
        );
        let done = Done {
            origin: job.origin.clone(),
            ticket: job.ticket(),
            subject: subject(&notice),
            told,
            further: round.further,
        };
        let kept = shop.db.write("consent.tell_people", done, |tx, done| {
            Box::pin(done.write(tx))
        });
        Ok(kept.await?)
    }
}

/// What is left to do for a policy: a notice for each agreement under it, and the next round.
async fn under_policy(
    shop: &Shop,
    notice: &Notice,
    id: &str,
    after: &str,
) -> Result<Vec<Job>, Error> {
    let published = i64::from(pb::AgreementLifecycle::Complete as i32);
    let found = store::notice::agreements(&shop.db, id, after, published, AGREEMENTS).await?;
    let full = is_full(found.len(), AGREEMENTS);
    let last = found.last().filter(|_| full).cloned();
    let agreements = found.into_iter().map(|agreement| {
        let place = format!("{id}:of:{agreement}");
        let about = About::Agreement {
            id: agreement,
            after: None,
        };
        notice.further(about, &place)
    });
    let mut further: Vec<Job> = agreements.collect();
    further.extend(last.map(|last| {
        let place = format!("{id}:after:{last}");
        let about = About::Policy {
            id: id.to_owned(),
            after: last,
        };
        notice.further(about, &place)
    }));
    Ok(further)
}

fn is_full(rows: usize, limit: i64) -> bool {
    i64::try_from(rows) == Ok(limit)
}

/// What one person is sent who is told of something that is not a yes of theirs.
async fn letter_to(shop: &Shop, kind: Kind, whom: For<'_>) -> Result<Option<Letter>, Error> {
    let id = whom.individual_id;
    let Some(sealed) = store::notice::person(&shop.db, id).await? else {
        return Ok(None);
    };
    let Some(key) = super::shown::key_of(shop, id).await? else {
        return Ok(None);
    };
    let named = shop.named(whom.agreement_id).await?;
    let known = open_known(&key, &sealed)?;
    let spoken = match store::record::current(&shop.db, id, whom.agreement_id).await? {
        Some(row) => language(&key, row.sealed.as_deref())?,
        None => String::new(),
    };
    let about = (whom.reference, "");
    Ok(shop.letter(kind, &known, &[&spoken], named.as_ref(), about))
}

/// What the journal's entry about a round is about.
fn subject(notice: &Notice) -> (&'static str, String) {
    match &notice.about {
        About::Agreement { id, .. } => ("agreement", id.clone()),
        About::Policy { id, .. } => ("policy", id.clone()),
        About::Answers { .. } => ("consent_records", String::new()),
        About::Person { individual_id, .. } => ("individual", individual_id.clone()),
    }
}

/// What is written once a round was handed over.
struct Done {
    origin: Origin,
    ticket: Ticket,
    subject: (&'static str, String),
    told: Option<serde_json::Value>,
    further: Vec<Job>,
}

impl Done {
    async fn write(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        for job in &self.further {
            enqueue(tx, &self.origin, job.clone()).await?;
        }
        self.ticket.finish(tx).await?;
        if let Some(told) = &self.told {
            let (kind, id) = &self.subject;
            let entry = entry("consent.notice.sent", kind, id, told.clone());
            append(tx, &self.origin, entry);
        }
        Ok(())
    }
}

/// Hands letters to the messaging block. The job's id makes a repeat harmless.
async fn send(
    shop: &Shop,
    job: &Claimed,
    notice: &Notice,
    letters: &[Letter],
) -> Result<(), Failed> {
    use messaging::send_email_batch_request::Part;
    let rules = &shop.rules.notices;
    // The words differ by person and language, so the template holds nothing else.
    let body = messaging::Content {
        subject: "{{ subject }}".to_owned(),
        text: "{{ text }}".to_owned(),
        ..messaging::Content::default()
    };
    let many = matches!(notice.about, About::Agreement { .. } | About::Policy { .. });
    let priority = if many {
        messaging::Priority::Bulk
    } else {
        messaging::Priority::Normal
    };
    let header = messaging::BatchHeader {
        envelope: Some(messaging::Envelope {
            sender: Some(messaging::Sender {
                email: rules.sender.clone(),
                name: rules.sender_name.clone(),
                ..messaging::Sender::default()
            }),
            body: Some(messaging::envelope::Body::InlineTemplate(body)),
            priority: priority.into(),
            category: "consent".to_owned(),
            ..messaging::Envelope::default()
        }),
        request_id: job.id().to_string(),
    };
    let recipients = letters.iter().map(|letter| messaging::Recipient {
        email: letter.email.clone(),
        parameters: [
            ("subject".to_owned(), letter.subject.clone()),
            ("text".to_owned(), letter.text.clone()),
        ]
        .into(),
        ..messaging::Recipient::default()
    });
    let recipients = messaging::RecipientList {
        recipients: recipients.collect(),
    };
    let parts = [Part::Header(header), Part::Recipients(recipients)];
    let parts = parts.map(|part| messaging::SendEmailBatchRequest { part: Some(part) });
    let mut client = MessageServiceClient::new(shop.peers.link(PEER));
    let stream = futures::stream::iter(parts);
    let sent = client.send_email_batch(publica_rpc::outgoing(&job.origin, stream));
    match sent.await {
        Ok(_) => Ok(()),
        Err(status) => refused(&status),
    }
}

/// What becomes of letters that the messaging block did not take.
fn refused(status: &Status) -> Result<(), Failed> {
    let reason = publica_rpc::reason(status).unwrap_or_default();
    if reason == "REQUEST_ID_REUSED" {
        // An earlier attempt was taken; since then somebody changed an address or withdrew.
        return Ok(());
    }
    let name = publica_rpc::code_name(status.code());
    let said = format!("the messaging block answered {name} {reason}");
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => {
            tracing::error!(
                reason,
                "the messaging block refuses notices; this service needs the scope \
                 messaging:message:send there, and to be allowed its sender's domain"
            );
            Err(Failed::ForGood(said))
        }
        Code::InvalidArgument | Code::NotFound => Err(Failed::ForGood(said)),
        _ => Err(Failed::Now(said)),
    }
}

/// Gives notices.
struct Teller(App);

impl Handler for Teller {
    async fn run(&self, job: Claimed) -> Outcome {
        match self.0.tell(&job).await {
            Ok(()) => Outcome::Done,
            Err(Failed::Now(reason)) => Outcome::retry(reason),
            Err(Failed::ForGood(reason)) => Outcome::dead(reason),
        }
    }
}
