//! Signing keys.

use publica_proto::identity::v1 as pb;
use publica_testkit::{Database, both_engines, eventually};

use crate::support::{Provider, Suite, reason, seconds};

async fn published(suite: &Suite) -> Vec<serde_json::Value> {
    let request = pb::GetKeySetRequest {};
    let answer = Provider::new(suite.block.link.clone())
        .get_key_set(request)
        .await
        .unwrap();
    let keys = answer.into_inner().keys;
    keys.iter()
        .map(|key| serde_json::from_str(&key.jwk).unwrap())
        .collect()
}

both_engines! {
    async fn keys_are_published_before_they_sign(db: TestDatabase) {
        let suite = Suite::open(db).await;
        let mut provider = Provider::new(suite.admin());
        let listed = || async {
            let request = pb::ListSigningKeysRequest::default();
            let mut provider = Provider::new(suite.admin());
            let keys = provider.list_signing_keys(request).await.unwrap();
            let keys = keys.into_inner().signing_keys;
            (keys.len() == 2).then_some(keys)
        };
        // The background work makes the next key.
        let keys = eventually(listed).await;
        let in_state = |state| keys.iter().find(|key| key.state() == state).unwrap().kid.clone();
        let next = in_state(pb::SigningKeyState::Next);
        let active = in_state(pb::SigningKeyState::Active);
        let early = provider.rotate_signing_key(pb::RotateSigningKeyRequest::default()).await;
        assert_eq!(reason(&early.unwrap_err()), "ROTATION_TOO_EARLY");

        suite.clock.advance(seconds(901));
        let request = pb::RotateSigningKeyRequest::default();
        let rotated = provider.rotate_signing_key(request).await.unwrap().into_inner();
        assert_eq!(rotated.signing_key.unwrap().kid, next);
        let kids: Vec<_> = published(&suite).await.iter().map(|key| key["kid"].clone()).collect();
        assert_eq!(kids.len(), 3, "the old key, the new one, and the next");
        assert!(kids.contains(&active.as_str().into()));
        suite.clock.advance(seconds(1_801));
        let kids: Vec<_> = published(&suite).await.iter().map(|key| key["kid"].clone()).collect();
        assert!(!kids.contains(&active.as_str().into()), "what it signed has ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsa_keys_carry_their_certificate() {
    let suite = Suite::open_with(Database::sqlite(), |config| {
        config.keys.algorithm = "RS256".to_owned();
    })
    .await;
    let keys = published(&suite).await;
    for name in ["kid", "n", "e", "x5t#S256"] {
        assert!(keys[0][name].is_string(), "{name}");
    }
    assert_eq!(
        (&keys[0]["kty"], &keys[0]["use"]),
        (&"RSA".into(), &"sig".into())
    );
    assert!(keys[0]["x5c"][0].as_str().unwrap().len() > 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metadata_names_what_exists() {
    let suite = Suite::open(Database::sqlite()).await;
    let request = pb::GetMetadataRequest {};
    let answer = Provider::new(suite.block.link.clone())
        .get_metadata(request)
        .await
        .unwrap();
    let metadata = answer.into_inner();
    assert_eq!(metadata.acr_values, ["idbb:acr:generated-code"]);
    assert_eq!(
        metadata.grant_types,
        ["authorization_code", "client_credentials"]
    );
    assert_eq!(metadata.signing_algorithms, ["ES256"]);
}
