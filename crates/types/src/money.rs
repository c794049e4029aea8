//! Amounts of money, exact to the minor unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An ISO 4217 currency code: three upper-case letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// A text that is no currency code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a currency code is three upper-case letters such as EUR")]
pub struct CurrencyError;

/// The currencies of ISO 4217 whose minor unit is not a hundredth, with its decimal places.
const EXPONENTS: &[(&[u8; 3], u32)] = &[
    (b"BHD", 3),
    (b"BIF", 0),
    (b"CLF", 4),
    (b"CLP", 0),
    (b"DJF", 0),
    (b"GNF", 0),
    (b"IQD", 3),
    (b"ISK", 0),
    (b"JOD", 3),
    (b"JPY", 0),
    (b"KMF", 0),
    (b"KRW", 0),
    (b"KWD", 3),
    (b"LYD", 3),
    (b"OMR", 3),
    (b"PYG", 0),
    (b"RWF", 0),
    (b"TND", 3),
    (b"UGX", 0),
    (b"UYI", 0),
    (b"UYW", 4),
    (b"VND", 0),
    (b"VUV", 0),
    (b"XAF", 0),
    (b"XOF", 0),
    (b"XPF", 0),
];

impl Currency {
    /// The code as text.
    pub fn code(&self) -> &str {
        // Only ASCII letters get past the constructor.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Decimal places of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD.
    pub fn exponent(&self) -> u32 {
        let listed = EXPONENTS.iter().find(|(code, _)| **code == self.0);
        listed.map_or(2, |(_, exponent)| *exponent)
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| CurrencyError)?;
        let upper = code.iter().all(u8::is_ascii_uppercase);
        if upper {
            Ok(Self(code))
        } else {
            Err(CurrencyError)
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(text: String) -> Result<Self, CurrencyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in the minor unit of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// The amount in the currency's minor unit, so 1250 is EUR 12.50.
    pub amount_minor: i64,
    /// The currency.
    pub currency: Currency,
}

/// Why a text or a sum is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal number.
    #[error("an amount is a decimal number such as 12.50")]
    NotDecimal,
    /// Digits below the minor unit that are not zero.
    #[error("{currency} has {} decimal places, and the amount has more", currency.exponent())]
    TooPrecise {
        /// The currency that has fewer places.
        currency: Currency,
    },
    /// Beyond what 64 bits hold.
    #[error("the amount is too large")]
    OutOfRange,
    /// Two currencies in one sum.
    #[error("{left} and {right} cannot be added")]
    CurrencyMismatch {
        /// The currency of the first amount.
        left: Currency,
        /// The currency of the second amount.
        right: Currency,
    },
}

impl Money {
    /// An amount in the minor unit of its currency.
    pub const fn new(amount_minor: i64, currency: Currency) -> Self {
        Self {
            amount_minor,
            currency,
        }
    }

    /// Reads a decimal number exactly: an optional minus, digits, optionally a point and more
    /// digits. Zeros beyond the minor unit are fine, anything else there is an error.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(MoneyError::NotDecimal),
            Some(parts) => parts,
            None => (digits, ""),
        };
        let numeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !numeric(whole) || !numeric(fraction) {
            return Err(MoneyError::NotDecimal);
        }
        let places = usize::try_from(currency.exponent()).map_err(|_| MoneyError::OutOfRange)?;
        let (kept, beyond) = fraction.split_at(fraction.len().min(places));
        if beyond.bytes().any(|byte| byte != b'0') {
            return Err(MoneyError::TooPrecise { currency });
        }
        let padding = std::iter::repeat_n(b'0', places - kept.len());
        // Counting downwards reaches the smallest number, which has no positive twin.
        let negated = whole
            .bytes()
            .chain(kept.bytes())
            .chain(padding)
            .try_fold(0_i64, |sum, d| {
                sum.checked_mul(10)?.checked_sub(i64::from(d - b'0'))
            });
        let amount = if negative {
            negated
        } else {
            negated.and_then(i64::checked_neg)
        };
        amount
            .map(|minor| Self::new(minor, currency))
            .ok_or(MoneyError::OutOfRange)
    }

    /// The amount as a decimal number with all places of the minor unit, without currency.
    pub fn decimal(&self) -> String {
        let places = usize::try_from(self.currency.exponent()).unwrap_or(0);
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let digits = self.amount_minor.unsigned_abs().to_string();
        if places == 0 {
            return format!("{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        format!("{sign}{whole}.{fraction}")
    }

    /// The sum of two amounts in one currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            let (left, right) = (self.currency, other.currency);
            return Err(MoneyError::CurrencyMismatch { left, right });
        }
        let sum = self.amount_minor.checked_add(other.amount_minor);
        sum.map(|minor| Self::new(minor, self.currency))
            .ok_or(MoneyError::OutOfRange)
    }

    /// The difference of two amounts in one currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        let negated = other
            .amount_minor
            .checked_neg()
            .ok_or(MoneyError::OutOfRange)?;
        self.checked_add(Self::new(negated, other.currency))
    }
}

/// `EUR 12.50`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.currency, self.decimal())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        code.parse().unwrap()
    }

    #[test]
    fn codes() {
        assert_eq!(currency("EUR").exponent(), 2);
        assert_eq!(currency("JPY").exponent(), 0);
        assert_eq!(currency("TND").exponent(), 3);
        for bad in ["", "eur", "EU", "EURO", "E1R", "É1"] {
            assert_eq!(bad.parse::<Currency>(), Err(CurrencyError), "{bad}");
        }
    }

    #[test]
    fn decimal_numbers_are_exact() {
        for (text, code, minor, printed) in [
            ("12.50", "EUR", 1_250, "12.50"),
            ("12.5", "EUR", 1_250, "12.50"),
            ("0.07", "EUR", 7, "0.07"),
            ("-0.07", "EUR", -7, "-0.07"),
            ("007", "EUR", 700, "7.00"),
            ("12.5000", "EUR", 1_250, "12.50"),
            ("1200", "XOF", 1_200, "1200"),
            ("1200.0", "XOF", 1_200, "1200"),
            ("1.234", "KWD", 1_234, "1.234"),
            (
                "-92233720368547758.08",
                "EUR",
                i64::MIN,
                "-92233720368547758.08",
            ),
        ] {
            let money = Money::parse(text, currency(code)).unwrap();
            assert_eq!(
                (money.amount_minor, money.decimal().as_str()),
                (minor, printed),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_amount() {
        let eur = currency("EUR");
        for text in [
            "", "-", ".5", "1.", "1,5", "+1", "1e3", "0x1", "1.2.3", "--1", " 1", "١",
        ] {
            assert_eq!(
                Money::parse(text, eur),
                Err(MoneyError::NotDecimal),
                "{text}"
            );
        }
        assert_eq!(
            Money::parse("1.005", eur),
            Err(MoneyError::TooPrecise { currency: eur })
        );
        let huge = "92233720368547758.08";
        assert_eq!(Money::parse(huge, eur), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn sums_keep_to_one_currency_and_in_range() {
        let (eur, xof) = (currency("EUR"), currency("XOF"));
        let one = Money::new(1, eur);
        assert_eq!(one.checked_add(one), Ok(Money::new(2, eur)));
        assert_eq!(one.checked_sub(one), Ok(Money::new(0, eur)));
        assert_eq!(
            one.checked_add(Money::new(i64::MAX, eur)),
            Err(MoneyError::OutOfRange)
        );
        assert!(matches!(
            one.checked_add(Money::new(1, xof)),
            Err(MoneyError::CurrencyMismatch { .. })
        ));
        assert_eq!(Money::new(1_250, eur).to_string(), "EUR 12.50");
    }

    proptest! {
        #[test]
        fn every_amount_survives_text(minor: i64, code in "[A-Z]{3}") {
            let money = Money::new(minor, currency(&code));
            prop_assert_eq!(Money::parse(&money.decimal(), money.currency), Ok(money));
        }
    }
}
