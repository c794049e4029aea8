//! The block, opened on a private store, with a clock that tests move and a mailbox beside it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_identity::{Identity, IdentityConfig, KeyConfig};
use publica_jose::{Alg, SigningKey, sign_jwt};
use publica_proto::identity::v1 as pb;
use publica_proto::messaging::v1 as messaging;
use publica_proto::messaging::v1::message_service_server::{MessageService, MessageServiceServer};
use publica_rpc::Link;
use publica_testkit::{
    MockClock, SeededEntropy, TestBlock, TestDatabase, TestEnv, env, eventually,
};
use publica_types::{Clock as _, Entropy, SharedEntropy, SystemEntropy};
use serde_json::json;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use pb::client_service_client::ClientServiceClient as Clients;
pub(crate) use pb::enrolment_service_client::EnrolmentServiceClient as Enrolments;
pub(crate) use pb::factor_service_client::FactorServiceClient as Factors;
pub(crate) use pb::identifier_service_client::IdentifierServiceClient as Identifiers;
pub(crate) use pb::person_service_client::PersonServiceClient as Persons;
pub(crate) use pb::provider_service_client::ProviderServiceClient as Provider;
pub(crate) use pb::sign_in_service_client::SignInServiceClient as SignIn;
pub(crate) use pb::token_service_client::TokenServiceClient as Tokens;

pub(crate) const ISSUER: &str = "https://id.example.org/identity";
pub(crate) const BACK: &str = "https://portal.example.org/back";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Randomness that gives the digits of numbers again from the start when a test says so. Digits
/// are drawn 64 bytes at a time; everything else stays random.
#[derive(Debug)]
pub(crate) struct Rewinding(Mutex<SeededEntropy>);

impl Rewinding {
    const SEED: u64 = 7;

    pub(crate) fn new() -> Self {
        Self(Mutex::new(SeededEntropy::new(Self::SEED)))
    }

    pub(crate) fn rewind(&self) {
        *self.0.lock().unwrap() = SeededEntropy::new(Self::SEED);
    }
}

impl Entropy for Rewinding {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() == 64 {
            self.0.lock().unwrap().fill(bytes);
        } else {
            SystemEntropy.fill(bytes);
        }
    }
}

/// The block under test.
pub(crate) struct Suite {
    pub(crate) clock: MockClock,
    pub(crate) block: TestBlock<Identity>,
    pub(crate) mailbox: Mailbox,
    _env: TestEnv,
    _database: TestDatabase,
}

impl Suite {
    /// Opens the block on a store.
    pub(crate) async fn open(database: TestDatabase) -> Self {
        Self::open_with(database, |_| ()).await
    }

    /// Opens the block with other settings.
    pub(crate) async fn open_with(
        database: TestDatabase,
        change: impl FnOnce(&mut IdentityConfig),
    ) -> Self {
        Self::open_drawing(database, Arc::new(SystemEntropy), change).await
    }

    /// Opens the block with other randomness.
    pub(crate) async fn open_drawing(
        database: TestDatabase,
        entropy: SharedEntropy,
        change: impl FnOnce(&mut IdentityConfig),
    ) -> Self {
        let clock = MockClock::new();
        let mailbox = Mailbox::default();
        let post = Link::local(Routes::new(MessageServiceServer::new(mailbox.clone())));
        let env = env("identity")
            .with_clock(clock.shared())
            .with_entropy(entropy)
            .with_peer("messaging", post);
        let mut config = IdentityConfig {
            database: database.config(),
            issuer: ISSUER.to_owned(),
            // Quick to make; one test makes RSA keys.
            keys: KeyConfig {
                algorithm: "ES256".to_owned(),
                ..KeyConfig::default()
            },
            ..IdentityConfig::default()
        };
        change(&mut config);
        let block = env.open::<Identity>(config).await.unwrap();
        Self {
            clock,
            block,
            mailbox,
            _env: env,
            _database: database,
        }
    }

    pub(crate) fn admin(&self) -> Link {
        self.block.as_caller(&["*"])
    }

    pub(crate) fn persons(&self) -> Persons<Link> {
        Persons::new(self.admin())
    }

    pub(crate) fn sign_in(&self) -> SignIn<Link> {
        SignIn::new(self.block.link.clone())
    }

    pub(crate) fn tokens(&self) -> Tokens<Link> {
        Tokens::new(self.block.link.clone())
    }

    /// Enrols one person and gives the answer's row.
    pub(crate) async fn enrol(&self, person: pb::NewPerson) -> pb::EnrolmentResult {
        let request = pb::EnrolPersonsRequest {
            persons: vec![person],
            ..Default::default()
        };
        let answer = self
            .persons()
            .enrol_persons(request)
            .await
            .unwrap()
            .into_inner();
        answer.results.into_iter().next().unwrap()
    }

    /// Registers a relying party with a key of its own.
    pub(crate) async fn relying_party(&self, id: &str) -> Party {
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let party = Party {
            client_id: id.to_owned(),
            key,
            clock: self.clock.clone(),
        };
        let request = pb::CreateClientRequest {
            client: Some(party.client()),
            ..Default::default()
        };
        Clients::new(self.admin())
            .create_client(request)
            .await
            .unwrap();
        party
    }

    /// Begins a sign-in and gives the transaction.
    pub(crate) async fn begin(&self, party: &Party, verifier: &str) -> String {
        let parameters = Some(party.parameters(verifier));
        let request = pb::StartSignInRequest { parameters };
        self.sign_in()
            .start_sign_in(request)
            .await
            .unwrap()
            .into_inner()
            .transaction_id
    }

    /// Asks for a code and reads it from the mailbox.
    pub(crate) async fn code(&self, transaction: &str, individual: &str) -> String {
        let before = self.mailbox.count();
        let request = send(transaction, individual);
        self.sign_in().send_code(request).await.unwrap();
        self.mailbox.wait(before).await.code
    }

    /// Signs in as far as the authorization code.
    pub(crate) async fn authorization_code(
        &self,
        party: &Party,
        individual: &str,
        verifier: &str,
        claims: &[&str],
    ) -> String {
        let transaction = self.begin(party, verifier).await;
        let code = self.code(&transaction, individual).await;
        let request = prove(&transaction, individual, &code);
        self.sign_in().authenticate(request).await.unwrap();
        let request = pb::IssueCodeRequest {
            transaction_id: transaction,
            accepted_claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
            permitted_scopes: Vec::new(),
            details_hash: String::new(),
        };
        self.sign_in()
            .issue_code(request)
            .await
            .unwrap()
            .into_inner()
            .code
    }
}

/// A relying party's software.
pub(crate) struct Party {
    pub(crate) client_id: String,
    pub(crate) key: SigningKey,
    pub(crate) clock: MockClock,
}

impl Party {
    /// What it registers.
    pub(crate) fn client(&self) -> pb::Client {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        pb::Client {
            client_id: self.client_id.clone(),
            client_name: "Cash transfer portal".to_owned(),
            relying_party_id: format!("{}-party", self.client_id),
            logo_uri: "https://portal.example.org/logo.png".to_owned(),
            redirect_uris: list(&[BACK]),
            acr_values: list(&["idbb:acr:generated-code"]),
            public_key_jwk: self.key.public_jwk().to_value().to_string(),
            user_claims: list(&["name", "birthdate", "email", "email_verified"]),
            grant_types: list(&["authorization_code", "client_credentials"]),
            auth_methods: list(&["private_key_jwt"]),
            allowed_scopes: list(&["consent:record:read", "payments:batch:write"]),
            ..pb::Client::default()
        }
    }

    /// An authorization request.
    pub(crate) fn parameters(&self, verifier: &str) -> pb::AuthorizationParameters {
        pb::AuthorizationParameters {
            client_id: self.client_id.clone(),
            redirect_uri: BACK.to_owned(),
            response_type: "code".to_owned(),
            scope: "openid profile email".to_owned(),
            state: "state-1".to_owned(),
            nonce: "nonce-1".to_owned(),
            code_challenge: challenge(verifier),
            code_challenge_method: "S256".to_owned(),
            ..pb::AuthorizationParameters::default()
        }
    }

    /// A fresh proof.
    pub(crate) fn assertion(&self) -> pb::ClientAssertion {
        self.assertion_with(|_| ())
    }

    /// A proof with other claims.
    pub(crate) fn assertion_with(
        &self,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> pb::ClientAssertion {
        let now = self.clock.now().seconds();
        let mut claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": format!("{ISSUER}/oauth/token"),
            "iat": now,
            "exp": now + 60,
            "jti": random(),
        });
        change(&mut claims);
        pb::ClientAssertion {
            client_id: self.client_id.clone(),
            assertion_type: ASSERTION_TYPE.to_owned(),
            assertion: sign_jwt(&self.key, "JWT", &claims).unwrap(),
        }
    }

    /// The request that exchanges a code.
    pub(crate) fn exchange(&self, code: &str, verifier: &str) -> pb::IssueTokenRequest {
        pb::IssueTokenRequest {
            grant_type: "authorization_code".to_owned(),
            client: Some(self.assertion()),
            code: code.to_owned(),
            redirect_uri: BACK.to_owned(),
            code_verifier: verifier.to_owned(),
            scope: String::new(),
        }
    }
}

/// A request for a code.
pub(crate) fn send(transaction: &str, individual: &str) -> pb::SendCodeRequest {
    pb::SendCodeRequest {
        transaction_id: transaction.to_owned(),
        individual_id: individual.to_owned(),
        channels: vec!["email".to_owned()],
        client_address: "192.0.2.7".to_owned(),
        details_hash: String::new(),
    }
}

/// A try to authenticate.
pub(crate) fn prove(transaction: &str, individual: &str, code: &str) -> pb::AuthenticateRequest {
    pb::AuthenticateRequest {
        transaction_id: transaction.to_owned(),
        individual_id: individual.to_owned(),
        challenges: vec![pb::AuthChallenge {
            factor_type: "OTP".to_owned(),
            challenge: code.to_owned(),
            format: "alpha-numeric".to_owned(),
        }],
        client_address: "192.0.2.7".to_owned(),
        details_hash: String::new(),
    }
}

/// Somebody with a name, an address and a national number.
pub(crate) fn amina() -> pb::NewPerson {
    person("Amina Yusuf", "amina@example.org", "A-1001")
}

/// Somebody with a name, an address and a national number.
pub(crate) fn person(name: &str, email: &str, number: &str) -> pb::NewPerson {
    pb::NewPerson {
        attributes: vec![
            attribute("name", name),
            attribute("birthdate", "1980-05-12"),
            attribute("email", email),
        ],
        aliases: vec![pb::Alias {
            kind: "national_id".to_owned(),
            value: number.to_owned(),
        }],
        reference: number.to_owned(),
        ..pb::NewPerson::default()
    }
}

pub(crate) fn attribute(name: &str, value: &str) -> pb::Attribute {
    pb::Attribute {
        name: name.to_owned(),
        language: String::new(),
        value: value.to_owned(),
    }
}

/// A random text, fit to be a PKCE verifier.
pub(crate) fn random() -> String {
    let mut bytes = [0_u8; 32];
    SystemEntropy.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn challenge(verifier: &str) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    publica_rpc::reason(status).unwrap_or_else(|| format!("{status:?}"))
}

/// The payload of a token, not verified.
pub(crate) fn payload(token: &str) -> serde_json::Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Moves the clock on.
pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A message that the block handed over.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) code: String,
}

/// Stands for the messaging block: keeps what it is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mailbox(Arc<Mutex<Vec<Mail>>>);

impl Mailbox {
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The first message after so many.
    pub(crate) async fn wait(&self, before: usize) -> Mail {
        eventually(|| async { self.0.lock().unwrap().get(before).cloned() }).await
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the mailbox only takes e-mail"))
}

#[tonic::async_trait]
impl MessageService for Mailbox {
    async fn send_email(
        &self,
        request: Request<messaging::SendEmailRequest>,
    ) -> Result<Response<messaging::SendEmailResponse>, Status> {
        let request = request.into_inner();
        let recipient = request.recipient.unwrap();
        let code = recipient.parameters.get("code").cloned().unwrap();
        self.0.lock().unwrap().push(Mail {
            to: recipient.email,
            code,
        });
        Ok(Response::new(messaging::SendEmailResponse::default()))
    }

    async fn send_email_batch(
        &self,
        _: Request<Streaming<messaging::SendEmailBatchRequest>>,
    ) -> Result<Response<messaging::SendEmailBatchResponse>, Status> {
        absent()
    }

    async fn get_status(
        &self,
        _: Request<messaging::GetStatusRequest>,
    ) -> Result<Response<messaging::GetStatusResponse>, Status> {
        absent()
    }

    type WatchStatusStream = tokio_stream::Empty<Result<messaging::WatchStatusResponse, Status>>;

    async fn watch_status(
        &self,
        _: Request<messaging::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        absent()
    }

    async fn list_events(
        &self,
        _: Request<messaging::ListEventsRequest>,
    ) -> Result<Response<messaging::ListEventsResponse>, Status> {
        absent()
    }

    async fn cancel_request(
        &self,
        _: Request<messaging::CancelRequestRequest>,
    ) -> Result<Response<messaging::CancelRequestResponse>, Status> {
        absent()
    }

    async fn create_reply(
        &self,
        _: Request<messaging::CreateReplyRequest>,
    ) -> Result<Response<messaging::CreateReplyResponse>, Status> {
        absent()
    }
}
