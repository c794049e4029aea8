//! The header `grpc-timeout`.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The time a caller is willing to wait; `None` if it did not say or said it wrongly.
pub(crate) fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(&GRPC_TIMEOUT)?.to_str().ok()?)
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let sound = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let amount: u64 = if sound {
        digits.parse().ok()?
    } else {
        return None;
    };
    match unit {
        "H" => Some(Duration::from_secs(amount * 3_600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The header for a time-out, in the finest unit whose number has at most eight digits.
pub(crate) fn header(timeout: Duration) -> HeaderValue {
    const LIMIT: u128 = 100_000_000;
    let text = if timeout.as_micros() < LIMIT {
        format!("{}u", timeout.as_micros())
    } else if timeout.as_millis() < LIMIT {
        format!("{}m", timeout.as_millis())
    } else {
        format!("{}S", u128::from(timeout.as_secs()).min(LIMIT - 1))
    };
    HeaderValue::from_str(&text).expect("digits and a letter are allowed in a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_survive_the_header() {
        for timeout in [
            Duration::from_micros(1),
            Duration::from_millis(9_980),
            Duration::from_secs(3_600),
            Duration::from_secs(1_000_000),
        ] {
            assert_eq!(parse(header(timeout).to_str().unwrap()), Some(timeout));
        }
        assert_eq!(parse("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(parse("5n"), Some(Duration::from_nanos(5)));
    }

    #[test]
    fn wrong_time_outs_count_as_none() {
        for bad in ["", "S", "1", "1x", "123456789S", "-1S", "1.5S", "ä"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
