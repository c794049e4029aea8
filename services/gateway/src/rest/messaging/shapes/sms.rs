//! The bodies of short messages. Nobody publishes any; they are those of e-mail, with a number
//! where that has an address, and without what a short message cannot carry.

use publica_proto::messaging::v1 as api;
use serde::Deserialize;

use super::{Callback, items, missing};
use crate::rest::messaging::error::Refusal;

/// The member that holds a list.
const LIST: &str = "batchSmsAsBase64";

/// The body of both sending paths.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::rest::messaging) struct SendSms {
    #[serde(alias = "callbackURI", alias = "callbackUri")]
    callback: Option<Callback>,
    #[serde(rename = "senderInfo")]
    sender: Option<Sender>,
    #[serde(rename = "recipientInfo")]
    recipient: Option<RecipientInfo>,
    #[serde(rename = "smsContent")]
    content: Option<SmsContent>,
    #[serde(rename = "transactionId")]
    pub(in crate::rest::messaging) transaction_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sender {
    organisation_name: Option<String>,
    organisation_reg_nr: Option<String>,
    on_behalf_of_name: Option<String>,
    on_behalf_of_reg_nr: Option<String>,
    sender_id: Option<String>,
}

/// The union of both recipient shapes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RecipientInfo {
    #[serde(alias = "phoneNumber")]
    phone: Option<String>,
    #[serde(rename = "processId")]
    process_id: Option<String>,
    #[serde(rename = "batchSmsAsBase64", alias = "batchSMSAsBase64")]
    list: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SmsContent {
    content: Option<String>,
}

/// An item of a list: in its object, or bare.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    #[serde(rename = "recipientInfo")]
    recipient: Option<RecipientInfo>,
    #[serde(flatten)]
    bare: RecipientInfo,
}

/// Who gets it.
#[derive(Debug)]
pub(in crate::rest::messaging) enum Recipients {
    One(api::SmsRecipient),
    List(Vec<api::SmsRecipient>),
}

impl SendSms {
    /// The common part of the messages.
    pub(in crate::rest::messaging) fn envelope(&mut self) -> Result<api::SmsEnvelope, Refusal> {
        // Where the operator has set a sender up, nobody needs to be named.
        let sender = self.sender.take().unwrap_or_default();
        let content = self.content.take();
        let content = content.ok_or_else(|| missing("/smsContent"))?;
        let text = content.content.unwrap_or_default();
        Ok(api::SmsEnvelope {
            sender: Some(api::SmsSender {
                sender_id: sender.sender_id.unwrap_or_default(),
                organisation_name: sender.organisation_name.unwrap_or_default(),
                organisation_number: sender.organisation_reg_nr.unwrap_or_default(),
                on_behalf_of_name: sender.on_behalf_of_name.unwrap_or_default(),
                on_behalf_of_number: sender.on_behalf_of_reg_nr.unwrap_or_default(),
            }),
            body: Some(api::sms_envelope::Body::Text(text)),
            callback: self.callback.take().and_then(Callback::address),
            transaction_id: self.transaction_id.clone().unwrap_or_default(),
            ..api::SmsEnvelope::default()
        })
    }

    /// Who gets it.
    pub(in crate::rest::messaging) fn recipients(&mut self) -> Result<Recipients, Refusal> {
        let recipient = self.recipient.take();
        let recipient = recipient.ok_or_else(|| missing("/recipientInfo"))?;
        let Some(list) = &recipient.list else {
            return Ok(Recipients::One(recipient.into_recipient()));
        };
        let items: Vec<Item> = items(list, LIST)?;
        let all = items
            .into_iter()
            .map(|item| item.recipient.unwrap_or(item.bare).into_recipient());
        Ok(Recipients::List(all.collect()))
    }
}

impl RecipientInfo {
    fn into_recipient(self) -> api::SmsRecipient {
        api::SmsRecipient {
            phone: self.phone.unwrap_or_default(),
            process_id: self.process_id.unwrap_or_default(),
            ..api::SmsRecipient::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::{Value, json};

    use super::*;
    use crate::rest::messaging::error::Code;

    fn read(body: &Value) -> SendSms {
        serde_json::from_value(body.clone()).unwrap()
    }

    fn listed(list: &Value) -> Result<Recipients, Refusal> {
        let list = base64::engine::general_purpose::STANDARD.encode(list.to_string());
        read(&json!({"recipientInfo": {"batchSmsAsBase64": list}})).recipients()
    }

    #[test]
    fn both_recipient_shapes_are_read() {
        let one = read(&json!({"recipientInfo": {"phoneNumber": "+254722000111"}})).recipients();
        assert!(matches!(one, Ok(Recipients::One(one)) if one.phone == "+254722000111"));
        let both = json!([
            {"recipientInfo": {"phone": "+254722000111", "processId": "p"}},
            {"phone": "+254722000112", "name": "not needed"},
        ]);
        let Ok(Recipients::List(both)) = listed(&both) else {
            panic!("no list");
        };
        let numbers: Vec<_> = both.iter().map(|one| one.phone.as_str()).collect();
        assert_eq!(numbers, ["+254722000111", "+254722000112"]);
        assert_eq!(both[0].process_id, "p");
    }

    #[test]
    fn what_is_missing_is_named() {
        let code = |refusal: Refusal| refusal.code;
        for (list, expected) in [
            (json!([]), Code::EmptyBatch),
            (json!([1]), Code::SchemaViolation),
            (json!(7), Code::SchemaViolation),
        ] {
            assert_eq!(listed(&list).map_err(code).err(), Some(expected));
        }
        let nobody = read(&json!({})).recipients();
        assert_eq!(nobody.map_err(code).err(), Some(Code::SchemaViolation));
        let nothing = read(&json!({"senderInfo": {}})).envelope();
        assert_eq!(nothing.map_err(code).err(), Some(Code::SchemaViolation));
    }
}
