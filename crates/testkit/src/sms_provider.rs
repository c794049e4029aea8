//! A provider of short messages over HTTP, as many have it: JSON in, JSON out, a key in a header.
//! It sends nothing, but remembers what it would have sent. It knows a repeat by the caller's
//! id, and sends it once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::http::{Request, Response, serve};

/// The key that the provider wants of its callers, in the header `x-api-key`.
pub const SMS_PROVIDER_KEY: &str = "provider-key";

/// What goes wrong. Nothing, by default.
#[derive(Debug, Clone, Default)]
pub struct SmsProviderFaults {
    /// Every call is answered with this status, and nothing is taken.
    pub closed: Option<u16>,
    /// With it, so many seconds are asked for.
    pub retry_after: Option<u64>,
    /// Messages to numbers that begin so are answered with this word in place of `queued`.
    pub words: Vec<(String, String)>,
    /// So many messages are taken, and their connection is cut before an answer.
    pub cut: u64,
}

/// A message that the provider took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderMessage {
    /// The provider's own id.
    pub id: String,
    /// The caller's.
    pub reference: String,
    /// The number.
    pub to: String,
    /// Who it comes from.
    pub from: String,
    /// The text.
    pub text: String,
    /// How long it may take.
    pub validity: u64,
}

#[derive(Debug, Default)]
struct Memory {
    faults: SmsProviderFaults,
    sent: Vec<ProviderMessage>,
    /// Calls by the caller's id.
    calls: BTreeMap<String, usize>,
    complaints: Vec<String>,
}

/// The provider. It ends when it is dropped.
#[derive(Debug)]
pub struct SmsProvider {
    url: String,
    memory: Arc<Mutex<Memory>>,
    _server: AbortOnDropHandle<()>,
}

impl SmsProvider {
    /// Starts a provider on a free port.
    pub async fn start() -> Self {
        let memory = Arc::new(Mutex::new(Memory::default()));
        let known = memory.clone();
        let (address, server) = serve(move |request| answer(request, &known)).await;
        Self {
            url: format!("http://{address}/v1/messages"),
            memory,
            _server: server,
        }
    }

    /// What to call. The body is JSON with `to`, `from`, `text`, `reference` and `validity`; the
    /// answer has `/message/id` and `/message/status`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Has it fail from now on.
    pub fn set_faults(&self, faults: SmsProviderFaults) {
        lock(&self.memory).faults = faults;
    }

    /// What it sent, each message once.
    pub fn sent(&self) -> Vec<ProviderMessage> {
        lock(&self.memory).sent.clone()
    }

    /// How often each message was handed over, by the caller's id.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        lock(&self.memory).calls.clone()
    }

    /// What was wrong with calls, if anything was.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.memory).complaints.clone()
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reply(status: u16, body: &Value) -> Response {
    Response {
        status,
        content_type: "application/json",
        retry_after: None,
        body: body.to_string(),
    }
}

fn answer(request: &Request, memory: &Mutex<Memory>) -> Option<Response> {
    let mut memory = lock(memory);
    if let Some(status) = memory.faults.closed {
        let retry_after = memory.faults.retry_after;
        return Some(Response {
            retry_after,
            ..reply(status, &json!({"error": "closed"}))
        });
    }
    let message = match understand(request) {
        Ok(message) => message,
        Err((status, what)) => {
            memory.complaints.push(what.to_owned());
            return Some(reply(status, &json!({"error": what})));
        }
    };
    *memory.calls.entry(message.reference.clone()).or_default() += 1;
    let word = memory
        .faults
        .words
        .iter()
        .find(|(number, _)| message.to.starts_with(number));
    if let Some((_, word)) = word {
        let body = json!({"message": {"status": word}});
        return Some(reply(200, &body));
    }
    let known = memory
        .sent
        .iter()
        .find(|one| one.reference == message.reference);
    let id = known.map_or_else(
        || format!("P-{}", memory.sent.len() + 1),
        |one| one.id.clone(),
    );
    if known.is_none() {
        let id = id.clone();
        memory.sent.push(ProviderMessage { id, ..message });
    }
    if memory.faults.cut > 0 {
        memory.faults.cut -= 1;
        return None;
    }
    let body = json!({"message": {"id": id, "status": "queued"}});
    Some(reply(202, &body))
}

/// The message, or what is wrong with the call.
fn understand(request: &Request) -> Result<ProviderMessage, (u16, &'static str)> {
    if request.headers.get("x-api-key").map(String::as_str) != Some(SMS_PROVIDER_KEY) {
        return Err((401, "the key is wrong"));
    }
    if request.method != "POST" || request.path != "/v1/messages" {
        return Err((404, "there is nothing here"));
    }
    let kind = request.headers.get("content-type").map(String::as_str);
    if kind != Some("application/json") {
        return Err((415, "the body is not JSON"));
    }
    let body: Value =
        serde_json::from_slice(&request.body).map_err(|_| (400, "the body cannot be read"))?;
    let text = |name: &str| {
        let text = body[name].as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or((400, "a text is missing"))
    };
    Ok(ProviderMessage {
        id: String::new(),
        reference: text("reference")?,
        to: text("to")?,
        from: text("from")?,
        text: text("text")?,
        validity: body["validity"]
            .as_u64()
            .ok_or((400, "the validity is no number"))?,
    })
}
