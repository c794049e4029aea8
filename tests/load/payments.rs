//! Payments: single transfers, each with its own journal entry and answer, and one large batch
//! from upload to reconciliation.
//!
//! The limit of transfers is pgbench's TPC-B on the same server, and on SQLite the store's own
//! mutations with a commit each; that of the batch is as many rows inserted by one statement.

use std::time::Duration;

use anyhow::Context as _;
use publica_payments::{Config, Payments};
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::account_service_client::AccountServiceClient;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_proto::payments::v1::beneficiary_service_client::BeneficiaryServiceClient;
use publica_proto::payments::v1::programme_service_client::ProgrammeServiceClient;
use publica_proto::payments::v1::transfer_service_client::TransferServiceClient;
use publica_rpc::Link;
use publica_store::Engine;
use publica_testkit::{Database, TestBlock, TestDatabase, TestEnv, env, token_for, with_token};
use publica_types::Tenant;
use tokio::time::Instant;

use crate::pace::{self, Load, Pace, scatter};
use crate::report::Report;
use crate::{pgbench, store};

/// What to measure of payments.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only this engine.
    #[arg(long, value_parser = ["sqlite", "postgres"])]
    engine: Option<String>,
    /// Instructions of the batch; 0 leaves it out.
    #[arg(long, default_value_t = 1_000_000)]
    instructions: u32,
    /// People in the account mapper.
    #[arg(long, default_value_t = 100_000)]
    people: u32,
    /// Accounts that transfers are spread over.
    #[arg(long, default_value_t = 1_000)]
    accounts: u32,
}

const ALL: &[&str] = &["payments:*"];
const SOURCE: &str = "SOURCEBLOCK1";
/// Rows in one message.
const PAGE: u32 = 1_000;
const PATIENCE: Duration = Duration::from_mins(30);

pub(crate) async fn measure(
    arguments: &Arguments,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let wanted = |engine: Engine| {
        arguments
            .engine
            .as_deref()
            .is_none_or(|wanted| wanted == engine.as_str())
    };
    if wanted(Engine::Sqlite) {
        measure_engine(&Database::sqlite(), arguments, load, report).await?;
    }
    if wanted(Engine::Postgres) {
        measure_engine(&Database::durable_postgres().await, arguments, load, report).await?;
    }
    Ok(())
}

struct World {
    block: TestBlock<Payments>,
    /// Stands for the running process: dropped, it ends the block.
    _env: TestEnv,
}

impl World {
    fn link(&self, subject: &str) -> Link {
        with_token(
            &self.block.link,
            &token_for(subject, ALL, &Tenant::default()),
        )
    }
}

async fn world(database: &TestDatabase) -> anyhow::Result<World> {
    let mut database = database.config();
    database.connections = 16;
    database.unit_timeout_ms = 60_000;
    let mut config = Config {
        database,
        chunk_rows: 32_768,
        ..Config::default()
    };
    config.rail.latency_ms = 0;
    config.rail.reject_per_mille = 20;
    config.rail.unknown_per_mille = 1;
    let env = env("payments");
    let block = env.open::<Payments>(config).await?;
    Ok(World { block, _env: env })
}

async fn measure_engine(
    database: &TestDatabase,
    arguments: &Arguments,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<()> {
    let kind = database.engine();
    let engine = kind.as_str();
    let (limit_name, limit) = match kind {
        Engine::Postgres => (pgbench::TPC_B, pgbench::tpc_b(load.span).await?),
        Engine::Sqlite => (store::COMMITS, store::commits(load).await?),
    };
    let world = world(database).await?;
    let accounts = open_accounts(&world, arguments.accounts).await?;
    let hot = transfers(&world, &accounts, load, true).await?;
    report.add("payments-transfer-hot", engine, hot, limit_name, limit)?;
    let eight = Load {
        in_flight: 8,
        ..load
    };
    let few = transfers(&world, &accounts, eight, true).await?;
    report.add("payments-transfer-hot-8", engine, few, limit_name, limit)?;
    let pairs = transfers(&world, &accounts, load, false).await?;
    report.add("payments-transfer-pairs", engine, pairs, limit_name, limit)?;
    if arguments.instructions > 0 {
        register(&world, arguments.people).await?;
        let whole = batch(&world, arguments).await?;
        let rows = store::rows(kind, arguments.instructions).await?;
        report.add("payments-bulk", engine, whole, store::ROWS, rows)?;
    }
    let mut client = AccountServiceClient::new(world.link("auditor"));
    let mut check = tonic::Request::new(api::CheckLedgerRequest {});
    check.set_timeout(Duration::from_mins(5));
    let check = client.check_ledger(check).await?.into_inner();
    anyhow::ensure!(check.balanced, "the ledger does not balance: {check:?}");
    Ok(())
}

async fn open_accounts(world: &World, count: u32) -> anyhow::Result<Vec<String>> {
    let mut client = AccountServiceClient::new(world.link("bank"));
    let mut ids = Vec::new();
    for number in 0..=count {
        let request = api::OpenAccountRequest {
            code: format!("load:{number}"),
            currency: "USD".to_owned(),
            ..api::OpenAccountRequest::default()
        };
        let account = client.open_account(request).await?.into_inner().account;
        ids.push(account.context("an account")?.account_id);
    }
    Ok(ids)
}

async fn transfers(
    world: &World,
    accounts: &[String],
    load: Load,
    hot: bool,
) -> anyhow::Result<Pace> {
    let client = TransferServiceClient::new(world.link("bank"));
    let accounts = std::sync::Arc::new(accounts.to_vec());
    pace::keep(load, move |number| {
        let (mut client, accounts) = (client.clone(), accounts.clone());
        async move {
            let among = u64::try_from(accounts.len())?;
            let credit = usize::try_from(1 + scatter(number, among - 1))?;
            let debit = match hot {
                true => 0,
                false => usize::try_from(scatter(number + 7_919, among))?,
            };
            if debit == credit {
                return Ok(());
            }
            let request = api::CreateTransferRequest {
                debit_account_id: accounts[debit].clone(),
                credit_account_id: accounts[credit].clone(),
                amount_minor: 1,
                ..api::CreateTransferRequest::default()
            };
            client.create_transfer(request).await?;
            anyhow::Ok(())
        }
    })
    .await
}

fn payee(number: u32) -> String {
    format!("PAYEE{number:015}")
}

async fn register(world: &World, people: u32) -> anyhow::Result<()> {
    let mut programmes = ProgrammeServiceClient::new(world.link("maker"));
    let funding = api::CreateFundingAccountRequest {
        name: "treasury".to_owned(),
        currency: "USD".to_owned(),
        ..api::CreateFundingAccountRequest::default()
    };
    let account = programmes
        .create_funding_account(funding)
        .await?
        .into_inner();
    let account = account.funding_account.context("a funding account")?;
    let deposit = api::DepositFundsRequest {
        funding_account_id: account.funding_account_id,
        amount_minor: 1_000_000_000_000,
        ..api::DepositFundsRequest::default()
    };
    programmes.deposit_funds(deposit).await?;
    let programme = api::CreateProgrammeRequest {
        code: "CASH".to_owned(),
        name: "Cash".to_owned(),
        currency: "USD".to_owned(),
        funding_account: "treasury".to_owned(),
        ..api::CreateProgrammeRequest::default()
    };
    programmes.create_programme(programme).await?;
    let source = api::CreateSourceBlockRequest {
        source_id: SOURCE.to_owned(),
        name: "Registry".to_owned(),
        programme: "CASH".to_owned(),
        ..api::CreateSourceBlockRequest::default()
    };
    programmes.create_source_block(source).await?;
    let mut client = BeneficiaryServiceClient::new(world.link("maker"));
    for start in (0..people).step_by(10_000) {
        let beneficiaries = (start..people.min(start + 10_000)).map(|number| api::Beneficiary {
            functional_id: payee(number),
            institution: format!("BANK{:02}", number % 20),
            financial_address: format!("5{number:09}5"),
            ..api::Beneficiary::default()
        });
        let mut request = tonic::Request::new(api::RegisterBeneficiariesRequest {
            source_id: SOURCE.to_owned(),
            source_request: format!("REG{start:09}"),
            beneficiaries: beneficiaries.collect(),
            ..Default::default()
        });
        request.set_timeout(PATIENCE);
        client.register_beneficiaries(request).await?;
    }
    Ok(())
}

/// A batch from its first row to its report.
async fn batch(world: &World, arguments: &Arguments) -> anyhow::Result<Pace> {
    let began = Instant::now();
    let mut maker = BatchServiceClient::new(world.link("maker"));
    let new = api::CreateBatchRequest {
        source_id: SOURCE.to_owned(),
        source_request: "REQUEST00001".to_owned(),
        source_batch: "BATCH0000001".to_owned(),
        ..api::CreateBatchRequest::default()
    };
    let created = maker.create_batch(new).await?.into_inner();
    let id = created.batch.context("a batch")?.batch_id;
    let (rows, people) = (arguments.instructions, arguments.people);
    let first = id.clone();
    let messages = (0..rows).step_by(usize::try_from(PAGE)?).map(move |start| {
        let end = rows.min(start + PAGE);
        let batch_id = if start == 0 {
            first.clone()
        } else {
            String::new()
        };
        api::UploadInstructionsRequest {
            batch_id,
            first_ordinal: 0,
            instructions: (start..end)
                .map(|number| instruction(number, people))
                .collect(),
            complete: end == rows,
        }
    });
    let mut upload = tonic::Request::new(tokio_stream::iter(messages));
    upload.set_timeout(PATIENCE);
    let uploaded = maker.upload_instructions(upload).await?.into_inner();
    let digest = uploaded.batch.context("a batch")?.digest;
    let mut checker = BatchServiceClient::new(world.link("checker"));
    let approval = api::ApproveBatchRequest {
        batch_id: id.clone(),
        digest,
        ..api::ApproveBatchRequest::default()
    };
    checker.approve_batch(approval).await?;
    ended(&mut checker, &id, began).await?;
    let took = began.elapsed();
    let get = api::GetBatchReportRequest { batch_id: id };
    let report = checker.get_batch_report(get).await?.into_inner();
    anyhow::ensure!(
        report.reconciled,
        "not reconciled: {:?}",
        report.differences
    );
    let rate = f64::from(rows) / took.as_secs_f64();
    Ok(Pace {
        rate,
        p50_us: 0,
        p99_us: 0,
    })
}

/// Waits until the batch has come to its end.
async fn ended(
    checker: &mut BatchServiceClient<Link>,
    id: &str,
    began: Instant,
) -> anyhow::Result<()> {
    loop {
        let get = api::GetBatchRequest {
            batch_id: id.to_owned(),
        };
        let state = checker
            .get_batch(get)
            .await?
            .into_inner()
            .batch
            .unwrap_or_default()
            .state();
        if matches!(
            state,
            api::BatchState::Completed | api::BatchState::PartiallyCompleted
        ) {
            return Ok(());
        }
        anyhow::ensure!(
            began.elapsed() < PATIENCE,
            "the batch does not end: {state:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Ids in no order, which is the hardest for an index.
fn instruction(number: u32, people: u32) -> api::Instruction {
    let scattered = scatter(u64::from(number), u64::MAX);
    api::Instruction {
        instruction_id: format!("{scattered:016X}"),
        functional_id: payee(number % people),
        amount: "12.50".to_owned(),
        currency: "USD".to_owned(),
        narration: "Household support".to_owned(),
        process_id: String::new(),
    }
}
