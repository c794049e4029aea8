//! Delegations: who may act for whom, about what, and until when.

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::purpose;
use super::record::read_time;
use super::snapshot::Members;
use super::violations::{MAX_NAME, MAX_TEXT, Violations};

/// Agreements or purposes that a delegation is limited to, at most.
const MAX_SCOPE: usize = 100;

/// What a delegate wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Answer yes.
    Give,
    /// Answer no, or take a yes back.
    Withdraw,
    /// See what was agreed.
    View,
}

impl Act {
    /// The act that an answer is.
    pub(crate) fn of(opt_in: Option<bool>) -> Self {
        if opt_in == Some(true) {
            Self::Give
        } else {
            Self::Withdraw
        }
    }

    fn action(self) -> pb::DelegationAction {
        match self {
            Self::Give => pb::DelegationAction::Give,
            Self::Withdraw => pb::DelegationAction::Withdraw,
            Self::View => pb::DelegationAction::View,
        }
    }
}

/// Checks a delegation as it was sent.
pub(crate) fn check(one: &pb::Delegation) -> Result<(), Violations> {
    let mut found = Violations::new();
    found.optional_id("id", &one.delegation_id);
    found.id("individualId", &one.individual_id);
    found.id("delegateIndividualId", &one.delegate_individual_id);
    if one.individual_id == one.delegate_individual_id {
        found.push("delegateIndividualId", "is the individual");
    }
    let relationship = pb::DelegationRelationship::try_from(one.relationship);
    if matches!(
        relationship,
        Err(_) | Ok(pb::DelegationRelationship::Unspecified)
    ) {
        found.push("relationship", "is not a known value");
    }
    found.text("authorityReference", &one.authority_reference, MAX_TEXT);
    found.line("authorityHash", &one.authority_hash, MAX_NAME);
    found.count("scopeAgreements", one.scope_agreements.len(), MAX_SCOPE);
    found.count("scopePurposes", one.scope_purposes.len(), MAX_SCOPE);
    for id in &one.scope_agreements {
        found.id("scopeAgreements", id);
    }
    for purpose in &one.scope_purposes {
        found.name("scopePurposes", purpose);
    }
    let known =
        |action: &i32| pb::DelegationAction::try_from(*action).is_ok_and(|one| one as i32 != 0);
    if one.actions.is_empty() || !one.actions.iter().all(known) {
        found.push("actions", "must be some of give, withdraw, view");
    }
    found.check(())
}

/// What a snapshot of a delegation holds.
pub(crate) fn data(one: &pb::Delegation) -> Value {
    let name = |text: &str, prefix: &str| text.trim_start_matches(prefix).to_ascii_lowercase();
    let relationship = name(one.relationship().as_str_name(), "DELEGATION_RELATIONSHIP_");
    let actions: Vec<pb::DelegationAction> = one.actions().collect();
    let time = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().and_then(read_time).map(|time| json!(time))
    };
    let text = |text: &String| json!(text);
    Members::new()
        .text("id", &one.delegation_id)
        .text("individualId", &one.individual_id)
        .text("delegateIndividualId", &one.delegate_individual_id)
        .text("relationship", &relationship)
        .text("authorityReference", &one.authority_reference)
        .text("authorityHash", &one.authority_hash)
        .list("scopeAgreements", &one.scope_agreements, text)
        .list("scopePurposes", &one.scope_purposes, text)
        .list("actions", &actions, |action| {
            json!(name(action.as_str_name(), "DELEGATION_ACTION_"))
        })
        .maybe("validFrom", time(&one.valid_from_time))
        .maybe("validUntil", time(&one.valid_until_time))
        .maybe("revokedAt", time(&one.revoke_time))
        .maybe("void", one.void.then_some(true))
        .done()
}

/// A delegation as decisions about it need it.
#[derive(Debug, Clone)]
pub(crate) struct Authority<'a> {
    /// What was written down.
    pub(crate) delegation: &'a pb::Delegation,
    /// When it begins.
    pub(crate) from: Timestamp,
    /// When it ends, itself no longer in it.
    pub(crate) until: Option<Timestamp>,
    /// When it was taken back.
    pub(crate) revoked: Option<Timestamp>,
}

impl Authority<'_> {
    /// Whether it holds at `now`.
    pub(crate) fn holds(&self, now: Timestamp) -> bool {
        now >= self.from && self.end().is_none_or(|end| now < end)
    }

    /// When it ends or ended, whichever comes first.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        match (self.until, self.revoked) {
            (Some(until), Some(revoked)) => Some(until.min(revoked)),
            (until, revoked) => until.or(revoked),
        }
    }

    /// Whether it covers an act about an agreement. Who may give may withdraw: withdrawing is
    /// never harder than giving.
    pub(crate) fn covers(&self, act: Act, agreement_id: &str, purpose_code: &str) -> bool {
        let one = self.delegation;
        let has = |act: Act| one.actions.contains(&i32::from(act.action()));
        let acts = has(act) || (act == Act::Withdraw && has(Act::Give));
        let any = one.scope_agreements.is_empty() && one.scope_purposes.is_empty();
        let named = one.scope_agreements.iter().any(|id| id == agreement_id);
        let fits = |scope: &String| purpose::covers(scope, purpose_code);
        acts && (any || named || one.scope_purposes.iter().any(fits))
    }
}

/// Whether authority over a child ends with majority.
pub(crate) fn ends_with_majority(relationship: i32) -> bool {
    [
        pb::DelegationRelationship::Parent,
        pb::DelegationRelationship::LegalGuardian,
    ]
    .iter()
    .any(|one| relationship == i32::from(*one))
}

/// Whether the person may take the authority back: what they gave themselves.
pub(crate) fn given_by_person(relationship: i32) -> bool {
    [
        pb::DelegationRelationship::PowerOfAttorney,
        pb::DelegationRelationship::Carer,
        pb::DelegationRelationship::Organisation,
    ]
    .iter()
    .any(|one| relationship == i32::from(*one))
}

/// A day of the Gregorian calendar, as people write birth dates: `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BirthDate {
    year: i32,
    month: u32,
    day: u32,
}

impl BirthDate {
    /// Reads a date.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-';
        // What is no date of the calendar is no time either.
        let sound = shape && format!("{text}T00:00:00Z").parse::<Timestamp>().is_ok();
        sound.then_some(())?;
        Some(Self {
            year: text[..4].parse().ok()?,
            month: text[5..7].parse().ok()?,
            day: text[8..].parse().ok()?,
        })
    }

    /// The moment at which the person is so many years old. Who was born on a leap day is a
    /// year older on the first of March of other years.
    pub(crate) fn age_at(self, years: i32) -> Option<Timestamp> {
        let year = self.year.checked_add(years)?;
        let text = |month: u32, day: u32| format!("{year:04}-{month:02}-{day:02}T00:00:00Z");
        let own = text(self.month, self.day).parse::<Timestamp>();
        own.or_else(|_| text(3, 1).parse::<Timestamp>()).ok()
    }

    /// Whether the person is at least so old.
    pub(crate) fn is_aged(self, years: i32, now: Timestamp) -> bool {
        self.age_at(years).is_some_and(|at| now >= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn sound() -> pb::Delegation {
        pb::Delegation {
            individual_id: "child".to_owned(),
            delegate_individual_id: "parent".to_owned(),
            relationship: pb::DelegationRelationship::Parent.into(),
            actions: vec![pb::DelegationAction::Give.into()],
            ..pb::Delegation::default()
        }
    }

    #[test]
    fn unsound_delegations_are_named() {
        assert!(check(&sound()).is_ok());
        for edit in [
            (|one| one.individual_id.clear()) as fn(&mut pb::Delegation),
            |one| "child".clone_into(&mut one.delegate_individual_id),
            |one| one.relationship = 0,
            |one| one.actions.clear(),
            |one| one.actions.push(9),
            |one| one.scope_agreements.push("a/b".to_owned()),
        ] {
            let mut bad = sound();
            edit(&mut bad);
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn authority_holds_between_its_ends() {
        let one = sound();
        let authority = |until: Option<&str>, revoked: Option<&str>| Authority {
            delegation: &one,
            from: at("2026-01-01T00:00:00Z"),
            until: until.map(at),
            revoked: revoked.map(at),
        };
        for (until, revoked, now, holds) in [
            (None, None, "2025-12-31T23:59:59Z", false),
            (None, None, "2026-01-01T00:00:00Z", true),
            (
                Some("2027-01-01T00:00:00Z"),
                None,
                "2026-12-31T23:59:59Z",
                true,
            ),
            (
                Some("2027-01-01T00:00:00Z"),
                None,
                "2027-01-01T00:00:00Z",
                false,
            ),
            (
                None,
                Some("2026-06-01T00:00:00Z"),
                "2026-06-01T00:00:00Z",
                false,
            ),
            (
                Some("2027-01-01T00:00:00Z"),
                Some("2026-06-01T00:00:00Z"),
                "2026-07-01T00:00:00Z",
                false,
            ),
        ] {
            assert_eq!(authority(until, revoked).holds(at(now)), holds, "{now}");
        }
    }

    #[test]
    fn authority_covers_what_it_names() {
        let mut one = sound();
        let covers = |one: &pb::Delegation, act, agreement: &str, purpose: &str| {
            let authority = Authority {
                delegation: one,
                from: Timestamp::EPOCH,
                until: None,
                revoked: None,
            };
            authority.covers(act, agreement, purpose)
        };
        assert!(covers(&one, Act::Give, "a", ""));
        assert!(
            covers(&one, Act::Withdraw, "a", ""),
            "giving implies withdrawing"
        );
        assert!(!covers(&one, Act::View, "a", ""));
        one.actions = vec![pb::DelegationAction::Withdraw.into()];
        assert!(!covers(&one, Act::Give, "a", ""));
        one.scope_agreements = vec!["b".to_owned()];
        assert!(!covers(&one, Act::Withdraw, "a", "dpv:Marketing"));
        assert!(covers(&one, Act::Withdraw, "b", ""));
        one.scope_purposes = vec!["dpv:Marketing".to_owned()];
        assert!(covers(&one, Act::Withdraw, "a", "dpv:DirectMarketing"));
        assert!(!covers(&one, Act::Withdraw, "a", "dpv:ServiceProvision"));
    }

    #[test]
    fn birthdays_fall_on_days_of_the_calendar() {
        let born = BirthDate::parse("2010-05-17").unwrap();
        assert!(!born.is_aged(16, at("2026-05-16T23:59:59Z")));
        assert!(born.is_aged(16, at("2026-05-17T00:00:00Z")));
        let leap = BirthDate::parse("2008-02-29").unwrap();
        assert_eq!(leap.age_at(18), Some(at("2026-03-01T00:00:00Z")));
        assert_eq!(leap.age_at(16), Some(at("2024-02-29T00:00:00Z")));
        for bad in [
            "",
            "2010-5-17",
            "2010-13-01",
            "2010-02-30",
            "17.05.2010",
            "2010-05-17Z",
        ] {
            assert_eq!(BirthDate::parse(bad), None, "{bad}");
        }
    }
}
