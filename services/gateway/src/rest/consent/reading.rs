//! Bodies of this surface as messages of the block. Older spellings that deployed clients use
//! are read as well.

use publica_proto::consent::v1 as pb;

use super::input::Input;

/// A policy.
pub(crate) fn policy(input: &Input<'_>) -> pb::Policy {
    pb::Policy {
        policy_id: input.text("id"),
        name: input.text("name"),
        version: input.text("version"),
        url: input.text("url"),
        jurisdiction: input.text("jurisdiction"),
        industry_sector: input.text("industrySector"),
        data_retention_period_days: input.number("dataRetentionPeriodDays"),
        geographic_restriction: input.text("geographicRestriction"),
        storage_location: input.text("storageLocation"),
        third_party_data_sharing: input.flag("thirdPartyDataSharing"),
        language: input.text("language"),
        authority_contact: input.text("authorityContact"),
        withdrawal_method: input.text("withdrawalMethod"),
        translations: input
            .children("translations")
            .iter()
            .map(|one| pb::PolicyTranslation {
                language: one.text("language"),
                name: one.text("name"),
                url: one.text("url"),
            })
            .collect(),
        ..pb::Policy::default()
    }
}

/// A data agreement, and whether it is to be published at once.
pub(crate) fn agreement(input: &Input<'_>) -> (pb::DataAgreement, bool) {
    let active = input.flag("active");
    let published = match lifecycle(input).to_ascii_lowercase().as_str() {
        "complete" | "2" => true,
        "draft" | "1" => false,
        // Who sends an active agreement wants people to answer it.
        "" => active == Some(true),
        _ => {
            input.fault("lifecycle", "must be Draft or Complete");
            false
        }
    };
    let inline = input.child("policy").map(|child| policy(&child));
    let mut agreement = pb::DataAgreement {
        data_agreement_id: input.text("id"),
        version: input.text("version"),
        controller: controller(input),
        policy_id: input.text("policyId"),
        policy_revision_id: input.text("policyRevisionId"),
        policy: inline,
        purpose: input.text("purpose"),
        purpose_description: input.text("purposeDescription"),
        purpose_code: input.text("purposeCode"),
        lawful_basis: lawful_basis(input),
        data_use: data_use(input),
        dpia: input.text("dpia"),
        dpia_date: input.text("dpiaDate"),
        active,
        forgettable: input.flag("forgettable"),
        compatible_with_version_id: compatible(input),
        attributes: input
            .children("dataAttributes")
            .iter()
            .map(attribute)
            .collect(),
        ..pb::DataAgreement::default()
    };
    if agreement.dpia.is_empty() {
        agreement.dpia = input.text("dpiaSummaryUrl");
    }
    more_of_agreement(input, &mut agreement);
    (agreement, published)
}

fn more_of_agreement(input: &Input<'_>, agreement: &mut pb::DataAgreement) {
    agreement.data_sources = input
        .children("dataSources")
        .iter()
        .map(|one| pb::DataSource {
            name: one.text("name"),
            sector: one.text("sector"),
            location: one.text("location"),
            privacy_dashboard_url: one.text("privacyDashboardUrl"),
        })
        .collect();
    agreement.recipients = input
        .children("recipients")
        .iter()
        .map(|one| pb::Recipient {
            recipient_id: one.text("id"),
            name: one.text("name"),
            attributes: one.texts("attributes"),
            country: one.text("country"),
        })
        .collect();
    agreement.validity_days = input.number("validityDays");
    agreement.max_uses_per_day = input.number("maxUsesPerDay");
    agreement.use_limits = input
        .children("useLimits")
        .iter()
        .chain(&input.child("frequency"))
        .map(use_limit)
        .collect();
    agreement.access_mode = access_mode(input, "accessMode");
    agreement.minimum_age = input.number("minimumAge").unwrap_or_default();
    agreement.required_signatures = input.texts("requiredSignatures");
    agreement.processing_methods = input.texts("processingMethods");
    agreement.privacy_rights = input.texts("privacyRights");
    agreement.notice_url = input.text("noticeUrl");
    agreement.language = input.text("language");
    agreement.receipt_profile = input.text("receiptProfile");
}

/// A limit on uses, in the words of account aggregators: so many repeats in so many units.
fn use_limit(one: &Input<'_>) -> pb::UseLimit {
    let unit = match one.text("unit").to_ascii_uppercase().as_str() {
        "HOUR" => pb::UseUnit::Hour,
        "DAY" => pb::UseUnit::Day,
        "WEEK" => pb::UseUnit::Week,
        "MONTH" => pb::UseUnit::Month,
        "YEAR" => pb::UseUnit::Year,
        _ => {
            one.fault("unit", "must be one of HOUR, DAY, WEEK, MONTH, YEAR");
            pb::UseUnit::Unspecified
        }
    };
    pb::UseLimit {
        uses: one.number("repeats").unwrap_or_default(),
        unit: unit.into(),
        span: one.number("value").unwrap_or_default(),
    }
}

/// The name of the lifecycle, which may be given as a text or as an object.
fn lifecycle(input: &Input<'_>) -> String {
    let name = input.text_within("lifecycle", "name");
    if name.is_empty() {
        input.text_within("lifecycle", "id")
    } else {
        name
    }
}

fn compatible(input: &Input<'_>) -> String {
    let nested = input
        .child("compatibleWithVersion")
        .map(|one| one.text("version"));
    let named = nested.unwrap_or_else(|| {
        // `false` is how some clients write none.
        input
            .flag_or_text("compatibleWithVersionId")
            .unwrap_or_default()
    });
    if named == "false" {
        String::new()
    } else {
        named
    }
}

fn controller(input: &Input<'_>) -> Option<pb::Controller> {
    if let Some(one) = input.child("controller") {
        return Some(pb::Controller {
            controller_id: one.text("id"),
            name: one.text("name"),
            url: one.text("url"),
            address: one.text("address"),
            contact: one.text("contact"),
            email: one.text("email"),
            phone: one.text("phone"),
            country: one.text("country"),
            role: one.text("role"),
        });
    }
    let flat = pb::Controller {
        controller_id: input.text("controllerId"),
        name: input.text("controllerName"),
        url: input.text("controllerUrl"),
        ..pb::Controller::default()
    };
    (flat != pb::Controller::default()).then_some(flat)
}

pub(super) fn attribute(one: &Input<'_>) -> pb::DataAgreementAttribute {
    // Sensitivity is a category of its own; a plain yes or no is read as one.
    let sensitivity = match one.flag_or_text("sensitivity").as_deref() {
        Some("true") => "sensitive".to_owned(),
        Some("false") => "ordinary".to_owned(),
        Some(text) => text.to_owned(),
        None => String::new(),
    };
    pb::DataAgreementAttribute {
        attribute_id: one.text("id"),
        name: one.text("name"),
        sensitivity,
        category: one.text("category"),
        description: one.text("description"),
        necessity: one.text("necessity"),
        restrictions: one.texts("restrictions"),
        schema_path: one.text("schemaPath"),
        special_category: one.flag("specialCategory"),
    }
}

fn lawful_basis(input: &Input<'_>) -> i32 {
    const ALL: [(&str, pb::LawfulBasis); 6] = [
        ("consent", pb::LawfulBasis::Consent),
        ("legal_obligation", pb::LawfulBasis::LegalObligation),
        ("contract", pb::LawfulBasis::Contract),
        ("vital_interest", pb::LawfulBasis::VitalInterest),
        ("public_task", pb::LawfulBasis::PublicTask),
        ("legitimate_interest", pb::LawfulBasis::LegitimateInterest),
    ];
    let text = input.text("lawfulBasis");
    if text.is_empty() {
        return 0;
    }
    match basis_of(&text, &ALL) {
        Some(basis) => basis,
        None => {
            let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
            input.fault(
                "lawfulBasis",
                &format!("must be one of {}", names.join(", ")),
            );
            0
        }
    }
}

fn basis_of(text: &str, all: &[(&str, pb::LawfulBasis)]) -> Option<i32> {
    let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, basis)| i32::from(*basis))
}

/// The lawful basis that a query names; 0 when it names none.
pub(crate) fn basis_in_query(text: &str) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let name = format!("LAWFUL_BASIS_{}", text.to_ascii_uppercase());
    pb::LawfulBasis::from_str_name(&name).map(i32::from)
}

fn data_use(input: &Input<'_>) -> i32 {
    let text = input.text_or("dataUse", "methodOfUse");
    match text.to_ascii_lowercase().as_str() {
        "" | "null" => 0,
        "data_source" => pb::DataUse::DataSource.into(),
        "data_using_service" => pb::DataUse::DataUsingService.into(),
        _ => {
            input.fault(
                "dataUse",
                "must be one of null, data_source, data_using_service",
            );
            0
        }
    }
}

/// An access mode by its name.
pub(crate) fn access_mode(input: &Input<'_>, name: &str) -> i32 {
    match input.text(name).to_ascii_lowercase().as_str() {
        "" => 0,
        "view" => pb::AccessMode::View.into(),
        "store" => pb::AccessMode::Store.into(),
        "query" => pb::AccessMode::Query.into(),
        "stream" => pb::AccessMode::Stream.into(),
        _ => {
            input.fault(name, "must be one of view, store, query, stream");
            0
        }
    }
}

/// An individual.
pub(crate) fn individual(input: &Input<'_>) -> pb::Individual {
    pb::Individual {
        individual_id: input.text("id"),
        external_id: input.text("externalId"),
        external_id_type: input.text("externalIdType"),
        identity_provider_id: input.text("identityProviderId"),
        birth_date: input.text("birthDate"),
        email: input.text("email"),
        ..pb::Individual::default()
    }
}

/// A consent record, nested or flat. What the block alone sets is not read.
pub(crate) fn record(input: &Input<'_>) -> pb::ConsentRecord {
    let id = |flat: &str, nested: &str| {
        let own = input.text(flat);
        if own.is_empty() {
            input.text_within(nested, "id")
        } else {
            own
        }
    };
    pb::ConsentRecord {
        data_agreement_id: id("dataAgreementId", "dataAgreement"),
        data_agreement_revision_id: id("dataAgreementRevisionId", "dataAgreementRevision"),
        data_agreement_revision_hash: input.text("dataAgreementRevisionHash"),
        individual_id: id("individualId", "individual"),
        opt_in: input.flag("optIn"),
        attributes: choices(input),
        valid_from_time: input.time("validFrom"),
        valid_until_time: input.time("validUntil"),
        collection_method: input.text("collectionMethod"),
        channel: input.text("channel"),
        language: input.text("language"),
        assisted_by: input.text("assistedBy"),
        ..pb::ConsentRecord::default()
    }
}

/// Choices by attribute.
pub(crate) fn choices(input: &Input<'_>) -> Vec<pb::AttributeChoice> {
    input
        .children("attributes")
        .iter()
        .map(|one| pb::AttributeChoice {
            attribute: one.text_or("attribute", "id"),
            granted: one.flag("granted").unwrap_or(false),
        })
        .collect()
}

/// A signature.
pub(crate) fn signature(input: &Input<'_>) -> pb::Signature {
    pb::Signature {
        signature_id: String::new(),
        payload: input.text("payload"),
        signature: input.text("signature"),
        verification_method: input.text("verificationMethod"),
        verification_payload: input.text("verificationPayload"),
        verification_payload_hash: input.text("verificationPayloadHash"),
        verification_artifact: input.text("verificationArtifact"),
        verification_signed_by: input.text("verificationSignedBy"),
        verification_signed_as: input.text("verificationSignedAs"),
        verification_jws_header: input.text("verificationJwsHeader"),
        create_time: input.time("timestamp"),
        signed_without_object_reference: input
            .flag("signedWithoutObjectReference")
            .unwrap_or(false),
        // Peers differ in case.
        object_type: input.text("objectType").to_ascii_lowercase(),
        object_reference: input.text_within("objectReference", "id"),
    }
}

/// A question about a use of data.
pub(crate) fn question(input: &Input<'_>) -> pb::CheckConsentRequest {
    use pb::person_reference::Person;
    let nested = input.child("person");
    let person = nested.as_ref().unwrap_or(input);
    let id = person.text("individualId");
    let external_id = person.text("externalId");
    let named = if !id.is_empty() {
        Some(Person::IndividualId(id))
    } else if !external_id.is_empty() {
        Some(Person::External(pb::ExternalIdentity {
            external_id,
            external_id_type: person.text("externalIdType"),
            identity_provider_id: person.text("identityProviderId"),
        }))
    } else {
        input.fault("individualId", "or externalId is required");
        None
    };
    pb::CheckConsentRequest {
        person: named.map(|person| pb::PersonReference {
            person: Some(person),
        }),
        consumer: input.text("consumer"),
        purpose: input.text("purpose"),
        data_agreement_id: input.text("dataAgreementId"),
        attributes: input.texts("attributes"),
        data_agreement_revision_id: input.text_or("dataAgreementRevisionId", "revisionId"),
        access_mode: access_mode(input, "accessMode"),
        require_signature: input.flag("requireSignature").unwrap_or(false),
        want_token: input.flag("wantToken").unwrap_or(false),
        allow_partial: input.flag("allowPartial").unwrap_or(false),
        at_time: input.time("at"),
        correlation_id: input.text("correlationId"),
    }
}

/// The record state that a query names; 0 when it names none.
pub(crate) fn state_in_query(text: &str) -> Option<i32> {
    match text.to_ascii_lowercase().as_str() {
        "" => Some(0),
        "unsigned" => Some(pb::RecordState::Unsigned.into()),
        "pending more signatures" => Some(pb::RecordState::PendingMoreSignatures.into()),
        "signed" => Some(pb::RecordState::Signed.into()),
        _ => None,
    }
}

/// The lifecycle that a query names; 0 when it names none.
pub(crate) fn lifecycle_in_query(text: &str) -> Option<i32> {
    match text.to_ascii_lowercase().as_str() {
        "" => Some(0),
        "draft" | "1" => Some(pb::AgreementLifecycle::Draft.into()),
        "complete" | "2" => Some(pb::AgreementLifecycle::Complete.into()),
        "terminated" => Some(pb::AgreementLifecycle::Terminated.into()),
        _ => None,
    }
}
