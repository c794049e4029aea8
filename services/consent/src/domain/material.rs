//! What matters in a new text of an agreement: whatever lets more be done with people's data,
//! by others, for longer, or on another ground than they agreed to. Only that needs a new
//! answer.

use publica_proto::consent::v1 as pb;
use serde_json::Value;

use super::{agreement, purpose};

/// Members whose change needs a new answer; empty when earlier answers carry over.
pub(crate) fn changes(old: &pb::DataAgreement, new: &pb::DataAgreement) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut differ = |member: &'static str, matters: bool| {
        if matters {
            found.push(member);
        }
    };
    differ("purpose", old.purpose != new.purpose);
    let narrowed = purpose::covers(&old.purpose_code, &new.purpose_code);
    let same_code = purpose::canonical(&old.purpose_code) == purpose::canonical(&new.purpose_code);
    differ("purposeCode", !same_code && !narrowed);
    differ("lawfulBasis", old.lawful_basis != new.lawful_basis);
    differ("dataUse", old.data_use != new.data_use);
    differ("controller", controller(old) != controller(new));
    differ("dataAttributes", attributes_grew(old, new));
    differ("recipients", recipients_grew(old, new));
    differ("dataSources", sources_grew(old, new));
    differ("validityDays", grew(old.validity_days, new.validity_days));
    differ(
        "maxUsesPerDay",
        grew(old.max_uses_per_day, new.max_uses_per_day),
    );
    differ("useLimits", limits_loosened(old, new));
    let any = pb::AccessMode::Unspecified as i32;
    differ(
        "accessMode",
        old.access_mode != any && old.access_mode != new.access_mode,
    );
    differ("requiredSignatures", signatures_added(old, new));
    differ(
        "processingMethods",
        added(&old.processing_methods, &new.processing_methods),
    );
    differ(
        "privacyRights",
        added(&new.privacy_rights, &old.privacy_rights),
    );
    differ(
        "forgettable",
        old.forgettable == Some(true) && new.forgettable != Some(true),
    );
    found.extend(policy_changes(old, new));
    found
}

/// Who answers for the use; where they are reached may change.
fn controller(one: &pb::DataAgreement) -> (String, String, String) {
    let controller = one.controller.clone().unwrap_or_default();
    let name = controller.name.to_lowercase();
    (controller.controller_id, name, controller.country)
}

/// Whether a limit was raised or taken away.
fn grew(old: Option<i32>, new: Option<i32>) -> bool {
    match (old, new) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => new > old,
    }
}

/// Whether the second list has what the first has not.
fn added(old: &[String], new: &[String]) -> bool {
    new.iter().any(|one| !old.contains(one))
}

fn attributes_grew(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    new.attributes.iter().any(|now| {
        let before = old.attributes.iter().find(|one| one.name == now.name);
        before.is_none_or(|before| {
            let demanded = before.necessity == "optional" && now.necessity == "required";
            let special = now.special_category == Some(true);
            demanded
                || (special && before.special_category != Some(true))
                || before.sensitivity != now.sensitivity
                || before.category != now.category
                // Choices are kept by id.
                || before.attribute_id != now.attribute_id
                || added(&now.restrictions, &before.restrictions)
        })
    })
}

fn recipients_grew(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    if old.recipients.is_empty() {
        // Anybody might before, unless the policy kept the data with the controller.
        let policy = old.policy.as_ref();
        let closed = policy.is_some_and(|one| one.third_party_data_sharing == Some(false));
        return closed && !new.recipients.is_empty();
    }
    new.recipients.is_empty()
        || new.recipients.iter().any(|now| {
            let mut all = old.recipients.iter();
            let before = all.find(|one| one.recipient_id == now.recipient_id);
            before.is_none_or(|before| {
                let all_now = now.attributes.is_empty() && !before.attributes.is_empty();
                let more =
                    !before.attributes.is_empty() && added(&before.attributes, &now.attributes);
                all_now || more || before.country != now.country
            })
        })
}

fn sources_grew(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    new.data_sources.iter().any(|now| {
        let same = |one: &pb::DataSource| one.name == now.name && one.location == now.location;
        !old.data_sources.iter().any(same)
    })
}

fn limits_loosened(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    old.use_limits.iter().any(|before| {
        !new.use_limits.iter().any(|now| {
            let window = (now.unit, now.span.max(1)) == (before.unit, before.span.max(1));
            window && now.uses <= before.uses
        })
    })
}

fn signatures_added(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    let count = |one: &pb::DataAgreement, role: &str| {
        let all = one.required_signatures.iter();
        all.filter(|required| *required == role).count()
    };
    super::signature::ROLES
        .iter()
        .any(|role| count(new, role) > count(old, role))
}

fn policy_changes(old: &pb::DataAgreement, new: &pb::DataAgreement) -> Vec<&'static str> {
    let before = old.policy.clone().unwrap_or_default();
    let now = new.policy.clone().unwrap_or_default();
    policy(&before, &now)
}

/// Members of a policy whose change matters to the people under it.
pub(crate) fn policy(before: &pb::Policy, now: &pb::Policy) -> Vec<&'static str> {
    let opened = before.third_party_data_sharing == Some(false)
        && now.third_party_data_sharing != Some(false);
    let longer = grew(
        before.data_retention_period_days,
        now.data_retention_period_days,
    );
    [
        ("policy.thirdPartyDataSharing", opened),
        ("policy.dataRetentionPeriodDays", longer),
        (
            "policy.jurisdiction",
            before.jurisdiction != now.jurisdiction,
        ),
        (
            "policy.geographicRestriction",
            before.geographic_restriction != now.geographic_restriction,
        ),
        (
            "policy.storageLocation",
            before.storage_location != now.storage_location,
        ),
    ]
    .into_iter()
    .filter(|(_, matters)| *matters)
    .map(|(member, _)| member)
    .collect()
}

/// One member that two texts tell differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Where it stands, such as `policy.url` or `dataAttributes[2].name`.
    pub(crate) path: String,
    /// What the earlier text says, as JSON; empty when it says nothing.
    pub(crate) before: String,
    /// What the later text says.
    pub(crate) after: String,
}

/// Everything that two texts tell differently.
pub(crate) fn differences(old: &pb::DataAgreement, new: &pb::DataAgreement) -> Vec<Difference> {
    let mut found = Vec::new();
    let (before, after) = (agreement::data(old), agreement::data(new));
    compare("", Some(&before), Some(&after), &mut found);
    found
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let inner = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                compare(&inner, before.get(name), after.get(name), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for n in 0..before.len().max(after.len()) {
                let inner = format!("{path}[{n}]");
                compare(&inner, before.get(n), after.get(n), found);
            }
        }
        (before, after) => {
            let text = |value: Option<&Value>| value.map(Value::to_string).unwrap_or_default();
            found.push(Difference {
                path: path.to_owned(),
                before: text(before),
                after: text(after),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> pb::DataAgreement {
        pb::DataAgreement {
            purpose: "Pay a grant".to_owned(),
            purpose_code: "dpv:ServiceProvision".to_owned(),
            lawful_basis: pb::LawfulBasis::Consent.into(),
            dpia: "done".to_owned(),
            forgettable: Some(true),
            validity_days: Some(30),
            max_uses_per_day: Some(3),
            access_mode: pb::AccessMode::View.into(),
            controller: Some(pb::Controller {
                name: "Ministry".to_owned(),
                ..pb::Controller::default()
            }),
            policy: Some(pb::Policy {
                jurisdiction: "NL".to_owned(),
                data_retention_period_days: Some(365),
                third_party_data_sharing: Some(false),
                ..pb::Policy::default()
            }),
            attributes: vec![pb::DataAgreementAttribute {
                attribute_id: "1".to_owned(),
                name: "income".to_owned(),
                necessity: "optional".to_owned(),
                ..pb::DataAgreementAttribute::default()
            }],
            recipients: vec![pb::Recipient {
                recipient_id: "programme".to_owned(),
                attributes: vec!["income".to_owned()],
                ..pb::Recipient::default()
            }],
            ..pb::DataAgreement::default()
        }
    }

    type Edit = fn(&mut pb::DataAgreement);

    #[test]
    fn what_lets_more_be_done_needs_a_new_answer() {
        let cases: [(&str, Edit); 17] = [
            ("purpose", |one| one.purpose.push('!')),
            ("purposeCode", |one| {
                "dpv:Marketing".clone_into(&mut one.purpose_code);
            }),
            ("lawfulBasis", |one| one.lawful_basis = 3),
            ("controller", |one| {
                one.controller.as_mut().unwrap().name.push('s');
            }),
            ("controller", |one| {
                "another".clone_into(&mut one.controller.as_mut().unwrap().controller_id);
            }),
            ("dataAttributes", |one| {
                one.attributes.push(pb::DataAgreementAttribute {
                    name: "health".to_owned(),
                    ..Default::default()
                });
            }),
            ("dataAttributes", |one| {
                "required".clone_into(&mut one.attributes[0].necessity);
            }),
            ("dataAttributes", |one| {
                one.attributes[0].special_category = Some(true);
            }),
            ("recipients", |one| one.recipients.clear()),
            ("recipients", |one| one.recipients[0].attributes.clear()),
            ("validityDays", |one| one.validity_days = None),
            ("maxUsesPerDay", |one| one.max_uses_per_day = Some(4)),
            ("accessMode", |one| {
                one.access_mode = pb::AccessMode::Store.into();
            }),
            ("requiredSignatures", |one| {
                one.required_signatures.push("delegate".to_owned());
            }),
            ("forgettable", |one| one.forgettable = Some(false)),
            ("policy.thirdPartyDataSharing", |one| {
                one.policy.as_mut().unwrap().third_party_data_sharing = Some(true);
            }),
            ("policy.dataRetentionPeriodDays", |one| {
                one.policy.as_mut().unwrap().data_retention_period_days = Some(366);
            }),
        ];
        for (member, edit) in cases {
            let mut new = text();
            edit(&mut new);
            assert_eq!(changes(&text(), &new), [member], "{member}");
        }
    }

    #[test]
    fn nobody_is_let_in_where_the_policy_kept_others_out() {
        for closed in [true, false] {
            let mut old = text();
            old.recipients.clear();
            old.policy.as_mut().unwrap().third_party_data_sharing = Some(!closed);
            let mut new = old.clone();
            new.recipients = text().recipients;
            assert_eq!(changes(&old, &new).contains(&"recipients"), closed);
        }
    }

    #[test]
    fn what_lets_less_be_done_or_only_tells_better_does_not() {
        let cases: [Edit; 12] = [
            |_| {},
            |one| "In other words".clone_into(&mut one.purpose_description),
            |one| "dpv:PaymentManagement".clone_into(&mut one.purpose_code),
            |one| "https://w3id.org/dpv#ServiceProvision".clone_into(&mut one.purpose_code),
            |one| one.dpia.push('!'),
            |one| one.attributes.clear(),
            |one| "https://example.org/n".clone_into(&mut one.notice_url),
            |one| one.validity_days = Some(10),
            |one| one.max_uses_per_day = Some(1),
            |one| one.active = Some(false),
            |one| "x@example.org".clone_into(&mut one.controller.as_mut().unwrap().email),
            |one| one.policy.as_mut().unwrap().data_retention_period_days = Some(30),
        ];
        for (n, edit) in cases.into_iter().enumerate() {
            let mut new = text();
            edit(&mut new);
            assert!(changes(&text(), &new).is_empty(), "{n}");
        }
    }

    #[test]
    fn differences_are_named_by_their_place() {
        let mut new = text();
        new.purpose.push('!');
        new.attributes[0].category = "household".to_owned();
        let paths: Vec<String> = differences(&text(), &new)
            .into_iter()
            .map(|one| one.path)
            .collect();
        assert_eq!(paths, ["dataAttributes[0].category", "purpose"]);
        assert!(differences(&text(), &text()).is_empty());
    }
}
