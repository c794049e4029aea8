//! Registering the clients of relying parties.

use publica_auth::Caller;
use publica_journal::Entry;
use publica_proto::identity::v1 as pb;
use publica_rpc::{PageToken, page_size};
use publica_store::Tx;
use publica_types::Origin;
use serde_json::json;

use crate::app::person::next;
use crate::app::{App, Mutation};
use crate::convert;
use crate::domain::client::{Client, ClientFault};
use crate::error::{Error, Refused};
use crate::store;

const PAGE_DEFAULT: i32 = 50;
const PAGE_MAX: i32 = 500;

struct Registration {
    origin: Origin,
    client: Client,
}

impl App {
    /// Registers a client.
    pub(crate) async fn create_client(
        &self,
        mutation: &Mutation,
        caller: &Caller,
        client: Client,
    ) -> Result<pb::CreateClientResponse, Error> {
        let client = Client {
            active: true,
            ..client
        };
        if let Some(fault) = client.first_fault(self.allows_http_redirects()) {
            return Err(fault.into());
        }
        check_scopes(caller, &client)?;
        let registration = Registration {
            origin: mutation.origin.clone(),
            client,
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.create_client");
        publica_journal::write(&db, call, registration, |tx, registration| {
            Box::pin(async move { registration.create(tx).await })
        })
        .await
    }

    /// Replaces what may change of a client.
    pub(crate) async fn update_client(
        &self,
        mutation: &Mutation,
        caller: &Caller,
        client: Client,
    ) -> Result<pb::UpdateClientResponse, Error> {
        // What cannot change is taken from the store; here it only has to pass the checks.
        let checked = Client {
            relying_party_id: "unchanged".to_owned(),
            ..client.clone()
        };
        if let Some(fault) = checked.first_fault(self.allows_http_redirects()) {
            return Err(fault.into());
        }
        check_scopes(caller, &client)?;
        let registration = Registration {
            origin: mutation.origin.clone(),
            client,
        };
        let db = self.db(&mutation.origin).await?;
        let call = mutation.call("identity.update_client");
        publica_journal::write(&db, call, registration, |tx, registration| {
            Box::pin(async move { registration.update(tx).await })
        })
        .await
    }

    /// One client.
    pub(crate) async fn get_client(
        &self,
        origin: &Origin,
        request: &pb::GetClientRequest,
    ) -> Result<pb::GetClientResponse, Error> {
        let db = self.db(origin).await?;
        let stored = store::client::read(&db, &request.client_id).await?;
        let stored = stored.ok_or(Refused::ClientUnknown)?;
        Ok(pb::GetClientResponse {
            client: Some(convert::client(&stored)),
        })
    }

    /// A page of clients.
    pub(crate) async fn list_clients(
        &self,
        origin: &Origin,
        request: &pb::ListClientsRequest,
    ) -> Result<pb::ListClientsResponse, Error> {
        let size = page_size(request.page_size, PAGE_DEFAULT, PAGE_MAX)?;
        let after: Option<String> = PageToken::decode(&(), &request.page_token)?;
        let db = self.db(origin).await?;
        let mut found = store::client::page(&db, &after.unwrap_or_default(), size + 1).await?;
        let next_page_token = next(&mut found, size, |stored| {
            PageToken::encode(&(), &stored.client.client_id)
        });
        let clients = found.iter().map(convert::client).collect();
        Ok(pb::ListClientsResponse {
            clients,
            next_page_token,
        })
    }
}

/// Nobody can give a client more than they hold.
fn check_scopes(caller: &Caller, client: &Client) -> Result<(), Error> {
    if client
        .allowed_scopes
        .iter()
        .all(|scope| caller.allows(scope))
    {
        Ok(())
    } else {
        Err(Refused::ScopeNotHeld.into())
    }
}

impl Registration {
    async fn create(&self, tx: &mut Tx<'_>) -> Result<pb::CreateClientResponse, Error> {
        let (client, now) = (&self.client, tx.now());
        if store::client::find(tx, &client.client_id).await?.is_some() {
            return Err(Refused::ClientExists.into());
        }
        if !client.has_sound_key() {
            return Err(ClientFault::Key.into());
        }
        if let Some(fault) = client.encryption_fault() {
            return Err(fault.into());
        }
        if !store::client::insert(tx, client, now).await? {
            return Err(Refused::ClientExists.into());
        }
        self.append(tx, "identity.client.registered");
        let stored = store::client::Stored {
            client: client.clone(),
            created: now,
            updated: now,
        };
        Ok(pb::CreateClientResponse {
            client: Some(convert::client(&stored)),
        })
    }

    async fn update(&self, tx: &mut Tx<'_>) -> Result<pb::UpdateClientResponse, Error> {
        let now = tx.now();
        if !store::client::update(tx, &self.client, now).await? {
            return Err(Refused::ClientUnknown.into());
        }
        self.append(tx, "identity.client.updated");
        let stored = store::client::find(tx, &self.client.client_id).await?;
        let stored = stored.ok_or(Refused::ClientUnknown)?;
        if let Some(fault) = stored.client.encryption_fault() {
            return Err(fault.into());
        }
        Ok(pb::UpdateClientResponse {
            client: Some(convert::client(&stored)),
        })
    }

    fn append(&self, tx: &mut Tx<'_>, action: &'static str) {
        let client = &self.client;
        let entry = Entry::new(action)
            .subject("client", &client.client_id)
            .body(json!({
                "active": client.active,
                "user_claims": client.user_claims,
                "grant_types": client.grant_types,
                "allowed_scopes": client.allowed_scopes,
            }));
        publica_journal::append(tx, &self.origin, entry);
    }
}
