//! The six counters of a request.

/// What a message counts as. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Scheduled = 0,
    Processing = 1,
    Deferred = 2,
    Bounced = 3,
    NotSent = 4,
    Delivered = 5,
}

impl State {
    pub(crate) const ALL: [Self; 6] = [
        Self::Scheduled,
        Self::Processing,
        Self::Deferred,
        Self::Bounced,
        Self::NotSent,
        Self::Delivered,
    ];

    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Processing => "processing",
            Self::Deferred => "deferred",
            Self::Bounced => "bounced",
            Self::NotSent => "not_sent",
            Self::Delivered => "delivered",
        }
    }
}

/// Numbers of messages a state; also used for changes, which then sum to zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counters(pub(crate) [i64; 6]);

impl Counters {
    /// All messages of a request in one state.
    pub(crate) fn all_in(state: State, count: i64) -> Self {
        let mut counters = Self::default();
        counters.0[state as usize] = count;
        counters
    }

    pub(crate) fn of(&self, state: State) -> i64 {
        self.0[state as usize]
    }

    /// Counts `count` messages out of one state and into another.
    pub(crate) fn shift(&mut self, from: State, to: State, count: i64) {
        self.0[from as usize] -= count;
        self.0[to as usize] += count;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    pub(crate) fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.of(State::Scheduled) + self.of(State::Processing) + self.of(State::Deferred) == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_states_agree() {
        for state in State::ALL {
            assert_eq!(State::from_number(state.number()), Some(state));
        }
        assert_eq!(State::from_number(6), None);
    }

    proptest! {
        #[test]
        fn shifting_never_changes_the_sum(
            n in 0_i64..1_000_000,
            steps in proptest::collection::vec((0_usize..6, 0_usize..6, 0_i64..1_000), 0..50),
        ) {
            let mut counters = Counters::all_in(State::Scheduled, n);
            let mut changes = Counters::default();
            for (from, to, count) in steps {
                changes.shift(State::ALL[from], State::ALL[to], count);
                prop_assert_eq!(changes.total(), 0);
            }
            counters.add(&changes);
            prop_assert_eq!(counters.total(), n);
        }
    }

    #[test]
    fn complete_means_nothing_is_open() {
        let mut counters = Counters::all_in(State::Processing, 2);
        counters.shift(State::Processing, State::Delivered, 1);
        assert!(!counters.is_complete());
        counters.shift(State::Processing, State::Bounced, 1);
        assert!(counters.is_complete());
    }
}
