//! Registering clients.

use publica_proto::identity::v1 as pb;
use publica_testkit::both_engines;

use crate::support::{Clients, Suite, reason};

fn create(client: pb::Client) -> pb::CreateClientRequest {
    pb::CreateClientRequest {
        client: Some(client),
        ..Default::default()
    }
}

both_engines! {
    async fn a_client_is_registered_once(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let mut clients = Clients::new(suite.admin());
        let refused = clients.create_client(create(party.client())).await.unwrap_err();
        assert_eq!(reason(&refused), "DUPLICATE_CLIENT_ID");
        // The look for the id comes before the key.
        let keyless = pb::Client { public_key_jwk: "{}".to_owned(), ..party.client() };
        let refused = clients.create_client(create(keyless.clone())).await.unwrap_err();
        assert_eq!(reason(&refused), "DUPLICATE_CLIENT_ID");
        let keyless = pb::Client { client_id: "other".to_owned(), ..keyless };
        let refused = clients.create_client(create(keyless)).await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_PUBLIC_KEY");
        let get = pb::GetClientRequest { client_id: "portal".to_owned() };
        let client = clients.get_client(get).await.unwrap().into_inner().client.unwrap();
        assert_eq!(client.state(), pb::ClientState::Active);
        assert_eq!(client.redirect_uris, party.client().redirect_uris);
    }

    async fn the_first_fault_names_its_field(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let mut clients = Clients::new(suite.admin());
        let sound = pb::Client { client_id: "second".to_owned(), ..party.client() };
        let cases = [
            (pb::Client { client_id: String::new(), ..sound.clone() }, "INVALID_CLIENT_ID"),
            (pb::Client { redirect_uris: Vec::new(), ..sound.clone() }, "INVALID_REDIRECT_URI"),
            (
                pb::Client {
                    client_name: String::new(),
                    logo_uri: String::new(),
                    ..sound.clone()
                },
                "INVALID_CLIENT_NAME",
            ),
            (pb::Client { user_claims: vec!["uin".to_owned()], ..sound }, "INVALID_CLAIM"),
        ];
        for (client, expected) in cases {
            let refused = clients.create_client(create(client)).await.unwrap_err();
            assert_eq!(reason(&refused), expected);
        }
    }

    async fn nobody_gives_more_than_they_hold(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let client = pb::Client { client_id: "second".to_owned(), ..party.client() };
        let mut registrar = Clients::new(suite.block.as_caller(&["add_oidc_client"]));
        let refused = registrar.create_client(create(client.clone())).await.unwrap_err();
        assert_eq!(reason(&refused), "SCOPE_NOT_HELD");
        let client = pb::Client { allowed_scopes: Vec::new(), ..client };
        registrar.create_client(create(client.clone())).await.unwrap();
        let request = pb::UpdateClientRequest { client: Some(client), ..Default::default() };
        let refused = registrar.update_client(request).await.unwrap_err();
        assert_eq!(reason(&refused), "SCOPE_MISSING");
    }

    async fn what_may_change_is_replaced(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let mut clients = Clients::new(suite.block.as_caller(&["update_oidc_client"]));
        let change = pb::Client {
            client_name: "Portal, renewed".to_owned(),
            relying_party_id: "another".to_owned(),
            public_key_jwk: "{}".to_owned(),
            allowed_scopes: Vec::new(),
            state: pb::ClientState::Inactive.into(),
            ..party.client()
        };
        let request =
            pb::UpdateClientRequest { client: Some(change.clone()), ..Default::default() };
        let answer = clients.update_client(request).await.unwrap().into_inner();
        let client = answer.client.unwrap();
        assert_eq!(client.client_name, "Portal, renewed");
        assert_eq!(client.state(), pb::ClientState::Inactive);
        assert_eq!(client.relying_party_id, party.client().relying_party_id);
        assert_eq!(client.public_key_jwk, party.client().public_key_jwk);
        let unknown = pb::Client { client_id: "nobody".to_owned(), ..change };
        let request = pb::UpdateClientRequest { client: Some(unknown), ..Default::default() };
        let refused = clients.update_client(request).await.unwrap_err();
        assert_eq!(reason(&refused), "CLIENT_NOT_FOUND");
    }
}
