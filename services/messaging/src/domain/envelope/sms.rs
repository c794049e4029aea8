//! What the short messages of a request have in common, and who gets one.

use publica_proto::messaging::v1 as api;
use publica_types::Timestamp;

use super::{Channel, Checked, Code, Common, Violation, finish, is_name};
use crate::domain::member::{self, Member};
use crate::domain::phone::{self, PhoneError};
use crate::domain::sms::{Cut, is_sender};
use crate::domain::template::{Compiled, Variant};

/// What an installation allows.
#[derive(Debug, Clone)]
pub(crate) struct SmsRules {
    /// Who messages come from that name nobody; may be empty.
    pub(crate) sender_id: String,
    /// The country of numbers with a leading 0; may be empty.
    pub(crate) country: String,
    /// Most parts of a message.
    pub(crate) parts: usize,
}

/// Checks everything that can be known without the store.
pub(crate) fn check_sms(
    envelope: api::SmsEnvelope,
    rules: &SmsRules,
    batch: bool,
    now: Timestamp,
) -> Result<Checked, Vec<Violation>> {
    let mut violations = Vec::new();
    let received = envelope.clone();
    let mut common = sender(&mut violations, envelope.sender.unwrap_or_default(), rules);
    let template = body(&mut violations, &mut common, envelope.body, rules);
    common.received_sms = Some(received);
    let rest = api::Envelope {
        priority: envelope.priority,
        callback: envelope.callback,
        send_time: envelope.send_time,
        expire_time: envelope.expire_time,
        category: envelope.category,
        mandatory: envelope.mandatory,
        transaction_id: envelope.transaction_id,
        ..api::Envelope::default()
    };
    finish(
        (violations, common, template),
        rest,
        Channel::Sms,
        batch,
        now,
    )
}

fn sender(violations: &mut Vec<Violation>, sender: api::SmsSender, rules: &SmsRules) -> Common {
    for (field, text, max) in [
        ("organisation_name", &sender.organisation_name, 255),
        ("organisation_number", &sender.organisation_number, 64),
        ("on_behalf_of_name", &sender.on_behalf_of_name, 255),
        ("on_behalf_of_number", &sender.on_behalf_of_number, 64),
    ] {
        member::text(violations, &format!("envelope.sender.{field}"), text, max);
    }
    let from = if sender.sender_id.is_empty() {
        rules.sender_id.clone()
    } else {
        sender.sender_id
    };
    if from.is_empty() {
        violations.push(Violation::new(
            Code::SchemaViolation,
            "envelope.sender.sender_id",
            "is required",
        ));
    } else if !is_sender(&from) {
        violations.push(Violation::new(
            Code::InvalidAddress,
            "envelope.sender.sender_id",
            "is neither a number of 3 to 15 digits nor a name of up to 11 letters and digits",
        ));
    }
    Common {
        from,
        organisation: sender.organisation_name,
        ..Common::default()
    }
}

/// Reads the body into `common`; returns the stored template that it names.
fn body(
    violations: &mut Vec<Violation>,
    common: &mut Common,
    body: Option<api::sms_envelope::Body>,
    rules: &SmsRules,
) -> Option<api::TemplateReference> {
    let mut refuse = |path: &str, why: String| {
        violations.push(Violation::new(Code::SchemaViolation, path, why));
    };
    let variant = |text: String| Variant {
        text,
        ..Variant::default()
    };
    match body {
        None => refuse("envelope.text", "is required".to_owned()),
        Some(api::sms_envelope::Body::Text(text)) => {
            if let Err(error) = Cut::new(&text, rules.parts) {
                refuse("envelope.text", error.to_string());
            }
            common.variants.push(variant(text));
        }
        Some(api::sms_envelope::Body::InlineTemplate(text)) => {
            let variant = variant(text);
            if variant.text.is_empty() {
                refuse("envelope.inline_template", "is required".to_owned());
            } else if let Err(error) = Compiled::new(&variant) {
                refuse("envelope.inline_template", error.to_string());
            }
            common.templated = true;
            common.variants.push(variant);
        }
        Some(api::sms_envelope::Body::Template(reference)) => {
            common.templated = true;
            if !is_name(&reference.name, 128) {
                refuse(
                    "envelope.template.name",
                    "is no name of a template".to_owned(),
                );
            }
            return Some(reference);
        }
    }
    None
}

/// Checks a recipient. `path` names it in violations.
pub(crate) fn check_recipient(
    recipient: api::SmsRecipient,
    rules: &SmsRules,
    path: &str,
) -> Result<Member, Vec<Violation>> {
    let number = phone::parse(&recipient.phone, &rules.country).map_err(|error| {
        let code = match error {
            PhoneError::Empty => Code::SchemaViolation,
            PhoneError::Control => Code::HeaderInjection,
            PhoneError::National | PhoneError::Shape => Code::InvalidAddress,
        };
        Violation::new(code, format!("{path}.phone"), error.to_string())
    });
    let rest = api::Recipient {
        locale: recipient.locale,
        parameters: recipient.parameters,
        process_id: recipient.process_id,
        ..api::Recipient::default()
    };
    let rest = Member::check_rest(rest, path);
    match (number, rest) {
        (Ok(number), Ok(member)) => Ok(Member {
            to: vec![number],
            ..member
        }),
        (number, rest) => {
            let mut violations: Vec<Violation> = number.err().into_iter().collect();
            violations.extend(rest.err().unwrap_or_default());
            Err(violations)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn rules() -> SmsRules {
        SmsRules {
            sender_id: String::new(),
            country: "254".to_owned(),
            parts: 2,
        }
    }

    fn envelope(text: &str) -> api::SmsEnvelope {
        api::SmsEnvelope {
            sender: Some(api::SmsSender {
                sender_id: "Ministry".to_owned(),
                ..api::SmsSender::default()
            }),
            body: Some(api::sms_envelope::Body::Text(text.to_owned())),
            ..api::SmsEnvelope::default()
        }
    }

    fn paths(found: Result<Checked, Vec<Violation>>) -> Vec<String> {
        let found = found.err().unwrap_or_default();
        found.into_iter().map(|one| one.path).collect()
    }

    #[test]
    fn a_sound_envelope_is_taken() {
        let checked = check_sms(envelope("Hello"), &rules(), false, NOW).unwrap();
        assert_eq!(
            (checked.channel, checked.common.from.as_str()),
            (Channel::Sms, "Ministry")
        );
        assert_eq!(checked.slot(), 12);
        let defaults = SmsRules {
            sender_id: "40404".to_owned(),
            ..rules()
        };
        let nameless = api::SmsEnvelope {
            sender: None,
            ..envelope("Hello")
        };
        let checked = check_sms(nameless, &defaults, true, NOW).unwrap();
        assert_eq!(
            (checked.common.from.as_str(), checked.slot()),
            ("40404", 13)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = check_sms(envelope(&"a".repeat(307)), &rules(), false, NOW);
        assert_eq!(paths(long), ["envelope.text"]);
        let mut wrong = envelope("{{ a");
        wrong.body = Some(api::sms_envelope::Body::InlineTemplate("{{ a".to_owned()));
        wrong.sender = None;
        wrong.category = "NO".to_owned();
        let found = paths(check_sms(wrong, &rules(), false, NOW));
        assert_eq!(
            found,
            [
                "envelope.sender.sender_id",
                "envelope.inline_template",
                "envelope.category"
            ]
        );
        assert_eq!(
            paths(check_sms(envelope(""), &rules(), false, NOW)),
            ["envelope.text"]
        );
    }

    #[test]
    fn recipients_have_numbers() {
        let recipient = |phone: &str| api::SmsRecipient {
            phone: phone.to_owned(),
            process_id: "case 1".to_owned(),
            ..api::SmsRecipient::default()
        };
        let both = check_recipient(recipient("x"), &rules(), "recipient").unwrap_err();
        let paths: Vec<_> = both.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["recipient.phone", "recipient.process_id"]);
        let sound = api::SmsRecipient {
            process_id: String::new(),
            ..recipient("0722 000 111")
        };
        let member = check_recipient(sound, &rules(), "recipient").unwrap();
        assert_eq!(member.to, ["+254722000111"]);
    }
}
