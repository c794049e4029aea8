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
mod sealed;
mod store;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use publica_auth::{Access, DenialSink};
use publica_host::{Block, Env, OpenError, StorePlan};
use publica_journal::{Journal, JournalTail};
use publica_proto::imports::v1::import_service_server::ImportServiceServer;
use publica_proto::signature::v1 as pb;
use publica_store::{Migrations, StoresConfig};
use publica_types::Tenant;
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

    async fn open(config: SignatureConfig, env: &Env) -> Result<Self, OpenError> {
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

    fn stores(config: &SignatureConfig, data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = config.database.clone();
        let database = database.or_sqlite(&data_dir.join("signature.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: migrations(),
            sealed: [publica_journal::SEALED, sealed::SEALED].concat(),
        }
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
