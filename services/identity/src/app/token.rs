//! Minting tokens, revoking them, and telling about them.

use std::time::Duration;

use publica_jose::{Alg, Jwk, JwkSet, Validation, base64url, sign_jwt, verify_jwt};
use publica_journal::{Entry, Outcome};
use publica_proto::identity::v1 as pb;
use publica_rpc::timestamp;
use publica_store::{Db, Tx};
use publica_types::{Origin, Timestamp};
use serde_json::{Map, Value, json};

use crate::app::{App, sha256};
use crate::domain::authorization::ACR_GENERATED_CODE;
use crate::domain::client::{AUTHORIZATION_CODE, CLIENT_CREDENTIALS, Client};
use crate::domain::person::PersonState;
use crate::domain::sign_in::SignInState;
use crate::domain::{claims, pkce};
use crate::error::{Error, Refused};
use crate::store;
use crate::store::sign_in::SignIn;
use crate::store::token::IssuedToken;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Algorithms that client assertions may use.
pub(crate) const ASSERTION_ALGS: &[Alg] = &[Alg::Rs256, Alg::Ps256, Alg::Es256, Alg::EdDsa];
const MAX_ASSERTION: usize = 8_192;
/// The longest life of an assertion, clocks that differ included.
const ASSERTION_LIFE: Duration = Duration::from_mins(6);
const LEEWAY: Duration = Duration::from_secs(30);

/// A client that has proven itself, and what its proof was known by.
struct Proven {
    client: Client,
    jti_hash: Vec<u8>,
    expires: Timestamp,
}

/// A code on its way to be exchanged.
struct Exchange {
    app: App,
    origin: Origin,
    proven: Proven,
    code_hash: Vec<u8>,
    redirect_uri: String,
    code_verifier: String,
    token_id: String,
}

/// What came of a code.
enum Exchanged {
    /// Tokens may be minted.
    Granted(Box<Grant>),
    /// The assertion was used before.
    Replayed,
    /// The code is not good; what it was good for earlier is revoked.
    Refused,
}

/// What tokens say.
struct Grant {
    token: IssuedToken,
    sign_in: SignIn,
    id_claims: Map<String, Value>,
}

/// A machine's own token on its way into the store.
struct Machine {
    origin: Origin,
    proven: Proven,
    token: IssuedToken,
}

impl App {
    /// Exchanges a grant for tokens.
    pub(crate) async fn issue_token(
        &self,
        origin: &Origin,
        request: pb::IssueTokenRequest,
    ) -> Result<pb::IssueTokenResponse, Error> {
        let client = request.client.clone().unwrap_or_default();
        check_shape(&request, &client)?;
        let db = self.db(origin).await?;
        let proven = self.prove(&db, &client).await?;
        if !proven.client.may_use(&request.grant_type) {
            return Err(Refused::GrantNotAllowed.into());
        }
        let mut origin = origin.clone();
        origin.actor = format!("client:{}", proven.client.client_id);
        if request.grant_type == CLIENT_CREDENTIALS {
            self.issue_to_machine(&db, origin, proven, &request.scope)
                .await
        } else {
            self.issue_for_code(&db, origin, proven, request).await
        }
    }

    /// Checks a client's proof; which part of it is wrong is never told.
    async fn prove(&self, db: &Db, given: &pb::ClientAssertion) -> Result<Proven, Error> {
        let stored = match given.client_id.len() {
            1..=256 => store::client::read(db, &given.client_id).await?,
            _ => None,
        };
        let client = stored
            .map(|stored| stored.client)
            .filter(|client| client.active);
        let client = client.ok_or(Refused::Client)?;
        if given.assertion.len() > MAX_ASSERTION {
            return Err(Refused::Assertion.into());
        }
        let key = Jwk::from_json(client.public_key.as_bytes())?;
        // The client has one key; whatever id the token names, no other is tried.
        let keys = JwkSet::new(vec![key]);
        let id = client.client_id.as_str();
        let audiences = self.config.all_assertion_audiences();
        let validation = audiences
            .into_iter()
            .fold(Validation::new(), Validation::audience)
            .issuer(id)
            .subject(id)
            .require(&["iss", "sub", "aud", "exp", "jti"])
            .max_lifetime(ASSERTION_LIFE)
            .leeway(LEEWAY);
        let refused = |_| Error::from(Refused::Assertion);
        let verified = verify_jwt(
            &given.assertion,
            &keys,
            ASSERTION_ALGS,
            &validation,
            self.now(),
        )
        .map_err(refused)?;
        let jti = verified.claims.jti().filter(|jti| !jti.is_empty());
        let jti_hash = sha256(jti.ok_or(Refused::Assertion)?);
        let expires = verified
            .claims
            .expires()
            .map_err(refused)?
            .ok_or(Refused::Assertion)?;
        Ok(Proven {
            client,
            jti_hash,
            expires: expires.plus(LEEWAY),
        })
    }

    async fn issue_to_machine(
        &self,
        db: &Db,
        origin: Origin,
        proven: Proven,
        scope: &str,
    ) -> Result<pb::IssueTokenResponse, Error> {
        let scope = machine_scope(&proven.client, scope)?;
        let now = self.now();
        let token = IssuedToken {
            token_id: self.random_text(),
            client_id: proven.client.client_id.clone(),
            transaction_hash: None,
            person_id: None,
            sub: proven.client.client_id.clone(),
            scope,
            accepted_claims: Vec::new(),
            claims_locales: Vec::new(),
            issued: now,
            expires: now.plus(self.config.token_lifetime()),
            revoked: None,
        };
        let machine = Machine {
            origin: origin.clone(),
            proven,
            token: token.clone(),
        };
        let issued = db.write("identity.issue_machine_token", machine, |tx, machine| {
            Box::pin(async move { machine.run(tx).await })
        });
        issued.await?;
        let keys = self.key_set(db).await?;
        let claims = self.access_claims(&origin, &token, &[&self.config.access_audience]);
        let access_token = sign_jwt(&keys.signing, "at+jwt", &claims)?;
        Ok(self.response(access_token, String::new(), token.scope))
    }

    async fn issue_for_code(
        &self,
        db: &Db,
        origin: Origin,
        proven: Proven,
        request: pb::IssueTokenRequest,
    ) -> Result<pb::IssueTokenResponse, Error> {
        let client_id = proven.client.client_id.clone();
        let exchange = Exchange {
            app: self.clone(),
            origin: origin.clone(),
            proven,
            code_hash: sha256(&request.code),
            redirect_uri: request.redirect_uri,
            code_verifier: request.code_verifier,
            token_id: self.random_text(),
        };
        let exchanged = db.write("identity.exchange_code", exchange, |tx, exchange| {
            Box::pin(async move { exchange.run(tx).await })
        });
        let grant = match exchanged.await? {
            Exchanged::Granted(grant) => grant,
            Exchanged::Replayed => return Err(Refused::Assertion.into()),
            Exchanged::Refused => return Err(Refused::Grant.into()),
        };
        let keys = self.key_set(db).await?;
        let mut audiences = vec![self.config.issuer.as_str()];
        audiences.extend(self.config.person_audiences.iter().map(String::as_str));
        let access = self.access_claims(&origin, &grant.token, &audiences);
        let access_token = sign_jwt(&keys.signing, "at+jwt", &access)?;
        let id = self.id_claims(&grant, &client_id, keys.signing.alg(), &access_token);
        let id_token = sign_jwt(&keys.signing, "JWT", &id)?;
        Ok(self.response(access_token, id_token, grant.token.scope))
    }

    fn response(
        &self,
        access_token: String,
        id_token: String,
        scope: String,
    ) -> pb::IssueTokenResponse {
        pb::IssueTokenResponse {
            access_token,
            id_token,
            token_type: "Bearer".to_owned(),
            expires_in: i32::try_from(self.config.token_seconds).unwrap_or(i32::MAX),
            scope,
        }
    }

    /// Claims of an access token (RFC 9068). The tenant goes along, so that a block that gets
    /// the token knows whose store is meant.
    fn access_claims(&self, origin: &Origin, token: &IssuedToken, audiences: &[&str]) -> Value {
        let audience = match audiences {
            [one] => json!(one),
            several => json!(several),
        };
        json!({
            "iss": self.config.issuer,
            "sub": token.sub,
            "aud": audience,
            "client_id": token.client_id,
            "scope": token.scope,
            "iat": token.issued.seconds(),
            "exp": token.expires.seconds(),
            "jti": token.token_id,
            "tenant": origin.tenant.as_str(),
        })
    }

    fn id_claims(&self, grant: &Grant, client_id: &str, alg: Alg, access_token: &str) -> Value {
        let sign_in = &grant.sign_in;
        let mut claims = grant.id_claims.clone();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(self.config.issuer));
        put("sub", json!(grant.token.sub));
        put("aud", json!(client_id));
        put("azp", json!(client_id));
        put("iat", json!(grant.token.issued.seconds()));
        put("exp", json!(grant.token.expires.seconds()));
        put("acr", json!(sign_in.acr));
        put("amr", json!(amr(&sign_in.acr)));
        if let Some(time) = sign_in.auth_time {
            put("auth_time", json!(time.seconds()));
        }
        if !sign_in.request.nonce.is_empty() {
            put("nonce", json!(sign_in.request.nonce));
        }
        put("at_hash", json!(at_hash(alg, access_token)));
        Value::Object(claims)
    }

    /// Revokes a token of a client.
    pub(crate) async fn revoke_token(
        &self,
        origin: &Origin,
        request: pb::RevokeTokenRequest,
    ) -> Result<pb::RevokeTokenResponse, Error> {
        let db = self.db(origin).await?;
        let client = request.client.unwrap_or_default();
        check_assertion_type(&client)?;
        let proven = self.prove(&db, &client).await?;
        let mut origin = origin.clone();
        origin.actor = format!("client:{}", proven.client.client_id);
        let token_id = self.token_id(&db, &request.token).await?;
        let input = (origin, proven, token_id);
        let done = db.write(
            "identity.revoke_token",
            input,
            |tx, (origin, proven, token_id)| {
                Box::pin(async move {
                    use_assertion(tx, proven).await?;
                    let (client, now) = (proven.client.client_id.as_str(), tx.now());
                    let Some(token_id) = token_id else {
                        return Ok::<_, Error>(());
                    };
                    if store::token::revoke(tx, token_id, client, now).await? {
                        let entry = Entry::new("identity.token.revoked").subject("token", token_id);
                        publica_journal::append(tx, origin, entry);
                    }
                    Ok(())
                })
            },
        );
        done.await?;
        Ok(pb::RevokeTokenResponse {})
    }

    /// Tells a client about one of its own tokens.
    pub(crate) async fn introspect_token(
        &self,
        origin: &Origin,
        request: pb::IntrospectTokenRequest,
    ) -> Result<pb::IntrospectTokenResponse, Error> {
        let db = self.db(origin).await?;
        let client = request.client.unwrap_or_default();
        check_assertion_type(&client)?;
        let proven = self.prove(&db, &client).await?;
        let client_id = proven.client.client_id.clone();
        let used = db.write("identity.use_assertion", proven, |tx, proven| {
            Box::pin(async move { use_assertion(tx, proven).await })
        });
        used.await?;
        let inactive = Ok(pb::IntrospectTokenResponse::default());
        let Some(token_id) = self.token_id(&db, &request.token).await? else {
            return inactive;
        };
        let Some(token) = store::token::read(&db, &token_id).await? else {
            return inactive;
        };
        if token.client_id != client_id || !token.is_live(self.now()) {
            return inactive;
        }
        let person = token.person_id.is_some();
        let aud = if person {
            &self.config.issuer
        } else {
            &self.config.access_audience
        };
        Ok(pb::IntrospectTokenResponse {
            active: true,
            client_id,
            sub: token.sub,
            scope: token.scope,
            aud: aud.clone(),
            iss: self.config.issuer.clone(),
            jti: token.token_id,
            issue_time: Some(timestamp(token.issued)),
            expire_time: Some(timestamp(token.expires)),
        })
    }

    /// The id of a token that this issuer signed; `None` for anything else.
    async fn token_id(&self, db: &Db, token: &str) -> Result<Option<String>, Error> {
        let keys = self.key_set(db).await?;
        let validation = Validation::new()
            .typ("at+jwt")
            .issuer(self.config.issuer.as_str());
        let verified = verify_jwt(token, &keys.published, Alg::ALL, &validation, self.now());
        Ok(verified
            .ok()
            .and_then(|verified| verified.claims.jti().map(str::to_owned)))
    }
}

/// What a request must hold before anything is looked up, in the published order.
fn check_shape(request: &pb::IssueTokenRequest, client: &pb::ClientAssertion) -> Result<(), Error> {
    let code_grant = request.grant_type == AUTHORIZATION_CODE;
    if request.grant_type.trim().is_empty() || client.client_id.trim().is_empty() {
        return Err(Refused::Input.into());
    }
    if !code_grant && request.grant_type != CLIENT_CREDENTIALS {
        return Err(Refused::GrantType.into());
    }
    if code_grant && request.code.trim().is_empty() {
        return Err(Refused::Input.into());
    }
    if code_grant && request.redirect_uri.trim().is_empty() {
        return Err(Refused::RedirectUri.into());
    }
    check_assertion_type(client)
}

fn check_assertion_type(client: &pb::ClientAssertion) -> Result<(), Error> {
    if client.assertion_type != ASSERTION_TYPE {
        return Err(Refused::AssertionType.into());
    }
    if client.assertion.trim().is_empty() {
        Err(Refused::Assertion.into())
    } else {
        Ok(())
    }
}

/// The scopes of a machine's token: those asked for, as far as the client may have them.
fn machine_scope(client: &Client, asked: &str) -> Result<String, Error> {
    let mut scopes: Vec<&str> = asked.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.is_empty() {
        scopes = client.allowed_scopes.iter().map(String::as_str).collect();
    }
    if scopes
        .iter()
        .any(|scope| !client.allowed_scopes.iter().any(|own| own == scope))
    {
        return Err(Refused::Scope.into());
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes.join(" "))
}

/// How the person proved to be themselves, in the terms of RFC 8176.
fn amr(acr: &str) -> &'static [&'static str] {
    if acr == ACR_GENERATED_CODE {
        &["otp"]
    } else {
        &[]
    }
}

/// The left half of the token's hash, which ties it to the ID token.
fn at_hash(alg: Alg, access_token: &str) -> String {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let algorithm = match alg {
        Alg::EdDsa => &SHA512,
        Alg::Es384 => &SHA384,
        Alg::Es256 | Alg::Rs256 | Alg::Ps256 => &SHA256,
    };
    let hash = digest(algorithm, access_token.as_bytes());
    base64url(&hash.as_ref()[..hash.as_ref().len() / 2])
}

/// Uses up an assertion, or refuses it because that was done before.
async fn use_assertion(tx: &mut Tx<'_>, proven: &Proven) -> Result<(), Error> {
    let client_id = proven.client.client_id.as_str();
    let fresh =
        store::token::use_assertion(tx, client_id, &proven.jti_hash, proven.expires).await?;
    if fresh {
        Ok(())
    } else {
        Err(Refused::Assertion.into())
    }
}

impl Machine {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        use_assertion(tx, &self.proven).await?;
        store::token::insert(tx, &self.token).await?;
        let entry = Entry::new("identity.token.issued")
            .subject("client", &self.token.client_id)
            .body(json!({ "token": self.token.token_id, "scope": self.token.scope }));
        publica_journal::append(tx, &self.origin, entry);
        Ok(())
    }
}

impl Exchange {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<Exchanged, Error> {
        let now = tx.now();
        let client_id = self.proven.client.client_id.as_str();
        let (jti_hash, end) = (&self.proven.jti_hash, self.proven.expires);
        if !store::token::use_assertion(tx, client_id, jti_hash, end).await? {
            return Ok(Exchanged::Replayed);
        }
        let Some(sign_in) = store::sign_in::lock_by_code(tx, &self.code_hash).await? else {
            return Ok(Exchanged::Refused);
        };
        if !sign_in.state.may_become(SignInState::Redeemed) {
            self.revoke(tx, &sign_in).await?;
            return Ok(Exchanged::Refused);
        }
        let request = &sign_in.request;
        let sound = sign_in.client_id == client_id
            && sign_in.code_expires.is_some_and(|end| now < end)
            && request.redirect_uri == self.redirect_uri
            && pkce::proves(&self.code_verifier, &request.code_challenge);
        let person_id = sign_in.person_id.ok_or(Error::Record("sign-in"))?;
        let person = store::person::find(tx, person_id).await?;
        let person = person.filter(|person| person.state(now) == PersonState::Active);
        let (Some(person), true) = (person, sound) else {
            return Ok(Exchanged::Refused);
        };
        let id_claims = self.id_claims(tx, &person, &sign_in).await?;
        let hash = &sign_in.transaction_hash;
        store::sign_in::set_state(tx, hash, SignInState::Redeemed).await?;
        // The row must outlive the tokens, so that a second use of the code still finds them.
        let end = now.plus(self.app.config.token_lifetime());
        store::sign_in::prolong(tx, hash, end).await?;
        let token = self.token(tx, &sign_in, now).await?;
        store::token::insert(tx, &token).await?;
        let entry = Entry::new("identity.token.issued")
            .subject("person", person_id)
            .body(json!({
                "token": token.token_id, "client": client_id, "scope": token.scope,
            }));
        publica_journal::append(tx, &self.origin, entry);
        Ok(Exchanged::Granted(Box::new(Grant {
            token,
            sign_in,
            id_claims,
        })))
    }

    /// A code that comes again was stolen, by this client or from it.
    async fn revoke(&self, tx: &mut Tx<'_>, sign_in: &SignIn) -> Result<(), Error> {
        let now = tx.now();
        let hash = &sign_in.transaction_hash;
        let revoked = store::token::revoke_of_sign_in(tx, hash, now).await?;
        if let Some(person_id) = sign_in.person_id {
            let entry = Entry::new("identity.code.reused")
                .subject("person", person_id)
                .outcome(Outcome::Refused)
                .body(json!({ "client": sign_in.client_id, "revoked": revoked }));
            publica_journal::append(tx, &self.origin, entry);
        }
        Ok(())
    }

    /// Consented claims that the client wants in the ID token.
    async fn id_claims(
        &self,
        tx: &mut Tx<'_>,
        person: &store::person::Person,
        sign_in: &SignIn,
    ) -> Result<Map<String, Value>, Error> {
        let wanted = &sign_in.request.asked.in_id_token;
        let shared: Vec<String> = sign_in
            .accepted_claims
            .iter()
            .filter(|one| wanted.contains(one))
            .cloned()
            .collect();
        if shared.is_empty() {
            return Ok(Map::new());
        }
        let attributes = self.app.open_attributes(tx, person).await?;
        Ok(claims::assemble(
            &attributes,
            &shared,
            &sign_in.request.claims_locales,
        ))
    }

    async fn token(
        &self,
        tx: &mut Tx<'_>,
        sign_in: &SignIn,
        now: Timestamp,
    ) -> Result<IssuedToken, Error> {
        let person_id = sign_in.person_id.ok_or(Error::Record("sign-in"))?;
        let relying_party = &self.proven.client.relying_party_id;
        let seed = format!("{relying_party}\n{person_id}");
        let derived = base64url(self.app.keyring.lookup("identity.pseudonym", &seed));
        let sub = store::consent::pseudonym(tx, person_id, relying_party, &derived).await?;
        Ok(IssuedToken {
            token_id: self.token_id.clone(),
            client_id: sign_in.client_id.clone(),
            transaction_hash: Some(sign_in.transaction_hash.clone()),
            person_id: Some(person_id),
            sub,
            scope: sign_in.request.scopes.join(" "),
            accepted_claims: sign_in.accepted_claims.clone(),
            claims_locales: sign_in.request.claims_locales.clone(),
            issued: now,
            expires: now.plus(self.app.config.token_lifetime()),
            revoked: None,
        })
    }
}
