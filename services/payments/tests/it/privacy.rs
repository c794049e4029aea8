//! No functional id, no address and no voucher number is readable in the store.

use std::path::Path;

use publica_proto::payments::v1 as api;
use publica_testkit::Database;

use crate::support::{SOURCE, instruction, payee_id, world};

fn holds(folder: &Path, needle: &str) -> Option<String> {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = holds(&path, needle) {
                return Some(found);
            }
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        if bytes
            .windows(needle.len())
            .any(|window| window == needle.as_bytes())
        {
            return Some(path.display().to_string());
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_shows_nobody() {
    let world = world(Database::sqlite()).await;
    world.programme(100_000, true).await;
    world
        .register("REQUEST00001", &[(0, "5550123400001"), (1, "777888990000")])
        .await;
    let batch = world.create_batch("REQUEST00001").await;
    let rows = (0..2)
        .map(|number| api::Instruction {
            narration: "Orphan pension".to_owned(),
            process_id: String::new(),
            ..instruction(number, number, "10.00")
        })
        .collect();
    let batch = world.upload(&batch.batch_id, rows).await.unwrap();
    world.approve(&batch).await.unwrap();
    world
        .reaches(&batch.batch_id, api::BatchState::PartiallyCompleted)
        .await;
    let request = api::PreactivateVoucherRequest {
        amount: "1.00".to_owned(),
        currency: "USD".to_owned(),
        voucher_group: "FOOD".to_owned(),
        calling_block: SOURCE.to_owned(),
        request_id: "2f9e3ba2-9a5e-4b52-8e0c-d2f6fbc9a3a1".to_owned(),
        ..Default::default()
    };
    let issued = world
        .vouchers()
        .preactivate_voucher(request)
        .await
        .unwrap()
        .into_inner();
    let shown = api::ListBatchVouchersRequest {
        batch_id: batch.batch_id.clone(),
        reveal_numbers: true,
        ..Default::default()
    };
    let shown = world
        .batches()
        .list_batch_vouchers(shown)
        .await
        .unwrap()
        .into_inner();
    let fallback = shown.vouchers[0].voucher_number.clone();
    assert_eq!(fallback.len(), 16);
    for needle in [
        payee_id(0).as_str(),
        "5550123400001",
        "777888990000",
        "Orphan pension",
        &issued.voucher_number,
        &fallback,
    ] {
        assert_eq!(holds(world.database.dir(), needle), None, "{needle}");
    }
    assert!(
        holds(world.database.dir(), &batch.source_batch).is_some(),
        "the search works"
    );
}
