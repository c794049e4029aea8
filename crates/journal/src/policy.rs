//! What the shared services add to a block's policy.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use publica_auth::{Caller, DenialSink, DeniedCall, RefusedCall};
use publica_types::Origin;
use serde_json::json;
use tonic::Code;

use crate::entry::{Entry, Outcome};
use crate::journal::Journal;

/// A block's policy: the services over its journal and its work under the block's own scopes
/// (`<block>:journal:read`, `<block>:webhook:read`, `<block>:webhook:write`, `<block>:work:read`,
/// `<block>:work:write`), and the block's own methods.
///
/// ```
/// use publica_auth::Access;
///
/// const POLICY: &[(&str, Access)] = publica_journal::policy! {
///     "payments";
///     ("/publica.payments.v1.AccountService/GetAccount", Access::Scope("payments:account:read")),
/// };
/// assert!(POLICY.len() > 20);
/// ```
#[macro_export]
macro_rules! policy {
    ($block:literal; $($own:expr),* $(,)?) => {
        &[
            $($own,)*
            $crate::policy!(@read $block, "journal.v1.JournalService", "journal", "ListEntries"),
            $crate::policy!(@read $block, "journal.v1.JournalService", "journal", "Watch"),
            $crate::policy!(@read $block, "journal.v1.JournalService", "journal", "GetCheckpoint"),
            $crate::policy!(
                @read $block, "journal.v1.JournalService", "journal", "GetInclusionProof"),
            $crate::policy!(
                @read $block, "journal.v1.JournalService", "journal", "GetConsistencyProof"),
            $crate::policy!(
                @read $block, "journal.v1.JournalService", "journal", "GetTrailStatement"),
            $crate::policy!(@read $block, "journal.v1.JournalService", "journal", "ListEpochs"),
            $crate::policy!(@read $block, "journal.v1.WebhookService", "webhook", "GetWebhook"),
            $crate::policy!(@read $block, "journal.v1.WebhookService", "webhook", "ListWebhooks"),
            $crate::policy!(
                @read $block, "journal.v1.WebhookService", "webhook", "ListDeadLetters"),
            $crate::policy!(
                @read $block, "journal.v1.WebhookService", "webhook", "ListDeliveries"),
            $crate::policy!(@write $block, "journal.v1.WebhookService", "webhook", "PingWebhook"),
            $crate::policy!(@write $block, "journal.v1.WebhookService", "webhook", "CreateWebhook"),
            $crate::policy!(@write $block, "journal.v1.WebhookService", "webhook", "UpdateWebhook"),
            $crate::policy!(@write $block, "journal.v1.WebhookService", "webhook", "DeleteWebhook"),
            $crate::policy!(
                @write $block, "journal.v1.WebhookService", "webhook", "RotateWebhookSecret"),
            $crate::policy!(
                @write $block, "journal.v1.WebhookService", "webhook", "RedriveDeadLetters"),
            $crate::policy!(
                @write $block, "journal.v1.WebhookService", "webhook", "ReplayDeliveries"),
            $crate::policy!(@read $block, "work.v1.WorkService", "work", "ListJobs"),
            $crate::policy!(@read $block, "work.v1.WorkService", "work", "ListDeadJobs"),
            $crate::policy!(@read $block, "work.v1.WorkService", "work", "ListSagas"),
            $crate::policy!(@read $block, "work.v1.WorkService", "work", "GetSaga"),
            $crate::policy!(@write $block, "work.v1.WorkService", "work", "RedriveJob"),
            $crate::policy!(@write $block, "work.v1.WorkService", "work", "AbandonJob"),
            $crate::policy!(@write $block, "work.v1.WorkService", "work", "RetrySaga"),
            $crate::policy!(@write $block, "work.v1.WorkService", "work", "CompensateSaga"),
            $crate::policy!(@write $block, "work.v1.WorkService", "work", "AbandonSaga"),
        ]
    };
    (@read $block:literal, $service:literal, $resource:literal, $method:literal) => {
        (
            concat!("/publica.", $service, "/", $method),
            $crate::macro_support::Access::Scope(concat!($block, ":", $resource, ":read")),
        )
    };
    (@write $block:literal, $service:literal, $resource:literal, $method:literal) => {
        (
            concat!("/publica.", $service, "/", $method),
            $crate::macro_support::Access::Scope(concat!($block, ":", $resource, ":write")),
        )
    };
}

impl DenialSink for Journal {
    fn denied(&self, call: DeniedCall) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let origin = origin(call.caller, call.headers);
            let entry = Entry::new(format!("{}.call.denied", self.block()))
                .subject("method", call.method)
                .outcome(Outcome::Denied);
            if let Err(error) = self.record(&origin, entry).await {
                tracing::error!(block = self.block(), %error, "a denial was not recorded");
            }
        })
    }

    fn refused(&self, call: RefusedCall) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let reason = publica_rpc::reason(&call.status).unwrap_or_default();
            let outcome = match call.status.code() {
                Code::PermissionDenied => Outcome::Denied,
                _ => Outcome::Refused,
            };
            let origin = origin(call.caller, call.headers);
            let entry = Entry::new(format!("{}.call.refused", self.block()))
                .subject("method", call.method)
                .outcome(outcome)
                .body(json!({ "reason": reason }));
            if let Err(error) = self.record(&origin, entry).await {
                tracing::error!(block = self.block(), %error, "a refusal was not recorded");
            }
        })
    }
}

/// Who made a call that the layers around a block saw, and in which case.
fn origin(caller: Arc<Caller>, headers: HeaderMap) -> Origin {
    let mut request = tonic::Request::new(());
    *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    request.extensions_mut().insert(caller);
    publica_rpc::origin(&request)
}
