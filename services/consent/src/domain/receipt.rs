//! Receipts: a record told in the structures of ISO/IEC TS 27560, of Kantara's consent receipt
//! 1.1, of HL7 FHIR and of the Data Privacy Vocabulary, and on paper.

pub(crate) mod dpv;
pub(crate) mod fhir;
pub(crate) mod page;

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::agreement;
use super::record;
use super::snapshot::Members;

/// What a receipt is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The receipt's own id.
    pub(crate) receipt_id: &'a str,
    /// The record.
    pub(crate) record: &'a pb::ConsentRecord,
    /// The text that it answers, policy included.
    pub(crate) agreement: &'a pb::DataAgreement,
    /// SHA-256 of that text's revision.
    pub(crate) notice_hash: &'a str,
    /// When the answer was given.
    pub(crate) event_time: Timestamp,
    /// Public key of the service, as a JWK text.
    pub(crate) public_key: &'a str,
}

impl Source<'_> {
    fn policy(&self) -> pb::Policy {
        self.agreement.policy.clone().unwrap_or_default()
    }

    fn controller(&self) -> pb::Controller {
        self.agreement.controller.clone().unwrap_or_default()
    }

    fn notice(&self) -> String {
        let own = &self.agreement.notice_url;
        if own.is_empty() {
            self.policy().url
        } else {
            own.clone()
        }
    }

    fn granted(&self) -> impl Iterator<Item = &pb::DataAgreementAttribute> {
        let choices = &self.record.attributes;
        self.agreement
            .attributes
            .iter()
            .filter(|one| record::grants(choices, one))
    }
}

/// The ISO/IEC TS 27560 structure, or the mandatory fields that have no source.
pub(crate) fn iso27560(source: Source<'_>) -> Result<Value, Vec<&'static str>> {
    let (agreement, policy) = (source.agreement, source.policy());
    let gaps = agreement::receipt_gaps(source.agreement);
    if !gaps.is_empty() {
        return Err(gaps);
    }
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().and_then(record::read_time);
    let from = time(&source.record.valid_from_time).unwrap_or(source.event_time);
    let until = time(&source.record.valid_until_time);
    let retention = policy.data_retention_period_days.unwrap_or_default();
    Ok(json!({
        "header": {
            "schemaVersion": "https://w3id.org/dpv/schema/dpv-27560#receipt-record",
            "recordId": source.record.consent_record_id,
            "receiptId": source.receipt_id,
            "piiPrincipalId": source.record.individual_id,
        },
        "processing": Members::new()
            .text("privacyNotice", &source.notice())
            .text("privacyNoticeHash", source.notice_hash)
            .text("language", language(&source))
            .text("purpose", &agreement.purpose)
            .text("purposeType", &agreement.purpose_code)
            .text("lawfulBasis", agreement::basis_name(agreement.lawful_basis))
            .maybe("piiInformation", Some(pii(&source)))
            .maybe("piiControllers", Some(json!([party(&source)])))
            .text("collectionMethod", &source.record.collection_method)
            .list("processingMethods", &agreement.processing_methods, |text| json!(text))
            .maybe("storageLocations", Some(json!([policy.storage_location])))
            .list("processingLocations", &agreement.data_sources, |one| json!(one.location))
            .text("geographicRestrictions", &policy.geographic_restriction)
            .maybe("retentionPeriod", Some(json!(format!("P{retention}D"))))
            .text("service", &agreement.purpose)
            .text("jurisdiction", &policy.jurisdiction)
            .maybe("recipientThirdParties", Some(recipients(agreement)))
            .text("withdrawalMethod", &policy.withdrawal_method)
            .list("privacyRights", &agreement.privacy_rights, |text| json!(text))
            .text("impactAssessment", &agreement.dpia)
            .text("authorityParty", &policy.authority_contact)
            .done(),
        "event": {
            "eventTime": source.event_time,
            "validityDuration": until.map_or_else(
                || "until withdrawn".to_owned(),
                |until| format!("PT{}S", until.since(from).as_secs()),
            ),
            "entityId": signer(source.record),
            "eventType": "explicit",
            "eventState": state(source.record),
        },
    }))
}

/// The language that was shown, or else that of the texts.
pub(crate) fn language<'a>(source: &Source<'a>) -> &'a str {
    let (shown, own) = (&source.record.language, &source.agreement.language);
    match (shown.is_empty(), own.is_empty()) {
        (false, _) => shown,
        (true, false) => own,
        (true, true) => "und",
    }
}

fn pii(source: &Source<'_>) -> Value {
    source
        .granted()
        .map(|one| {
            Members::new()
                .text(
                    "type",
                    if one.category.is_empty() {
                        &one.name
                    } else {
                        &one.category
                    },
                )
                .text("attributeId", &one.attribute_id)
                .text("name", &one.name)
                .maybe("optional", Some(one.necessity == "optional"))
                .text("sensitivity", &one.sensitivity)
                .maybe("specialCategory", one.special_category)
                .done()
        })
        .collect()
}

fn party(source: &Source<'_>) -> Value {
    let one = source.controller();
    let kind = agreement::data_use_name(source.agreement.data_use);
    Members::new()
        .text("partyId", &one.controller_id)
        .text("name", &one.name)
        .text("address", &one.address)
        .text("contact", &one.contact)
        .text("type", if kind.is_empty() { "controller" } else { kind })
        .text("email", &one.email)
        .text("url", &one.url)
        .text("phone", &one.phone)
        .text("role", &one.role)
        .done()
}

fn recipients(agreement: &pb::DataAgreement) -> Value {
    let named = agreement.recipients.iter();
    named
        .map(|one| {
            Members::new()
                .text("id", &one.recipient_id)
                .text("name", &one.name)
                .done()
        })
        .collect()
}

fn signer(record: &pb::ConsentRecord) -> &str {
    let signed_by = record
        .signature
        .as_ref()
        .map_or("", |one| &one.verification_signed_by);
    if signed_by.is_empty() {
        &record.individual_id
    } else {
        signed_by
    }
}

fn state(record: &pb::ConsentRecord) -> String {
    let status = pb::EffectiveStatus::try_from(record.effective_status).unwrap_or_default();
    status
        .as_str_name()
        .trim_start_matches("EFFECTIVE_STATUS_")
        .to_ascii_lowercase()
}

/// Kantara's consent receipt 1.1, or the mandatory fields that have no source.
pub(crate) fn kantara(source: Source<'_>) -> Result<Value, Vec<&'static str>> {
    let (agreement, policy, controller) = (source.agreement, source.policy(), source.controller());
    let gaps = agreement::kantara_gaps(source.agreement);
    if !gaps.is_empty() {
        return Err(gaps);
    }
    let special: Vec<Value> = source
        .granted()
        .filter(|one| one.special_category == Some(true))
        .map(category)
        .collect();
    Ok(json!({
        "version": "KI-CR-v1.1.0",
        "jurisdiction": policy.jurisdiction,
        "consentTimestamp": source.event_time.seconds(),
        "collectionMethod": collection(source.record),
        "consentReceiptID": source.receipt_id,
        "publicKey": source.public_key,
        "language": language(&source),
        "piiPrincipalId": source.record.individual_id,
        "piiControllers": [Members::new()
            .text("piiController", &controller.name)
            .text("contact", &controller.contact)
            .text("address", &controller.address)
            .text("email", &controller.email)
            .text("phone", &controller.phone)
            .text("piiControllerUrl", &controller.url)
            .done()],
        "policyUrl": source.notice(),
        "services": [{ "service": agreement.purpose, "purposes": [kantara_purpose(&source)] }],
        "sensitive": !special.is_empty(),
        "spiCat": special,
    }))
}

fn category(one: &pb::DataAgreementAttribute) -> Value {
    json!(if one.category.is_empty() {
        &one.name
    } else {
        &one.category
    })
}

/// The one purpose of a Kantara receipt.
fn kantara_purpose(source: &Source<'_>) -> Value {
    let (agreement, policy) = (source.agreement, source.policy());
    let third = policy
        .third_party_data_sharing
        .unwrap_or(!agreement.recipients.is_empty());
    let names: Vec<&str> = agreement.recipients.iter().map(name_of).collect();
    Members::new()
        .text("purpose", &agreement.purpose)
        .maybe(
            "purposeCategory",
            Some(json!([purpose_category(agreement)])),
        )
        .maybe("consentType", Some("EXPLICIT"))
        .maybe(
            "piiCategory",
            Some(source.granted().map(category).collect::<Value>()),
        )
        .maybe("primaryPurpose", Some(true))
        .maybe("termination", Some(json!(termination(source.record))))
        .maybe("thirdPartyDisclosure", Some(third))
        .text(
            "thirdPartyName",
            if third {
                third_party(&names)
            } else {
                String::new()
            }
            .as_str(),
        )
        .done()
}

fn name_of(one: &pb::Recipient) -> &str {
    if one.name.is_empty() {
        &one.recipient_id
    } else {
        &one.name
    }
}

fn third_party(names: &[&str]) -> String {
    if names.is_empty() {
        "as listed in the policy".to_owned()
    } else {
        names.join(", ")
    }
}

fn purpose_category(agreement: &pb::DataAgreement) -> &str {
    if agreement.purpose_code.is_empty() {
        &agreement.purpose
    } else {
        &agreement.purpose_code
    }
}

fn collection(record: &pb::ConsentRecord) -> &str {
    if record.collection_method.is_empty() {
        "online"
    } else {
        &record.collection_method
    }
}

fn termination(record: &pb::ConsentRecord) -> String {
    record
        .valid_until_time
        .as_ref()
        .and_then(record::read_time)
        .map_or_else(|| "until withdrawn".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement() -> pb::DataAgreement {
        pb::DataAgreement {
            purpose: "Pay a grant".to_owned(),
            lawful_basis: pb::LawfulBasis::Consent.into(),
            dpia: "done".to_owned(),
            controller: Some(pb::Controller {
                controller_id: "c".to_owned(),
                name: "Ministry".to_owned(),
                url: "https://example.org".to_owned(),
                address: "1 Main Street".to_owned(),
                contact: "The desk".to_owned(),
                email: "desk@example.org".to_owned(),
                phone: "+10000000".to_owned(),
                ..pb::Controller::default()
            }),
            policy: Some(pb::Policy {
                url: "https://example.org/p".to_owned(),
                jurisdiction: "NL".to_owned(),
                storage_location: "NL".to_owned(),
                data_retention_period_days: Some(30),
                withdrawal_method: "online".to_owned(),
                ..pb::Policy::default()
            }),
            attributes: vec![pb::DataAgreementAttribute {
                attribute_id: "1".to_owned(),
                name: "income".to_owned(),
                special_category: Some(true),
                ..pb::DataAgreementAttribute::default()
            }],
            ..pb::DataAgreement::default()
        }
    }

    fn receipt(
        agreement: &pb::DataAgreement,
        make: fn(Source<'_>) -> Result<Value, Vec<&'static str>>,
    ) -> Result<Value, Vec<&'static str>> {
        let record = pb::ConsentRecord {
            consent_record_id: "r".to_owned(),
            individual_id: "p".to_owned(),
            effective_status: pb::EffectiveStatus::Given.into(),
            ..pb::ConsentRecord::default()
        };
        make(Source {
            receipt_id: "x",
            record: &record,
            agreement,
            notice_hash: "00",
            event_time: Timestamp::from_seconds(1_700_000_000),
            public_key: "{}",
        })
    }

    #[test]
    fn iso_names_what_the_standard_demands() {
        let value = receipt(&agreement(), iso27560).unwrap();
        assert_eq!(value["header"]["recordId"], "r");
        assert_eq!(value["processing"]["retentionPeriod"], "P30D");
        assert_eq!(value["processing"]["piiInformation"][0]["attributeId"], "1");
        assert_eq!(value["event"]["eventState"], "given");
    }

    #[test]
    fn kantara_names_what_the_specification_demands() {
        let value = receipt(&agreement(), kantara).unwrap();
        assert_eq!(value["consentTimestamp"], 1_700_000_000);
        assert_eq!(value["sensitive"], true);
        assert_eq!(
            value["services"][0]["purposes"][0]["consentType"],
            "EXPLICIT"
        );
    }

    #[test]
    fn fhir_tells_the_decision() {
        let value = receipt(&agreement(), |source| Ok(fhir::consent(source))).unwrap();
        assert_eq!(value["resourceType"], "Consent");
        assert_eq!(value["status"], "active");
        assert_eq!(value["decision"], Value::Null, "nothing was answered here");
        assert_eq!(value["date"], "2023-11-14");
        assert_eq!(value["provision"][0]["code"][0]["text"], "income");
        assert_eq!(value["regulatoryBasis"][0]["coding"][0]["code"], "Consent");
    }

    #[test]
    fn dpv_names_terms_of_the_vocabulary() {
        let value = receipt(&agreement(), |source| Ok(dpv::record(source))).unwrap();
        assert_eq!(value["@type"], "dpv:ConsentRecord");
        assert_eq!(value["dpv:hasConsentStatus"]["@type"], "dpv:ConsentGiven");
        let data = &value["dpv:hasProcess"]["dpv:hasPersonalData"][0];
        assert_eq!(data["@type"], "dpv:SpecialCategoryPersonalData");
    }

    #[test]
    fn missing_sources_are_listed() {
        let mut bare = agreement();
        bare.policy = None;
        bare.controller.as_mut().unwrap().phone.clear();
        assert!(
            receipt(&bare, iso27560)
                .unwrap_err()
                .contains(&"policy.jurisdiction")
        );
        assert!(
            receipt(&bare, kantara)
                .unwrap_err()
                .contains(&"controller.phone")
        );
    }
}
