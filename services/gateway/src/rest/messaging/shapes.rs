//! The published bodies, in all the spellings that the documents and their users have.

mod sms;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use publica_proto::messaging::v1 as api;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::POSTS;
use super::error::{Code, Refusal};
use crate::body::{self, BodyFault, is_json};

pub(super) use sms::{Recipients, SendSms};

/// Decoded lists may have this size, and bodies the size that it takes to encode them.
pub(super) const LIST_MAX: usize = 16 * 1024 * 1024;
pub(super) const BODY_MAX: usize = 24 * 1024 * 1024;
/// Items of a list.
pub(super) const ITEMS_MAX: usize = 50_000;
/// Nesting of a body.
const DEPTH_MAX: usize = 32;

/// The body of both sending paths.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Send {
    #[serde(alias = "callbackURI", alias = "callbackUri")]
    callback: Option<Callback>,
    #[serde(rename = "senderInfo")]
    sender: Option<Sender>,
    #[serde(rename = "recipientInfo")]
    pub(super) recipient: Option<RecipientInfo>,
    #[serde(rename = "emailContent")]
    content: Option<EmailContent>,
    #[serde(rename = "transactionId")]
    pub(super) transaction_id: Option<String>,
}

/// An address, bare or in an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Callback {
    Bare(String),
    Object {
        #[serde(alias = "URI", alias = "url", default)]
        uri: Option<String>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Sender {
    organisation_name: Option<String>,
    organisation_reg_nr: Option<String>,
    on_behalf_of_name: Option<String>,
    on_behalf_of_reg_nr: Option<String>,
    email: Option<String>,
    reply_to: Option<String>,
    name: Option<String>,
}

/// The union of both recipient shapes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecipientInfo {
    email: Option<String>,
    #[serde(rename = "emailCC", alias = "emailCc")]
    email_cc: Option<String>,
    #[serde(rename = "emailBCC", alias = "emailBcc")]
    email_bcc: Option<String>,
    name: Option<String>,
    #[serde(rename = "processId")]
    process_id: Option<String>,
    #[serde(rename = "batchEmailAsBase64")]
    pub(super) list: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EmailContent {
    encoding: Option<String>,
    title: Option<String>,
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

/// The body of an answer to a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer {
    pub(super) meta: Option<String>,
    pub(super) content: Option<String>,
}

/// A member that has to be there.
pub(super) fn missing(pointer: &str) -> Refusal {
    let what = format!("{pointer} is required.");
    Refusal::input(Code::SchemaViolation, what, POSTS).with(pointer, "is required")
}

impl Callback {
    /// The address, if there is one.
    fn address(self) -> Option<api::Callback> {
        let (Self::Bare(url) | Self::Object { uri: Some(url) }) = self else {
            return None;
        };
        (!url.is_empty()).then_some(api::Callback { url })
    }
}

impl Send {
    /// The common part of the messages.
    pub(super) fn envelope(&mut self) -> Result<api::Envelope, Refusal> {
        let sender = self.sender.take().ok_or_else(|| missing("/senderInfo"))?;
        let content = self
            .content
            .take()
            .ok_or_else(|| missing("/emailContent"))?;
        Ok(api::Envelope {
            sender: Some(api::Sender {
                email: sender.email.unwrap_or_default(),
                name: sender.name.unwrap_or_default(),
                reply_to: sender.reply_to.unwrap_or_default(),
                organisation_name: sender.organisation_name.unwrap_or_default(),
                organisation_number: sender.organisation_reg_nr.unwrap_or_default(),
                on_behalf_of_name: sender.on_behalf_of_name.unwrap_or_default(),
                on_behalf_of_number: sender.on_behalf_of_reg_nr.unwrap_or_default(),
            }),
            body: Some(api::envelope::Body::Content(api::Content {
                subject: content.title.unwrap_or_default(),
                text: content.content.unwrap_or_default(),
                html: String::new(),
                charset: content.encoding.unwrap_or_default(),
            })),
            callback: self.callback.take().and_then(Callback::address),
            transaction_id: self.transaction_id.clone().unwrap_or_default(),
            ..api::Envelope::default()
        })
    }
}

impl RecipientInfo {
    pub(super) fn into_recipient(self) -> api::Recipient {
        api::Recipient {
            email: self.email.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            cc: self.email_cc.unwrap_or_default(),
            bcc: self.email_bcc.unwrap_or_default(),
            process_id: self.process_id.unwrap_or_default(),
            ..api::Recipient::default()
        }
    }
}

/// The recipients in a base64 list.
pub(super) fn recipients(list: &str) -> Result<Vec<api::Recipient>, Refusal> {
    let items: Vec<Item> = items(list, "batchEmailAsBase64")?;
    let all = items
        .into_iter()
        .map(|item| item.recipient.unwrap_or(item.bare).into_recipient());
    Ok(all.collect())
}

/// The items in the base64 list that a member of `recipientInfo` is.
fn items<T: DeserializeOwned>(list: &str, member: &str) -> Result<Vec<T>, Refusal> {
    let refuse = |code: Code, why: &str| {
        let pointer = format!("/recipientInfo/{member}");
        Err(Refusal::input(code, format!("{member} {why}."), POSTS).with(pointer, why))
    };
    let Some(decoded) = decode(list) else {
        return refuse(Code::InvalidBase64, "is no base64");
    };
    if decoded.len() > LIST_MAX {
        return refuse(Code::BatchTooLarge, "is larger than 16 MiB");
    }
    if std::str::from_utf8(&decoded).is_err() {
        return refuse(Code::MalformedJson, "is not UTF-8");
    }
    if depth(&decoded) > DEPTH_MAX {
        return refuse(Code::MalformedJson, "is nested too deeply");
    }
    let items: Vec<T> = match serde_json::from_slice(&decoded) {
        Ok(items) => items,
        Err(error) if error.classify() == Category::Data => {
            return refuse(Code::SchemaViolation, "is no list of recipients");
        }
        Err(_) => return refuse(Code::MalformedJson, "is no JSON"),
    };
    if items.is_empty() {
        return refuse(Code::EmptyBatch, "has no recipients");
    }
    if items.len() > ITEMS_MAX {
        return refuse(Code::BatchTooLarge, "has more than 50000 recipients");
    }
    Ok(items)
}

/// Base64 in either alphabet, with or without padding, with any white space.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        })
        .collect();
    if digits.is_empty() {
        None
    } else {
        ENGINE.decode(digits).ok()
    }
}

/// Reads a body of a published shape.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    check_type(request.headers())?;
    let bytes = body::read(request, BODY_MAX)
        .await
        .map_err(|fault| match fault {
            BodyFault::TooLarge => Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::PayloadTooLarge,
                "The body is larger than 24 MiB.",
            ),
            _ => Refusal::input(Code::MissingBody, "The body could not be read.", POSTS),
        })?;
    parse(&bytes)
}

fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refusal> {
    let malformed = |why: &str| {
        Refusal::input(
            Code::MalformedJson,
            format!("The body is malformed: {why}."),
            POSTS,
        )
    };
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(Refusal::input(
            Code::MissingBody,
            "A JSON body is required.",
            POSTS,
        ));
    }
    if depth(bytes) > DEPTH_MAX {
        return Err(malformed("it is nested too deeply"));
    }
    // A list would be taken for the members of the object in their order.
    if text.trim_start().starts_with('[') {
        let what = "The body must be a JSON object.";
        return Err(Refusal::input(Code::SchemaViolation, what, POSTS));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer_of(&error.path().to_string());
        let inner = error.into_inner();
        let duplicate = inner.to_string().starts_with("duplicate field");
        if inner.classify() == Category::Data && !duplicate {
            Refusal::input(Code::SchemaViolation, "A member has a wrong type.", POSTS)
                .with(pointer, "has a wrong type")
        } else if duplicate {
            malformed("a member stands twice")
        } else {
            malformed("it is not JSON")
        }
    })?;
    reader
        .end()
        .map_err(|_| malformed("something follows it"))?;
    Ok(value)
}

fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_json(headers) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::UnsupportedMediaType,
        "The body must be application/json.",
    ))
}

/// The deepest nesting of brackets outside strings.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn pointer_of(path: &str) -> String {
    if path == "." {
        String::new()
    } else {
        format!("/{}", path.replace('.', "/"))
    }
}

/// A path in the block's request as a place in the published body.
pub(super) fn pointer(path: &str) -> String {
    let (base, index) = match path.split_once('[') {
        Some((base, rest)) => (base, Some(rest.trim_end_matches(']'))),
        None => (path, None),
    };
    let place = match base {
        "envelope.sender.email" => "/senderInfo/email",
        "envelope.sender.name" => "/senderInfo/name",
        "envelope.sender.reply_to" => "/senderInfo/replyTo",
        "envelope.sender.organisation_name" => "/senderInfo/organisationName",
        "envelope.sender.organisation_number" => "/senderInfo/organisationRegNr",
        "envelope.sender.on_behalf_of_name" => "/senderInfo/onBehalfOfName",
        "envelope.sender.on_behalf_of_number" => "/senderInfo/onBehalfOfRegNr",
        "envelope.content" => "/emailContent",
        "envelope.content.subject" => "/emailContent/title",
        "envelope.content.text" => "/emailContent/content",
        "envelope.content.charset" => "/emailContent/encoding",
        "envelope.sender.sender_id" => "/senderInfo/senderId",
        "envelope.text" => "/smsContent/content",
        "envelope.callback.url" => "/callback/URI",
        "envelope.transaction_id" => "/transactionId",
        "recipient.phone" => "/recipientInfo/phone",
        "recipient.email" => "/recipientInfo/email",
        "recipient.cc" => "/recipientInfo/emailCC",
        "recipient.bcc" => "/recipientInfo/emailBCC",
        "recipient.name" => "/recipientInfo/name",
        "recipient.process_id" => "/recipientInfo/processId",
        other => return format!("/{}", other.replace('.', "/")),
    };
    match index {
        Some(index) => format!("{place}/{index}"),
        None => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(json: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(json)
    }

    #[test]
    fn lists_are_read_in_both_shapes() {
        let both = r#"[{"recipientInfo": {"email": "a@x.example", "emailCC": "c@x.example"}},
            {"email": "b@x.example", "name": "B"}]"#;
        let mut loose = list(both).replace('=', "");
        loose.insert(10, '\n');
        for text in [list(both), loose] {
            let found = recipients(&text).unwrap();
            assert_eq!(found.len(), 2);
            assert_eq!(
                (found[0].email.as_str(), found[0].cc.as_str()),
                ("a@x.example", "c@x.example")
            );
            assert_eq!(
                (found[1].email.as_str(), found[1].name.as_str()),
                ("b@x.example", "B")
            );
        }
    }

    #[test]
    fn broken_lists_have_their_codes() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        for (text, code) in [
            ("?".to_owned(), Code::InvalidBase64),
            (String::new(), Code::InvalidBase64),
            (list("[]"), Code::EmptyBatch),
            (list("7"), Code::SchemaViolation),
            (list("[1, 2]"), Code::SchemaViolation),
            (list("[{"), Code::MalformedJson),
            (list(&deep), Code::MalformedJson),
        ] {
            assert_eq!(recipients(&text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn bodies_have_their_codes() {
        let read = |text: &str| parse::<Send>(&Bytes::from(text.to_owned()));
        for (text, code) in [
            ("", Code::MissingBody),
            ("  ", Code::MissingBody),
            ("{", Code::MalformedJson),
            ("{} x", Code::MalformedJson),
            (
                r#"{"senderInfo": {}, "senderInfo": {}}"#,
                Code::MalformedJson,
            ),
            (r#"{"senderInfo": 7}"#, Code::SchemaViolation),
            (r#"{"senderInfo": {"email": 7}}"#, Code::SchemaViolation),
            ("[]", Code::SchemaViolation),
        ] {
            let refusal = read(text).err();
            assert_eq!(refusal.map(|refusal| refusal.code), Some(code), "{text}");
        }
        let mut sound = read(
            r#"{"callbackURI": {"URI": "https://x.example/"}, "senderInfo": {"email": "a@b.c"},
                "emailContent": {"title": "T", "content": "C"}, "more": [1]}"#,
        )
        .unwrap();
        let envelope = sound.envelope().unwrap();
        assert_eq!(envelope.callback.unwrap().url, "https://x.example/");
    }

    #[test]
    fn places_are_those_of_the_published_body() {
        assert_eq!(pointer("envelope.sender.email"), "/senderInfo/email");
        assert_eq!(pointer("recipient.email[2]"), "/recipientInfo/email/2");
        assert_eq!(pointer("envelope.template.name"), "/envelope/template/name");
    }
}
