//! The injected source of randomness, and the ids minted from it.

use std::fmt::Debug;
use std::sync::Arc;

use uuid::Uuid;

use crate::Clock;

/// Fills memory with random bytes. What needs randomness is given one of these, so that a
/// test can repeat a run from its seed.
pub trait Entropy: Debug + Send + Sync {
    /// Fills `bytes` completely.
    fn fill(&self, bytes: &mut [u8]);
}

/// A source of randomness that parts of a process share.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The cryptographic generator of the process, fit for keys and tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // The generator only fails when the operating system has no randomness at all;
        // going on with predictable keys would be worse than stopping.
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where injected randomness comes from"
        )]
        aws_lc_rs::rand::fill(bytes).expect("the operating system provides randomness");
    }
}

/// Mints a version 7 UUID. The sub-millisecond part of the time fills the twelve bits after
/// the version, so ids made microseconds apart still sort by time and land on neighbouring
/// index pages.
pub fn new_uuid(clock: &dyn Clock, entropy: &dyn Entropy) -> Uuid {
    let micros = u64::try_from(clock.now().micros()).unwrap_or(0);
    let fraction = (micros % 1_000) * 4_096 / 1_000;
    let mut tail = [0_u8; 10];
    entropy.fill(&mut tail);
    let [.., high, low] = fraction.to_be_bytes();
    tail[0] = high;
    tail[1] = low;
    uuid::Builder::from_unix_timestamp_millis(micros / 1_000, &tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[derive(Debug)]
    struct Fixed(i64);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0)
        }
    }

    #[test]
    fn uuids_are_version_seven_and_sort_by_microsecond() {
        let mut last = Uuid::nil();
        for micros in (1_700_000_000_000_000..1_700_000_000_003_000).step_by(7) {
            let id = new_uuid(&Fixed(micros), &SystemEntropy);
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            assert!(id > last, "{id} after {last}");
            last = id;
        }
    }

    #[test]
    fn uuids_of_one_moment_differ() {
        let clock = Fixed(5);
        assert_ne!(
            new_uuid(&clock, &SystemEntropy),
            new_uuid(&clock, &SystemEntropy)
        );
    }

    #[test]
    fn entropy_fills_everything() {
        let mut bytes = [0_u8; 64];
        SystemEntropy.fill(&mut bytes);
        assert!(bytes.iter().filter(|byte| **byte != 0).count() > 32);
    }
}
