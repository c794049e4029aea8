//! Step 3: the programme publishes its data agreement, and each person signs a consent record
//! with a key of their own. Before that, the register cannot be read.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{each, text};
use super::context::{Context, Enrolled, Parties};
use super::report::Report;
use super::spool::{CHUNK, chunks};

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The agreement that people consented to.
    pub(crate) agreement_id: String,
    /// Signed records.
    pub(crate) signed: u64,
    /// Whether a read without consent was refused; nobody to read about, nothing known.
    pub(crate) refused_without: Option<bool>,
}

/// Publishes the agreement: a policy, then what is asked for under it.
pub(crate) async fn publish(parties: &Parties) -> Result<String> {
    let policy = json!({"policy": {
        "name": "Household support privacy policy",
        "version": "1.0.0",
        "url": "https://portal.example.org/privacy",
        "jurisdiction": "XX",
        "industrySector": "Government",
        "dataRetentionPeriodDays": 365,
        "geographicRestriction": "XX",
        "storageLocation": "XX",
        "thirdPartyDataSharing": true,
    }});
    let answer = parties
        .programme
        .post_once("/consent/config/policy/", "policy", &policy)
        .await?;
    let policy_id = text(&answer, "/policy/id")?.to_owned();
    let agreement = json!({"dataAgreement": {
        "version": "1.0.0",
        "controller": {"name": "Ministry of Social Affairs", "url": "https://social.example.org"},
        "policyId": policy_id,
        "purpose": "Household support",
        "purposeDescription": "Deciding on and paying monthly support to households.",
        "lawfulBasis": "consent",
        "methodOfUse": "data_source",
        "dpia": "https://social.example.org/dpia",
        "active": true,
        "forgettable": true,
        "lifecycle": "Complete",
        "dataAttributes": [
            {"name": "household.members", "description": "People in the household",
             "sensitivity": "personal", "category": "household"},
            {"name": "household.income", "description": "Monthly income",
             "sensitivity": "personal", "category": "household"},
        ],
    }});
    let answer = parties
        .programme
        .post_once("/consent/config/data-agreement/", "agreement", &agreement)
        .await?;
    Ok(text(&answer, "/dataAgreement/id")?.to_owned())
}

/// Has everybody sign.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    persons: &Path,
    total: u64,
    register: &str,
) -> Result<Outcome> {
    let step = report.step(3, "consent", total);
    let agreement_id = publish(parties).await?;
    let mut outcome = Outcome {
        agreement_id: agreement_id.clone(),
        signed: 0,
        refused_without: None,
    };
    for (at, chunk) in chunks::<Enrolled>(persons, CHUNK)?.enumerate() {
        let chunk = chunk?;
        let signers = individuals(context, parties, &chunk, at).await?;
        if at == 0 {
            let first = &chunk.first().context("somebody is enrolled")?.person_id;
            let refused = refused(parties, register, first, &agreement_id).await?;
            outcome.refused_without = Some(refused);
        }
        let stored = u64::try_from(chunk.len()).unwrap_or_default();
        each(signers, |signer| sign(parties, signer, &agreement_id)).await?;
        outcome.signed += stored;
        step.advance(stored);
    }
    step.done(&format!(
        "{} consent records signed and verified; a read without one is refused",
        outcome.signed
    ))?;
    Ok(outcome)
}

/// A person with the key that only they hold.
struct Signer {
    individual_id: String,
    case_id: String,
    key: SigningKey,
}

async fn individuals(
    context: &Context,
    parties: &Parties,
    chunk: &[Enrolled],
    at: usize,
) -> Result<Vec<Signer>> {
    let mut signers = Vec::with_capacity(chunk.len());
    let mut individuals = Vec::with_capacity(chunk.len());
    for person in chunk {
        let key = SigningKey::generate(Alg::EdDsa, &*context.entropy).context("a person's key")?;
        individuals.push(json!({
            "individual": {
                "id": person.person_id,
                "externalId": person.person_id,
                "externalIdType": "publica.person",
                "identityProviderId": "publica",
            },
            "jwks": [key.public_jwk()],
        }));
        signers.push(Signer {
            individual_id: person.person_id.clone(),
            case_id: person.case_id.clone(),
            key,
        });
    }
    let body = json!({"individuals": individuals});
    let key = format!("individuals-{at}");
    let answer = parties
        .programme
        .post_once("/consent/v1/individuals:batch", &key, &body)
        .await?;
    let created = answer
        .get("individuals")
        .and_then(Value::as_array)
        .context("individuals")?;
    for (signer, created) in signers.iter_mut().zip(created) {
        text(created, "/id")?.clone_into(&mut signer.individual_id);
    }
    Ok(signers)
}

/// Asks for the text to sign, signs it, and hands the pair in, all on the published paths.
async fn sign(parties: &Parties, signer: Signer, agreement_id: &str) -> Result<()> {
    const RECORD: &str = "/consent/service/individual/record/consent-record/";
    let person = parties.programme.in_process(&signer.case_id);
    let id = &signer.individual_id;
    let path = format!("{RECORD}draft/?individualId={id}&dataAgreementId={agreement_id}");
    let mut pair = person.post(&path, &json!({})).await?;
    let payload = text(&pair, "/signature/payload")?;
    let signature = sign_jws(&signer.key, Protected::new(), payload.as_bytes())
        .context("signing a consent record")?;
    pair["signature"]["signature"] = json!(signature);
    let path = format!("{RECORD}?individualId={id}");
    let answer = person
        .post_once(&path, &format!("consent-{id}"), &pair)
        .await?;
    text(&answer, "/consentRecord/id").map(drop)
}

/// Whether reading a person's register entry is refused.
pub(crate) async fn refused(
    parties: &Parties,
    register: &str,
    person_id: &str,
    agreement_id: &str,
) -> Result<bool> {
    let path = format!("/registration/api/v1/registers/{register}/read");
    let body = json!({
        "personId": person_id,
        "dataAgreementId": agreement_id,
        "fields": ["household.members"],
    });
    let request = parties.programme.request(Method::POST, &path).json(&body);
    let answer = parties.programme.send(request).await?;
    match answer.status {
        StatusCode::CONFLICT | StatusCode::FORBIDDEN => {
            Ok(answer.text().contains("consent_required"))
        }
        StatusCode::OK => Ok(false),
        status => bail!(
            "reading the register was answered {status}: {}",
            answer.text()
        ),
    }
}
