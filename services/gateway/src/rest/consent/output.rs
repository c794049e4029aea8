//! Messages of the block as JSON of this surface. Absent members are left out, never null;
//! nested and flat shapes stand side by side, for clients of either.

use prost_types::Timestamp;
use publica_proto::consent::v1 as pb;
use serde_json::{Map, Value, json};

use crate::convert::rfc3339;

/// An object whose members are only written when they say something.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn put(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.put(name, value)
        }
    }

    fn maybe<T: Into<Value>>(self, name: &str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    fn time(self, name: &str, value: Option<&Timestamp>) -> Self {
        self.maybe(name, rfc3339(value))
    }

    fn list<T>(self, name: &str, items: &[T], each: impl Fn(&T) -> Value) -> Self {
        if items.is_empty() {
            return self;
        }
        self.put(name, items.iter().map(each).collect::<Value>())
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// An object of values that are there already; the macro would build each of them once more.
pub(crate) fn members<const N: usize>(members: [(&str, Value); N]) -> Value {
    let named = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(named.collect())
}

/// A page of a list.
pub(crate) fn page(name: &str, rows: Vec<Value>, page: Value) -> Value {
    members([(name, Value::Array(rows)), ("pagination", page)])
}

fn texts(text: &String) -> Value {
    json!(text)
}

/// A policy.
pub(crate) fn policy(one: &pb::Policy) -> Value {
    Object::default()
        .put("id", one.policy_id.as_str())
        .put("name", one.name.as_str())
        .put("version", one.version.as_str())
        .put("url", one.url.as_str())
        .text("jurisdiction", &one.jurisdiction)
        .text("industrySector", &one.industry_sector)
        .maybe("dataRetentionPeriodDays", one.data_retention_period_days)
        .text("geographicRestriction", &one.geographic_restriction)
        .text("storageLocation", &one.storage_location)
        .maybe("thirdPartyDataSharing", one.third_party_data_sharing)
        .text("language", &one.language)
        .text("authorityContact", &one.authority_contact)
        .text("withdrawalMethod", &one.withdrawal_method)
        .list("translations", &one.translations, |one| {
            Object::default()
                .text("language", &one.language)
                .text("name", &one.name)
                .text("url", &one.url)
                .done()
        })
        .text("revisionId", &one.revision_id)
        .time("timestamp", one.update_time.as_ref())
        .done()
}

/// A revision.
pub(crate) fn revision(one: &pb::Revision) -> Value {
    let data = serde_json::from_str::<Value>(&one.serialized_snapshot)
        .ok()
        .and_then(|mut snapshot| snapshot.get_mut("objectData").map(Value::take));
    let by = &one.authorized_by_individual_id;
    Object::default()
        .put("id", one.revision_id.as_str())
        .put("schemaName", schema_name(one.schema()))
        .put("objectId", one.object_id.as_str())
        .put("signedWithoutObjectId", one.signed_without_object_id)
        .put("serializedSnapshot", one.serialized_snapshot.as_str())
        .put("serializedHash", one.serialized_hash.as_str())
        .put("serializedHashSha256", one.serialized_hash_sha256.as_str())
        .time("timestamp", one.create_time.as_ref())
        .maybe(
            "authorizedByIndividual",
            (!by.is_empty()).then(|| json!({ "id": by })),
        )
        .text("authorizedByIndividualId", by)
        .text("authorizedByOther", &one.authorized_by_other)
        .text("successorId", &one.successor_id)
        .text("predecessorId", &one.predecessor_id)
        .text("predecessorHash", &one.predecessor_hash)
        .text("predecessorSignature", &one.predecessor_signature)
        .maybe("objectData", data)
        .put("sequence", one.sequence)
        .text("seal", &one.seal)
        .time("erasedAt", one.erase_time.as_ref())
        .done()
}

fn schema_name(schema: pb::Schema) -> &'static str {
    match schema {
        pb::Schema::Unspecified => "",
        pb::Schema::Policy => "Policy",
        pb::Schema::DataAgreement => "DataAgreement",
        pb::Schema::ConsentRecord => "ConsentRecord",
        pb::Schema::Delegation => "Delegation",
    }
}

/// A revision that may be missing.
pub(crate) fn maybe_revision(one: Option<&pb::Revision>) -> Value {
    one.map_or_else(|| json!({}), revision)
}

/// The answer to a deletion: the revision, and its members at the top as well.
pub(crate) fn deleted(one: Option<&pb::Revision>) -> Value {
    let mut body = maybe_revision(one);
    let inner = body.clone();
    if let Some(members) = body.as_object_mut() {
        members.insert("revision".to_owned(), inner);
    }
    body
}

/// A data agreement at the top of an answer, or inside a record, where what it refers to is
/// named by id alone.
pub(crate) fn agreement(one: &pb::DataAgreement, nested: bool) -> Value {
    let lifecycle = lifecycle(one.lifecycle());
    let controller_id = one.controller.as_ref().map(|one| one.controller_id.clone());
    let shown = Object::default()
        .put("id", one.data_agreement_id.as_str())
        .put("version", one.version.as_str())
        .put("purpose", one.purpose.as_str())
        .text("purposeDescription", &one.purpose_description)
        .text("purposeCode", &one.purpose_code)
        .put("lawfulBasis", basis_name(one.lawful_basis()))
        .text("dataUse", data_use_name(one.data_use()))
        .text("methodOfUse", data_use_name(one.data_use()))
        .put("dpia", one.dpia.as_str())
        .text("dpiaDate", &one.dpia_date)
        .maybe("active", one.active)
        .maybe("forgettable", one.forgettable)
        .text("compatibleWithVersionId", &one.compatible_with_version_id)
        .text("policyId", &one.policy_id)
        .text("policyRevisionId", &one.policy_revision_id)
        .text("policyRevisionHash", &one.policy_revision_hash)
        .maybe("controllerId", controller_id)
        .list("dataAttributes", &one.attributes, attribute)
        .maybe("validityDays", one.validity_days)
        .maybe("maxUsesPerDay", one.max_uses_per_day)
        .text("accessMode", access_mode_name(one.access_mode()))
        .maybe(
            "minimumAge",
            (one.minimum_age > 0).then_some(one.minimum_age),
        )
        .text("noticeUrl", &one.notice_url)
        .text("language", &one.language)
        .text("receiptProfile", &one.receipt_profile)
        .text("revisionId", &one.revision_id)
        .text("publishedRevisionId", &one.published_revision_id)
        .time("timestamp", one.update_time.as_ref());
    if nested {
        let id = lifecycle.map(|(id, _)| id);
        return shown.maybe("lifecycleId", id).done();
    }
    related(shown, one, lifecycle).done()
}

/// What an agreement refers to.
fn related(
    shown: Object,
    one: &pb::DataAgreement,
    lifecycle: Option<(&'static str, &'static str)>,
) -> Object {
    shown
        .maybe("controller", one.controller.as_ref().map(controller))
        .maybe(
            "controllerName",
            one.controller.as_ref().map(|one| one.name.clone()),
        )
        .maybe(
            "controllerUrl",
            one.controller.as_ref().map(|one| one.url.clone()),
        )
        .maybe("policy", one.policy.as_ref().map(policy))
        .maybe(
            "lifecycle",
            lifecycle.map(|(id, name)| json!({ "id": id, "name": name })),
        )
        .list("dataSources", &one.data_sources, |one| {
            Object::default()
                .text("name", &one.name)
                .text("sector", &one.sector)
                .text("location", &one.location)
                .text("privacyDashboardUrl", &one.privacy_dashboard_url)
                .done()
        })
        .list("recipients", &one.recipients, |one| {
            Object::default()
                .text("id", &one.recipient_id)
                .text("name", &one.name)
                .list("attributes", &one.attributes, texts)
                .text("country", &one.country)
                .done()
        })
        .list("useLimits", &one.use_limits, |one| {
            json!({
                "unit": one.unit().as_str_name().trim_start_matches("USE_UNIT_"),
                "value": one.span.max(1),
                "repeats": one.uses,
            })
        })
        .list("requiredSignatures", &one.required_signatures, texts)
        .list("processingMethods", &one.processing_methods, texts)
        .list("privacyRights", &one.privacy_rights, texts)
}

pub(crate) fn controller(one: &pb::Controller) -> Value {
    Object::default()
        .put("id", one.controller_id.as_str())
        .put("name", one.name.as_str())
        .put("url", one.url.as_str())
        .text("address", &one.address)
        .text("contact", &one.contact)
        .text("email", &one.email)
        .text("phone", &one.phone)
        .text("country", &one.country)
        .text("role", &one.role)
        .done()
}

/// An attribute of an agreement.
pub(crate) fn attribute(one: &pb::DataAgreementAttribute) -> Value {
    Object::default()
        .put("id", one.attribute_id.as_str())
        .put("name", one.name.as_str())
        .put("sensitivity", one.sensitivity.as_str())
        .put("category", one.category.as_str())
        .text("description", &one.description)
        .text("necessity", &one.necessity)
        .list("restrictions", &one.restrictions, texts)
        .text("schemaPath", &one.schema_path)
        .maybe("specialCategory", one.special_category)
        .done()
}

fn basis_name(basis: pb::LawfulBasis) -> &'static str {
    match basis {
        pb::LawfulBasis::Unspecified => "",
        pb::LawfulBasis::Consent => "consent",
        pb::LawfulBasis::LegalObligation => "legal_obligation",
        pb::LawfulBasis::Contract => "contract",
        pb::LawfulBasis::VitalInterest => "vital_interest",
        pb::LawfulBasis::PublicTask => "public_task",
        pb::LawfulBasis::LegitimateInterest => "legitimate_interest",
    }
}

fn data_use_name(data_use: pb::DataUse) -> &'static str {
    match data_use {
        pb::DataUse::Unspecified => "",
        pb::DataUse::DataSource => "data_source",
        pb::DataUse::DataUsingService => "data_using_service",
    }
}

fn access_mode_name(mode: pb::AccessMode) -> &'static str {
    match mode {
        pb::AccessMode::Unspecified => "",
        pb::AccessMode::View => "view",
        pb::AccessMode::Store => "store",
        pb::AccessMode::Query => "query",
        pb::AccessMode::Stream => "stream",
    }
}

/// Lifecycles with their ids and names; the first two are published reference data.
pub(crate) const LIFECYCLES: [(pb::AgreementLifecycle, &str, &str); 3] = [
    (pb::AgreementLifecycle::Draft, "1", "Draft"),
    (pb::AgreementLifecycle::Complete, "2", "Complete"),
    (pb::AgreementLifecycle::Terminated, "3", "Terminated"),
];

/// Id and name of a lifecycle.
fn lifecycle(lifecycle: pb::AgreementLifecycle) -> Option<(&'static str, &'static str)> {
    let found = LIFECYCLES.iter().find(|(one, _, _)| *one == lifecycle);
    found.map(|(_, id, name)| (*id, *name))
}

/// An individual.
pub(crate) fn individual(one: &pb::Individual) -> Value {
    Object::default()
        .put("id", one.individual_id.as_str())
        .text("externalId", &one.external_id)
        .text("externalIdType", &one.external_id_type)
        .text("identityProviderId", &one.identity_provider_id)
        .text("birthDate", &one.birth_date)
        .text("email", &one.email)
        .time("timestamp", one.update_time.as_ref())
        .done()
}

/// A consent record.
pub(crate) fn record(one: &pb::ConsentRecord) -> Value {
    let signature_id = one.signature.as_ref().map(|one| one.signature_id.clone());
    let full = one.signature.as_ref().filter(|one| !one.payload.is_empty());
    let text = one.data_agreement.as_ref();
    Object::default()
        .text("id", &one.consent_record_id)
        .maybe("dataAgreement", text.map(|text| agreement(text, true)))
        .put("dataAgreementId", one.data_agreement_id.as_str())
        .maybe(
            "dataAgreementRevision",
            one.data_agreement_revision.as_ref().map(revision),
        )
        .put(
            "dataAgreementRevisionId",
            one.data_agreement_revision_id.as_str(),
        )
        .put(
            "dataAgreementRevisionHash",
            one.data_agreement_revision_hash.as_str(),
        )
        .put("individual", json!({ "id": one.individual_id }))
        .put("individualId", one.individual_id.as_str())
        .maybe("optIn", one.opt_in)
        .put("state", state_name(one.state()))
        .maybe("signature", full.map(signature))
        .maybe("signatureId", signature_id.filter(|id| !id.is_empty()))
        .list(
            "attributes",
            &one.attributes,
            |choice| json!({ "attribute": choice.attribute, "granted": choice.granted }),
        )
        .time("timestamp", one.update_time.as_ref())
        .time("createdAt", one.create_time.as_ref())
        .time("validFrom", one.valid_from_time.as_ref())
        .time("validUntil", one.valid_until_time.as_ref())
        .text("effectiveStatus", &status_name(one.effective_status()))
        .text("collectionMethod", &one.collection_method)
        .text("channel", &one.channel)
        .text("language", &one.language)
        .text("assistedBy", &one.assisted_by)
        .text("revisionId", &one.revision_id)
        .maybe(
            "delegation",
            (!one.delegation_id.is_empty()).then(|| json!({ "id": one.delegation_id })),
        )
        .text("delegationId", &one.delegation_id)
        .maybe("reconfirmationDue", one.reconfirmation_due.then_some(true))
        .done()
}

fn state_name(state: pb::RecordState) -> &'static str {
    match state {
        pb::RecordState::Unspecified | pb::RecordState::Unsigned => "unsigned",
        pb::RecordState::PendingMoreSignatures => "pending more signatures",
        pb::RecordState::Signed => "signed",
    }
}

fn status_name(status: pb::EffectiveStatus) -> String {
    match status {
        pb::EffectiveStatus::Unspecified => String::new(),
        other => other
            .as_str_name()
            .trim_start_matches("EFFECTIVE_STATUS_")
            .to_ascii_lowercase(),
    }
}

/// A signature.
pub(crate) fn signature(one: &pb::Signature) -> Value {
    Object::default()
        .text("id", &one.signature_id)
        .put("payload", one.payload.as_str())
        .put("signature", one.signature.as_str())
        .put("verificationMethod", one.verification_method.as_str())
        .put("verificationPayload", one.verification_payload.as_str())
        .put(
            "verificationPayloadHash",
            one.verification_payload_hash.as_str(),
        )
        .text("verificationArtifact", &one.verification_artifact)
        .put("verificationSignedBy", one.verification_signed_by.as_str())
        .text("verificationSignedAs", &one.verification_signed_as)
        .text("verificationJwsHeader", &one.verification_jws_header)
        .time("timestamp", one.create_time.as_ref())
        .put(
            "signedWithoutObjectReference",
            one.signed_without_object_reference,
        )
        .text("objectType", &one.object_type)
        .text("objectReference", &one.object_reference)
        .done()
}

/// A decision.
pub(crate) fn decision(one: &pb::CheckConsentResponse) -> Value {
    let reasons: Vec<String> = one
        .reasons()
        .map(|reason| {
            reason
                .as_str_name()
                .trim_start_matches("DECISION_REASON_")
                .to_ascii_lowercase()
        })
        .collect();
    Object::default()
        .put("allowed", one.allowed)
        .put("reasons", reasons)
        .text("individualId", &one.individual_id)
        .text("consentRecordId", &one.consent_record_id)
        .text("dataAgreementId", &one.data_agreement_id)
        .text("revisionHash", &one.revision_hash)
        .put("grantedAttributes", one.granted_attributes.clone())
        .list("deniedAttributes", &one.denied_attributes, texts)
        .maybe("obligations", one.obligations.as_ref().map(obligations))
        .put("decisionId", one.decision_id.as_str())
        .time("evaluatedAt", one.evaluate_time.as_ref())
        .time("cacheUntil", one.cache_until_time.as_ref())
        .time("validUntil", one.valid_until_time.as_ref())
        .time("at", one.at_time.as_ref())
        .text("correlationId", &one.correlation_id)
        .text("decisionToken", &one.decision_token)
        .done()
}

/// How a relationship is called on this surface.
pub(crate) fn relationship(one: pb::DelegationRelationship) -> String {
    let name = one.as_str_name();
    name.trim_start_matches("DELEGATION_RELATIONSHIP_")
        .to_ascii_lowercase()
}

/// A delegation.
pub(crate) fn delegation(one: &pb::Delegation) -> Value {
    let actions: Vec<String> = one
        .actions()
        .map(|action| {
            let name = action.as_str_name();
            name.trim_start_matches("DELEGATION_ACTION_")
                .to_ascii_lowercase()
        })
        .collect();
    Object::default()
        .put("id", one.delegation_id.as_str())
        .put("individualId", one.individual_id.as_str())
        .put("delegateIndividualId", one.delegate_individual_id.as_str())
        .put("relationship", relationship(one.relationship()))
        .text("authorityReference", &one.authority_reference)
        .text("authorityHash", &one.authority_hash)
        .list("scopeAgreements", &one.scope_agreements, texts)
        .list("scopePurposes", &one.scope_purposes, texts)
        .put("actions", actions)
        .time("validFrom", one.valid_from_time.as_ref())
        .time("validUntil", one.valid_until_time.as_ref())
        .time("revokedAt", one.revoke_time.as_ref())
        .maybe("void", one.void.then_some(true))
        .put("active", one.active)
        .time("createdAt", one.create_time.as_ref())
        .done()
}

/// A revocation.
pub(crate) fn revocation(one: &pb::Revocation) -> Value {
    let cause = one
        .cause()
        .as_str_name()
        .trim_start_matches("REVOCATION_CAUSE_");
    Object::default()
        .text("individualId", &one.individual_id)
        .text("dataAgreementId", &one.data_agreement_id)
        .text("consentRecordId", &one.consent_record_id)
        .put("cause", cause.to_ascii_lowercase())
        .time("timestamp", one.time.as_ref())
        .done()
}

fn obligations(one: &pb::Obligations) -> Value {
    Object::default()
        .time("eraseBy", one.erase_by_time.as_ref())
        .maybe(
            "retentionDays",
            (one.retention_days > 0).then_some(one.retention_days),
        )
        .maybe("maxUsesLeft", one.uses_left)
        .done()
}

/// What the verification of a chain found.
pub(crate) fn chain(one: &pb::VerifyChainResponse) -> Value {
    Object::default()
        .put("intact", one.intact)
        .text("firstBadRevisionId", &one.first_bad_revision_id)
        .text("problem", &one.problem)
        .put("revisions", one.revisions)
        .put("erased", one.erased)
        .put("signatures", one.signatures)
        .put("headRevisionId", one.head_revision_id.as_str())
        .put("headHashSha256", one.head_hash_sha256.as_str())
        .text("dataAgreementId", &one.data_agreement_id)
        .done()
}

/// A key that a person signs with.
pub(crate) fn key(one: &pb::SigningKey) -> Value {
    let jwk = serde_json::from_str::<Value>(&one.jwk).unwrap_or_default();
    Object::default()
        .put("id", one.key_id.as_str())
        .put("jwk", jwk)
        .time("createdAt", one.create_time.as_ref())
        .time("revokedAt", one.revoke_time.as_ref())
        .done()
}
