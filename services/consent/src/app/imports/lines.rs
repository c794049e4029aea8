//! Lines of an import: the published shapes, flat, with what only an import may set.

use publica_imports::Problem;
use publica_json::read_entity;
use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::violations::Violations;

/// One entity, read.
#[derive(Debug, Clone)]
pub(crate) enum Entity {
    Policy(Box<PolicyLine>),
    Agreement(Box<AgreementLine>),
    Individual(Box<IndividualLine>),
    Delegation(Box<DelegationLine>),
    Record(Box<RecordLine>),
}

impl Entity {
    /// The id that the line gives it.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Policy(line) => &line.id,
            Self::Agreement(line) => &line.id,
            Self::Individual(line) => &line.id,
            Self::Delegation(line) => &line.id,
            Self::Record(line) => &line.id,
        }
    }
}

/// Reads one line of a kind.
pub(crate) fn read(kind: &str, json: &[u8]) -> Result<Entity, Problem> {
    match kind {
        "consent.policy" => read_entity(json).map(|one| Entity::Policy(Box::new(one))),
        "consent.agreement" => read_entity(json).map(|one| Entity::Agreement(Box::new(one))),
        "consent.individual" => read_entity(json).map(|one| Entity::Individual(Box::new(one))),
        "consent.delegation" => read_entity(json).map(|one| Entity::Delegation(Box::new(one))),
        "consent.record" => read_entity(json).map(|one| Entity::Record(Box::new(one))),
        _ => Err(("kind".to_owned(), "is not a kind of this block".to_owned())),
    }
}

/// A revision from the earlier system; its text is kept byte for byte.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RevisionLine {
    pub(crate) id: String,
    pub(crate) serialized_snapshot: String,
    pub(crate) serialized_hash: String,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) authorized_by_individual: String,
    pub(crate) authorized_by_other: String,
    pub(crate) signed_without_object_id: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PolicyLine {
    pub(crate) kind: Option<Value>,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) url: String,
    pub(crate) jurisdiction: String,
    pub(crate) industry_sector: String,
    pub(crate) data_retention_period_days: Option<i32>,
    pub(crate) geographic_restriction: String,
    pub(crate) storage_location: String,
    pub(crate) third_party_data_sharing: Option<bool>,
    pub(crate) language: String,
    pub(crate) authority_contact: String,
    pub(crate) withdrawal_method: String,
    pub(crate) translations: Vec<TranslationLine>,
    pub(crate) deleted: bool,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) revisions: Vec<RevisionLine>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TranslationLine {
    pub(crate) language: String,
    pub(crate) name: String,
    pub(crate) url: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SourceLine {
    pub(crate) name: String,
    pub(crate) sector: String,
    pub(crate) location: String,
    pub(crate) privacy_dashboard_url: String,
}

/// A limit on uses: so many `repeats` in `value` units.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UseLimitLine {
    pub(crate) repeats: i32,
    pub(crate) unit: String,
    pub(crate) value: i32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ControllerLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) address: String,
    pub(crate) contact: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    pub(crate) country: String,
    pub(crate) role: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AttributeLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) sensitivity: String,
    pub(crate) category: String,
    pub(crate) description: String,
    pub(crate) necessity: String,
    pub(crate) restrictions: Vec<String>,
    pub(crate) schema_path: String,
    pub(crate) special_category: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RecipientLine {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) attributes: Vec<String>,
    pub(crate) country: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AgreementLine {
    pub(crate) kind: Option<Value>,
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) controller: Option<ControllerLine>,
    pub(crate) policy_id: String,
    pub(crate) policy_revision_id: String,
    pub(crate) purpose: String,
    pub(crate) purpose_description: String,
    pub(crate) purpose_code: String,
    pub(crate) lawful_basis: String,
    #[serde(alias = "methodOfUse")]
    pub(crate) data_use: String,
    #[serde(alias = "dpiaSummaryUrl")]
    pub(crate) dpia: String,
    pub(crate) dpia_date: String,
    pub(crate) compatible_with_version_id: String,
    pub(crate) data_sources: Vec<SourceLine>,
    pub(crate) use_limits: Vec<UseLimitLine>,
    pub(crate) minimum_age: i32,
    pub(crate) processing_methods: Vec<String>,
    pub(crate) privacy_rights: Vec<String>,
    pub(crate) receipt_profile: String,
    pub(crate) active: Option<bool>,
    pub(crate) forgettable: Option<bool>,
    pub(crate) lifecycle: String,
    pub(crate) data_attributes: Vec<AttributeLine>,
    pub(crate) recipients: Vec<RecipientLine>,
    pub(crate) validity_days: Option<i32>,
    pub(crate) max_uses_per_day: Option<i32>,
    pub(crate) access_mode: String,
    pub(crate) required_signatures: Vec<String>,
    pub(crate) notice_url: String,
    pub(crate) language: String,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) revisions: Vec<RevisionLine>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IndividualLine {
    pub(crate) kind: Option<Value>,
    pub(crate) id: String,
    pub(crate) external_id: String,
    pub(crate) external_id_type: String,
    pub(crate) identity_provider_id: String,
    pub(crate) birth_date: String,
    pub(crate) email: String,
    pub(crate) jwks: Vec<Value>,
    pub(crate) notifications: Option<bool>,
    pub(crate) created_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DelegationLine {
    pub(crate) kind: Option<Value>,
    pub(crate) id: String,
    pub(crate) individual_id: String,
    pub(crate) delegate_individual_id: String,
    pub(crate) relationship: String,
    pub(crate) authority_reference: String,
    pub(crate) authority_hash: String,
    pub(crate) scope_agreements: Vec<String>,
    pub(crate) scope_purposes: Vec<String>,
    pub(crate) actions: Vec<String>,
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) valid_until: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) void: bool,
    pub(crate) created_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChoiceLine {
    pub(crate) attribute: String,
    pub(crate) granted: bool,
}

/// A signature from the earlier system. It is kept as it is, and marked as not verified here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SignatureLine {
    pub(crate) id: String,
    pub(crate) payload: String,
    pub(crate) signature: String,
    pub(crate) verification_method: String,
    pub(crate) verification_payload_hash: String,
    pub(crate) verification_artifact: String,
    pub(crate) verification_signed_by: String,
    pub(crate) verification_signed_as: String,
    pub(crate) verification_jws_header: String,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) signed_without_object_reference: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RecordLine {
    pub(crate) kind: Option<Value>,
    pub(crate) id: String,
    pub(crate) individual_id: String,
    pub(crate) data_agreement_id: String,
    pub(crate) data_agreement_revision_id: String,
    pub(crate) opt_in: Option<bool>,
    pub(crate) ever_given: Option<bool>,
    pub(crate) state: String,
    pub(crate) current: Option<bool>,
    pub(crate) attributes: Vec<ChoiceLine>,
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) valid_until: Option<Timestamp>,
    pub(crate) collection_method: String,
    pub(crate) channel: String,
    pub(crate) language: String,
    pub(crate) assisted_by: String,
    pub(crate) delegation_id: String,
    pub(crate) created_at: Option<Timestamp>,
    pub(crate) revisions: Vec<RevisionLine>,
    pub(crate) signature: Option<SignatureLine>,
}

impl PolicyLine {
    /// The policy that the line tells.
    pub(crate) fn policy(&self) -> pb::Policy {
        pb::Policy {
            policy_id: self.id.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            url: self.url.clone(),
            jurisdiction: self.jurisdiction.clone(),
            industry_sector: self.industry_sector.clone(),
            data_retention_period_days: self.data_retention_period_days,
            geographic_restriction: self.geographic_restriction.clone(),
            storage_location: self.storage_location.clone(),
            third_party_data_sharing: self.third_party_data_sharing,
            language: self.language.clone(),
            authority_contact: self.authority_contact.clone(),
            withdrawal_method: self.withdrawal_method.clone(),
            translations: self
                .translations
                .iter()
                .map(|one| pb::PolicyTranslation {
                    language: one.language.clone(),
                    name: one.name.clone(),
                    url: one.url.clone(),
                })
                .collect(),
            ..pb::Policy::default()
        }
    }
}

impl AgreementLine {
    /// The agreement that the line tells, with its lifecycle.
    pub(crate) fn agreement(&self) -> Result<pb::DataAgreement, Violations> {
        let mut found = Violations::new();
        let basis = pick(
            &mut found,
            "lawfulBasis",
            "LAWFUL_BASIS",
            &self.lawful_basis,
            |name| pb::LawfulBasis::from_str_name(name).map(i32::from),
        );
        let data_use = pick(&mut found, "dataUse", "DATA_USE", &self.data_use, |name| {
            pb::DataUse::from_str_name(name).map(i32::from)
        });
        let mode = pick(
            &mut found,
            "accessMode",
            "ACCESS_MODE",
            &self.access_mode,
            |name| pb::AccessMode::from_str_name(name).map(i32::from),
        );
        let life = match self.lifecycle.as_str() {
            "" => "Draft",
            named => named,
        };
        let lifecycle = pick(
            &mut found,
            "lifecycle",
            "AGREEMENT_LIFECYCLE",
            life,
            |name| pb::AgreementLifecycle::from_str_name(name).map(i32::from),
        );
        let use_limits = use_limits(&self.use_limits, &mut found);
        let agreement = pb::DataAgreement {
            use_limits,
            data_agreement_id: self.id.clone(),
            version: self.version.clone(),
            controller: self.controller.as_ref().map(controller),
            policy_id: self.policy_id.clone(),
            policy_revision_id: self.policy_revision_id.clone(),
            purpose: self.purpose.clone(),
            purpose_description: self.purpose_description.clone(),
            purpose_code: self.purpose_code.clone(),
            lawful_basis: basis,
            data_use,
            dpia: self.dpia.clone(),
            active: self.active,
            forgettable: self.forgettable,
            lifecycle,
            attributes: self.data_attributes.iter().map(attribute).collect(),
            recipients: self.recipients.iter().map(recipient).collect(),
            data_sources: self.data_sources.iter().map(source).collect(),
            dpia_date: self.dpia_date.clone(),
            compatible_with_version_id: self.compatible_with_version_id.clone(),
            minimum_age: self.minimum_age,
            processing_methods: self.processing_methods.clone(),
            privacy_rights: self.privacy_rights.clone(),
            receipt_profile: self.receipt_profile.clone(),
            validity_days: self.validity_days,
            max_uses_per_day: self.max_uses_per_day,
            access_mode: mode,
            required_signatures: self.required_signatures.clone(),
            notice_url: self.notice_url.clone(),
            language: self.language.clone(),
            ..pb::DataAgreement::default()
        };
        found.check(agreement)
    }
}

/// The number of a value that a line names; 0 where it names none, or one that is not known.
fn pick(
    found: &mut Violations,
    field: &str,
    prefix: &str,
    text: &str,
    of: fn(&str) -> Option<i32>,
) -> i32 {
    if text.is_empty() {
        return 0;
    }
    of(&format!("{prefix}_{}", text.to_ascii_uppercase())).unwrap_or_else(|| {
        found.push(field, "is not a known value");
        0
    })
}

fn use_limits(lines: &[UseLimitLine], found: &mut Violations) -> Vec<pb::UseLimit> {
    let read = |(n, one): (usize, &UseLimitLine)| {
        let field = format!("useLimits[{n}].unit");
        let unit = pick(found, &field, "USE_UNIT", &one.unit, |name| {
            pb::UseUnit::from_str_name(name).map(i32::from)
        });
        pb::UseLimit {
            uses: one.repeats,
            unit,
            span: one.value,
        }
    };
    lines.iter().enumerate().map(read).collect()
}

fn recipient(one: &RecipientLine) -> pb::Recipient {
    pb::Recipient {
        recipient_id: one.id.clone(),
        name: one.name.clone(),
        attributes: one.attributes.clone(),
        country: one.country.clone(),
    }
}

fn source(one: &SourceLine) -> pb::DataSource {
    pb::DataSource {
        name: one.name.clone(),
        sector: one.sector.clone(),
        location: one.location.clone(),
        privacy_dashboard_url: one.privacy_dashboard_url.clone(),
    }
}

fn controller(one: &ControllerLine) -> pb::Controller {
    pb::Controller {
        controller_id: one.id.clone(),
        name: one.name.clone(),
        url: one.url.clone(),
        address: one.address.clone(),
        contact: one.contact.clone(),
        email: one.email.clone(),
        phone: one.phone.clone(),
        country: one.country.clone(),
        role: one.role.clone(),
    }
}

fn attribute(one: &AttributeLine) -> pb::DataAgreementAttribute {
    pb::DataAgreementAttribute {
        attribute_id: one.id.clone(),
        name: one.name.clone(),
        sensitivity: one.sensitivity.clone(),
        category: one.category.clone(),
        description: one.description.clone(),
        necessity: one.necessity.clone(),
        restrictions: one.restrictions.clone(),
        schema_path: one.schema_path.clone(),
        special_category: one.special_category,
    }
}

impl IndividualLine {
    /// The person that the line tells.
    pub(crate) fn individual(&self) -> pb::Individual {
        pb::Individual {
            individual_id: self.id.clone(),
            external_id: self.external_id.clone(),
            external_id_type: self.external_id_type.clone(),
            identity_provider_id: self.identity_provider_id.clone(),
            birth_date: self.birth_date.clone(),
            email: self.email.clone(),
            ..pb::Individual::default()
        }
    }
}

/// The value of an enumeration that a text names.
fn value_named<T>(prefix: &str, name: &str, of: impl Fn(&str) -> Option<T>) -> Option<T> {
    of(&format!("{prefix}{}", name.to_ascii_uppercase()))
}

impl DelegationLine {
    /// The delegation that the line tells. What names nothing known is left unspecified, which the
    /// rules refuse.
    pub(crate) fn delegation(&self) -> pb::Delegation {
        let relationship = value_named(
            "DELEGATION_RELATIONSHIP_",
            &self.relationship,
            pb::DelegationRelationship::from_str_name,
        );
        let action = |name: &String| {
            let known = value_named(
                "DELEGATION_ACTION_",
                name,
                pb::DelegationAction::from_str_name,
            );
            i32::from(known.unwrap_or_default())
        };
        pb::Delegation {
            delegation_id: self.id.clone(),
            individual_id: self.individual_id.clone(),
            delegate_individual_id: self.delegate_individual_id.clone(),
            relationship: relationship.unwrap_or_default().into(),
            authority_reference: self.authority_reference.clone(),
            authority_hash: self.authority_hash.clone(),
            scope_agreements: self.scope_agreements.clone(),
            scope_purposes: self.scope_purposes.clone(),
            actions: self.actions.iter().map(action).collect(),
            valid_from_time: self.valid_from.map(publica_rpc::timestamp),
            valid_until_time: self.valid_until.map(publica_rpc::timestamp),
            ..pb::Delegation::default()
        }
    }
}

impl RecordLine {
    /// The state that the line names.
    pub(crate) fn record_state(&self) -> Option<pb::RecordState> {
        match self.state.as_str() {
            "" | "unsigned" => Some(pb::RecordState::Unsigned),
            "pending more signatures" => Some(pb::RecordState::PendingMoreSignatures),
            "signed" => Some(pb::RecordState::Signed),
            _ => None,
        }
    }

    /// The record that the line tells.
    pub(crate) fn record(&self) -> pb::ConsentRecord {
        pb::ConsentRecord {
            consent_record_id: self.id.clone(),
            data_agreement_id: self.data_agreement_id.clone(),
            data_agreement_revision_id: self.data_agreement_revision_id.clone(),
            individual_id: self.individual_id.clone(),
            opt_in: self.opt_in,
            attributes: self
                .attributes
                .iter()
                .map(|one| pb::AttributeChoice {
                    attribute: one.attribute.clone(),
                    granted: one.granted,
                })
                .collect(),
            collection_method: self.collection_method.clone(),
            channel: self.channel.clone(),
            language: self.language.clone(),
            assisted_by: self.assisted_by.clone(),
            ..pb::ConsentRecord::default()
        }
    }
}

impl SignatureLine {
    /// The signature that the line tells.
    pub(crate) fn signature(&self) -> pb::Signature {
        pb::Signature {
            payload: self.payload.clone(),
            signature: self.signature.clone(),
            verification_method: self.verification_method.clone(),
            verification_payload_hash: self.verification_payload_hash.clone(),
            verification_artifact: self.verification_artifact.clone(),
            verification_signed_by: self.verification_signed_by.clone(),
            verification_signed_as: self.verification_signed_as.clone(),
            verification_jws_header: self.verification_jws_header.clone(),
            create_time: self.timestamp.map(publica_rpc::timestamp),
            signed_without_object_reference: self.signed_without_object_reference,
            object_type: "revision".to_owned(),
            ..pb::Signature::default()
        }
    }
}
