//! Events to originators.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use publica_messaging::sink::SinkOptions;
use publica_proto::messaging::v1 as api;
use publica_testkit::{Database, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::task::TaskTracker;

use crate::support::{email, world_with};

/// What a receiver was sent: heads and bodies.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// A web server that says 204 to everything.
async fn receiver(tracker: &TaskTracker) -> (String, Received) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let received = Received::default();
    let seen = received.clone();
    tracker.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            loop {
                let count = stream.read_buf(&mut bytes).await.unwrap();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    assert!(count > 0);
                    continue;
                };
                let length: usize = head
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("content-length: ")?
                            .parse()
                            .ok()
                    })
                    .unwrap();
                if body.len() >= length {
                    seen.lock()
                        .unwrap()
                        .push((head.to_lowercase(), body.to_owned()));
                    break;
                }
            }
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
        }
    });
    (format!("http://{address}/told"), received)
}

fn event(body: &str) -> serde_json::Value {
    let outer: serde_json::Value = serde_json::from_str(body).unwrap();
    let content = outer["content"].as_str().unwrap();
    let content = base64::engine::general_purpose::STANDARD
        .decode(content)
        .unwrap();
    serde_json::from_slice(&content).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_originator_hears_of_changes_and_answers() {
    let tracker = TaskTracker::new();
    let (url, received) = receiver(&tracker).await;
    let world = world_with(Database::sqlite(), SinkOptions::default(), |config| {
        config.callbacks.allow_private = true;
    })
    .await;
    let mut message = email("anna@home.example", "Hello.");
    message.envelope.as_mut().unwrap().callback = Some(api::Callback { url });
    let uid = world.send(message).await;
    world
        .reaches(&uid, |counters| counters.delivered == 1)
        .await;
    world.advance(Duration::from_secs(2));
    eventually(|| async { (received.lock().unwrap().len() >= 2).then_some(()) }).await;
    let mut kinds = Vec::new();
    for (head, body) in received.lock().unwrap().iter() {
        assert!(
            head.contains(&format!("requestuid: {}", uid.to_lowercase())),
            "{head}"
        );
        assert!(head.contains("webhook-signature: v1,"), "{head}");
        assert!(!body.contains("anna"));
        let event = event(body);
        assert_eq!(event["subject"], uid.as_str());
        assert_eq!(event["data"]["delivered"], 1);
        kinds.push(event["type"].as_str().unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "org.govstack.messaging.message.state.v1",
            "org.govstack.messaging.request.completed.v1"
        ]
    );

    let reply = api::CreateReplyRequest {
        request_uid: uid,
        meta: "text".to_owned(),
        content: b"I will come".to_vec().into(),
        request_id: String::new(),
        ..api::CreateReplyRequest::default()
    };
    world.messages().create_reply(reply).await.unwrap();
    eventually(|| async { (received.lock().unwrap().len() >= 3).then_some(()) }).await;
    let (_, body) = received.lock().unwrap().last().cloned().unwrap();
    assert_eq!(body, r#"{"content":"SSB3aWxsIGNvbWU=","meta":"text"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_inside_are_refused_at_the_door() {
    let world = world_with(Database::sqlite(), SinkOptions::default(), |_| {}).await;
    let mut message = email("anna@home.example", "Hello.");
    message.envelope.as_mut().unwrap().callback = Some(api::Callback {
        url: "https://169.254.169.254/".to_owned(),
    });
    let refused = world.messages().send_email(message).await.unwrap_err();
    assert_eq!(
        publica_rpc::reason(&refused).as_deref(),
        Some("FORBIDDEN_CALLBACK_URI")
    );
}
