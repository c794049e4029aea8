//! The consented claims about the person of a token.

use publica_jose::{
    Alg, JweAlg, JweEnc, Jwk, Protected, Sealing, Validation, encrypt, sign_jwt, verify_jwt,
};
use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_types::Origin;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::domain::claims;
use crate::domain::person::{PersonId, PersonState};
use crate::error::{Error, Refused};
use crate::store;
use crate::store::token::IssuedToken;

impl App {
    /// Answers the claims as a signed JWT; the read is journalled first.
    pub(crate) async fn user_info(
        &self,
        origin: &Origin,
        access_token: &str,
    ) -> Result<pb::GetUserInfoResponse, Error> {
        let db = self.db(origin).await?;
        let keys = self.key_set(&db).await?;
        let issuer = self.config.issuer.as_str();
        let validation = Validation::new()
            .typ("at+jwt")
            .issuer(issuer)
            .audience(issuer);
        let verified = verify_jwt(
            access_token,
            &keys.published,
            Alg::ALL,
            &validation,
            self.now(),
        )
        .map_err(|_| Refused::Token)?;
        let token_id = verified.claims.jti().ok_or(Refused::Token)?;
        let token = store::token::read(&db, token_id).await?;
        let token = token
            .filter(|token| token.is_live(self.now()))
            .ok_or(Refused::Token)?;
        // A machine's own token says nothing about anybody.
        let person_id = token.person_id.ok_or(Refused::Token)?;
        if !token.scope.split(' ').any(|scope| scope == "openid") {
            return Err(Refused::InsufficientScope.into());
        }
        let shared = token.accepted_claims.clone();
        let (sub, client_id) = (token.sub.clone(), token.client_id.clone());
        let mut claims = self.shared_claims(&db, person_id, token).await?;
        claims.insert("sub".to_owned(), json!(sub));
        claims.insert("iss".to_owned(), json!(issuer));
        claims.insert("aud".to_owned(), json!(client_id));
        claims.insert("iat".to_owned(), json!(self.now().seconds()));
        let mut origin = origin.clone();
        origin.actor = format!("client:{client_id}");
        let entry = Entry::new("identity.claims.read")
            .subject("person", person_id)
            .body(json!({ "claims": shared, "token": token_id }));
        self.journal.record(&origin, entry).await?;
        let jwt = sign_jwt(&keys.signing, "JWT", &Value::Object(claims))?;
        let client = store::client::read(&db, &client_id).await?;
        let client = client.ok_or(Refused::Token)?.client;
        let jwt = match client.encrypts_to() {
            Some(key) => self.encrypted(key, &jwt)?,
            // A client that insists on encryption gets nothing without it.
            None if client.user_info_type == "JWE" => return Err(Error::Record("client key")),
            None => jwt,
        };
        Ok(pb::GetUserInfoResponse { jwt })
    }

    /// A signed token inside an encrypted one (RFC 7519, 5.2).
    fn encrypted(&self, key: &str, jwt: &str) -> Result<String, Error> {
        let key = Jwk::from_json(key.as_bytes())?;
        let alg = match key.kty() {
            "RSA" => JweAlg::RsaOaep256,
            _ => JweAlg::EcdhEs,
        };
        let header = Protected::new().member("cty", json!("JWT"));
        let sealing = Sealing::To(&key, alg);
        let entropy = &*self.entropy;
        Ok(encrypt(
            sealing,
            JweEnc::A256Gcm,
            header,
            jwt.as_bytes(),
            entropy,
        )?)
    }

    async fn shared_claims(
        &self,
        db: &publica_store::Db,
        person_id: PersonId,
        token: IssuedToken,
    ) -> Result<Map<String, Value>, Error> {
        let input = (self.clone(), person_id, token);
        db.read(
            "identity.user_info",
            input,
            |tx, (app, person_id, token)| {
                Box::pin(async move {
                    let person = store::person::find(tx, *person_id).await?;
                    let active =
                        person.filter(|person| person.state(tx.now()) == PersonState::Active);
                    let person = active.ok_or(Refused::Token)?;
                    let attributes = app.open_attributes(tx, &person).await?;
                    let (shared, locales) = (&token.accepted_claims, &token.claims_locales);
                    Ok(claims::assemble(&attributes, shared, locales))
                })
            },
        )
        .await
    }
}
