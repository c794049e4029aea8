//! Double entry: what a transfer does to two accounts, and when it is refused.
//!
//! An account keeps four counters; its balance is posted credits less posted debits. Money held
//! counts against the floor of the debit side at once, and on the credit side only when posted.

use std::collections::BTreeMap;

use publica_types::{Currency, Timestamp};

use crate::domain::ids::{AccountId, TransferId};

/// The counters of an account, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) debits_pending: i64,
    pub(crate) debits_posted: i64,
    pub(crate) credits_pending: i64,
    pub(crate) credits_posted: i64,
}

impl Counters {
    /// What may still be debited before the balance is zero.
    pub(crate) const fn available(&self) -> i64 {
        self.credits_posted
            .saturating_sub(self.debits_posted)
            .saturating_sub(self.debits_pending)
    }
}

/// An account as a group of transfers finds it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) account_id: AccountId,
    pub(crate) currency: Currency,
    pub(crate) floor: Option<i64>,
    pub(crate) closed: bool,
    pub(crate) counters: Counters,
    pub(crate) version: i64,
    pub(crate) moved_at: Timestamp,
    /// The end of the last accounting period that has its balance.
    pub(crate) closed_to: Option<Timestamp>,
}

/// How a transfer acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Moves money at once.
    Posted,
    /// Holds money.
    Pending { expires_at: Option<Timestamp> },
    /// Ends a hold of `held` by moving the transfer's amount; the rest is released.
    Post { pending: TransferId, held: i64 },
    /// Ends a hold by giving all of it back.
    Void { pending: TransferId },
}

impl Action {
    /// The number that stands for it in the store.
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Posted => 0,
            Self::Pending { .. } => 1,
            Self::Post { .. } => 2,
            Self::Void { .. } => 3,
        }
    }

    /// The hold that it ends.
    pub(crate) const fn pending(self) -> Option<TransferId> {
        match self {
            Self::Post { pending, .. } | Self::Void { pending } => Some(pending),
            Self::Posted | Self::Pending { .. } => None,
        }
    }
}

/// A transfer to be made.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) debit: AccountId,
    pub(crate) credit: AccountId,
    pub(crate) amount_minor: i64,
    pub(crate) action: Action,
    pub(crate) reason: String,
}

/// Why the ledger does not make a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no such account")]
    UnknownAccount,
    #[error("a transfer needs two different accounts")]
    SameAccount,
    #[error("the amount must be above zero")]
    AmountNotPositive,
    #[error("the accounts have different currencies")]
    CurrencyMismatch,
    #[error("the account is closed")]
    AccountClosed,
    #[error("the debited account would fall below its floor")]
    FundsShort,
    #[error("a counter would exceed 64 bits")]
    CounterOverflow,
    #[error("more cannot be posted than was held")]
    MoreThanHeld,
    #[error("there is no such hold")]
    UnknownPending,
    #[error("the hold has ended already")]
    AlreadyResolved,
    #[error("the accounting period of that moment is closed")]
    PeriodClosed,
}

/// The locked accounts of one group, changed in memory and written once.
#[derive(Debug, Default)]
pub(crate) struct Books {
    accounts: BTreeMap<AccountId, Account>,
    touched: BTreeMap<AccountId, Counters>,
}

impl Books {
    /// Opens the books on accounts that nobody else can move meanwhile.
    pub(crate) fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        let accounts = accounts
            .into_iter()
            .map(|account| (account.account_id, account))
            .collect();
        Self {
            accounts,
            touched: BTreeMap::new(),
        }
    }

    /// The currency of an account.
    pub(crate) fn currency(&self, account: AccountId) -> Option<Currency> {
        self.accounts.get(&account).map(|account| account.currency)
    }

    /// One time for all that the group does: not before any of its accounts last moved, nor
    /// inside a period that has its balance. So it is monotone for each account, whatever the
    /// clocks of several replicas say, and both sides of a transfer are in one period.
    pub(crate) fn time(&self, now: Timestamp) -> Timestamp {
        let accounts = self.accounts.values();
        let earliest = accounts.map(|account| {
            account
                .closed_to
                .map_or(account.moved_at, |end| end.max(account.moved_at))
        });
        earliest.fold(now, Timestamp::max)
    }

    /// Whether a transfer may take effect in the past.
    pub(crate) fn effective(
        &self,
        transfer: &Transfer,
        effective_at: Timestamp,
    ) -> Result<(), Refusal> {
        let sides = [transfer.debit, transfer.credit];
        let mut accounts = sides.iter().filter_map(|side| self.accounts.get(side));
        match accounts.any(|account| account.closed_to.is_some_and(|end| effective_at < end)) {
            true => Err(Refusal::PeriodClosed),
            false => Ok(()),
        }
    }

    /// Applies a transfer, or refuses it and leaves everything as it was.
    pub(crate) fn apply(&mut self, transfer: &Transfer) -> Result<(), Refusal> {
        if transfer.debit == transfer.credit {
            return Err(Refusal::SameAccount);
        }
        if transfer.amount_minor <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        let debit = self
            .accounts
            .get(&transfer.debit)
            .ok_or(Refusal::UnknownAccount)?;
        let credit = self
            .accounts
            .get(&transfer.credit)
            .ok_or(Refusal::UnknownAccount)?;
        if debit.currency != credit.currency {
            return Err(Refusal::CurrencyMismatch);
        }
        // Ending a hold must work on a closed account, or its money would be stuck.
        let ends = transfer.action.pending().is_some();
        if !ends && (debit.closed || credit.closed) {
            return Err(Refusal::AccountClosed);
        }
        let (debited, credited) = moved(transfer, debit.counters, credit.counters)?;
        let floor = debit.floor;
        if !ends && floor.is_some_and(|floor| debited.available() < floor) {
            return Err(Refusal::FundsShort);
        }
        self.touch(transfer.debit, debited);
        self.touch(transfer.credit, credited);
        Ok(())
    }

    fn touch(&mut self, account: AccountId, counters: Counters) {
        if let Some(entry) = self.accounts.get_mut(&account) {
            entry.counters = counters;
            self.touched.insert(account, counters);
        }
    }

    /// The accounts that moved, each once, with the version and time that follow.
    pub(crate) fn moved(&self, now: Timestamp) -> Vec<Account> {
        let moved_at = self.time(now);
        let ids = self.touched.keys();
        let accounts = ids.filter_map(|id| self.accounts.get(id));
        accounts
            .map(|account| Account {
                version: account.version + 1,
                moved_at,
                ..account.clone()
            })
            .collect()
    }
}

fn moved(
    transfer: &Transfer,
    mut debit: Counters,
    mut credit: Counters,
) -> Result<(Counters, Counters), Refusal> {
    let amount = transfer.amount_minor;
    match transfer.action {
        Action::Posted => {
            add(&mut debit.debits_posted, amount)?;
            add(&mut credit.credits_posted, amount)?;
        }
        Action::Pending { .. } => {
            add(&mut debit.debits_pending, amount)?;
            add(&mut credit.credits_pending, amount)?;
        }
        Action::Post { held, .. } => {
            if amount > held {
                return Err(Refusal::MoreThanHeld);
            }
            debit.debits_pending -= held;
            credit.credits_pending -= held;
            add(&mut debit.debits_posted, amount)?;
            add(&mut credit.credits_posted, amount)?;
        }
        Action::Void { .. } => {
            debit.debits_pending -= amount;
            credit.credits_pending -= amount;
        }
    }
    Ok((debit, credit))
}

fn add(counter: &mut i64, amount: i64) -> Result<(), Refusal> {
    *counter = counter
        .checked_add(amount)
        .ok_or(Refusal::CounterOverflow)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> AccountId {
        AccountId::of_code(name)
    }

    fn account(name: &str, currency: &str, floor: Option<i64>, credits_posted: i64) -> Account {
        Account {
            account_id: id(name),
            currency: currency.parse().unwrap(),
            floor,
            closed: false,
            counters: Counters {
                credits_posted,
                ..Counters::default()
            },
            version: 3,
            moved_at: Timestamp::from_micros(50),
            closed_to: None,
        }
    }

    fn books() -> Books {
        let mut closed = account("closed", "USD", None, 0);
        closed.closed = true;
        Books::new([
            account("fund", "USD", Some(0), 100),
            account("bank", "USD", None, 0),
            account("euro", "EUR", None, 0),
            account("full", "USD", None, i64::MAX),
            closed,
        ])
    }

    fn transfer(debit: &str, credit: &str, amount_minor: i64, action: Action) -> Transfer {
        let reason = String::new();
        Transfer {
            debit: id(debit),
            credit: id(credit),
            amount_minor,
            action,
            reason,
        }
    }

    fn hold() -> TransferId {
        TransferId::from_uuid(crate::domain::ids::named("test", b"hold"))
    }

    #[test]
    fn refusals_change_nothing() {
        let posted = Action::Posted;
        let post = Action::Post {
            pending: hold(),
            held: 5,
        };
        for (debit, credit, amount, action, refusal) in [
            ("fund", "fund", 1, posted, Refusal::SameAccount),
            ("fund", "bank", 0, posted, Refusal::AmountNotPositive),
            ("fund", "bank", -1, posted, Refusal::AmountNotPositive),
            ("fund", "none", 1, posted, Refusal::UnknownAccount),
            ("fund", "euro", 1, posted, Refusal::CurrencyMismatch),
            ("fund", "closed", 1, posted, Refusal::AccountClosed),
            ("fund", "bank", 101, posted, Refusal::FundsShort),
            (
                "fund",
                "bank",
                101,
                Action::Pending { expires_at: None },
                Refusal::FundsShort,
            ),
            ("bank", "full", 1, posted, Refusal::CounterOverflow),
            ("fund", "bank", 6, post, Refusal::MoreThanHeld),
        ] {
            let mut books = books();
            let made = books.apply(&transfer(debit, credit, amount, action));
            assert_eq!(made, Err(refusal), "{debit} {credit} {amount}");
            assert!(books.moved(Timestamp::EPOCH).is_empty());
        }
    }

    #[test]
    fn a_hold_counts_at_once_and_ends_in_part() {
        let mut books = books();
        let held = Action::Pending { expires_at: None };
        books.apply(&transfer("fund", "bank", 80, held)).unwrap();
        let short = books.apply(&transfer("fund", "bank", 21, Action::Posted));
        assert_eq!(short, Err(Refusal::FundsShort));
        let part = Action::Post {
            pending: hold(),
            held: 80,
        };
        books.apply(&transfer("fund", "bank", 30, part)).unwrap();
        books
            .apply(&transfer("fund", "bank", 70, Action::Posted))
            .unwrap();
        let moved = books.moved(Timestamp::from_micros(10));
        let fund = moved
            .iter()
            .find(|account| account.account_id == id("fund"))
            .unwrap();
        assert_eq!(
            (fund.counters.debits_pending, fund.counters.debits_posted),
            (0, 100)
        );
        assert_eq!(fund.version, 4);
        assert_eq!(
            fund.moved_at,
            Timestamp::from_micros(50),
            "time never goes back"
        );
    }

    #[test]
    fn nothing_moves_inside_a_period_that_has_a_balance() {
        let mut fund = account("fund", "USD", Some(0), 100);
        fund.closed_to = Some(Timestamp::from_micros(80));
        let mut books = Books::new([fund, account("bank", "USD", None, 0)]);
        let posted = transfer("fund", "bank", 1, Action::Posted);
        books.apply(&posted).unwrap();
        // Both sides, though the balance of one alone was copied.
        let moved = books.moved(Timestamp::from_micros(60));
        assert_eq!(moved.len(), 2);
        let end = Timestamp::from_micros(80);
        assert!(moved.iter().all(|account| account.moved_at == end));
        for (effective, answer) in [(79, Err(Refusal::PeriodClosed)), (80, Ok(()))] {
            let effective = Timestamp::from_micros(effective);
            assert_eq!(books.effective(&posted, effective), answer);
            let other = transfer("bank", "fund", 1, Action::Posted);
            assert_eq!(books.effective(&other, effective), answer);
        }
    }

    #[test]
    fn a_void_gives_everything_back() {
        let mut books = books();
        let held = Action::Pending { expires_at: None };
        books.apply(&transfer("fund", "bank", 100, held)).unwrap();
        books
            .apply(&transfer(
                "fund",
                "bank",
                100,
                Action::Void { pending: hold() },
            ))
            .unwrap();
        let moved = books.moved(Timestamp::EPOCH);
        assert!(
            moved
                .iter()
                .all(|account| account.counters.debits_pending == 0)
        );
        assert!(
            moved
                .iter()
                .all(|account| account.counters.debits_posted == 0)
        );
    }

    proptest! {
        #[test]
        fn debits_equal_credits_and_the_floor_holds(
            steps in prop::collection::vec(
                (0_usize..3, 0_usize..3, -2_i64..60, any::<bool>()), 0..60),
        ) {
            let names = ["fund", "bank", "euro"];
            let mut books = books();
            for (debit, credit, amount, pending) in steps {
                let action = match pending {
                    true => Action::Pending { expires_at: None },
                    false => Action::Posted,
                };
                let _ = books.apply(&transfer(names[debit], names[credit], amount, action));
            }
            let moved = books.moved(Timestamp::EPOCH);
            let sum = |pick: fn(&Counters) -> i64| -> i64 {
                moved.iter().map(|account| pick(&account.counters)).sum()
            };
            let opening = i64::from(moved.iter().any(|a| a.account_id == id("fund"))) * 100;
            prop_assert_eq!(sum(|c| c.debits_posted) + opening, sum(|c| c.credits_posted));
            prop_assert_eq!(sum(|c| c.debits_pending), sum(|c| c.credits_pending));
            for account in &moved {
                prop_assert!(account.floor.is_none_or(|f| account.counters.available() >= f));
            }
        }
    }
}
