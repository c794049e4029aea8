//! One recipient entry, checked, in the form in which it is sealed.

use std::collections::BTreeMap;

use publica_proto::messaging::v1::Recipient;

use super::address::{AddressError, Mailbox};
use super::envelope::{Code, Violation};

/// Most addresses of one e-mail, copies included.
pub(crate) const ADDRESSES_MAX: usize = 50;
/// Most values for a template, and the longest of them.
pub(crate) const PARAMETERS_MAX: usize = 64;
pub(crate) const PARAMETER_LEN_MAX: usize = 8 * 1024;

/// A recipient entry. Its fields are personal data and live only in memory and sealed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Member {
    /// Place in the request's first chunk; part of the message's id.
    #[prost(int64, tag = "1")]
    pub(crate) pos: i64,
    #[prost(string, repeated, tag = "2")]
    pub(crate) to: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) cc: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(crate) bcc: Vec<String>,
    #[prost(string, tag = "5")]
    pub(crate) name: String,
    #[prost(string, tag = "6")]
    pub(crate) locale: String,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) parameters: BTreeMap<String, String>,
    /// Addresses that earlier attempts already served; they get no second copy.
    #[prost(string, repeated, tag = "8")]
    pub(crate) served: Vec<String>,
    /// Attempts that ended without an answer after the message had left.
    #[prost(int64, tag = "9")]
    pub(crate) unknown: i64,
    /// Addresses that are not written to: refused for good, or held back.
    #[prost(string, repeated, tag = "10")]
    pub(crate) dropped: Vec<String>,
    /// The case that this message belongs to, where it is another than the request's.
    #[prost(string, tag = "11")]
    pub(crate) process_id: String,
    /// Not to be sent after, in microseconds; 0 leaves it at what the request says.
    #[prost(int64, tag = "12")]
    pub(crate) expires: i64,
    /// Parts of a short message that earlier attempts got through; they are not sent again.
    #[prost(int64, repeated, tag = "13")]
    pub(crate) parts: Vec<i64>,
}

/// The members of a chunk.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Members {
    #[prost(message, repeated, tag = "1")]
    pub(crate) members: Vec<Member>,
}

impl Member {
    /// Checks an entry. `path` names it in violations.
    pub(crate) fn check(recipient: Recipient, path: &str) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut list = |field: &str, text: &str| {
            Mailbox::parse_list(text).unwrap_or_else(|(index, error)| {
                violations.push(address_violation(
                    &format!("{path}.{field}[{index}]"),
                    error,
                ));
                Vec::new()
            })
        };
        let to = list("email", &recipient.email);
        let cc = list("cc", &recipient.cc);
        let bcc = list("bcc", &recipient.bcc);
        if to.is_empty() && violations.is_empty() {
            violations.push(Violation::new(
                Code::SchemaViolation,
                format!("{path}.email"),
                "is required",
            ));
        }
        if to.len() + cc.len() + bcc.len() > ADDRESSES_MAX {
            violations.push(Violation::new(
                Code::SchemaViolation,
                format!("{path}.email"),
                "has more than 50 addresses, copies included",
            ));
        }
        let rest = Recipient {
            email: String::new(),
            cc: String::new(),
            bcc: String::new(),
            ..recipient
        };
        let rest = Self::check_rest(rest, path).map_err(|found| violations.extend(found));
        let (Ok(rest), true) = (rest, violations.is_empty()) else {
            return Err(violations);
        };
        let strings = |list: Vec<Mailbox>| list.into_iter().map(|one| one.to_string()).collect();
        Ok(Self {
            to: strings(to),
            cc: strings(cc),
            bcc: strings(bcc),
            ..rest
        })
    }

    /// Checks what entries of all channels have in common.
    pub(crate) fn check_rest(recipient: Recipient, path: &str) -> Result<Self, Vec<Violation>> {
        let mut violations = Vec::new();
        text(
            &mut violations,
            &format!("{path}.name"),
            &recipient.name,
            200,
        );
        text(
            &mut violations,
            &format!("{path}.locale"),
            &recipient.locale,
            35,
        );
        parameters(&mut violations, path, &recipient);
        if !recipient.process_id.is_empty() && !publica_rpc::is_sound_id(&recipient.process_id) {
            violations.push(Violation::new(
                Code::SchemaViolation,
                format!("{path}.process_id"),
                publica_rpc::SOUND_ID,
            ));
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        Ok(Self {
            name: recipient.name,
            locale: recipient.locale,
            parameters: recipient.parameters.into_iter().collect(),
            process_id: recipient.process_id,
            ..Self::default()
        })
    }

    /// Every address once, without those that were served or dropped.
    pub(crate) fn pending(&self) -> Vec<&str> {
        let mut pending: Vec<&str> = Vec::with_capacity(self.to.len());
        for address in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            let over = self.served.contains(address) || self.dropped.contains(address);
            if !over && !pending.contains(&address.as_str()) {
                pending.push(address);
            }
        }
        pending
    }

    /// Drops addresses that are held back. True when no addressee is left to write to; copies
    /// alone are no reason to send.
    pub(crate) fn hold_back(&mut self, held: impl IntoIterator<Item = String>) -> bool {
        self.dropped.extend(held);
        self.to.iter().all(|address| self.dropped.contains(address))
    }
}

fn address_violation(path: &str, error: AddressError) -> Violation {
    let code = match error {
        AddressError::Control => Code::HeaderInjection,
        _ => Code::InvalidAddress,
    };
    Violation::new(code, path.to_owned(), error.to_string())
}

/// Free text for a header: bounded, in one line.
pub(crate) fn text(violations: &mut Vec<Violation>, path: &str, text: &str, max: usize) {
    if text.chars().any(char::is_control) {
        violations.push(Violation::new(
            Code::HeaderInjection,
            path.to_owned(),
            "must not contain line breaks or control characters",
        ));
    } else if text.chars().count() > max {
        violations.push(Violation::new(
            Code::SchemaViolation,
            path.to_owned(),
            format!("is longer than {max} characters"),
        ));
    }
}

fn parameters(violations: &mut Vec<Violation>, path: &str, recipient: &Recipient) {
    let mut refuse = |why: &str| {
        violations.push(Violation::new(
            Code::SchemaViolation,
            format!("{path}.parameters"),
            why.to_owned(),
        ));
    };
    if recipient.parameters.len() > PARAMETERS_MAX {
        refuse("has more than 64 values");
    }
    if recipient
        .parameters
        .iter()
        .any(|(name, value)| name.is_empty() || name.len() > 64 || value.len() > PARAMETER_LEN_MAX)
    {
        refuse("has a name or value that is empty or too long");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(email: &str) -> Recipient {
        Recipient {
            email: email.to_owned(),
            ..Recipient::default()
        }
    }

    #[test]
    fn copies_are_sent_once() {
        let member = Member::check(
            Recipient {
                cc: "b@x.example, a@x.example".to_owned(),
                bcc: "c@x.example".to_owned(),
                ..recipient("a@x.example")
            },
            "recipient",
        )
        .unwrap();
        assert_eq!(
            member.pending(),
            ["a@x.example", "b@x.example", "c@x.example"]
        );
        let later = Member {
            served: vec!["b@x.example".to_owned()],
            ..member
        };
        assert_eq!(later.pending(), ["a@x.example", "c@x.example"]);
        let mut held = later;
        assert!(!held.hold_back(["c@x.example".to_owned()]));
        assert_eq!(held.pending(), ["a@x.example"]);
        assert!(held.hold_back(["a@x.example".to_owned()]));
    }

    #[test]
    fn violations_name_the_place_and_not_the_address() {
        let many = vec!["a@x.example"; 51].join(",");
        for (entry, code, path) in [
            (recipient(""), Code::SchemaViolation, "recipient.email"),
            (
                recipient("a@x.example,b"),
                Code::InvalidAddress,
                "recipient.email[1]",
            ),
            (
                recipient("a\n@x.example"),
                Code::HeaderInjection,
                "recipient.email[0]",
            ),
            (recipient(&many), Code::SchemaViolation, "recipient.email"),
            (
                Recipient {
                    name: "a\r\nBcc: x".to_owned(),
                    ..recipient("a@x.example")
                },
                Code::HeaderInjection,
                "recipient.name",
            ),
            (
                Recipient {
                    process_id: "a case".to_owned(),
                    ..recipient("a@x.example")
                },
                Code::SchemaViolation,
                "recipient.process_id",
            ),
        ] {
            let violations = Member::check(entry, "recipient").unwrap_err();
            assert_eq!(
                (violations[0].code, violations[0].path.as_str()),
                (code, path)
            );
            assert!(!violations[0].why.contains("x.example"));
        }
    }
}
