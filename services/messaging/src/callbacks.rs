//! Tells originators what became of their requests: signed events to the address they gave.
//!
//! The events hold handles, states and numbers, never a contact. They are jobs of the `work`
//! crate, written in the transaction of the change they tell of.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_store::{StoreError, Tx};
use publica_types::{Origin, Secret, Timestamp, Uuid};
use publica_work::{Backoff, Claimed, Handler, Job, Outcome, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::counters::{Counters, State};
use crate::domain::envelope::{Code, Violation};
use crate::engine::ActiveRequest;
use crate::sealed::CALLBACK;
use crate::store::{RequestId, request};

/// The kind of the jobs.
pub(crate) const KIND: &str = "messaging.callback";
/// At most one summary of changes a request in this time.
const COALESCE: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a job has to tell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Payload {
    /// The counters as they are when the job runs.
    State { request: RequestId },
    /// Nothing can change any more.
    Completed { request: RequestId },
    /// An answer came in.
    Reply { request: RequestId, reply: Uuid },
}

/// Pauses and limits of callbacks.
pub(crate) fn policy() -> Policy {
    Policy {
        concurrency: 16,
        lease: Duration::from_mins(1),
        attempts: 10,
        backoff: Backoff::default(),
    }
}

/// A summary of changes, soon.
pub(crate) async fn enqueue_state(
    tx: &mut Tx<'_>,
    request: &ActiveRequest,
) -> Result<(), StoreError> {
    let key = format!("state:{}", request.request_id);
    let payload = Payload::State {
        request: request.request_id,
    };
    let due = tx.now().plus(COALESCE);
    enqueue(tx, request, key, &payload, due).await
}

/// A summary of a change outside delivery.
pub(crate) async fn enqueue_change(
    tx: &mut Tx<'_>,
    request: RequestId,
    origin: &Origin,
) -> Result<(), StoreError> {
    let payload = Payload::State { request };
    let due = tx.now().plus(COALESCE);
    let job = Job::new(KIND, format!("state:{request}"), encode(&payload)).due(due);
    publica_work::enqueue(tx, origin, job).await.map(|_| ())
}

/// The end of a request.
pub(crate) async fn enqueue_completed(
    tx: &mut Tx<'_>,
    request: &ActiveRequest,
) -> Result<(), StoreError> {
    let key = format!("completed:{}", request.request_id);
    let payload = Payload::Completed {
        request: request.request_id,
    };
    let due = tx.now();
    enqueue(tx, request, key, &payload, due).await
}

async fn enqueue(
    tx: &mut Tx<'_>,
    request: &ActiveRequest,
    key: String,
    payload: &Payload,
    due: Timestamp,
) -> Result<(), StoreError> {
    let job = Job::new(KIND, key, encode(payload)).due(due);
    publica_work::enqueue(tx, &request.origin(), job)
        .await
        .map(|_| ())
}

/// An answer on its way to the originator.
pub(crate) fn reply_job(request: RequestId, reply: Uuid) -> Job {
    let payload = Payload::Reply { request, reply };
    Job::new(KIND, format!("reply:{reply}"), encode(&payload))
}

fn encode(payload: &Payload) -> Vec<u8> {
    serde_json::to_vec(payload).unwrap_or_default()
}

/// What callbacks may reach and how they are signed.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Plain http and addresses that are not public.
    pub(crate) allow_private: bool,
    /// The shared secret that signs events.
    pub(crate) secret: Secret<Vec<u8>>,
}

/// Refuses an address at the door when it can be known that it will never be called.
pub(crate) fn check_url(url: &str, rules: &Rules) -> Result<(), Violation> {
    let refuse = |why: &str| {
        Err(Violation::new(
            Code::ForbiddenCallbackUri,
            "envelope.callback.url",
            why,
        ))
    };
    if url.len() > 2_048 {
        return refuse("is longer than 2048 characters");
    }
    let Ok(parsed) = reqwest::Url::parse(url) else {
        return refuse("is no URL");
    };
    match parsed.scheme() {
        "https" => {}
        "http" if rules.allow_private => {}
        _ => return refuse("must begin with https"),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return refuse("must not hold credentials");
    }
    if !rules.allow_private && !matches!(parsed.port_or_known_default(), Some(443 | 8443)) {
        return refuse("must use port 443 or 8443");
    }
    let Some(host) = parsed.host_str() else {
        return refuse("has no host");
    };
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    let local = host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost");
    let inside = literal.is_ok_and(|address| !is_public(address)) || local;
    if inside && !rules.allow_private {
        return refuse("must be a public address");
    }
    Ok(())
}

/// Addresses that belong to nobody's inside.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            !(four.is_loopback()
                || four.is_private()
                || four.is_link_local()
                || four.is_multicast()
                || four.is_broadcast()
                || four.is_documentation()
                || four.is_unspecified()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || a >= 240)
        }
        IpAddr::V6(six) => {
            if let Some(four) = six.to_ipv4_mapped() {
                return is_public(IpAddr::V4(four));
            }
            let first = six.segments()[0];
            (first & 0xe000) == 0x2000
                && first != 0x2002
                && six.segments()[..2] != [0x2001, 0x0db8]
                && six.segments()[..2] != [0x2001, 0]
        }
    }
}

/// Delivers events.
pub(crate) struct Callbacks {
    pub(crate) app: App,
    pub(crate) rules: Rules,
}

impl Handler for Callbacks {
    async fn run(&self, job: Claimed) -> Outcome {
        match self.deliver(&job).await {
            Ok(outcome) => outcome,
            Err(reason) => Outcome::retry(reason),
        }
    }
}

impl Callbacks {
    async fn deliver(&self, job: &Claimed) -> Result<Outcome, String> {
        let Ok(payload) = serde_json::from_slice::<Payload>(&job.payload) else {
            return Ok(Outcome::dead("the payload cannot be read"));
        };
        let id = match &payload {
            Payload::State { request }
            | Payload::Completed { request }
            | Payload::Reply { request, .. } => *request,
        };
        let row = request::find(&job.db, id)
            .await
            .map_err(|error| error.to_string())?;
        let Some(row) = row else {
            return Ok(Outcome::dead("the request is gone"));
        };
        let Some(sealed) = &row.callback else {
            return Ok(Outcome::Done);
        };
        let vault = self
            .app
            .vault(&job.origin.tenant)
            .await
            .map_err(|error| error.to_string())?;
        let url = vault
            .open_setting(&CALLBACK, sealed)
            .map_err(|error| error.to_string())?;
        let url = String::from_utf8_lossy(&url).into_owned();
        let counters = request::counters(&job.db, &row)
            .await
            .map_err(|error| error.to_string())?;
        let body = match &payload {
            Payload::State { .. } => {
                event(job, &row.request_uid, "message.state", numbers(&counters))
            }
            Payload::Completed { .. } => event(
                job,
                &row.request_uid,
                "request.completed",
                numbers(&counters),
            ),
            Payload::Reply { reply, .. } => {
                let found = self.app.open_reply(&job.origin.tenant, *reply).await;
                match found.map_err(|error| error.to_string())? {
                    Some(text) => text,
                    None => return Ok(Outcome::dead("the answer is no longer readable")),
                }
            }
        };
        Ok(self.post(job, &url, &row.request_uid, body).await)
    }

    async fn post(&self, job: &Claimed, url: &str, uid: &str, body: String) -> Outcome {
        if let Err(violation) = check_url(url, &self.rules) {
            return Outcome::dead(violation.why);
        }
        let client = match self.client(url).await {
            Ok(client) => client,
            Err(reason) => return Outcome::retry(reason),
        };
        let id = format!("{}:{}", job.key, job.created.micros());
        let time = self.app.now().micros().div_euclid(1_000_000);
        let signed = format!("{id}.{time}.{body}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.rules.secret.expose());
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let sent = client
            .post(url)
            .header("content-type", "application/json; charset=utf-8")
            .header("requestuid", uid)
            .header("webhook-id", id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", format!("v1,{signature}"))
            .body(body)
            .send()
            .await;
        match sent {
            Ok(answer) if answer.status().is_success() => Outcome::Done,
            Ok(answer) if answer.status().as_u16() == 410 => {
                Outcome::dead("the receiver is gone for good")
            }
            Ok(answer) => Outcome::retry(format!("answered {}", answer.status().as_u16())),
            Err(error) if error.is_timeout() => Outcome::retry("no answer in time"),
            Err(_) => Outcome::retry("could not be reached"),
        }
    }

    /// A client that is bound to the addresses just looked up, so that a name which changes
    /// its mind between check and call gains nothing.
    async fn client(&self, url: &str) -> Result<reqwest::Client, String> {
        let parsed = reqwest::Url::parse(url).map_err(|_| "is no URL".to_owned())?;
        let host = parsed.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = parsed.port_or_known_default().unwrap_or(443);
        let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port))
            .await
            .map_err(|_| "the host has no address".to_owned())?
            .filter(|address| self.rules.allow_private || is_public(address.ip()))
            .collect();
        if found.is_empty() {
            return Err("the host has no public address".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| "TLS cannot be set up".to_owned())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .resolve_to_addrs(bare, &found)
            .build()
            .map_err(|_| "the client cannot be set up".to_owned())
    }
}

fn numbers(counters: &Counters) -> Value {
    let members = State::ALL
        .into_iter()
        .map(|state| (state.name().to_owned(), Value::from(counters.of(state))));
    Value::Object(members.collect())
}

/// The published shape: `meta` in words, `content` an event in base64.
fn event(job: &Claimed, uid: &str, kind: &str, data: Value) -> String {
    let event = json!({
        "specversion": "1.0",
        "id": format!("{}:{}", job.key, job.created.micros()),
        "source": "/messaging",
        "type": format!("org.govstack.messaging.{kind}.v1"),
        "subject": uid,
        "time": job.db.now().to_string(),
        "datacontenttype": "application/json",
        "data": data,
    });
    json!({ "meta": kind, "content": STANDARD.encode(event.to_string()) }).to_string()
}

/// The published shape of an answer that is passed on.
pub(crate) fn reply_body(meta: &str, content: &[u8]) -> String {
    json!({ "meta": meta, "content": STANDARD.encode(content) }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow_private: bool) -> Rules {
        Rules {
            allow_private,
            secret: Secret::new(vec![7; 32]),
        }
    }

    #[test]
    fn addresses_inside_are_refused() {
        for url in [
            "http://example.org/x",
            "https://user:pw@example.org/",
            "https://example.org:22/",
            "https://127.0.0.1/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[fd00::1]/",
            "https://localhost/",
            "https://0x7f000001/",
            "ftp://example.org/",
            "not a url",
        ] {
            assert!(check_url(url, &rules(false)).is_err(), "{url}");
        }
        for url in ["https://example.org/cb", "https://example.org:8443/cb?x=1"] {
            assert!(check_url(url, &rules(false)).is_ok(), "{url}");
        }
        assert!(check_url("http://127.0.0.1:9999/cb", &rules(true)).is_ok());
    }
}
