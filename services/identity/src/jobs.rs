//! Background work: sending codes, tending keys, removing what is over.

use std::time::Duration;

use publica_store::StoreError;
use publica_types::{Tenant, Timestamp};
use publica_work::{Backoff, Claimed, Handler, Outcome, Policy, Worker};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::app::{App, SEND_CODE};
use crate::error::Error;
use crate::store;

/// Between two rounds of tending.
const ROUND: Duration = Duration::from_secs(30);
/// What is over is kept a little longer, for clocks that differ.
const KEEP: Duration = Duration::from_mins(10);
/// Rows that one sweep removes of each table.
const SWEEP: i64 = 1_000;

/// Sends a code through the messaging block.
struct CodeSender(App);

impl Handler for CodeSender {
    async fn run(&self, job: Claimed) -> Outcome {
        let message = match self.0.open_mail(&job.payload) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(error = %error, "a code to be sent cannot be opened");
                return Outcome::dead("the message cannot be opened");
            }
        };
        if Timestamp::from_micros(message.expires) <= self.0.now() {
            return Outcome::dead("the code ended before it could be sent");
        }
        match self.0.send_mail(&job.origin, &job.key, &message).await {
            Ok(()) => Outcome::Done,
            Err(status) => match status.code() {
                Code::InvalidArgument | Code::PermissionDenied | Code::NotFound => {
                    Outcome::dead(reason(&status))
                }
                _ => Outcome::retry(reason(&status)),
            },
        }
    }
}

fn reason(status: &tonic::Status) -> String {
    let reason = publica_rpc::reason(status).unwrap_or_default();
    format!(
        "the messaging block answered {} {reason}",
        publica_rpc::code_name(status.code())
    )
}

/// Runs until `stop`.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    // A code is of no use after its few minutes, so attempts are quick and few.
    let policy = Policy {
        concurrency: 16,
        attempts: 8,
        backoff: Backoff {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(20),
        },
        ..Policy::default()
    };
    let worker = Worker::new(app.stores.clone(), app.clock.clone(), app.entropy.clone()).on_with(
        SEND_CODE,
        CodeSender(app.clone()),
        policy,
    );
    let journal = app.journal.clone();
    tokio::join!(
        worker.run(stop.clone()),
        journal.run(stop.clone()),
        tend(app, stop)
    );
}

async fn tend(app: App, stop: CancellationToken) {
    loop {
        // Making an RSA key may take seconds; one that is left half-made is made at the next start.
        if stop.run_until_cancelled(round(&app)).await.is_none() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND) => {}
        }
    }
}

async fn round(app: &App) {
    for tenant in app.stores.tenants() {
        if let Err(error) = app.tend_keys(&tenant).await {
            tracing::warn!(error = %error, "signing keys could not be tended");
        }
        if let Err(error) = sweep(app, &tenant).await {
            tracing::warn!(error = %error, "what is over could not be removed");
        }
    }
}

/// Removes what is over, a bounded number of rows at a time.
pub(crate) async fn sweep(app: &App, tenant: &Tenant) -> Result<u64, Error> {
    let db = app.of(tenant).await?;
    let before = app.now().minus(KEEP);
    let mut removed = 0;
    loop {
        let round = db
            .write("identity.sweep", before, |tx, before| {
                Box::pin(async move { store::sweep::sweep(tx, *before, SWEEP).await })
            })
            .await
            .map_err(|error: StoreError| Error::from(error))?;
        removed += round;
        if round == 0 {
            return Ok(removed);
        }
    }
}
