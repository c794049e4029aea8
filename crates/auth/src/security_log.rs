//! Security events in the log, so many a second and no more: whoever floods a listener with
//! bad tokens must not fill a disk as well.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use publica_types::Timestamp;

use crate::{Caller, Denial};

const PER_SECOND: u32 = 20;

#[derive(Debug, Default)]
pub(crate) struct SecurityLog {
    second: AtomicI64,
    events: AtomicU32,
}

impl SecurityLog {
    pub(crate) fn denied(
        &self,
        now: Timestamp,
        method: &str,
        caller: Option<&Caller>,
        denial: &Denial,
    ) {
        metrics::counter!("publica_auth_denied_total", "reason" => denial.reason()).increment(1);
        if !self.admit(now) {
            return;
        }
        let cause = std::error::Error::source(denial).map(ToString::to_string);
        tracing::warn!(
            log.type = "security",
            reason = denial.reason(),
            cause = cause.as_deref(),
            rpc.method = method,
            actor = caller.map(|caller| caller.subject.as_str()),
            tenant = caller.map(|caller| caller.tenant.as_str()),
            "call denied"
        );
    }

    /// Whether this event is one of the first in its second. Two threads at the turn of a
    /// second may both reset the count; a few lines more do no harm.
    fn admit(&self, now: Timestamp) -> bool {
        let second = now.seconds();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.events.store(0, Ordering::Relaxed);
        }
        self.events.fetch_add(1, Ordering::Relaxed) < PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floods_are_cut() {
        let log = SecurityLog::default();
        for second in [1, 2, 7] {
            let now = Timestamp::from_seconds(second);
            let admitted = (0..1_000).filter(|_| log.admit(now)).count();
            assert_eq!(admitted, 20);
        }
    }
}
