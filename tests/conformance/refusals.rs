//! Refusals of known callers leave entries in every block's journal, method by method.

use std::collections::BTreeMap;

use http::Request;
use http_body_util::Full;
use publica_auth::Access;
use publica_host::Block;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::journal::v1::{ListEntriesRequest, Outcome};
use publica_rpc::{Link, methods_of};
use publica_testkit::{Database, TestDatabase, env};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service as _;

/// A message of no fields.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];

/// The status of a call with an empty message; `None` of a stream that is open.
async fn status(link: &Link, path: &str) -> Option<Code> {
    let request = Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-process-id", "case-of-refusals")
        .body(Body::new(Full::from(EMPTY)))
        .unwrap();
    let response = link.clone().call(request).await.unwrap();
    Status::from_header_map(response.headers()).map(|status| status.code())
}

/// What a call that says nothing must not lead to.
const FAILED: [Code; 4] = [
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unknown,
];

/// Calls each method of a block as somebody who may do everything, with a message that says
/// nothing, and compares what was refused with what the journal holds.
async fn each_refusal_is_journalled<B: Block>(database: TestDatabase, config: B::Config) {
    let env = env(B::NAME);
    let block = env.open::<B>(config).await.unwrap();
    let link = block.as_caller(&["*"]);
    let open: Vec<&str> = B::policy()
        .iter()
        .filter(|(_, access)| *access == Access::Public)
        .map(|(path, _)| *path)
        .collect();
    let mut refused: BTreeMap<String, Code> = BTreeMap::new();
    for method in methods_of(B::descriptors()) {
        match status(&link, &method.path).await {
            None | Some(Code::Ok) => {}
            Some(code) => {
                assert!(!FAILED.contains(&code), "{} failed: {code:?}", method.path);
                if !open.contains(&method.path.as_str()) {
                    refused.insert(method.path, code);
                }
            }
        }
    }
    assert!(refused.len() >= 8, "{}: {refused:?}", B::NAME);

    let journal = JournalServiceClient::new(link.clone());
    let request = ListEntriesRequest {
        page_size: 1_000,
        process_id: "case-of-refusals".to_owned(),
        ..ListEntriesRequest::default()
    };
    let action = format!("{}.call.refused", B::NAME);
    let wanted: Vec<(&str, Outcome)> = refused
        .iter()
        .map(|(path, code)| {
            let denied = *code == Code::PermissionDenied;
            let outcome = if denied {
                Outcome::Denied
            } else {
                Outcome::Refused
            };
            (path.as_str(), outcome)
        })
        .collect();
    publica_testkit::eventually(|| async {
        let page = journal
            .clone()
            .list_entries(request.clone())
            .await
            .unwrap()
            .into_inner();
        let mut found: Vec<(String, Outcome)> = page
            .entries
            .into_iter()
            .filter(|entry| entry.action == action)
            .inspect(|entry| assert_eq!(entry.actor, "tester"))
            .map(|entry| (entry.subject_id.clone(), entry.outcome()))
            .collect();
        found.sort();
        let same = found
            .iter()
            .map(|(path, outcome)| (path.as_str(), *outcome))
            .eq(wanted.iter().copied());
        same.then_some(())
    })
    .await;
    drop(database);
}

macro_rules! blocks {
    ($($name:ident: $block:ty,)+) => {$(
        mod $name {
            use super::*;

            async fn all(database: TestDatabase) {
                let mut config = <$block as Block>::Config::default();
                config.database = database.config();
                each_refusal_is_journalled::<$block>(database, config).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                all(Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgresql() {
                all(Database::postgres().await).await;
            }
        }
    )+};
}

blocks! {
    identity: publica_identity::Identity,
    signature: publica_signature::Signature,
    payments: publica_payments::Payments,
    messaging: publica_messaging::Messaging,
    registration: publica_registration::Registration,
    consent: publica_consent::Consent,
}
