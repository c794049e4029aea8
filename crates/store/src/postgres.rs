//! Units of work on PostgreSQL: a transaction each, run again after a transient conflict.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use publica_types::SharedClock;
use sqlx::postgres::PgConnection;

use crate::connect::run_postgres;
use crate::pool::{Held, Pool};
use crate::unit::attempt;
use crate::{Engine, StoreError, Tail, Tx, measure};

/// How strictly concurrent transactions are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadCommitted,
    Serializable,
}

/// What a unit needs beside its input.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) pool: Pool<PgConnection>,
    pub(crate) clock: SharedClock,
    pub(crate) tail: Arc<dyn Tail>,
    pub(crate) unit_timeout: Duration,
}

/// Runs of a unit before a conflict is the caller's to see.
const ATTEMPTS: u32 = 12;

/// The longest pause between two runs.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Runner {
    pub(crate) async fn write<I, T, E, F>(
        &self,
        name: &'static str,
        isolation: Isolation,
        input: I,
        unit: F,
    ) -> Result<T, E>
    where
        E: From<StoreError>,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>>,
    {
        let mut run = 1;
        loop {
            match self.once(isolation, &input, &unit).await {
                Run::Final(answer) => return answer,
                Run::Again(_) if run < ATTEMPTS => {
                    measure::retry(name, Engine::Postgres);
                    tokio::time::sleep(self.pause(run)).await;
                    run += 1;
                }
                Run::Again(error) => return Err(error),
            }
        }
    }

    async fn once<I, T, E, F>(&self, isolation: Isolation, input: &I, unit: &F) -> Run<T, E>
    where
        E: From<StoreError>,
        F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>>,
    {
        let mut held = match self.pool.take().await {
            Ok(held) => held,
            Err(error) => return Run::Final(Err(E::from(error))),
        };
        let begun = run_postgres(
            &mut held,
            match isolation {
                Isolation::ReadCommitted => "BEGIN",
                Isolation::Serializable => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            },
        )
        .await;
        if let Err(error) = begun {
            // Nothing has happened yet. A stale connection to a restarted server ends here,
            // and its stale companions go with it.
            held.done_after::<()>(&Err(error.clone()));
            return Run::Again(E::from(error));
        }
        let mut tx = Tx::postgres(&mut held, self.clock.now(), true);
        let answer = attempt(&mut tx, unit, input, &*self.tail, self.unit_timeout).await;
        let failure = tx.failure().cloned();
        match answer {
            Ok(value) => match commit(held).await {
                Ok(true) => Run::Final(Ok(value)),
                Ok(false) => Run::Again(E::from(StoreError::Conflict { source: None })),
                Err(error) => Run::Final(Err(E::from(error))),
            },
            Err(error) => {
                if abort(held, failure).await {
                    Run::Again(error)
                } else {
                    Run::Final(Err(error))
                }
            }
        }
    }

    /// A pause that grows with each run and differs between callers.
    fn pause(&self, run: u32) -> Duration {
        let longest = Duration::from_millis(1 << run.min(7)).min(LONGEST_PAUSE);
        let micros = u64::try_from(self.clock.now().micros()).unwrap_or(0);
        let share = u32::try_from(micros.wrapping_mul(0x9e37_79b9) % 1_000).unwrap_or(0);
        longest * share / 1_000
    }
}

/// Commits. `Ok(false)` if a conflict showed only now, so that nothing was committed.
async fn commit(mut held: Held<PgConnection>) -> Result<bool, StoreError> {
    let committed = run_postgres(&mut held, "COMMIT").await;
    held.done_after(&committed);
    match committed {
        Ok(()) => Ok(true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Ends a transaction that is not to be kept. True if another run of its unit may succeed.
async fn abort(mut held: Held<PgConnection>, failure: Option<StoreError>) -> bool {
    match failure {
        // Dropped half-way, a statement may still run: the pool ends it.
        Some(StoreError::Timeout | StoreError::Panicked) => false,
        Some(error) if error.breaks_connection() => {
            held.done_after::<()>(&Err(error));
            true
        }
        failure => {
            if run_postgres(&mut held, "ROLLBACK").await.is_ok() {
                held.done();
            }
            matches!(failure, Some(StoreError::Conflict { .. }))
        }
    }
}

/// How one run of a unit ended.
enum Run<T, E> {
    Final(Result<T, E>),
    /// Nothing was committed, and another run may succeed.
    Again(E),
}
