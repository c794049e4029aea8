//! The hook that runs as the last call of each unit.

use std::any::Any;

use futures::future::BoxFuture;

use crate::{StoreError, Tx};

/// What a unit collected for its tail; the tail knows the types it takes.
pub type TailItem = Box<dyn Any + Send>;

/// Writes what a unit collected, as the last call before it commits. The journal is one: its
/// entries, pending rows and ledger row leave in a single statement.
pub trait Tail: Any + Send + Sync {
    /// Writes `items` through `tx`. An error fails the unit.
    fn flush<'a>(
        &'a self,
        tx: &'a mut Tx<'_>,
        items: Vec<TailItem>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// For a store without a journal: a unit that collects anything is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTail;

impl Tail for NoTail {
    fn flush<'a>(
        &'a self,
        _tx: &'a mut Tx<'_>,
        _items: Vec<TailItem>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let reason = "this store has no tail to write what was collected";
        Box::pin(std::future::ready(Err(StoreError::Misuse { reason })))
    }
}
