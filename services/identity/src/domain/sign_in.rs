//! A sign-in from the checked request to the redeemed code.

use std::time::Duration;

use publica_types::Timestamp;

use crate::domain::claims::AskedClaims;

/// Where a sign-in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignInState {
    /// The request is checked; nobody has proven anything.
    New,
    /// The person has proven who they are.
    Authenticated,
    /// Consent is recorded and the code issued.
    CodeIssued,
    /// The code was exchanged.
    Redeemed,
    /// The person refused.
    Denied,
}

impl SignInState {
    const NAMES: [(Self, &'static str); 5] = [
        (Self::New, "new"),
        (Self::Authenticated, "authenticated"),
        (Self::CodeIssued, "code_issued"),
        (Self::Redeemed, "redeemed"),
        (Self::Denied, "denied"),
    ];

    /// The name in the store.
    pub(crate) fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, name)| name)
    }

    /// The state of a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(state, _)| *state)
    }

    /// Whether the sign-in may go to `next`; every other step is refused.
    pub(crate) fn may_become(self, next: Self) -> bool {
        use SignInState as S;
        matches!(
            (self, next),
            (S::New, S::Authenticated)
                | (S::Authenticated, S::CodeIssued)
                | (S::New | S::Authenticated, S::Denied)
                | (S::CodeIssued, S::Redeemed)
        )
    }
}

/// How long the steps of a sign-in may take. A step may be prolonged by what the person does,
/// the whole may not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// From the start to the code.
    pub(crate) whole: Duration,
    /// Between two things that the person does.
    pub(crate) step: Duration,
    /// Of the authorization code.
    pub(crate) code: Duration,
}

impl Lifetimes {
    /// When a sign-in that began at `start` ends if nothing happens after `now`.
    pub(crate) fn end(self, start: Timestamp, now: Timestamp) -> Timestamp {
        now.plus(self.step).min(start.plus(self.whole))
    }
}

/// A choice that the person cannot make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChoiceFault {
    /// A claim that was not asked for, or one that is needed and available is missing.
    Claim,
    /// A scope that was not asked for.
    Scope,
}

/// Checks what the person chose. Essential claims for which there is a value cannot be left
/// out one by one: who does not want to share them refuses the whole request.
pub(crate) fn check_choice(
    asked: &AskedClaims,
    available: impl Fn(&str) -> bool,
    accepted: &[String],
    permitted: &[String],
    authorize_scopes: &[String],
) -> Result<(), ChoiceFault> {
    let unasked = accepted.iter().any(|claim| !asked.includes(claim));
    let missing = asked
        .essential
        .iter()
        .any(|claim| available(claim) && !accepted.contains(claim));
    if unasked || missing {
        return Err(ChoiceFault::Claim);
    }
    if permitted
        .iter()
        .any(|scope| !authorize_scopes.contains(scope))
    {
        return Err(ChoiceFault::Scope);
    }
    Ok(())
}

/// How wrong codes are answered: so many, then a pause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptPolicy {
    /// Wrong codes before the pause.
    pub(crate) failures: i64,
    /// Length of the pause.
    pub(crate) freeze: Duration,
    /// Codes that may be sent within `window`.
    pub(crate) sends: i64,
    /// The span in which sends are counted.
    pub(crate) window: Duration,
}

/// Counts something within a window that starts with the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counter {
    pub(crate) count: i64,
    pub(crate) start: Timestamp,
    pub(crate) frozen_until: Option<Timestamp>,
}

impl Counter {
    /// A counter at nought.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            count: 0,
            start: now,
            frozen_until: None,
        }
    }

    /// Whether nothing is let through now.
    pub(crate) fn is_frozen(self, now: Timestamp) -> bool {
        self.frozen_until.is_some_and(|end| now < end)
    }

    /// The counter after one more wrong code.
    pub(crate) fn after_failure(self, policy: AttemptPolicy, now: Timestamp) -> Self {
        let thawed = self.frozen_until.is_some_and(|end| end <= now);
        let count = if thawed { 1 } else { self.count + 1 };
        let frozen_until = (count >= policy.failures).then(|| now.plus(policy.freeze));
        Self {
            count,
            start: if thawed { now } else { self.start },
            frozen_until,
        }
    }

    /// The counter after one more code is sent, or nothing if that is one too many.
    pub(crate) fn after_send(self, policy: AttemptPolicy, now: Timestamp) -> Option<Self> {
        let fresh = if now.since(self.start) >= policy.window {
            Self::new(now)
        } else {
            self
        };
        let next = Self {
            count: fresh.count + 1,
            ..fresh
        };
        (next.count <= policy.sends).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::SignInState as S;
    use super::*;

    const POLICY: AttemptPolicy = AttemptPolicy {
        failures: 3,
        freeze: Duration::from_mins(1),
        sends: 2,
        window: Duration::from_secs(30),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn only_these_steps_exist() {
        let states = S::NAMES.map(|(state, _)| state);
        let allowed: Vec<(S, S)> = states
            .iter()
            .flat_map(|from| states.iter().map(move |to| (*from, *to)))
            .filter(|(from, to)| from.may_become(*to))
            .collect();
        assert_eq!(
            allowed,
            [
                (S::New, S::Authenticated),
                (S::New, S::Denied),
                (S::Authenticated, S::CodeIssued),
                (S::Authenticated, S::Denied),
                (S::CodeIssued, S::Redeemed),
            ]
        );
        assert_eq!(S::of("redeemed"), Some(S::Redeemed));
    }

    #[test]
    fn steps_can_be_prolonged_and_the_whole_cannot() {
        let lifetimes = Lifetimes {
            whole: Duration::from_secs(100),
            step: Duration::from_secs(30),
            code: Duration::from_mins(1),
        };
        assert_eq!(lifetimes.end(at(0), at(10)), at(40));
        assert_eq!(lifetimes.end(at(0), at(90)), at(100));
    }

    #[test]
    fn wrong_codes_freeze_and_thaw() {
        let mut counter = Counter::new(at(0));
        for _ in 0..2 {
            counter = counter.after_failure(POLICY, at(1));
            assert!(!counter.is_frozen(at(1)));
        }
        counter = counter.after_failure(POLICY, at(2));
        assert!(counter.is_frozen(at(61)) && !counter.is_frozen(at(62)));
        let again = counter.after_failure(POLICY, at(62));
        assert_eq!((again.count, again.is_frozen(at(62))), (1, false));
    }

    #[test]
    fn sends_are_limited_in_their_window() {
        let first = Counter::new(at(0)).after_send(POLICY, at(0)).unwrap();
        let second = first.after_send(POLICY, at(29)).unwrap();
        assert_eq!(second.after_send(POLICY, at(29)), None);
        assert_eq!(second.after_send(POLICY, at(30)).unwrap().count, 1);
    }

    #[test]
    fn choices_stay_within_the_request() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let asked = AskedClaims {
            essential: words(&["name"]),
            voluntary: words(&["email"]),
            in_id_token: Vec::new(),
        };
        let choose = |accepted: &[&str], permitted: &[&str], known: bool| {
            check_choice(&asked, |_| known, &words(accepted), &words(permitted), &[])
        };
        assert_eq!(choose(&["name"], &[], true), Ok(()));
        assert_eq!(choose(&["name", "email"], &[], true), Ok(()));
        assert_eq!(choose(&["email"], &[], true), Err(ChoiceFault::Claim));
        assert_eq!(choose(&[], &[], false), Ok(()));
        assert_eq!(
            choose(&["name", "picture"], &[], true),
            Err(ChoiceFault::Claim)
        );
        assert_eq!(choose(&["name"], &["pay"], true), Err(ChoiceFault::Scope));
    }
}
