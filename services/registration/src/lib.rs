//! The registration block: services with forms and rules, application files, the tasks of
//! operators, and the register that approvals write into.
//!
//! Parts: `domain` holds definitions, expressions, forms and flow; `app` the use cases; `store`
//! the tables; `grpc` the services. [`Registration`] is the block that a host opens.
//!
//! Leaves out: published REST shapes (the gateway's), and what is not built yet, which
//! docs/requirements/registration.md lists.

mod app;
mod config;
mod domain;
mod error;
mod grpc;
mod policy;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use publica_auth::{Access, DenialSink};
use publica_gate::{Gate, GateConfig};
use publica_host::{Block, Env, OpenError, StorePlan};
use publica_journal::{Journal, JournalTail};
use publica_proto::imports::v1::import_service_server::ImportServiceServer;
use publica_proto::registration::v1 as pb;
use publica_store::{Migrations, StoresConfig};
use publica_types::Tenant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use config::RegistrationConfig;

use crate::app::App;
use crate::grpc::Service;

/// The largest entity with its kind and its line.
const IMPORT_LIMIT: usize = publica_imports::MOST_BYTES + 1_024;

/// The registration block.
pub struct Registration {
    app: Arc<App>,
    journal: Journal,
}

fn migrations() -> Migrations {
    Migrations::new(Registration::NAME)
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
        .block(store::MIGRATIONS)
}

impl Block for Registration {
    const NAME: &'static str = "registration";
    type Config = RegistrationConfig;

    async fn open(config: RegistrationConfig, env: &Env) -> Result<Self, OpenError> {
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
        let peers = env.peers.clone();
        let gate = Gate::new(
            move || peers.link("consent"),
            env.clock.clone(),
            GateConfig {
                consumer: config.consent_consumer.clone(),
                keep_for: Duration::from_secs(config.consent_keep_seconds),
            },
        );
        let app = App {
            stores,
            keyring: env.keyring.clone(),
            journal: journal.clone(),
            clock: env.clock.clone(),
            entropy: env.entropy.clone(),
            gate,
            compiled: Mutex::new(HashMap::new()),
            services: RwLock::new(BTreeMap::new()),
        };
        Ok(Self {
            app: Arc::new(app),
            journal,
        })
    }

    fn stores(config: &RegistrationConfig, data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = config.database.clone();
        let database = database.or_sqlite(&data_dir.join("registration.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: migrations(),
            sealed: publica_journal::SEALED.to_vec(),
        }
    }

    fn routes(&self) -> Routes {
        use pb::{
            application_service_server::ApplicationServiceServer,
            catalog_service_server::CatalogServiceServer,
            document_service_server::DocumentServiceServer,
            registry_service_server::RegistryServiceServer,
            statistics_service_server::StatisticsServiceServer,
            task_service_server::TaskServiceServer,
        };
        let service = Service(self.app.clone());
        let routes = Routes::new(CatalogServiceServer::new(service.clone()))
            .add_service(ApplicationServiceServer::new(service.clone()))
            .add_service(TaskServiceServer::new(service.clone()))
            .add_service(DocumentServiceServer::new(service.clone()))
            .add_service(StatisticsServiceServer::new(service.clone()))
            .add_service(RegistryServiceServer::new(service.clone()))
            .add_service(ImportServiceServer::new(service).max_decoding_message_size(IMPORT_LIMIT));
        self.journal.add_services(routes)
    }

    async fn run(&self, stop: CancellationToken) {
        self.journal.run(stop).await;
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

    fn denial_sink(&self) -> Option<Arc<dyn DenialSink>> {
        Some(Arc::new(self.journal.clone()))
    }

    fn optional_peers() -> &'static [&'static str] {
        &["consent"]
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
}
