//! What all roles of a process share, and a block opened on it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use publica_auth::{AnonymousRole, TokenSource, Verifier};
use publica_gateway::{GatewayState, state as gateway};
use publica_host::{
    Block, Env, Mounted, OpenError, Profile, Readiness, ServerConfig, Stages, mount, reflect,
};
use publica_rpc::{Peers, WorkloadCredentials};
use publica_seal::{Keyring, SealConfig};
use publica_telemetry::Telemetry;
use publica_types::{SharedClock, SharedEntropy, SystemEntropy, Tenant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::settings::Suite;

/// Files of the keys that a suite shares.
pub(crate) const SEAL_KEYS: &str = "seal.json";
pub(crate) const WORKLOAD_KEY: &str = "workload.jwk";

/// What all roles of a process share.
pub(crate) struct Base {
    pub(crate) profile: Profile,
    pub(crate) data: PathBuf,
    witness: PathBuf,
    pub(crate) server: ServerConfig,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) peers: Peers,
    pub(crate) tokens: TokenSource,
    pub(crate) verifier: Arc<Verifier>,
    keyring: Keyring,
    pub(crate) tracker: TaskTracker,
    pub(crate) stages: Stages,
    pub(crate) readiness: Readiness,
    busy: Arc<Mutex<BTreeSet<&'static str>>>,
    /// The health service, which needs no caller.
    pub(crate) health: Routes,
}

/// A block that is open.
pub(crate) struct Part {
    pub(crate) mounted: Mounted,
    run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl Base {
    /// Makes the data folder, reads or makes the keys, and enters the peers.
    pub(crate) fn new(suite: &Suite, clock: SharedClock) -> Result<Self> {
        private_folder(&suite.data)?;
        let entropy: SharedEntropy = Arc::new(SystemEntropy);
        let keys = suite.data.join("keys");
        private_folder(&keys)?;
        let keyring = Keyring::open(&seal(suite, &keys), entropy.clone())
            .context("reading the keys of personal data")?;
        let key = suite
            .workload_key
            .clone()
            .unwrap_or_else(|| workload_key(&suite.data));
        let tokens = tokens(&key, clock.clone(), entropy.clone())?;
        let verifier = verifier(suite, &tokens, &clock)?;
        let peers = Peers::new();
        for (name, peer) in &suite.peers {
            let link = peer.link().with_context(|| format!("the peer {name}"))?;
            peers.register(name, link);
        }
        let (readiness, health) = Readiness::new();
        Ok(Self {
            profile: suite.profile,
            data: suite.data.clone(),
            witness: suite.witness(),
            server: suite.server.clone(),
            tenants: suite.tenants.clone(),
            clock,
            entropy,
            peers,
            tokens,
            verifier,
            keyring,
            tracker: TaskTracker::new(),
            stages: Stages::new(),
            readiness,
            busy: Arc::default(),
            health,
        })
    }

    /// What a block is given.
    pub(crate) fn env<B: Block>(&self) -> Result<Env, OpenError> {
        let data_dir = self.data.join(B::NAME);
        private_folder(&data_dir)
            .map_err(|error| OpenError::new(B::NAME, "making its data folder", error))?;
        let credentials = WorkloadCredentials::new(self.tokens.clone(), B::NAME);
        Ok(Env {
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            peers: self.peers.identified_by(Arc::new(credentials)),
            data_dir,
            witness_dir: self.witness.clone(),
            profile: self.profile,
            keyring: self.keyring.scoped(B::NAME),
            tokens: self.tokens.clone(),
            tracker: self.tracker.clone(),
            tenants: self.tenants.clone(),
        })
    }

    /// Opens a block and puts its layers around it.
    pub(crate) async fn open<B: Block>(&self, config: B::Config) -> Result<Part, OpenError> {
        let env = self.env::<B>()?;
        private_folder(&env.witness_dir)
            .map_err(|error| OpenError::new(B::NAME, "making the folder of witnesses", error))?;
        let block = Arc::new(B::open(config, &env).await?);
        let mut open = self.health.clone();
        if self.server.reflects(self.profile) {
            open = reflect(open, B::descriptors())
                .map_err(|error| OpenError::new(B::NAME, "describing its services", error))?;
        }
        let limits = self.server.limits();
        let mounted = mount(
            &*block,
            open,
            self.verifier.clone(),
            &self.tenants,
            limits,
            &self.stages,
            &*self.entropy,
        );
        let checked = block.clone();
        self.readiness
            .add(&mounted, move || {
                let block = checked.clone();
                Box::pin(async move { block.check().await })
            })
            .await;
        let watched = block.clone();
        self.readiness
            .watch(mounted.name, move || watched.concern());
        let run = move |stop| -> BoxFuture<'static, ()> {
            Box::pin(async move { block.run(stop).await })
        };
        Ok(Part {
            mounted,
            run: Box::new(run),
        })
    }

    /// Says which peers a block would like and does not have.
    pub(crate) fn note_missing_peers(&self, block: &str, wanted: &[&str]) {
        for peer in wanted.iter().filter(|peer| !self.peers.is_configured(peer)) {
            tracing::warn!(
                block,
                peer,
                "a peer is not configured; calls that need it are refused"
            );
            self.readiness.missing_peer(block, peer);
        }
    }

    /// Starts a block's background work.
    pub(crate) fn start(&self, part: Part) {
        let (name, busy) = (part.mounted.name, self.busy.clone());
        lock(&busy).insert(name);
        let work = (part.run)(self.stages.stop_token());
        self.tracker.spawn(async move {
            work.await;
            lock(&busy).remove(name);
        });
    }

    /// Blocks whose background work has not ended.
    pub(crate) fn busy(&self) -> String {
        lock(&self.busy)
            .iter()
            .copied()
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Keeps the keys of trusted issuers fresh.
    pub(crate) fn watch_issuers(&self) {
        let (verifier, stop) = (self.verifier.clone(), self.stages.stop_token());
        self.tracker.spawn(async move { verifier.run(stop).await });
    }

    /// Folds metrics every few seconds until the process stops.
    pub(crate) fn keep_metrics(&self, telemetry: Telemetry) {
        let stop = self.stages.stop_token();
        self.tracker.spawn(async move {
            while !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(std::time::Duration::from_secs(5)) => {}
                }
                telemetry.upkeep();
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keys of personal data for a tool, which makes none.
pub(crate) fn keyring(suite: &Suite, entropy: SharedEntropy) -> Result<Keyring> {
    let config = SealConfig {
        create: false,
        ..seal(suite, &suite.data.join("keys"))
    };
    Keyring::open(&config, entropy).context("reading the keys of personal data")
}

/// Outside production, missing keys are made on first start.
fn seal(suite: &Suite, keys: &Path) -> SealConfig {
    let mut config = suite.seal.clone();
    if suite.profile != Profile::Production && config.file.is_none() && config.keys.is_none() {
        config.file = Some(keys.join(SEAL_KEYS));
        config.create = true;
    }
    config
}

/// Makes a folder that only its owner can enter.
pub(crate) fn private_folder(folder: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("making the folder {}", folder.display()))
}

/// Refuses a folder that holds anything; one that does not exist is as good as an empty one.
pub(crate) fn ensure_empty(folder: &Path) -> Result<()> {
    let shown = || folder.display().to_string();
    match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(shown),
        Ok(mut entries) => {
            let empty = entries.next().is_none();
            anyhow::ensure!(empty, "{} is not empty", shown());
            Ok(())
        }
    }
}

/// Makes a file that only its owner can read; one that exists is refused.
pub(crate) fn new_private_file(path: &Path) -> Result<fs::File> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("making {}", path.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn private_file(path: &Path, content: &str) -> Result<()> {
    use std::io::Write as _;
    let passing = path.with_extension("tmp");
    let written = || -> std::io::Result<()> {
        // An older file may be readable by others; a new one never is.
        let _ = fs::remove_file(&passing);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&passing)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&passing, path)
    };
    written().with_context(|| format!("writing {}", path.display()))
}

/// The suite's own issuer, by which blocks prove themselves to each other.
pub(crate) fn tokens(
    key: &Path,
    clock: SharedClock,
    entropy: SharedEntropy,
) -> Result<TokenSource> {
    TokenSource::open(key, clock, entropy).context("reading the key of workload tokens")
}

/// Where the key of workload tokens is, unless the settings say otherwise.
pub(crate) fn workload_key(data: &Path) -> PathBuf {
    data.join("keys").join(WORKLOAD_KEY)
}

/// Whom this process believes: configured issuers, the suite itself, and the identity block
/// that runs beside it.
fn verifier(suite: &Suite, tokens: &TokenSource, clock: &SharedClock) -> Result<Arc<Verifier>> {
    let verifier = Verifier::open(&suite.auth, Some(tokens), clock.clone())?;
    let verifier = match suite.profile {
        Profile::Conformance => verifier.with_anonymous(anonymous(suite)),
        Profile::Local | Profile::Production => verifier,
    };
    Ok(Arc::new(verifier))
}

/// The published suites send no credentials, so their callers hold a role that allows it all
/// unless the settings say what.
fn anonymous(suite: &Suite) -> AnonymousRole {
    let scopes = match suite.gateway.anonymous_scopes.as_slice() {
        [] => vec!["*".to_owned()],
        scopes => scopes.to_vec(),
    };
    AnonymousRole {
        name: "conformance".to_owned(),
        scopes,
    }
}

/// What the gateway is made of.
pub(crate) fn gateway_state(base: &Base) -> GatewayState {
    let identity = WorkloadCredentials::new(base.tokens.clone(), crate::settings::GATEWAY);
    GatewayState::new(gateway::Parts {
        peers: base.peers.identified_by(Arc::new(identity)),
        verifier: base.verifier.clone(),
        tokens: base.tokens.clone(),
        profile: base.profile,
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
        blocks: base.peers.names(),
    })
    .with_keyring(base.keyring.scoped(crate::settings::GATEWAY))
}
