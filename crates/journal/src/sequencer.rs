//! The sequencer: gives entries their places in the tree and signs what results.
//!
//! One runs at a time, by lease; the primary key on the position is what prevents a fork if two
//! ever believe that they do.

use std::time::Duration;

use publica_store::{Db, Lease, StoreError, leases};
use publica_types::{Timestamp, Uuid};
use tokio::time::Instant;

use crate::epoch::{Keeper, OpenEpoch};
use crate::error::JournalError;
use crate::merkle::Hash;
use crate::note::Head;
use crate::store::log::{self as sql, CheckpointRow, PendingRow};
use crate::tree::{Edge, stored};

const LEASE: &str = "journal.sequencer";
/// Entries that are given their places in one transaction, at most.
const BATCH: i64 = 1_000;
/// PostgreSQL keeps deleted rows at the front of the index for a while, so the front is looked
/// at only now and then, for entries whose transaction took very long.
const LOOK_BACK: Duration = Duration::from_mins(10);
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There may be more at once.
    More,
    /// All is in the tree; `unsigned` if not all of it is signed yet.
    Idle {
        /// Whether the newest leaves wait for their signature.
        unsigned: bool,
    },
    /// Another replica has the lease.
    Elsewhere,
}

/// The sequencer of one tenant's log.
pub(crate) struct Sequencer {
    db: Db,
    holder: String,
    lease: Option<(Lease, Instant)>,
    state: Option<State>,
    swept: Option<Instant>,
    signed_at: Option<Instant>,
}

struct State {
    edge: Edge,
    epoch: OpenEpoch,
    signed: u64,
}

impl State {
    fn is_of(&self, (size, epoch): (i64, i64)) -> bool {
        stored(self.edge.size()) == size && self.epoch.number == epoch
    }
}

impl Sequencer {
    pub(crate) fn new(db: Db, holder: String) -> Self {
        Self {
            db,
            holder,
            lease: None,
            state: None,
            swept: None,
            signed_at: None,
        }
    }

    /// Number of leaves, once known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.state.as_ref().map(|state| state.edge.size())
    }

    /// Number of signed leaves, once known.
    pub(crate) fn signed(&self) -> Option<u64> {
        self.state.as_ref().map(|state| state.signed)
    }

    /// Forgets what it knows, so that the next step reads the store again.
    pub(crate) fn forget(&mut self) {
        self.state = None;
    }

    /// Does one step; `urgent` signs at once rather than in a second at the latest.
    pub(crate) async fn step(
        &mut self,
        keeper: &Keeper<'_>,
        urgent: bool,
    ) -> Result<Progress, JournalError> {
        let stepped = self.try_step(keeper, urgent).await;
        if stepped.is_err() {
            // Whatever failed, memory and store may differ now.
            self.forget();
        }
        stepped
    }

    async fn try_step(
        &mut self,
        keeper: &Keeper<'_>,
        urgent: bool,
    ) -> Result<Progress, JournalError> {
        let Some(lease) = self.lease(keeper.config.lease()).await? else {
            self.forget();
            return Ok(Progress::Elsewhere);
        };
        let mut state = match self.state.take() {
            // Somebody may have opened an epoch on purpose.
            Some(state) if state.is_of(sql::extent(&self.db).await?) => state,
            _ => load(&self.db, keeper).await?,
        };
        let taken = self.take(&lease, &mut state).await?;
        let due = self
            .signed_at
            .is_none_or(|at| at.elapsed() >= keeper.config.checkpoint_every());
        let drained = taken < BATCH;
        if state.edge.size() > state.signed && (due || (urgent && drained)) {
            self.sign(&lease, keeper, &mut state).await?;
        }
        let unsigned = state.edge.size() > state.signed;
        self.state = Some(state);
        Ok(if drained {
            Progress::Idle { unsigned }
        } else {
            Progress::More
        })
    }

    async fn lease(&mut self, span: Duration) -> Result<Option<Lease>, JournalError> {
        if let Some((lease, renewed)) = self.lease.take() {
            if renewed.elapsed() < span / 3 {
                self.lease = Some((lease.clone(), renewed));
                return Ok(Some(lease));
            }
            if lease.renew(&self.db, span).await? {
                self.lease = Some((lease.clone(), Instant::now()));
                return Ok(Some(lease));
            }
        }
        let taken = leases::acquire(&self.db, LEASE, &self.holder, span).await?;
        if let Some(lease) = &taken {
            self.lease = Some((lease.clone(), Instant::now()));
            self.forget();
        }
        Ok(taken)
    }

    /// Lets another replica go on at once.
    pub(crate) async fn release(mut self) {
        if let Some((lease, _)) = self.lease.take()
            && let Err(error) = lease.release(&self.db).await
        {
            tracing::debug!(%error, "the sequencer's lease was not given back");
        }
    }

    /// Gives places to a batch of pending entries; how many.
    async fn take(&mut self, lease: &Lease, state: &mut State) -> Result<i64, JournalError> {
        let sweep = self.swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY);
        let after = if sweep {
            Uuid::nil()
        } else {
            id_floor(self.db.now().minus(LOOK_BACK))
        };
        if !sql::has_pending(&self.db, after).await? {
            if sweep {
                self.swept = Some(Instant::now());
            }
            return Ok(0);
        }
        let input = (lease.clone(), state.edge.clone(), after);
        let (edge, count) = self
            .db
            .write("journal.sequence", input, |tx, (lease, edge, after)| {
                Box::pin(async move {
                    let rows: Vec<PendingRow> = sql::pending(tx, *after, BATCH).await?;
                    let mut edge = edge.clone();
                    if !rows.is_empty() {
                        tx.fence(lease).await?;
                        edge.append(tx, &rows).await?;
                    }
                    Ok::<_, StoreError>((edge, rows.len()))
                })
            })
            .await?;
        state.edge = edge;
        let count = i64::try_from(count).unwrap_or(BATCH);
        if sweep && count < BATCH {
            self.swept = Some(Instant::now());
        }
        Ok(count)
    }

    async fn sign(
        &mut self,
        lease: &Lease,
        keeper: &Keeper<'_>,
        state: &mut State,
    ) -> Result<(), JournalError> {
        let (size, root) = (state.edge.size(), state.edge.root());
        let row = checkpoint(&state.epoch, size, root, self.db.now());
        // First outside: whatever leaves this store was witnessed. The leaves are committed, so a
        // witness that is ahead of the signature contradicts nothing.
        keeper.witness(&self.db, &row.note).await;
        self.db
            .write("journal.sign", (lease.clone(), row), |tx, (lease, row)| {
                Box::pin(async move {
                    tx.fence(lease).await?;
                    sql::put_checkpoint(tx, row).await
                })
            })
            .await?;
        state.signed = size;
        self.signed_at = Some(Instant::now());
        Ok(())
    }
}

fn checkpoint(epoch: &OpenEpoch, size: u64, root: Hash, time: Timestamp) -> CheckpointRow {
    let head = Head {
        origin: epoch.signer.name().to_owned(),
        size,
        root,
    };
    let note = epoch.signer.sign(&head.text());
    CheckpointRow {
        epoch: epoch.number,
        size: stored(size),
        root: root.to_vec(),
        note,
        time,
    }
}

async fn load(db: &Db, keeper: &Keeper<'_>) -> Result<State, JournalError> {
    let epoch = keeper.current(db).await?;
    let edge = Edge::load(db).await?;
    let signed = sql::last_checkpoint_of(db, epoch.number).await?;
    let signed = signed.map_or(0, |row| crate::tree::counted(row.size));
    Ok(State {
        edge,
        epoch,
        signed,
    })
}

/// The smallest version 7 id of a moment.
fn id_floor(time: Timestamp) -> Uuid {
    let millis = u128::try_from(time.micros() / 1_000).unwrap_or(0);
    Uuid::from_u128(millis << 80)
}
