//! Telling workers of this process that there is something to do.
//!
//! A unit can only say so before it commits, so whoever is woken looks a few times in quick
//! succession. Other processes find the work when they look of their own accord.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

static KINDS: LazyLock<Mutex<HashMap<String, watch::Sender<u64>>>> = LazyLock::new(Mutex::default);

/// Pauses between looks after having been woken.
pub(crate) const LOOKS: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(4),
    Duration::from_millis(15),
    Duration::from_millis(60),
    Duration::from_millis(250),
];

/// Wakes the workers for this kind of job.
pub(crate) fn wake(kind: &str) {
    let kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = kinds.get(kind) {
        sender.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Changes whenever somebody wakes the workers for this kind of job.
pub(crate) fn listen(kind: &str) -> watch::Receiver<u64> {
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    kinds
        .entry(kind.to_owned())
        .or_insert_with(|| watch::channel(0).0)
        .subscribe()
}
