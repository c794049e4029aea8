//! Finding out who calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use http::request::Parts;
use http::{Extensions, HeaderMap};
use publica_jose::{Alg, Claims, JoseError, JwkSet, Jws, Validation, base64url_decode};
use publica_types::{SharedClock, Tenant, Timestamp};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::api_key::ApiKeys;
use crate::cache::{self, Cache, Known};
use crate::keys::{self, IssuerKeys, Refreshed, Source};
use crate::spiffe::{PeerCertificates, Workloads};
use crate::{
    AuthConfig, AuthError, Caller, CallerKind, Denial, IssuerConfig, LOCAL_ISSUER, TokenSource,
};

/// The longest token accepted with a call; it fits the header limits of common proxies.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Headers that carry an API key. The consent and messaging specifications name `apiKey`; a
/// published suite sends it as `api_key`.
const API_KEY_HEADERS: [&str; 3] = ["apikey", "api_key", "x-api-key"];
/// Subjects that only the suite itself may use.
const OWN_SUBJECTS: [&str; 4] = ["block:", "system:", "key:", "role:"];

/// What callers without credentials are and may do, under the conformance profile.
#[derive(Debug, Clone)]
pub struct AnonymousRole {
    /// The role's name; it appears as `role:<name>` in every record.
    pub name: String,
    /// What the role may do.
    pub scopes: Vec<String>,
}

/// Finds out who calls, from tokens, API keys and peer certificates.
#[derive(Debug)]
pub struct Verifier {
    clock: SharedClock,
    issuers: HashMap<String, Issuer>,
    cache: Cache,
    workloads: Workloads,
    api_keys: Option<ApiKeys>,
    anonymous: Arc<Caller>,
}

#[derive(Debug)]
struct Issuer {
    keys: IssuerKeys,
    algs: Vec<Alg>,
    validation: Validation,
    tenants: Tenants,
    own: bool,
}

#[derive(Debug)]
enum Tenants {
    All,
    These(Vec<Tenant>),
}

/// What a request brings to prove who sent it.
enum Credentials<'a> {
    Token(&'a str),
    ApiKey(&'a str),
    None,
}

impl Verifier {
    /// Opens a verifier. `local` is the suite's own issuer; a process that has none trusts no
    /// workload tokens.
    pub fn open(
        config: &AuthConfig,
        local: Option<&TokenSource>,
        clock: SharedClock,
    ) -> Result<Self, AuthError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(AuthError::Settings(problems));
        }
        let mut issuers = HashMap::new();
        for issuer in &config.issuers {
            issuers.insert(issuer.issuer.clone(), Issuer::open(issuer, config)?);
        }
        if let Some(local) = local {
            let own = Issuer::own(local.public_keys().clone(), config);
            issuers.insert(LOCAL_ISSUER.to_owned(), own);
        }
        let api_keys = match &config.api_key_secret {
            Some(secret) => Some(ApiKeys::open(secret.expose().as_bytes(), &config.api_keys)?),
            None => None,
        };
        Ok(Self {
            clock,
            issuers,
            cache: Cache::new(config.cached_tokens),
            workloads: Workloads::new(config),
            api_keys,
            anonymous: Arc::new(Caller::anonymous()),
        })
    }

    /// Gives callers without credentials a role. Only the conformance profile does this.
    pub fn with_anonymous(mut self, role: AnonymousRole) -> Self {
        let mut caller = Caller::anonymous();
        caller.subject = format!("role:{}", role.name);
        caller.scopes = role.scopes.into_iter().collect();
        self.anonymous = Arc::new(caller);
        self
    }

    /// Who sent this request. Without credentials the answer is [`Caller::anonymous`], or the
    /// anonymous role where there is one.
    pub async fn caller(&self, parts: &Parts) -> Result<Arc<Caller>, Denial> {
        self.caller_of(&parts.headers, &parts.extensions).await
    }

    /// Who sent a request with these headers and extensions.
    pub async fn caller_of(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Arc<Caller>, Denial> {
        if let Some(known) = self.quick(headers, extensions) {
            return known;
        }
        match credentials(headers)? {
            Credentials::Token(token) => self.token(token, extensions).await,
            _ => Err(Denial::CredentialsMalformed),
        }
    }

    /// The answer, if it can be given without waiting: anything but a token not seen before.
    pub(crate) fn quick(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Option<Result<Arc<Caller>, Denial>> {
        let token = match credentials(headers) {
            Err(denial) => return Some(Err(denial)),
            Ok(Credentials::ApiKey(key)) => return Some(self.api_key(key)),
            Ok(Credentials::None) => return Some(self.without_credentials(extensions)),
            Ok(Credentials::Token(token)) => token,
        };
        let known = self.cache.find(&cache::hash(token), self.clock.now())?;
        Some(bound(&known, extensions).map(|()| known.caller))
    }

    fn api_key(&self, key: &str) -> Result<Arc<Caller>, Denial> {
        let keys = self.api_keys.as_ref().ok_or(Denial::ApiKeyInvalid)?;
        keys.caller(key, self.clock.now())
    }

    fn without_credentials(&self, extensions: &Extensions) -> Result<Arc<Caller>, Denial> {
        if let Some(chain) = peer_certificates(extensions) {
            return self.workloads.caller(&chain.0).map(Arc::new);
        }
        Ok(Arc::clone(&self.anonymous))
    }

    /// Verifies a token given by itself, such as one in a cookie or a form. Tokens bound to a
    /// certificate are refused here.
    pub async fn verify_token(&self, token: &str) -> Result<Arc<Caller>, Denial> {
        let nothing = Extensions::new();
        if let Some(known) = self.cache.find(&cache::hash(token), self.clock.now()) {
            return bound(&known, &nothing).map(|()| known.caller);
        }
        self.token(token, &nothing).await
    }

    async fn token(&self, token: &str, extensions: &Extensions) -> Result<Arc<Caller>, Denial> {
        let jws = Jws::parse_limited(token, MAX_TOKEN_BYTES)?;
        let claims = Claims::from_json(&jws.unverified_payload()?)?;
        let issuer = claims.issuer().and_then(|name| self.issuers.get(name));
        let issuer = issuer.ok_or(Denial::IssuerUntrusted)?;
        let now = self.clock.now();
        let (mut keys, fresh) = issuer.keys.current(now);
        if !fresh {
            self.refresh(issuer, now).await;
            keys = issuer.keys.current(now).0;
        }
        let mut verified = jws
            .clone()
            .verify(&*keys.ok_or(Denial::KeysUnavailable)?, &issuer.algs);
        if matches!(verified, Err(JoseError::UnknownKey))
            && self.refresh(issuer, now).await != Refreshed::Not
            && let (Some(keys), _) = issuer.keys.current(now)
        {
            verified = jws.verify(&keys, &issuer.algs);
        }
        let verified = verified?;
        // Of the payload that the signature covers, not of what was peeked at.
        let claims = Claims::from_json(&verified.payload)?;
        issuer.validation.check(&verified.header, &claims, now)?;
        let caller = issuer.caller(&claims)?;
        let certificate = confirmation(&claims)?;
        let expires = claims.expires()?.ok_or(Denial::TokenExpired)?;
        let known = Known {
            caller: Arc::new(caller),
            expires,
            certificate,
        };
        bound(&known, extensions)?;
        let caller = Arc::clone(&known.caller);
        self.cache.insert(cache::hash(token), known, now);
        Ok(caller)
    }

    async fn refresh(&self, issuer: &Issuer, now: Timestamp) -> Refreshed {
        let refreshed = issuer.keys.refresh(now).await;
        if refreshed == Refreshed::Changed {
            self.cache.clear();
        }
        refreshed
    }

    /// Keeps the key sets fresh in the background until `stop`. Without this they are fetched
    /// while a call waits.
    pub async fn run(&self, stop: CancellationToken) {
        const LONGEST_REST: Duration = Duration::from_mins(5);
        const SHORTEST_REST: Duration = Duration::from_secs(1);
        loop {
            let now = self.clock.now();
            for issuer in self.issuers.values() {
                if issuer.keys.refresh_at() <= now {
                    self.refresh(issuer, now).await;
                }
            }
            let next = self
                .issuers
                .values()
                .map(|issuer| issuer.keys.refresh_at())
                .min();
            let rest = next.map_or(LONGEST_REST, |next| next.since(self.clock.now()));
            let rest = rest.clamp(SHORTEST_REST, LONGEST_REST);
            if stop
                .run_until_cancelled(tokio::time::sleep(rest))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Issuer {
    fn open(config: &IssuerConfig, all: &AuthConfig) -> Result<Self, AuthError> {
        let keys = match (&config.jwks, &config.jwks_file, &config.jwks_url) {
            (Some(jwks), ..) => {
                let set = JwkSet::from_json_strictly(jwks.as_bytes())?;
                IssuerKeys::inline(&config.issuer, set)
            }
            (_, Some(path), _) => IssuerKeys::fetched(&config.issuer, Source::File(path.clone())),
            (.., url) => {
                let url = url.clone().unwrap_or_default();
                let client = keys::client(config.jwks_authorities.as_deref())?;
                IssuerKeys::fetched(&config.issuer, Source::Url(url, client))
            }
        };
        let mut validation = validation(&config.issuer, all);
        if config.accept_plain_jwt {
            validation = validation.typ("JWT");
        }
        let tenants = if config.tenants.is_empty() {
            vec![Tenant::default()]
        } else {
            config.tenants.clone()
        };
        Ok(Self {
            keys,
            algs: config.algorithms()?,
            validation: validation.typ_may_be_absent(),
            tenants: Tenants::These(tenants),
            own: false,
        })
    }

    fn own(keys: JwkSet, all: &AuthConfig) -> Self {
        let validation = validation(LOCAL_ISSUER, all).audience("publica");
        Self {
            keys: IssuerKeys::inline(LOCAL_ISSUER, keys),
            algs: vec![Alg::EdDsa, Alg::Es256],
            validation: validation.require(&["client_id", "jti", "tenant"]),
            tenants: Tenants::All,
            own: true,
        }
    }

    /// What the claims say, as far as this issuer is trusted to say it.
    fn caller(&self, claims: &Claims) -> Result<Caller, Denial> {
        let subject = claims
            .subject()
            .filter(|subject| (1..=255).contains(&subject.len()))
            .filter(|subject| !subject.chars().any(char::is_control));
        let subject = subject.ok_or(Denial::TokenInvalid(JoseError::MalformedClaim("sub")))?;
        if !self.own
            && OWN_SUBJECTS
                .iter()
                .any(|prefix| subject.starts_with(prefix))
        {
            return Err(Denial::IssuerUntrusted);
        }
        let client_id = claims.text("client_id").or_else(|| claims.text("azp"));
        let kind = if subject.starts_with("block:") {
            CallerKind::Block
        } else if client_id == Some(subject) {
            CallerKind::Machine
        } else {
            CallerKind::Person
        };
        Ok(Caller {
            subject: subject.to_owned(),
            issuer: claims.issuer().map(str::to_owned),
            client_id: client_id.map(str::to_owned),
            affiliation: affiliation(claims),
            scopes: claims.scopes().map(str::to_owned).collect::<BTreeSet<_>>(),
            tenant: self.tenant(claims)?,
            kind,
        })
    }

    fn tenant(&self, claims: &Claims) -> Result<Tenant, Denial> {
        let claimed = match claims.get("tenant") {
            None => None,
            Some(Value::String(name)) => Some(
                name.parse::<Tenant>()
                    .map_err(|_| Denial::IssuerUntrusted)?,
            ),
            Some(_) => return Err(Denial::TokenInvalid(JoseError::MalformedClaim("tenant"))),
        };
        match (&self.tenants, claimed) {
            (Tenants::All, claimed) => Ok(claimed.unwrap_or_default()),
            (Tenants::These(known), Some(claimed)) if known.contains(&claimed) => Ok(claimed),
            // An issuer for one tenant need not say which.
            (Tenants::These(known), None) if known.len() == 1 => Ok(known[0].clone()),
            _ => Err(Denial::IssuerUntrusted),
        }
    }
}

/// The organisation that a token's subject belongs to. What is no name of one is left out, since
/// nothing is decided by it.
fn affiliation(claims: &Claims) -> Option<String> {
    let named = claims.text("affiliation")?;
    is_affiliation(named).then(|| named.to_owned())
}

/// Whether a text may name an organisation in records.
pub(crate) fn is_affiliation(text: &str) -> bool {
    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn validation(issuer: &str, all: &AuthConfig) -> Validation {
    let leeway = Duration::from_secs(all.leeway_seconds);
    let base = Validation::new()
        .issuer(issuer)
        .typ("at+jwt")
        .leeway(leeway);
    let base = base.require(&["sub", "exp", "iat"]);
    all.audiences.iter().fold(base, Validation::audience)
}

/// The certificate a token is bound to (RFC 8705). A token bound to a DPoP key is refused:
/// its proof is about an HTTP request that never reaches a block.
fn confirmation(claims: &Claims) -> Result<Option<[u8; 32]>, Denial> {
    let Some(cnf) = claims.get("cnf") else {
        return Ok(None);
    };
    let thumbprint = cnf
        .get("x5t#S256")
        .and_then(Value::as_str)
        .ok_or(Denial::TokenBound)?;
    if cnf.get("jkt").is_some() {
        return Err(Denial::TokenBound);
    }
    let bytes = base64url_decode(thumbprint)?;
    bytes.try_into().map(Some).map_err(|_| Denial::TokenBound)
}

/// Refuses a bound token that does not come over a connection with its certificate.
fn bound(known: &Known, extensions: &Extensions) -> Result<(), Denial> {
    let Some(expected) = known.certificate else {
        return Ok(());
    };
    let chain = peer_certificates(extensions).ok_or(Denial::TokenBound)?;
    let leaf = chain.0.first().ok_or(Denial::TokenBound)?;
    let actual = digest::digest(&digest::SHA256, leaf);
    if actual.as_ref() == expected {
        Ok(())
    } else {
        Err(Denial::TokenBound)
    }
}

fn peer_certificates(extensions: &Extensions) -> Option<PeerCertificates> {
    if let Some(chain) = extensions.get::<PeerCertificates>() {
        return Some(chain.clone());
    }
    let tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
    tls.peer_certs().map(PeerCertificates)
}

/// A header that must not come twice: which of both counts would be anybody's guess.
fn once<'h>(
    headers: &'h HeaderMap,
    header: &'static str,
) -> Result<Option<&'h http::HeaderValue>, Denial> {
    let mut values = headers.get_all(header).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Denial::CredentialsRepeated { header }),
        None => Ok(first),
    }
}

fn credentials(headers: &HeaderMap) -> Result<Credentials<'_>, Denial> {
    let token = once(headers, "authorization")?;
    let mut keys = Vec::new();
    for name in API_KEY_HEADERS {
        keys.extend(once(headers, name)?);
    }
    if keys.len() + usize::from(token.is_some()) > 1 {
        return Err(Denial::CredentialsMalformed);
    }
    let malformed = |_| Denial::CredentialsMalformed;
    if let Some(key) = keys.first() {
        return key.to_str().map(Credentials::ApiKey).map_err(malformed);
    }
    let Some(token) = token else {
        return Ok(Credentials::None);
    };
    let (scheme, token) = token
        .to_str()
        .map_err(malformed)?
        .split_once(' ')
        .ok_or(Denial::CredentialsMalformed)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(' ') {
        return Err(Denial::CredentialsMalformed);
    }
    Ok(Credentials::Token(token))
}
