//! How many submissions of a session are under way at a time: as many as the settings allow, or
//! fewer while the centre says that it is too much.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The first pause after the centre asked for patience, and the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(crate) struct Window {
    most: usize,
    state: Mutex<State>,
    room: Notify,
}

#[derive(Debug)]
struct State {
    taken: usize,
    limit: usize,
    /// Answers since the limit was last raised.
    good: usize,
    pause: Duration,
    until: Option<Instant>,
}

impl Window {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            state: Mutex::new(State {
                taken: 0,
                limit: most,
                good: 0,
                pause: PAUSE,
                until: None,
            }),
            room: Notify::new(),
        }
    }

    /// Waits for a place, which is taken until [`Self::leave`].
    pub(crate) async fn enter(&self) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.lock();
                if state.taken < state.limit {
                    state.taken += 1;
                    return;
                }
            }
            room.await;
        }
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        self.lock().taken -= 1;
        self.room.notify_one();
    }

    /// Waits as long as the centre asked for patience.
    pub(crate) async fn patience(&self) {
        loop {
            let until = self.lock().until.filter(|until| *until > Instant::now());
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => return,
            }
        }
    }

    /// The centre takes what it gets: after a whole window of answers there is room for one more.
    pub(crate) fn went_well(&self) {
        let mut state = self.lock();
        state.pause = PAUSE;
        state.good += 1;
        if state.good >= state.limit && state.limit < self.most {
            state.limit += 1;
            state.good = 0;
            drop(state);
            self.room.notify_one();
        }
    }

    /// The centre asks for patience: half as many at a time, and a pause, which grows.
    pub(crate) fn throttled(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.until.is_some_and(|until| until > now) {
            // The others that were under way at the same time say the same.
            return;
        }
        state.limit = (state.limit / 2).max(1);
        state.good = 0;
        state.until = Some(now + state.pause);
        state.pause = (state.pause * 2).min(PAUSE_MAX);
    }

    /// How many may be under way at a time now.
    #[cfg(test)]
    fn limit(&self) -> usize {
        self.lock().limit
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_shrinks_by_half_and_grows_by_one() {
        let window = Window::new(8);
        window.throttled();
        // What was under way at the same time counts once.
        window.throttled();
        assert_eq!(window.limit(), 4);
        let before = Instant::now();
        window.patience().await;
        assert!(before.elapsed() >= PAUSE.mul_f32(0.9));
        window.throttled();
        window.patience().await;
        // The second pause is twice as long.
        assert!(before.elapsed() >= PAUSE.mul_f32(2.8));
        assert_eq!(window.limit(), 2);
        for _ in 0..2 {
            window.went_well();
        }
        assert_eq!(window.limit(), 3);
        for _ in 0..100 {
            window.went_well();
        }
        assert_eq!(window.limit(), 8);
    }

    #[tokio::test]
    async fn places_are_bounded() {
        let window = Window::new(2);
        window.enter().await;
        window.enter().await;
        let full = tokio::time::timeout(Duration::from_millis(20), window.enter()).await;
        assert!(full.is_err());
        window.leave();
        window.enter().await;
        // A place that is given back while the window shrank is not given out again.
        window.throttled();
        window.leave();
        let full = tokio::time::timeout(Duration::from_millis(20), window.enter()).await;
        assert!(full.is_err());
        window.leave();
        window.enter().await;
    }
}
