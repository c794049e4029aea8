//! Waiting for a condition.

use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

/// The longest that a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(180);

/// Asks again and again until the answer is `Some`, and gives it. Fails the test, naming the
/// caller, if that does not happen within three minutes.
#[track_caller]
pub fn eventually<T, F, Fut>(mut condition: F) -> impl Future<Output = T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let place = Location::caller();
    async move {
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "what {place} waits for did not happen within {PATIENCE:?}"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_first_some() {
        let mut calls = 0;
        let value = eventually(|| {
            calls += 1;
            let now = calls;
            async move { (now == 4).then_some(now) }
        });
        assert_eq!(value.await, 4);
    }
}
