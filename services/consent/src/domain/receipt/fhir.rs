//! A record as a Consent resource of HL7 FHIR R5, in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::Source;
use crate::domain::record;
use crate::domain::snapshot::Members;
use crate::domain::{agreement, purpose};

/// The Consent resource.
pub(crate) fn consent(source: Source<'_>) -> Value {
    let record = source.record;
    let agreement = source.agreement;
    let policy = source.policy();
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(record::read_time);
    let period = Members::new()
        .maybe(
            "start",
            time(&record.valid_from_time).map(|time| json!(time)),
        )
        .maybe(
            "end",
            time(&record.valid_until_time).map(|time| json!(time)),
        )
        .done();
    let yes = record.opt_in == Some(true);
    Members::new()
        .text("resourceType", "Consent")
        .text("id", &record.consent_record_id)
        .maybe(
            "meta",
            Some(json!({ "versionId": record.revision_id, "lastUpdated": source.event_time })),
        )
        .maybe(
            "identifier",
            Some(json!([{ "system": "urn:ietf:rfc:3986", "value": source.receipt_id }])),
        )
        .text("status", status(record.effective_status()))
        .maybe("category", Some(category(agreement.data_use)))
        .maybe("subject", Some(party("Patient", &record.individual_id, "")))
        .text("date", &day(source.event_time))
        .maybe("period", Some(period).filter(|one| one != &json!({})))
        .maybe(
            "grantor",
            Some(json!([party("Patient", signer(record), "")])),
        )
        .list("grantee", &agreement.recipients, |one| {
            party("Organization", &one.recipient_id, &one.name)
        })
        .maybe(
            "controller",
            agreement
                .controller
                .as_ref()
                .map(|one| json!([party("Organization", &one.controller_id, &one.name)])),
        )
        .maybe("sourceAttachment", Some(notice(&source)))
        .maybe("regulatoryBasis", Some(basis(agreement.lawful_basis)))
        .maybe(
            "policyBasis",
            (!policy.url.is_empty()).then(|| json!({ "url": policy.url })),
        )
        .maybe("verification", Some(json!([verification(&source)])))
        .maybe(
            "decision",
            record.opt_in.map(|_| if yes { "permit" } else { "deny" }),
        )
        .maybe(
            "provision",
            Some(json!([provision(&source, period_of(record))])),
        )
        .done()
}

fn period_of(record: &pb::ConsentRecord) -> Option<Value> {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(record::read_time);
    let from = time(&record.valid_from_time)?;
    let until = time(&record.valid_until_time);
    Some(
        Members::new()
            .maybe("start", Some(json!(from)))
            .maybe("end", until.map(|until| json!(until)))
            .done(),
    )
}

/// The state of the resource; whether it permits or denies is told by the decision.
fn status(status: pb::EffectiveStatus) -> &'static str {
    match status {
        pb::EffectiveStatus::Given | pb::EffectiveStatus::Refused => "active",
        pb::EffectiveStatus::Requested => "draft",
        pb::EffectiveStatus::Withdrawn
        | pb::EffectiveStatus::Expired
        | pb::EffectiveStatus::Superseded
        | pb::EffectiveStatus::Invalidated => "inactive",
        pb::EffectiveStatus::Unspecified => "unknown",
    }
}

fn category(data_use: i32) -> Value {
    let (code, display) = if data_use == pb::DataUse::DataSource as i32 {
        ("IDSCL", "information disclosure")
    } else {
        ("INFA", "information access")
    };
    let system = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
    json!([{ "coding": [{ "system": system, "code": code, "display": display }] }])
}

fn party(kind: &str, id: &str, display: &str) -> Value {
    Members::new()
        .text("type", kind)
        .maybe("identifier", Some(json!({ "value": id })))
        .text("display", display)
        .done()
}

fn signer(record: &pb::ConsentRecord) -> &str {
    &record.individual_id
}

fn day(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..10).unwrap_or(&text).to_owned()
}

/// The text that was shown. FHIR's hash is SHA-1, which the revision has as well.
fn notice(source: &Source<'_>) -> Value {
    let revision = source.record.data_agreement_revision.as_ref();
    let sha1 = revision.and_then(|one| hex::decode(&one.serialized_hash).ok());
    json!([Members::new()
        .text("contentType", "text/html")
        .text("language", super::language(source))
        .text("url", &source.notice())
        .maybe("hash", sha1.map(|sha1| STANDARD.encode(sha1)))
        .text("title", &source.agreement.purpose)
        .done()])
}

fn basis(lawful_basis: i32) -> Value {
    let code = match pb::LawfulBasis::try_from(lawful_basis).unwrap_or_default() {
        pb::LawfulBasis::Unspecified => "LegalBasis",
        pb::LawfulBasis::Consent => "Consent",
        pb::LawfulBasis::LegalObligation => "LegalObligation",
        pb::LawfulBasis::Contract => "Contract",
        pb::LawfulBasis::VitalInterest => "VitalInterest",
        pb::LawfulBasis::PublicTask => "PublicInterest",
        pb::LawfulBasis::LegitimateInterest => "LegitimateInterest",
    };
    let text = agreement::basis_name(lawful_basis);
    json!([{ "coding": [{ "system": "https://w3id.org/dpv", "code": code }], "text": text }])
}

fn verification(source: &Source<'_>) -> Value {
    let signed = source.record.state() == pb::RecordState::Signed;
    let signature = source.record.signature.as_ref();
    let time = signature.and_then(|one| one.create_time.as_ref());
    let time = time.and_then(record::read_time);
    Members::new()
        .maybe("verified", Some(signed))
        .maybe("verificationDate", time.map(|time| json!([time])))
        .done()
}

/// What the decision is about: purpose, recipients, way of use and data.
fn provision(source: &Source<'_>, period: Option<Value>) -> Value {
    let agreement = source.agreement;
    let action = match pb::AccessMode::try_from(agreement.access_mode).unwrap_or_default() {
        pb::AccessMode::Store => "collect",
        pb::AccessMode::Stream => "disclose",
        pb::AccessMode::View | pb::AccessMode::Query => "access",
        pb::AccessMode::Unspecified => "use",
    };
    let system = "http://terminology.hl7.org/CodeSystem/consentaction";
    let mut code = Members::new();
    if !agreement.purpose_code.is_empty() {
        let canonical = purpose::canonical(&agreement.purpose_code);
        code = match canonical.strip_prefix("dpv:") {
            Some(term) => code
                .text("system", "https://w3id.org/dpv")
                .text("code", term),
            None => code.text("code", &canonical),
        };
    }
    let purpose = code.text("display", &agreement.purpose).done();
    let data: Vec<Value> = source
        .granted()
        .map(|one| json!({ "text": one.name }))
        .collect();
    Members::new()
        .maybe("period", period)
        .list(
            "actor",
            &agreement.recipients,
            |one| json!({ "reference": party("Organization", &one.recipient_id, &one.name) }),
        )
        .maybe(
            "action",
            Some(json!([{ "coding": [{ "system": system, "code": action }] }])),
        )
        .maybe("purpose", Some(json!([purpose])))
        .list("code", &data, Value::clone)
        .done()
}
