//! What a block is, and what it is given.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use publica_auth::{Access, DenialSink, TokenSource};
use publica_config::Settings;
use publica_rpc::Peers;
use publica_seal::{Keyring, Purpose};
use publica_store::{Migrations, StoreError, Stores, StoresConfig, Tail};
use publica_types::{SharedClock, SharedEntropy, Tenant};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

/// A building block: its store, its services and its background work. It opens no port; a host
/// serves what it offers.
pub trait Block: Sized + Send + Sync + 'static {
    /// Its name, as in `publica.<name>.v1`.
    const NAME: &'static str;

    /// Its settings, the table `[<name>]` of the settings file.
    type Config: Settings + Send;

    /// Makes the block ready to answer. The store's own tasks are all that may be running when
    /// this returns; peers are named, not called.
    fn open(
        config: Self::Config,
        env: &Env,
    ) -> impl Future<Output = Result<Self, OpenError>> + Send;

    /// Its services. The host wraps them in authentication, limits and deadlines.
    fn routes(&self) -> Routes;

    /// Background work; returns once `stop` is cancelled and the work in hand is safe.
    fn run(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send;

    /// Who may call what, by path (`/publica.<name>.v1.Service/Method`). What is not listed is
    /// denied to everybody.
    fn policy() -> &'static [(&'static str, Access)];

    /// The compiled definitions of all services in [`Block::routes`], such as
    /// `publica_proto::payments::v1::FILE_DESCRIPTOR_SET`: for reflection, health and metrics.
    fn descriptors() -> &'static [&'static [u8]];

    /// Whether the block can serve: its own store and schema, never its peers. Says why not.
    fn check(&self) -> impl Future<Output = Result<(), String>> + Send {
        async { Ok(()) }
    }

    /// What an operator must look into though the block serves, if there is anything. `/readyz`
    /// then says `degraded` and stays green, since taking the block away would help nobody.
    fn concern(&self) -> Option<String> {
        None
    }

    /// Where denials and refusals of known callers are journalled before the answer leaves.
    fn denial_sink(&self) -> Option<Arc<dyn DenialSink>> {
        None
    }

    /// Peers without which some calls are refused; said at start and in `/readyz`.
    fn optional_peers() -> &'static [&'static str] {
        &[]
    }

    /// Its stores under these settings, embedded ones in `data_dir` unless they say otherwise.
    /// The block opens them so, and tools find them so.
    fn stores(config: &Self::Config, data_dir: &Path, tenants: &[Tenant]) -> StorePlan;

    /// Brings the schema of every tenant's store up to date and stops, for `publica migrate`.
    /// Opening is not enough: on PostgreSQL it is done as the schema's owner, and only here.
    fn migrate(
        config: &Self::Config,
        env: &Env,
    ) -> impl Future<Output = Result<(), OpenError>> + Send {
        let plan = Self::stores(config, &env.data_dir, &env.tenants);
        async move {
            Stores::migrate(plan.config, &plan.migrations, &env.clock)
                .await
                .map(drop)
                .map_err(|error| OpenError::new(Self::NAME, "bringing its store up to date", error))
        }
    }
}

/// The stores of a block and what is in them.
#[derive(Debug, Clone)]
pub struct StorePlan {
    /// Where they are, and whose.
    pub config: StoresConfig,
    /// Their tables.
    pub migrations: Migrations,
    /// What is sealed in them with keys of the block, for a change of keys.
    pub sealed: Vec<&'static Purpose>,
}

impl StorePlan {
    /// Opens the stores for a server. In production PostgreSQL's own rights must keep it from
    /// rewriting what is append-only.
    pub async fn open(self, env: &Env, tail: Arc<dyn Tail>) -> Result<Stores, StoreError> {
        let mut config = self.config;
        config.guarded = env.profile == Profile::Production;
        Stores::open(config, self.migrations, Arc::clone(&env.clock), tail).await
    }
}

/// Everything a block is given from outside.
#[derive(Debug, Clone)]
pub struct Env {
    /// The only source of time.
    pub clock: SharedClock,
    /// The only source of randomness.
    pub entropy: SharedEntropy,
    /// The way to other blocks, with this block's identity.
    pub peers: Peers,
    /// Where this block keeps its files: `<data>/<block>`. It exists.
    pub data_dir: PathBuf,
    /// Where journals leave their last checkpoints, apart from the stores: a store that is brought
    /// back from a copy must not bring them back with it. It may not exist yet.
    pub witness_dir: PathBuf,
    /// Which rules of caution hold.
    pub profile: Profile,
    /// Keys for personal data at rest.
    pub keyring: Keyring,
    /// Mints workload tokens.
    pub tokens: TokenSource,
    /// Tracks every task, so that shutdown can wait for it.
    pub tracker: TaskTracker,
    /// The tenants, `default` alone unless configured.
    pub tenants: Vec<Tenant>,
}

/// Which rules of caution hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For trying out: loopback only, keys made on first start, authentication on.
    #[default]
    Local,
    /// For service: TLS 1.3, no defaults for secrets, no anonymous call.
    Production,
    /// For the published test suites, which send no credentials: loopback only, and anonymous
    /// callers hold a named role.
    Conformance,
}

impl Profile {
    /// The name, as in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Production => "production",
            Self::Conformance => "conformance",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Local, Self::Production, Self::Conformance]
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or_else(|| format!("{text} is none of local, production, conformance"))
    }
}

/// A block that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("{block} cannot be opened while {doing}")]
pub struct OpenError {
    block: &'static str,
    doing: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl OpenError {
    /// Says which block could not be opened, what it was doing (`opening its store`), and why.
    pub fn new(
        block: &'static str,
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            block,
            doing: doing.into(),
            source: source.into(),
        }
    }
}
