//! Decisions: gathered look-up, pure judgement, journalled before the answer leaves.

use std::sync::Arc;

use publica_jose::{Protected, sign_jws};
use publica_journal::{Entry, Outcome};
use publica_proto::consent::v1 as pb;
use publica_store::Tx;
use publica_types::Timestamp;
use serde_json::json;

use super::individuals::identity_hash;
use super::shown::{key_of, open_circumstances, state};
use super::texts::{Text, text};
use super::{App, Shop, Who, time};
use crate::domain::decision::{Candidate, Question, Verdict, decide, reason_name};
use crate::domain::record::{Answer, CLOCK_TOLERANCE, read_time};
use crate::domain::snapshot::canonical;
use crate::domain::violations::{MAX_NAME, Violations, is_id};
use crate::domain::{agreement, limit, purpose};
use crate::error::{Error, Why};
use crate::store;
use crate::store::check::{Key, Row};

/// Attributes in one question.
const MAX_ATTRIBUTES: usize = 200;
/// Questions in one call.
const MAX_BATCH: usize = 1_000;
/// The longest name that a caller gives an exchange.
const MAX_CORRELATION: usize = 256;
/// Issuer of decision tokens.
pub(crate) const ISSUER: &str = "publica-consent";
const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// A question that was found sound.
struct Asked {
    question: Question,
    key: Key,
    want_token: bool,
    /// A moment ahead; none for now.
    at: Option<Timestamp>,
    correlation_id: String,
}

fn check(sent: pb::CheckConsentRequest, who: &Who, shop: &Shop) -> Result<Asked, Error> {
    let mut found = Violations::new();
    let mut key = Key::default();
    let (at, now) = (time("at", sent.at_time.as_ref())?, shop.now());
    if at.is_some_and(|at| at < now.minus(CLOCK_TOLERANCE)) {
        found.push("at", "lies in the past; the history tells what held then");
    }
    found.line("correlationId", &sent.correlation_id, MAX_CORRELATION);
    match sent.person.and_then(|person| person.person) {
        Some(pb::person_reference::Person::IndividualId(id)) => {
            found.id("person.individualId", &id);
            key.individual_id = id;
        }
        Some(pb::person_reference::Person::External(identity)) => {
            found.name("person.external.externalId", &identity.external_id);
            key.identity_hash = identity_hash(&shop.keyring, &identity);
        }
        None => found.push("person", "is required"),
    }
    found.line("consumer", &sent.consumer, MAX_NAME);
    found.line("purpose", &sent.purpose, MAX_NAME);
    found.optional_id("dataAgreementId", &sent.data_agreement_id);
    found.optional_id("dataAgreementRevisionId", &sent.data_agreement_revision_id);
    if sent.purpose.is_empty() && sent.data_agreement_id.is_empty() {
        found.push("purpose", "or dataAgreementId is required");
    }
    found.count("attributes", sent.attributes.len(), MAX_ATTRIBUTES);
    for attribute in &sent.attributes {
        found.name("attributes", attribute);
    }
    if pb::AccessMode::try_from(sent.access_mode).is_err() {
        found.push("accessMode", "is not a known value");
    }
    found.check(())?;
    let own = who.consumer();
    let consumer = if sent.consumer.is_empty() {
        own.clone()
    } else {
        sent.consumer
    };
    if consumer != own && !who.may("consent:decision:delegate") {
        return Err(Why::DelegationForbidden.about(consumer));
    }
    key.agreement_id = sent.data_agreement_id;
    key.purpose.clone_from(&sent.purpose);
    if key.agreement_id.is_empty() {
        key.codes = purpose::covering(&sent.purpose);
    }
    let question = Question {
        consumer,
        purpose: sent.purpose,
        attributes: sent.attributes,
        revision_id: sent.data_agreement_revision_id,
        access_mode: sent.access_mode,
        require_signature: sent.require_signature,
        partial: sent.allow_partial,
    };
    Ok(Asked {
        question,
        key,
        want_token: sent.want_token,
        at: at.filter(|at| *at > now),
        correlation_id: sent.correlation_id,
    })
}

/// What was found for one question, texts and choices included.
struct Found {
    row: Row,
    published: Option<Arc<Text>>,
    answer: Option<Answer>,
    choices: Vec<pb::AttributeChoice>,
}

async fn complete(shop: &Shop, row: Row) -> Result<Found, Error> {
    let published = match row.published_revision_id.as_deref() {
        None | Some("") => None,
        Some(id) => Some(text(shop, id).await?),
    };
    let answer = row.record_id.as_ref().map(|_| Answer {
        opt_in: row.opt_in,
        state: state(row.state.unwrap_or_default()),
        agreement_revision_id: row.agreement_revision_id.clone().unwrap_or_default(),
        valid_from: row.valid_from.unwrap_or(Timestamp::EPOCH),
        valid_until: row.valid_until,
        ever_given: row.ever_given.unwrap_or(false),
        delegation_void: row.delegation_void.unwrap_or(false),
    });
    let choices = match (&row.sealed, &row.individual_id) {
        (Some(sealed), Some(id)) => match Box::pin(key_of(shop, id)).await? {
            Some(key) => open_circumstances(&key, sealed)?.attributes,
            // The key is gone, so what was chosen cannot be known: nothing is granted.
            None => published
                .iter()
                .flat_map(|text| &text.agreement.attributes)
                .map(|one| pb::AttributeChoice {
                    attribute: one.attribute_id.clone(),
                    granted: false,
                })
                .collect(),
        },
        _ => Vec::new(),
    };
    Ok(Found {
        row,
        published,
        answer,
        choices,
    })
}

impl App {
    /// Decides one use of personal data.
    pub(crate) async fn check_consent(
        &self,
        who: &Who,
        request: pb::CheckConsentRequest,
    ) -> Result<pb::CheckConsentResponse, Error> {
        let shop = self.shop(&who.origin.tenant).await?;
        let asked = check(request, who, &shop)?;
        self.decide(&shop, who, asked).await
    }

    /// Decides many uses; the look-ups share statements.
    pub(crate) async fn check_consents(
        &self,
        who: &Who,
        request: pb::BatchCheckConsentRequest,
    ) -> Result<pb::BatchCheckConsentResponse, Error> {
        if request.checks.is_empty() || request.checks.len() > MAX_BATCH {
            let why = format!("must have 1 to {MAX_BATCH} members");
            return Err(Violations::one("checks", why).into());
        }
        let shop = self.shop(&who.origin.tenant).await?;
        let mut found = Violations::new();
        let mut all = Vec::with_capacity(request.checks.len());
        for (n, sent) in request.checks.into_iter().enumerate() {
            match check(sent, who, &shop) {
                Ok(asked) => all.push(asked),
                Err(Error::Invalid(inner)) => found.nest(&format!("checks[{n}]"), inner),
                Err(error) => return Err(error),
            }
        }
        let all = found.check(all)?;
        let decided = all.into_iter().map(|asked| self.decide(&shop, who, asked));
        let decided = futures::future::join_all(decided).await;
        let decisions = decided.into_iter().collect::<Result<Vec<_>, Error>>()?;
        Ok(pb::BatchCheckConsentResponse { decisions })
    }

    async fn decide(
        &self,
        shop: &Shop,
        who: &Who,
        asked: Asked,
    ) -> Result<pb::CheckConsentResponse, Error> {
        let Asked {
            question,
            key,
            want_token,
            at,
            correlation_id,
        } = asked;
        let rows = shop.lookups.ask(key).await?;
        let individual_id = rows.iter().find_map(|row| row.individual_id.clone());
        let mut found = Vec::with_capacity(rows.len());
        for row in rows.into_iter().filter(|row| row.agreement_id.is_some()) {
            found.push(complete(shop, row).await?);
        }
        // The clock is read after the look-up: an answer that ended meanwhile has ended.
        let now = shop.now();
        let candidates: Vec<Candidate<'_>> = found
            .iter()
            .map(|one| Candidate {
                lifecycle: store::agreement::lifecycle(one.row.lifecycle.unwrap_or_default()),
                published: one.published.as_deref().map(|text| &text.agreement),
                answer: one.answer.as_ref(),
                choices: &one.choices,
            })
            .collect();
        let known = individual_id.is_some();
        let judged = at.map_or(now, |at| at.max(now));
        let (chosen, mut verdict) = decide(&question, known, &candidates, judged);
        let chosen = chosen.and_then(|n| found.get(n));
        let mut answer = pb::CheckConsentResponse {
            individual_id: individual_id.filter(|id| is_id(id)).unwrap_or_default(),
            decision_id: shop.id(),
            evaluate_time: Some(publica_rpc::timestamp(now)),
            at_time: at.map(publica_rpc::timestamp),
            correlation_id,
            ..pb::CheckConsentResponse::default()
        };
        if let Some(one) = chosen {
            answer.consent_record_id = one.row.record_id.clone().unwrap_or_default();
            answer.data_agreement_id = one.row.agreement_id.clone().unwrap_or_default();
            answer.revision_hash = one.row.revision_sha256.clone().unwrap_or_default();
            if verdict.allowed {
                grant(shop, one, &mut verdict, &mut answer, (at, now)).await?;
            }
        }
        answer.allowed = verdict.allowed;
        answer.reasons = verdict
            .reasons
            .iter()
            .map(|reason| i32::from(*reason))
            .collect();
        (answer.granted_attributes, answer.denied_attributes) = (verdict.granted, verdict.denied);
        if want_token {
            answer.decision_token = token(shop, &question, &answer)?;
        }
        self.journal_decision(who, &question, &answer).await?;
        Ok(answer)
    }

    /// Journals a decision; gathered, and durable before the answer leaves.
    async fn journal_decision(
        &self,
        who: &Who,
        question: &Question,
        answer: &pb::CheckConsentResponse,
    ) -> Result<(), Error> {
        let outcome = if answer.allowed {
            Outcome::Done
        } else {
            Outcome::Refused
        };
        let reasons: Vec<String> = answer.reasons().map(reason_name).collect();
        let mut body = json!({
            "decision_id": answer.decision_id,
            "consumer": question.consumer,
            "agreement_id": answer.data_agreement_id,
            "record_id": answer.consent_record_id,
            "allowed": answer.allowed,
            "reasons": reasons,
            "attributes": question.attributes.len(),
        });
        if !answer.correlation_id.is_empty() {
            body["correlation_id"] = json!(answer.correlation_id);
        }
        if let Some(at) = answer.at_time.as_ref().and_then(read_time) {
            body["at"] = json!(at);
        }
        let entry = Entry::new("consent.decision.made")
            .subject("individual", &answer.individual_id)
            .outcome(outcome)
            .body(body);
        Ok(self.journal().record(&who.origin, entry).await?)
    }
}

/// Adds to a yes what it obliges to and how long it lasts, or takes it back where no use is left.
async fn grant(
    shop: &Shop,
    one: &Found,
    verdict: &mut Verdict,
    answer: &mut pb::CheckConsentResponse,
    (at, now): (Option<Timestamp>, Timestamp),
) -> Result<(), Error> {
    answer.valid_until_time = one.row.valid_until.map(publica_rpc::timestamp);
    if let Some(at) = at {
        // What is asked ahead uses nothing yet, and may not be kept.
        answer.obligations = Some(obligations(one, None, at));
        return Ok(());
    }
    match use_once(shop, one, now).await? {
        Ok(left) => {
            answer.obligations = Some(obligations(one, left, now));
            answer.cache_until_time = cache_until(shop, one, now);
        }
        Err(reason) => {
            answer.valid_until_time = None;
            verdict.allowed = false;
            verdict.reasons = vec![reason];
            verdict.denied.append(&mut verdict.granted);
        }
    }
    Ok(())
}

/// Counts a use where the agreement limits them; the uses left, or why there are none.
async fn use_once(
    shop: &Shop,
    one: &Found,
    now: Timestamp,
) -> Result<Result<Option<i32>, pb::DecisionReason>, Error> {
    let text = one.published.as_ref().map(|text| &text.agreement);
    let windows = text.map_or_else(Vec::new, |text| limit::windows(text, now));
    let (false, Some(record_id)) = (windows.is_empty(), one.row.record_id.clone()) else {
        return Ok(Ok(None));
    };
    let input = (record_id, windows);
    let counted = shop
        .db
        .write("consent.count_use", input, |tx, (record_id, windows)| {
            Box::pin(count(tx, record_id, windows))
        });
    Ok(match Box::pin(counted).await? {
        Some(left) => Ok(i32::try_from(left).ok()),
        None => Err(pb::DecisionReason::FrequencyExceeded),
    })
}

/// Counts a use in all windows or in none; the uses left in the tightest.
async fn count(
    tx: &mut Tx<'_>,
    record_id: &str,
    windows: &[limit::Window],
) -> Result<Option<i64>, Error> {
    let mut left = i64::MAX;
    for (n, window) in windows.iter().enumerate() {
        let most = i64::from(window.uses);
        let Some(uses) = store::check::count_use(tx, record_id, window.key, most).await? else {
            for counted in windows.iter().take(n) {
                store::check::uncount_use(tx, record_id, counted.key).await?;
            }
            return Ok(None);
        };
        left = left.min(most - uses);
    }
    Ok(Some(left))
}

fn obligations(one: &Found, uses_left: Option<i32>, now: Timestamp) -> pb::Obligations {
    let text = one.published.as_ref().map(|text| &text.agreement);
    let policy = text.and_then(|text| text.policy.as_ref());
    let days = policy.and_then(|policy| policy.data_retention_period_days);
    let span = days
        .and_then(|days| u32::try_from(days).ok())
        .map(|days| DAY * days);
    pb::Obligations {
        erase_by_time: span.map(|span| publica_rpc::timestamp(now.plus(span))),
        retention_days: days.unwrap_or_default(),
        uses_left,
    }
}

/// A positive answer may be reused only where the settings say so, and never where uses are
/// counted. A cached answer cannot see a withdrawal.
fn cache_until(shop: &Shop, one: &Found, now: Timestamp) -> Option<prost_types::Timestamp> {
    let counted = one
        .published
        .as_ref()
        .is_some_and(|text| limit::is_limited(&text.agreement));
    if shop.rules.cache_seconds == 0 || counted {
        return None;
    }
    let until = now.plus(std::time::Duration::from_secs(shop.rules.cache_seconds));
    let end = one.row.valid_until.map_or(until, |end| end.min(until));
    Some(publica_rpc::timestamp(end))
}

/// The decision as a compact JWS that others verify with the block's public key.
fn token(
    shop: &Shop,
    question: &Question,
    answer: &pb::CheckConsentResponse,
) -> Result<String, Error> {
    let reasons: Vec<String> = answer.reasons().map(reason_name).collect();
    let evaluated = answer.evaluate_time.map_or(0, |time| time.seconds);
    let obligations = answer.obligations.as_ref();
    let erase_by = obligations.and_then(|one| one.erase_by_time.as_ref());
    let mut claims = json!({
        "iss": ISSUER,
        "aud": question.consumer,
        "jti": answer.decision_id,
        "iat": evaluated,
        // The token proves what was decided then; it lets data be used no longer than a cache.
        "exp": answer.cache_until_time.map_or(evaluated, |time| time.seconds),
        "sub": answer.individual_id,
        "consumer": question.consumer,
        "purpose": question.purpose,
        "agreement": answer.data_agreement_id,
        "record": answer.consent_record_id,
        "hash": answer.revision_hash,
        "allowed": answer.allowed,
        "reasons": reasons,
        "attributes": answer.granted_attributes,
        "denied": answer.denied_attributes,
        "accessMode": agreement::access_mode_name(question.access_mode),
        "eraseBy": erase_by.map(|time| time.seconds),
    });
    if let Some(at) = &answer.at_time {
        claims["at"] = json!(at.seconds);
    }
    if !answer.correlation_id.is_empty() {
        claims["correlationId"] = json!(answer.correlation_id);
    }
    let header = Protected::new().typ("consent-decision+jwt");
    Ok(sign_jws(&shop.key, header, canonical(&claims).as_bytes())?)
}
