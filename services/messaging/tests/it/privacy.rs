//! No contact and no content is readable in the store, before, during and after delivery.

use std::path::Path;
use std::time::Duration;

use publica_messaging::sink::{Faults, SinkOptions};
use publica_proto::messaging::v1 as api;
use publica_testkit::Database;

use crate::support::{email, world};

fn holds(folder: &Path, needle: &str) -> Option<String> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = holds(&path, needle) {
                return Some(found);
            }
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
        {
            return Some(path.display().to_string());
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_never_shows_a_contact_or_content() {
    let refuse = vec![("annabella.secret".to_owned(), "451 4.3.0 later".to_owned())];
    let faults = Faults {
        refuse,
        ..Faults::default()
    };
    let world = world(
        Database::sqlite(),
        SinkOptions {
            faults,
            ..SinkOptions::default()
        },
    )
    .await;
    let mut message = email(
        "annabella.secret@home.example",
        "The content nobody may read.",
    );
    message.recipient.as_mut().unwrap().name = "Annabella Hidden".to_owned();
    message.envelope.as_mut().unwrap().callback = Some(api::Callback {
        url: "https://portal.example/told/xyzzy".to_owned(),
    });
    let uid = world.send(message).await;
    let needles = [
        "annabella",
        "Annabella",
        "nobody may read",
        "xyzzy",
        "Your appointment",
    ];
    world.reaches(&uid, |counters| counters.deferred == 1).await;
    for needle in needles {
        assert_eq!(holds(world.db.dir(), needle), None, "{needle}");
    }
    let reply = api::CreateReplyRequest {
        request_uid: uid.clone(),
        meta: "An answer with meta".to_owned(),
        content: b"An answer with content".to_vec().into(),
        request_id: String::new(),
        ..api::CreateReplyRequest::default()
    };
    world.messages().create_reply(reply).await.unwrap();
    world.sink.set_faults(Faults::default());
    world.advance(Duration::from_mins(8));
    world
        .reaches(&uid, |counters| counters.delivered == 1)
        .await;
    for needle in needles.into_iter().chain(["An answer with"]) {
        assert_eq!(holds(world.db.dir(), needle), None, "{needle}");
    }
}
