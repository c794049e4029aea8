//! The identity surface: the provider, its log-in interface, clients and enrolment.

mod administration;
mod edges;
mod flow;
mod mailbox;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use publica_auth::{AuthConfig, Verifier};
use publica_gateway::{Gateway, GatewayConfig, GatewayState, Parts};
use publica_host::Profile;
use publica_identity::{Identity, IdentityConfig, KeyConfig};
use publica_jose::{Alg, SigningKey, sign_jwt};
use publica_proto::messaging::v1::message_service_server::MessageServiceServer;
use publica_rpc::Link;
use publica_testkit::{TestBlock, TestDatabase, TestEnv, both_engines, env, token, tokens};
use publica_types::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use serde_json::{Value, json};
use tonic::service::Routes;
use tower::ServiceExt as _;

use mailbox::Mailbox;

const ISSUER: &str = "https://id.example.org/identity";
const BACK: &str = "https://portal.example.org/back";
const TIME: &str = "2026-01-31T08:30:00.000Z";

struct Suite {
    router: Router,
    token: Option<String>,
    mailbox: Mailbox,
    _block: TestBlock<Identity>,
    _env: TestEnv,
    _gateway: TestEnv,
    _db: TestDatabase,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
    body: Value,
}

impl Answer {
    /// What an envelope holds when nothing is wrong.
    #[track_caller]
    fn done(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.json();
        assert_eq!(self.body["errors"], json!([]), "{}", self.body);
        assert!(self.body["responseTime"].as_str().unwrap().ends_with('Z'));
        self.body["response"].clone()
    }

    /// The one error of an envelope.
    #[track_caller]
    fn fault(&self) -> (&str, &str) {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        self.json();
        let errors = self.body["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{}", self.body);
        assert!(self.body["response"].is_object() || self.body["response"].is_array());
        let message = &errors[0]["errorMessage"];
        let message = message.as_str().or(errors[0]["message"].as_str());
        (errors[0]["errorCode"].as_str().unwrap(), message.unwrap())
    }

    #[track_caller]
    fn code(&self) -> &str {
        self.fault().0
    }

    #[track_caller]
    fn json(&self) {
        assert_eq!(self.headers["content-type"], "application/json");
    }

    /// An answer of OAuth 2.0 that refuses.
    #[track_caller]
    fn oauth(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.json();
        assert!(self.body["error_description"].is_string());
        self.body["error"].as_str().unwrap()
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn random() -> String {
    let mut bytes = [0_u8; 32];
    SystemEntropy.fill(&mut bytes);
    publica_jose::base64url(bytes)
}

fn sha256(bytes: &[u8]) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    publica_jose::base64url(digest(&SHA256, bytes))
}

fn wrap(request: &Value) -> Value {
    json!({"requestTime": TIME, "request": request})
}

/// A suite whose keys are quick to make.
async fn suite(db: TestDatabase) -> Suite {
    suite_with(db, "ES256").await
}

async fn suite_with(db: TestDatabase, algorithm: &str) -> Suite {
    let mailbox = Mailbox::default();
    let post = Link::local(Routes::new(MessageServiceServer::new(mailbox.clone())));
    let own = env("identity").with_peer("messaging", post);
    let config = IdentityConfig {
        database: db.config(),
        issuer: ISSUER.to_owned(),
        keys: KeyConfig {
            algorithm: algorithm.to_owned(),
            ..KeyConfig::default()
        },
        ..IdentityConfig::default()
    };
    let block = own.open::<Identity>(config).await.unwrap();
    let gateway = env("gateway").with_peer("identity", block.link.clone());
    let clock = Arc::new(SystemClock);
    let verifier = Verifier::open(&AuthConfig::default(), Some(tokens()), clock).unwrap();
    let state = GatewayState::new(Parts {
        peers: gateway.peers.clone(),
        verifier: Arc::new(verifier),
        tokens: tokens().clone(),
        profile: Profile::Local,
        clock: gateway.clock.clone(),
        entropy: gateway.entropy.clone(),
        blocks: vec!["identity".to_owned()],
    });
    Suite {
        router: Gateway::new(GatewayConfig::default(), state).router(),
        token: Some(token(&["identity:*"])),
        mailbox,
        _block: block,
        _env: own,
        _gateway: gateway,
        _db: db,
    }
}

/// A relying party and its key.
struct Party {
    id: String,
    key: SigningKey,
}

impl Party {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            key: SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap(),
        }
    }

    /// What is sent to register it.
    fn registration(&self) -> Value {
        json!({
            "clientId": self.id, "clientName": "Cash transfer portal",
            "relyingPartyId": "social-protection",
            "logoUri": "https://portal.example.org/logo.png", "redirectUris": [BACK],
            "authContextRefs": ["idbb:acr:generated-code"],
            "publicKey": self.key.public_jwk().to_value(),
            "userClaims": ["name", "birthdate", "email"],
            "grantTypes": ["authorization_code"], "clientAuthMethods": ["private_key_jwt"],
        })
    }

    fn assertion(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = SystemClock.now().seconds();
        let mut claims = json!({
            "iss": self.id, "sub": self.id, "aud": format!("{ISSUER}/oauth/token"),
            "iat": now, "exp": now + 60, "jti": random(),
        });
        change(&mut claims);
        sign_jwt(&self.key, "JWT", &claims).unwrap()
    }

    /// The form that exchanges a code.
    fn exchange(&self, code: &str, verifier: &str) -> Vec<(&'static str, String)> {
        vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("client_id", self.id.clone()),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
            ),
            ("client_assertion", self.assertion(|_| ())),
            ("redirect_uri", BACK.to_owned()),
            ("code_verifier", verifier.to_owned()),
        ]
    }
}

/// A sign-in under way, as the log-in page sees it.
struct Page {
    transaction: String,
    hash: String,
    verifier: String,
}

impl Suite {
    async fn send(
        &self,
        method: &str,
        path: &str,
        edit: impl FnOnce(&mut Request<Body>),
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/identity{path}"))
            .body(Body::empty())
            .unwrap();
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        edit(&mut request);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes,
            body,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, |_| {}).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        self.raw(method, path, "application/json", body).await
    }

    async fn raw(&self, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        self.send(method, path, |request| {
            let headers = request.headers_mut();
            headers.insert("content-type", kind.parse().unwrap());
            headers.insert("x-xsrf-token", "x".parse().unwrap());
            headers.insert("cookie", "XSRF-TOKEN=x".parse().unwrap());
            *request.body_mut() = body.into();
        })
        .await
    }

    /// A call inside the published envelope.
    async fn post(&self, path: &str, request: &Value) -> Answer {
        self.call("POST", path, &wrap(request)).await
    }

    async fn form(&self, path: &str, pairs: &[(&str, String)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let kind = "application/x-www-form-urlencoded";
        self.raw("POST", path, kind, body).await
    }

    async fn register(&self, party: &Party) {
        let made = self
            .post("/client-mgmt/oidc-client", &party.registration())
            .await;
        assert_eq!(made.done(), json!({"clientId": party.id}));
    }

    /// Enrols somebody and gives their virtual identifier.
    async fn enrol(&self, id: &str, email: &str) -> String {
        let made = self.call("PUT", "/enrollment", &packet(id, email)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        text(&made.body["metaData"]["vid"])
    }

    async fn begin(&self, party: &Party) -> Page {
        let verifier = random();
        let request = details(party, &verifier);
        let begun = self.post("/authorization/oauth-details", &request).await;
        // The hash is over the member `response` as it came.
        let whole = String::from_utf8(begun.bytes.clone()).unwrap();
        let shown = begun.done();
        let shown_text = shown.to_string();
        assert!(whole.contains(&shown_text), "{whole}");
        Page {
            transaction: text(&shown["transactionId"]),
            hash: sha256(shown_text.as_bytes()),
            verifier,
        }
    }

    /// A step of a sign-in, bound to what the page was shown.
    async fn step(&self, page: &Page, path: &str, mut request: Value) -> Answer {
        request["transactionId"] = json!(page.transaction);
        self.bound(path, &request, &page.transaction, &page.hash)
            .await
    }

    async fn bound(&self, path: &str, request: &Value, key: &str, hash: &str) -> Answer {
        let body = wrap(request).to_string();
        self.send("POST", path, |request| {
            let headers = request.headers_mut();
            headers.insert("content-type", "application/json".parse().unwrap());
            headers.insert("x-xsrf-token", "x".parse().unwrap());
            headers.insert("oauth-details-key", key.parse().unwrap());
            headers.insert("oauth-details-hash", hash.parse().unwrap());
            *request.body_mut() = body.into();
        })
        .await
    }

    /// Signs in as far as the authorization code.
    async fn code(&self, party: &Party, individual: &str, claims: &[&str]) -> (String, Page) {
        let page = self.begin(party).await;
        let before = self.mailbox.count();
        let sent = json!({"individualId": individual, "otpChannels": ["email"]});
        self.step(&page, "/authorization/send-otp", sent)
            .await
            .done();
        let otp = self.mailbox.wait(before).await;
        let proof = json!({"individualId": individual, "challengeList": [
            {"authFactorType": "OTP", "challenge": otp, "format": "alpha-numeric"}]});
        self.step(&page, "/authorization/authenticate", proof)
            .await
            .done();
        let choice = json!({"acceptedClaims": claims, "permittedAuthorizeScopes": []});
        let issued = self
            .step(&page, "/authorization/auth-code", choice)
            .await
            .done();
        (text(&issued["code"]), page)
    }
}

fn details(party: &Party, verifier: &str) -> Value {
    json!({
        "clientId": party.id, "scope": "openid profile", "responseType": "code",
        "redirectUri": BACK, "state": "s1", "nonce": "n1",
        "acrValues": "idbb:acr:generated-code",
        "codeChallenge": sha256(verifier.as_bytes()), "codeChallengeMethod": "S256",
    })
}

/// A packet that enrols somebody in one step.
fn packet(id: &str, email: &str) -> Value {
    json!({
        "id": "govstack.enrollment", "version": "v1", "requesttime": TIME,
        "request": {
            "offlineMode": false, "id": id, "refId": "10001_10002", "process": "NEW",
            "source": "REGISTRATION_CLIENT", "schemaVersion": "0.1",
            "fields": {
                "fullName": "[ { \"language\" : \"eng\", \"value\" : \"Amina Yusuf\" } ]",
                "gender": "[ { \"language\" : \"eng\", \"value\" : \"Female\" } ]",
                "dateOfBirth": "1980/05/12", "postalCode": 14022, "email": email,
                "proofOfIdentity": {"format": "pdf", "type": "passport", "value": "x"},
            },
            "metaInfo": {"metaData": "[]", "operationsData": "[]"},
            "audits": [{"eventId": "RPR_405", "hostName": "Techno-367"}],
            "documents": {}, "biometrics": {"segment": []},
        },
    })
}

both_engines! {
    async fn discovery(db: TestDatabase) {
        let mut suite = suite_with(db, "RS256").await;
        suite.token = None;
        let paths = [
            "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server",
            "/v1/esignet/oidc/.well-known/openid-configuration",
            "/v1/esignet/oauth/.well-known/oauth-authorization-server",
        ];
        for path in paths {
            let answer = suite.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            answer.json();
            let document = &answer.body;
            assert_eq!(document["issuer"], ISSUER);
            for member in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint",
                "jwks_uri", "registration_endpoint"] {
                assert!(text(&document[member]).starts_with(ISSUER), "{member}");
            }
            for (member, value) in [
                ("response_types_supported", "code"), ("response_modes_supported", "query"),
                ("subject_types_supported", "pairwise"), ("scopes_supported", "openid"),
                ("token_endpoint_auth_methods_supported", "private_key_jwt"),
                ("id_token_signing_alg_values_supported", "RS256"),
                ("userinfo_signing_alg_values_supported", "RS256"),
                ("userinfo_encryption_alg_values_supported", "RSA-OAEP-256"),
                ("userinfo_encryption_enc_values_supported", "A256GCM"),
                ("token_endpoint_auth_signing_alg_values_supported", "RS256"),
                ("code_challenge_methods_supported", "S256"),
                ("grant_types_supported", "authorization_code"),
                ("acr_values_supported", "idbb:acr:generated-code"),
                ("claims_supported", "name"), ("display_values_supported", "page"),
                ("claim_types_supported", "normal"), ("ui_locales_supported", "en"),
            ] {
                let values = document[member].as_array().unwrap_or_else(|| panic!("{member}"));
                assert!(values.contains(&json!(value)), "{member}: {values:?}");
            }
            assert_eq!(document["request_uri_parameter_supported"], false);
            assert_eq!(document["authorization_response_iss_parameter_supported"], true);
        }
    }

    async fn keys(db: TestDatabase) {
        let suite = suite_with(db, "RS256").await;
        // Making the first keys may take longer than anybody waits for an answer.
        for _ in 0..20 {
            if suite.get("/oauth2/jwks").await.status == StatusCode::OK {
                break;
            }
        }
        for path in ["/.well-known/jwks.json", "/v1/esignet/oauth/.well-known/jwks.json",
            "/oauth2/jwks"] {
            let answer = suite.get(path).await;
            assert_eq!(answer.status, StatusCode::OK);
            answer.json();
            let keys = answer.body["keys"].as_array().unwrap();
            assert!(!keys.is_empty());
            for key in keys {
                assert_eq!((&key["use"], &key["kty"]), (&json!("sig"), &json!("RSA")));
                for member in ["kid", "e", "n", "x5t#S256", "exp"] {
                    assert!(key[member].is_string(), "{member}: {key}");
                }
                assert!(key["x5c"][0].is_string());
                assert!(text(&key["exp"]).ends_with('Z'));
                assert!(key.get("d").is_none());
            }
        }
    }
}
