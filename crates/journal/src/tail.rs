//! The last call of each unit: entries, pending rows and ledger row in one statement.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use publica_seal::Keyring;
use publica_store::{BoxFuture, Engine, StoreError, Tail, TailItem, Tx};
use publica_types::{Clock, Origin, SharedClock, SharedEntropy, Timestamp, Uuid, new_uuid};
use tokio::sync::watch;

use crate::entry::{Entry, EntryRow};
use crate::ledger::Kept;
use crate::store::tail as sql;

/// Entries that go out in one statement, at most.
const BATCH: usize = 500;

/// An entry that waits for its unit's last call.
struct Collected {
    origin: Origin,
    entry: Entry,
}

/// Adds an entry to the unit. It becomes durable with the unit's effects, or not at all.
pub fn append(tx: &mut Tx<'_>, origin: &Origin, entry: Entry) {
    tx.collect(Collected {
        origin: origin.clone(),
        entry,
    });
}

/// Writes what units collected for the journal. One a block; its stores are opened with it and
/// its [`Journal`](crate::Journal) is made from it.
#[derive(Debug)]
pub struct JournalTail {
    block: &'static str,
    keyring: Keyring,
    clock: SharedClock,
    entropy: SharedEntropy,
    /// Microseconds of the last entry's id, so that ids ascend in the order of writing.
    last: AtomicI64,
    written: watch::Sender<u64>,
}

/// A moment, as a clock.
#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

impl JournalTail {
    /// The tail of a block's stores. Kept answers are sealed with the block's part of `keyring`.
    pub fn new(
        block: &'static str,
        keyring: &Keyring,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Arc<Self> {
        let (written, _) = watch::channel(0);
        Arc::new(Self {
            block,
            keyring: keyring.scoped(block),
            clock,
            entropy,
            last: AtomicI64::new(0),
            written,
        })
    }

    /// The block whose journal this writes.
    pub fn block(&self) -> &'static str {
        self.block
    }

    /// The block's keys.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Changes whenever a unit is about to commit entries.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    fn entry_id(&self) -> Uuid {
        let now = self.clock.now().micros();
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(now.max(last + 1))
            })
            .unwrap_or(now);
        new_uuid(
            &At(Timestamp::from_micros(now.max(last + 1))),
            &*self.entropy,
        )
    }

    fn sort(&self, now: Timestamp, items: Vec<TailItem>) -> Result<Sorted, StoreError> {
        let mut rows = Vec::new();
        let mut kept: Option<Kept> = None;
        for item in items {
            let item: Box<dyn Any> = item;
            let item = match item.downcast::<Collected>() {
                Ok(collected) => {
                    let Collected { origin, entry } = *collected;
                    rows.push(entry.into_row(&origin, self.entry_id(), now));
                    continue;
                }
                Err(item) => item,
            };
            let unknown = "something was collected that the journal does not know";
            let answer = item
                .downcast::<Kept>()
                .map_err(|_| StoreError::Misuse { reason: unknown })?;
            if kept.replace(*answer).is_some() {
                return Err(StoreError::Misuse {
                    reason: "a unit answers one request",
                });
            }
        }
        Ok(Sorted { rows, kept })
    }

    async fn write(&self, tx: &mut Tx<'_>, sorted: Sorted) -> Result<(), StoreError> {
        let Sorted { rows, kept } = sorted;
        match (rows.as_slice(), kept) {
            ([], None) => return Ok(()),
            ([one], Some(kept)) => {
                sql::entry_and_answer(tx, one, &kept.seal(&self.keyring)).await?;
            }
            ([one], None) => sql::entry(tx, one).await?,
            (many, kept) => {
                for batch in many.chunks(BATCH) {
                    match tx.engine() {
                        Engine::Sqlite => sql::entries_sqlite(tx, batch).await?,
                        Engine::Postgres => sql::entries_postgres(tx, batch).await?,
                    }
                }
                if let Some(kept) = kept {
                    sql::answer(tx, &kept.seal(&self.keyring)).await?;
                }
            }
        }
        if !rows.is_empty() {
            let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
            metrics::counter!("publica_journal_entries_total", "block" => self.block)
                .increment(count);
            self.written
                .send_modify(|written| *written = written.wrapping_add(count));
        }
        Ok(())
    }
}

struct Sorted {
    rows: Vec<EntryRow>,
    kept: Option<Kept>,
}

impl Tail for JournalTail {
    fn flush<'a>(
        &'a self,
        tx: &'a mut Tx<'_>,
        items: Vec<TailItem>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let sorted = self.sort(tx.now(), items)?;
            self.write(tx, sorted).await
        })
    }
}
