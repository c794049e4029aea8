//! Pauses between attempts.

use std::time::Duration;

use publica_types::Entropy;

/// Pauses that double from `first` to `longest`, each shortened at random by up to half, so that
/// what failed together does not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Pause after the first attempt.
    pub first: Duration,
    /// No pause is longer.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_mins(15),
        }
    }
}

impl Backoff {
    /// The pause after attempt number `attempt`, counted from 1.
    pub fn pause(&self, attempt: i64, entropy: &dyn Entropy) -> Duration {
        let doublings = u32::try_from(attempt.clamp(1, 32) - 1).unwrap_or(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        let mut random = [0; 2];
        entropy.fill(&mut random);
        let share = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX);
        full.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use publica_types::SystemEntropy;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        for attempt in 1..40 {
            let pause = backoff.pause(attempt, &SystemEntropy);
            let full = Duration::from_secs(1 << (attempt - 1).min(20)).min(backoff.longest);
            assert!(
                pause <= full && pause >= full / 2,
                "attempt {attempt}: {pause:?}"
            );
        }
        assert!(backoff.pause(i64::MIN, &SystemEntropy) <= Duration::from_secs(1));
    }
}
