//! What became of the instructions of a chunk: one byte each, which only moves forward.

/// What is known about an instruction that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    None,
    Unknown,
    Settled,
    Rejected,
    Returned,
    Voucher,
}

impl Outcome {
    pub(crate) const fn byte(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Unknown => 1,
            Self::Settled => 2,
            Self::Rejected => 3,
            Self::Returned => 4,
            Self::Voucher => 5,
        }
    }

    pub(crate) const fn of_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Unknown,
            2 => Self::Settled,
            3 => Self::Rejected,
            4 => Self::Returned,
            5 => Self::Voucher,
            _ => Self::None,
        }
    }

    /// True if `next` may follow: nothing that is settled can be unknown again.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        match self {
            Self::None => !matches!(next, Self::None),
            Self::Unknown => matches!(next, Self::Settled | Self::Rejected),
            Self::Settled => matches!(next, Self::Returned),
            Self::Rejected | Self::Returned => matches!(next, Self::Voucher),
            Self::Voucher => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Outcome; 6] = [
        Outcome::None,
        Outcome::Unknown,
        Outcome::Settled,
        Outcome::Rejected,
        Outcome::Returned,
        Outcome::Voucher,
    ];

    #[test]
    fn bytes_are_read_back() {
        for outcome in ALL {
            assert_eq!(Outcome::of_byte(outcome.byte()), outcome);
        }
    }

    #[test]
    fn there_is_no_way_back() {
        for from in ALL {
            for to in ALL {
                assert!(
                    !(from.may_become(to) && to.may_become(from)),
                    "{from:?} {to:?}"
                );
            }
            assert!(!from.may_become(Outcome::None));
        }
        assert!(
            !Outcome::Rejected.may_become(Outcome::Settled),
            "money went back already"
        );
    }
}
