//! Calls whose answers matter: read up to a limit, and never guessed.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::client::{Client, Method, retry_after};

/// A call to make.
pub struct Question {
    /// How.
    pub method: Method,
    /// Where to, as [`crate::check_url`] or [`crate::Targets::check`] gave it.
    pub url: reqwest::Url,
    /// Headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The most bytes of an answer that are read.
    pub most: usize,
}

// Headers hold keys, and bodies hold people.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What a target said.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The pause that the target asks for before the next call.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer. Whatever it is, the target may have acted, but for the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// No connection was made.
    Unreached,
    /// The answer did not come, or not all of it.
    Unanswered,
    /// The answer is longer than what is read.
    TooLong,
}

impl Client {
    /// Makes a call once and reads the answer.
    pub async fn ask(&self, question: Question) -> Result<Answer, Silence> {
        let mut request = self.0.request(question.method, question.url);
        for (name, value) in question.headers {
            request = request.header(name.as_ref(), value);
        }
        let sent = request.body(question.body).send().await;
        let mut response = sent.map_err(|error| match error.is_connect() {
            true => Silence::Unreached,
            false => Silence::Unanswered,
        })?;
        let retry_after = retry_after(&response);
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= question.most => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => return Err(Silence::TooLong),
                Ok(None) => break,
                Err(_) => return Err(Silence::Unanswered),
            }
        }
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after,
            body,
        })
    }
}
