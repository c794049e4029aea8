//! Vouchers: states, numbers, and the order in which a request is checked.

use publica_types::{Entropy, Timestamp};

/// The state of a voucher. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    NotPreactivated = 1,
    Preactivated = 2,
    Activated = 3,
    Suspended = 4,
    Blocked = 5,
    Purged = 6,
    Consumed = 7,
    Expired = 8,
    Cancelled = 9,
}

const STATES: [State; 9] = [
    State::NotPreactivated,
    State::Preactivated,
    State::Activated,
    State::Suspended,
    State::Blocked,
    State::Purged,
    State::Consumed,
    State::Expired,
    State::Cancelled,
];

impl State {
    pub(crate) const fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn of_code(code: i64) -> Option<Self> {
        STATES.into_iter().find(|state| state.code() == code)
    }

    /// The published spelling, and ours for the states that the published list lacks.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotPreactivated => "Not Pre-Activated",
            Self::Preactivated => "Pre-Activated",
            Self::Activated => "Activated",
            Self::Suspended => "Suspended",
            Self::Blocked => "Blocked",
            Self::Purged => "Purged",
            Self::Consumed => "Consumed",
            Self::Expired => "Expired",
            Self::Cancelled => "Cancelled",
        }
    }

    /// Reads either spelling.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        STATES.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a request needs to know about a voucher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Voucher {
    pub(crate) state: State,
    pub(crate) calling_block: String,
    pub(crate) voucher_group: String,
    /// When the hold of a pre-activated one ends.
    pub(crate) hold_until: Option<Timestamp>,
    /// When an activated one ends.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Voucher {
    /// The state now: time ends a voucher without anybody writing it down. The moment of
    /// expiry itself counts as expired.
    pub(crate) fn state_at(&self, now: Timestamp) -> State {
        let end = match self.state {
            State::Preactivated => self.hold_until,
            State::Activated | State::Suspended => self.expires_at,
            _ => None,
        };
        if end.is_some_and(|end| now >= end) {
            State::Expired
        } else {
            self.state
        }
    }
}

/// Why a request about a voucher is refused. Each has a status of its own on the published
/// interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the voucher amount is invalid")]
    AmountInvalid,
    #[error("the voucher currency is invalid")]
    CurrencyInvalid,
    #[error("the voucher group is not known")]
    GroupUnknown,
    #[error("the voucher group is exhausted")]
    GroupExhausted,
    #[error("the voucher serial number is invalid")]
    SerialInvalid,
    #[error("the voucher has been used")]
    Consumed,
    #[error("the voucher has expired")]
    Expired,
    #[error("the calling building block is not known")]
    CallingBlockUnknown,
    #[error("the voucher number is invalid")]
    NumberInvalid,
    #[error("the voucher may not be used for this voucher group")]
    GroupMismatch,
    #[error("the funding account does not cover the voucher")]
    FundsShort,
    #[error("the merchant cannot be credited")]
    MerchantRefused,
    #[error("the voucher cannot be cancelled: {0}")]
    NotCancellable(&'static str),
    #[error("the voucher has been cancelled before")]
    AlreadyCancelled,
}

/// True for digits and nothing else.
pub(crate) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// May this block activate the voucher? `Ok(false)` when it is active already.
pub(crate) fn activate(
    voucher: &Voucher,
    calling_block: &str,
    now: Timestamp,
) -> Result<bool, Refusal> {
    if voucher.calling_block != calling_block {
        return Err(Refusal::SerialInvalid);
    }
    match voucher.state_at(now) {
        State::Preactivated => Ok(true),
        State::Activated => Ok(false),
        _ => Err(Refusal::SerialInvalid),
    }
}

/// May the voucher be taken by a merchant of this group? Funds and merchant come before.
pub(crate) fn redeem(
    voucher: &Voucher,
    merchant_group: &str,
    ignore_group: bool,
    now: Timestamp,
) -> Result<(), Refusal> {
    match voucher.state_at(now) {
        State::Activated => {}
        State::Consumed => return Err(Refusal::Consumed),
        State::Expired => return Err(Refusal::Expired),
        _ => return Err(Refusal::NumberInvalid),
    }
    if voucher.voucher_group != merchant_group && !ignore_group {
        return Err(Refusal::GroupMismatch);
    }
    Ok(())
}

/// May this block cancel the voucher?
pub(crate) fn cancel(
    voucher: &Voucher,
    calling_block: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    if voucher.calling_block != calling_block {
        return Err(Refusal::NotCancellable(
            "it was issued by another building block",
        ));
    }
    match voucher.state_at(now) {
        State::NotPreactivated | State::Preactivated | State::Activated | State::Blocked => Ok(()),
        State::Cancelled => Err(Refusal::AlreadyCancelled),
        State::Consumed => Err(Refusal::NotCancellable("it has been used")),
        State::Expired => Err(Refusal::NotCancellable("it has expired")),
        State::Suspended => Err(Refusal::NotCancellable("it is suspended")),
        State::Purged => Err(Refusal::NotCancellable("it no longer exists")),
    }
}

/// The first number and serial: 16 digits without a leading zero.
pub(crate) const FIRST_NUMBER: u64 = 1_000_000_000_000_000;
/// One beyond the last number: clients that hold numbers as doubles still read it exactly.
pub(crate) const END_NUMBER: u64 = 9_000_000_000_000_000;

/// A fresh voucher number. Drawing again until the draw is in range keeps all equally likely.
pub(crate) fn fresh_number(entropy: &dyn Entropy) -> String {
    const BITS: u32 = 53;
    loop {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes);
        let drawn = u64::from_be_bytes(bytes) >> (64 - BITS);
        if (FIRST_NUMBER..END_NUMBER).contains(&drawn) {
            return drawn.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use publica_types::SystemEntropy;

    use super::*;

    const fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn voucher(state: State) -> Voucher {
        Voucher {
            state,
            calling_block: "BB".to_owned(),
            voucher_group: "FOOD".to_owned(),
            hold_until: Some(at(100)),
            expires_at: Some(at(100)),
        }
    }

    #[test]
    fn states_are_read_back() {
        for state in STATES {
            assert_eq!(State::of_code(state.code()), Some(state));
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("activated"), None);
    }

    #[test]
    fn the_moment_of_expiry_is_too_late() {
        for state in [State::Preactivated, State::Activated] {
            assert_eq!(voucher(state).state_at(at(99)), state);
            assert_eq!(voucher(state).state_at(at(100)), State::Expired);
        }
        assert_eq!(voucher(State::Consumed).state_at(at(100)), State::Consumed);
    }

    #[test]
    fn activation() {
        let now = at(1);
        assert_eq!(activate(&voucher(State::Preactivated), "BB", now), Ok(true));
        assert_eq!(activate(&voucher(State::Activated), "BB", now), Ok(false));
        for state in [
            State::Suspended,
            State::Cancelled,
            State::Consumed,
            State::Purged,
        ] {
            assert_eq!(
                activate(&voucher(state), "BB", now),
                Err(Refusal::SerialInvalid)
            );
        }
        let other = activate(&voucher(State::Preactivated), "OTHER", now);
        assert_eq!(other, Err(Refusal::SerialInvalid));
        let late = activate(&voucher(State::Preactivated), "BB", at(100));
        assert_eq!(late, Err(Refusal::SerialInvalid));
    }

    #[test]
    fn redemption() {
        let now = at(1);
        for (state, group, ignore, expected) in [
            (State::Activated, "FOOD", false, Ok(())),
            (State::Activated, "FUEL", false, Err(Refusal::GroupMismatch)),
            (State::Activated, "FUEL", true, Ok(())),
            (State::Consumed, "FOOD", true, Err(Refusal::Consumed)),
            (State::Expired, "FOOD", true, Err(Refusal::Expired)),
            (
                State::Preactivated,
                "FOOD",
                true,
                Err(Refusal::NumberInvalid),
            ),
            (State::Suspended, "FOOD", true, Err(Refusal::NumberInvalid)),
            (State::Blocked, "FOOD", true, Err(Refusal::NumberInvalid)),
        ] {
            let voucher = voucher(state);
            assert_eq!(
                redeem(&voucher, group, ignore, now),
                expected,
                "{state:?} {group}"
            );
        }
    }

    #[test]
    fn cancellation() {
        let now = at(1);
        for state in [State::Preactivated, State::Activated, State::Blocked] {
            assert_eq!(cancel(&voucher(state), "BB", now), Ok(()));
        }
        assert_eq!(
            cancel(&voucher(State::Cancelled), "BB", now),
            Err(Refusal::AlreadyCancelled)
        );
        for state in [
            State::Consumed,
            State::Expired,
            State::Suspended,
            State::Purged,
        ] {
            let refused = cancel(&voucher(state), "BB", now);
            assert!(
                matches!(refused, Err(Refusal::NotCancellable(_))),
                "{state:?}"
            );
        }
        let other = cancel(&voucher(State::Activated), "OTHER", now);
        assert!(matches!(other, Err(Refusal::NotCancellable(_))));
    }

    #[test]
    fn numbers_have_sixteen_digits_and_no_leading_zero() {
        for _ in 0..1_000 {
            let number = fresh_number(&SystemEntropy);
            assert!(
                number.len() == 16 && digits(&number) && !number.starts_with('0'),
                "{number}"
            );
            assert!(number.parse::<u64>().unwrap() < 1 << 53);
        }
        for bad in ["", "12a", "١٢", "-1", " 1"] {
            assert!(!digits(bad), "{bad}");
        }
    }
}
