//! The identity block: people, the identifiers and factors they have, relying parties, and
//! signing in with OpenID Connect.
//!
//! Parts: `domain` holds the rules and state machines, `app` the use cases, `store` the tables,
//! `grpc` the services, `jobs` the background work. [`Identity`] is the block that a host opens.
//!
//! Leaves out: published REST shapes and pages (the gateway's), delivery of mail (messaging's),
//! and what is not built yet, which docs/requirements/identity.md lists.

mod app;
mod certificate;
mod config;
mod convert;
mod domain;
mod error;
mod grpc;
mod jobs;
mod policy;
mod sealed;
mod store;

use std::path::Path;
use std::sync::Arc;

use publica_auth::{Access, DenialSink};
use publica_host::{Block, Env, OpenError, StorePlan};
use publica_journal::{Journal, JournalTail};
use publica_store::{Migrations, StoresConfig};
use publica_types::Tenant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use config::{CodeConfig, IdentityConfig, KeyConfig, MailConfig, SignInConfig};
pub use domain::identifier::is_email;

use crate::app::{App, Parts};

/// The identity block.
pub struct Identity {
    app: App,
}

fn migrations() -> Migrations {
    Migrations::new(Identity::NAME)
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
        .block(store::MIGRATIONS)
}

impl Block for Identity {
    const NAME: &'static str = "identity";
    type Config = IdentityConfig;

    async fn open(config: IdentityConfig, env: &Env) -> Result<Self, OpenError> {
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
        let keyring = env.keyring.clone();
        let journal = Journal::new(
            &tail,
            stores.clone(),
            env.clock.clone(),
            env.entropy.clone(),
            config.journal.witnessed_in(&env.witness_dir),
        );
        let app = App::new(Parts {
            profile: env.profile,
            stores,
            keyring,
            journal,
            peers: env.peers.clone(),
            clock: env.clock.clone(),
            entropy: env.entropy.clone(),
            keys: app::Keys::default(),
            config,
        });
        Ok(Self { app })
    }

    fn stores(config: &IdentityConfig, data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = config.database.clone();
        let database = database.or_sqlite(&data_dir.join("identity.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: migrations(),
            sealed: [publica_journal::SEALED, sealed::SEALED].concat(),
        }
    }

    fn routes(&self) -> Routes {
        self.app.journal.add_services(grpc::routes(&self.app))
    }

    async fn run(&self, stop: CancellationToken) {
        jobs::run(self.app.clone(), stop).await;
    }

    fn policy() -> &'static [(&'static str, Access)] {
        policy::POLICY
    }

    fn descriptors() -> &'static [&'static [u8]] {
        &[
            publica_proto::identity::v1::FILE_DESCRIPTOR_SET,
            publica_proto::imports::v1::FILE_DESCRIPTOR_SET,
            publica_proto::journal::v1::FILE_DESCRIPTOR_SET,
            publica_proto::work::v1::FILE_DESCRIPTOR_SET,
        ]
    }

    async fn check(&self) -> Result<(), String> {
        let tenants = self.app.stores.tenants();
        for tenant in &tenants {
            let db = self
                .app
                .of(tenant)
                .await
                .map_err(|error| error.to_string())?;
            store::ping(&db).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn denial_sink(&self) -> Option<Arc<dyn DenialSink>> {
        Some(Arc::new(self.app.journal.clone()))
    }

    fn optional_peers() -> &'static [&'static str] {
        &["messaging"]
    }
}
