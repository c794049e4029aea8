//! Taking in short messages, and telling beforehand what they take.

use publica_proto::messaging::v1 as api;

use super::accept::{Taking, both, values_of};
use super::batch::Batch;
use super::{App, Who};
use crate::config::decimal;
use crate::domain::envelope::{Code, SmsRules, Violation, check_recipient, check_sms};
use crate::domain::member::Member;
use crate::domain::sms::Cut;
use crate::error::Error;

impl App {
    /// What this installation allows.
    pub(super) fn sms_rules(&self) -> SmsRules {
        let sms = &self.config().sms;
        SmsRules {
            sender_id: sms.sender_id.clone(),
            country: sms.country_code.clone(),
            parts: sms.max_parts,
        }
    }

    fn sms_is_set_up(&self) -> Result<(), Error> {
        if !self.config().sms.is_set_up() {
            return Err(Error::NotSetUp);
        }
        Ok(())
    }

    /// Queues one short message.
    pub(crate) async fn send_sms(
        &self,
        who: &Who,
        message: api::SendSmsRequest,
    ) -> Result<api::SendSmsResponse, Error> {
        self.sms_is_set_up()?;
        let rules = self.sms_rules();
        let envelope = message.envelope.unwrap_or_default();
        let checked = check_sms(envelope, &rules, false, self.now());
        let recipient = message.recipient.unwrap_or_default();
        let member = check_recipient(recipient, &rules, "recipient");
        let (checked, member) = both(checked, member)?;
        let house = self.house(&who.origin.tenant).await?;
        let checked = self.admit(who, &house, checked).await?;
        let text = values_of(&checked, &member)?.text;
        Cut::new(&text, rules.parts).map_err(|error| too_long(&error.to_string()))?;
        let taking = Taking {
            name: "messaging.send_sms",
            rpc: "/publica.messaging.v1.SmsService/SendSms",
            request_id: message.request_id,
        };
        let done = self.take_in(who, &house, (checked, member), taking).await?;
        Ok(api::SendSmsResponse {
            request_uid: done.request_uid,
            message_id: done.message_id,
            accept_time: done.accept_time,
            replayed: done.replayed,
        })
    }

    /// Begins a batch of short messages.
    pub(crate) async fn begin_sms_batch(
        &self,
        who: Who,
        header: api::SmsBatchHeader,
    ) -> Result<Batch, Error> {
        self.sms_is_set_up()?;
        let envelope = header.envelope.unwrap_or_default();
        let checked = check_sms(envelope, &self.sms_rules(), true, self.now());
        let checked = checked.map_err(Error::Unsound)?;
        self.begin(who, checked, header.request_id).await
    }

    /// How a text would be sent, and what it costs.
    pub(crate) async fn preview_sms(
        &self,
        who: &Who,
        message: api::PreviewSmsRequest,
    ) -> Result<api::PreviewSmsResponse, Error> {
        let rules = SmsRules {
            // Only the body is looked at.
            sender_id: "000".to_owned(),
            parts: crate::domain::sms::PARTS_LIMIT,
            ..self.sms_rules()
        };
        let mut recipient = message.recipient.unwrap_or_default();
        let known = !recipient.phone.trim().is_empty();
        if !known {
            // Any sound number will do.
            "+1111111".clone_into(&mut recipient.phone);
        }
        let member: Member =
            check_recipient(recipient, &rules, "recipient").map_err(Error::Unsound)?;
        let envelope = api::SmsEnvelope {
            sender: None,
            ..message.envelope.unwrap_or_default()
        };
        let mut checked = check_sms(envelope, &rules, false, self.now()).map_err(Error::Unsound)?;
        let house = self.house(&who.origin.tenant).await?;
        if let Some(reference) = checked.template.take() {
            checked.common.variants = self.resolve(&house.db, &reference).await?;
        }
        let text = values_of(&checked, &member)?.text;
        let cut = Cut::new(&text, rules.parts).map_err(|error| too_long(&error.to_string()))?;
        let sms = &self.config().sms;
        let number = member.to.first().filter(|_| known);
        let price = sms.price(number.map_or("", String::as_str));
        let count = u64::try_from(cut.parts.len()).unwrap_or(u64::MAX);
        let (units, room) = (cut.units(), cut.room() * cut.parts.len());
        Ok(api::PreviewSmsResponse {
            alphabet: cut.alphabet.name().to_owned(),
            unit_count: i32::try_from(units).unwrap_or(i32::MAX),
            unit_room: i32::try_from(room).unwrap_or(i32::MAX),
            price: price.map_or_else(String::new, |one| decimal(one.saturating_mul(count))),
            currency: price.map_or_else(String::new, |_| sms.currency.clone()),
            parts: cut.parts.into_iter().map(|part| part.text).collect(),
        })
    }
}

fn too_long(why: &str) -> Error {
    Error::Unsound(vec![Violation::new(
        Code::SchemaViolation,
        "envelope.text",
        why,
    )])
}
