//! A block with its own store, and what a programme needs before it can pay.

use std::ops::Deref;

use publica_host::Profile;
use publica_payments::{Config, Payments};
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::account_service_client::AccountServiceClient;
use publica_proto::payments::v1::batch_service_client::BatchServiceClient;
use publica_proto::payments::v1::beneficiary_service_client::BeneficiaryServiceClient;
use publica_proto::payments::v1::programme_service_client::ProgrammeServiceClient;
use publica_proto::payments::v1::transfer_service_client::TransferServiceClient;
use publica_proto::payments::v1::voucher_service_client::VoucherServiceClient;
use publica_rpc::Link;
use publica_testkit::{TestBlock, TestDatabase, TestEnv, env, eventually, token_for, with_token};
use publica_types::{SharedClock, Tenant};
use tonic::{Code, Status};

pub(crate) const ALL: &[&str] = &["payments:*"];
pub(crate) const SOURCE: &str = "SOURCEBLOCK1";

/// Everything that a test needs; dropping it ends it.
pub(crate) struct World {
    pub(crate) block: TestBlock<Payments>,
    pub(crate) database: TestDatabase,
    clients: Clients,
    _env: TestEnv,
}

/// What a caller with all rights does, over their link.
pub(crate) struct Clients(pub(crate) Link);

impl Deref for World {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl World {
    /// The link of somebody else, with all rights.
    pub(crate) fn link_of(&self, subject: &str) -> Link {
        with_token(
            &self.block.link,
            &token_for(subject, ALL, &Tenant::default()),
        )
    }

    /// Has somebody else approve a batch.
    pub(crate) async fn approve(&self, batch: &api::Batch) -> Result<api::Batch, Status> {
        Clients(self.link_of("approver")).approve(batch).await
    }
}

pub(crate) async fn world(database: TestDatabase) -> World {
    world_with(database, None, |_| {}).await
}

/// A block with settings and a clock of the test's own.
pub(crate) async fn world_with(
    database: TestDatabase,
    clock: Option<SharedClock>,
    change: impl FnOnce(&mut Config),
) -> World {
    let mut env = env("payments");
    if let Some(clock) = clock {
        env = env.with_clock(clock);
    }
    world_in(database, env, change).await
}

/// A block in an environment of the test's own.
pub(crate) async fn world_in(
    database: TestDatabase,
    env: TestEnv,
    change: impl FnOnce(&mut Config),
) -> World {
    let mut config = Config {
        database: match env.profile {
            Profile::Production => database.production_config().await,
            _ => database.config(),
        },
        chunk_rows: 64,
        ..Config::default()
    };
    config.rail.latency_ms = 0;
    change(&mut config);
    let block = env.open::<Payments>(config).await.unwrap();
    let clients = Clients(block.as_caller(ALL));
    World {
        block,
        database,
        clients,
        _env: env,
    }
}

impl Clients {
    pub(crate) fn link(&self) -> Link {
        self.0.clone()
    }

    pub(crate) fn accounts(&self) -> AccountServiceClient<Link> {
        AccountServiceClient::new(self.link())
    }

    pub(crate) fn transfers(&self) -> TransferServiceClient<Link> {
        TransferServiceClient::new(self.link())
    }

    pub(crate) fn programmes(&self) -> ProgrammeServiceClient<Link> {
        ProgrammeServiceClient::new(self.link())
    }

    pub(crate) fn beneficiaries(&self) -> BeneficiaryServiceClient<Link> {
        let client = BeneficiaryServiceClient::new(self.link());
        client.max_encoding_message_size(64 << 20)
    }

    pub(crate) fn batches(&self) -> BatchServiceClient<Link> {
        BatchServiceClient::new(self.link())
    }

    pub(crate) fn vouchers(&self) -> VoucherServiceClient<Link> {
        VoucherServiceClient::new(self.link())
    }

    /// A funded programme `CASH` in US dollars with fall-back vouchers, and its source block.
    pub(crate) async fn programme(&self, funds_minor: i64, fallback: bool) -> api::Programme {
        let mut programmes = self.programmes();
        let account = programmes
            .create_funding_account(api::CreateFundingAccountRequest {
                name: "treasury".to_owned(),
                currency: "USD".to_owned(),
                ..Default::default()
            })
            .await
            .unwrap()
            .into_inner()
            .funding_account
            .unwrap();
        if funds_minor > 0 {
            self.deposit(&account.funding_account_id, funds_minor).await;
        }
        if fallback {
            self.group("FOOD", 0).await;
        }
        let fallback_voucher_group = if fallback { "FOOD" } else { "" }.to_owned();
        let programme = programmes
            .create_programme(api::CreateProgrammeRequest {
                code: "CASH".to_owned(),
                name: "Cash for households".to_owned(),
                currency: "USD".to_owned(),
                funding_account: "treasury".to_owned(),
                fallback_voucher_group,
                ..Default::default()
            })
            .await
            .unwrap()
            .into_inner()
            .programme
            .unwrap();
        let source = api::CreateSourceBlockRequest {
            source_id: SOURCE.to_owned(),
            name: "Registry of households".to_owned(),
            programme: "CASH".to_owned(),
            ..Default::default()
        };
        programmes.create_source_block(source).await.unwrap();
        programme
    }

    pub(crate) async fn deposit(&self, funding_account_id: &str, amount_minor: i64) {
        let deposit = api::DepositFundsRequest {
            funding_account_id: funding_account_id.to_owned(),
            amount_minor,
            ..Default::default()
        };
        self.programmes().deposit_funds(deposit).await.unwrap();
    }

    /// A voucher group with an account in US dollars.
    pub(crate) async fn group(&self, name: &str, funds_minor: i64) {
        let group = api::CreateVoucherGroupRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        self.vouchers().create_voucher_group(group).await.unwrap();
        let account = api::CreateFundingAccountRequest {
            currency: "USD".to_owned(),
            voucher_group: name.to_owned(),
            ..Default::default()
        };
        let account = self
            .programmes()
            .create_funding_account(account)
            .await
            .unwrap();
        let account = account.into_inner().funding_account.unwrap();
        if funds_minor > 0 {
            self.deposit(&account.funding_account_id, funds_minor).await;
        }
    }

    /// Registers payees with these addresses; an empty one is paid by voucher.
    pub(crate) async fn register(&self, request: &str, addresses: &[(usize, &str)]) {
        let beneficiaries = addresses
            .iter()
            .map(|(payee, address)| api::Beneficiary {
                functional_id: payee_id(*payee),
                financial_address: (*address).to_owned(),
                ..Default::default()
            })
            .collect();
        let request = api::RegisterBeneficiariesRequest {
            source_id: SOURCE.to_owned(),
            source_request: request.to_owned(),
            beneficiaries,
            ..Default::default()
        };
        let answer = self
            .beneficiaries()
            .register_beneficiaries(request)
            .await
            .unwrap();
        assert_eq!(answer.into_inner().failed_cases, []);
    }

    pub(crate) async fn create_batch(&self, request: &str) -> api::Batch {
        let answer = self
            .batches()
            .create_batch(new_batch(request))
            .await
            .unwrap();
        answer.into_inner().batch.unwrap()
    }

    pub(crate) async fn upload(
        &self,
        batch_id: &str,
        rows: Vec<api::Instruction>,
    ) -> Result<api::Batch, Status> {
        let message = api::UploadInstructionsRequest {
            batch_id: batch_id.to_owned(),
            first_ordinal: 0,
            instructions: rows,
            complete: true,
        };
        let answer = self
            .batches()
            .upload_instructions(futures::stream::iter([message]))
            .await?;
        Ok(answer.into_inner().batch.unwrap())
    }

    pub(crate) async fn approve(&self, batch: &api::Batch) -> Result<api::Batch, Status> {
        let request = api::ApproveBatchRequest {
            batch_id: batch.batch_id.clone(),
            digest: batch.digest.clone(),
            ..Default::default()
        };
        let answer = self.batches().approve_batch(request).await?;
        Ok(answer.into_inner().batch.unwrap())
    }

    pub(crate) async fn batch(&self, batch_id: &str) -> api::Batch {
        let request = api::GetBatchRequest {
            batch_id: batch_id.to_owned(),
        };
        self.batches()
            .get_batch(request)
            .await
            .unwrap()
            .into_inner()
            .batch
            .unwrap()
    }

    /// Waits until a batch is in this state.
    pub(crate) async fn reaches(&self, batch_id: &str, state: api::BatchState) -> api::Batch {
        eventually(|| async {
            let batch = self.batch(batch_id).await;
            (batch.state() == state).then_some(batch)
        })
        .await
    }

    pub(crate) async fn report(&self, batch_id: &str) -> api::GetBatchReportResponse {
        let request = api::GetBatchReportRequest {
            batch_id: batch_id.to_owned(),
        };
        self.batches()
            .get_batch_report(request)
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn account(&self, code: &str) -> api::Account {
        let request = api::GetAccountRequest {
            account: code.to_owned(),
            ..Default::default()
        };
        self.accounts()
            .get_account(request)
            .await
            .unwrap()
            .into_inner()
            .account
            .unwrap()
    }

    pub(crate) async fn balance(&self, code: &str) -> i64 {
        let account = self.account(code).await;
        account.credits_posted - account.debits_posted
    }

    /// Adds up the whole ledger.
    pub(crate) async fn assert_balanced(&self) {
        let check = self
            .accounts()
            .check_ledger(api::CheckLedgerRequest {})
            .await;
        let check = check.unwrap().into_inner();
        assert!(check.balanced, "{check:?}");
    }
}

pub(crate) fn payee_id(number: usize) -> String {
    format!("PAYEE{number:015}")
}

pub(crate) fn new_batch(request: &str) -> api::CreateBatchRequest {
    api::CreateBatchRequest {
        source_id: SOURCE.to_owned(),
        source_request: request.to_owned(),
        source_batch: "BATCH0000001".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn instruction(number: usize, payee: usize, amount: &str) -> api::Instruction {
    api::Instruction {
        instruction_id: format!("INSTR{number:011}"),
        functional_id: payee_id(payee),
        amount: amount.to_owned(),
        currency: "USD".to_owned(),
        narration: "March".to_owned(),
        process_id: String::new(),
    }
}

pub(crate) fn tally(item_count: i64, amount_minor: i64) -> Option<api::Tally> {
    Some(api::Tally {
        item_count,
        amount_minor,
    })
}

/// A refusal's code and reason.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (
        status.code(),
        publica_rpc::reason(&status).unwrap_or_default(),
    )
}
