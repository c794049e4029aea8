//! How other systems are told: webhooks that are tried, and what became of their deliveries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post;
use http::HeaderMap;
use publica_host::Profile;
use publica_jose::{Curve, DecryptionKey, JweAlg, JweEnc, decrypt};
use publica_testkit::{both_engines, env, eventually};
use publica_types::SystemEntropy;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Suite, suite_with, text};

/// A system that is told; it answers with `codes` in turn and then takes everything.
struct Target {
    url: String,
    told: mpsc::UnboundedReceiver<(HeaderMap, String)>,
    stop: CancellationToken,
}

impl Target {
    async fn new(codes: Vec<u16>) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let codes = Arc::new(Mutex::new(codes.into_iter()));
        let answer = move |headers: HeaderMap, body: String| {
            let _ = sender.send((headers, body));
            let code = codes.lock().unwrap().next().unwrap_or(204);
            async move { http::StatusCode::from_u16(code).unwrap() }
        };
        let router = axum::Router::new().route("/hook", post(answer));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let ended = stop.clone().cancelled_owned();
        TaskTracker::new().spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(ended);
            served.await.unwrap();
        });
        Self { url, told, stop }
    }

    async fn next(&mut self) -> (HeaderMap, String) {
        let next = tokio::time::timeout(Duration::from_secs(60), self.told.recv()).await;
        next.unwrap().unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The first delivery that came so far.
async fn delivery(suite: &Suite, path: &str, state: &str) -> Value {
    eventually(|| async {
        let path = format!("{path}deliveries/?state={}", state.replace(' ', "%20"));
        let found = suite.get(&path).await.ok();
        found["deliveries"].as_array().unwrap().first().cloned()
    })
    .await
}

both_engines! {
    async fn webhooks_are_tried_and_their_deliveries_listed(db: TestDatabase) {
        let suite = suite_with(db, Profile::Local, env("consent"), |config| {
            config.journal.webhooks.allow_private = true;
        })
        .await;
        // The first thing it is told it refuses for good.
        let mut target = Target::new(vec![404]).await;
        let own = "a-secret-of-the-subscriber's";
        let hook = json!({"webhook": {"payloadUrl": target.url, "disabled": false,
            "contentType": "application/x-www-form-urlencoded", "secretKey": own,
            "legacySignature": true, "subscribedEvents": ["consent.withdrawn"]}});
        let made = suite.post("/config/webhook/", hook.clone()).await.ok();
        assert_eq!(made["webhook"]["secretKey"], own);
        assert_eq!(made["webhook"]["contentType"], "application/x-www-form-urlencoded");
        let path = format!("/config/webhook/{}/", text(&made["webhook"]["id"]));
        let shown = suite.get(&path).await.ok();
        assert_eq!(shown["webhook"]["secretKey"], "********");
        assert_eq!(shown["webhook"]["legacySignature"], true);
        let none = suite.get(&format!("{path}deliveries/")).await.ok();
        assert_eq!(none["deliveries"], json!([]));

        let pinged = suite.post(&format!("{path}ping/"), json!({})).await.ok();
        assert_eq!(pinged["event"], "webhook.ping");
        let (headers, body) = target.next().await;
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        let seconds: i64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        let legacy =
            publica_outbound::legacy_signature(own.as_bytes(), seconds, body.as_bytes());
        assert_eq!(headers["x-igrant-signature"], legacy.as_str());
        assert!(body.starts_with("payload=%7B"), "{body}");
        let dead = delivery(&suite, &path, "given up").await;
        assert_eq!(dead["event"], "webhook.ping");
        assert_eq!(dead["attempts"], 1);
        assert_eq!(dead["reason"], "the target answered 404");

        // It is sent again by its own webhook, and by no other.
        let other = suite.post("/config/webhook/", hook).await.ok();
        let other = format!("/config/webhook/{}/", text(&other["webhook"]["id"]));
        let again = format!("deliveries/{}/redeliver/", text(&dead["id"]));
        suite.post(&format!("{other}{again}"), json!({})).await.refused(400);
        let redelivered = suite.post(&format!("{path}{again}"), json!({})).await.ok();
        assert_eq!(redelivered["redelivered"], 1);
        let (repeated, _) = target.next().await;
        assert_eq!(repeated["webhook-id"], headers["webhook-id"]);
        let good = delivery(&suite, &path, "delivered").await;
        assert_eq!(good["entryId"], dead["entryId"]);
        assert!(good.get("reason").is_none());
        suite.get(&format!("{path}deliveries/?state=lost")).await.refused(400);

        let off = json!({"webhook": {"payloadUrl": target.url, "disabled": true,
            "contentType": "application/json", "secretKey": "********"}});
        let changed = suite.call("PUT", &path, off).await.ok();
        assert_eq!(changed["webhook"]["contentType"], "application/json");
        suite.post(&format!("{path}ping/"), json!({})).await.refused(400);
        suite.call("DELETE", &path, json!({})).await.ok();
        suite.get(&format!("{path}deliveries/")).await.refused(400);
    }

    async fn auditors_alone_read_what_is_encrypted_to_them(db: TestDatabase) {
        let suite = suite_with(db, Profile::Local, env("consent"), |config| {
            config.journal.webhooks.allow_private = true;
        })
        .await;
        let mut target = Target::new(Vec::new()).await;
        let key = DecryptionKey::generate(Curve::P256, &SystemEntropy).unwrap();
        let hook = |key: Value| json!({"webhook": {"payloadUrl": target.url, "disabled": false,
            "contentType": "application/json", "secretKey": "x", "encryptionKey": key,
            "subscribedEvents": ["individual.*"]}});
        let jwk = key.public_jwk().unwrap().to_value();
        for bad in [json!({"kty": "oct", "k": "AAAA"}), json!("x"), json!({"kty": "EC"}),
            json!({"kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})] {
            suite.post("/config/webhook/", hook(bad)).await.refused(400);
        }
        let made = suite.post("/config/webhook/", hook(jwk.clone())).await.ok();
        assert_eq!(made["webhook"]["encryptionKey"], jwk);
        let (person, _) = suite.person("e-1").await;
        let (headers, body) = target.next().await;
        assert_eq!(headers["content-type"], "application/jose");
        assert!(!body.contains(&person), "{body}");
        let algs = ([JweAlg::EcdhEsA256Kw], [JweEnc::A256Gcm]);
        let opened = decrypt(&body, &[&key], &algs.0, &algs.1).unwrap();
        let event: Value = serde_json::from_slice(&opened.plaintext).unwrap();
        assert!(event["type"].as_str().unwrap().starts_with("org.govstack.consent.individual"));
        // Whoever leaves the key out wants events in clear from then on.
        let path = format!("/config/webhook/{}/", text(&made["webhook"]["id"]));
        let clear = json!({"webhook": {"payloadUrl": target.url, "disabled": false,
            "contentType": "application/json", "secretKey": "********",
            "subscribedEvents": ["individual.*"]}});
        let changed = suite.call("PUT", &path, clear).await.ok();
        assert!(changed["webhook"].get("encryptionKey").is_none());
    }

    async fn a_target_that_is_gone_is_switched_off_and_can_be_told_again(db: TestDatabase) {
        let suite = suite_with(db, Profile::Local, env("consent"), |config| {
            config.journal.webhooks.allow_private = true;
        })
        .await;
        let mut target = Target::new(vec![410]).await;
        let hook = |disabled: bool| json!({"webhook": {"payloadUrl": target.url,
            "contentType": "application/json", "disabled": disabled, "secretKey": "x",
            "subscribedEvents": ["individual.*"]}});
        let (on, off) = (hook(false), hook(true));
        let made = suite.post("/config/webhook/", on.clone()).await.ok();
        let path = format!("/config/webhook/{}/", text(&made["webhook"]["id"]));
        let (first, _) = suite.person("t-1").await;
        let (gone, _) = target.next().await;
        eventually(|| async {
            let shown = suite.get(&path).await.ok();
            (shown["webhook"]["disabled"] == true).then_some(())
        })
        .await;
        suite.post(&format!("{path}ping/"), json!({})).await.refused(400);
        suite.person("t-2").await;

        // Switched on again it goes on where it stood, and is told again of what it lost.
        let replay = format!("{path}replay/");
        let day = json!({"from": "2020-01-01T00:00:00Z"});
        let refused = suite.post(&replay, day).await;
        assert_eq!(refused.body["details"][0]["path"], "from", "{:?}", refused.body);
        assert_eq!(refused.refused(400), "invalid_fields");
        suite.post(&replay, json!({})).await.refused(400);
        let hour = publica_types::Clock::now(&publica_types::SystemClock)
            .minus(Duration::from_hours(1));
        let hour = json!({ "from": hour });
        suite.post(&replay, hour.clone()).await.refused(400);
        suite.call("PUT", &path, on).await.ok();
        let (second, _) = target.next().await;
        assert_ne!(second["webhook-id"], gone["webhook-id"]);
        delivery(&suite, &path, "delivered").await;
        let replayed = suite.post(&replay, hour).await.ok();
        assert_eq!(replayed["replayed"], 2, "{replayed}");
        assert!(replayed.get("nextCursor").is_none());
        let mut told = Vec::new();
        for _ in 0..2 {
            let (headers, body) = target.next().await;
            let event: Value = serde_json::from_str(&body).unwrap();
            told.push((headers["webhook-id"].clone(), text(&event["subject"])));
        }
        assert!(told.contains(&(gone["webhook-id"].clone(), format!("individual/{first}"))));
        assert!(told.iter().any(|(id, _)| *id == second["webhook-id"]));

        // What became of both is remembered only after their target was told.
        eventually(|| async {
            let all = suite.get(&format!("{path}deliveries/")).await.ok();
            let again = |one: &Value| one["firstAttemptAt"] != one["lastAttemptAt"];
            let all = all["deliveries"].as_array().unwrap().clone();
            all.iter().all(again).then_some(())
        })
        .await;
        // The block cuts the list into pages.
        let page = suite.get(&format!("{path}deliveries/?limit=1&count=true")).await.ok();
        assert_eq!(page["deliveries"].as_array().unwrap().len(), 1);
        assert_eq!(page["pagination"]["totalItems"], 2);
        assert_eq!(page["pagination"]["hasNext"], true);
        let cursor = text(&page["pagination"]["nextCursor"]);
        let next = suite.get(&format!("{path}deliveries/?limit=1&cursor={cursor}")).await.ok();
        assert_ne!(next["deliveries"][0]["id"], page["deliveries"][0]["id"]);
        assert_eq!(next["pagination"]["hasNext"], false, "nothing is left");
        let same = suite.get(&format!("{path}deliveries/?limit=1&offset=1")).await.ok();
        assert_eq!(same["deliveries"], next["deliveries"]);
        suite.call("PUT", &path, off).await.ok();
    }

    async fn secrets_of_ones_own_are_long_enough(db: TestDatabase) {
        let suite = suite_with(db, Profile::Local, env("consent"), |_| {}).await;
        let hook = |secret: &str| json!({"webhook": {"payloadUrl": "https://hooks.example.com/a",
            "contentType": "application/json", "disabled": false, "secretKey": secret}});
        for (secret, taken) in [
            ("x".repeat(23), false),
            ("x".repeat(24), true),
            (format!("whsec_{}", "QUFB".repeat(8)), true),
        ] {
            let made = suite.post("/config/webhook/", hook(&secret)).await.ok();
            let told = text(&made["webhook"]["secretKey"]);
            assert_eq!(told == secret, taken, "{secret}");
            assert!(told.len() >= 24);
        }
        for bad in ["whsec_QUFB".to_owned(), format!("x {}", "x".repeat(24)), "x".repeat(257)] {
            suite.post("/config/webhook/", hook(&bad)).await.refused(400);
        }
        let mut other = hook("x");
        other["webhook"]["contentType"] = json!("text/xml");
        suite.post("/config/webhook/", other).await.refused(400);
    }
}
