//! What one column of one line may hold. Addresses follow the rules of the blocks that they are
//! for, so that what is let in here is not refused in a later step.

/// What the value of a column must be, or why it is not that. `today` is a day as YYYY-MM-DD.
pub(super) fn check(column: &str, value: &str, today: &str) -> Result<(), String> {
    match column {
        "household_id" => printable(value, 100),
        // Both in one text are the name on a mail, which has at most 200 characters.
        "given_name" | "family_name" => printable(value, 99),
        "national_id" => {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            shape(
                digits && (6..=20).contains(&value.len()),
                "6 to 20 digits are",
            )
        }
        "date_of_birth" if !is_date(value) => shape(false, "a day as YYYY-MM-DD is"),
        "date_of_birth" if value > today => Err("lies in the future".to_owned()),
        "email" => shape(is_address(value), "an e-mail address is"),
        "language" => {
            let letters = value.bytes().all(|byte| byte.is_ascii_lowercase());
            shape(
                letters && (2..=3).contains(&value.len()),
                "a language code such as `en` is",
            )
        }
        "members" => shape(
            value
                .parse::<u32>()
                .is_ok_and(|members| (1..=50).contains(&members)),
            "a number from 1 to 50 is",
        ),
        "monthly_income_minor" => shape(
            value
                .parse::<i64>()
                .is_ok_and(|income| (0..=100_000_000_000).contains(&income)),
            "a whole number of minor units, 0 or more, is",
        ),
        "account" => shape(
            value.is_empty() || is_account(value),
            "nothing, or INSTITUTION-NUMBER with 5 letters and 4 to 20 digits, is",
        ),
        _ => Ok(()),
    }
}

fn printable(value: &str, most: usize) -> Result<(), String> {
    let length = value.chars().count();
    if value.trim().is_empty() {
        Err("a value is required".to_owned())
    } else if length > most {
        Err(format!("{length} characters, at most {most}"))
    } else if value.chars().any(char::is_control) {
        Err("holds a control character".to_owned())
    } else {
        Ok(())
    }
}

fn shape(sound: bool, expected: &str) -> Result<(), String> {
    if sound {
        Ok(())
    } else {
        Err(format!("{expected} expected"))
    }
}

/// An address that identity keeps for a person and that messaging can write to.
fn is_address(value: &str) -> bool {
    publica_identity::is_email(value) && publica_messaging::mailbox(value).is_some()
}

fn is_date(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u32>().unwrap_or(0))
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    year >= 1900 && (1..=days).contains(&day)
}

fn is_account(value: &str) -> bool {
    value.split_once('-').is_some_and(|(institution, number)| {
        institution.len() == 5
            && institution.bytes().all(|byte| byte.is_ascii_uppercase())
            && (4..=20).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_identity_and_messaging_take() {
        for good in ["a@example.org", "a.b+c@mail.example.org", "用户@例え.jp"] {
            assert_eq!(check("email", good, "2026-01-01"), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a",
            "a@",
            " a@example.org",
            "a@example..org",
            "a@-example.org",
            "a;b@example.org",
            "\"a b\"@example.org",
            "<a@example.org>",
            "a..b@example.org",
            "a@b_c.org",
        ] {
            assert!(check("email", bad, "2026-01-01").is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_is_born_tomorrow() {
        assert_eq!(check("date_of_birth", "2026-01-01", "2026-01-01"), Ok(()));
        assert_eq!(
            check("date_of_birth", "2026-01-02", "2026-01-01"),
            Err("lies in the future".to_owned())
        );
    }
}
