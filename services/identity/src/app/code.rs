//! One-time codes: sending them and checking them.
//!
//! Whether a person exists must not be found out here. Unknown, blocked and locked people get
//! the same answers, under the same limits, after the same statements; and the mail itself is
//! durable work that nobody waits for.

use publica_journal::{Entry, Outcome};
use publica_proto::identity::v1 as pb;
use publica_store::Tx;
use publica_types::{Origin, Timestamp, Uuid};
use serde_json::json;

use crate::app::mail::SendCode;
use crate::app::sign_in::held;
use crate::app::{App, details, sha256};
use crate::domain::authorization::ACR_GENERATED_CODE;
use crate::domain::identifier::normalise;
use crate::domain::mask::{decoy, mask};
use crate::domain::number::Digits;
use crate::domain::person::{IdentifierId, PersonId, PersonState};
use crate::domain::sign_in::{AttemptPolicy, Counter, SignInState};
use crate::error::{Error, Refused};
use crate::store::factor::{self, EMAIL_CODE};
use crate::store::{self, limit};

const MAX_ADDRESS: usize = 64;

/// A request to send a code.
struct Sending {
    app: App,
    origin: Origin,
    hash: Vec<u8>,
    details: String,
    typed: String,
    address: String,
}

/// A try to authenticate.
struct Attempt {
    app: App,
    origin: Origin,
    hash: Vec<u8>,
    details: String,
    typed: String,
    code: String,
}

/// What came of a try.
enum Tried {
    Right {
        consent_needed: bool,
    },
    /// The same for people who do not exist, pause included.
    Wrong {
        frozen_until: Option<Timestamp>,
    },
}

/// Someone who may get a code.
struct Target {
    person_id: PersonId,
    identifier_id: IdentifierId,
    counted: bool,
    email: String,
}

impl App {
    /// Sends a one-time code, if there is somebody to send it to.
    pub(crate) async fn send_code(
        &self,
        origin: &Origin,
        request: pb::SendCodeRequest,
    ) -> Result<pb::SendCodeResponse, Error> {
        let typed = normalise(&request.individual_id).ok_or(Refused::Identifier)?;
        if request.channels.is_empty() || request.channels.iter().any(|one| one != "email") {
            return Err(Refused::Channel.into());
        }
        if !self.peers.is_configured("messaging") {
            return Err(Refused::Send.into());
        }
        let sending = Sending {
            app: self.clone(),
            origin: origin.clone(),
            hash: sha256(&request.transaction_id),
            details: request.details_hash,
            typed,
            address: request.client_address.chars().take(MAX_ADDRESS).collect(),
        };
        let db = self.db(origin).await?;
        let sent = db.write("identity.send_code", sending, |tx, sending| {
            Box::pin(async move { sending.run(tx).await })
        });
        Ok(pb::SendCodeResponse {
            masked_email: sent.await?,
        })
    }

    /// Checks what the person gave as proof.
    pub(crate) async fn authenticate(
        &self,
        origin: &Origin,
        request: pb::AuthenticateRequest,
    ) -> Result<pb::AuthenticateResponse, Error> {
        let typed = normalise(&request.individual_id).ok_or(Refused::Identifier)?;
        let code = self.challenge(request.challenges)?;
        let hash = sha256(&request.transaction_id);
        let attempt = Attempt {
            app: self.clone(),
            origin: origin.clone(),
            hash,
            details: request.details_hash,
            typed,
            code,
        };
        let db = self.db(origin).await?;
        let tried = db.write("identity.authenticate", attempt, |tx, attempt| {
            Box::pin(async move { attempt.run(tx).await })
        });
        // A wrong code is counted, so the unit commits and the refusal comes after.
        match tried.await? {
            Tried::Right { consent_needed } => Ok(pb::AuthenticateResponse { consent_needed }),
            Tried::Wrong { frozen_until } => Err(Error::Authentication { frozen_until }),
        }
    }

    /// The code out of the challenges: exactly one, of the one factor offered.
    fn challenge(&self, mut challenges: Vec<pb::AuthChallenge>) -> Result<String, Error> {
        let (Some(challenge), true) = (challenges.pop(), challenges.is_empty()) else {
            return Err(Refused::ChallengeCount.into());
        };
        if challenge.factor_type != "OTP" {
            return Err(Refused::Factor.into());
        }
        if !matches!(challenge.format.as_str(), "alpha-numeric" | "number") {
            return Err(Refused::ChallengeFormat.into());
        }
        let code = normalise(&challenge.challenge).unwrap_or_default();
        if code.len() != self.config.code.length || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refused::ChallengeFormat.into());
        }
        Ok(code)
    }

    /// Who can get or use a code: a live identifier of an active person with an active factor.
    async fn target(&self, tx: &mut Tx<'_>, typed: &str) -> Result<Option<Target>, Error> {
        let now = tx.now();
        let Some(lookup) = self.lookup(typed) else {
            return Ok(None);
        };
        let found = store::identifier::find_by_lookup(tx, &lookup).await?;
        // Unknown people are looked for like known ones, so that both take as long.
        let nobody = PersonId::from_uuid(Uuid::nil());
        let person_id = found.as_ref().map_or(nobody, |row| row.person_id);
        let person = store::person::find(tx, person_id).await?;
        let factors = factor::list(tx, person_id).await?;
        let (Some(row), Some(person)) = (found, person) else {
            return Ok(None);
        };
        let active = row.is_live(now) && person.state(now) == PersonState::Active;
        let factor = factors
            .iter()
            .find(|factor| factor.kind == EMAIL_CODE && factor.is_active());
        let Some(factor) = factor.filter(|_| active) else {
            return Ok(None);
        };
        Ok(Some(Target {
            person_id,
            identifier_id: row.identifier_id,
            counted: row.uses_left.is_some(),
            email: self.factor_target(tx, factor).await?,
        }))
    }

    /// The bucket in which something of a person is counted, or of what was typed if nobody is
    /// called so: both have the same limits.
    fn person_bucket(&self, kind: &str, target: Option<&Target>, typed: &str) -> Vec<u8> {
        match target {
            Some(target) => self.bucket(kind, &target.person_id.to_string()),
            None => self.bucket(kind, &format!("?{typed}")),
        }
    }

    /// The hash under which a code is kept: keyed, since six digits are soon tried out.
    fn code_hash(&self, transaction: &[u8], code: &str) -> Vec<u8> {
        self.keyring.lookup(
            "identity.code",
            &format!("{}:{code}", hex::encode(transaction)),
        )
    }
}

/// Counts one more sending, or refuses.
async fn count_send(tx: &mut Tx<'_>, bucket: &[u8], policy: AttemptPolicy) -> Result<(), Error> {
    let now = tx.now();
    let counter = limit::lock(tx, bucket).await?.unwrap_or(Counter::new(now));
    let counter = counter
        .after_send(policy, now)
        .ok_or(Refused::TooManyCodes)?;
    Ok(limit::put(tx, bucket, counter, counter.start.plus(policy.window)).await?)
}

impl Sending {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<String, Error> {
        let (app, now) = (&self.app, tx.now());
        let sign_in = held(tx, &self.hash, SignInState::Authenticated).await?;
        details::seen(&sign_in, &self.details)?;
        let target = app.target(tx, &self.typed).await?;
        let code = &app.config.code;
        let bucket = app.person_bucket("send", target.as_ref(), &self.typed);
        count_send(tx, &bucket, code.attempts()).await?;
        if !self.address.is_empty() {
            let bucket = app.bucket("address", &self.address);
            count_send(tx, &bucket, code.address_attempts()).await?;
        }
        let end = app.config.sign_in.lifetimes().end(sign_in.created, now);
        store::sign_in::prolong(tx, &self.hash, end).await?;
        let Some(target) = target else {
            let seed = app.bucket("decoy", &self.typed);
            return Ok(decoy(seed.first().copied().unwrap_or(0)));
        };
        self.send(tx, &target, now).await?;
        let entry = Entry::new("identity.code.sent")
            .subject("person", target.person_id)
            .body(json!({ "client": sign_in.client_id, "channel": "email" }));
        publica_journal::append(tx, &self.origin, entry);
        Ok(mask(&target.email))
    }

    async fn send(&self, tx: &mut Tx<'_>, target: &Target, now: Timestamp) -> Result<(), Error> {
        let app = &self.app;
        let digits = Digits::new(&*app.entropy).take(app.config.code.length);
        let code: String = digits.map(|digit| char::from(b'0' + digit)).collect();
        let hash = app.code_hash(&self.hash, &code);
        let expires = now.plus(std::time::Duration::from_secs(
            app.config.code.lifetime_seconds,
        ));
        store::sign_in::insert_code(tx, &self.hash, &hash, target.person_id, expires).await?;
        let message = SendCode {
            email: target.email.clone(),
            code,
            expires: expires.micros(),
        };
        app.enqueue_mail(tx, &self.origin, &message).await
    }
}

impl Attempt {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Tried, Error> {
        let (app, now) = (&self.app, tx.now());
        let sign_in = held(tx, &self.hash, SignInState::Authenticated).await?;
        details::seen(&sign_in, &self.details)?;
        let target = app.target(tx, &self.typed).await?;
        let bucket = app.person_bucket("fail", target.as_ref(), &self.typed);
        let counter = limit::lock(tx, &bucket).await?.unwrap_or(Counter::new(now));
        let person_id = target
            .as_ref()
            .map_or(PersonId::from_uuid(Uuid::nil()), |target| target.person_id);
        let hash = app.code_hash(&self.hash, &self.code);
        let frozen = counter.is_frozen(now);
        // While frozen a right code stays unused and is as wrong as any other.
        let asked = if frozen { vec![0; hash.len()] } else { hash };
        let right = store::sign_in::use_code(tx, &self.hash, &asked, person_id, now).await?;
        let target = target.filter(|_| right);
        let Some(target) = target else {
            let mut counter = counter;
            if !frozen {
                let policy = app.config.code.attempts();
                counter = counter.after_failure(policy, now);
                let keep = now.plus(policy.freeze);
                limit::put(tx, &bucket, counter, keep).await?;
            }
            self.note_failure(tx, person_id, frozen);
            return Ok(Tried::Wrong {
                frozen_until: counter.frozen_until.filter(|end| now < *end),
            });
        };
        if target.counted && !store::identifier::use_once(tx, target.identifier_id).await? {
            return Ok(Tried::Wrong { frozen_until: None });
        }
        limit::delete(tx, &bucket).await?;
        store::sign_in::delete_codes(tx, &self.hash).await?;
        let end = app.config.sign_in.lifetimes().end(sign_in.created, now);
        let acr = ACR_GENERATED_CODE;
        store::sign_in::authenticate(tx, &self.hash, target.person_id, acr, now, end).await?;
        let entry = Entry::new("identity.person.authenticated")
            .subject("person", target.person_id)
            .body(json!({ "client": sign_in.client_id, "acr": acr }));
        publica_journal::append(tx, &self.origin, entry);
        let remembered = app
            .remembered(tx, target.person_id, &sign_in.client_id, &sign_in.request)
            .await?;
        Ok(Tried::Right {
            consent_needed: remembered.is_none(),
        })
    }

    fn note_failure(&self, tx: &mut Tx<'_>, person_id: PersonId, frozen: bool) {
        if person_id.as_uuid().is_nil() {
            return;
        }
        let entry = Entry::new("identity.person.authenticated")
            .subject("person", person_id)
            .outcome(Outcome::Refused)
            .body(json!({ "reason": if frozen { "frozen" } else { "wrong_code" } }));
        publica_journal::append(tx, &self.origin, entry);
    }
}
