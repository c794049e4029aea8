//! Answers that are kept, and when they must not be used any more.

use std::collections::HashMap;

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;

use crate::gate::{Permit, Use};

/// Answers kept at most; when there are more, all are forgotten and asked for again.
const MOST: usize = 50_000;

/// Kept answers of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    answers: HashMap<Use, Kept>,
    /// Grows whenever something was revoked.
    age: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    permit: Permit,
    until: Timestamp,
}

impl Shelf {
    /// How many revocations the shelf has seen. An answer that was asked for before the last of
    /// them is not kept: it may be about what was revoked.
    pub(crate) fn age(&self) -> u64 {
        self.age
    }

    /// A kept answer that has not ended.
    pub(crate) fn find(&self, wanted: &Use, now: Timestamp) -> Option<Permit> {
        let kept = self.answers.get(wanted)?;
        (now < kept.until).then(|| kept.permit.clone())
    }

    /// Keeps an answer that was asked for when the shelf was so old.
    pub(crate) fn keep(&mut self, asked: Use, permit: Permit, until: Timestamp, age: u64) {
        if age != self.age {
            return;
        }
        if self.answers.len() >= MOST {
            self.answers.clear();
        }
        self.answers.insert(asked, Kept { permit, until });
    }

    /// Forgets what revocations are about.
    pub(crate) fn revoke(&mut self, revocations: &[pb::Revocation]) {
        if revocations.is_empty() {
            return;
        }
        self.age = self.age.wrapping_add(1);
        self.answers.retain(|_, kept| {
            !revocations.iter().any(|one| {
                let person = &one.individual_id;
                let agreement = &one.data_agreement_id;
                (person.is_empty() || *person == kept.permit.individual_id)
                    && (agreement.is_empty() || *agreement == kept.permit.data_agreement_id)
            })
        });
    }

    /// Forgets everything.
    pub(crate) fn forget(&mut self) {
        self.answers.clear();
        self.age = self.age.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(person: &str) -> Use {
        Use {
            individual_id: person.to_owned(),
            data_agreement_id: "a".to_owned(),
            ..Use::default()
        }
    }

    fn permit(person: &str) -> Permit {
        Permit {
            individual_id: person.to_owned(),
            data_agreement_id: "a".to_owned(),
            ..Permit::default()
        }
    }

    fn revocation(person: &str, agreement: &str) -> pb::Revocation {
        pb::Revocation {
            individual_id: person.to_owned(),
            data_agreement_id: agreement.to_owned(),
            ..pb::Revocation::default()
        }
    }

    const NOW: Timestamp = Timestamp::from_seconds(100);
    const LATER: Timestamp = Timestamp::from_seconds(200);

    #[test]
    fn a_revocation_takes_what_it_is_about() {
        for (revoked, one, two) in [
            (revocation("p", "a"), false, true),
            (revocation("p", ""), false, true),
            (revocation("", "a"), false, false),
            (revocation("", ""), false, false),
            (revocation("p", "b"), true, true),
            (revocation("r", "a"), true, true),
        ] {
            let mut shelf = Shelf::default();
            for person in ["p", "q"] {
                shelf.keep(wanted(person), permit(person), LATER, shelf.age());
            }
            shelf.revoke(std::slice::from_ref(&revoked));
            assert_eq!(shelf.find(&wanted("p"), NOW).is_some(), one, "{revoked:?}");
            assert_eq!(shelf.find(&wanted("q"), NOW).is_some(), two, "{revoked:?}");
        }
    }

    #[test]
    fn what_was_asked_for_before_a_revocation_is_not_kept() {
        let mut shelf = Shelf::default();
        let age = shelf.age();
        shelf.revoke(&[revocation("p", "a")]);
        shelf.keep(wanted("p"), permit("p"), LATER, age);
        assert!(shelf.find(&wanted("p"), NOW).is_none());
        shelf.keep(wanted("p"), permit("p"), LATER, shelf.age());
        assert!(shelf.find(&wanted("p"), NOW).is_some());
    }

    #[test]
    fn answers_end() {
        let mut shelf = Shelf::default();
        shelf.keep(wanted("p"), permit("p"), LATER, shelf.age());
        assert!(shelf.find(&wanted("p"), LATER).is_none());
        shelf.forget();
        assert!(shelf.find(&wanted("p"), NOW).is_none());
    }
}
