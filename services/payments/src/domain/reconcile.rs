//! Holding a statement's lines against a payment, and what agreeing takes afterwards.

/// How statement and ledger disagree. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Missing = 1,
    Unexpected = 2,
    Differing = 3,
    Returned = 4,
}

impl Kind {
    pub(crate) const fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn of_code(code: i64) -> Option<Self> {
        let all = [
            Self::Missing,
            Self::Unexpected,
            Self::Differing,
            Self::Returned,
        ];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where an item stands. The numbers are those of the wire.
pub(crate) mod item {
    pub(crate) const OPEN: i64 = 1;
    pub(crate) const PROPOSED: i64 = 2;
    pub(crate) const RESOLVED: i64 = 3;
    pub(crate) const MATCHED_LATER: i64 = 4;
}

/// What is known of an instruction's place on statements: one byte in its chunk's marks.
pub(crate) mod mark {
    /// It is on no statement yet.
    pub(crate) const NONE: u8 = 0;
    /// It is on one.
    pub(crate) const MATCHED: u8 = 1;
    /// It was dealt with as an item.
    pub(crate) const ITEM: u8 = 2;
}

/// A payment of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paid {
    pub(crate) amount_minor: i64,
    /// Whether its outcome is that it was settled.
    pub(crate) settled: bool,
    pub(crate) mark: u8,
}

/// A line about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// Whether money went out.
    pub(crate) debit: bool,
    pub(crate) amount_minor: i64,
    /// Whether it is an open item already, from when nothing was known of the payment.
    pub(crate) known: bool,
}

/// What a line turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It agrees with the payment.
    Matched,
    /// It does not.
    Item(Kind),
    /// It stays what it is.
    Left,
}

/// What the lines about one payment turn out to be, in their order, and the payment's mark
/// afterwards.
pub(crate) fn judge(paid: Paid, lines: &[Line]) -> (Vec<Verdict>, u8) {
    let mut mark = paid.mark;
    let mut verdict = |line: &Line| {
        let first = paid.settled && mark == mark::NONE;
        match (line.debit, first) {
            (true, true) if line.amount_minor == paid.amount_minor => {
                mark = mark::MATCHED;
                Verdict::Matched
            }
            (true, true) if !line.known => {
                mark = mark::ITEM;
                Verdict::Item(Kind::Differing)
            }
            // Paid by the bank alone, or once too often.
            (true, _) if !line.known => Verdict::Item(Kind::Unexpected),
            (false, _) if !line.known => Verdict::Item(Kind::Returned),
            _ => Verdict::Left,
        }
    };
    let verdicts = lines.iter().map(&mut verdict).collect();
    (verdicts, mark)
}

/// Where money goes so that the ledger agrees with the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Out of settlement: to the programme that paid, or into suspense if it is not known.
    Back,
    /// From suspense to settlement.
    Out,
}

/// The posting that makes the ledger agree with the statement about an item.
pub(crate) fn posting(kind: Kind, expected_minor: i64, found_minor: i64) -> (Way, i64) {
    match kind {
        Kind::Missing => (Way::Back, expected_minor),
        Kind::Unexpected => (Way::Out, found_minor),
        Kind::Returned => (Way::Back, found_minor),
        Kind::Differing if found_minor > expected_minor => (Way::Out, found_minor - expected_minor),
        Kind::Differing => (Way::Back, expected_minor - found_minor),
    }
}

/// The days that ages are told by: from, and to, the last without an end.
pub(crate) const AGES: [(i32, i32); 5] = [(0, 1), (2, 7), (8, 30), (31, 90), (91, 0)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(debit: bool, amount_minor: i64) -> Line {
        Line {
            debit,
            amount_minor,
            known: false,
        }
    }

    fn paid(settled: bool, mark: u8) -> Paid {
        Paid {
            amount_minor: 100,
            settled,
            mark,
        }
    }

    #[test]
    fn lines_are_judged_in_order() {
        use Verdict::{Item, Left, Matched};
        let known = Line {
            known: true,
            ..line(true, 100)
        };
        let other = Line {
            known: true,
            ..line(true, 90)
        };
        for (paid, lines, verdicts, after) in [
            (paid(true, 0), vec![line(true, 100)], vec![Matched], 1),
            (paid(true, 0), vec![], vec![], 0),
            (
                paid(true, 0),
                vec![line(true, 90)],
                vec![Item(Kind::Differing)],
                2,
            ),
            // Paid twice.
            (
                paid(true, 0),
                vec![line(true, 100), line(true, 100)],
                vec![Matched, Item(Kind::Unexpected)],
                1,
            ),
            (
                paid(true, 1),
                vec![line(true, 100)],
                vec![Item(Kind::Unexpected)],
                1,
            ),
            // Paid, and come back.
            (
                paid(true, 0),
                vec![line(true, 100), line(false, 100)],
                vec![Matched, Item(Kind::Returned)],
                1,
            ),
            // The rail says that it was not paid, or does not know.
            (
                paid(false, 0),
                vec![line(true, 100)],
                vec![Item(Kind::Unexpected)],
                0,
            ),
            // What was unexpected is known by now; its amount still has to agree.
            (paid(true, 0), vec![known], vec![Matched], 1),
            (paid(true, 0), vec![other], vec![Left], 0),
            (paid(false, 0), vec![known], vec![Left], 0),
        ] {
            assert_eq!(judge(paid, &lines), (verdicts, after), "{paid:?} {lines:?}");
        }
    }

    proptest! {
        /// Whatever stands on a statement: once each item is posted, what settlement paid is what
        /// the statement shows.
        #[test]
        fn postings_make_ledger_and_statement_agree(
            amount in 1_i64..1_000,
            settled: bool,
            lines in prop::collection::vec((any::<bool>(), 1_i64..1_000), 0..6),
        ) {
            let paid = Paid { amount_minor: amount, settled, mark: mark::NONE };
            let given: Vec<Line> = lines.iter().map(|(out, minor)| line(*out, *minor)).collect();
            let (verdicts, after) = judge(paid, &given);
            let mut ledger = if settled { amount } else { 0 };
            let mut post = |kind, expected, found| match posting(kind, expected, found) {
                (Way::Out, minor) => ledger += minor,
                (Way::Back, minor) => ledger -= minor,
            };
            for (verdict, line) in verdicts.iter().zip(&given) {
                if let Verdict::Item(kind) = verdict {
                    let expected = if *kind == Kind::Differing { amount } else { 0 };
                    post(*kind, expected, line.amount_minor);
                }
            }
            if settled && after == mark::NONE {
                post(Kind::Missing, amount, 0);
            }
            let shown: i64 = given
                .iter()
                .map(|line| if line.debit { line.amount_minor } else { -line.amount_minor })
                .sum();
            prop_assert_eq!(ledger, shown);
        }
    }
}
