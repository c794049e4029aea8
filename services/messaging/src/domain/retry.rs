//! When a message that was refused for the moment is tried again.

use std::time::Duration;

use super::counters::State;

/// After this long in the queue a message is given up (GovStack 5.1.24.2).
pub(crate) const LIFETIME: Duration = Duration::from_hours(24);

/// A greylisting receiver wants some minutes of patience.
const GREYLIST: Duration = Duration::from_mins(5);

const SCHEDULE: [Duration; 7] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
    Duration::from_hours(1),
    Duration::from_hours(2),
    Duration::from_hours(4),
];

/// How long to wait after an attempt, counted from 1.
///
/// `noise` spreads the retries of a batch by up to a fifth either way, so that a receiver that
/// was overloaded is not met by all of them at once.
pub(crate) fn pause(attempt: i64, greylisted: bool, noise: u8) -> Duration {
    let index = usize::try_from(attempt.max(1) - 1).unwrap_or(usize::MAX);
    let planned = SCHEDULE
        .get(index)
        .copied()
        .unwrap_or(SCHEDULE[SCHEDULE.len() - 1]);
    let spread = planned * u32::from(noise) / 255 * 2 / 5;
    let pause = planned * 4 / 5 + spread;
    if greylisted {
        pause.max(GREYLIST)
    } else {
        pause
    }
}

/// Whether a failure may be over once its cause is mended, so that an operator can have the
/// message sent again. What the recipient or the originator decided, or what cannot be written
/// at all, is not.
pub(crate) fn may_pass(state: State, reason: &str) -> bool {
    matches!(state, State::Bounced | State::NotSent)
        && matches!(
            reason,
            "expired"
                | "poison"
                | "unknown"
                | "signature_failed"
                | "address_needs_smtputf8"
                | "message_too_large"
                | "mailbox_full"
                | "no_route"
                | "refused"
                | "refused_by_policy"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_sent_again() {
        assert!(may_pass(State::Bounced, "refused_by_policy"));
        assert!(may_pass(State::NotSent, "expired"));
        assert!(!may_pass(State::Deferred, "refused"));
        for reason in [
            "no_such_mailbox",
            "cancelled",
            "suppressed",
            "missing_parameter",
        ] {
            assert!(!may_pass(State::Bounced, reason), "{reason}");
            assert!(!may_pass(State::NotSent, reason), "{reason}");
        }
    }

    #[test]
    fn pauses_grow_and_stay_within_a_fifth() {
        let mut last = Duration::ZERO;
        for attempt in 1..=12 {
            let middle = pause(attempt, false, 128);
            assert!(middle >= last);
            last = middle;
            for noise in [0, 1, 127, 254, 255] {
                let pause = pause(attempt, false, noise);
                let planned = SCHEDULE[usize::try_from(attempt.min(7) - 1).unwrap()];
                assert!(
                    pause >= planned * 4 / 5 && pause <= planned * 6 / 5,
                    "{pause:?}"
                );
            }
        }
    }

    #[test]
    fn greylisting_is_given_five_minutes() {
        assert!(pause(1, true, 0) >= GREYLIST);
        assert!(pause(0, false, 0) < GREYLIST);
    }
}
