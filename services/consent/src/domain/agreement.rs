//! Data agreements: what a draft may leave out, what publication needs, how versions grow and
//! which earlier answers carry over.

mod told;

use std::collections::BTreeSet;

use publica_proto::consent::v1 as pb;

use super::limit;
use super::policy::FIRST_VERSION;
use super::violations::{MAX_NAME, MAX_TEXT, Violations};

pub(crate) use told::{access_mode_name, basis_name, data, data_use_name};

/// The most attributes of an agreement.
pub(crate) const MAX_ATTRIBUTES: usize = 200;
/// The most members of its other lists.
const MAX_MEMBERS: usize = 100;
/// The longest purpose description, in characters.
const MAX_PURPOSE_DESCRIPTION: usize = 500;
/// The longest validity, in days.
const MAX_DAYS: i32 = 36_500;
/// The receipt profile that is known.
const ISO27560: &str = "iso27560";

/// Checks an agreement as it was sent, a draft as well as a complete one, and fills in what the
/// server gives.
pub(crate) fn normalise(mut agreement: pb::DataAgreement) -> Result<pb::DataAgreement, Violations> {
    let mut found = Violations::new();
    texts(&agreement, &mut found);
    numbers(&agreement, &mut found);
    attributes(&agreement, &mut found);
    parties(&agreement, &mut found);
    if agreement.version.is_empty() {
        FIRST_VERSION.clone_into(&mut agreement.version);
    }
    for (n, attribute) in agreement.attributes.iter_mut().enumerate() {
        if attribute.attribute_id.is_empty() {
            attribute.attribute_id = format!("{}", n + 1);
        }
        if attribute.necessity.is_empty() {
            "required".clone_into(&mut attribute.necessity);
        }
    }
    if let Some(controller) = &mut agreement.controller
        && controller.controller_id.is_empty()
    {
        // The same organisation keeps the same id however often it is sent.
        let named = format!("{}\n{}", controller.name, controller.url);
        let hash = super::snapshot::sha256_hex(named.as_bytes());
        hash[..32].clone_into(&mut controller.controller_id);
    }
    agreement.active.get_or_insert(true);
    agreement.forgettable.get_or_insert(false);
    (agreement.create_time, agreement.update_time) = (None, None);
    agreement.revision_id.clear();
    agreement.published_revision_id.clear();
    agreement.policy_revision_hash.clear();
    agreement.compatible_revision_ids.clear();
    found.check(agreement)
}

fn texts(agreement: &pb::DataAgreement, found: &mut Violations) {
    found.optional_id("id", &agreement.data_agreement_id);
    found.optional_id("policyId", &agreement.policy_id);
    found.optional_id("policyRevisionId", &agreement.policy_revision_id);
    for (field, value) in [
        ("version", &agreement.version),
        ("purpose", &agreement.purpose),
        ("purposeCode", &agreement.purpose_code),
        ("dpiaDate", &agreement.dpia_date),
        ("language", &agreement.language),
        (
            "compatibleWithVersionId",
            &agreement.compatible_with_version_id,
        ),
    ] {
        found.line(field, value, MAX_NAME);
    }
    found.text("dpia", &agreement.dpia, MAX_TEXT);
    found.text(
        "purposeDescription",
        &agreement.purpose_description,
        MAX_PURPOSE_DESCRIPTION,
    );
    found.optional_url("noticeUrl", &agreement.notice_url);
    if !["", ISO27560].contains(&agreement.receipt_profile.as_str()) {
        found.push("receiptProfile", "must be iso27560 or absent");
    }
    for (field, texts) in [
        ("requiredSignatures", &agreement.required_signatures),
        ("processingMethods", &agreement.processing_methods),
        ("privacyRights", &agreement.privacy_rights),
    ] {
        found.count(field, texts.len(), MAX_MEMBERS);
        for text in texts {
            found.name(field, text);
        }
    }
    let roles = &agreement.required_signatures;
    if roles
        .iter()
        .any(|role| !super::signature::ROLES.contains(&role.as_str()))
    {
        found.push("requiredSignatures", "may hold individual and delegate");
    }
    if roles.iter().filter(|role| *role == "individual").count() > 1 {
        found.push("requiredSignatures", "names the individual twice");
    }
}

fn numbers(agreement: &pb::DataAgreement, found: &mut Violations) {
    if agreement
        .validity_days
        .is_some_and(|days| !(1..=MAX_DAYS).contains(&days))
    {
        found.push("validityDays", format!("must be 1 to {MAX_DAYS}"));
    }
    if agreement.max_uses_per_day.is_some_and(|uses| uses < 1) {
        found.push("maxUsesPerDay", "must be at least 1");
    }
    limit::check(&agreement.use_limits, found);
    if !(0..=150).contains(&agreement.minimum_age) {
        found.push("minimumAge", "must be 0 to 150");
    }
    for (field, sound) in [
        (
            "lawfulBasis",
            pb::LawfulBasis::try_from(agreement.lawful_basis).is_ok(),
        ),
        ("dataUse", pb::DataUse::try_from(agreement.data_use).is_ok()),
        (
            "accessMode",
            pb::AccessMode::try_from(agreement.access_mode).is_ok(),
        ),
    ] {
        if !sound {
            found.push(field, "is not a known value");
        }
    }
}

fn attributes(agreement: &pb::DataAgreement, found: &mut Violations) {
    found.count("dataAttributes", agreement.attributes.len(), MAX_ATTRIBUTES);
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (n, attribute) in agreement.attributes.iter().enumerate() {
        let mut inner = Violations::new();
        inner.optional_id("id", &attribute.attribute_id);
        inner.name("name", &attribute.name);
        inner.line("sensitivity", &attribute.sensitivity, MAX_NAME);
        inner.line("category", &attribute.category, MAX_NAME);
        inner.text("description", &attribute.description, MAX_TEXT);
        inner.line("schemaPath", &attribute.schema_path, MAX_NAME);
        inner.count("restrictions", attribute.restrictions.len(), MAX_MEMBERS);
        if !["", "required", "optional"].contains(&attribute.necessity.as_str()) {
            inner.push("necessity", "must be required or optional");
        }
        if !attribute.attribute_id.is_empty() && !ids.insert(&attribute.attribute_id) {
            inner.push("id", "is used twice");
        }
        if !names.insert(&attribute.name) {
            inner.push("name", "is used twice");
        }
        found.nest(&format!("dataAttributes[{n}]"), inner);
    }
}

fn parties(agreement: &pb::DataAgreement, found: &mut Violations) {
    if let Some(controller) = &agreement.controller {
        let mut inner = Violations::new();
        inner.optional_id("id", &controller.controller_id);
        inner.line("name", &controller.name, MAX_NAME);
        inner.optional_url("url", &controller.url);
        inner.text("address", &controller.address, MAX_TEXT);
        for (field, value) in [
            ("contact", &controller.contact),
            ("email", &controller.email),
            ("phone", &controller.phone),
            ("country", &controller.country),
            ("role", &controller.role),
        ] {
            inner.line(field, value, MAX_NAME);
        }
        found.nest("controller", inner);
    }
    found.count("dataSources", agreement.data_sources.len(), MAX_MEMBERS);
    for (n, source) in agreement.data_sources.iter().enumerate() {
        let mut inner = Violations::new();
        inner.name("name", &source.name);
        inner.name("sector", &source.sector);
        inner.name("location", &source.location);
        inner.optional_url("privacyDashboardUrl", &source.privacy_dashboard_url);
        found.nest(&format!("dataSources[{n}]"), inner);
    }
    found.count("recipients", agreement.recipients.len(), MAX_MEMBERS);
    for (n, recipient) in agreement.recipients.iter().enumerate() {
        let mut inner = Violations::new();
        inner.name("id", &recipient.recipient_id);
        inner.line("name", &recipient.name, MAX_NAME);
        inner.line("country", &recipient.country, MAX_NAME);
        inner.count("attributes", recipient.attributes.len(), MAX_ATTRIBUTES);
        for name in &recipient.attributes {
            if attribute(agreement, name).is_none() {
                inner.push("attributes", "names what is no attribute of the agreement");
            }
        }
        found.nest(&format!("recipients[{n}]"), inner);
    }
}

/// What publication still needs; empty when the agreement is complete.
pub(crate) fn gaps(agreement: &pb::DataAgreement) -> Vec<&'static str> {
    let mut gaps = Vec::new();
    let mut need = |field: &'static str, there: bool| {
        if !there {
            gaps.push(field);
        }
    };
    need("purpose", !agreement.purpose.trim().is_empty());
    need(
        "lawfulBasis",
        agreement.lawful_basis != pb::LawfulBasis::Unspecified as i32,
    );
    need("dpia", !agreement.dpia.trim().is_empty());
    if let Some(controller) = &agreement.controller {
        need("controller.name", !controller.name.is_empty());
        need("controller.url", !controller.url.is_empty());
    }
    if agreement.receipt_profile == ISO27560 {
        for gap in receipt_gaps(agreement) {
            if !gaps.contains(&gap) {
                gaps.push(gap);
            }
        }
    }
    gaps
}

/// Mandatory fields of an ISO/IEC TS 27560 receipt that nothing can be taken for.
pub(crate) fn receipt_gaps(agreement: &pb::DataAgreement) -> Vec<&'static str> {
    let mut gaps = Vec::new();
    let mut need = |field: &'static str, there: bool| {
        if !there {
            gaps.push(field);
        }
    };
    let policy = agreement.policy.clone().unwrap_or_default();
    let controller = agreement.controller.clone().unwrap_or_default();
    need("purpose", !agreement.purpose.trim().is_empty());
    need("controller.name", !controller.name.is_empty());
    need("controller.address", !controller.address.is_empty());
    need("controller.contact", !controller.contact.is_empty());
    need(
        "noticeUrl",
        !agreement.notice_url.is_empty() || !policy.url.is_empty(),
    );
    need("dataAttributes", !agreement.attributes.is_empty());
    need(
        "policy.storageLocation",
        !policy.storage_location.is_empty(),
    );
    need(
        "policy.dataRetentionPeriodDays",
        policy.data_retention_period_days.is_some(),
    );
    need("policy.jurisdiction", !policy.jurisdiction.is_empty());
    need(
        "policy.withdrawalMethod",
        !policy.withdrawal_method.is_empty(),
    );
    gaps
}

/// Mandatory fields of a Kantara 1.1 receipt that nothing can be taken for.
pub(crate) fn kantara_gaps(agreement: &pb::DataAgreement) -> Vec<&'static str> {
    let policy = agreement.policy.clone().unwrap_or_default();
    let controller = agreement.controller.clone().unwrap_or_default();
    let notice = &agreement.notice_url;
    let needed = [
        ("policy.jurisdiction", policy.jurisdiction.is_empty()),
        ("controller.name", controller.name.is_empty()),
        ("controller.contact", controller.contact.is_empty()),
        ("controller.address", controller.address.is_empty()),
        ("controller.email", controller.email.is_empty()),
        ("controller.phone", controller.phone.is_empty()),
        ("noticeUrl", notice.is_empty() && policy.url.is_empty()),
        ("dataAttributes", agreement.attributes.is_empty()),
    ];
    let missing = needed.into_iter().filter(|(_, missing)| *missing);
    missing.map(|(name, _)| name).collect()
}

/// What the administrator should look at: consent may not be bundled (GDPR article 7(4)).
pub(crate) fn warnings(agreement: &pb::DataAgreement) -> Vec<String> {
    let optional = agreement
        .attributes
        .iter()
        .filter(|one| one.necessity == "optional")
        .count();
    if optional > 0 && optional < agreement.attributes.len() {
        return vec!["required and optional attributes stand in one agreement".to_owned()];
    }
    Vec::new()
}

/// The version of the next published text. A version that the author changed stands; otherwise
/// the major number grows where new answers are needed, and the minor one where they are not.
pub(crate) fn next_version(published: &str, written: &str, material: bool) -> String {
    if published != written {
        return written.to_owned();
    }
    let mut numbers = published
        .split('.')
        .map(|number| number.parse::<u32>().ok());
    let major = numbers.next().flatten();
    let minor = numbers.next().flatten().unwrap_or(0);
    match (major, material) {
        (Some(major), true) => format!("{}.0.0", major.saturating_add(1)),
        (Some(major), false) => format!("{major}.{}.0", minor.saturating_add(1)),
        (None, _) => format!("{published}.1"),
    }
}

/// Whether answers to the text `earlier` carry over to the published text `now`.
pub(crate) fn carries_over(now: &pb::DataAgreement, earlier: &str) -> bool {
    now.revision_id == earlier || now.compatible_revision_ids.iter().any(|id| id == earlier)
}

/// Revisions, answers to which carry over to a text that declares itself compatible with
/// `earlier`.
pub(crate) fn compatible_with(earlier: &pb::DataAgreement) -> Vec<String> {
    let mut ids = vec![earlier.revision_id.clone()];
    ids.extend(earlier.compatible_revision_ids.iter().cloned());
    ids
}

/// Whether a text changes nothing that a person agrees to: only whether answers are taken.
pub(crate) fn changes_only_activity(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    let bare = |one: &pb::DataAgreement| pb::DataAgreement {
        active: None,
        lifecycle: 0,
        version: String::new(),
        compatible_with_version_id: String::new(),
        ..one.clone()
    };
    data(&bare(old)) == data(&bare(new))
}

/// Whether the agreement rests on consent.
pub(crate) fn rests_on_consent(agreement: &pb::DataAgreement) -> bool {
    agreement.lawful_basis == pb::LawfulBasis::Consent as i32
}

/// Whether data is used until the person objects, as GDPR article 21 has it.
pub(crate) fn may_be_objected(agreement: &pb::DataAgreement) -> bool {
    [
        pb::LawfulBasis::PublicTask,
        pb::LawfulBasis::LegitimateInterest,
    ]
    .iter()
    .any(|basis| agreement.lawful_basis == *basis as i32)
}

/// The attribute that is meant, by id or name.
pub(crate) fn attribute<'a>(
    agreement: &'a pb::DataAgreement,
    meant: &str,
) -> Option<&'a pb::DataAgreementAttribute> {
    let all = &agreement.attributes;
    all.iter()
        .find(|one| one.attribute_id == meant)
        .or_else(|| all.iter().find(|one| one.name == meant))
}

/// Whether two agreements say the same.
pub(crate) fn same_content(old: &pb::DataAgreement, new: &pb::DataAgreement) -> bool {
    data(old) == data(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement() -> pb::DataAgreement {
        pb::DataAgreement {
            purpose: "Pay a grant".to_owned(),
            lawful_basis: pb::LawfulBasis::Consent.into(),
            dpia: "done".to_owned(),
            ..pb::DataAgreement::default()
        }
    }

    #[test]
    fn a_draft_may_be_incomplete_and_publication_may_not() {
        let draft = normalise(pb::DataAgreement::default()).unwrap();
        assert_eq!(gaps(&draft), ["purpose", "lawfulBasis", "dpia"]);
        assert!(gaps(&normalise(agreement()).unwrap()).is_empty());
        let mut receipts = agreement();
        ISO27560.clone_into(&mut receipts.receipt_profile);
        assert!(gaps(&receipts).contains(&"policy.jurisdiction"));
    }

    #[test]
    fn ids_are_given_where_they_are_missing() {
        let mut sent = agreement();
        sent.controller = Some(pb::Controller {
            name: "Ministry".to_owned(),
            url: "https://example.org".to_owned(),
            ..pb::Controller::default()
        });
        sent.attributes = vec![pb::DataAgreementAttribute {
            name: "income".to_owned(),
            ..pb::DataAgreementAttribute::default()
        }];
        let (one, two) = (normalise(sent.clone()).unwrap(), normalise(sent).unwrap());
        assert_eq!(one, two);
        assert_eq!(one.controller.unwrap().controller_id.len(), 32);
        assert_eq!(one.attributes[0].attribute_id, "1");
        assert_eq!(one.active, Some(true));
    }

    #[test]
    fn bad_members_are_named_by_their_place() {
        let mut sent = agreement();
        sent.validity_days = Some(0);
        sent.lawful_basis = 99;
        sent.attributes = vec![
            pb::DataAgreementAttribute {
                name: "a".into(),
                ..Default::default()
            },
            pb::DataAgreementAttribute {
                name: "a".into(),
                ..Default::default()
            },
        ];
        sent.required_signatures = vec!["neighbour".to_owned()];
        let found = normalise(sent).unwrap_err();
        let fields: Vec<&str> = found
            .pairs()
            .iter()
            .map(|(field, _)| field.as_str())
            .collect();
        assert_eq!(
            fields,
            [
                "requiredSignatures",
                "validityDays",
                "lawfulBasis",
                "dataAttributes[1].name"
            ]
        );
    }

    #[test]
    fn publication_bumps_the_version() {
        for (published, written, material, next) in [
            ("1.0.0", "1.0.0", true, "2.0.0"),
            ("1.0.0", "1.0.0", false, "1.1.0"),
            ("1.0", "1.0", true, "2.0.0"),
            ("1.2", "1.2", false, "1.3.0"),
            ("1.0.0", "1.1.0", true, "1.1.0"),
            ("draft", "draft", true, "draft.1"),
        ] {
            assert_eq!(next_version(published, written, material), next);
        }
    }

    #[test]
    fn answers_carry_over_only_where_the_text_says_so() {
        let revised = |id: &str| pb::DataAgreement {
            revision_id: id.to_owned(),
            ..agreement()
        };
        let (one, mut two, mut three) = (revised("r1"), revised("r2"), revised("r3"));
        assert!(carries_over(&one, "r1") && !carries_over(&two, "r1"));
        two.compatible_revision_ids = compatible_with(&one);
        three.compatible_revision_ids = compatible_with(&two);
        assert!(carries_over(&two, "r1"));
        assert!(carries_over(&three, "r1") && carries_over(&three, "r2"));
    }

    #[test]
    fn taking_no_more_answers_changes_nothing_agreed() {
        let mut off = agreement();
        off.active = Some(false);
        assert!(changes_only_activity(&agreement(), &off));
        off.purpose.push('!');
        assert!(!changes_only_activity(&agreement(), &off));
    }
}
