//! What snapshots of earlier systems say of policies and agreements, as far as it is understood.

use publica_proto::consent::v1 as pb;
use serde_json::Value;

/// Members of an object by any of their names.
struct Told<'a>(&'a Value);

impl<'a> Told<'a> {
    fn value(&self, names: &[&str]) -> Option<&'a Value> {
        let found = names.iter().find_map(|name| self.0.get(name));
        found.filter(|value| !value.is_null())
    }

    /// A text; earlier systems wrote some of them as numbers.
    fn text(&self, names: &[&str]) -> String {
        match self.value(names) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    fn number(&self, names: &[&str]) -> Option<i32> {
        let value = self.value(names)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
        i32::try_from(number).ok()
    }

    fn flag(&self, names: &[&str]) -> Option<bool> {
        self.value(names)?.as_bool()
    }

    fn object(&self, names: &[&str]) -> Option<Told<'a>> {
        self.value(names).filter(|one| one.is_object()).map(Told)
    }

    fn list(&self, names: &[&str]) -> Vec<Told<'a>> {
        let list = self.value(names).and_then(Value::as_array);
        list.into_iter().flatten().map(Told).collect()
    }

    fn texts(&self, names: &[&str]) -> Vec<String> {
        let list = self.value(names).and_then(Value::as_array);
        let texts = list.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// The number of an enumeration's value that a text names.
    fn named(&self, names: &[&str], prefix: &str, of: fn(&str) -> Option<i32>) -> i32 {
        let name = self
            .text(names)
            .to_ascii_uppercase()
            .replace([' ', '-'], "_");
        of(&format!("{prefix}{name}")).unwrap_or_default()
    }
}

/// The policy that a snapshot holds; none where it holds nothing of the kind.
pub(crate) fn policy(data: &Value, id: &str) -> Option<pb::Policy> {
    let told = Told(data);
    let name = told.text(&["name"]);
    (!name.is_empty()).then(|| pb::Policy {
        policy_id: id.to_owned(),
        name,
        version: told.text(&["version"]),
        url: told.text(&["url"]),
        jurisdiction: told.text(&["jurisdiction"]),
        industry_sector: told.text(&["industrySector", "industry_sector"]),
        data_retention_period_days: told
            .number(&["dataRetentionPeriodDays", "data_retention_period_days"]),
        geographic_restriction: told.text(&["geographicRestriction", "geographic_restriction"]),
        storage_location: told.text(&["storageLocation", "storage_location"]),
        third_party_data_sharing: told.flag(&["thirdPartyDataSharing", "third_party_data_sharing"]),
        language: told.text(&["language"]),
        authority_contact: told.text(&["authorityContact"]),
        withdrawal_method: told.text(&["withdrawalMethod"]),
        translations: told
            .list(&["translations"])
            .iter()
            .map(|one| pb::PolicyTranslation {
                language: one.text(&["language"]),
                name: one.text(&["name"]),
                url: one.text(&["url"]),
            })
            .collect(),
        ..pb::Policy::default()
    })
}

/// The agreement that a snapshot holds; none where it holds nothing of the kind.
pub(crate) fn agreement(data: &Value, id: &str) -> Option<pb::DataAgreement> {
    let told = Told(data);
    let purpose = told.text(&["purpose"]);
    if purpose.is_empty() {
        return None;
    }
    let inner = told.object(&["policy"]);
    let policy_id = inner.as_ref().map(|one| one.text(&["id"]));
    let policy_id = policy_id.unwrap_or_else(|| told.text(&["policyId", "policy"]));
    let lifecycle = match told.object(&["lifecycle"]) {
        Some(object) => object.text(&["name"]),
        None => told.text(&["lifecycle"]),
    };
    let stage = format!("AGREEMENT_LIFECYCLE_{}", lifecycle.to_ascii_uppercase());
    let stage = pb::AgreementLifecycle::from_str_name(&stage).unwrap_or_default();
    Some(pb::DataAgreement {
        data_agreement_id: id.to_owned(),
        version: told.text(&["version"]),
        controller: told.object(&["controller"]).map(|one| controller(&one)),
        policy: inner.and_then(|one| policy(one.0, &policy_id)),
        policy_id,
        policy_revision_id: told.text(&["policyRevisionId"]),
        policy_revision_hash: told.text(&["policyRevisionHash"]),
        purpose,
        purpose_description: told.text(&["purposeDescription"]),
        purpose_code: told.text(&["purposeCode"]),
        lawful_basis: told.named(&["lawfulBasis", "lawful_basis"], "LAWFUL_BASIS_", |name| {
            pb::LawfulBasis::from_str_name(name).map(i32::from)
        }),
        data_use: told.named(
            &["dataUse", "methodOfUse", "data_use"],
            "DATA_USE_",
            |name| pb::DataUse::from_str_name(name).map(i32::from),
        ),
        dpia: told.text(&["dpia", "dpiaSummaryUrl"]),
        dpia_date: told.text(&["dpiaDate"]),
        active: told.flag(&["active"]),
        forgettable: told.flag(&["forgettable"]),
        lifecycle: stage.into(),
        attributes: attributes(&told),
        ..terms(&told)
    })
}

/// On which terms data is used.
fn terms(told: &Told<'_>) -> pb::DataAgreement {
    pb::DataAgreement {
        data_sources: told.list(&["dataSources"]).iter().map(source).collect(),
        recipients: told.list(&["recipients"]).iter().map(recipient).collect(),
        validity_days: told.number(&["validityDays"]),
        max_uses_per_day: told.number(&["maxUsesPerDay"]),
        minimum_age: told.number(&["minimumAge"]).unwrap_or_default(),
        required_signatures: told.texts(&["requiredSignatures"]),
        processing_methods: told.texts(&["processingMethods"]),
        privacy_rights: told.texts(&["privacyRights"]),
        notice_url: told.text(&["noticeUrl"]),
        language: told.text(&["language"]),
        access_mode: told.named(&["accessMode"], "ACCESS_MODE_", |name| {
            pb::AccessMode::from_str_name(name).map(i32::from)
        }),
        use_limits: told.list(&["useLimits"]).iter().map(limit).collect(),
        compatible_with_version_id: told.text(&["compatibleWithVersionId"]),
        receipt_profile: told.text(&["receiptProfile"]),
        ..pb::DataAgreement::default()
    }
}

fn limit(one: &Told<'_>) -> pb::UseLimit {
    pb::UseLimit {
        uses: one.number(&["repeats"]).unwrap_or_default(),
        unit: one.named(&["unit"], "USE_UNIT_", |name| {
            pb::UseUnit::from_str_name(name).map(i32::from)
        }),
        span: one.number(&["value"]).unwrap_or_default(),
    }
}

fn controller(one: &Told<'_>) -> pb::Controller {
    pb::Controller {
        controller_id: one.text(&["id"]),
        name: one.text(&["name"]),
        url: one.text(&["url"]),
        address: one.text(&["address"]),
        contact: one.text(&["contact"]),
        email: one.text(&["email"]),
        phone: one.text(&["phone"]),
        country: one.text(&["country"]),
        role: one.text(&["role"]),
    }
}

fn attributes(told: &Told<'_>) -> Vec<pb::DataAgreementAttribute> {
    let all = told.list(&["dataAttributes", "attributes"]);
    let read = |(n, one): (usize, &Told<'_>)| {
        let named = |name: &str, default: &str| match one.text(&[name]) {
            text if text.is_empty() => default.to_owned(),
            text => text,
        };
        pb::DataAgreementAttribute {
            attribute_id: named("id", &format!("{}", n + 1)),
            name: one.text(&["name"]),
            sensitivity: one.text(&["sensitivity"]),
            category: one.text(&["category"]),
            description: one.text(&["description"]),
            necessity: named("necessity", "required"),
            restrictions: one.texts(&["restrictions"]),
            schema_path: one.text(&["schemaPath"]),
            special_category: one.flag(&["specialCategory"]),
        }
    };
    all.iter().enumerate().map(read).collect()
}

fn source(one: &Told<'_>) -> pb::DataSource {
    pb::DataSource {
        name: one.text(&["name"]),
        sector: one.text(&["sector"]),
        location: one.text(&["location"]),
        privacy_dashboard_url: one.text(&["privacyDashboardUrl"]),
    }
}

fn recipient(one: &Told<'_>) -> pb::Recipient {
    pb::Recipient {
        recipient_id: one.text(&["id"]),
        name: one.text(&["name"]),
        attributes: one.texts(&["attributes"]),
        country: one.text(&["country"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{agreement as agreements, policy as policies};

    #[test]
    fn what_this_service_writes_is_read_back() {
        let data = json!({"id": "1", "name": "Privacy", "version": "1.0", "jurisdiction": "EU",
            "url": "https://example.com/1", "dataRetentionPeriodDays": 365,
            "translations": [{"language": "nl", "name": "Beleid"}]});
        assert_eq!(policies::data(&policy(&data, "1").unwrap()), data);
        let data = json!({"id": "a", "version": "1.0", "purpose": "Health", "policy": data,
            "lawfulBasis": "consent", "dataUse": "data_source", "dpia": "done", "active": true,
            "forgettable": false, "lifecycle": {"name": "Complete"},
            "controller": {"id": "1", "name": "Ministry", "url": "https://example.com/"},
            "dataAttributes": [{"id": "1", "name": "income", "necessity": "optional"}],
            "recipients": [{"id": "b", "attributes": ["income"]}], "validityDays": 30,
            "accessMode": "view", "receiptProfile": "iso27560",
            "useLimits": [{"unit": "WEEK", "value": 2, "repeats": 3}]});
        assert_eq!(agreements::data(&agreement(&data, "a").unwrap()), data);
    }

    #[test]
    fn what_others_write_is_read_as_far_as_it_goes() {
        let data = json!({"id": 1, "name": "Ministry of Health Privacy Policy", "version": 1.5,
            "data_retention_period_days": "365", "url": null, "unknown": []});
        let read = policy(&data, "p").unwrap();
        assert_eq!(
            (read.policy_id.as_str(), read.version.as_str()),
            ("p", "1.5")
        );
        assert_eq!(read.data_retention_period_days, Some(365));
        let data = json!({"purpose": "Health", "lawfulBasis": "Public task", "policy": 7,
            "methodOfUse": "DATA_SOURCE", "lifecycle": "complete", "controller": 3});
        let read = agreement(&data, "a").unwrap();
        assert_eq!(read.lawful_basis(), pb::LawfulBasis::PublicTask);
        assert_eq!(read.data_use(), pb::DataUse::DataSource);
        assert_eq!(read.lifecycle(), pb::AgreementLifecycle::Complete);
        assert_eq!((read.policy_id.as_str(), read.controller), ("7", None));
        for nothing in [json!(null), json!([]), json!("x"), json!({"id": 1})] {
            assert!(policy(&nothing, "p").is_none() && agreement(&nothing, "a").is_none());
        }
    }
}
