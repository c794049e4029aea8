//! What a person shares, and the authorization code that follows.

use std::time::Duration;

use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::sign_in::held;
use crate::app::{App, details, sha256};
use crate::domain::authorization::AuthorizationRequest;
use crate::domain::claims::is_available;
use crate::domain::person::PersonId;
use crate::domain::sign_in::{ChoiceFault, SignInState, check_choice};
use crate::error::{Error, Refused};
use crate::store;
use crate::store::consent::Consent;

/// A choice on its way into the store.
struct Choice {
    app: App,
    origin: Origin,
    hash: Vec<u8>,
    details: String,
    code: String,
    accepted: Vec<String>,
    permitted: Vec<String>,
}

impl App {
    /// What the client wants to know about the person who signed in.
    pub(crate) async fn consent_details(
        &self,
        origin: &Origin,
        request: pb::GetConsentDetailsRequest,
    ) -> Result<pb::GetConsentDetailsResponse, Error> {
        let db = self.db(origin).await?;
        let sign_in = store::sign_in::read(&db, &sha256(&request.transaction_id)).await?;
        let now = self.now();
        let sign_in = sign_in
            .filter(|one| now < one.expires && one.state == SignInState::Authenticated)
            .ok_or(Refused::Transaction)?;
        details::seen(&sign_in, &request.details_hash)?;
        let client = store::client::read(&db, &sign_in.client_id).await?;
        let client_name = client
            .map(|stored| stored.client.client_name)
            .ok_or(Refused::Transaction)?;
        let input = (self.clone(), sign_in);
        let read = db.read("identity.consent_details", input, |tx, (app, sign_in)| {
            Box::pin(async move {
                let id = sign_in.person_id.ok_or(Error::Record("sign-in"))?;
                let person = store::person::find(tx, id)
                    .await?
                    .ok_or(Refused::PersonUnknown)?;
                let attributes = app.open_attributes(tx, &person).await?;
                let (client, request) = (&sign_in.client_id, &sign_in.request);
                let consent_needed = app.remembered(tx, id, client, request).await?.is_none();
                let claims = request
                    .asked
                    .all()
                    .map(|(name, essential)| pb::RequestedClaim {
                        name: name.to_owned(),
                        essential,
                        available: is_available(&attributes, name),
                    });
                Ok::<_, Error>((consent_needed, claims.collect()))
            })
        });
        let (consent_needed, claims) = read.await?;
        let authorize_scopes = Vec::new();
        Ok(pb::GetConsentDetailsResponse {
            consent_needed,
            claims,
            authorize_scopes,
            client_name,
        })
    }

    /// Records the choice and issues the code.
    pub(crate) async fn issue_code(
        &self,
        origin: &Origin,
        request: pb::IssueCodeRequest,
    ) -> Result<pb::IssueCodeResponse, Error> {
        let code = self.random_text();
        let choice = Choice {
            app: self.clone(),
            origin: origin.clone(),
            hash: sha256(&request.transaction_id),
            details: request.details_hash,
            code: code.clone(),
            accepted: request.accepted_claims,
            permitted: request.permitted_scopes,
        };
        let db = self.db(origin).await?;
        let made = db.write("identity.issue_code", choice, |tx, choice| {
            Box::pin(async move { choice.run(tx).await })
        });
        let request = made.await?;
        Ok(pb::IssueCodeResponse {
            code,
            redirect_uri: request.redirect_uri,
            state: request.state,
            nonce: request.nonce,
            issuer: self.config.issuer.clone(),
        })
    }

    /// What the person need not be asked again: nothing was asked for, or an earlier consent
    /// covers it. `None` when the person must be asked.
    pub(crate) async fn remembered(
        &self,
        tx: &mut Tx<'_>,
        person_id: PersonId,
        client_id: &str,
        request: &AuthorizationRequest,
    ) -> Result<Option<Vec<String>>, Error> {
        if request.asked.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if request.ask_consent {
            return Ok(None);
        }
        let now = tx.now();
        let Some(earlier) = store::consent::latest(tx, person_id, client_id, now).await? else {
            return Ok(None);
        };
        let covered = request
            .asked
            .all()
            .all(|(claim, _)| earlier.asked.iter().any(|asked| asked == claim));
        let shared = request.asked.all().map(|(claim, _)| claim.to_owned());
        let shared = shared
            .filter(|claim| earlier.accepted.contains(claim))
            .collect();
        Ok(covered.then_some(shared))
    }
}

impl Choice {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<AuthorizationRequest, Error> {
        let (app, now) = (&self.app, tx.now());
        let sign_in = held(tx, &self.hash, SignInState::CodeIssued).await?;
        details::seen(&sign_in, &self.details)?;
        let person_id = sign_in.person_id.ok_or(Error::Record("sign-in"))?;
        let request = sign_in.request;
        let client_id = sign_in.client_id.as_str();
        let remembered = app.remembered(tx, person_id, client_id, &request).await?;
        let accepted = match remembered {
            Some(remembered) if self.accepted.is_empty() => remembered,
            _ => {
                self.check(tx, person_id, &request).await?;
                self.record(tx, person_id, client_id, &request).await?;
                self.accepted.clone()
            }
        };
        let expires = now.plus(app.config.sign_in.lifetimes().code);
        let code_hash = sha256(&self.code);
        store::sign_in::issue_code(tx, &self.hash, &accepted, &code_hash, expires).await?;
        let entry = Entry::new("identity.code.issued")
            .subject("person", person_id)
            .body(json!({ "client": client_id, "claims": accepted }));
        publica_journal::append(tx, &self.origin, entry);
        Ok(request)
    }

    async fn check(
        &self,
        tx: &mut Tx<'_>,
        person_id: PersonId,
        request: &AuthorizationRequest,
    ) -> Result<(), Error> {
        let person = store::person::find(tx, person_id)
            .await?
            .ok_or(Refused::Transaction)?;
        let attributes = self.app.open_attributes(tx, &person).await?;
        let available = |claim: &str| is_available(&attributes, claim);
        check_choice(
            &request.asked,
            available,
            &self.accepted,
            &self.permitted,
            &[],
        )
        .map_err(|fault| match fault {
            ChoiceFault::Claim => Refused::AcceptedClaim.into(),
            ChoiceFault::Scope => Refused::PermittedScope.into(),
        })
    }

    /// Keeps what was agreed. It is remembered for as long as the client may; a consent that is
    /// not remembered is over at once and stays as a record.
    async fn record(
        &self,
        tx: &mut Tx<'_>,
        person_id: PersonId,
        client_id: &str,
        request: &AuthorizationRequest,
    ) -> Result<(), Error> {
        let now = tx.now();
        let client = store::client::find(tx, client_id)
            .await?
            .ok_or(Refused::Transaction)?;
        let minutes = u64::try_from(client.client.consent_expire_minutes).unwrap_or(0);
        let expires = now.plus(Duration::from_secs(minutes * 60));
        let asked: Vec<String> = request
            .asked
            .all()
            .map(|(name, _)| name.to_owned())
            .collect();
        let consent = Consent {
            accepted: self.accepted.clone(),
            asked,
        };
        let id = self.app.new_id();
        store::consent::insert(tx, id, person_id, client_id, &consent, now, expires).await?;
        let entry = Entry::new("identity.consent.given")
            .subject("person", person_id)
            .body(json!({
                "consent": id.to_string(),
                "client": client_id,
                "accepted": consent.accepted,
                "asked": consent.asked,
            }));
        publica_journal::append(tx, &self.origin, entry);
        Ok(())
    }
}
