//! How an agreement is told: names as the specification spells them, and what a snapshot holds.

use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use crate::domain::policy;
use crate::domain::snapshot::Members;

/// How the specification spells a lawful basis.
pub(crate) fn basis_name(basis: i32) -> &'static str {
    match pb::LawfulBasis::try_from(basis).unwrap_or_default() {
        pb::LawfulBasis::Unspecified => "",
        pb::LawfulBasis::Consent => "consent",
        pb::LawfulBasis::LegalObligation => "legal_obligation",
        pb::LawfulBasis::Contract => "contract",
        pb::LawfulBasis::VitalInterest => "vital_interest",
        pb::LawfulBasis::PublicTask => "public_task",
        pb::LawfulBasis::LegitimateInterest => "legitimate_interest",
    }
}

/// How the specification spells a side of an exchange.
pub(crate) fn data_use_name(data_use: i32) -> &'static str {
    match pb::DataUse::try_from(data_use).unwrap_or_default() {
        pb::DataUse::Unspecified => "",
        pb::DataUse::DataSource => "data_source",
        pb::DataUse::DataUsingService => "data_using_service",
    }
}

/// How an access mode is spelt.
pub(crate) fn access_mode_name(mode: i32) -> &'static str {
    match pb::AccessMode::try_from(mode).unwrap_or_default() {
        pb::AccessMode::Unspecified => "",
        pb::AccessMode::View => "view",
        pb::AccessMode::Store => "store",
        pb::AccessMode::Query => "query",
        pb::AccessMode::Stream => "stream",
    }
}

/// How a unit of limits is spelt.
pub(crate) fn unit_name(unit: i32) -> &'static str {
    match pb::UseUnit::try_from(unit).unwrap_or_default() {
        pb::UseUnit::Unspecified => "",
        pb::UseUnit::Hour => "HOUR",
        pb::UseUnit::Day => "DAY",
        pb::UseUnit::Week => "WEEK",
        pb::UseUnit::Month => "MONTH",
        pb::UseUnit::Year => "YEAR",
    }
}

/// The name of a stage of life, as the reference data spells it.
pub(crate) fn lifecycle_name(lifecycle: i32) -> &'static str {
    match pb::AgreementLifecycle::try_from(lifecycle).unwrap_or_default() {
        pb::AgreementLifecycle::Unspecified => "",
        pb::AgreementLifecycle::Draft => "Draft",
        pb::AgreementLifecycle::Complete => "Complete",
        pb::AgreementLifecycle::Terminated => "Terminated",
    }
}

/// What a snapshot of an agreement holds: all related objects with it.
pub(crate) fn data(agreement: &pb::DataAgreement) -> Value {
    let lifecycle = lifecycle_name(agreement.lifecycle);
    let texts = |text: &String| json!(text);
    Members::new()
        .text("id", &agreement.data_agreement_id)
        .text("version", &agreement.version)
        .maybe("controller", agreement.controller.as_ref().map(controller))
        .maybe("policy", agreement.policy.as_ref().map(policy::data))
        .text("policyRevisionId", &agreement.policy_revision_id)
        .text("policyRevisionHash", &agreement.policy_revision_hash)
        .text("purpose", &agreement.purpose)
        .text("purposeDescription", &agreement.purpose_description)
        .text("purposeCode", &agreement.purpose_code)
        .text("lawfulBasis", basis_name(agreement.lawful_basis))
        .text("dataUse", data_use_name(agreement.data_use))
        .text("dpia", &agreement.dpia)
        .text("dpiaDate", &agreement.dpia_date)
        .maybe("active", agreement.active)
        .maybe("forgettable", agreement.forgettable)
        .text(
            "compatibleWithVersionId",
            &agreement.compatible_with_version_id,
        )
        .maybe(
            "lifecycle",
            (!lifecycle.is_empty()).then(|| json!({ "name": lifecycle })),
        )
        .list("dataAttributes", &agreement.attributes, attribute_data)
        .list("dataSources", &agreement.data_sources, |one| {
            Members::new()
                .text("name", &one.name)
                .text("sector", &one.sector)
                .text("location", &one.location)
                .text("privacyDashboardUrl", &one.privacy_dashboard_url)
                .done()
        })
        .list("recipients", &agreement.recipients, |one| {
            Members::new()
                .text("id", &one.recipient_id)
                .text("name", &one.name)
                .list("attributes", &one.attributes, |name| json!(name))
                .text("country", &one.country)
                .done()
        })
        .list("useLimits", &agreement.use_limits, |one| {
            json!({ "unit": unit_name(one.unit), "value": one.span.max(1), "repeats": one.uses })
        })
        .maybe("validityDays", agreement.validity_days)
        .maybe("maxUsesPerDay", agreement.max_uses_per_day)
        .text("accessMode", access_mode_name(agreement.access_mode))
        .maybe(
            "minimumAge",
            (agreement.minimum_age > 0).then_some(agreement.minimum_age),
        )
        .list("requiredSignatures", &agreement.required_signatures, texts)
        .list("processingMethods", &agreement.processing_methods, texts)
        .list("privacyRights", &agreement.privacy_rights, texts)
        .text("noticeUrl", &agreement.notice_url)
        .text("language", &agreement.language)
        .text("receiptProfile", &agreement.receipt_profile)
        .done()
}

/// What a snapshot holds of the accountable organisation.
fn controller(one: &pb::Controller) -> Value {
    Members::new()
        .text("id", &one.controller_id)
        .text("name", &one.name)
        .text("url", &one.url)
        .text("address", &one.address)
        .text("contact", &one.contact)
        .text("email", &one.email)
        .text("phone", &one.phone)
        .text("country", &one.country)
        .text("role", &one.role)
        .done()
}

fn attribute_data(one: &pb::DataAgreementAttribute) -> Value {
    Members::new()
        .text("id", &one.attribute_id)
        .text("name", &one.name)
        .text("sensitivity", &one.sensitivity)
        .text("category", &one.category)
        .text("description", &one.description)
        .text("necessity", &one.necessity)
        .list("restrictions", &one.restrictions, |text| json!(text))
        .text("schemaPath", &one.schema_path)
        .maybe("specialCategory", one.special_category)
        .done()
}
