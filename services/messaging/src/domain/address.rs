//! Mailboxes and lists of them.

use std::fmt;

/// Longest local part, domain and whole path (RFC 5321, 4.5.3.1).
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;
const PATH_MAX: usize = 254;

/// A mailbox that may stand in an envelope: the domain in its ASCII form, the local part as
/// it was given.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Mailbox(String);

/// Why a text is no mailbox. The text itself is never repeated: it is personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("is empty")]
    Empty,
    #[error("must have one @ between a local part and a domain")]
    Shape,
    #[error("has a local part that RFC 5321 does not allow")]
    LocalPart,
    #[error("has a domain that DNS does not allow")]
    Domain,
    #[error("is too long")]
    Long,
    #[error("must not contain line breaks or control characters")]
    Control,
}

impl Mailbox {
    /// Reads one mailbox. Surrounding spaces are dropped; a display name is not allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        if text.chars().any(char::is_control) {
            return Err(AddressError::Control);
        }
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Shape)?;
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Shape);
        }
        if local.len() > LOCAL_MAX {
            return Err(AddressError::Long);
        }
        // Bringing a domain to its ASCII form takes the square of its length.
        if domain.len() > DOMAIN_MAX * 4 {
            return Err(AddressError::Long);
        }
        if !is_dot_string(local) && !is_quoted_string(local) {
            return Err(AddressError::LocalPart);
        }
        let domain = ascii_domain(domain)?;
        let mailbox = format!("{local}@{domain}");
        if mailbox.len() > PATH_MAX {
            return Err(AddressError::Long);
        }
        Ok(Self(mailbox))
    }

    /// Reads a list separated by commas. The error names the index of the first bad entry.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, (usize, AddressError)> {
        let mut mailboxes = Vec::new();
        for (index, part) in split_list(text).into_iter().enumerate() {
            mailboxes.push(Self::parse(part).map_err(|error| (index, error))?);
        }
        Ok(mailboxes)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mailbox as it stands in the envelope of a mail to it: the domain in its ASCII form and lower
/// case, the local part as given. `None` if this block would not write to it.
pub fn mailbox(text: &str) -> Option<String> {
    Mailbox::parse(text).ok().map(|mailbox| mailbox.0)
}

/// The form under which an address is looked up: two spellings that reach one mailbox at
/// practically every receiver hash alike.
pub(crate) fn lookup_form(address: &str) -> String {
    address.trim().to_lowercase()
}

/// The domain in its ASCII form and lower case.
pub(crate) fn ascii_domain(domain: &str) -> Result<String, AddressError> {
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| AddressError::Domain)?;
    if ascii.len() > DOMAIN_MAX || !ascii.split('.').all(is_label) {
        return Err(AddressError::Domain);
    }
    Ok(ascii)
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_atom_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char) || !char.is_ascii()
}

fn is_dot_string(local: &str) -> bool {
    local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char))
}

fn is_quoted_string(local: &str) -> bool {
    let Some(inner) = local
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return false;
    };
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return false,
            '\\' if chars.next().is_none() => return false,
            _ => {}
        }
    }
    !inner.is_empty()
}

/// Splits at commas outside quoted local parts.
fn split_list(text: &str) -> Vec<&str> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_and_odd_mailboxes_are_read() {
        for (text, expected) in [
            ("a@b.example", "a@b.example"),
            (" first.last+tag@Example.ORG ", "first.last+tag@example.org"),
            ("\"odd, one\"@b.example", "\"odd, one\"@b.example"),
            ("anna@münchen.example", "anna@xn--mnchen-3ya.example"),
            ("жанна@b.example", "жанна@b.example"),
            ("o'neil@b.example", "o'neil@b.example"),
        ] {
            assert_eq!(Mailbox::parse(text).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn what_is_no_mailbox_is_refused() {
        let long = format!("{}@b.example", "a".repeat(65));
        for (text, expected) in [
            ("", AddressError::Empty),
            ("a", AddressError::Shape),
            ("@b.example", AddressError::Shape),
            ("a@", AddressError::Shape),
            ("a..b@c.example", AddressError::LocalPart),
            ("a b@c.example", AddressError::LocalPart),
            ("a@b@c.example", AddressError::LocalPart),
            ("<a@c.example>", AddressError::LocalPart),
            ("a@-b.example", AddressError::Domain),
            ("a@b_c.example", AddressError::Domain),
            ("a@b..example", AddressError::Domain),
            (
                "a@b.example\r\nRCPT TO:<x@y.example>",
                AddressError::Control,
            ),
            ("a\0@b.example", AddressError::Control),
            (long.as_str(), AddressError::Long),
        ] {
            assert_eq!(Mailbox::parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_list_names_the_index_of_its_bad_entry() {
        let list = Mailbox::parse_list("a@b.example, \"x,y\"@b.example,c@b.example").unwrap();
        assert_eq!(list.len(), 3);
        assert_eq!(list[1].domain(), "b.example");
        assert_eq!(
            Mailbox::parse_list("a@b.example,nobody"),
            Err((1, AddressError::Shape))
        );
        assert_eq!(
            Mailbox::parse_list("a@b.example,"),
            Err((1, AddressError::Empty))
        );
        assert!(Mailbox::parse_list("  ").unwrap().is_empty());
    }

    #[test]
    fn lookup_ignores_case() {
        assert_eq!(lookup_form(" Anna@B.Example "), "anna@b.example");
    }

    proptest! {
        #[test]
        fn any_address_is_read_or_refused(
            text in prop_oneof![
                "\\PC{0,40}",
                "[a-zA-Z0-9.+_\"\\\\ éüß-]{0,20}@[a-zA-Z0-9.éüßİ例-]{1,30}",
                "\"[ -~]{0,12}\"@[a-z]{1,4}\\.[a-z]{2}",
            ]
        ) {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                prop_assert!(mailbox.as_str().len() <= PATH_MAX);
                prop_assert_eq!(Mailbox::parse(mailbox.as_str()), Ok(mailbox));
            }
        }

        #[test]
        fn any_list_is_read_or_refused(text in "[ab@.,\"\\\\ ]{0,40}") {
            if let Ok(list) = Mailbox::parse_list(&text) {
                let joined = list.iter().map(Mailbox::as_str).collect::<Vec<_>>().join(", ");
                prop_assert_eq!(Mailbox::parse_list(&joined), Ok(list));
            }
        }
    }

    #[test]
    fn long_domains_are_refused_before_they_are_worked_on() {
        let long = format!("a@{}", "é".repeat(1_000_000));
        assert_eq!(Mailbox::parse(&long), Err(AddressError::Long));
    }
}
