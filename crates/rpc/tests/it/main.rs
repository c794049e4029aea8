//! Calls through links, guards and switches, as generated clients see them.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails it by panicking"
)]

mod service;

use std::time::Duration;

use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::journal::v1::{GetInclusionProofRequest, ListEntriesRequest, WatchRequest};
use publica_rpc::{Limits, Link, Peers, Switch, outgoing, reason};
use publica_types::Origin;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

use service::{guarded, guarded_with};

type Client = JournalServiceClient<Link>;

fn client(link: Link) -> Client {
    JournalServiceClient::new(link)
}

async fn ask(client: &mut Client, what: &str) -> Result<i64, Status> {
    let request = GetInclusionProofRequest {
        entry_id: what.to_owned(),
        tree_size: 0,
    };
    client
        .get_inclusion_proof(request)
        .await
        .map(|answer| answer.into_inner().position)
}

fn refused(outcome: Result<i64, Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    (
        status.code(),
        reason(&status).expect("every refusal has a reason"),
    )
}

#[tokio::test]
async fn a_call_comes_through() {
    assert_eq!(ask(&mut client(guarded()), "fine").await.unwrap(), 7);
}

#[tokio::test]
async fn a_connection_that_breaks_is_no_fault_of_the_call() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        // Takes the call and is gone, as a process that is killed.
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(SETTINGS).await.unwrap();
            let mut seen = Vec::new();
            // More than a client says before its first call.
            while seen.len() < 150 && stream.read_buf(&mut seen).await.unwrap_or(0) > 0 {}
        }
    });
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let client = client(Link::remote(endpoint.connect_lazy()));
    // One call after the other, and many that wait for one connection.
    for at_once in [1, 1, 1, 64] {
        let calls = (0..at_once).map(|_| {
            let mut client = client.clone();
            async move { refused(ask(&mut client, "fine").await) }
        });
        for (code, reason) in futures::future::join_all(calls).await {
            assert_eq!(
                (code, reason.as_str()),
                (Code::Unavailable, "PEER_UNREACHABLE")
            );
        }
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_late() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = client(Link::remote(endpoint.connect_lazy()));
    let mut request = Request::new(GetInclusionProofRequest::default());
    request.set_timeout(Duration::from_millis(200));
    let status = client.get_inclusion_proof(request).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::DeadlineExceeded, Some("DEADLINE_EXCEEDED"))
    );
}

#[tokio::test]
async fn errors_of_the_framework_are_restated() {
    let mut client = client(guarded());
    for (what, code, expected) in [
        ("panic", Code::Internal, "INTERNAL"),
        ("bare internal", Code::Internal, "INTERNAL"),
        ("bare not found", Code::NotFound, "NOT_FOUND"),
        ("refuse", Code::FailedPrecondition, "ODD"),
    ] {
        let (found, reason) = refused(ask(&mut client, what).await);
        assert_eq!((found, reason.as_str()), (code, expected), "{what}");
    }
    let status = ask(&mut client, "bare internal").await.unwrap_err();
    assert!(!status.message().contains("sector"), "{status:?}");
}

#[tokio::test]
async fn unknown_methods_and_oversized_messages_are_refused_cleanly() {
    let large = "x".repeat(5 * 1024 * 1024);
    let (code, reason) = refused(ask(&mut client(guarded()), &large).await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );

    use publica_proto::imports::v1::import_service_client::ImportServiceClient;
    let nothing = tokio_stream::iter(Vec::new());
    let unknown = ImportServiceClient::new(guarded())
        .import_entities(nothing)
        .await;
    let status = unknown.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(
        publica_rpc::reason(&status).as_deref(),
        Some("METHOD_UNKNOWN")
    );
}

#[tokio::test]
async fn what_is_no_grpc_is_turned_away() {
    use tower::Service as _;
    let request = http::Request::get("/")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = guarded().call(request).await.unwrap();
    assert_eq!(answer.status(), http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn every_call_has_a_deadline() {
    let limits = Limits {
        default_deadline: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut client = client(guarded_with(limits, CancellationToken::new()));
    let (code, reason) = refused(ask(&mut client, "slow").await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );

    let mut hurried = Request::new(GetInclusionProofRequest::default());
    hurried.set_timeout(Duration::from_millis(99));
    let status = client.get_inclusion_proof(hurried).await.unwrap_err();
    assert_eq!(
        publica_rpc::reason(&status).as_deref(),
        Some("DEADLINE_TOO_SHORT")
    );
}

#[tokio::test]
async fn what_is_left_of_the_deadline_goes_along() {
    let peers = Peers::new();
    peers.register("far", guarded());
    let near = service::passing_on(peers.link("far"));
    let begun = tokio::time::Instant::now();
    let mut request = Request::new(GetInclusionProofRequest {
        entry_id: "slow".to_owned(),
        tree_size: 0,
    });
    request.set_timeout(Duration::from_millis(800));
    let status = client(near).get_inclusion_proof(request).await.unwrap_err();
    let took = begun.elapsed();
    // The far hop gave up first, so the near one could still say which was slow.
    assert!(took < Duration::from_millis(780), "{took:?}");
    assert!(status.message().contains("far"), "{status:?}");
}

#[tokio::test]
async fn the_origin_goes_along() {
    let peers = Peers::new();
    peers.register("far", guarded());
    let mut client = client(peers.link("far"));
    let origin = Origin::actor("Zoë").in_process("case-7");
    let request = GetInclusionProofRequest {
        entry_id: "origin".to_owned(),
        tree_size: 0,
    };
    let answer = client
        .get_inclusion_proof(outgoing(&origin, request))
        .await
        .unwrap();
    let seen = String::from_utf8(answer.into_inner().leaf_hash.to_vec()).unwrap();
    // Nobody proved to be a block, so whom the call claims to act for does not count.
    let origin: Origin = serde_json::from_str(&seen).unwrap();
    assert_eq!(origin.actor, "anonymous");
    assert_eq!(origin.on_behalf_of, None);
    assert_eq!(origin.process_id.as_deref(), Some("case-7"));
    assert_eq!(origin.trace_id.unwrap().len(), 32);
}

#[tokio::test]
async fn a_peer_that_is_not_configured_is_said_so() {
    let peers = Peers::new();
    let mut early = client(peers.link("late"));
    let (code, reason) = refused(ask(&mut early, "fine").await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::FailedPrecondition, "PEER_NOT_CONFIGURED")
    );
    peers.register("late", guarded());
    assert_eq!(ask(&mut early, "fine").await.unwrap(), 7);
}

#[tokio::test]
async fn too_many_calls_are_shed() {
    let limits = Limits {
        max_in_flight: 1,
        ..Limits::default()
    };
    let link = guarded_with(limits, CancellationToken::new());
    let (mut first, mut second) = (client(link.clone()), client(link));
    let waiting = ask(&mut first, "slow");
    let shed = async {
        tokio::task::yield_now().await;
        refused(ask(&mut second, "fine").await)
    };
    tokio::select! {
        biased;
        _ = waiting => panic!("the slow call cannot be done"),
        (code, reason) = shed => {
            assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        }
    }
    assert_eq!(ask(&mut second, "fine").await.unwrap(), 7);
}

#[tokio::test]
async fn a_waiting_stream_ends_when_the_server_stops() {
    let stop = CancellationToken::new();
    let mut client = client(guarded_with(Limits::default(), stop.clone()));
    let mut stream = client
        .watch(WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    for position in 0..3 {
        let entry = stream.message().await.unwrap().unwrap().entry.unwrap();
        assert_eq!(entry.position, position);
    }
    stop.cancel();
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status).as_deref(), Some("SERVER_STOPPING"));
}

#[tokio::test]
async fn a_switch_finds_the_block() {
    let peers = Peers::new();
    peers.register("payments", guarded());
    let switch = Link::local(Switch::new(&peers, ["payments".to_owned()]));
    let mut client = client(switch);
    let (code, reason) = refused(ask(&mut client, "fine").await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::Unimplemented, "METHOD_UNKNOWN")
    );
    for (block, found) in [("payments", true), ("consent", false)] {
        let mut request = Request::new(ListEntriesRequest::default());
        request
            .metadata_mut()
            .insert(publica_rpc::BLOCK, block.parse().unwrap());
        assert_eq!(client.list_entries(request).await.is_ok(), found, "{block}");
    }
}
