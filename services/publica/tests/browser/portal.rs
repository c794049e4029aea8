//! A relying party: registered at the identity block, with a redirect address that is a real
//! server on loopback, and the exchange of a code for tokens that it does behind the browser.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_jose::{Alg, SigningKey, sign_jwt};
use publica_types::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};

use crate::suite::Suite;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The service that people sign in to.
pub(crate) struct Portal {
    pub(crate) client_id: String,
    key: SigningKey,
    redirect_uri: String,
    verifier: String,
    state: String,
    nonce: String,
}

impl Portal {
    /// Registers a portal under a name that people see.
    pub(crate) async fn register(suite: &Suite, name: &str) -> Self {
        Self::register_for(suite, name, "portal").await
    }

    /// Registers a portal of a certain relying party.
    pub(crate) async fn register_for(suite: &Suite, name: &str, party: &str) -> Self {
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let portal = Self {
            client_id: format!("portal-{}", &random()[..8]),
            key,
            redirect_uri: format!("http://127.0.0.1:{}/back", serve()),
            verifier: random(),
            state: random(),
            nonce: random(),
        };
        let client = json!({
            "clientId": portal.client_id,
            "clientName": name,
            "relyingPartyId": party,
            "logoUri": "https://portal.example.org/logo.png",
            "redirectUris": [portal.redirect_uri],
            "authContextRefs": ["idbb:acr:generated-code"],
            "publicKey": serde_json::to_value(portal.key.public_jwk()).unwrap(),
            "userClaims": ["name", "email", "birthdate", "phone_number"],
            "grantTypes": ["authorization_code"],
        });
        suite.post("/identity/v1/clients", &client).await;
        portal
    }

    /// The address where a sign-in begins, with further parameters.
    pub(crate) fn authorize(&self, suite: &Suite, more: &[(&str, &str)]) -> String {
        let challenge =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(challenge);
        let mut address = reqwest::Url::parse(&suite.at("/identity/authorize")).unwrap();
        let usual = [
            ("client_id", self.client_id.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", &self.state),
            ("nonce", &self.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let usual = usual
            .into_iter()
            .filter(|(name, _)| more.iter().all(|(other, _)| other != name));
        address
            .query_pairs_mut()
            .extend_pairs(usual.chain(more.iter().copied()));
        address.to_string()
    }

    /// A parameter of the address that the browser came back to.
    pub(crate) fn returned(&self, address: &str, name: &str) -> Option<String> {
        assert!(address.starts_with(&self.redirect_uri), "{address}");
        let address = reqwest::Url::parse(address).unwrap();
        let state = address.query_pairs().find(|(key, _)| key == "state");
        assert_eq!(state.unwrap().1, self.state.as_str());
        address
            .query_pairs()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Exchanges the code of an address for tokens; gives the claims of the checked ID token,
    /// and the answer itself.
    pub(crate) async fn redeem(&self, suite: &Suite, address: &str) -> (Value, Value) {
        let code = self.returned(address, "code").expect("a code");
        let endpoint = suite.at("/identity/oauth2/token");
        let now = SystemClock.now().seconds();
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": endpoint,
            "iat": now, "exp": now + 60, "jti": random(),
        });
        let assertion = sign_jwt(&self.key, "JWT", &claims).unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("client_id", &self.client_id),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &assertion),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &self.verifier),
        ];
        let answer = suite
            .http()
            .post(endpoint)
            .form(&form)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let tokens: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{status}: {tokens}");
        let claims = self
            .id_token(suite, tokens["id_token"].as_str().unwrap())
            .await;
        (claims, tokens)
    }

    async fn id_token(&self, suite: &Suite, token: &str) -> Value {
        let keys = suite.fetch("/identity/oauth2/jwks").await;
        let keys = publica_jose::JwkSet::from_json(&keys.bytes().await.unwrap()).unwrap();
        let issuer = suite.at("/identity");
        let validation = publica_jose::Validation::new()
            .audience(self.client_id.as_str())
            .issuer(issuer.as_str());
        let now = SystemClock.now();
        let checked = publica_jose::verify_jwt(token, &keys, Alg::ALL, &validation, now).unwrap();
        let claims = Value::Object(checked.claims.as_map().clone());
        assert_eq!(claims["nonce"], self.nonce.as_str(), "{claims}");
        claims
    }
}

pub(crate) fn random() -> String {
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Answers every request with a small page; ends with the test's process.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let Ok(copy) = stream.try_clone() else { return };
    let head = BufReader::new(copy).lines().map_while(Result::ok);
    // The request's head ends with an empty line; a browser that went away sends less.
    let _ = head.take_while(|line| !line.is_empty()).count();
    let page = "<!DOCTYPE html><html lang='en'><title>Portal</title><h1 id='portal'>Portal</h1>";
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    );
}
