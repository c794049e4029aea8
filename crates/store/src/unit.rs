//! Units of work: what runs between begin and commit, and how its answer gets back.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{Engine, StoreError, Tail, Tx, measure};

/// Runs a unit once: bounded in time, its panics caught, its tail written last.
pub(crate) async fn attempt<I, T, E, F>(
    tx: &mut Tx<'_>,
    unit: &F,
    input: &I,
    tail: &dyn Tail,
    limit: Duration,
) -> Result<T, E>
where
    E: From<StoreError>,
    F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>>,
{
    let work = async {
        let value = unit(tx, input).await?;
        tx.finish(tail).await?;
        Ok(value)
    };
    let caught = AssertUnwindSafe(work).catch_unwind();
    let error = match tokio::time::timeout(limit, caught).await {
        Ok(Ok(answer)) => return answer,
        Ok(Err(_)) => StoreError::Panicked,
        Err(_) => StoreError::Timeout,
    };
    tx.poison(error.clone());
    Err(E::from(error))
}

/// A unit in the group writer's queue, its types erased.
pub(crate) trait Unit: Send {
    /// The unit's name, for measurements.
    fn name(&self) -> &'static str;

    /// Runs the unit and keeps its answer. True if its effects are to be kept.
    fn run<'a>(
        &'a mut self,
        tx: &'a mut Tx<'_>,
        tail: &'a dyn Tail,
        limit: Duration,
    ) -> BoxFuture<'a, bool>;

    /// Gives the kept answer to the caller, or the reason why there is none.
    fn deliver(self: Box<Self>, kept: Result<(), StoreError>);
}

/// The only implementor of [`Unit`].
pub(crate) struct Queued<I, T, E, F> {
    name: &'static str,
    input: I,
    unit: F,
    answer: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
    began: Instant,
}

impl<I, T, E, F> Queued<I, T, E, F> {
    pub(crate) fn new(
        name: &'static str,
        input: I,
        unit: F,
    ) -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (reply, answer) = oneshot::channel();
        let began = Instant::now();
        (
            Self {
                name,
                input,
                unit,
                answer: None,
                reply,
                began,
            },
            answer,
        )
    }
}

impl<I, T, E, F> Unit for Queued<I, T, E, F>
where
    I: Send + Sync,
    T: Send,
    E: From<StoreError> + Send,
    F: for<'a> Fn(&'a mut Tx<'_>, &'a I) -> BoxFuture<'a, Result<T, E>> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn run<'a>(
        &'a mut self,
        tx: &'a mut Tx<'_>,
        tail: &'a dyn Tail,
        limit: Duration,
    ) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let answer = attempt(tx, &self.unit, &self.input, tail, limit).await;
            let keep = answer.is_ok();
            self.answer = Some(answer);
            keep
        })
    }

    fn deliver(self: Box<Self>, kept: Result<(), StoreError>) {
        let answer = match (kept, self.answer) {
            (Ok(()), Some(answer)) => answer,
            (Ok(()), None) => Err(E::from(StoreError::unavailable("the unit did not run"))),
            (Err(error), _) => Err(E::from(error)),
        };
        let outcome = if answer.is_ok() { "done" } else { "refused" };
        measure::unit(self.name, Engine::Sqlite, outcome, self.began.elapsed());
        // The caller may have gone away; what it asked for is done all the same.
        let _ = self.reply.send(answer);
    }
}
