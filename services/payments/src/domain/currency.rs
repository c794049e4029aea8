//! The currencies that are accepted, and amounts read as strictly as the rails need them.

use publica_types::{Currency, Money};

/// Codes of ISO 4217: current ones, and retired or special ones that the published interface
/// still names.
const KNOWN: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND \
    BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK \
    DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF \
    IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL \
    LYD MAD MDL MGA MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD \
    OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS \
    SRD SSP STD STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW \
    UZS VED VEF VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT XSU XTS \
    XUA XXX YER ZAR ZMW ZWG ZWL";

/// Reads a currency code and looks it up.
pub(crate) fn known(text: &str) -> Option<Currency> {
    let currency: Currency = text.parse().ok()?;
    KNOWN
        .as_bytes()
        .chunks(4)
        .any(|code| code.starts_with(text.as_bytes()))
        .then_some(currency)
}

/// Reads an amount above zero with no more decimal places than its currency has. Trailing zeros
/// count as places: `10.00` is no amount in yen.
pub(crate) fn amount(text: &str, currency: Currency) -> Option<i64> {
    let places = text
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    if places > usize::try_from(currency.exponent()).ok()? {
        return None;
    }
    let money = Money::parse(text, currency).ok()?;
    (money.amount_minor > 0).then_some(money.amount_minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_codes_are_known() {
        for code in ["USD", "AED", "ZWL", "MRO", "MRU", "XXX", "ZWG"] {
            assert!(known(code).is_some(), "{code}");
        }
        for code in ["US", "usd", "000", "", "USDX", "AAA", "SDA", " US", "D A"] {
            assert!(known(code).is_none(), "{code}");
        }
    }

    #[test]
    fn the_list_is_sorted_and_of_equal_parts() {
        let codes: Vec<&str> = KNOWN.split(' ').collect();
        assert!(codes.iter().all(|code| code.len() == 3));
        assert!(codes.is_sorted(), "keep the list in order");
    }

    #[test]
    fn amounts_are_strict() {
        for (text, code, minor) in [
            ("1", "USD", Some(100)),
            ("120.50", "USD", Some(12_050)),
            ("0.01", "USD", Some(1)),
            ("10.005", "USD", None),
            ("10.500", "USD", None),
            ("10.5", "JPY", None),
            ("10.00", "JPY", None),
            ("10", "JPY", Some(10)),
            ("0", "USD", None),
            ("-1", "USD", None),
            ("1e3", "USD", None),
            ("abc", "USD", None),
            ("", "USD", None),
            ("99999999999999999999", "USD", None),
        ] {
            assert_eq!(amount(text, code.parse().unwrap()), minor, "{text} {code}");
        }
    }
}
