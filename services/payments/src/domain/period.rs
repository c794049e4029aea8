//! Accounting periods: their states, and the leaves over what accounts held at their end.

use crate::domain::ids::AccountId;
use crate::domain::ledger::Counters;
use crate::domain::merkle::{self, Hash};

/// States in the store. The two in the middle are one on the wire.
pub(crate) mod state {
    pub(crate) const OPEN: i64 = 1;
    /// Balances are being copied.
    pub(crate) const COPYING: i64 = 2;
    /// The tree over them is being built.
    pub(crate) const ADDING: i64 = 3;
    pub(crate) const CLOSED: i64 = 4;
}

/// Characters of a period's name.
const ID_CHARS: usize = 32;

/// Accounts that one step deals with. A power of two, so that the root over a page's leaves is an
/// exact subtree, and few enough that their locks are short.
pub(crate) const PAGE: i64 = 1_024;

/// Whether a text can name a period: it stands in paths and files.
pub(crate) fn is_name(text: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=ID_CHARS).contains(&text.len())
        && text.chars().all(sound)
        && text.chars().any(|c| c.is_ascii_alphanumeric())
}

/// What an account held at the end of a period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Balance<'a> {
    pub(crate) account_id: AccountId,
    pub(crate) code: &'a str,
    pub(crate) currency: &'a str,
    pub(crate) counters: Counters,
}

impl Balance<'_> {
    /// Its leaf in the tree of a period.
    pub(crate) fn leaf(&self, period_id: &str) -> Hash {
        let counters = [
            self.counters.debits_pending,
            self.counters.debits_posted,
            self.counters.credits_pending,
            self.counters.credits_posted,
        ];
        let [
            debits_pending,
            debits_posted,
            credits_pending,
            credits_posted,
        ] = counters.map(i64::to_be_bytes);
        merkle::leaf(&[
            period_id.as_bytes(),
            self.account_id.as_uuid().as_bytes(),
            self.code.as_bytes(),
            self.currency.as_bytes(),
            &debits_pending,
            &debits_posted,
            &credits_pending,
            &credits_posted,
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_fit_paths() {
        let longest = "x".repeat(32);
        for name in ["2026-05", "FY26.Q1", "a_b", "1", longest.as_str()] {
            assert!(is_name(name), "{name}");
        }
        let longer = "x".repeat(33);
        for name in ["", ".", "..", "-", "2026/05", "a b", "né", longer.as_str()] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn every_field_is_in_the_leaf() {
        let counters = Counters {
            debits_pending: 1,
            debits_posted: 2,
            credits_pending: 3,
            credits_posted: 4,
        };
        let balance = Balance {
            account_id: AccountId::of_code("a"),
            code: "a",
            currency: "USD",
            counters,
        };
        let with = |change: fn(&mut Counters)| {
            let mut changed = balance;
            change(&mut changed.counters);
            changed.leaf("p")
        };
        let other_id = Balance {
            account_id: AccountId::of_code("b"),
            ..balance
        };
        let leaves: BTreeSet<Hash> = [
            balance.leaf("p"),
            balance.leaf("q"),
            other_id.leaf("p"),
            Balance {
                code: "b",
                ..balance
            }
            .leaf("p"),
            Balance {
                currency: "EUR",
                ..balance
            }
            .leaf("p"),
            with(|c| c.debits_pending = 9),
            with(|c| c.debits_posted = 9),
            with(|c| c.credits_pending = 9),
            with(|c| c.credits_posted = 9),
            with(|c| std::mem::swap(&mut c.debits_posted, &mut c.credits_posted)),
        ]
        .into();
        assert_eq!(leaves.len(), 10);
    }
}
