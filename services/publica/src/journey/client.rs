//! An outside client of the gateway: HTTP, a token, JSON, and an error that shows what was
//! answered. A call that could not be made is made again, under the same request id.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::machine::Machine;

/// Calls in flight at once in the steps that go household by household.
pub(crate) const IN_FLIGHT: usize = 32;

/// How often a call is made again when the gateway or a block is not there.
const MOST_ATTEMPTS: u32 = 60;

/// The wait before the first repetition; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A client with one identity.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    credential: Credential,
    process: Option<String>,
}

/// How a client proves who it is.
#[derive(Debug, Clone)]
enum Credential {
    None,
    Token(String),
    /// Gets tokens as it needs them: a long run outlives many.
    Machine(Arc<Machine>),
}

/// An answer: its status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: bytes::Bytes,
}

impl Client {
    /// A client without credentials.
    pub(crate) fn new(base: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .context("an HTTP client")?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            credential: Credential::None,
            process: None,
        })
    }

    /// The same client with a bearer token.
    pub(crate) fn with_token(&self, token: impl Into<String>) -> Self {
        Self {
            credential: Credential::Token(token.into()),
            ..self.clone()
        }
    }

    /// The same client, as a machine with a key of its own.
    pub(crate) fn with_machine(&self, machine: &Arc<Machine>) -> Self {
        Self {
            credential: Credential::Machine(machine.clone()),
            ..self.clone()
        }
    }

    /// The same client, whose calls belong to a case.
    pub(crate) fn in_process(&self, process_id: &str) -> Self {
        Self {
            process: Some(process_id.to_owned()),
            ..self.clone()
        }
    }

    /// Where the gateway is.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A request under construction; it gets this client's token when it is sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let mut request = self.http.request(method, url);
        if let Some(process) = &self.process {
            request = request.header("x-process-id", process);
        }
        request
    }

    async fn token(&self) -> Result<Option<String>> {
        match &self.credential {
            Credential::None => Ok(None),
            Credential::Token(token) => Ok(Some(token.clone())),
            Credential::Machine(machine) => machine.token().await.map(Some),
        }
    }

    /// Sends a request, again if nobody answered or a block was away.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let request = match self.token().await? {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let copy = request
                .try_clone()
                .context("a request that can be repeated")?;
            let away = match copy.send().await {
                Ok(response) => {
                    let status = response.status();
                    let headers = response.headers().clone();
                    match response.bytes().await {
                        Ok(_) if status == StatusCode::SERVICE_UNAVAILABLE => {
                            format!("the answer was {status}")
                        }
                        Ok(body) => {
                            return Ok(Answer {
                                status,
                                headers,
                                body,
                            });
                        }
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => format!("{error}"),
            };
            if attempt >= MOST_ATTEMPTS {
                bail!("gave up after {attempt} attempts: {away}");
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        unreachable!("the loop ends by returning");
    }

    /// Sends JSON and returns the parsed body of a 2xx answer.
    pub(crate) async fn json<T: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: &T,
    ) -> Result<Value> {
        let request = self.request(method.clone(), path).json(body);
        self.send(request).await?.json(&format!("{method} {path}"))
    }

    /// Reads JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let request = self.request(Method::GET, path);
        self.send(request).await?.json(&format!("GET {path}"))
    }

    /// Posts JSON under a key that makes repeating it safe.
    pub(crate) async fn post_once<T: Serialize + ?Sized>(
        &self,
        path: &str,
        key: &str,
        body: &T,
    ) -> Result<Value> {
        let request = self
            .request(Method::POST, path)
            .header("Idempotency-Key", key)
            .json(body);
        self.send(request).await?.json(&format!("POST {path}"))
    }

    /// Posts JSON.
    pub(crate) async fn post<T: Serialize + ?Sized>(&self, path: &str, body: &T) -> Result<Value> {
        self.json(Method::POST, path, body).await
    }
}

impl Answer {
    /// The body of a 2xx answer as JSON; anything else is an error that shows the answer.
    pub(crate) fn json(self, what: &str) -> Result<Value> {
        if !self.status.is_success() {
            bail!("{what} was answered {}: {}", self.status, self.text());
        }
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{what} was answered with what is not JSON: {}", self.text()))
    }

    /// The start of the body, for messages.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .chars()
            .take(400)
            .collect()
    }
}

/// A member of a JSON answer as text.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("the answer has no text at {pointer}: {}", short(value)))
}

/// A member of a JSON answer as a count; protobuf's JSON writes large ones as text.
pub(crate) fn count(value: &Value, pointer: &str) -> Result<u64> {
    value
        .pointer(pointer)
        .and_then(|member| member.as_u64().or_else(|| member.as_str()?.parse().ok()))
        .with_context(|| format!("the answer has no count at {pointer}: {}", short(value)))
}

/// Refuses an answer of the enveloped surfaces that lists errors under status 200.
pub(crate) fn no_errors(what: &str, answer: &Value) -> Result<()> {
    match answer.pointer("/errors/0") {
        Some(error) => bail!("{what} was refused: {error}"),
        None => Ok(()),
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(400).collect()
}

/// Runs `work` for each item, [`IN_FLIGHT`] at once, and gives the results in the items' order.
/// An item that takes long keeps no other from being begun.
pub(crate) async fn each<T, R, F, W>(items: Vec<T>, work: W) -> Result<Vec<R>>
where
    F: Future<Output = Result<R>>,
    W: Fn(T) -> F,
{
    let numbered = items.into_iter().enumerate().map(|(at, item)| {
        let work = work(item);
        async move { work.await.map(|result| (at, result)) }
    });
    let mut results: Vec<(usize, R)> = futures::stream::iter(numbered)
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await?;
    results.sort_unstable_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
