//! Times on the wire.

use publica_types::Timestamp;

use crate::{Invalid, invalid};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A time as the wire carries it.
pub fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.micros();
    let nanos = micros.rem_euclid(MICROS_PER_SECOND) * 1_000;
    prost_types::Timestamp {
        seconds: micros.div_euclid(MICROS_PER_SECOND),
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// A time from the wire, cut to whole microseconds; `field` is named if it is out of range.
pub fn from_timestamp(field: &str, time: &prost_types::Timestamp) -> Result<Timestamp, Invalid> {
    let nanos = i64::from(time.nanos);
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(invalid(field, "has nanoseconds outside 0 to 999,999,999"));
    }
    time.seconds
        .checked_mul(MICROS_PER_SECOND)
        .and_then(|micros| micros.checked_add(nanos / 1_000))
        .map(Timestamp::from_micros)
        .filter(|time| time.is_writable())
        .ok_or_else(|| invalid(field, "is outside the supported range of times"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        for micros in [0, 1, -1, 1_700_000_000_123_456, -62_135_596_800_000_000] {
            let wire = timestamp(Timestamp::from_micros(micros));
            assert!((0..1_000_000_000).contains(&wire.nanos));
            assert_eq!(from_timestamp("t", &wire).unwrap().micros(), micros);
        }
    }

    #[test]
    fn impossible_times_are_refused() {
        let end = Timestamp::LAST.seconds();
        assert!(from_timestamp("t", &timestamp(Timestamp::LAST)).is_ok());
        for (seconds, nanos) in [(i64::MAX, 0), (0, -1), (0, 1_000_000_000), (end + 1, 0)] {
            assert!(from_timestamp("t", &prost_types::Timestamp { seconds, nanos }).is_err());
        }
    }
}
