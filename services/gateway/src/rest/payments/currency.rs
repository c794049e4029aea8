//! The currencies of the published interface: current codes of ISO 4217, and retired or special
//! ones that it still names. The block judges amounts and currencies too; here they are needed
//! to refuse a request as a whole before any of it takes effect.

use publica_types::Currency;

const KNOWN: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND \
    BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK \
    DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF \
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL \
    LYD MAD MDL MGA MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD \
    OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS \
    SRD SSP STD STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW \
    UZS VED VEF VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT XSU XTS \
    XUA XXX YER ZAR ZMW ZWG ZWL";

/// Reads a code and looks it up.
pub(super) fn known(text: &str) -> Option<Currency> {
    let currency: Currency = text.parse().ok()?;
    KNOWN
        .as_bytes()
        .chunks(4)
        .any(|code| code.starts_with(text.as_bytes()))
        .then_some(currency)
}

/// A JSON number's literal as a plain decimal that the currency can hold: above zero, with no
/// more decimals than the currency has. Exactly, so `1.5e2` is 150 and nothing is rounded.
pub(super) fn amount(literal: &str, currency: Currency) -> Option<String> {
    const DIGITS: usize = 40;
    let (mantissa, exponent) = match literal.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (literal, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let plain = match usize::try_from(point) {
        Ok(point) if point <= DIGITS => {
            let padded = format!("{all:0<point$}");
            let (whole, fraction) = padded.split_at(point);
            join(whole, fraction)
        }
        Ok(_) => return None,
        Err(_) => {
            let zeros = usize::try_from(point.unsigned_abs())
                .ok()
                .filter(|n| *n <= DIGITS)?;
            join("", &format!("{}{all}", "0".repeat(zeros)))
        }
    };
    let places = plain
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let zero = plain.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let fits = places <= usize::try_from(currency.exponent()).ok()?;
    (fits && !zero && plain.len() <= DIGITS).then_some(plain)
}

fn join(whole: &str, fraction: &str) -> String {
    let whole = if whole.is_empty() { "0" } else { whole };
    match fraction {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_exact() {
        for (literal, code, plain) in [
            ("100", "USD", Some("100")),
            ("100.25", "USD", Some("100.25")),
            ("1.5e2", "USD", Some("150")),
            ("1E2", "JPY", Some("100")),
            ("25e-1", "USD", Some("2.5")),
            ("0.1e1", "USD", Some("01")),
            ("1e400", "USD", None),
            ("1e-400", "USD", None),
            ("10.005", "USD", None),
            ("10.5", "JPY", None),
            ("0", "USD", None),
            ("0.00", "USD", None),
            ("-1", "USD", None),
            ("\"1\"", "USD", None),
            ("null", "USD", None),
        ] {
            let currency = code.parse().unwrap();
            assert_eq!(
                amount(literal, currency).as_deref(),
                plain,
                "{literal} {code}"
            );
        }
    }

    #[test]
    fn codes_are_looked_up() {
        assert!(known("USD").is_some() && known("ZWL").is_some());
        for bad in ["US", "usd", "000", "", "D A", "AAA"] {
            assert!(known(bad).is_none(), "{bad}");
        }
    }
}
