//! The payments block: a double-entry ledger, the account mapper, batches and vouchers.
//!
//! Parts: `domain` holds the rules and state machines, `app` the use cases, `store` the tables,
//! `grpc` the services, `rail` the way to payees' institutions, `jobs` the background work.
//! [`Payments`] is the block that a host opens.
//!
//! Leaves out: published REST shapes (the gateway's), payment schemes (their operators'), and
//! what is not built yet, which docs/requirements/payments.md lists.

mod app;
mod config;
mod domain;
mod error;
mod grpc;
mod jobs;
mod policy;
mod rail;
mod receipt;
mod sealed;
mod store;

use std::path::Path;
use std::sync::{Arc, Mutex};

use publica_auth::{Access, DenialSink};
use publica_host::{Block, Env, OpenError, Profile, StorePlan};
use publica_journal::{Journal, JournalTail};
use publica_proto::imports::v1::import_service_server::ImportServiceServer;
use publica_proto::payments::v1 as pb;
use publica_store::{Migrations, StoresConfig};
use publica_types::Tenant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use receipt::{
    Proven, ProvenBalance, ReceiptFault, is_balance, verify_balance, verify_receipt,
};

pub use config::{
    CallbackConfig, ChargeBearer, Config, FileRailConfig, MobileMoneyConfig, OauthConfig,
    RailConfig, RailOutcome, RailRule, RailSettings, SourceMode,
};

use crate::app::App;
use crate::domain::guess::Guesses;
use crate::grpc::Service;

/// The largest message that is taken: a request with 100,000 beneficiaries.
const MAX_MESSAGE: usize = 64 << 20;

/// The payments block.
pub struct Payments {
    app: Arc<App>,
    journal: Journal,
}

fn migrations() -> Migrations {
    Migrations::new(Payments::NAME)
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
        .block(store::MIGRATIONS)
}

impl Block for Payments {
    const NAME: &'static str = "payments";
    type Config = Config;

    async fn open(config: Config, env: &Env) -> Result<Self, OpenError> {
        let tail = JournalTail::new(
            Self::NAME,
            &env.keyring,
            env.clock.clone(),
            env.entropy.clone(),
        );
        let plan = Self::stores(&config, &env.data_dir, &env.tenants);
        let stores = plan
            .open(env, tail.clone())
            .await
            .map_err(|error| OpenError::new(Self::NAME, "opening its store", error))?;
        let journal = Journal::new(
            &tail,
            stores.clone(),
            env.clock.clone(),
            env.entropy.clone(),
            config.journal.witnessed_in(&env.witness_dir),
        );
        let open_partners = config
            .open_partners
            .unwrap_or(env.profile != Profile::Production);
        let rails = rail::Rails::new(&stores, &env.keyring, &config, env.profile)
            .map_err(|error| OpenError::new(Self::NAME, "preparing its rails", error))?;
        let app = App {
            stores,
            keyring: env.keyring.clone(),
            journal: journal.clone(),
            clock: env.clock.clone(),
            entropy: env.entropy.clone(),
            config,
            rails,
            open_targets: env.profile == Profile::Conformance,
            open_partners,
            guesses: Guesses::default(),
            gathers: Mutex::default(),
        };
        Ok(Self {
            app: Arc::new(app),
            journal,
        })
    }

    fn stores(config: &Config, data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = config.database.clone();
        let database = database.or_sqlite(&data_dir.join("payments.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: migrations(),
            sealed: [publica_journal::SEALED, sealed::SEALED].concat(),
        }
    }

    fn routes(&self) -> Routes {
        use pb::{
            account_service_server::AccountServiceServer, batch_service_server::BatchServiceServer,
            beneficiary_service_server::BeneficiaryServiceServer,
            bill_service_server::BillServiceServer, period_service_server::PeriodServiceServer,
            programme_service_server::ProgrammeServiceServer,
            reconciliation_service_server::ReconciliationServiceServer,
            transfer_service_server::TransferServiceServer,
            voucher_service_server::VoucherServiceServer,
        };
        let service = Service(self.app.clone());
        let beneficiaries = BeneficiaryServiceServer::new(service.clone());
        let routes = Routes::new(AccountServiceServer::new(service.clone()))
            .add_service(TransferServiceServer::new(service.clone()))
            .add_service(PeriodServiceServer::new(service.clone()))
            .add_service(ProgrammeServiceServer::new(service.clone()))
            .add_service(beneficiaries.max_decoding_message_size(MAX_MESSAGE))
            .add_service(BatchServiceServer::new(service.clone()))
            .add_service(VoucherServiceServer::new(service.clone()))
            .add_service(BillServiceServer::new(service.clone()))
            .add_service(ReconciliationServiceServer::new(service.clone()))
            .add_service(ImportServiceServer::new(service));
        self.journal.add_services(routes)
    }

    async fn run(&self, stop: CancellationToken) {
        // The journal goes on until the work in hand has written its last entries.
        let last = CancellationToken::new();
        let journal = self.journal.run(last.clone());
        let jobs = async {
            jobs::run(self.app.clone(), stop).await;
            last.cancel();
        };
        futures::join!(journal, jobs);
        self.app.stores.close().await;
    }

    fn policy() -> &'static [(&'static str, Access)] {
        policy::POLICY
    }

    fn descriptors() -> &'static [&'static [u8]] {
        &[
            pb::FILE_DESCRIPTOR_SET,
            publica_proto::imports::v1::FILE_DESCRIPTOR_SET,
            publica_proto::journal::v1::FILE_DESCRIPTOR_SET,
            publica_proto::work::v1::FILE_DESCRIPTOR_SET,
        ]
    }

    async fn check(&self) -> Result<(), String> {
        for tenant in self.app.stores.tenants() {
            let db = self
                .app
                .stores
                .of(&tenant)
                .await
                .map_err(|error| error.to_string())?;
            store::ping(&db).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn denial_sink(&self) -> Option<Arc<dyn DenialSink>> {
        Some(Arc::new(self.journal.clone()))
    }
}
