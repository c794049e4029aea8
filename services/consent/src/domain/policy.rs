//! Data policies: what is valid, and what a snapshot of one holds.

use publica_proto::consent::v1 as pb;
use serde_json::{Value, json};

use super::snapshot::Members;
use super::violations::{MAX_NAME, MAX_TEXT, Violations};

/// Version of a policy or agreement that names none.
pub(crate) const FIRST_VERSION: &str = "1.0.0";
/// The most translations of a policy.
const MAX_TRANSLATIONS: usize = 100;

/// Checks a policy as it was sent and fills in what may be left out.
pub(crate) fn normalise(mut policy: pb::Policy) -> Result<pb::Policy, Violations> {
    let mut found = Violations::new();
    found.optional_id("id", &policy.policy_id);
    found.name("name", &policy.name);
    found.line("version", &policy.version, MAX_NAME);
    if policy.url.is_empty() {
        found.push("url", "is required");
    }
    found.optional_url("url", &policy.url);
    for (field, value) in [
        ("jurisdiction", &policy.jurisdiction),
        ("industrySector", &policy.industry_sector),
        ("geographicRestriction", &policy.geographic_restriction),
        ("storageLocation", &policy.storage_location),
        ("language", &policy.language),
    ] {
        found.line(field, value, MAX_NAME);
    }
    found.text("authorityContact", &policy.authority_contact, MAX_TEXT);
    found.text("withdrawalMethod", &policy.withdrawal_method, MAX_TEXT);
    if policy
        .data_retention_period_days
        .is_some_and(|days| days < 0)
    {
        found.push("dataRetentionPeriodDays", "must not be negative");
    }
    found.count("translations", policy.translations.len(), MAX_TRANSLATIONS);
    for (n, translation) in policy.translations.iter().enumerate() {
        let mut inner = Violations::new();
        inner.name("language", &translation.language);
        inner.line("name", &translation.name, MAX_NAME);
        inner.optional_url("url", &translation.url);
        found.nest(&format!("translations[{n}]"), inner);
    }
    if policy.version.is_empty() {
        FIRST_VERSION.clone_into(&mut policy.version);
    }
    (policy.create_time, policy.update_time) = (None, None);
    policy.revision_id.clear();
    found.check(policy)
}

/// What a snapshot of a policy holds.
pub(crate) fn data(policy: &pb::Policy) -> Value {
    Members::new()
        .text("id", &policy.policy_id)
        .text("name", &policy.name)
        .text("version", &policy.version)
        .text("url", &policy.url)
        .text("jurisdiction", &policy.jurisdiction)
        .text("industrySector", &policy.industry_sector)
        .maybe("dataRetentionPeriodDays", policy.data_retention_period_days)
        .text("geographicRestriction", &policy.geographic_restriction)
        .text("storageLocation", &policy.storage_location)
        .maybe("thirdPartyDataSharing", policy.third_party_data_sharing)
        .text("language", &policy.language)
        .text("authorityContact", &policy.authority_contact)
        .text("withdrawalMethod", &policy.withdrawal_method)
        .list("translations", &policy.translations, |one| {
            Members::new()
                .text("language", &one.language)
                .text("name", &one.name)
                .text("url", &one.url)
                .done()
        })
        .done()
}

/// What a snapshot of a deleted policy holds.
pub(crate) fn tombstone(policy_id: &str) -> Value {
    json!({ "id": policy_id, "deleted": true })
}

/// What the administrator should look at when content changes. A policy's URL ought to be
/// permanent for a version.
pub(crate) fn warnings(old: &pb::Policy, new: &pb::Policy) -> Vec<String> {
    if same_content(old, new) || old.url != new.url || old.version != new.version {
        return Vec::new();
    }
    vec!["the content changed under the same url and version".to_owned()]
}

/// Whether two policies say the same.
pub(crate) fn same_content(old: &pb::Policy, new: &pb::Policy) -> bool {
    data(old) == data(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn policy() -> pb::Policy {
        pb::Policy {
            name: "Privacy".to_owned(),
            url: "https://example.org/p".to_owned(),
            ..pb::Policy::default()
        }
    }

    #[test]
    fn the_first_version_is_given() {
        assert_eq!(normalise(policy()).unwrap().version, FIRST_VERSION);
    }

    #[test]
    fn bad_fields_are_all_named() {
        let mut bad = policy();
        bad.name.clear();
        "nowhere".clone_into(&mut bad.url);
        bad.data_retention_period_days = Some(-1);
        bad.translations.push(pb::PolicyTranslation::default());
        let found = normalise(bad).unwrap_err();
        let fields: Vec<&str> = found
            .pairs()
            .iter()
            .map(|(field, _)| field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "name",
                "url",
                "dataRetentionPeriodDays",
                "translations[0].language"
            ]
        );
    }

    #[test]
    fn a_snapshot_leaves_out_what_is_absent() {
        let value = data(&normalise(policy()).unwrap());
        assert_eq!(
            value,
            json!({"name": "Privacy", "version": "1.0.0", "url": "https://example.org/p"})
        );
    }

    #[test]
    fn content_under_the_same_url_is_warned_about() {
        let old = policy();
        let mut new = policy();
        assert!(warnings(&old, &new).is_empty());
        "Other".clone_into(&mut new.name);
        assert_eq!(warnings(&old, &new).len(), 1);
        "https://example.org/p2".clone_into(&mut new.url);
        assert!(warnings(&old, &new).is_empty());
    }
}
