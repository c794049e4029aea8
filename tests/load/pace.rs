//! Calls in flight, as many as wanted, for as long as wanted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

/// How much to ask for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Calls in flight.
    pub(crate) in_flight: u32,
    /// How long, after warming up.
    pub(crate) span: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Calls a second.
    pub(crate) rate: f64,
    /// Microseconds that half of the calls stayed below.
    pub(crate) p50_us: u64,
    /// Microseconds that 99 of 100 calls stayed below.
    pub(crate) p99_us: u64,
}

/// What is not counted at the start.
const WARM_UP: Duration = Duration::from_secs(1);

/// A sequence of numbers that visits accounts in no order; quicker than a generator of
/// randomness, and the same in each run.
pub(crate) fn scatter(number: u64, among: u64) -> u64 {
    let mut word = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word ^ (word >> 29)) % among
}

/// Keeps `load` in flight, each call with a number of its own. The first failure ends it.
pub(crate) async fn keep<F, Fut>(load: Load, call: F) -> anyhow::Result<Pace>
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = anyhow::Result<()>> + Send,
{
    let numbers = Arc::new(AtomicU64::new(0));
    let counted_from = Instant::now() + WARM_UP;
    let until = counted_from + load.span;
    let mut callers = JoinSet::new();
    for _ in 0..load.in_flight {
        let (call, numbers) = (call.clone(), Arc::clone(&numbers));
        callers.spawn(async move {
            let mut took = Vec::with_capacity(1 << 16);
            let mut began = Instant::now();
            while began < until {
                call(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                let ended = Instant::now();
                if began >= counted_from && ended <= until {
                    took.push(u64::try_from((ended - began).as_micros())?);
                }
                began = ended;
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(caller) = callers.join_next().await {
        took.extend(caller??);
    }
    Ok(of(took, load.span))
}

/// The pace of calls that took so many microseconds each, made in a span.
pub(crate) fn of(mut took: Vec<u64>, span: Duration) -> Pace {
    took.sort_unstable();
    let at = |hundredths: usize| {
        took.get(took.len() * hundredths / 100)
            .copied()
            .unwrap_or(0)
    };
    let calls = u32::try_from(took.len()).unwrap_or(u32::MAX);
    Pace {
        rate: f64::from(calls) / span.as_secs_f64(),
        p50_us: at(50),
        p99_us: at(99),
    }
}
