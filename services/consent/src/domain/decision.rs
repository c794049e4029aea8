//! Decisions: may this consumer use these attributes of this person for this purpose now?

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;

use super::record::{self, Answer, Standing};
use super::{agreement, purpose};

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// Who wants to use data.
    pub(crate) consumer: String,
    /// What for; empty when only the agreement is named.
    pub(crate) purpose: String,
    /// Which attributes, by id or name.
    pub(crate) attributes: Vec<String>,
    /// Only answers to this revision; empty for any.
    pub(crate) revision_id: String,
    /// How data is going to be used.
    pub(crate) access_mode: i32,
    /// Whether only complete signatures count.
    pub(crate) require_signature: bool,
    /// Whether some of the attributes are enough.
    pub(crate) partial: bool,
}

/// One agreement that may cover the question, with the person's current answer to it.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    /// Stage of life.
    pub(crate) lifecycle: pb::AgreementLifecycle,
    /// The published text; none while the agreement is a draft.
    pub(crate) published: Option<&'a pb::DataAgreement>,
    /// The answer.
    pub(crate) answer: Option<&'a Answer>,
    /// The person's choices.
    pub(crate) choices: &'a [pb::AttributeChoice],
}

/// What was decided about one candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether the use is allowed.
    pub(crate) allowed: bool,
    /// Why.
    pub(crate) reasons: Vec<pb::DecisionReason>,
    /// Attributes that may be used.
    pub(crate) granted: Vec<String>,
    /// Attributes that may not.
    pub(crate) denied: Vec<String>,
}

/// Decides about all candidates: the first that allows wins; otherwise the one with an answer
/// explains best. Returns the candidate's index.
pub(crate) fn decide(
    question: &Question,
    known: bool,
    candidates: &[Candidate<'_>],
    now: Timestamp,
) -> (Option<usize>, Verdict) {
    let mut best: Option<(usize, Verdict)> = None;
    for (n, candidate) in candidates.iter().enumerate() {
        let verdict = judge(question, known, candidate, now);
        if verdict.allowed {
            return (Some(n), verdict);
        }
        let better = match &best {
            None => true,
            Some((kept, _)) => candidate.answer.is_some() && candidates[*kept].answer.is_none(),
        };
        if better {
            best = Some((n, verdict));
        }
    }
    if let Some((n, verdict)) = best {
        return (Some(n), verdict);
    }
    let mut reasons = vec![pb::DecisionReason::AgreementUnknown];
    if !known {
        reasons.push(pb::DecisionReason::IndividualUnknown);
    }
    let denied = question.attributes.clone();
    (
        None,
        Verdict {
            allowed: false,
            reasons,
            granted: Vec::new(),
            denied,
        },
    )
}

fn judge(question: &Question, known: bool, candidate: &Candidate<'_>, now: Timestamp) -> Verdict {
    use pb::DecisionReason as Reason;
    let mut reasons = Vec::new();
    let Some(text) = candidate.published else {
        return refuse(question, vec![Reason::AgreementInactive]);
    };
    if candidate.lifecycle == pb::AgreementLifecycle::Terminated {
        return refuse(question, vec![Reason::AgreementTerminated]);
    }
    reasons.extend(sharing_reason(text, &question.consumer));
    if !purpose_fits(text, &question.purpose) {
        reasons.push(Reason::PurposeMismatch);
    }
    let any = pb::AccessMode::Unspecified as i32;
    let (asked, agreed) = (question.access_mode, text.access_mode);
    if asked != any && agreed != any && asked != agreed {
        reasons.push(Reason::AccessModeNotGranted);
    }
    let on_consent = agreement::rests_on_consent(text);
    if on_consent {
        reasons.extend(answer_reasons(question, known, candidate, now));
    } else if agreement::may_be_objected(text) && candidate.answer.is_some_and(is_no) {
        // On these grounds data is used until the person objects.
        reasons.push(Reason::Refused);
    }
    let choices = if on_consent { candidate.choices } else { &[] };
    let (granted, denied) = attributes(text, question, choices);
    let lacking = !denied.is_empty();
    let enough = question.partial && !granted.is_empty();
    if lacking && !enough {
        reasons.push(Reason::AttributeNotGranted);
    }
    if !reasons.is_empty() {
        // Which attributes were granted is only said where nothing else stands against the use.
        let field_level = reasons == [Reason::AttributeNotGranted];
        let (granted, denied) = if field_level {
            (granted, denied)
        } else {
            (Vec::new(), question.attributes.clone())
        };
        return Verdict {
            allowed: false,
            reasons,
            granted,
            denied,
        };
    }
    if !on_consent {
        reasons.push(Reason::BasisNotConsent);
    }
    if lacking {
        reasons.push(Reason::AttributeNotGranted);
    }
    Verdict {
        allowed: true,
        reasons,
        granted,
        denied,
    }
}

fn is_no(answer: &Answer) -> bool {
    answer.opt_in == Some(false)
}

fn refuse(question: &Question, reasons: Vec<pb::DecisionReason>) -> Verdict {
    let denied = question.attributes.clone();
    Verdict {
        allowed: false,
        reasons,
        granted: Vec::new(),
        denied,
    }
}

/// What stands against the use in the person's answer.
fn answer_reasons(
    question: &Question,
    known: bool,
    candidate: &Candidate<'_>,
    now: Timestamp,
) -> Vec<pb::DecisionReason> {
    use pb::DecisionReason as Reason;
    let Some(answer) = candidate.answer else {
        let reason = if known {
            Reason::NoRecord
        } else {
            Reason::IndividualUnknown
        };
        return vec![reason];
    };
    let standing = Standing {
        lifecycle: candidate.lifecycle,
        published: candidate.published,
    };
    let mut reasons = match record::status(answer, standing, now) {
        pb::EffectiveStatus::Given => Vec::new(),
        pb::EffectiveStatus::Refused => vec![Reason::Refused],
        pb::EffectiveStatus::Withdrawn => vec![Reason::Withdrawn],
        pb::EffectiveStatus::Expired => vec![Reason::Expired],
        pb::EffectiveStatus::Superseded => vec![Reason::Superseded],
        pb::EffectiveStatus::Invalidated if answer.delegation_void => {
            vec![Reason::DelegationInvalid]
        }
        pb::EffectiveStatus::Invalidated => vec![Reason::AgreementTerminated],
        pb::EffectiveStatus::Requested | pb::EffectiveStatus::Unspecified => {
            vec![Reason::NoRecord]
        }
    };
    if !reasons.is_empty() {
        return reasons;
    }
    if now < answer.valid_from {
        reasons.push(Reason::NotYetValid);
    }
    let asked = &question.revision_id;
    if !asked.is_empty() && *asked != answer.agreement_revision_id {
        reasons.push(Reason::Superseded);
    }
    let several = candidate
        .published
        .is_some_and(|text| !text.required_signatures.is_empty());
    match answer.state {
        pb::RecordState::Signed => {}
        pb::RecordState::PendingMoreSignatures => reasons.push(Reason::PendingSignatures),
        _ if several || question.require_signature => reasons.push(Reason::Unsigned),
        _ => {}
    }
    reasons
}

/// What stands against sharing data with the consumer. The controller and the recipients that
/// the agreement names are no third parties.
fn sharing_reason(text: &pb::DataAgreement, consumer: &str) -> Option<pb::DecisionReason> {
    let controller = text.controller.as_ref();
    let is_controller = controller.is_some_and(|one| one.controller_id == consumer);
    if is_controller || recipient(text, consumer).is_some() {
        return None;
    }
    if !text.recipients.is_empty() {
        return Some(pb::DecisionReason::ConsumerNotListed);
    }
    let policy = text.policy.as_ref();
    let forbidden = policy.is_some_and(|one| one.third_party_data_sharing == Some(false));
    forbidden.then_some(pb::DecisionReason::ThirdPartyNotAllowed)
}

fn recipient<'a>(text: &'a pb::DataAgreement, consumer: &str) -> Option<&'a pb::Recipient> {
    let mut all = text.recipients.iter();
    all.find(|one| one.recipient_id == consumer)
}

fn purpose_fits(text: &pb::DataAgreement, asked: &str) -> bool {
    asked.is_empty() || asked == text.purpose || purpose::covers(&text.purpose_code, asked)
}

/// Splits what is asked for into what is granted and what is not; asks for everything when
/// nothing is named.
fn attributes(
    text: &pb::DataAgreement,
    question: &Question,
    choices: &[pb::AttributeChoice],
) -> (Vec<String>, Vec<String>) {
    let shared =
        recipient(text, &question.consumer).map_or(&[][..], |one| one.attributes.as_slice());
    let goes = |one: &pb::DataAgreementAttribute| {
        let named = |name: &String| *name == one.attribute_id || *name == one.name;
        record::grants(choices, one) && (shared.is_empty() || shared.iter().any(named))
    };
    if question.attributes.is_empty() {
        let granted = text.attributes.iter().filter(|one| goes(one));
        return (granted.map(|one| one.name.clone()).collect(), Vec::new());
    }
    let asked = question.attributes.iter().cloned();
    asked.partition(|name| agreement::attribute(text, name).is_some_and(goes))
}

/// How a reason is spelt on the published surface and in the journal.
pub(crate) fn reason_name(reason: pb::DecisionReason) -> String {
    reason
        .as_str_name()
        .trim_start_matches("DECISION_REASON_")
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use pb::{DecisionReason as R, RecordState as S};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(100);

    fn text() -> pb::DataAgreement {
        let attribute = |id: &str, name: &str, necessity: &str| pb::DataAgreementAttribute {
            attribute_id: id.to_owned(),
            name: name.to_owned(),
            necessity: necessity.to_owned(),
            ..pb::DataAgreementAttribute::default()
        };
        pb::DataAgreement {
            revision_id: "r1".to_owned(),
            purpose: "Pay a grant".to_owned(),
            purpose_code: "dpv:Grant".to_owned(),
            lawful_basis: pb::LawfulBasis::Consent.into(),
            attributes: vec![
                attribute("1", "name", "required"),
                attribute("2", "income", "optional"),
            ],
            recipients: vec![pb::Recipient {
                recipient_id: "programme".to_owned(),
                ..pb::Recipient::default()
            }],
            ..pb::DataAgreement::default()
        }
    }

    fn yes() -> Answer {
        Answer {
            opt_in: Some(true),
            state: S::Signed,
            agreement_revision_id: "r1".to_owned(),
            valid_from: Timestamp::from_micros(50),
            valid_until: None,
            ever_given: true,
            delegation_void: false,
        }
    }

    fn ask() -> Question {
        Question {
            consumer: "programme".to_owned(),
            ..Question::default()
        }
    }

    fn judged(
        question: &Question,
        text: &pb::DataAgreement,
        answer: Option<&Answer>,
        choices: &[pb::AttributeChoice],
    ) -> Verdict {
        let candidate = Candidate {
            lifecycle: pb::AgreementLifecycle::Complete,
            published: Some(text),
            answer,
            choices,
        };
        decide(question, true, &[candidate], NOW).1
    }

    #[test]
    fn a_plain_yes_allows() {
        let verdict = judged(&ask(), &text(), Some(&yes()), &[]);
        assert!(verdict.allowed && verdict.reasons.is_empty());
        assert_eq!(verdict.granted, ["name", "income"]);
    }

    #[test]
    fn every_reason_denies() {
        let change = |edit: &dyn Fn(&mut Answer)| {
            let mut answer = yes();
            edit(&mut answer);
            judged(&ask(), &text(), Some(&answer), &[]).reasons
        };
        assert_eq!(judged(&ask(), &text(), None, &[]).reasons, [R::NoRecord]);
        assert_eq!(
            change(&|a| (a.opt_in, a.ever_given) = (Some(false), false)),
            [R::Refused]
        );
        assert_eq!(change(&|a| a.opt_in = Some(false)), [R::Withdrawn]);
        assert_eq!(change(&|a| a.valid_until = Some(NOW)), [R::Expired]);
        assert_eq!(
            change(&|a| a.valid_from = NOW.plus(std::time::Duration::from_secs(1))),
            [R::NotYetValid]
        );
        assert_eq!(
            change(&|a| a.state = S::PendingMoreSignatures),
            [R::PendingSignatures]
        );
        assert_eq!(change(&|a| a.state = S::Unsigned), []);
        let asked = |edit: &dyn Fn(&mut Question)| {
            let mut question = ask();
            edit(&mut question);
            let mut answer = yes();
            answer.state = S::Unsigned;
            judged(&question, &text(), Some(&answer), &[]).reasons
        };
        assert_eq!(asked(&|q| q.require_signature = true), [R::Unsigned]);
        assert_eq!(
            asked(&|q| "other".clone_into(&mut q.consumer)),
            [R::ConsumerNotListed]
        );
        assert_eq!(
            asked(&|q| "Sell".clone_into(&mut q.purpose)),
            [R::PurposeMismatch]
        );
        assert_eq!(
            asked(&|q| "r0".clone_into(&mut q.revision_id)),
            [R::Superseded]
        );
        assert_eq!(asked(&|q| "dpv:Grant".clone_into(&mut q.purpose)), []);
    }

    #[test]
    fn attributes_are_judged_one_by_one() {
        let choices = [pb::AttributeChoice {
            attribute: "2".to_owned(),
            granted: false,
        }];
        let mut question = ask();
        question.attributes = vec!["name".to_owned(), "2".to_owned(), "shoe size".to_owned()];
        let verdict = judged(&question, &text(), Some(&yes()), &choices);
        assert!(!verdict.allowed);
        assert_eq!(verdict.reasons, [R::AttributeNotGranted]);
        assert_eq!(verdict.granted, ["name"]);
        assert_eq!(verdict.denied, ["2", "shoe size"]);
        question.attributes.truncate(1);
        assert!(judged(&question, &text(), Some(&yes()), &choices).allowed);
    }

    #[test]
    fn some_attributes_may_be_enough() {
        let choices = [pb::AttributeChoice {
            attribute: "2".to_owned(),
            granted: false,
        }];
        let mut question = ask();
        question.partial = true;
        question.attributes = vec!["name".to_owned(), "income".to_owned()];
        let verdict = judged(&question, &text(), Some(&yes()), &choices);
        assert!(verdict.allowed);
        assert_eq!(verdict.reasons, [R::AttributeNotGranted]);
        assert_eq!((verdict.granted.len(), verdict.denied.len()), (1, 1));
        question.attributes.remove(0);
        assert!(!judged(&question, &text(), Some(&yes()), &choices).allowed);
    }

    #[test]
    fn data_goes_to_whom_the_agreement_names() {
        let sharing = |allowed: Option<bool>| {
            Some(pb::Policy {
                third_party_data_sharing: allowed,
                ..pb::Policy::default()
            })
        };
        let mut open = text();
        open.recipients.clear();
        open.controller = Some(pb::Controller {
            controller_id: "ministry".to_owned(),
            ..pb::Controller::default()
        });
        let by = |text: &pb::DataAgreement, consumer: &str| {
            let question = Question {
                consumer: consumer.to_owned(),
                ..Question::default()
            };
            judged(&question, text, Some(&yes()), &[])
        };
        for allowed in [None, Some(true)] {
            open.policy = sharing(allowed);
            assert!(by(&open, "anybody").allowed, "{allowed:?}");
        }
        open.policy = sharing(Some(false));
        assert_eq!(by(&open, "anybody").reasons, [R::ThirdPartyNotAllowed]);
        assert!(by(&open, "ministry").allowed);
        let mut named = text();
        named.policy = sharing(Some(false));
        assert!(by(&named, "programme").allowed);
        named.policy = sharing(Some(true));
        assert_eq!(by(&named, "anybody").reasons, [R::ConsumerNotListed]);
        named.recipients[0].attributes = vec!["name".to_owned()];
        assert_eq!(by(&named, "programme").granted, ["name"]);
    }

    #[test]
    fn an_agreement_covers_more_special_purposes() {
        let mut broad = text();
        "https://w3id.org/dpv#ServiceProvision".clone_into(&mut broad.purpose_code);
        for (asked, allowed) in [
            ("dpv:PaymentManagement", true),
            ("dpv:ServiceProvision", true),
            ("dpv:Marketing", false),
            ("Pay a grant", true),
        ] {
            let mut question = ask();
            asked.clone_into(&mut question.purpose);
            assert_eq!(
                judged(&question, &broad, Some(&yes()), &[]).allowed,
                allowed,
                "{asked}"
            );
        }
    }

    #[test]
    fn nothing_leaks_about_a_refused_use() {
        let mut question = ask();
        question.attributes = vec!["name".to_owned()];
        let verdict = judged(&question, &text(), None, &[]);
        assert!(verdict.granted.is_empty());
        assert_eq!(verdict.denied, ["name"]);
    }

    #[test]
    fn another_basis_allows_and_says_so() {
        let mut other = text();
        other.lawful_basis = pb::LawfulBasis::PublicTask.into();
        let verdict = judged(&ask(), &other, None, &[]);
        assert!(verdict.allowed);
        assert_eq!(verdict.reasons, [R::BasisNotConsent]);
    }

    #[test]
    fn an_objection_stands_against_grounds_that_know_one() {
        let mut no = yes();
        (no.opt_in, no.ever_given) = (Some(false), false);
        for (basis, allowed) in [
            (pb::LawfulBasis::PublicTask, false),
            (pb::LawfulBasis::LegitimateInterest, false),
            (pb::LawfulBasis::LegalObligation, true),
            (pb::LawfulBasis::VitalInterest, true),
        ] {
            let mut other = text();
            other.lawful_basis = basis.into();
            assert_eq!(
                judged(&ask(), &other, Some(&no), &[]).allowed,
                allowed,
                "{basis:?}"
            );
            assert!(
                judged(&ask(), &other, Some(&yes()), &[]).allowed,
                "{basis:?}"
            );
        }
    }

    #[test]
    fn a_delegate_without_authority_gave_nothing() {
        let mut void = yes();
        void.delegation_void = true;
        let verdict = judged(&ask(), &text(), Some(&void), &[]);
        assert_eq!(verdict.reasons, [R::DelegationInvalid]);
    }

    #[test]
    fn one_agreement_that_allows_is_enough() {
        let (one, answer) = (text(), yes());
        let candidate = |answer| Candidate {
            lifecycle: pb::AgreementLifecycle::Complete,
            published: Some(&one),
            answer,
            choices: &[],
        };
        let all = [candidate(None), candidate(Some(&answer))];
        let (chosen, verdict) = decide(&ask(), true, &all, NOW);
        assert_eq!((chosen, verdict.allowed), (Some(1), true));
        let (chosen, verdict) = decide(&ask(), false, &[], NOW);
        assert_eq!(chosen, None);
        assert_eq!(verdict.reasons, [R::AgreementUnknown, R::IndividualUnknown]);
    }

    #[test]
    fn reasons_are_spelt_as_published() {
        assert_eq!(reason_name(R::AgreementTerminated), "agreement_terminated");
    }
}
