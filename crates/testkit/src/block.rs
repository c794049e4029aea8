//! Blocks inside a test's own process, behind all their layers.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderValue, header};
use publica_auth::{AuthConfig, TokenSource, Verifier};
use publica_host::{Block, Env, OpenError, Profile, Readiness, Stages, mount};
use publica_rpc::{Limits, Link, Peers, WorkloadCredentials};
use publica_seal::Keyring;
use publica_types::{SharedClock, SharedEntropy, SystemClock, SystemEntropy, Tenant};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;
use tower::Service as _;

const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

/// What a block is given in a test: a data folder that goes away with this value, keys made for
/// it, and no peers but those that the test enters.
#[derive(Debug)]
pub struct TestEnv {
    env: Env,
    directory: Peers,
    stages: Stages,
    _folder: TempDir,
}

/// An [`Env`] for the block of that name. Dereferences to it.
pub fn env(name: &str) -> TestEnv {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let (clock, entropy) = (
        Arc::new(SystemClock),
        Arc::new(SystemEntropy) as SharedEntropy,
    );
    let directory = Peers::new();
    let credentials = WorkloadCredentials::new(tokens().clone(), name);
    let env = Env {
        clock,
        entropy: entropy.clone(),
        peers: directory.identified_by(Arc::new(credentials)),
        data_dir: folder.path().to_owned(),
        witness_dir: folder.path().join("witness"),
        profile: Profile::Local,
        keyring: Keyring::ephemeral(entropy).scoped(name),
        tokens: tokens().clone(),
        tracker: TaskTracker::new(),
        tenants: vec![Tenant::default()],
    };
    TestEnv {
        env,
        directory,
        stages: Stages::new(),
        _folder: folder,
    }
}

impl TestEnv {
    /// The same, with another clock, such as a [`crate::MockClock`].
    pub fn with_clock(mut self, clock: SharedClock) -> Self {
        self.env.clock = clock;
        self
    }

    /// The same, with other randomness, such as a [`crate::SeededEntropy`].
    pub fn with_entropy(mut self, entropy: SharedEntropy) -> Self {
        self.env.entropy = entropy;
        self
    }

    /// The same, under another profile.
    pub fn with_profile(mut self, profile: Profile) -> Self {
        self.env.profile = profile;
        self
    }

    /// Enters a peer, for this block and everyone who shares the directory.
    pub fn with_peer(self, name: &str, link: Link) -> Self {
        self.directory.register(name, link);
        self
    }

    /// The stages of stopping: a test drains to end streams and background work.
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Opens a block and puts all its layers around it.
    pub async fn open<B: Block>(&self, config: B::Config) -> Result<TestBlock<B>, OpenError> {
        let block = Arc::new(B::open(config, &self.env).await?);
        let (readiness, health) = Readiness::new();
        let (limits, entropy) = (Limits::default(), &*self.env.entropy);
        let mounted = mount(
            &*block,
            health,
            verifier(),
            &self.env.tenants,
            limits,
            &self.stages,
            entropy,
        );
        let checked = block.clone();
        readiness
            .add(&mounted, move || {
                let block = checked.clone();
                Box::pin(async move { block.check().await })
            })
            .await;
        readiness.started().await;
        let running = block.clone();
        let stop = self.stages.stop_token();
        self.env
            .tracker
            .spawn(async move { running.run(stop).await });
        Ok(TestBlock {
            block,
            link: mounted.link,
        })
    }
}

impl Deref for TestEnv {
    type Target = Env;

    fn deref(&self) -> &Env {
        &self.env
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        self.stages.cut();
    }
}

/// An open block, its background work running.
#[derive(Debug)]
pub struct TestBlock<B> {
    /// The block itself.
    pub block: Arc<B>,
    /// The way to it without credentials.
    pub link: Link,
}

impl<B> TestBlock<B> {
    /// The way to it for a caller with these scopes.
    pub fn as_caller(&self, scopes: &[&str]) -> Link {
        with_token(&self.link, &token(scopes))
    }
}

/// A token for a caller named `tester` with these scopes. Blocks opened by [`TestEnv::open`]
/// believe it.
pub fn token(scopes: &[&str]) -> String {
    token_for("tester", scopes, &Tenant::default())
}

/// A token for a caller of another name or tenant; `block:<name>` is a block.
pub fn token_for(subject: &str, scopes: &[&str], tenant: &Tenant) -> String {
    tokens()
        .mint(subject, scopes, tenant, TOKEN_LIFE)
        .expect("a token for the test")
}

/// The same link with a token on every call that brings none.
pub fn with_token(link: &Link, token: &str) -> Link {
    let link = link.clone();
    let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a token fits a header");
    Link::carried_by(move |mut request| {
        request
            .headers_mut()
            .entry(header::AUTHORIZATION)
            .or_insert_with(|| value.clone());
        link.clone().call(request)
    })
}

/// What believes the tokens of [`token`].
pub fn verifier() -> Arc<Verifier> {
    static VERIFIER: OnceLock<Arc<Verifier>> = OnceLock::new();
    let open = || {
        let clock = Arc::new(SystemClock);
        let verifier = Verifier::open(&AuthConfig::default(), Some(tokens()), clock);
        Arc::new(verifier.expect("default settings are sound"))
    };
    VERIFIER.get_or_init(open).clone()
}

/// Tokens are judged by the system's clock, whatever clock the block has, so that a test can
/// move time without its callers losing their rights.
pub fn tokens() -> &'static TokenSource {
    static TOKENS: OnceLock<TokenSource> = OnceLock::new();
    TOKENS.get_or_init(|| {
        TokenSource::ephemeral(Arc::new(SystemClock), Arc::new(SystemEntropy))
            .expect("a key for the test")
    })
}
