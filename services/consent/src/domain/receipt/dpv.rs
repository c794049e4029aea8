//! A record in the Data Privacy Vocabulary, as JSON-LD after the DPV guide to ISO/IEC TS 27560.

use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::{Source, language};
use crate::domain::purpose;
use crate::domain::record;
use crate::domain::snapshot::Members;

/// The record.
pub(crate) fn record(source: Source<'_>) -> Value {
    let (record, agreement, policy) = (source.record, source.agreement, source.policy());
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(record::read_time);
    let status = Members::new()
        .text("@type", &format!("dpv:{}", status(record)))
        .maybe("dct:date", Some(json!(source.event_time)))
        .maybe(
            "dpv:hasDuration",
            time(&record.valid_until_time).map(|time| json!(time)),
        )
        .done();
    let process = Members::new()
        .text("@type", "dpv:Process")
        .maybe("dpv:hasPurpose", Some(purpose_of(agreement)))
        .text("dpv:hasLegalBasis", legal_basis(agreement))
        .maybe("dpv:hasPersonalData", Some(personal_data(&source)))
        .maybe("dpv:hasDataController", Some(controller(agreement)))
        .list("dpv:hasRecipient", &agreement.recipients, recipient)
        .maybe(
            "dpv:hasStorageCondition",
            Some(
                Members::new()
                    .text("dpv:hasLocation", &policy.storage_location)
                    .maybe(
                        "dpv:hasDuration",
                        policy
                            .data_retention_period_days
                            .map(|days| format!("P{days}D")),
                    )
                    .done(),
            ),
        )
        .text("dpv:hasJurisdiction", &policy.jurisdiction)
        .text("dpv:hasImpactAssessment", &agreement.dpia)
        .done();
    json!({
        "@context": {
            "dpv": "https://w3id.org/dpv#",
            "dct": "http://purl.org/dc/terms/",
            "foaf": "http://xmlns.com/foaf/0.1/",
        },
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": "https://w3id.org/dpv/schema/dpv-27560#receipt-record",
        "dct:identifier": record.consent_record_id,
        "dct:isPartOf": source.receipt_id,
        "dpv:hasDataSubject": { "dct:identifier": record.individual_id },
        "dpv:hasNotice": Members::new()
            .text("@type", "dpv:ConsentNotice")
            .text("@id", &source.notice())
            .text("dct:language", language(&source))
            .done(),
        "dpv:hasProcess": process,
        "dpv:hasConsentStatus": status,
        "dpv:hasConsentControl": Members::new()
            .text("@type", "dpv:WithdrawConsent")
            .text("dct:description", &policy.withdrawal_method)
            .done(),
    })
}

fn controller(agreement: &pb::DataAgreement) -> Value {
    let controller = agreement.controller.clone().unwrap_or_default();
    Members::new()
        .text("@type", "dpv:DataController")
        .text("dct:identifier", &controller.controller_id)
        .text("dpv:hasName", &controller.name)
        .text("dpv:hasAddress", &controller.address)
        .text("dpv:hasContact", &controller.contact)
        .text("foaf:page", &controller.url)
        .done()
}

fn recipient(one: &pb::Recipient) -> Value {
    Members::new()
        .text("@type", "dpv:Recipient")
        .text("dct:identifier", &one.recipient_id)
        .text("dpv:hasName", &one.name)
        .text("dpv:hasCountry", &one.country)
        .done()
}

fn status(record: &pb::ConsentRecord) -> &'static str {
    match record.effective_status() {
        pb::EffectiveStatus::Unspecified => "ConsentUnknown",
        pb::EffectiveStatus::Requested => "ConsentRequested",
        pb::EffectiveStatus::Given => "ConsentGiven",
        pb::EffectiveStatus::Refused => "ConsentRefused",
        pb::EffectiveStatus::Withdrawn => "ConsentWithdrawn",
        pb::EffectiveStatus::Expired => "ConsentExpired",
        pb::EffectiveStatus::Superseded | pb::EffectiveStatus::Invalidated => "ConsentInvalidated",
    }
}

fn purpose_of(agreement: &pb::DataAgreement) -> Value {
    let code = purpose::canonical(&agreement.purpose_code);
    Members::new()
        .text(
            "@type",
            if code.is_empty() {
                "dpv:Purpose"
            } else {
                &code
            },
        )
        .text("dct:title", &agreement.purpose)
        .text("dct:description", &agreement.purpose_description)
        .done()
}

fn legal_basis(agreement: &pb::DataAgreement) -> &'static str {
    match pb::LawfulBasis::try_from(agreement.lawful_basis).unwrap_or_default() {
        pb::LawfulBasis::Unspecified => "dpv:LegalBasis",
        pb::LawfulBasis::Consent => "dpv:ExplicitlyExpressedConsent",
        pb::LawfulBasis::LegalObligation => "dpv:LegalObligation",
        pb::LawfulBasis::Contract => "dpv:Contract",
        pb::LawfulBasis::VitalInterest => "dpv:VitalInterest",
        pb::LawfulBasis::PublicTask => "dpv:PublicInterest",
        pb::LawfulBasis::LegitimateInterest => "dpv:LegitimateInterest",
    }
}

fn personal_data(source: &Source<'_>) -> Value {
    source
        .granted()
        .map(|one| {
            let special = one.special_category == Some(true);
            let kind = if special {
                "dpv:SpecialCategoryPersonalData"
            } else {
                "dpv:PersonalData"
            };
            Members::new()
                .text("@type", kind)
                .text("dct:identifier", &one.attribute_id)
                .text("dct:title", &one.name)
                .text("dct:subject", &one.category)
                .done()
        })
        .collect()
}
