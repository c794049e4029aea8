//! What happens between an intent to send and the sending, across a restart.

use std::sync::Arc;

use publica_host::Block as _;
use publica_payments::{Config, Payments};
use publica_proto::payments::v1 as api;
use publica_proto::work::v1 as work;
use publica_proto::work::v1::work_service_client::WorkServiceClient;
use publica_store::{DatabaseConfig, Engine};
use publica_testkit::{TestDatabase, both_engines, eventually};
use sqlx::Connection as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kill::{Order, link, settings};
use crate::support::{Clients, SOURCE, instruction, payee_id, tally};

/// A block that runs until told to stop.
pub(crate) struct Running {
    pub(crate) clients: Clients,
    pub(crate) approver: Clients,
    stop: CancellationToken,
    tracker: TaskTracker,
}

/// Starts the block; `reaches` says whether its rail gets any message.
async fn start(order: &Order, reaches: bool) -> Running {
    start_with(order, |config| {
        config.rail.drop_per_mille = if reaches { 0 } else { 1_000 };
    })
    .await
}

/// Starts the block with settings of the test's own.
pub(crate) async fn start_with(order: &Order, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = settings(DatabaseConfig {
        url: order.database.clone().into(),
        migrate_on_open: Some(true),
        ..DatabaseConfig::default()
    });
    config.rail.reject_per_mille = 0;
    config.rail.lose_per_mille = 0;
    config.rail.drop_per_mille = 0;
    change(&mut config);
    let block = Arc::new(Payments::open(config, &order.env()).await.unwrap());
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    tracker.spawn({
        let (block, stop) = (block.clone(), stop.clone());
        async move { block.run(stop).await }
    });
    Running {
        clients: Clients(link(&block, "maker")),
        approver: Clients(link(&block, "approver")),
        stop,
        tracker,
    }
}

impl Running {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    async fn last_error(&self) -> Option<String> {
        let mut client = WorkServiceClient::new(self.clients.link());
        let request = work::ListJobsRequest {
            kind: "payments.release_batch".to_owned(),
            ..Default::default()
        };
        let jobs = client.list_jobs(request).await.unwrap().into_inner().jobs;
        jobs.into_iter().next().map(|job| job.last_error)
    }
}

/// A batch of four whose intent is on record and of which nothing was sent.
async fn intended(order: &Order) -> String {
    let running = start(order, false).await;
    let clients = &running.clients;
    clients.programme(100_000, false).await;
    let good: Vec<(usize, &str)> = (0..4).map(|payee| (payee, "1234567")).collect();
    clients.register("REQUEST00001", &good).await;
    let batch = clients.create_batch("REQUEST00001").await;
    let rows = (0..4).map(|n| instruction(n, n, "10.00")).collect();
    let batch = clients.upload(&batch.batch_id, rows).await.unwrap();
    // One moves before the intent: the new address counts.
    move_to(clients, "REQUEST00002", 3, "7654321").await;
    running.approver.approve(&batch).await.unwrap();
    eventually(|| async {
        let error = running.last_error().await;
        error
            .is_some_and(|error| error.contains("RAIL_SILENT"))
            .then_some(())
    })
    .await;
    running.stop().await;
    batch.batch_id
}

async fn move_to(clients: &Clients, request: &str, payee: usize, address: &str) {
    let beneficiary = api::Beneficiary {
        functional_id: payee_id(payee),
        financial_address: address.to_owned(),
        ..Default::default()
    };
    let update = api::UpdateBeneficiariesRequest {
        source_id: SOURCE.to_owned(),
        source_request: request.to_owned(),
        beneficiaries: vec![beneficiary],
        ..Default::default()
    };
    let answer = clients.beneficiaries().update_beneficiaries(update).await;
    assert_eq!(answer.unwrap().into_inner().updated_count, 1);
}

pub(crate) fn order(database: &TestDatabase) -> Order {
    Order {
        folder: database.dir().to_owned(),
        database: database.config().url.expose().clone(),
        ahead: 0,
    }
}

async fn states(clients: &Clients, batch_id: &str) -> Vec<(api::InstructionState, String)> {
    let request = api::ListInstructionsRequest {
        batch_id: batch_id.to_owned(),
        ..Default::default()
    };
    let page = clients.batches().list_instructions(request).await.unwrap();
    let rows = page.into_inner().instructions;
    rows.into_iter()
        .map(|row| (row.state(), row.reason_code))
        .collect()
}

/// Somebody with a way into the database changes it behind the block's back.
pub(crate) async fn tamper(database: &TestDatabase, text: &'static str) {
    let url = database.config().url.expose().clone();
    let changed = match database.engine() {
        Engine::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            let done = sqlx::query(text).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            done.rows_affected()
        }
        Engine::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            // A block keeps its tables in a schema of its own.
            let own = sqlx::query("SET search_path TO payments");
            own.execute(&mut connection).await.unwrap();
            let done = sqlx::query(text).execute(&mut connection).await.unwrap();
            done.rows_affected()
        }
    };
    assert!(changed > 0, "{text}");
}

both_engines! {
    async fn an_intent_keeps_its_addresses(database: TestDatabase) {
        let mut order = order(&database);
        let batch_id = intended(&order).await;
        order.ahead += 60;
        // Payments to addresses that end in 0000 are rejected, so a wrong address shows.
        let running = start(&order, false).await;
        for (number, payee, address) in [(3, 1, "9990000"), (4, 3, "8880000"), (5, 1, "7770000")] {
            let request = format!("REQUEST{number:05}");
            move_to(&running.clients, &request, payee, address).await;
        }
        let moved = api::UpdateBeneficiariesRequest {
            source_id: SOURCE.to_owned(),
            source_request: "REQUEST00006".to_owned(),
            beneficiaries: vec![api::Beneficiary {
                functional_id: payee_id(0),
                financial_address: "1234567".to_owned(),
                institution: "OTHERBANK".to_owned(),
                ..Default::default()
            }], ..Default::default() };
        running.clients.beneficiaries().update_beneficiaries(moved).await.unwrap();
        let forgotten = api::EraseBeneficiaryRequest {
            source_id: SOURCE.to_owned(),
            functional_id: payee_id(2),
            reason: "asked for it".to_owned(),
            ..Default::default()
        };
        running.clients.beneficiaries().erase_beneficiary(forgotten).await.unwrap();
        running.stop().await;
        order.ahead += 60;
        let running = start(&order, true).await;
        let clients = &running.clients;
        clients.reaches(&batch_id, api::BatchState::PartiallyCompleted).await;
        let settled = (api::InstructionState::Settled, String::new());
        let gone = (api::InstructionState::Rejected, "AC04".to_owned());
        let expected = [settled.clone(), settled.clone(), gone, settled];
        assert_eq!(states(clients, &batch_id).await, expected);
        let report = clients.report(&batch_id).await;
        assert_eq!((report.settled, report.rejected), (tally(3, 3_000), tally(1, 1_000)));
        assert!(report.reconciled, "{:?}", report.differences);
        clients.assert_balanced().await;
        running.stop().await;
    }

    async fn a_chunk_taken_up_again_is_what_was_approved(database: TestDatabase) {
        let mut order = order(&database);
        let batch_id = intended(&order).await;
        for (change, back) in [
            (
                "UPDATE instruction SET amount_minor = amount_minor + 1 WHERE ordinal = 0",
                "UPDATE instruction SET amount_minor = amount_minor - 1 WHERE ordinal = 0",
            ),
            (
                "UPDATE instruction SET verdict = 1 WHERE ordinal = 1",
                "UPDATE instruction SET verdict = 0 WHERE ordinal = 1",
            ),
            (
                "UPDATE instruction_resolved SET mapping_version = 1",
                "UPDATE instruction_resolved SET mapping_version = 2",
            ),
        ] {
            tamper(&database, change).await;
            order.ahead += 3_600;
            let running = start(&order, true).await;
            let paused = running.clients.reaches(&batch_id, api::BatchState::Paused).await;
            assert!(paused.state_reason.contains("approved"), "{}", paused.state_reason);
            // Its money is still where it waits for being sent.
            assert_eq!(running.clients.balance("institution:BANK:USD").await, 4_000, "{change}");
            running.stop().await;
            tamper(&database, back).await;
            order.ahead += 3_600;
            let running = start(&order, false).await;
            let resume = api::ResumeBatchRequest {
                batch_id: batch_id.clone(),
                ..Default::default()
            };
            running.approver.batches().resume_batch(resume).await.unwrap();
            running.stop().await;
        }
        order.ahead += 3_600;
        let running = start(&order, true).await;
        running.clients.reaches(&batch_id, api::BatchState::Completed).await;
        assert_eq!(running.clients.balance("settlement:USD").await, 4_000);
        running.stop().await;
    }
}
