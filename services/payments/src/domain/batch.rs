//! A batch's life, and the digest that its approvers sign for.

use crate::domain::ids::BatchId;
use crate::domain::merkle::{Hash, digest_of};

/// Where a batch stands. The numbers are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Received = 1,
    Rejected = 2,
    PendingApproval = 3,
    Approved = 4,
    Declined = 5,
    FundsRefused = 6,
    FundsReserved = 7,
    Dispatching = 8,
    InProgress = 9,
    Completed = 10,
    PartiallyCompleted = 11,
    Failed = 12,
    Cancelled = 13,
    Paused = 14,
    Authorising = 15,
}

const STATES: [State; 15] = [
    State::Received,
    State::Rejected,
    State::PendingApproval,
    State::Approved,
    State::Declined,
    State::FundsRefused,
    State::FundsReserved,
    State::Dispatching,
    State::InProgress,
    State::Completed,
    State::PartiallyCompleted,
    State::Failed,
    State::Cancelled,
    State::Paused,
    State::Authorising,
];

impl State {
    pub(crate) const fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn of_code(code: i64) -> Option<Self> {
        STATES.into_iter().find(|state| state.code() == code)
    }

    /// The name in messages and in the journal.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Rejected => "rejected",
            Self::PendingApproval => "pending_approval",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::FundsRefused => "funds_refused",
            Self::FundsReserved => "funds_reserved",
            Self::Dispatching => "dispatching",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::PartiallyCompleted => "partially_completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
            Self::Authorising => "authorising",
        }
    }

    /// True if `next` may follow.
    pub(crate) const fn may_become(self, next: Self) -> bool {
        use State as S;
        match self {
            S::Received => matches!(next, S::Rejected | S::PendingApproval | S::Cancelled),
            S::PendingApproval => matches!(next, S::Approved | S::Declined | S::Cancelled),
            S::Approved => matches!(
                next,
                S::Authorising | S::FundsReserved | S::FundsRefused | S::Cancelled
            ),
            S::Authorising => {
                matches!(next, S::FundsReserved | S::FundsRefused | S::Cancelled)
            }
            S::FundsRefused => matches!(next, S::Approved | S::Cancelled),
            S::FundsReserved => matches!(next, S::Dispatching | S::Cancelled),
            S::Dispatching => matches!(next, S::InProgress | S::Paused),
            S::Paused => matches!(next, S::Dispatching),
            S::InProgress => matches!(next, S::Completed | S::PartiallyCompleted | S::Failed),
            S::Rejected
            | S::Declined
            | S::Completed
            | S::PartiallyCompleted
            | S::Failed
            | S::Cancelled => false,
        }
    }
}

/// Where a chunk stands; it only moves forward.
pub(crate) mod chunk {
    /// Rows are stored.
    pub(crate) const STORED: i64 = 0;
    /// Its part of the hold is posted to institutions.
    pub(crate) const POSTED: i64 = 1;
    /// Its intent to send is on record: from here on, never send without asking first.
    pub(crate) const INTENT: i64 = 2;
    /// The rails have all of it.
    pub(crate) const SENT: i64 = 3;
    /// Outcomes are on record and their money has moved.
    pub(crate) const SETTLED: i64 = 4;
    /// Vouchers in place of failures are issued.
    pub(crate) const DONE: i64 = 5;
}

/// A sum over instructions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) institution: String,
    pub(crate) verdict: i64,
    pub(crate) item_count: i64,
    pub(crate) amount_minor: i64,
}

/// What approvers sign for: who pays, every row, and the sums.
pub(crate) struct Content<'a> {
    pub(crate) batch_id: BatchId,
    pub(crate) source_id: &'a str,
    pub(crate) source_batch: &'a str,
    pub(crate) programme: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) row_count: i64,
    pub(crate) root: &'a Hash,
    /// In order of institution and verdict.
    pub(crate) totals: &'a [Total],
}

impl Content<'_> {
    pub(crate) fn digest(&self) -> Hash {
        let id = self.batch_id.as_uuid();
        let count = self.row_count.to_be_bytes();
        let mut totals = Vec::new();
        for total in self.totals {
            let numbers = [
                total.verdict.to_be_bytes(),
                total.item_count.to_be_bytes(),
                total.amount_minor.to_be_bytes(),
            ];
            totals.extend_from_slice(&digest_of(&[
                total.institution.as_bytes(),
                &numbers.concat(),
            ]));
        }
        digest_of(&[
            b"publica.payments.batch.v1",
            id.as_bytes(),
            self.source_id.as_bytes(),
            self.source_batch.as_bytes(),
            self.programme.as_bytes(),
            self.currency.as_bytes(),
            &count,
            self.root,
            &totals,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_back_and_final_ones_stay() {
        for state in STATES {
            assert_eq!(State::of_code(state.code()), Some(state));
            let leads_on = STATES.into_iter().any(|next| state.may_become(next));
            let last = matches!(
                state,
                State::Rejected
                    | State::Declined
                    | State::Completed
                    | State::PartiallyCompleted
                    | State::Failed
                    | State::Cancelled
            );
            assert_eq!(leads_on, !last, "{state:?}");
        }
        assert_eq!(State::of_code(0), None);
    }

    #[test]
    fn cancelling_ends_where_sending_begins() {
        for state in STATES {
            let before = matches!(
                state,
                State::Received
                    | State::PendingApproval
                    | State::Approved
                    | State::Authorising
                    | State::FundsRefused
                    | State::FundsReserved
            );
            assert_eq!(state.may_become(State::Cancelled), before, "{state:?}");
        }
    }

    #[test]
    fn every_part_of_the_content_changes_the_digest() {
        let totals = [Total {
            institution: "BANK".into(),
            verdict: 0,
            item_count: 2,
            amount_minor: 9,
        }];
        let other = [Total {
            amount_minor: 10,
            ..totals[0].clone()
        }];
        let content = |source_id, root, totals| {
            Content {
                batch_id: BatchId::from_uuid(crate::domain::ids::named("batch", b"1")),
                source_id,
                source_batch: "BATCH0000001",
                programme: "CASH",
                currency: "USD",
                row_count: 2,
                root,
                totals,
            }
            .digest()
        };
        let base = content("SOURCE000001", &[1; 32], &totals);
        assert_eq!(base, content("SOURCE000001", &[1; 32], &totals));
        assert_ne!(base, content("SOURCE000002", &[1; 32], &totals));
        assert_ne!(base, content("SOURCE000001", &[2; 32], &totals));
        assert_ne!(base, content("SOURCE000001", &[1; 32], &other));
    }
}
