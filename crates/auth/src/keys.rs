//! The keys of an issuer, kept fresh.
//!
//! A set is used for as long as its publisher says, but for at least five minutes and at most
//! a day; it is fetched again in the background once four fifths of that time are over. A token
//! that names an unknown key makes the set be fetched at once, though not more than once in
//! 30 s. If a fetch fails, the last good set stays in use; until there is a first one, a fetch is
//! tried every two seconds, since an issuer may start with the process that trusts it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_jose::{Jwk, JwkSet};
use publica_types::Timestamp;
use reqwest::header::{ACCEPT, CACHE_CONTROL};

const FLOOR: Duration = Duration::from_mins(5);
const CEILING: Duration = Duration::from_hours(24);
/// Between two fetches, whatever asks for them.
const PAUSE: Duration = Duration::from_secs(30);
/// Between two fetches while there is no set yet.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 512 * 1024;

/// Where a set comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The settings; never changes.
    Inline,
    File(PathBuf),
    Url(String, reqwest::Client),
}

#[derive(Debug)]
pub(crate) struct IssuerKeys {
    issuer: String,
    source: Source,
    state: Mutex<State>,
    /// Held during a fetch, so that there is one at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct State {
    keys: Option<Arc<JwkSet>>,
    fetched: Timestamp,
    refresh_at: Timestamp,
    stale_at: Timestamp,
    last_attempt: Option<Timestamp>,
}

impl State {
    /// When a fetch may be tried again.
    fn pause_over(&self) -> Timestamp {
        let pause = match self.keys {
            Some(_) => PAUSE,
            None => FIRST_PAUSE,
        };
        self.last_attempt
            .map_or(Timestamp::EPOCH, |last| last.plus(pause))
    }
}

/// What a fetch did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// The keys differ from before: what was concluded from the old ones is void.
    Changed,
    Same,
    /// Nothing was fetched, because it was too soon or it failed.
    Not,
}

impl IssuerKeys {
    pub(crate) fn inline(issuer: &str, keys: JwkSet) -> Self {
        let never = Timestamp::from_micros(i64::MAX);
        Self::with(issuer, Source::Inline, Some(Arc::new(keys)), never)
    }

    pub(crate) fn fetched(issuer: &str, source: Source) -> Self {
        Self::with(issuer, source, None, Timestamp::EPOCH)
    }

    fn with(issuer: &str, source: Source, keys: Option<Arc<JwkSet>>, due: Timestamp) -> Self {
        Self {
            issuer: issuer.to_owned(),
            source,
            state: Mutex::new(State {
                keys,
                fetched: Timestamp::EPOCH,
                refresh_at: due,
                stale_at: due,
                last_attempt: None,
            }),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    fn state(&self) -> State {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The set in use, without waiting, and whether it is still within its time.
    pub(crate) fn current(&self, now: Timestamp) -> (Option<Arc<JwkSet>>, bool) {
        let state = self.state();
        (state.keys, now < state.stale_at)
    }

    /// When the background should fetch next.
    pub(crate) fn refresh_at(&self) -> Timestamp {
        let state = self.state();
        state.refresh_at.max(state.pause_over())
    }

    /// Fetches the set, unless that was tried a moment ago. Those who wait for a fetch
    /// in flight share its outcome.
    pub(crate) async fn refresh(&self, now: Timestamp) -> Refreshed {
        if matches!(self.source, Source::Inline) {
            return Refreshed::Not;
        }
        let before = self.state();
        let _one_at_a_time = self.fetching.lock().await;
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.fetched != before.fetched {
                return Refreshed::Same;
            }
            if now < state.pause_over() {
                return Refreshed::Not;
            }
            state.last_attempt = Some(now);
        }
        match self.fetch().await {
            Ok((keys, lifetime)) => self.keep(keys, lifetime, now),
            Err(problem) => {
                metrics::counter!("publica_jwks_failures_total").increment(1);
                let age_seconds = now.since(before.fetched).as_secs();
                tracing::warn!(
                    log.type = "security",
                    issuer = self.issuer,
                    problem,
                    has_keys = before.keys.is_some(),
                    age_seconds,
                    "key set not fetched"
                );
                Refreshed::Not
            }
        }
    }

    fn keep(&self, keys: JwkSet, lifetime: Duration, now: Timestamp) -> Refreshed {
        let lifetime = lifetime.clamp(FLOOR, CEILING);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let same = state.keys.as_ref().is_some_and(|old| same_keys(old, &keys));
        state.keys = Some(Arc::new(keys));
        state.fetched = now;
        state.refresh_at = now.plus(lifetime * 4 / 5);
        state.stale_at = now.plus(lifetime);
        if same {
            Refreshed::Same
        } else {
            Refreshed::Changed
        }
    }

    async fn fetch(&self) -> Result<(JwkSet, Duration), &'static str> {
        let (bytes, lifetime) = match &self.source {
            Source::Inline => return Err("the set is fixed"),
            Source::File(path) => {
                let length = tokio::fs::metadata(path)
                    .await
                    .map_err(|_| "no such file")?
                    .len();
                if length > u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) {
                    return Err("the file is too long");
                }
                (
                    tokio::fs::read(path)
                        .await
                        .map_err(|_| "the file cannot be read")?,
                    FLOOR,
                )
            }
            Source::Url(url, client) => download(client, url).await?,
        };
        let keys = JwkSet::from_json(&bytes).map_err(|_| "not a key set")?;
        if keys.is_empty() {
            return Err("the set holds no usable key");
        }
        Ok((keys, lifetime))
    }
}

/// Equal keys under equal names, in any order.
fn same_keys(old: &JwkSet, new: &JwkSet) -> bool {
    let name = |key: &Jwk| (key.kid().map(str::to_owned), key.thumbprint().to_owned());
    let names = |set: &JwkSet| {
        let mut names: Vec<_> = set.keys().iter().map(name).collect();
        names.sort();
        names
    };
    names(old) == names(new)
}

async fn download(
    client: &reqwest::Client,
    url: &str,
) -> Result<(Vec<u8>, Duration), &'static str> {
    let request = client
        .get(url)
        .header(ACCEPT, "application/jwk-set+json, application/json");
    let mut response = request.send().await.map_err(|_| "no answer")?;
    if response.status() != reqwest::StatusCode::OK {
        return Err("the answer is not 200");
    }
    let cache = response
        .headers()
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok());
    let lifetime = max_age(cache.unwrap_or_default());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "the answer broke off")? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err("the answer is too long");
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, lifetime))
}

/// The `max-age` of a `Cache-Control` header; nothing usable counts as the floor.
fn max_age(header: &str) -> Duration {
    header
        .split(',')
        .filter_map(|directive| directive.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse().ok())
        .map_or(FLOOR, Duration::from_secs)
}

/// The client for key sets: bounded in time, and it follows no redirect, since a redirect
/// could lead from a trusted address anywhere. `authorities` names a file of those whose
/// certificates are believed, instead of the system's.
pub(crate) fn client(authorities: Option<&Path>) -> Result<reqwest::Client, crate::AuthError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err(crate::AuthError::Client(
            "no cryptographic provider is installed",
        ));
    }
    let mut builder = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .connect_timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    if let Some(path) = authorities {
        builder = builder.tls_certs_only(certificates(path)?);
    }
    builder
        .build()
        .map_err(|_| crate::AuthError::Client("TLS is not available"))
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, crate::AuthError> {
    let problem = |problem, source| crate::AuthError::Authorities {
        path: path.display().to_string(),
        problem,
        source,
    };
    let pem = std::fs::read(path).map_err(|error| problem("cannot be read", Some(error)))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(problem("holds no certificate", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_read_leniently() {
        let table = [
            ("public, max-age=3600, must-revalidate", 3_600),
            ("Max-Age=\"60\"", 60),
            ("no-store", 300),
            ("max-age=soon", 300),
            ("s-maxage=9", 300),
            ("", 300),
        ];
        for (header, seconds) in table {
            assert_eq!(max_age(header).as_secs(), seconds, "{header}");
        }
    }
}
