//! Consent records: what an answer amounts to at a moment, and what its snapshot holds.

use std::time::Duration;

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;
use serde_json::{Value, json};

use super::agreement;
use super::snapshot::Members;
use super::violations::{MAX_NAME, Violations};

/// How far a client's clock may be from ours.
pub(crate) const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);
const DAY: Duration = Duration::from_hours(24);

/// An answer as it is stored, without its proofs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Yes, no, or not answered.
    pub(crate) opt_in: Option<bool>,
    /// How far the signatures have come.
    pub(crate) state: pb::RecordState,
    /// The answered revision of the agreement.
    pub(crate) agreement_revision_id: String,
    /// Begin and end of its validity.
    pub(crate) valid_from: Timestamp,
    /// End of its validity, itself no longer valid.
    pub(crate) valid_until: Option<Timestamp>,
    /// Whether it ever was a yes.
    pub(crate) ever_given: bool,
    /// Whether a delegate gave it whose authority never held.
    pub(crate) delegation_void: bool,
}

/// Where the agreement of an answer stands now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// Stage of life.
    pub(crate) lifecycle: pb::AgreementLifecycle,
    /// The published text.
    pub(crate) published: Option<&'a pb::DataAgreement>,
}

/// What an answer amounts to at `now`.
pub(crate) fn status(
    answer: &Answer,
    standing: Standing<'_>,
    now: Timestamp,
) -> pb::EffectiveStatus {
    match answer.opt_in {
        None => return pb::EffectiveStatus::Requested,
        Some(false) if answer.ever_given => return pb::EffectiveStatus::Withdrawn,
        Some(false) => return pb::EffectiveStatus::Refused,
        Some(true) => {}
    }
    if standing.lifecycle == pb::AgreementLifecycle::Terminated || answer.delegation_void {
        pb::EffectiveStatus::Invalidated
    } else if answer.valid_until.is_some_and(|until| now >= until) {
        pb::EffectiveStatus::Expired
    } else if !standing
        .published
        .is_some_and(|now| agreement::carries_over(now, &answer.agreement_revision_id))
    {
        pb::EffectiveStatus::Superseded
    } else {
        pb::EffectiveStatus::Given
    }
}

/// When an answer that is given at `from` ends: at the agreement's limit or at the person's
/// own, whichever comes first.
pub(crate) fn valid_until(
    agreement: &pb::DataAgreement,
    from: Timestamp,
    asked: Option<Timestamp>,
) -> Option<Timestamp> {
    let days = agreement
        .validity_days
        .and_then(|days| u32::try_from(days).ok());
    let limit = days.map(|days| from.plus(DAY * days));
    match (limit, asked) {
        (Some(limit), Some(asked)) => Some(limit.min(asked)),
        (limit, asked) => limit.or(asked),
    }
}

/// The end that the person set for an answer: the one that comes before the agreement's limit.
pub(crate) fn own_end(
    agreement: &pb::DataAgreement,
    from: Timestamp,
    until: Option<Timestamp>,
) -> Option<Timestamp> {
    let limit = valid_until(agreement, from, None);
    until.filter(|until| limit.is_none_or(|limit| *until < limit))
}

/// Checks the person's choices against the agreement and writes them by attribute id. Granting
/// everything is the same as no choice.
pub(crate) fn choices(
    agreement: &pb::DataAgreement,
    sent: &[pb::AttributeChoice],
) -> Result<Vec<pb::AttributeChoice>, Violations> {
    let mut found = Violations::new();
    found.count("attributes", sent.len(), agreement::MAX_ATTRIBUTES);
    let mut kept: Vec<pb::AttributeChoice> = Vec::with_capacity(sent.len());
    for (n, choice) in sent.iter().enumerate().take(agreement::MAX_ATTRIBUTES) {
        let field = format!("attributes[{n}].attribute");
        let Some(attribute) = agreement::attribute(agreement, &choice.attribute) else {
            found.push(field, "is not an attribute of the agreement");
            continue;
        };
        let id = attribute.attribute_id.clone();
        if kept.iter().any(|earlier| earlier.attribute == id) {
            found.push(field, "is answered twice");
            continue;
        }
        if !choice.granted && attribute.necessity == "required" {
            found.push(field, "is required by the purpose and cannot be left out");
        }
        kept.push(pb::AttributeChoice {
            attribute: id,
            granted: choice.granted,
        });
    }
    if kept.iter().all(|choice| choice.granted) {
        kept.clear();
    }
    found.check(kept)
}

/// Whether an attribute of the agreement may be used under these choices. What the person did
/// not answer is granted only where it is required.
pub(crate) fn grants(choices: &[pb::AttributeChoice], one: &pb::DataAgreementAttribute) -> bool {
    if choices.is_empty() {
        return true;
    }
    let answered = choices
        .iter()
        .find(|choice| choice.attribute == one.attribute_id);
    answered.map_or(one.necessity == "required", |choice| choice.granted)
}

/// Checks the free texts of a record.
pub(crate) fn check_texts(record: &pb::ConsentRecord) -> Result<(), Violations> {
    let mut found = Violations::new();
    for (field, value) in [
        ("language", &record.language),
        ("collectionMethod", &record.collection_method),
        ("channel", &record.channel),
        ("assistedBy", &record.assisted_by),
    ] {
        found.line(field, value, MAX_NAME);
    }
    found.check(())
}

/// What a snapshot of a record holds. `state` and `signature` are left out, since signing
/// itself sets them.
pub(crate) fn data(record: &pb::ConsentRecord) -> Value {
    let time = |time: &Option<prost_types::Timestamp>| {
        time.as_ref().and_then(read_time).map(|time| json!(time))
    };
    Members::new()
        .text("id", &record.consent_record_id)
        .text("dataAgreementId", &record.data_agreement_id)
        .text(
            "dataAgreementRevisionId",
            &record.data_agreement_revision_id,
        )
        .text(
            "dataAgreementRevisionHash",
            &record.data_agreement_revision_hash,
        )
        .text("individualId", &record.individual_id)
        .maybe("optIn", record.opt_in)
        .list(
            "attributes",
            &record.attributes,
            |choice| json!({ "attribute": choice.attribute, "granted": choice.granted }),
        )
        .maybe("validFrom", time(&record.valid_from_time))
        .maybe("validUntil", time(&record.valid_until_time))
        .text("collectionMethod", &record.collection_method)
        .text("channel", &record.channel)
        .text("language", &record.language)
        .text("assistedBy", &record.assisted_by)
        .done()
}

/// A time from a message, if it is one.
pub(crate) fn read_time(time: &prost_types::Timestamp) -> Option<Timestamp> {
    let nanos = i64::from(time.nanos);
    if !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let micros = time
        .seconds
        .checked_mul(1_000_000)?
        .checked_add(nanos / 1_000)?;
    Some(Timestamp::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(revision: &str, compatible: &str) -> pb::DataAgreement {
        pb::DataAgreement {
            revision_id: revision.to_owned(),
            compatible_revision_ids: vec![compatible.to_owned()],
            ..pb::DataAgreement::default()
        }
    }

    fn answer(opt_in: Option<bool>, ever_given: bool, until: Option<i64>) -> Answer {
        Answer {
            opt_in,
            state: pb::RecordState::Unsigned,
            agreement_revision_id: "r1".to_owned(),
            valid_from: Timestamp::EPOCH,
            valid_until: until.map(Timestamp::from_micros),
            ever_given,
            delegation_void: false,
        }
    }

    #[test]
    fn an_answer_amounts_to_what_now_says() {
        use pb::{AgreementLifecycle as L, EffectiveStatus as S};
        let (r1, r2, r2c) = (text("r1", ""), text("r2", ""), text("r2", "r1"));
        for (opt_in, ever, until, life, published, now, expected) in [
            (None, false, None, L::Complete, Some(&r1), 5, S::Requested),
            (
                Some(false),
                false,
                None,
                L::Complete,
                Some(&r1),
                5,
                S::Refused,
            ),
            (
                Some(false),
                true,
                None,
                L::Complete,
                Some(&r1),
                5,
                S::Withdrawn,
            ),
            (Some(true), true, None, L::Complete, Some(&r1), 5, S::Given),
            (
                Some(true),
                true,
                Some(6),
                L::Complete,
                Some(&r1),
                5,
                S::Given,
            ),
            (
                Some(true),
                true,
                Some(5),
                L::Complete,
                Some(&r1),
                5,
                S::Expired,
            ),
            (
                Some(true),
                true,
                None,
                L::Complete,
                Some(&r2),
                5,
                S::Superseded,
            ),
            (Some(true), true, None, L::Complete, Some(&r2c), 5, S::Given),
            (Some(true), true, None, L::Complete, None, 5, S::Superseded),
            (
                Some(true),
                true,
                None,
                L::Terminated,
                Some(&r1),
                5,
                S::Invalidated,
            ),
        ] {
            let standing = Standing {
                lifecycle: life,
                published,
            };
            let at = Timestamp::from_micros(now);
            let found = status(&answer(opt_in, ever, until), standing, at);
            assert_eq!(found, expected, "{opt_in:?} {ever} {until:?} {life:?}");
        }
    }

    #[test]
    fn the_earlier_end_wins() {
        let mut agreement = text("r1", "");
        let from = Timestamp::from_seconds(0);
        assert_eq!(valid_until(&agreement, from, None), None);
        agreement.validity_days = Some(1);
        let day = Timestamp::from_seconds(86_400);
        assert_eq!(valid_until(&agreement, from, None), Some(day));
        assert_eq!(
            valid_until(&agreement, from, Some(day.plus(DAY))),
            Some(day)
        );
        let hour = Timestamp::from_seconds(3_600);
        assert_eq!(valid_until(&agreement, from, Some(hour)), Some(hour));
        assert_eq!(own_end(&agreement, from, Some(hour)), Some(hour));
        assert_eq!(own_end(&agreement, from, Some(day)), None);
        assert_eq!(own_end(&text("r1", ""), from, Some(day)), Some(day));
        assert_eq!(own_end(&text("r1", ""), from, None), None);
    }

    fn attribute(id: &str, name: &str, necessity: &str) -> pb::DataAgreementAttribute {
        pb::DataAgreementAttribute {
            attribute_id: id.to_owned(),
            name: name.to_owned(),
            necessity: necessity.to_owned(),
            ..pb::DataAgreementAttribute::default()
        }
    }

    fn choice(attribute: &str, granted: bool) -> pb::AttributeChoice {
        pb::AttributeChoice {
            attribute: attribute.to_owned(),
            granted,
        }
    }

    #[test]
    fn choices_are_kept_by_id() {
        let mut agreement = text("r1", "");
        agreement.attributes = vec![
            attribute("1", "name", "required"),
            attribute("2", "income", "optional"),
        ];
        let kept = choices(&agreement, &[choice("income", false)]).unwrap();
        assert_eq!(kept, [choice("2", false)]);
        assert!(grants(&kept, &agreement.attributes[0]));
        assert!(!grants(&kept, &agreement.attributes[1]));
        assert!(
            choices(&agreement, &[choice("income", true)])
                .unwrap()
                .is_empty()
        );
        for bad in [
            vec![choice("name", false)],
            vec![choice("shoe size", true)],
            vec![choice("2", false), choice("income", true)],
        ] {
            assert!(choices(&agreement, &bad).is_err(), "{bad:?}");
        }
    }
}
