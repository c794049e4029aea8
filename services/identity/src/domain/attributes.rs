//! What is known about a person.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::identifier::is_email;

/// Most attributes that one person can have, languages counted one by one.
pub(crate) const MAX_ATTRIBUTES: usize = 128;
const MAX_NAME_LEN: usize = 64;
const MAX_VALUE_LEN: usize = 4_096;
const MAX_LANGUAGE_LEN: usize = 35;

/// Attributes by name, and for each name the values by language; the empty language is that of
/// a value without one. Serialised in this order it is always the same text, so it can be
/// compared and hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Attributes(BTreeMap<String, BTreeMap<String, String>>);

impl Attributes {
    /// Adds a value, or says what is wrong with it. An empty value removes what is there.
    pub(crate) fn set(
        &mut self,
        name: &str,
        language: &str,
        value: &str,
    ) -> Result<(), &'static str> {
        check_name(name)?;
        check_language(language)?;
        let value = value.trim();
        if value.len() > MAX_VALUE_LEN {
            return Err("is longer than 4,096 bytes");
        }
        if value.chars().any(char::is_control) {
            return Err("holds control characters");
        }
        check_value(name, value)?;
        if value.is_empty() {
            if let Some(values) = self.0.get_mut(name) {
                values.remove(language);
                if values.is_empty() {
                    self.0.remove(name);
                }
            }
            return Ok(());
        }
        self.0
            .entry(name.to_owned())
            .or_default()
            .insert(language.to_owned(), value.to_owned());
        if self.len() > MAX_ATTRIBUTES {
            Err("are more than 128")
        } else {
            Ok(())
        }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Values of one attribute by language.
    pub(crate) fn values(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(name)
    }

    /// The value without a language, or else the first of any language.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        let values = self.0.get(name)?;
        values
            .get("")
            .or_else(|| values.values().next())
            .map(String::as_str)
    }

    /// Every value with its name and language.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().flat_map(|(name, values)| {
            values
                .iter()
                .map(move |(language, value)| (name.as_str(), language.as_str(), value.as_str()))
        })
    }

    /// Names of the attributes that are there.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether someone can be called by what is known.
    pub(crate) fn has_a_name(&self) -> bool {
        self.0.contains_key("name")
            || (self.0.contains_key("given_name") && self.0.contains_key("family_name"))
    }

    /// Every text that is part of a name, for the search by name.
    pub(crate) fn name_texts(&self) -> impl Iterator<Item = &str> {
        const NAMES: [&str; 5] = [
            "name",
            "given_name",
            "middle_name",
            "family_name",
            "preferred_username",
        ];
        NAMES
            .into_iter()
            .filter_map(|name| self.0.get(name))
            .flat_map(|values| values.values().map(String::as_str))
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(allowed) {
        return Err("has a name other than 1 to 64 of a-z, 0-9, _ and .");
    }
    Ok(())
}

/// Values of standard claims have the form of the standard (OpenID Connect Core, 5.1); whether
/// they are true is not found out here.
fn check_value(name: &str, value: &str) -> Result<(), &'static str> {
    if value.is_empty() {
        return Ok(());
    }
    let flag = matches!(value, "true" | "false");
    match name {
        "birthdate" if !is_birthdate(value) => Err("is no day such as 1980-05-12"),
        "email" if !is_email(value) => Err("is no e-mail address"),
        "email_verified" | "phone_number_verified" if !flag => Err("is neither true nor false"),
        "phone_number" if !is_phone_number(value) => Err("is no telephone number"),
        _ => Ok(()),
    }
}

/// A day; a year alone where the day is not known, or `0000` for the year where that is not.
fn is_birthdate(text: &str) -> bool {
    let digits = |part: &str, length: usize| -> Option<u32> {
        let sound = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| part.parse().ok()).flatten()
    };
    let mut parts = text.split('-');
    let Some(year) = parts.next().and_then(|part| digits(part, 4)) else {
        return false;
    };
    let (month, day) = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => return year > 0,
        (Some(month), Some(day), None) => (digits(month, 2), digits(day, 2)),
        _ => return false,
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        Some(1 | 3 | 5 | 7 | 8 | 10 | 12) => 31,
        Some(4 | 6 | 9 | 11) => 30,
        Some(2) => 28 + u32::from(leap),
        _ => 0,
    };
    day.is_some_and(|day| (1..=longest).contains(&day))
}

/// Digits as people write them, with an extension or not.
fn is_phone_number(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_digit() || b"+ -()./;=ext".contains(&byte);
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.len() <= 40 && text.bytes().all(allowed) && (3..=20).contains(&digits)
}

fn check_language(language: &str) -> Result<(), &'static str> {
    let sound = language.len() <= MAX_LANGUAGE_LEN
        && language.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        });
    if language.is_empty() || sound {
        Ok(())
    } else {
        Err("has a language that is no BCP 47 tag")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_by_language() {
        let mut attributes = Attributes::default();
        attributes.set("name", "", "Amina Yusuf").unwrap();
        attributes.set("name", "ar", "أمينة يوسف").unwrap();
        assert_eq!(attributes.len(), 2);
        assert_eq!(attributes.first("name"), Some("Amina Yusuf"));
        assert!(attributes.has_a_name());
        attributes.set("name", "", "").unwrap();
        assert_eq!(attributes.first("name"), Some("أمينة يوسف"));
        attributes.set("name", "ar", " ").unwrap();
        assert!(!attributes.has_a_name());
        assert_eq!(attributes.len(), 0);
    }

    #[test]
    fn bad_values_are_refused() {
        let mut attributes = Attributes::default();
        for (name, language, value) in [
            ("", "", "x"),
            ("Name", "", "x"),
            ("name", "e n", "x"),
            ("name", "-", "x"),
            ("name", "", "a\u{0}b"),
            ("name", "", &"x".repeat(4_097)),
            ("birthdate", "", "1980-13-12"),
            ("birthdate", "", "1981-02-29"),
            ("birthdate", "", "1980/05/12"),
            ("birthdate", "", "1980-5-12"),
            ("birthdate", "", "0000"),
            ("birthdate", "", "1980-05"),
            ("email", "", "amina"),
            ("email_verified", "", "yes"),
            ("phone_number", "", "call me"),
        ] {
            assert!(
                attributes.set(name, language, value).is_err(),
                "{name} {language}"
            );
        }
    }

    #[test]
    fn standard_claims_have_their_form() {
        let mut attributes = Attributes::default();
        for (name, value) in [
            ("birthdate", "1980-02-29"),
            ("birthdate", "1980"),
            ("birthdate", "0000-05-12"),
            ("email", "amina@example.org"),
            ("phone_number", "+1 (604) 555-1234;ext=5678"),
            ("phone_number_verified", "true"),
            ("residence", "anything"),
        ] {
            assert_eq!(attributes.set(name, "", value), Ok(()), "{name} {value}");
        }
    }

    #[test]
    fn order_of_setting_leaves_no_trace() {
        let mut one = Attributes::default();
        one.set("name", "", "A").unwrap();
        one.set("gender", "", "female").unwrap();
        let mut two = Attributes::default();
        two.set("gender", "", "female").unwrap();
        two.set("name", "", "A").unwrap();
        assert_eq!(
            serde_json::to_string(&one).unwrap(),
            serde_json::to_string(&two).unwrap()
        );
    }
}
