//! What several modules of these tests need.

use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::journal::v1::{Entry, ListEntriesRequest};
use publica_testkit::MockClock;

use super::*;

/// A suite whose block has a clock of the test's own.
pub(super) async fn suite_at(db: TestDatabase, clock: &MockClock) -> Suite {
    let own = env("payments").with_clock(clock.shared());
    suite_of(db, own, GatewayConfig::default()).await
}

/// Entries of the block's journal about this action, once there are so many. An entry is listed
/// when it has its place, shortly after it was committed.
pub(super) async fn entries(suite: &Suite, action: &str, count: usize) -> Vec<Entry> {
    let journal = JournalServiceClient::new(suite.block.as_caller(SCOPES));
    eventually(|| {
        let mut journal = journal.clone();
        async move {
            let request = ListEntriesRequest {
                page_size: 1_000,
                ..ListEntriesRequest::default()
            };
            let listed = journal.list_entries(request).await.unwrap().into_inner();
            let of = |entry: &Entry| action.is_empty() || entry.action == action;
            let found: Vec<Entry> = listed.entries.into_iter().filter(of).collect();
            (found.len() >= count).then_some(found)
        }
    })
    .await
}

/// The body with one member changed; `Value::Null` stands for null, a missing value removes it.
pub(super) fn with(mut body: Value, pointer: &str, value: Option<Value>) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match (value, parent) {
        (Some(value), parent) => parent[name] = value,
        (None, Value::Object(members)) => drop(members.remove(name)),
        (None, _) => panic!("only members of objects can be removed"),
    }
    body
}

pub(super) fn id(length: usize) -> Option<Value> {
    Some(json!("x".repeat(length)))
}
