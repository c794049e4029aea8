//! Telephone numbers in their international form (ITU-T E.164).

/// Fewest and most digits of an international number.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
/// What people put between digits.
const BETWEEN: &[char] = &[
    ' ', '-', '.', '(', ')', '/', '\u{a0}', '\u{202f}', '\u{2011}',
];

/// Why a text is no number. The text itself is never repeated: it is personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PhoneError {
    #[error("is empty")]
    Empty,
    #[error("must not contain line breaks or control characters")]
    Control,
    #[error("must begin with + and the code of a country")]
    National,
    #[error("is no telephone number of 7 to 15 digits")]
    Shape,
}

/// Reads a number. `country` is the code that a number with a leading 0 gets in its place, if
/// there is one.
pub(crate) fn parse(text: &str, country: &str) -> Result<String, PhoneError> {
    if text.chars().any(char::is_control) {
        return Err(PhoneError::Control);
    }
    let bare: String = text.chars().filter(|one| !BETWEEN.contains(one)).collect();
    if bare.is_empty() {
        return Err(PhoneError::Empty);
    }
    let digits = if let Some(rest) = bare.strip_prefix('+').or_else(|| bare.strip_prefix("00")) {
        rest.to_owned()
    } else if let (Some(rest), false) = (bare.strip_prefix('0'), country.is_empty()) {
        format!("{country}{rest}")
    } else if bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PhoneError::National);
    } else {
        return Err(PhoneError::Shape);
    };
    let sound = DIGITS.contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if sound {
        Ok(format!("+{digits}"))
    } else {
        Err(PhoneError::Shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_number_are_one() {
        for text in [
            "+254 722 000 111",
            "+254-722-000.111",
            "00254722000111",
            "+254 (722) 000/111",
            "0722 000 111",
        ] {
            assert_eq!(parse(text, "254").as_deref(), Ok("+254722000111"), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for (text, error) in [
            ("", PhoneError::Empty),
            (" - ", PhoneError::Empty),
            ("+254\n722", PhoneError::Control),
            ("722000111", PhoneError::National),
            ("0722000111", PhoneError::National),
            ("+123456", PhoneError::Shape),
            ("+1234567890123456", PhoneError::Shape),
            ("+0722000111", PhoneError::Shape),
            ("+254x722000111", PhoneError::Shape),
            ("++254722000111", PhoneError::Shape),
            ("anna@home.example", PhoneError::Shape),
            ("+٢٥٤٧٢٢٠٠٠١١١", PhoneError::Shape),
        ] {
            assert_eq!(parse(text, ""), Err(error), "{text}");
        }
    }
}
