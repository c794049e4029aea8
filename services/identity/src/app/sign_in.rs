//! Authorization requests, and the beginning and refusal of sign-ins.

use publica_journal::{Entry, Outcome};
use publica_proto::identity::v1 as pb;
use publica_rpc::timestamp;
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::{App, details, sha256};
use crate::domain::authorization::{self, AuthorizationFault, AuthorizationRequest, Parameters};
use crate::domain::client::Client;
use crate::domain::sign_in::SignInState;
use crate::error::{Error, Refused};
use crate::store;
use crate::store::sign_in::SignIn;

struct Start {
    hash: Vec<u8>,
    client_id: String,
    request: AuthorizationRequest,
    response: pb::StartSignInResponse,
    app: App,
}

struct Cancel {
    origin: Origin,
    hash: Vec<u8>,
    details: String,
}

impl App {
    /// Checks an authorization request; what is wrong is an answer, not an error.
    pub(crate) async fn check_authorization(
        &self,
        origin: &Origin,
        parameters: &Parameters,
    ) -> Result<pb::CheckAuthorizationResponse, Error> {
        let (client, checked) = self.checked(origin, parameters).await?;
        let client_name = match &checked {
            Ok(_) => client
                .map(|stored| stored.client.client_name)
                .unwrap_or_default(),
            Err(_) => String::new(),
        };
        let fault = checked.err().map(|fault| self.fault(parameters, fault));
        Ok(pb::CheckAuthorizationResponse { fault, client_name })
    }

    /// Begins a sign-in.
    pub(crate) async fn start_sign_in(
        &self,
        origin: &Origin,
        parameters: &Parameters,
    ) -> Result<pb::StartSignInResponse, Error> {
        let (client, checked) = self.checked(origin, parameters).await?;
        let request = checked?;
        let client = client.ok_or(Refused::ClientUnknown)?.client;
        let transaction_id = self.random_text();
        let start = Start {
            hash: sha256(&transaction_id),
            client_id: client.client_id.clone(),
            response: self.begun(transaction_id, client, &request),
            request,
            app: self.clone(),
        };
        let db = self.db(origin).await?;
        let begun = db.write("identity.start_sign_in", start, |tx, start| {
            Box::pin(async move {
                let now = tx.now();
                let expires = start.app.config.sign_in.lifetimes().end(now, now);
                let mut response = start.response.clone();
                response.expire_time = Some(timestamp(expires));
                response.details_json = details::details(&response);
                let request = AuthorizationRequest {
                    details_hash: details::hash(&response.details_json),
                    ..start.request.clone()
                };
                let (hash, client) = (&start.hash, &start.client_id);
                store::sign_in::insert(tx, hash, client, &request, now, expires).await?;
                Ok::<_, Error>(response)
            })
        });
        begun.await
    }

    /// What is told of a sign-in that begins, but for when it ends.
    fn begun(
        &self,
        transaction_id: String,
        client: Client,
        request: &AuthorizationRequest,
    ) -> pb::StartSignInResponse {
        let seconds = |seconds: u64| i32::try_from(seconds).unwrap_or(i32::MAX);
        let code = &self.config.code;
        let factor = pb::AuthFactor {
            r#type: "OTP".to_owned(),
            count: 1,
        };
        pb::StartSignInResponse {
            transaction_id,
            client_name: client.client_name,
            logo_uri: client.logo_uri,
            auth_factors: vec![pb::AuthFactorSet {
                factors: vec![factor],
            }],
            essential_claims: request.asked.essential.clone(),
            voluntary_claims: request.asked.voluntary.clone(),
            code_lifetime_seconds: seconds(code.lifetime_seconds),
            code_length: i32::try_from(code.length).unwrap_or(i32::MAX),
            resend_delay_seconds: seconds(code.resend_seconds),
            redirect_uri: request.redirect_uri.clone(),
            ..pb::StartSignInResponse::default()
        }
    }

    /// Ends a sign-in because the person refuses.
    pub(crate) async fn cancel_sign_in(
        &self,
        origin: &Origin,
        request: pb::CancelSignInRequest,
    ) -> Result<pb::CancelSignInResponse, Error> {
        let cancel = Cancel {
            origin: origin.clone(),
            hash: sha256(&request.transaction_id),
            details: request.details_hash,
        };
        let db = self.db(origin).await?;
        let ended = db.write("identity.cancel_sign_in", cancel, |tx, cancel| {
            Box::pin(async move { cancel.run(tx).await })
        });
        let request = ended.await?;
        Ok(pb::CancelSignInResponse {
            redirect_uri: request.redirect_uri,
            state: request.state,
            issuer: self.config.issuer.clone(),
        })
    }

    async fn checked(
        &self,
        origin: &Origin,
        parameters: &Parameters,
    ) -> Result<
        (
            Option<store::client::Stored>,
            Result<AuthorizationRequest, AuthorizationFault>,
        ),
        Error,
    > {
        let db = self.db(origin).await?;
        // Longer ids cannot be registered.
        let stored = match parameters.client_id.len() {
            1..=256 => store::client::read(&db, &parameters.client_id).await?,
            _ => None,
        };
        let client = stored.as_ref().map(|stored| &stored.client);
        let checked = authorization::check(parameters, client);
        Ok((stored, checked))
    }

    fn fault(&self, parameters: &Parameters, fault: AuthorizationFault) -> pb::AuthorizationFault {
        let back = |text: &String| {
            if fault.may_redirect {
                text.clone()
            } else {
                String::new()
            }
        };
        // A state that is too long is refused, never cut, and so cannot be returned.
        let state_sound = parameters.state.len() <= 256;
        pb::AuthorizationFault {
            may_redirect: fault.may_redirect,
            error: fault.error.to_owned(),
            error_description: fault.description.to_owned(),
            redirect_uri: back(&parameters.redirect_uri),
            state: if state_sound {
                back(&parameters.state)
            } else {
                String::new()
            },
            issuer: self.config.issuer.clone(),
        }
    }
}

/// The sign-in of a transaction, held, if it is not over and may go to `next` from where it is.
pub(crate) async fn held(tx: &mut Tx<'_>, hash: &[u8], next: SignInState) -> Result<SignIn, Error> {
    let now = tx.now();
    let sign_in = store::sign_in::lock(tx, hash).await?;
    sign_in
        .filter(|sign_in| now < sign_in.expires && sign_in.state.may_become(next))
        .ok_or_else(|| Refused::Transaction.into())
}

impl Cancel {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<AuthorizationRequest, Error> {
        let sign_in = held(tx, &self.hash, SignInState::Denied).await?;
        details::seen(&sign_in, &self.details)?;
        store::sign_in::set_state(tx, &self.hash, SignInState::Denied).await?;
        store::sign_in::delete_codes(tx, &self.hash).await?;
        if let Some(person_id) = sign_in.person_id {
            let entry = Entry::new("identity.consent.refused")
                .subject("person", person_id)
                .outcome(Outcome::Done)
                .body(json!({ "client": sign_in.client_id }));
            publica_journal::append(tx, &self.origin, entry);
        }
        Ok(sign_in.request)
    }
}
