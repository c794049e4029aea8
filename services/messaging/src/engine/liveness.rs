//! Signs of life: one a process, however many chunks it holds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use publica_store::{Db, Engine, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::store::{SessionId, chunk};

const EVERY: Duration = Duration::from_secs(5);
/// Without a durable sign of life for so long, no further dot is sent: half of the time after
/// which others may take over.
const TRUSTED_FOR: Duration = Duration::from_secs(10);

/// When this process last gave a durable sign of life.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    last: Mutex<Option<Instant>>,
}

impl Liveness {
    /// Whether this process may still believe that its chunks are its own.
    pub(crate) fn is_alive(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < TRUSTED_FOR)
    }

    /// Begins the session.
    pub(crate) async fn begin(&self, db: &Db, session: SessionId) -> Result<(), StoreError> {
        let before = Instant::now();
        db.write("messaging.begin_session", session, |tx, session| {
            Box::pin(async move {
                chunk::start_session(tx, *session).await?;
                chunk::beat(tx, *session, 0).await
            })
        })
        .await?;
        self.note(before);
        Ok(())
    }

    fn note(&self, at: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}

/// Gives signs of life until it is stopped.
pub(super) async fn beat(shared: Arc<Shared>, stop: CancellationToken) {
    let mut step = 1;
    // The lock file of an embedded store speaks for its holder: nobody else can be there.
    let silent = shared.db.engine() == Engine::Sqlite;
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        let before = Instant::now();
        if silent {
            shared.liveness.note(before);
            continue;
        }
        let input = (shared.session, step);
        let written = shared
            .db
            .write("messaging.beat", input, |tx, (session, step)| {
                Box::pin(chunk::beat(tx, *session, *step))
            });
        match written.await {
            Ok(()) => shared.liveness.note(before),
            // A commit whose answer was lost left the row; the next number is free.
            Err(StoreError::UniqueViolation { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "no sign of life could be given");
                continue;
            }
        }
        step += 1;
    }
}
