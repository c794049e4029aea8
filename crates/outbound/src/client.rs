//! The client, and what its answers mean.

use std::fmt;
use std::time::Duration;

use publica_types::Timestamp;
use publica_work::Outcome;

use crate::guard::GuardedResolver;
use crate::signature::signature;

pub use reqwest::Method;

/// The longest pause that a target may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What the client keeps to.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Whether targets may be inside: addresses that are not public.
    pub allow_private: bool,
    /// The time that a target has to answer.
    pub timeout: Duration,
    /// What the caller calls itself.
    pub user_agent: &'static str,
}

/// A call to make.
pub struct Call {
    /// How.
    pub method: Method,
    /// Where to, as [`crate::check_url`] or [`crate::Targets::check`] gave it.
    pub url: reqwest::Url,
    /// Names the call, the same at each attempt, so that a target knows a repeat.
    pub id: String,
    /// When it is made.
    pub now: Timestamp,
    /// Secrets that the target knows; without one the call is not signed.
    pub secrets: Vec<Vec<u8>>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

// Secrets sign it, and the body may be about people.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The target took it. What it says with that is nobody's concern and is not read.
    Taken,
    /// The target could not take it now.
    Later {
        /// Why, without the target's address.
        reason: String,
        /// The pause that the target asks for.
        after: Option<Duration>,
    },
    /// The target will not take it.
    Refused {
        /// Why, without the target's address.
        reason: String,
    },
    /// The target says that it is gone for good, and wants nothing any more.
    Gone,
}

/// What a target said that is gone for good.
const GONE: &str = "the target answered 410";

/// Makes calls, with its own connections; it never follows a redirect.
#[derive(Debug, Clone)]
pub struct Client(pub(crate) reqwest::Client);

impl Client {
    /// A client with these limits.
    pub fn new(limits: Limits) -> Result<Self, reqwest::Error> {
        // Whoever started the process has usually chosen one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let resolver = GuardedResolver {
            allow_private: limits.allow_private,
        };
        reqwest::Client::builder()
            .dns_resolver(resolver)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(limits.timeout)
            .user_agent(limits.user_agent)
            .build()
            .map(Self)
    }

    /// Makes a call once.
    pub async fn send(&self, call: Call) -> Sent {
        let seconds = call.now.micros().div_euclid(1_000_000);
        let mut request = self
            .0
            .request(call.method, call.url)
            .header("content-type", call.content_type)
            .header("webhook-id", &call.id)
            .header("webhook-timestamp", seconds);
        if !call.secrets.is_empty() {
            let signed = signature(&call.secrets, &call.id, seconds, &call.body);
            request = request.header("webhook-signature", signed);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        match request.body(call.body).send().await {
            Ok(response) => judge(&response),
            // The error's own text names the target with its query, which may be confidential.
            Err(error) if error.is_timeout() => later("the target did not answer"),
            Err(error) if error.is_connect() => later("the target cannot be reached"),
            Err(_) => later("the call to the target failed"),
        }
    }
}

fn later(reason: &str) -> Sent {
    let reason = reason.to_owned();
    Sent::Later {
        reason,
        after: None,
    }
}

fn judge(response: &reqwest::Response) -> Sent {
    let status = response.status();
    if status.is_success() {
        return Sent::Taken;
    }
    let reason = format!("the target answered {}", status.as_u16());
    if status.as_u16() == 410 {
        return Sent::Gone;
    }
    let again = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    match again {
        true => Sent::Later {
            after: retry_after(response),
            reason,
        },
        false => Sent::Refused { reason },
    }
}

pub(crate) fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.to_str().ok()?;
    let seconds = text.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

impl Sent {
    /// What went wrong, without the target's address.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Taken => None,
            Self::Later { reason, .. } | Self::Refused { reason } => Some(reason),
            Self::Gone => Some(GONE),
        }
    }

    /// What a job that was enqueued at `created` does next; it is given up after a time, not
    /// after a number of attempts.
    pub fn outcome(self, created: Timestamp, now: Timestamp, give_up_hours: u32) -> Outcome {
        match self {
            Self::Taken => Outcome::Done,
            Self::Refused { reason } => Outcome::dead(reason),
            Self::Gone => Outcome::dead(GONE),
            Self::Later { reason, after } => {
                let limit = Duration::from_hours(u64::from(give_up_hours));
                match now.since(created) >= limit {
                    true => {
                        Outcome::dead(format!("given up after {give_up_hours} hours: {reason}"))
                    }
                    false => Outcome::Retry { after, reason },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ends_what_only_fails_for_now() {
        let created = Timestamp::EPOCH;
        let after_hours = |hours| created.plus(Duration::from_hours(hours));
        let again = Sent::Later {
            reason: "the target answered 503".to_owned(),
            after: None,
        };
        let retried = again.clone().outcome(created, after_hours(23), 24);
        assert!(matches!(retried, Outcome::Retry { .. }));
        let ended = again.outcome(created, after_hours(24), 24);
        assert!(matches!(ended, Outcome::Dead { .. }));
        let refused = Sent::Refused {
            reason: "the target answered 404".to_owned(),
        };
        assert!(matches!(
            refused.outcome(created, created, 24),
            Outcome::Dead { .. }
        ));
    }
}
