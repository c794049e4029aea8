//! A machine that acts for longer than one token lives.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::{Client, count, text};
use super::oidc::RelyingParty;

/// A machine's own client at the identity block, and the token it holds now.
#[derive(Debug)]
pub(crate) struct Machine {
    party: RelyingParty,
    scope: String,
    anonymous: Client,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: String,
    renew_at: Instant,
}

impl Machine {
    /// A machine that asks for `scope`, by way of a client without credentials.
    pub(crate) fn new(party: RelyingParty, scope: String, anonymous: Client) -> Self {
        Self {
            party,
            scope,
            anonymous,
            held: Mutex::new(None),
        }
    }

    /// A token that is good for a while yet. Boxed, because getting one is a call by a client.
    pub(crate) fn token(&self) -> BoxFuture<'_, Result<String>> {
        async move {
            // Whoever comes meanwhile waits for the one renewal.
            let mut held = self.held.lock().await;
            let now = Instant::now();
            if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
                return Ok(held.token.clone());
            }
            let answer = self
                .party
                .machine_token(&self.anonymous, &self.scope)
                .await
                .context("getting a machine's token")?;
            let token = text(&answer, "/access_token")?.to_owned();
            let renew_at = now + lifetime(&answer)? * 3 / 4;
            *held = Some(Held {
                token: token.clone(),
                renew_at,
            });
            Ok(token)
        }
        .boxed()
    }
}

fn lifetime(answer: &Value) -> Result<Duration> {
    count(answer, "/expires_in").map(Duration::from_secs)
}
