//! The signature block: its own certification hierarchy, seals of organisations, one-time
//! signatures of persons, time-stamps, and validation.
//!
//! Parts: `domain` holds the formats (DER, X.509, CMS, RFC 3161, PDF) and the judging of
//! signatures; `app` the use cases; `store` the tables; `grpc` the services. [`Signature`] is
//! the block that a host opens.
//!
//! Leaves out: published REST shapes (the gateway's), and what is not built yet, which
//! docs/requirements/signature.md lists.

mod app;
mod config;
mod domain;
mod error;
mod grpc;
mod policy;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use publica_auth::{Access, DenialSink};
use publica_host::{Block, Env, OpenError};
use publica_journal::{Journal, JournalTail};
use publica_proto::imports::v1::import_service_server::ImportServiceServer;
use publica_proto::signature::v1 as pb;
use publica_store::{Migrations, Stores, StoresConfig};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use config::SignatureConfig;

use crate::app::App;
use crate::grpc::Service;

/// The largest message: a batch of documents, with room for what sealing adds.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The signature block.
pub struct Signature {
    app: Arc<App>,
    journal: Journal,
}

fn migrations() -> Migrations {
    Migrations::new(Signature::NAME)
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
        .block(store::MIGRATIONS)
}

impl Block for Signature {
    const NAME: &'static str = "signature";
    type Config = SignatureConfig;

    async fn open(mut config: SignatureConfig, env: &Env) -> Result<Self, OpenError> {
        config.database = config
            .database
            .or_sqlite(&env.data_dir.join("signature.db"));
        let tail = JournalTail::new(
            Self::NAME,
            &env.keyring,
            env.clock.clone(),
            env.entropy.clone(),
        );
        let settings = StoresConfig::new(config.database.clone(), env.tenants.clone());
        let stores = Stores::open(settings, migrations(), env.clock.clone(), tail.clone())
            .await
            .map_err(|error| OpenError::new(Self::NAME, "opening its store", error))?;
        let journal = Journal::new(
            &tail,
            stores.clone(),
            env.clock.clone(),
            env.entropy.clone(),
            config.journal.witnessed_in(&env.witness_dir),
        );
        let app = App {
            stores,
            keyring: env.keyring.clone(),
            journal: journal.clone(),
            clock: env.clock.clone(),
            entropy: env.entropy.clone(),
            config,
            authorities: Mutex::new(HashMap::new()),
            lists: Mutex::new(HashMap::new()),
            seals: Mutex::new(HashMap::new()),
        };
        Ok(Self {
            app: Arc::new(app),
            journal,
        })
    }

    async fn migrate(mut config: SignatureConfig, env: &Env) -> Result<(), OpenError> {
        config.database = config
            .database
            .or_sqlite(&env.data_dir.join("signature.db"));
        let settings = StoresConfig::new(config.database, env.tenants.clone());
        Stores::migrate(settings, &migrations(), &env.clock)
            .await
            .map(drop)
            .map_err(|error| OpenError::new(Self::NAME, "bringing its store up to date", error))
    }

    fn routes(&self) -> Routes {
        use pb::certificate_service_server::CertificateServiceServer;
        use pb::credential_service_server::CredentialServiceServer;
        use pb::signing_service_server::SigningServiceServer;
        use pb::timestamp_authority_service_server::TimestampAuthorityServiceServer;
        use pb::validation_service_server::ValidationServiceServer;

        let service = Service(self.app.clone());
        let signing = SigningServiceServer::new(service.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let validation =
            ValidationServiceServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE);
        let routes = Routes::new(CredentialServiceServer::new(service.clone()))
            .add_service(CertificateServiceServer::new(service.clone()))
            .add_service(signing)
            .add_service(TimestampAuthorityServiceServer::new(service.clone()))
            .add_service(validation)
            .add_service(ImportServiceServer::new(service));
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
