//! Access tokens for rails that are called: fetched when they are needed, and kept until shortly
//! before they end. One fetch serves all calls that wait for it.

use std::time::Duration;

use publica_outbound::{Client, Method, Question, check_url};
use publica_types::{Secret, Timestamp};
use tokio::sync::Mutex;

use crate::config::OauthConfig;
use crate::domain::oauth::{Granted, asking, basic, granted};

/// The most bytes of an answer.
const MOST_BYTES: usize = 64 << 10;
/// A token that ends this soon is not used any more.
const SPARE: Duration = Duration::from_secs(10);

struct Held {
    token: Secret<String>,
    ends_at: Timestamp,
}

/// The token of one rail.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<Option<Held>>);

impl Tokens {
    /// A token to call with; none if the server of tokens gives none.
    pub(crate) async fn token(
        &self,
        client: &Client,
        settings: &OauthConfig,
        allow_private: bool,
        now: Timestamp,
    ) -> Option<Secret<String>> {
        let mut held = self.0.lock().await;
        if let Some(held) = held.as_ref().filter(|held| now < held.ends_at) {
            return Some(held.token.clone());
        }
        *held = None;
        let Granted { token, seconds } = fetch(client, settings, allow_private).await?;
        let life = Duration::from_secs(seconds).saturating_sub(SPARE);
        *held = Some(Held {
            token: token.clone(),
            ends_at: now.plus(life),
        });
        Some(token)
    }

    /// Forgets a token that was refused, unless another has taken its place.
    pub(crate) async fn refused(&self, token: &Secret<String>) {
        let mut held = self.0.lock().await;
        if held
            .as_ref()
            .is_some_and(|held| held.token.expose() == token.expose())
        {
            *held = None;
        }
    }
}

async fn fetch(client: &Client, settings: &OauthConfig, allow_private: bool) -> Option<Granted> {
    let url = check_url(&settings.token_url, allow_private).ok()?;
    let form = "application/x-www-form-urlencoded".to_owned();
    let question = Question {
        method: Method::POST,
        url,
        headers: vec![
            (
                "authorization".into(),
                basic(&settings.client_id, settings.client_secret.expose()),
            ),
            ("content-type".into(), form),
            ("accept".into(), "application/json".to_owned()),
        ],
        body: asking(&settings.scope).into_bytes(),
        most: MOST_BYTES,
    };
    let answer = client.ask(question).await;
    let answer = answer
        .inspect_err(|silence| tracing::debug!(?silence, "a server of tokens did not answer"))
        .ok()?;
    let granted = granted(answer.status, &answer.body);
    if granted.is_none() {
        tracing::warn!(status = answer.status, "a server of tokens gave none");
    }
    granted
}
