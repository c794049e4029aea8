//! The messaging block: takes messages in, delivers them by e-mail and tells what became of
//! each, without keeping a contact for longer than its delivery needs.
//!
//! Parts: `domain` holds the rules, `app` the use cases, `engine` the delivery, `smtp` the client
//! that hands mail over, `smpp` the one for short messages, `provider` the same over HTTP,
//! `store` the tables, `vault` the keys of content, `grpc` the services, `callbacks` the events
//! to originators. [`Messaging`] is the block that a host opens; [`sink`] is a local mail server
//! and [`smsc`] a local message centre, for trying out, tests and measurements.
//!
//! Leaves out: published REST shapes (the gateway's), and channels other than e-mail and short
//! messages, which docs/requirements/messaging.md lists.

mod app;
mod callbacks;
mod config;
mod domain;
mod engine;
mod error;
mod grpc;
mod policy;
mod provider;
mod sealed;
pub mod sink;
mod smpp;
pub mod smsc;
mod smtp;
mod store;
mod vault;

use std::path::Path;
use std::sync::Arc;

use publica_auth::{Access, DenialSink};
use publica_host::{Block, Env, OpenError, Profile, StorePlan};
use publica_journal::{Journal, JournalTail};
use publica_store::{Migrations, StoresConfig};
use publica_types::{Secret, Tenant};
use publica_work::Worker;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

pub use config::{
    AnswerConfig, CallbackConfig, CentreConfig, HeaderConfig, LimitConfig, MessagingConfig,
    PriceConfig, ProviderConfig, RelayConfig, ReportConfig, SenderConfig, SigningConfig, SmsConfig,
};
pub use domain::address::mailbox;

use crate::app::{App, Parts};
use crate::callbacks::{Callbacks, Rules};
use crate::engine::{CentreLine, ProviderLine};

/// The messaging block.
pub struct Messaging {
    app: App,
}

/// All tables of the block's store.
pub(crate) fn migrations() -> Migrations {
    Migrations::new(Messaging::NAME)
        .with(publica_store::MIGRATIONS)
        .with(publica_seal::MIGRATIONS)
        .with(publica_journal::MIGRATIONS)
        .with(publica_work::MIGRATIONS)
        .block(store::MIGRATIONS)
}

fn failed<E>(doing: &'static str) -> impl Fn(E) -> OpenError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| OpenError::new(Messaging::NAME, doing, error)
}

/// Who takes our short messages.
fn sms_lines(config: &SmsConfig) -> Result<(Vec<CentreLine>, Vec<ProviderLine>), OpenError> {
    let mut centres = Vec::new();
    for setting in &config.centres {
        centres.push(CentreLine {
            centre: setting.centre().map_err(failed("setting up its centres"))?,
            binds: setting.binds,
            window: setting.window,
            share: setting.share(),
        });
    }
    let mut providers = Vec::new();
    for setting in &config.providers {
        providers.push(ProviderLine {
            provider: setting
                .provider()
                .map_err(failed("setting up its providers"))?,
            window: setting.window,
            share: setting.share(),
        });
    }
    Ok((centres, providers))
}

impl Block for Messaging {
    const NAME: &'static str = "messaging";
    type Config = MessagingConfig;

    async fn open(config: MessagingConfig, env: &Env) -> Result<Self, OpenError> {
        if env.profile == Profile::Production && config.senders.is_empty() {
            let missing = "senders: who may send as whom must be said in production";
            return Err(failed("reading its settings")(missing));
        }
        for setting in config
            .signing
            .iter()
            .filter(|one| !one.key_pem.expose().is_empty())
        {
            app::key_of(setting).map_err(failed("reading its signing keys"))?;
        }
        let mut hops = Vec::new();
        for relay in [&config.relay, &config.second_relay] {
            hops.extend(relay.hop().map_err(failed("setting up its relay"))?);
        }
        let (centres, providers) = sms_lines(&config.sms)?;
        let keyring = env.keyring.scoped(Self::NAME);
        let secret = match config.callbacks.secret_bytes() {
            Ok(Some(secret)) => secret,
            // Stable over restarts and different in every installation.
            _ => keyring.lookup("callbacks", "signature"),
        };
        let rules = Rules {
            allow_private: config.callbacks.allow_private,
            secret: Secret::new(secret),
        };
        let tail = JournalTail::new(
            Self::NAME,
            &env.keyring,
            Arc::clone(&env.clock),
            Arc::clone(&env.entropy),
        );
        let plan = Self::stores(&config, &env.data_dir, &env.tenants);
        let stores = plan
            .open(env, tail.clone())
            .await
            .map_err(failed("opening its store"))?;
        let journal = Journal::new(
            &tail,
            stores.clone(),
            Arc::clone(&env.clock),
            Arc::clone(&env.entropy),
            config.journal.witnessed_in(&env.witness_dir),
        );
        let app = App::new(Parts {
            stores,
            keyring,
            journal,
            clock: Arc::clone(&env.clock),
            entropy: Arc::clone(&env.entropy),
            config,
            rules,
            hops,
            centres,
            providers,
        });
        for tenant in &env.tenants {
            app.house(tenant)
                .await
                .map_err(failed("preparing its delivery"))?;
        }
        if !app.has_hop() {
            tracing::warn!("no relay is set up: messages are accepted and wait");
        }
        Ok(Self { app })
    }

    fn stores(config: &MessagingConfig, data_dir: &Path, tenants: &[Tenant]) -> StorePlan {
        let database = config.database.clone();
        let database = database.or_sqlite(&data_dir.join("messaging.db"));
        StorePlan {
            config: StoresConfig::new(database, tenants.to_vec()),
            migrations: migrations(),
            sealed: [publica_journal::SEALED, sealed::SEALED].concat(),
        }
    }

    fn routes(&self) -> Routes {
        grpc::routes(&self.app)
    }

    async fn run(&self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        for tenant in self.app.stores().tenants() {
            match self.app.house(&tenant).await {
                Ok(house) => {
                    let stop = stop.clone();
                    let short = (Arc::clone(&house), stop.clone());
                    tracker.spawn(async move { house.engine.run(stop).await });
                    tracker.spawn(async move { short.0.sms.run(short.1).await });
                }
                Err(error) => tracing::error!(%error, "a tenant's delivery cannot run"),
            }
        }
        let callbacks = Callbacks {
            app: self.app.clone(),
            rules: self.app.rules().clone(),
        };
        let worker = Worker::new(
            self.app.stores().clone(),
            self.app.clock(),
            self.app.entropy(),
        );
        let worker = worker.on_with(callbacks::KIND, callbacks, callbacks::policy());
        tracker.spawn(worker.run(stop.clone()));
        let journal = self.app.journal().clone();
        // The journal goes on until delivery has written its last entries.
        let last = CancellationToken::new();
        let sequencing = {
            let last = last.clone();
            async move { journal.run(last).await }
        };
        tracker.close();
        tokio::join!(sequencing, async {
            tracker.wait().await;
            last.cancel();
        });
        self.app.close().await;
    }

    fn policy() -> &'static [(&'static str, Access)] {
        policy::POLICY
    }

    fn descriptors() -> &'static [&'static [u8]] {
        &[
            publica_proto::messaging::v1::FILE_DESCRIPTOR_SET,
            publica_proto::imports::v1::FILE_DESCRIPTOR_SET,
            publica_proto::journal::v1::FILE_DESCRIPTOR_SET,
            publica_proto::work::v1::FILE_DESCRIPTOR_SET,
        ]
    }

    async fn check(&self) -> Result<(), String> {
        for tenant in self.app.stores().tenants() {
            self.app
                .house(&tenant)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn denial_sink(&self) -> Option<Arc<dyn DenialSink>> {
        Some(Arc::new(self.app.journal().clone()))
    }
}
