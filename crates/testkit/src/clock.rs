//! A clock that moves when the test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use publica_types::{Clock, SharedClock, Timestamp};

/// Stands still until it is advanced. Clones show the same time.
#[derive(Debug, Clone)]
pub struct MockClock(Arc<AtomicI64>);

impl MockClock {
    /// A clock that shows 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self::at(Timestamp::from_date(2026, 1, 1).expect("a date"))
    }

    /// A clock that shows `time`.
    pub fn at(time: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(time.micros())))
    }

    /// Moves the time on.
    pub fn advance(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).expect("less than 292,000 years");
        self.0.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the time, backwards as well.
    pub fn set(&self, time: Timestamp) {
        self.0.store(time.micros(), Ordering::SeqCst);
    }

    /// The same clock, as code under test takes it.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }
}

impl Default for MockClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MockClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_when_told_and_for_all_clones() {
        let clock = MockClock::new();
        let shared = clock.shared();
        let before = shared.now();
        assert_eq!(shared.now(), before);
        clock.advance(Duration::from_secs(5));
        assert_eq!(shared.now().since(before), Duration::from_secs(5));
    }
}
