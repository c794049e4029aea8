//! Leases: at most one holder does a piece of background work at a time.
//!
//! Two machines whose clocks differ may both take a lease for theirs. So it gets a higher fence
//! number whenever it changes hands, and [`Tx::fence`] compares that number within the transaction
//! that relies on it: the one who is late does its work in vain, and nothing is written twice.

use std::time::Duration;

use crate::{Db, StoreError, Tx};

crate::statements! {
    ACQUIRE = "INSERT INTO lease (name, holder, fence, held_until) VALUES ($1, $2, 1, $3) \
        ON CONFLICT (name) DO UPDATE \
        SET holder = excluded.holder, fence = lease.fence + 1, held_until = excluded.held_until \
        WHERE lease.held_until <= $4 RETURNING fence",
    RENEW = "UPDATE lease SET held_until = $3 WHERE name = $1 AND fence = $2",
    // The row stays locked until the transaction ends, so nobody can take the lease between
    // the check and the commit. SQLite has one writer and knows no such clause.
    CHECK = {
        sqlite: "SELECT fence FROM lease WHERE name = $1 AND fence = $2",
        postgres: "SELECT fence FROM lease WHERE name = $1 AND fence = $2 FOR SHARE",
    },
}

/// A lease that was given to its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    name: String,
    fence: i64,
}

impl Lease {
    /// What is leased.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of this tenure; higher than that of each one before.
    pub const fn fence(&self) -> i64 {
        self.fence
    }

    /// Keeps the lease for `span` from now. False if somebody else has it by now.
    pub async fn renew(&self, db: &Db, span: Duration) -> Result<bool, StoreError> {
        let renewed = db.write(
            "store.renew_lease",
            (self.clone(), span),
            |tx, (lease, span)| {
                let until = tx.now().plus(*span);
                Box::pin(async move { set_until(tx, lease, until).await })
            },
        );
        renewed.await
    }

    /// Lets somebody else have it at once.
    pub async fn release(self, db: &Db) -> Result<(), StoreError> {
        let released = db.write("store.release_lease", self, |tx, lease| {
            let until = tx.now();
            Box::pin(async move { set_until(tx, lease, until).await })
        });
        released.await.map(drop)
    }
}

async fn set_until(
    tx: &mut Tx<'_>,
    lease: &Lease,
    until: publica_types::Timestamp,
) -> Result<bool, StoreError> {
    let renewed = tx
        .query(RENEW)
        .bind(&*lease.name)
        .bind(lease.fence)
        .bind(until);
    Ok(renewed.execute().await? == 1)
}

/// Takes the lease `name` for `span` from now, if nobody holds it.
pub async fn acquire(
    db: &Db,
    name: &str,
    holder: &str,
    span: Duration,
) -> Result<Option<Lease>, StoreError> {
    let input = (name.to_owned(), holder.to_owned(), span);
    let taken = db.write("store.acquire_lease", input, |tx, (name, holder, span)| {
        let (now, until) = (tx.now(), tx.now().plus(*span));
        Box::pin(async move {
            let taken = tx
                .query(ACQUIRE)
                .bind(&**name)
                .bind(&**holder)
                .bind(until)
                .bind(now);
            let fence = taken.fetch_scalar_optional::<i64>().await?;
            Ok(fence.map(|fence| Lease {
                name: name.clone(),
                fence,
            }))
        })
    });
    taken.await
}

/// Whether the lease still has this tenure.
pub(crate) async fn check(tx: &mut Tx<'_>, lease: &Lease) -> Result<bool, StoreError> {
    let held = tx.query(CHECK).bind(&*lease.name).bind(lease.fence);
    Ok(held.fetch_scalar_optional::<i64>().await?.is_some())
}
