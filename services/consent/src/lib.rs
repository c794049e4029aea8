//! The consent block: policies, data agreements, people, their answers with signatures, and
//! decisions about the use of personal data.
//!
//! Parts: `domain` holds the rules (what is valid, what a snapshot holds, when a signature
//! fits, how a use is decided), `app` the use cases, `store` the tables, `grpc` the services.
//! [`Consent`] is the block that a host opens.
//!
//! Leaves out: published REST shapes (the gateway's), authentication (the layers' around it),
//! and what is not built yet, which docs/requirements/consent.md lists.

mod app;
mod config;
mod domain;
mod error;
mod grpc;
mod policy;
mod sealed;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use publica_auth::{Access, DenialSink};
use publica_host::{Block, Env, OpenError, Profile, StorePlan};
use publica_journal::{Journal, JournalTail};
use publica_store::{Migrations, Stores, StoresConfig};
use publica_types::Tenant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use config::{ConsentConfig, NoticeConfig, NoticeText, ProviderConfig};

use crate::app::App;

/// The consent block.
pub struct Consent {
    app: App,
    stores: Stores,
}

fn migrations() -> Migrations {
    Migrations::new(Consent::NAME)
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
        .block(store::MIGRATIONS)
}

impl Block for Consent {
    const NAME: &'static str = "consent";
    type Config = ConsentConfig;

    async fn open(config: ConsentConfig, env: &Env) -> Result<Self, OpenError> {
        if config.trust_on_first_use && env.profile == Profile::Production {
            let why = "trust_on_first_use believes whoever signs first";
            return Err(OpenError::new(Self::NAME, "reading its settings", why));
        }
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
        let app = App::new(stores.clone(), env, config.rules(), journal);
        Ok(Self { app, stores })
    }

    fn stores(config: &ConsentConfig, data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = config.database.clone();
        let database = database.or_sqlite(&data_dir.join("consent.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: migrations(),
            sealed: [publica_journal::SEALED, sealed::SEALED].concat(),
        }
    }

    fn routes(&self) -> Routes {
        self.app.journal().add_services(grpc::routes(&self.app))
    }

    async fn run(&self, stop: CancellationToken) {
        self.app.say_what_is_missing();
        let tenants = self.stores.tenants();
        tokio::join!(
            self.app.journal().run(stop.clone()),
            self.app.keep_time(&tenants, &stop),
            self.app.follow_revocations(&tenants, &stop),
            self.app.tell_people(stop.clone()),
        );
    }

    fn optional_peers() -> &'static [&'static str] {
        app::PEERS
    }

    fn policy() -> &'static [(&'static str, Access)] {
        policy::POLICY
    }

    fn descriptors() -> &'static [&'static [u8]] {
        &[
            publica_proto::consent::v1::FILE_DESCRIPTOR_SET,
            publica_proto::imports::v1::FILE_DESCRIPTOR_SET,
            publica_proto::journal::v1::FILE_DESCRIPTOR_SET,
            publica_proto::work::v1::FILE_DESCRIPTOR_SET,
        ]
    }

    async fn check(&self) -> Result<(), String> {
        for tenant in self.stores.tenants() {
            let shop = self
                .app
                .shop(&tenant)
                .await
                .map_err(|error| error.to_string())?;
            store::ping(&shop.db)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn concern(&self) -> Option<String> {
        self.app.concern()
    }

    fn denial_sink(&self) -> Option<Arc<dyn DenialSink>> {
        Some(Arc::new(self.app.journal().clone()))
    }
}
