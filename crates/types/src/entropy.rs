//! The injected source of randomness, and the ids minted from it.

use std::cell::RefCell;
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
        if bytes.len() > SMALL {
            return generate(bytes);
        }
        KEPT.with_borrow_mut(|kept| kept.give(bytes));
    }
}

fn generate(bytes: &mut [u8]) {
    // The generator only fails when the operating system has no randomness at all;
    // going on with predictable keys would be worse than stopping.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where injected randomness comes from"
    )]
    aws_lc_rs::rand::fill(bytes).expect("the operating system provides randomness");
}

/// Ids and nonces are this long at most; keys are longer, and are never kept.
const SMALL: usize = 16;
/// Random bytes made at once. The generator asks the processor for fresh randomness at each call,
/// which takes far longer than the bytes themselves.
const AT_ONCE: usize = 512;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { bytes: [0; AT_ONCE], left: 0 }) };
}

/// Random bytes that nobody was given yet.
struct Kept {
    bytes: [u8; AT_ONCE],
    left: usize,
}

impl Kept {
    /// Gives away bytes, which are forgotten here.
    fn give(&mut self, wanted: &mut [u8]) {
        if self.left < wanted.len() {
            generate(&mut self.bytes);
            self.left = AT_ONCE;
        }
        let from = self.left - wanted.len();
        let given = &mut self.bytes[from..self.left];
        wanted.copy_from_slice(given);
        given.fill(0);
        self.left = from;
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

    #[test]
    fn small_pieces_differ_and_are_given_once() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let mut piece = [0; 12];
            SystemEntropy.fill(&mut piece);
            assert!(seen.insert(piece));
        }
        let (mut kept, mut piece) = (
            Kept {
                bytes: [7; AT_ONCE],
                left: 20,
            },
            [0; 16],
        );
        kept.give(&mut piece);
        assert_eq!((piece, kept.left), ([7; 16], 4));
        assert_eq!(kept.bytes[4..20], [0; 16]);
        // What is left is too little, so that all of it is made anew.
        kept.give(&mut piece);
        assert_eq!(kept.left, AT_ONCE - 16);
        assert_ne!(piece, [7; 16]);
    }

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
