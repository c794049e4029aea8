//! A pool of plain connections: a free list and a semaphore.
//!
//! The driver's own pool asks the database for a sign of life each time a connection comes
//! back, which costs a round trip a read. Here a connection that is handed back by
//! [`Held::done`] goes straight onto the free list; only one that was dropped half-way, which
//! is what happens when a client goes away, is cleaned up first, by a tracked task.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::connect::Driver;
use crate::{StoreError, measure};

/// Connections of one store.
pub(crate) struct Pool<C: Driver> {
    inner: Arc<Inner<C>>,
}

struct Inner<C: Driver> {
    options: C::Options,
    free: Mutex<Vec<C>>,
    slots: Arc<Semaphore>,
    patience: Duration,
    tracker: TaskTracker,
}

/// How long a connection may take to recover from being dropped half-way.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);

impl<C: Driver> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<C: Driver> Pool<C> {
    /// A pool of at most `size` connections, opened as they are needed.
    pub(crate) fn new(
        options: C::Options,
        size: u32,
        patience: Duration,
        tracker: TaskTracker,
    ) -> Self {
        let size = usize::try_from(size)
            .unwrap_or(usize::MAX)
            .min(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(size));
        let free = Mutex::new(Vec::new());
        Self {
            inner: Arc::new(Inner {
                options,
                free,
                slots,
                patience,
                tracker,
            }),
        }
    }

    /// Takes a connection, waiting for one if all are in use.
    pub(crate) async fn take(&self) -> Result<Held<C>, StoreError> {
        let inner = &self.inner;
        let permit = match Arc::clone(&inner.slots).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        let idle = inner.free_list().pop();
        let conn = match idle {
            Some(conn) => conn,
            None => tokio::time::timeout(inner.patience, C::open(&inner.options))
                .await
                .unwrap_or(Err(StoreError::unavailable("connecting took too long")))?,
        };
        Ok(Held {
            conn: Some(conn),
            permit: Some(permit),
            inner: Arc::clone(inner),
        })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let began = tokio::time::Instant::now();
        let slots = Arc::clone(&self.inner.slots);
        let waited = tokio::time::timeout(self.inner.patience, slots.acquire_owned()).await;
        measure::pool_wait(C::ENGINE, began.elapsed());
        match waited {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(StoreError::unavailable("the store is closed")),
            Err(_) => Err(StoreError::unavailable("no connection became free in time")),
        }
    }

    /// Refuses further use and closes what is idle.
    pub(crate) async fn close(&self) {
        self.inner.slots.close();
        let idle = std::mem::take(&mut *self.inner.free_list());
        for conn in idle {
            conn.close().await;
        }
    }
}

impl<C: Driver> Inner<C> {
    fn free_list(&self) -> std::sync::MutexGuard<'_, Vec<C>> {
        // Nothing that holds the lock can panic half-way through a change.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put_back(&self, conn: C) {
        if !self.slots.is_closed() {
            self.free_list().push(conn);
        }
    }
}

/// A connection in use. Hand it back with [`Held::done`].
pub(crate) struct Held<C: Driver> {
    conn: Option<C>,
    permit: Option<OwnedSemaphorePermit>,
    inner: Arc<Inner<C>>,
}

impl<C: Driver> Held<C> {
    /// Hands back a connection that is between statements and outside any transaction.
    pub(crate) fn done(mut self) {
        if let Some(conn) = self.conn.take() {
            self.inner.put_back(conn);
        }
    }

    /// Hands back a connection after a statement, unless the statement showed it to be broken.
    /// Then its idle companions are likely to be as well: a restarted server drops them all.
    pub(crate) fn done_after<T>(mut self, result: &Result<T, StoreError>) {
        match result {
            Err(error) if error.breaks_connection() => {
                drop(self.conn.take());
                self.inner.free_list().clear();
            }
            _ => self.done(),
        }
    }
}

impl<C: Driver> Deref for Held<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.conn
            .as_ref()
            .expect("a held connection is there until it is handed back")
    }
}

impl<C: Driver> DerefMut for Held<C> {
    fn deref_mut(&mut self) -> &mut C {
        self.conn
            .as_mut()
            .expect("a held connection is there until it is handed back")
    }
}

impl<C: Driver> Drop for Held<C> {
    fn drop(&mut self) {
        let (Some(mut conn), Some(permit)) = (self.conn.take(), self.permit.take()) else {
            return;
        };
        // Without a runtime there is nobody left to serve; the connection just closes.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let inner = Arc::clone(&self.inner);
        self.inner.tracker.spawn_on(
            async move {
                match tokio::time::timeout(RESTORE_LIMIT, conn.restore()).await {
                    Ok(Ok(())) => inner.put_back(conn),
                    // The slot is free again, and the next user opens a new connection.
                    Ok(Err(error)) => tracing::debug!(%error, "dropped a connection"),
                    Err(_) => tracing::warn!("a connection did not recover and was dropped"),
                }
                drop(permit);
            },
            &runtime,
        );
    }
}
