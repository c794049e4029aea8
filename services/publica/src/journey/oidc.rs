//! A relying party and a person's browser: authorization code with PKCE, `private_key_jwt`, and
//! the one-time code that came by mail.

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_jose::{Alg, SigningKey, sign_jwt};
use publica_types::{SharedClock, SharedEntropy};
use reqwest::{Method, header};
use serde_json::{Value, json};
use std::time::Duration;

use super::client::{Client, text};
use super::mailbox::Expected;

/// Codes that are tried before a sign-in is given up.
const MOST_CODES: u32 = 3;

/// How long a client assertion is good for.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// A client that proves itself with its own key.
#[derive(Debug)]
pub(crate) struct RelyingParty {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) key: SigningKey,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
}

/// What a signed-in person's client holds.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    pub(crate) id_token: String,
}

impl RelyingParty {
    /// A party with a new ES256 key.
    pub(crate) fn new(
        client_id: &str,
        redirect_uri: &str,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self> {
        let key =
            SigningKey::generate(Alg::Es256, &*entropy).context("a key for the relying party")?;
        Ok(Self {
            client_id: client_id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            key,
            clock,
            entropy,
        })
    }

    /// The public half of the key, as a JWK.
    pub(crate) fn public_key(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.key.public_jwk())?)
    }

    fn random(&self) -> String {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The assertion of RFC 7523 for the token endpoint.
    fn assertion(&self, audience: &str) -> Result<String> {
        let now = self.clock.now();
        let seconds = |time: publica_types::Timestamp| time.micros() / 1_000_000;
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "iat": seconds(now),
            "exp": seconds(now.plus(ASSERTION_LIFETIME)),
            "jti": self.random(),
        });
        sign_jwt(&self.key, "JWT", &claims).context("a client assertion")
    }

    /// The answer with a machine's own token, by client credentials.
    pub(crate) async fn machine_token(&self, client: &Client, scope: &str) -> Result<Value> {
        let endpoint = format!("{}/identity/oauth2/token", client.base());
        let assertion = self.assertion(&endpoint)?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
            ("scope", scope),
        ];
        let request = client
            .request(Method::POST, "/identity/oauth2/token")
            .form(&form);
        client
            .send(request)
            .await?
            .json("POST /identity/oauth2/token")
    }

    /// Signs a person in, with the code that comes to their mailbox.
    pub(crate) async fn sign_in(
        &self,
        client: &Client,
        individual_id: &str,
        mails: &mut Expected,
    ) -> Result<Tokens> {
        let verifier = self.random();
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
        let state = self.random();
        let mut browser = Browser::open(client).await?;
        let details = browser
            .post(
                "/authorization/v3/oauth-details",
                &json!({
                    "clientId": self.client_id,
                    "scope": "openid profile email",
                    "responseType": "code",
                    "redirectUri": self.redirect_uri,
                    "state": state,
                    "nonce": self.random(),
                    "acrValues": "idbb:acr:generated-code",
                    "codeChallenge": challenge,
                    "codeChallengeMethod": "S256",
                }),
            )
            .await?;
        let transaction = browser.bind(&details)?;
        browser
            .post(
                "/authorization/send-otp",
                &json!({
                    "transactionId": transaction,
                    "individualId": individual_id,
                    "otpChannels": ["email"],
                }),
            )
            .await?;
        browser.authenticate(individual_id, mails).await?;
        let answer = browser
            .post(
                "/authorization/auth-code",
                &json!({
                    "transactionId": transaction,
                    "permittedAuthorizeScopes": [],
                    "acceptedClaims": ["name", "email"],
                }),
            )
            .await?;
        if text(&answer, "/response/state")? != state {
            bail!("the identity block gave back another state");
        }
        let code = text(&answer, "/response/code")?;
        self.exchange(client, code, &verifier).await
    }

    async fn exchange(&self, client: &Client, code: &str, verifier: &str) -> Result<Tokens> {
        let endpoint = format!("{}/identity/oauth/token", client.base());
        let assertion = self.assertion(&endpoint)?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.client_id),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        let request = client
            .request(Method::POST, "/identity/oauth/token")
            .form(&form);
        let answer = client
            .send(request)
            .await?
            .json("POST /identity/oauth/token")?;
        Ok(Tokens {
            access_token: text(&answer, "/access_token")?.to_owned(),
            id_token: text(&answer, "/id_token")?.to_owned(),
        })
    }
}

/// What a browser keeps between the calls of the login page.
struct Browser<'a> {
    client: &'a Client,
    csrf: String,
    bound: Option<(String, String)>,
}

impl<'a> Browser<'a> {
    async fn open(client: &'a Client) -> Result<Self> {
        let request = client.request(Method::GET, "/identity/csrf/token");
        let answer = client.send(request).await?;
        let csrf = answer
            .headers
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|cookie| cookie.to_str().ok()?.strip_prefix("XSRF-TOKEN="))
            .find_map(|rest| rest.split(';').next())
            .context("the identity block set no XSRF-TOKEN cookie")?
            .to_owned();
        Ok(Self {
            client,
            csrf,
            bound: None,
        })
    }

    /// Binds the calls that follow to the parameters that were shown.
    fn bind(&mut self, details: &Value) -> Result<String> {
        let transaction = text(details, "/response/transactionId")?.to_owned();
        let shown = serde_json::to_vec(details.pointer("/response").context("a response")?)?;
        let hash = URL_SAFE_NO_PAD.encode(sha256(&shown));
        self.bound = Some((transaction.clone(), hash));
        Ok(transaction)
    }

    /// Enters the code from the newest mail, and from the one after it if that was an old one.
    async fn authenticate(&self, individual_id: &str, mails: &mut Expected) -> Result<()> {
        const PATH: &str = "/authorization/authenticate";
        let transaction = self.bound.as_ref().map(|(transaction, _)| transaction);
        for _ in 0..MOST_CODES {
            let code = mails.code().await?;
            let request = json!({
                "transactionId": transaction,
                "individualId": individual_id,
                "challengeList": [
                    {"authFactorType": "OTP", "challenge": code, "format": "alpha-numeric"},
                ],
            });
            let answer = self.call(PATH, &request).await?;
            if answer.pointer("/errors/0/errorCode") != Some(&json!("auth_failed")) {
                return super::client::no_errors(&format!("POST {PATH}"), &answer);
            }
        }
        bail!("none of {MOST_CODES} codes was good")
    }

    async fn post(&self, path: &str, request: &Value) -> Result<Value> {
        let answer = self.call(path, request).await?;
        super::client::no_errors(&format!("POST {path}"), &answer)?;
        Ok(answer)
    }

    async fn call(&self, path: &str, request: &Value) -> Result<Value> {
        let body = json!({ "requestTime": now_text(), "request": request });
        let mut call = self
            .client
            .request(Method::POST, &format!("/identity{path}"))
            .header("X-XSRF-TOKEN", &self.csrf)
            .header(header::COOKIE, format!("XSRF-TOKEN={}", self.csrf))
            .json(&body);
        if let Some((key, hash)) = &self.bound {
            call = call
                .header("oauth-details-key", key)
                .header("oauth-details-hash", hash);
        }
        self.client.send(call).await?.json(&format!("POST {path}"))
    }
}

fn now_text() -> String {
    let now = publica_types::Clock::now(&publica_types::SystemClock);
    now.to_string()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
        .as_ref()
        .to_vec()
}
