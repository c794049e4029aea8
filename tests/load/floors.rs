//! What each measurement must reach: the budgets of the suite.

use crate::report::Measured;

/// A bound that a measurement keeps or misses.
#[derive(Debug, Clone, Copy)]
enum Floor {
    /// At least so many times the limit beside it.
    Ratio(f64),
    /// At least this, in the measurement's unit.
    Least(f64),
    /// At most the limit beside it.
    Budget,
    /// 99 of 100 below this, in microseconds.
    P99(u64),
}

/// Floors by name and engine; `*` is every engine.
const FLOORS: &[(&str, &str, Floor)] = &[
    ("gateway", "*", Floor::Ratio(0.25)),
    ("gateway-two-processes", "*", Floor::Ratio(0.125)),
    ("payments-transfer-hot", "sqlite", Floor::Least(5_000.0)),
    ("payments-transfer-hot", "postgres", Floor::Ratio(4.0)),
    ("payments-transfer-hot-8", "postgres", Floor::Ratio(1.5)),
    ("payments-transfer-pairs", "postgres", Floor::Ratio(2.0)),
    ("payments-bulk", "sqlite", Floor::Least(25_000.0)),
    ("payments-bulk", "postgres", Floor::Least(40_000.0)),
    ("identity-token", "*", Floor::Ratio(0.6)),
    ("consent-check", "*", Floor::Ratio(0.45)),
    ("consent-record", "*", Floor::Least(3_000.0)),
    ("signature-hash", "*", Floor::Ratio(0.25)),
    ("signature-pades", "*", Floor::Least(800.0)),
    ("signature-validation", "*", Floor::Least(1_500.0)),
    ("messaging-email", "*", Floor::Ratio(0.4)),
    ("messaging-urgent", "*", Floor::P99(50_000)),
    ("registration-submit", "*", Floor::Least(2_000.0)),
    ("import-identity-person", "*", Floor::Least(50_000.0)),
    ("import-payments-voucher", "*", Floor::Least(50_000.0)),
    ("import-consent-record", "*", Floor::Least(50_000.0)),
    (
        "import-registration-register-entry",
        "*",
        Floor::Least(50_000.0),
    ),
    ("import-messaging-request", "*", Floor::Least(50_000.0)),
    ("footprint-memory", "*", Floor::Budget),
    ("footprint-start", "*", Floor::Budget),
    ("footprint-first-start", "*", Floor::Budget),
    ("footprint-binary", "*", Floor::Budget),
];

/// The floor of a measurement in words, and whether it is kept; nothing for one without a floor.
pub(crate) fn judge(one: &Measured) -> Option<(String, bool)> {
    let (_, _, floor) = FLOORS
        .iter()
        .find(|(name, engine, _)| *name == one.name && (*engine == "*" || *engine == one.engine))?;
    Some(match floor {
        Floor::Ratio(ratio) => (format!("{ratio} × the limit"), one.ratio >= *ratio),
        Floor::Least(least) => (format!("{least} {}", one.unit), one.figure >= *least),
        Floor::Budget => (
            format!("at most {} {}", one.limit, one.unit),
            one.figure <= one.limit,
        ),
        Floor::P99(micros) => (format!("p99 below {micros} µs"), one.p99_us < *micros),
    })
}

/// Budgets of which nothing was measured.
pub(crate) fn unmeasured(names: &[&str]) -> Vec<&'static str> {
    let mut missing: Vec<&str> = FLOORS
        .iter()
        .map(|(name, _, _)| *name)
        .filter(|name| !names.contains(name))
        .collect();
    missing.dedup();
    missing
}
