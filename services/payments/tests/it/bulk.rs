//! A batch of many chunks, so that nothing depends on all of it being in memory at once.

use publica_proto::payments::v1 as api;
use publica_testkit::both_engines;

use crate::support::{instruction, tally, world_with};

const ROWS: usize = 5_000;
const PAYEES: usize = 1_000;

both_engines! {
    async fn many_chunks_add_up(database: TestDatabase) {
        let world = world_with(database, None, |config| {
            config.chunk_rows = 512;
            config.rail.reject_per_mille = 20;
            config.rail.unknown_per_mille = 10;
        })
        .await;
        world.programme(1_000_000_000, true).await;
        let addresses: Vec<String> = (0..PAYEES).map(|n| format!("4{n:08}7")).collect();
        let all: Vec<(usize, &str)> =
            addresses.iter().enumerate().map(|(n, address)| (n, address.as_str())).collect();
        world.register("REQUEST00001", &all).await;
        let batch = world.create_batch("REQUEST00001").await;
        let rows: Vec<api::Instruction> =
            (0..ROWS).map(|n| instruction(n, n % PAYEES, "1.00")).collect();
        let pages = rows.chunks(700).enumerate().map(|(page, rows)| api::UploadInstructionsRequest {
            batch_id: if page == 0 { batch.batch_id.clone() } else { String::new() },
            first_ordinal: 0,
            instructions: rows.to_vec(),
            complete: (page + 1) * 700 >= ROWS,
        });
        let pages: Vec<_> = pages.collect();
        let answer = world.batches().upload_instructions(futures::stream::iter(pages)).await;
        let batch = answer.unwrap().into_inner().batch.unwrap();
        let rows = i64::try_from(ROWS).unwrap();
        assert_eq!(batch.accepted, tally(rows, rows * 100));
        world.approve(&batch).await.unwrap();
        world.reaches(&batch.batch_id, api::BatchState::PartiallyCompleted).await;
        let report = world.report(&batch.batch_id).await;
        let (settled, rejected) = (report.settled.unwrap(), report.replaced.unwrap());
        assert_eq!(settled.item_count + rejected.item_count, rows);
        assert!(rejected.item_count > 0);
        assert_eq!(report.vouchers, Some(rejected));
        assert_eq!(report.matched_count, settled.item_count);
        assert!(report.reconciled && report.ledger_balanced, "{:?}", report.differences);
        assert_eq!(world.balance("settlement:USD").await, settled.amount_minor);
        assert_eq!(world.balance("funding:FOOD USD").await, rejected.amount_minor);
        world.assert_balanced().await;
    }
}
