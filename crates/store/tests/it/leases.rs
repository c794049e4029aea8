//! Leases: one holder at a time, and a fence for the one who does not know that it is over.

use std::sync::Arc;
use std::time::Duration;

use publica_store::{Lease, NoTail, StoreError, leases};
use publica_testkit::{MockClock, both_engines};
use publica_types::Tenant;
use tokio::task::JoinSet;

use crate::support::{count, insert, migrations};

const MINUTE: Duration = Duration::from_mins(1);

async fn write_guarded(db: &publica_store::Db, lease: &Lease, id: i64) -> Result<(), StoreError> {
    db.write("tests.guarded", (lease.clone(), id), |tx, (lease, id)| {
        Box::pin(async move {
            tx.fence(lease).await?;
            insert(tx, *id).await
        })
    })
    .await
}

both_engines! {
    async fn a_lease_changes_hands_only_when_it_is_over(database: TestDatabase) {
        let clock = MockClock::new();
        let stores = database.stores_with(migrations(), clock.shared(), Arc::new(NoTail)).await;
        let db = stores.of(&Tenant::default()).await.unwrap();
        let first = leases::acquire(&db, "sequencer", "a", MINUTE).await.unwrap().unwrap();
        assert_eq!(leases::acquire(&db, "sequencer", "b", MINUTE).await.unwrap(), None);
        assert_eq!(leases::acquire(&db, "sequencer", "a", MINUTE).await.unwrap(), None);
        assert!(leases::acquire(&db, "relay", "b", MINUTE).await.unwrap().is_some());

        clock.advance(MINUTE / 2);
        assert!(first.renew(&db, MINUTE).await.unwrap());
        clock.advance(MINUTE * 3 / 4);
        assert_eq!(leases::acquire(&db, "sequencer", "b", MINUTE).await.unwrap(), None);
        clock.advance(MINUTE / 2);
        let second = leases::acquire(&db, "sequencer", "b", MINUTE).await.unwrap().unwrap();
        assert!(second.fence() > first.fence());
        assert!(!first.renew(&db, MINUTE).await.unwrap());

        second.clone().release(&db).await.unwrap();
        let third = leases::acquire(&db, "sequencer", "a", MINUTE).await.unwrap().unwrap();
        assert!(third.fence() > second.fence());
    }

    async fn a_late_holder_is_fenced_off(database: TestDatabase) {
        let clock = MockClock::new();
        let stores = database.stores_with(migrations(), clock.shared(), Arc::new(NoTail)).await;
        let db = stores.of(&Tenant::default()).await.unwrap();
        let first = leases::acquire(&db, "sequencer", "a", MINUTE).await.unwrap().unwrap();
        write_guarded(&db, &first, 1).await.unwrap();
        clock.advance(MINUTE * 2);
        // Nobody else came, so the work may still be finished.
        write_guarded(&db, &first, 2).await.unwrap();
        let second = leases::acquire(&db, "sequencer", "b", MINUTE).await.unwrap().unwrap();
        let late = write_guarded(&db, &first, 3).await;
        assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
        write_guarded(&db, &second, 4).await.unwrap();
        assert_eq!(count(&db).await, 3);
    }

    async fn of_many_one_gets_it(database: TestDatabase) {
        let db = database.db(migrations()).await;
        let mut calls = JoinSet::new();
        for holder in 0..24 {
            let db = db.clone();
            calls.spawn(async move {
                let holder = format!("holder-{holder}");
                leases::acquire(&db, "race", &holder, MINUTE).await.unwrap().is_some()
            });
        }
        let won = calls.join_all().await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
    }
}
