//! Calls in flight share a statement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::writer::next;
use crate::{Db, StoreError, Tx, measure};

/// Answers many look-ups with one statement: those that came while one ran share the next. Since
/// nobody is added to a statement under way, each call sees what was committed before it came.
///
/// The statement gets the keys of its calls and answers with as many values in the same order.
/// Cheap to clone; the task behind it ends with the last clone, or when the store closes.
pub struct Gather<K, V> {
    queue: mpsc::Sender<Waiting<K, V>>,
}

type Waiting<K, V> = (K, oneshot::Sender<Result<V, StoreError>>);

/// A statement under way for many.
type Shared<V> = BoxFuture<'static, Result<Vec<V>, StoreError>>;

/// Calls that share a statement, at most.
const GATHER_LIMIT: usize = 256;

/// Calls that may wait.
const QUEUE_LIMIT: usize = 4_096;

impl<K, V> Clone for Gather<K, V> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<K, V> Gather<K, V>
where
    K: Send + Sync + 'static,
    V: Send + 'static,
{
    /// Gathers reads. The statement runs on its own, outside any transaction.
    pub fn reads<F>(name: &'static str, db: &Db, statement: F) -> Self
    where
        F: for<'a> Fn(&'a mut Tx<'_>, &'a [K]) -> BoxFuture<'a, Result<Vec<V>, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        let statement = Arc::new(statement);
        Self::start(name, db, move |db, keys: Vec<K>| {
            let statement = Arc::clone(&statement);
            async move { db.on_one_connection(&*keys, &*statement).await }.boxed()
        })
    }

    /// Gathers writes: the statement runs in a unit of work, and its callers are answered
    /// once that is committed.
    pub fn writes<F>(name: &'static str, db: &Db, statement: F) -> Self
    where
        F: for<'a> Fn(&'a mut Tx<'_>, &'a [K]) -> BoxFuture<'a, Result<Vec<V>, StoreError>>
            + Send
            + Sync
            + 'static,
    {
        let statement = Arc::new(statement);
        Self::start(name, db, move |db, keys: Vec<K>| {
            let input = (keys, Arc::clone(&statement));
            async move {
                db.write(name, input, |tx, (keys, statement)| statement(tx, keys))
                    .await
            }
            .boxed()
        })
    }

    fn start<R>(name: &'static str, db: &Db, run: R) -> Self
    where
        R: Fn(Db, Vec<K>) -> Shared<V> + Send + Sync + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE_LIMIT);
        db.tracker().spawn(work(name, db.clone(), waiting, run));
        Self { queue }
    }

    /// Asks for the value of `key`.
    pub async fn ask(&self, key: K) -> Result<V, StoreError> {
        let (reply, answer) = oneshot::channel();
        let closed = StoreError::unavailable("the store is closed");
        self.queue
            .send((key, reply))
            .await
            .map_err(|_| closed.clone())?;
        answer.await.unwrap_or(Err(closed))
    }
}

async fn work<K, V, R>(
    name: &'static str,
    db: Db,
    mut waiting: mpsc::Receiver<Waiting<K, V>>,
    run: R,
) where
    K: Send + Sync + 'static,
    V: Send + 'static,
    R: Fn(Db, Vec<K>) -> Shared<V>,
{
    let stop = db.stop().clone();
    let mut calls = Vec::with_capacity(GATHER_LIMIT);
    while next(&mut waiting, &mut calls, GATHER_LIMIT, &stop).await > 0 {
        // What is ready to run runs first: on a busy machine more calls then share the statement.
        tokio::task::yield_now().await;
        while calls.len() < GATHER_LIMIT
            && let Ok(call) = waiting.try_recv()
        {
            calls.push(call);
        }
        let (keys, replies): (Vec<K>, Vec<_>) = calls.drain(..).unzip();
        measure::gathered(name, replies.len());
        let statement = async { run(db.clone(), keys).await };
        let caught = AssertUnwindSafe(statement).catch_unwind();
        let result = match tokio::time::timeout(db.unit_timeout(), caught).await {
            Ok(Ok(Ok(values))) if values.len() == replies.len() => Ok(values),
            Ok(Ok(Ok(_))) => Err(StoreError::Misuse {
                reason: "a value for each key is due",
            }),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) => Err(StoreError::Panicked),
            Err(_) => Err(StoreError::Timeout),
        };
        match result {
            Ok(values) => {
                for (reply, value) in replies.into_iter().zip(values) {
                    let _ = reply.send(Ok(value));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}
