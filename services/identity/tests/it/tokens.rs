//! Tokens: minting, reading claims, revoking, and what other blocks make of them.

use std::sync::Arc;

use publica_auth::{AuthConfig, CallerKind, IssuerConfig, Verifier};
use publica_proto::identity::v1 as pb;
use publica_testkit::both_engines;
use serde_json::json;
use tonic::codegen::http::{Extensions, HeaderMap};

use crate::support::{ISSUER, Party, Provider, Suite, amina, payload, random, reason, seconds};

async fn user_info(suite: &Suite, token: &str) -> Result<serde_json::Value, String> {
    let request = pb::GetUserInfoRequest {
        access_token: token.to_owned(),
    };
    let answer = suite.tokens().get_user_info(request).await;
    answer
        .map(|answer| payload(&answer.into_inner().jwt))
        .map_err(|status| reason(&status))
}

async fn refused(suite: &Suite, request: pb::IssueTokenRequest) -> String {
    reason(&suite.tokens().issue_token(request).await.unwrap_err())
}

fn machine(party: &Party, scope: &str) -> pb::IssueTokenRequest {
    pb::IssueTokenRequest {
        grant_type: "client_credentials".to_owned(),
        client: Some(party.assertion()),
        scope: scope.to_owned(),
        ..pb::IssueTokenRequest::default()
    }
}

both_engines! {
    async fn a_code_becomes_tokens_and_claims(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let verifier = random();
        let code = suite.authorization_code(&party, "A-1001", &verifier, &["name"]).await;
        let request = party.exchange(&code, &verifier);
        let issued = suite.tokens().issue_token(request).await.unwrap().into_inner();
        assert_eq!((issued.token_type.as_str(), issued.expires_in), ("Bearer", 900));
        let id = payload(&issued.id_token);
        assert_eq!(id["iss"], ISSUER);
        assert_eq!(id["aud"], "portal");
        assert_eq!(id["nonce"], "nonce-1");
        assert_eq!(id["acr"], "idbb:acr:generated-code");
        assert_eq!(id["amr"], json!(["otp"]));
        let access = payload(&issued.access_token);
        assert_eq!(access["sub"], id["sub"]);
        assert_eq!(access["aud"], ISSUER);

        let claims = user_info(&suite, &issued.access_token).await.unwrap();
        assert_eq!(claims["name"], "Amina Yusuf");
        assert_eq!(claims["sub"], id["sub"]);
        assert!(claims.get("birthdate").is_none(), "it was not shared");
        assert!(!claims.to_string().contains("A-1001"));
    }

    async fn pseudonyms_differ_between_parties_and_last(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let mut subs = Vec::new();
        let parties = [suite.relying_party("one").await, suite.relying_party("two").await];
        for party in [&parties[0], &parties[1], &parties[0]] {
            let verifier = random();
            let code = suite.authorization_code(party, "A-1001", &verifier, &[]).await;
            let request = party.exchange(&code, &verifier);
            let issued = suite.tokens().issue_token(request).await.unwrap().into_inner();
            subs.push(payload(&issued.id_token)["sub"].as_str().unwrap().to_owned());
        }
        assert_ne!(subs[0], subs[1]);
        assert_eq!(subs[0], subs[2]);
    }

    async fn a_code_is_good_once(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let verifier = random();
        let code = suite.authorization_code(&party, "A-1001", &verifier, &["name"]).await;
        let request = party.exchange(&code, &verifier);
        let issued = suite.tokens().issue_token(request).await.unwrap().into_inner();
        assert!(user_info(&suite, &issued.access_token).await.is_ok());
        let again = party.exchange(&code, &verifier);
        assert_eq!(refused(&suite, again).await, "INVALID_GRANT");
        let gone = user_info(&suite, &issued.access_token).await.unwrap_err();
        assert_eq!(gone, "INVALID_TOKEN", "a code used twice takes its tokens with it");
    }

    async fn codes_are_bound(db: TestDatabase) {
        let suite = Suite::open(db).await;
        suite.enrol(amina()).await;
        let party = suite.relying_party("portal").await;
        let other = suite.relying_party("other").await;
        let verifier = random();
        let code = suite.authorization_code(&party, "A-1001", &verifier, &[]).await;
        let elsewhere = pb::IssueTokenRequest {
            redirect_uri: "https://portal.example.org/other".to_owned(),
            ..party.exchange(&code, &verifier)
        };
        for request in [
            party.exchange(&code, &random()),
            party.exchange(&code, ""),
            party.exchange("unknown", &verifier),
            other.exchange(&code, &verifier),
            elsewhere,
        ] {
            assert_eq!(refused(&suite, request).await, "INVALID_GRANT");
        }
        suite.clock.advance(seconds(61));
        assert_eq!(refused(&suite, party.exchange(&code, &verifier)).await, "INVALID_GRANT");
    }

    async fn assertions_are_judged_in_full(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let stranger = suite.relying_party("stranger").await;
        let now = json!(payload(&party.assertion().assertion)["iat"]);
        let now = now.as_i64().unwrap();
        let changes: [&dyn Fn(&mut serde_json::Value); 8] = [
            &|claims| claims["aud"] = json!("https://elsewhere.example"),
            &|claims| claims["iss"] = json!("stranger"),
            &|claims| claims["sub"] = json!("stranger"),
            &|claims| drop(claims.as_object_mut().unwrap().remove("sub")),
            &|claims| drop(claims.as_object_mut().unwrap().remove("jti")),
            &|claims| claims["exp"] = json!(now - 61),
            &|claims| claims["iat"] = json!(now + 120),
            &|claims| claims["exp"] = json!(now + 3_600),
        ];
        for change in changes {
            let request = pb::IssueTokenRequest {
                client: Some(party.assertion_with(change)),
                ..machine(&party, "")
            };
            assert_eq!(refused(&suite, request).await, "INVALID_ASSERTION");
        }
        let forged = pb::ClientAssertion {
            assertion: stranger.assertion_with(|claims| {
                claims["iss"] = json!("portal");
                claims["sub"] = json!("portal");
            }).assertion,
            ..party.assertion()
        };
        let request = pb::IssueTokenRequest { client: Some(forged), ..machine(&party, "") };
        assert_eq!(refused(&suite, request).await, "INVALID_ASSERTION");

        let once = machine(&party, "");
        suite.tokens().issue_token(once.clone()).await.unwrap();
        assert_eq!(refused(&suite, once).await, "INVALID_ASSERTION", "it was used before");
    }

    async fn requests_are_refused_in_the_published_order(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let sound = party.exchange("code", &random());
        let with = |change: &dyn Fn(&mut pb::IssueTokenRequest)| {
            let mut request = sound.clone();
            change(&mut request);
            request
        };
        let client = |change: &dyn Fn(&mut pb::ClientAssertion)| {
            let mut request = sound.clone();
            change(request.client.as_mut().unwrap());
            request
        };
        for (request, expected) in [
            (with(&|r| r.grant_type.clear()), "INVALID_INPUT"),
            (with(&|r| r.grant_type = "password".to_owned()), "UNSUPPORTED_GRANT_TYPE"),
            (with(&|r| { r.code.clear(); r.redirect_uri.clear(); }), "INVALID_INPUT"),
            (with(&|r| r.redirect_uri.clear()), "INVALID_REDIRECT_URI"),
            (client(&|c| c.assertion_type.clear()), "INVALID_ASSERTION_TYPE"),
            (client(&|c| c.assertion.clear()), "INVALID_ASSERTION"),
            (client(&|c| c.client_id = "nobody".to_owned()), "INVALID_CLIENT"),
        ] {
            assert_eq!(refused(&suite, request).await, expected);
        }
    }

    async fn machines_get_what_they_were_given(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let request = machine(&party, "consent:record:read");
        let issued = suite.tokens().issue_token(request).await.unwrap().into_inner();
        assert_eq!((issued.scope.as_str(), issued.id_token.as_str()), ("consent:record:read", ""));
        assert_eq!(user_info(&suite, &issued.access_token).await.unwrap_err(), "INVALID_TOKEN");
        let request = machine(&party, "identity:person:read");
        assert_eq!(refused(&suite, request).await, "INVALID_SCOPE");

        // The way another block sees it: through the published keys.
        let keys = Provider::new(suite.block.link.clone())
            .get_key_set(pb::GetKeySetRequest {})
            .await
            .unwrap()
            .into_inner()
            .keys;
        let keys: Vec<serde_json::Value> =
            keys.iter().map(|key| serde_json::from_str(&key.jwk).unwrap()).collect();
        let config = AuthConfig {
            issuers: vec![IssuerConfig {
                issuer: ISSUER.to_owned(),
                jwks: Some(json!({ "keys": keys }).to_string()),
                algorithms: vec!["ES256".to_owned()],
                ..IssuerConfig::default()
            }],
            ..AuthConfig::default()
        };
        let verifier = Verifier::open(&config, None, Arc::new(suite.clock.clone())).unwrap();
        let mut headers = HeaderMap::new();
        let value = format!("Bearer {}", issued.access_token).parse().unwrap();
        headers.insert("authorization", value);
        let caller = verifier.caller_of(&headers, &Extensions::new()).await.unwrap();
        assert_eq!((caller.subject.as_str(), caller.kind), ("portal", CallerKind::Machine));
        assert!(caller.allows("consent:record:read") && !caller.allows("payments:batch:write"));
    }

    async fn tokens_can_be_asked_about_and_revoked(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let party = suite.relying_party("portal").await;
        let other = suite.relying_party("other").await;
        let request = machine(&party, "");
        let token = suite.tokens().issue_token(request).await.unwrap().into_inner().access_token;
        let ask = async |who: &Party| {
            let request = pb::IntrospectTokenRequest {
                client: Some(who.assertion()),
                token: token.clone(),
            };
            suite.tokens().introspect_token(request).await.unwrap().into_inner()
        };
        let told = ask(&party).await;
        assert!(told.active && told.sub == "portal" && told.aud == "publica");
        assert_eq!(ask(&other).await, pb::IntrospectTokenResponse::default());
        let revoke = |who: &Party| pb::RevokeTokenRequest {
            client: Some(who.assertion()),
            token: token.clone(),
        };
        suite.tokens().revoke_token(revoke(&other)).await.unwrap();
        assert!(ask(&party).await.active, "it is not the other client's");
        suite.tokens().revoke_token(revoke(&party)).await.unwrap();
        assert!(!ask(&party).await.active);
    }

    async fn tokens_end_with_the_identity(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let id = suite.enrol(amina()).await.person_id;
        let party = suite.relying_party("portal").await;
        let verifier = random();
        let code = suite.authorization_code(&party, "A-1001", &verifier, &["name"]).await;
        let request = party.exchange(&code, &verifier);
        let token = suite.tokens().issue_token(request).await.unwrap().into_inner().access_token;
        let block = pb::BlockPersonRequest { person_id: id, ..Default::default() };
        suite.persons().block_person(block).await.unwrap();
        assert_eq!(user_info(&suite, &token).await.unwrap_err(), "INVALID_TOKEN");
        assert_eq!(user_info(&suite, "not.a.token").await.unwrap_err(), "INVALID_TOKEN");
    }
}
