//! Limits on how often data may be used: windows of the calendar, in UTC.

use publica_proto::consent::v1 as pb;
use publica_types::Timestamp;

use super::violations::Violations;

/// Limits of one agreement.
const MAX_LIMITS: usize = 4;
/// Units in a window.
const MAX_SPAN: i32 = 1_000;
const DAY: i64 = 86_400;

/// One limit with the window that a moment falls into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Which window of which limit: a number that no other window has.
    pub(crate) key: i64,
    /// Uses that it allows.
    pub(crate) uses: i32,
}

/// Checks the limits of an agreement.
pub(crate) fn check(limits: &[pb::UseLimit], found: &mut Violations) {
    found.count("useLimits", limits.len(), MAX_LIMITS);
    for (n, limit) in limits.iter().enumerate() {
        let field = |name: &str| format!("useLimits[{n}].{name}");
        if limit.uses < 1 {
            found.push(field("repeats"), "must be at least 1");
        }
        if !(0..=MAX_SPAN).contains(&limit.span) {
            found.push(field("value"), format!("must be 1 to {MAX_SPAN}"));
        }
        let unit = pb::UseUnit::try_from(limit.unit);
        if matches!(unit, Err(_) | Ok(pb::UseUnit::Unspecified)) {
            found.push(field("unit"), "must be HOUR, DAY, WEEK, MONTH or YEAR");
        }
    }
}

/// Whether uses are counted at all.
pub(crate) fn is_limited(agreement: &pb::DataAgreement) -> bool {
    agreement.max_uses_per_day.is_some() || !agreement.use_limits.is_empty()
}

/// The windows that a use at `now` counts in.
pub(crate) fn windows(agreement: &pb::DataAgreement, now: Timestamp) -> Vec<Window> {
    let daily = agreement.max_uses_per_day.map(|uses| Window {
        key: now.seconds().div_euclid(DAY),
        uses,
    });
    let others = agreement.use_limits.iter().map(|limit| {
        let span = i64::from(limit.span.max(1));
        let index = place(limit.unit(), now.seconds()).div_euclid(span);
        let kind = i64::from(limit.unit) * i64::from(MAX_SPAN + 1) + span;
        Window {
            key: (kind << 40) + index,
            uses: limit.uses,
        }
    });
    daily.into_iter().chain(others).collect()
}

/// Units since the beginning of 1970.
fn place(unit: pb::UseUnit, seconds: i64) -> i64 {
    let day = seconds.div_euclid(DAY);
    match unit {
        pb::UseUnit::Hour => seconds.div_euclid(3_600),
        pb::UseUnit::Unspecified | pb::UseUnit::Day => day,
        // 1970 began on a Thursday; weeks begin on Mondays.
        pb::UseUnit::Week => (day + 3).div_euclid(7),
        pb::UseUnit::Month => month_of(day),
        pb::UseUnit::Year => month_of(day).div_euclid(12),
    }
}

/// Months of the Gregorian calendar since January 1970.
fn month_of(day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last one.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    (era * 400 + year) * 12 + month + 2 - 1_970 * 12
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn agreement(unit: pb::UseUnit, span: i32) -> pb::DataAgreement {
        pb::DataAgreement {
            use_limits: vec![pb::UseLimit {
                uses: 2,
                unit: unit.into(),
                span,
            }],
            ..pb::DataAgreement::default()
        }
    }

    #[test]
    fn windows_follow_the_calendar() {
        use pb::UseUnit as U;
        for (unit, span, one, two, same) in [
            (
                U::Hour,
                1,
                "2026-01-31T12:00:00Z",
                "2026-01-31T12:59:59Z",
                true,
            ),
            (
                U::Hour,
                1,
                "2026-01-31T12:59:59Z",
                "2026-01-31T13:00:00Z",
                false,
            ),
            (
                U::Day,
                1,
                "2026-01-31T00:00:00Z",
                "2026-01-31T23:59:59Z",
                true,
            ),
            (
                U::Week,
                1,
                "2026-02-01T23:59:59Z",
                "2026-02-02T00:00:00Z",
                false,
            ),
            (
                U::Week,
                1,
                "2026-02-02T00:00:00Z",
                "2026-02-08T23:59:59Z",
                true,
            ),
            (
                U::Month,
                1,
                "2024-02-01T00:00:00Z",
                "2024-02-29T23:59:59Z",
                true,
            ),
            (
                U::Month,
                1,
                "2024-02-29T23:59:59Z",
                "2024-03-01T00:00:00Z",
                false,
            ),
            (
                U::Month,
                3,
                "2024-01-01T00:00:00Z",
                "2024-03-31T23:59:59Z",
                true,
            ),
            (
                U::Month,
                3,
                "2024-03-31T23:59:59Z",
                "2024-04-01T00:00:00Z",
                false,
            ),
            (
                U::Year,
                1,
                "2023-12-31T23:59:59Z",
                "2024-01-01T00:00:00Z",
                false,
            ),
            (
                U::Year,
                1,
                "1969-01-01T00:00:00Z",
                "1969-12-31T00:00:00Z",
                true,
            ),
        ] {
            let text = agreement(unit, span);
            let found = windows(&text, at(one)) == windows(&text, at(two));
            assert_eq!(found, same, "{unit:?} {span} {one} {two}");
        }
    }

    #[test]
    fn limits_do_not_share_their_windows() {
        let now = at("2026-01-31T12:00:00Z");
        let mut all = agreement(pb::UseUnit::Day, 1);
        all.max_uses_per_day = Some(3);
        all.use_limits
            .extend(agreement(pb::UseUnit::Day, 2).use_limits);
        all.use_limits
            .extend(agreement(pb::UseUnit::Hour, 1).use_limits);
        let keys: std::collections::BTreeSet<i64> =
            windows(&all, now).iter().map(|window| window.key).collect();
        assert_eq!(keys.len(), 4);
    }

    #[test]
    fn unsound_limits_are_named() {
        let mut found = Violations::new();
        let bad = pb::UseLimit {
            uses: 0,
            unit: 9,
            span: -1,
        };
        check(&[bad], &mut found);
        assert_eq!(found.pairs().len(), 3);
    }
}
