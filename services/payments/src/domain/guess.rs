//! Wrong voucher numbers, counted by caller: a number is as good as money, so nobody may try many.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use publica_types::Timestamp;

/// Wrong numbers within a window, after which a caller is locked out until it ends.
const MOST: u32 = 50;
const WINDOW: Duration = Duration::from_mins(10);
/// Callers remembered at a time.
const CALLERS: usize = 10_000;

/// Counts of this process. They are lost when it ends, which gives a guesser nothing: numbers
/// have sixteen random digits.
#[derive(Debug, Default)]
pub(crate) struct Guesses(Mutex<HashMap<String, Count>>);

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Timestamp,
    wrong: u32,
}

impl Count {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.since) >= WINDOW
    }
}

impl Guesses {
    /// Whether a caller has tried too many wrong numbers lately.
    pub(crate) fn is_locked(&self, caller: &str, now: Timestamp) -> bool {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .get(caller)
            .is_some_and(|count| count.wrong >= MOST && !count.is_over(now))
    }

    /// Counts a wrong number; true if it was the one that locks the caller out.
    pub(crate) fn count_wrong(&self, caller: &str, now: Timestamp) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= CALLERS {
            counts.retain(|_, count| !count.is_over(now));
        }
        let fresh = Count {
            since: now,
            wrong: 0,
        };
        let count = counts.entry(caller.to_owned()).or_insert(fresh);
        if count.is_over(now) {
            *count = fresh;
        }
        count.wrong += 1;
        count.wrong == MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_locked_out_for_a_while_and_nobody_else() {
        let guesses = Guesses::default();
        let start = Timestamp::EPOCH;
        let locks: Vec<bool> = (0..MOST)
            .map(|_| guesses.count_wrong("eve", start))
            .collect();
        assert_eq!(locks.iter().filter(|locks| **locks).count(), 1);
        assert!(guesses.is_locked("eve", start) && !guesses.is_locked("bob", start));
        let later = start.plus(WINDOW);
        assert!(!guesses.is_locked("eve", later));
        assert!(!guesses.count_wrong("eve", later));
    }
}
