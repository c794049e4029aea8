//! What a call carries through a process: its deadline, its trace and its request id.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

tokio::task_local! {
    static CURRENT: CallContext;
}

/// The circumstances of the call that the present task serves. Links read them, so that
/// deadline and trace go along to peers without being passed by hand.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// The moment after which nobody waits for the answer.
    pub deadline: Instant,
    /// The trace this call is part of.
    pub trace: TraceContext,
    /// Whether the call came with that trace; otherwise it was minted here, and a recorder begins
    /// one of its own.
    pub joined: bool,
    /// The caller's id of the request, if it gave a sound one.
    pub request_id: Option<HeaderValue>,
}

impl CallContext {
    /// The context of the call that the present task serves, if it serves one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Reads the present context without copying it.
    pub fn with<T>(read: impl FnOnce(&Self) -> T) -> Option<T> {
        CURRENT.try_with(read).ok()
    }

    /// Runs a future in this context.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Time left, zero if there is none.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Time left for the call that the present task serves.
pub fn remaining() -> Option<Duration> {
    CallContext::with(CallContext::remaining)
}

/// A position in a W3C trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// Reads the header `traceparent`; `None` if it does not keep the W3C form.
    pub fn parse(header: &str) -> Option<Self> {
        let bytes = header.as_bytes();
        let dashes = bytes.len() >= 55 && [2, 35, 52].iter().all(|&at| bytes[at] == b'-');
        let version = bytes.get(..2)?;
        if !dashes || version == b"ff" || (version == b"00" && bytes.len() != 55) {
            return None;
        }
        if bytes.len() > 55 && bytes[55] != b'-' {
            return None;
        }
        hex(version)?;
        let trace_id = hex(&bytes[3..35])?;
        let span_id = u64::try_from(hex(&bytes[36..52])?).ok()?;
        let flags = u8::try_from(hex(&bytes[53..55])?).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    /// The trace id as 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span id as 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span_id)
    }

    /// True if the caller records this trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The header that hands this position on.
    pub fn header(&self) -> HeaderValue {
        let text = format!(
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id, self.span_id, self.flags
        );
        HeaderValue::from_str(&text).expect("digits and dashes are allowed in a header")
    }

    pub(crate) fn to_otel(self) -> opentelemetry::trace::SpanContext {
        opentelemetry::trace::SpanContext::new(
            opentelemetry::TraceId::from(self.trace_id),
            opentelemetry::SpanId::from(self.span_id),
            opentelemetry::TraceFlags::new(self.flags),
            true,
            opentelemetry::trace::TraceState::NONE,
        )
    }
}

impl TraceContext {
    pub(crate) fn from_otel(span: &opentelemetry::trace::SpanContext) -> Self {
        Self {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            flags: span.trace_flags().to_u8(),
        }
    }
}

/// Only lower-case digits are allowed in `traceparent`.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(nibble))
    })
}

/// Mints trace and span ids. They must be unique, not secret, and are minted for every call,
/// so they come from a mixed counter with a random start instead of the generator for keys.
#[derive(Debug)]
pub struct TraceIds {
    start: [u64; 3],
    next: AtomicU64,
}

impl TraceIds {
    /// A source of ids that starts at a random place.
    pub fn new(entropy: &dyn publica_types::Entropy) -> Self {
        let mut start = [0_u64; 3];
        for part in &mut start {
            let mut bytes = [0_u8; 8];
            entropy.fill(&mut bytes);
            *part = u64::from_ne_bytes(bytes);
        }
        Self {
            start,
            next: AtomicU64::new(1),
        }
    }

    /// The first position of a new trace, which nobody records.
    pub fn root(&self) -> TraceContext {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let high = mix(self.start[0].wrapping_add(n));
        let low = mix(self.start[1].wrapping_add(n)) | 1;
        let trace_id = u128::from(high) << 64 | u128::from(low);
        TraceContext {
            trace_id,
            span_id: mix(self.start[2].wrapping_add(n)) | 1,
            flags: 0,
        }
    }

    /// A position below `parent` in the same trace.
    pub fn child(&self, parent: &TraceContext) -> TraceContext {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        TraceContext {
            span_id: mix(self.start[2].wrapping_add(n)) | 1,
            ..*parent
        }
    }
}

/// The finalizer of SplitMix64: neighbouring inputs give unrelated outputs.
fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What is said of an id that [`is_sound_id`] does not hold for.
pub const SOUND_ID: &str = "must be 1 to 128 letters, digits, `.`, `_` and `-`";

/// True for what may stand in a request or case id that is passed on and logged.
pub fn is_sound_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use publica_types::SystemEntropy;

    #[test]
    fn traceparent_is_read_as_w3c_says() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = TraceContext::parse(header).unwrap();
        assert_eq!(trace.header(), header);
        assert!(trace.is_sampled());
        assert!(TraceContext::parse(&format!("cc{}-later", &header[2..])).is_some());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn new_traces_differ_and_children_stay_in_theirs() {
        let ids = TraceIds::new(&SystemEntropy);
        let (a, b) = (ids.root(), ids.root());
        assert_ne!(a.trace_id(), b.trace_id());
        assert_eq!(TraceContext::parse(a.header().to_str().unwrap()), Some(a));
        let child = ids.child(&a);
        assert_eq!(child.trace_id(), a.trace_id());
        assert_ne!(child.span_id(), a.span_id());
    }

    #[test]
    fn ids_are_plain() {
        assert!(is_sound_id("3f2a-…".trim_end_matches('…')));
        for bad in ["", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(!is_sound_id(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_traceparent_is_read_or_ignored(
            text in "(00|cc|ff|é)[-_](0{32}|[0-9a-fA-F]{31,33}|[é0-9]{32})[-_]\
                [0-9a-f]{16}-[0-9a-f]{2}(-.{0,3})?"
        ) {
            if let Some(trace) = TraceContext::parse(&text) {
                let header = trace.header();
                prop_assert_eq!(TraceContext::parse(header.to_str().unwrap()), Some(trace));
                prop_assert_eq!(&text[3..55], &header.to_str().unwrap()[3..]);
            }
            let _ = is_sound_id(&text);
        }
    }
}
