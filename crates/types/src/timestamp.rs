//! Moments in time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in microseconds since 1970-01-01T00:00:00Z.
///
/// As text it is RFC 3339 in UTC, with as many digits of the second as it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2026-01-31T08:30:00Z")]
pub struct TimestampError;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 0000-01-01T00:00:00Z, the first moment that RFC 3339 can write.
    pub const FIRST: Self = Self(-62_167_219_200_000_000);
    /// The end of the year 9999, the last moment that RFC 3339 can write.
    pub const LAST: Self = Self(253_402_300_799_999_999);

    /// The moment so many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment so many seconds after the epoch, held to the range of the type.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Whether RFC 3339 can write this moment. What comes from outside is no other.
    pub fn is_writable(self) -> bool {
        (Self::FIRST..=Self::LAST).contains(&self)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// The moment `span` later, held to the range of the type.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(span)))
    }

    /// The moment `span` earlier, held to the range of the type.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(span)))
    }

    /// The time from `earlier` to this moment, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Midnight UTC of a date in the Gregorian calendar, if that date exists.
    pub fn from_date(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
            return None;
        }
        let days = days_from_civil(i64::from(year), i64::from(month), i64::from(day));
        Some(Self::from_seconds(days.saturating_mul(SECONDS_PER_DAY)))
    }

    /// Year, month and day in UTC.
    pub fn date(self) -> (i32, u32, u32) {
        let (year, month, day) = civil_from_days(self.seconds().div_euclid(SECONDS_PER_DAY));
        // Within 292,000 years of the epoch, the range of the type, these cannot fail.
        let small = |part: i64| u32::try_from(part).unwrap_or(1);
        (i32::try_from(year).unwrap_or(0), small(month), small(day))
    }
}

fn micros_of(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// Days from the epoch to a date. Years start in March here, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date so many days from the epoch.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

fn days_in_month(year: i32, month: u32) -> u32 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let second_of_day = self.seconds().rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (
            second_of_day / 3_600,
            second_of_day / 60 % 60,
            second_of_day % 60,
        );
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        let fraction = self.0.rem_euclid(MICROS_PER_SECOND);
        if fraction != 0 {
            let digits = format!("{fraction:06}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text.as_bytes()).ok_or(TimestampError)
    }
}

/// Reads the first `count` bytes of `text` as a decimal number and steps over them.
fn digits(text: &mut &[u8], count: usize) -> Option<u32> {
    let (head, rest) = text.split_at_checked(count)?;
    *text = rest;
    head.iter().try_fold(0_u32, |number, byte| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u32::from(byte - b'0'))
    })
}

/// Steps over one byte, if it is among `allowed`.
fn one_of(text: &mut &[u8], allowed: &[u8]) -> Option<u8> {
    let (first, rest) = text.split_first()?;
    *text = rest;
    allowed.contains(first).then_some(*first)
}

fn parse(mut text: &[u8]) -> Option<Timestamp> {
    let text = &mut text;
    let year = digits(text, 4)?;
    one_of(text, b"-")?;
    let month = digits(text, 2)?;
    one_of(text, b"-")?;
    let day = digits(text, 2)?;
    one_of(text, b"Tt ")?;
    let hour = digits(text, 2)?;
    one_of(text, b":")?;
    let minute = digits(text, 2)?;
    one_of(text, b":")?;
    let second = digits(text, 2)?;
    // A leap second has no number of its own in this count; it reads as the next second.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction = parse_fraction(text)?;
    let offset_minutes = parse_offset(text)?;
    let midnight = Timestamp::from_date(i32::try_from(year).ok()?, month, day)?;
    let second_of_day = i64::from(hour * 3_600 + minute * 60 + second) - offset_minutes * 60;
    let time = Timestamp(midnight.0 + second_of_day * MICROS_PER_SECOND + fraction);
    // An offset or a leap second may lead out of the years that can be printed again.
    time.is_writable().then_some(time)
}

/// Reads an optional fraction in microseconds; finer digits are cut off.
fn parse_fraction(text: &mut &[u8]) -> Option<i64> {
    if text.first() != Some(&b'.') {
        return Some(0);
    }
    let rest = &text[1..];
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (number, rest) = rest.split_at(count);
    *text = rest;
    let padded = number.iter().chain(std::iter::repeat(&b'0')).take(6);
    Some(padded.fold(0, |fraction, byte| fraction * 10 + i64::from(byte - b'0')))
}

/// Reads `Z` or `+hh:mm` up to the end of the text.
fn parse_offset(text: &mut &[u8]) -> Option<i64> {
    let sign = one_of(text, b"Zz+-")?;
    let minutes = if matches!(sign, b'Z' | b'z') {
        0
    } else {
        let hours = digits(text, 2)?;
        one_of(text, b":")?;
        let minutes = digits(text, 2)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        i64::from(hours * 60 + minutes)
    };
    text.is_empty()
        .then_some(if sign == b'-' { -minutes } else { minutes })
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(feature = "sqlx")]
#[path = "timestamp_sqlx.rs"]
mod codec;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_forms() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_500_000, "1970-01-01T00:00:01.5Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_790_000_000_123_000, "2026-09-21T14:13:20.123Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (-62_167_219_200_000_000, "0000-01-01T00:00:00Z"),
        ] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse::<Timestamp>(), Ok(time), "{text}");
        }
    }

    #[test]
    fn other_spellings_of_a_moment() {
        let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for text in [
            "2026-03-01t12:00:00z",
            "2026-03-01 12:00:00Z",
            "2026-03-01T14:30:00+02:30",
            "2026-02-28T23:00:00-13:00",
            "2026-03-01T12:00:00.0000000009Z",
            "2026-03-01T11:59:60Z",
        ] {
            assert_eq!(text.parse(), Ok(noon), "{text}");
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-03-00T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00Zjunk",
            "2026-03-01T12:00:00+2:00",
            "+026-03-01T12:00:00Z",
            "2026-03-01T12:00:00+24:00",
            "9999-12-31T23:59:60Z",
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+00:01",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let hour = Duration::from_hours(1);
        let time = Timestamp::from_seconds(10_000);
        assert_eq!(time.plus(hour).since(time), hour);
        assert_eq!(time.minus(hour).since(time), Duration::ZERO);
        assert_eq!(Timestamp(i64::MAX).plus(hour), Timestamp(i64::MAX));
        assert_eq!(
            Timestamp(i64::MIN).minus(Duration::MAX),
            Timestamp(i64::MIN)
        );
        assert!(Timestamp(i64::MAX).since(Timestamp(i64::MIN)) > hour);
        assert_eq!(Timestamp(-1).seconds(), -1);
    }

    #[test]
    fn dates() {
        assert_eq!(
            Timestamp::from_date(2024, 2, 29).unwrap().date(),
            (2024, 2, 29)
        );
        assert_eq!(Timestamp::from_date(2023, 2, 29), None);
        assert_eq!(Timestamp::from_date(1900, 2, 29), None);
        assert_eq!(Timestamp::EPOCH.date(), (1970, 1, 1));
    }

    proptest! {
        #[test]
        fn every_time_of_four_digit_years_survives_text(
            micros in -62_167_219_200_000_000_i64..=253_402_300_799_999_999,
        ) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse::<Timestamp>(), Ok(time));
            let json = serde_json::to_string(&time).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        }

        #[test]
        fn no_text_panics(
            text in prop_oneof![
                "\\PC{0,40}",
                "(0000|9999|2026)-(01|12|02)-(01|31|29)[Tt ](00|23):(00|59):(00|60)\
                 (\\.[0-9]{0,30})?(Z|[+-](00|23):(00|59))",
            ]
        ) {
            if let Ok(time) = text.parse::<Timestamp>() {
                prop_assert!(time.is_writable());
                prop_assert_eq!(time.to_string().parse(), Ok(time));
            }
        }

        #[test]
        fn any_time_is_printed(micros in any::<i64>()) {
            let text = Timestamp::from_micros(micros).to_string();
            prop_assert!(text.ends_with('Z'), "{}", text);
        }
    }
}
