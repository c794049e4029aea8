//! `publica up`, and the roles of single blocks and of the gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use publica_gateway::Gateway;
use publica_host::{
    Certificates, Ending, Front, ListenConfig, Listener, Mounted, Profile, Requests, admin,
    reflect, serve, stop_in_order,
};
use publica_rpc::Switch;
use publica_telemetry::Telemetry;
use publica_types::{SharedClock, SystemClock};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::base::{Base, gateway_state, private_file};
use crate::cli::{RoleArgs, UpArgs};
use crate::settings::{self, BLOCKS, GATEWAY, Suite};
use crate::{print, welcome};

/// Scopes of the administrator that `up` writes a token for.
const ADMIN_SCOPES: &[&str] = &["*"];
const ADMIN_TOKEN_LIFE: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
const ADMIN_TOKEN_RENEWAL: std::time::Duration = std::time::Duration::from_secs(6 * 3_600);
pub(crate) const ADMIN_TOKEN: &str = "admin.token";
const ADMIN: &str = "admin";

/// Which roles a process has.
struct Roles {
    blocks: Vec<&'static str>,
    gateway: bool,
    /// Everything behind the gateway's one port, as `up` has it.
    together: bool,
    /// Whether whoever started it is told where everything is.
    welcome: bool,
}

pub(crate) async fn up(args: UpArgs) -> Result<u8> {
    let roles = roles(&args.blocks).and_then(|roles| {
        let door = door(&roles, args.listen.is_some())?;
        Ok((roles, door))
    });
    let (roles, door) = match roles {
        Ok(roles) => roles,
        Err(problem) => {
            print::error(&problem);
            return Ok(publica_config::EXIT_CODE);
        }
    };
    let config = args.config.clone();
    let loaded = settings::load(config.as_deref(), |suite| override_with(suite, &args, door));
    let suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    run(suite, roles).await
}

pub(crate) async fn role(name: &'static str, args: RoleArgs) -> Result<u8> {
    let loaded = settings::load(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
    });
    match loaded {
        Err(problems) => Ok(settings::report(&problems)),
        Ok(suite) => {
            let gateway = name == GATEWAY;
            let blocks = if gateway { Vec::new() } else { vec![name] };
            run(
                suite,
                Roles {
                    blocks,
                    gateway,
                    together: false,
                    welcome: false,
                },
            )
            .await
        }
    }
}

/// The role that `--listen` is the address of.
fn door(roles: &Roles, asked: bool) -> Result<&'static str, String> {
    match roles.blocks.as_slice() {
        _ if roles.gateway => Ok(GATEWAY),
        [only] => Ok(only),
        _ if !asked => Ok(GATEWAY),
        _ => Err(
            "--listen is one address, and several blocks are served without the gateway: name \
             gateway among --blocks, or give each block its own in [listeners]"
                .to_owned(),
        ),
    }
}

fn override_with(suite: &mut Suite, args: &UpArgs, door: &str) {
    if let Some(data) = &args.data {
        suite.data.clone_from(data);
    }
    if let Some(profile) = args.profile {
        suite.profile = profile;
    }
    if let Some(address) = args.admin {
        suite.admin.listen = address;
    }
    if let Some(address) = args.listen {
        let mut listener = suite.listener(door);
        listener.listen = address;
        suite.listeners.insert(door.to_owned(), listener);
    }
    for (block, listen) in &args.surface {
        let surface = publica_gateway::SurfaceConfig {
            listen: *listen,
            prefix: String::new(),
            strict: false,
        };
        suite.gateway.surfaces.insert(block.clone(), surface);
    }
}

fn roles(asked: &[String]) -> Result<Roles, String> {
    if asked.is_empty() {
        return Ok(Roles {
            blocks: BLOCKS.to_vec(),
            gateway: true,
            together: true,
            welcome: true,
        });
    }
    let wrong = asked
        .iter()
        .find(|name| !BLOCKS.contains(&name.as_str()) && *name != GATEWAY);
    if let Some(wrong) = wrong {
        let known = BLOCKS.join(", ");
        return Err(format!(
            "there is no block {wrong}; there are {known} and {GATEWAY}"
        ));
    }
    let asked_for = |name: &str| asked.iter().any(|asked| asked == name);
    let blocks: Vec<_> = BLOCKS
        .iter()
        .copied()
        .filter(|block| asked_for(block))
        .collect();
    let gateway = asked_for(GATEWAY);
    Ok(Roles {
        blocks,
        gateway,
        together: gateway,
        welcome: true,
    })
}

/// What a suite that runs in the background tells once it is ready.
pub(crate) struct Started {
    pub(crate) gateway: SocketAddr,
    pub(crate) admin_token: String,
}

/// Serves every block in this process until a message asks it to stop; tells `ready` when it
/// answers.
pub(crate) fn in_background(
    suite: Suite,
    requests: mpsc::Receiver<()>,
    ready: oneshot::Sender<Started>,
) -> JoinHandle<Result<u8>> {
    let roles = Roles {
        blocks: BLOCKS.to_vec(),
        gateway: true,
        together: true,
        welcome: false,
    };
    let serving = serve_roles(suite, roles, Requests::Channel(requests), Some(ready));
    TaskTracker::new().spawn(serving)
}

async fn run(suite: Suite, roles: Roles) -> Result<u8> {
    let requests = Requests::signals().context("listening to signals")?;
    serve_roles(suite, roles, requests, None).await
}

async fn serve_roles(
    mut suite: Suite,
    roles: Roles,
    requests: Requests,
    ready: Option<oneshot::Sender<Started>>,
) -> Result<u8> {
    let begun = tokio::time::Instant::now();
    let clock: SharedClock = Arc::new(SystemClock);
    let context = match suite.profile {
        Profile::Conformance => publica_host::conformance_log_context,
        Profile::Local | Profile::Production => publica_host::log_context,
    };
    let telemetry = publica_telemetry::start(
        &suite.telemetry,
        "publica",
        env!("CARGO_PKG_VERSION"),
        clock.clone(),
        context,
    )?;
    announce_profile(suite.profile);
    // Addresses come first: one in use should stop the start before any store is touched.
    let mut sockets = Sockets::bind(&suite, &roles).await?;
    if let Some(gateway) = sockets.plaintext(GATEWAY)
        && roles.blocks.contains(&"identity")
    {
        suite.adopt_issuer(gateway);
    }
    let base = Base::new(&suite, clock)?;
    base.keep_metrics(telemetry.clone());
    let mounted = open_blocks(&mut suite, &roles, &base).await?;
    let doors = sockets.doors(&suite, &roles, &base, &mounted, telemetry.clone())?;
    for (listener, front) in doors {
        let (stages, tracker) = (base.stages.clone(), base.tracker.clone());
        base.tracker
            .spawn(async move { serve(listener, front, &stages, &tracker).await });
    }
    base.watch_issuers();
    base.readiness.started().await;
    let token = admin_token(&base, suite.profile)?;
    announce_ready(suite.profile, &mounted, begun.elapsed());
    if let Some(ready) = ready {
        tell(ready, &sockets, token)?;
    } else if roles.welcome {
        welcome::print(&sockets.addresses, &base, &mounted, token.as_deref())?;
    }
    let times = suite.server.stop_times(suite.profile);
    let ending = stop_in_order(
        requests,
        &base.readiness,
        &base.stages,
        &base.tracker,
        times,
    )
    .await;
    if ending == Ending::Cut {
        tracing::warn!(blocks = base.busy(), "background work had not ended");
    }
    tracing::info!(clean = ending == Ending::Clean, "stopped");
    tokio::task::spawn_blocking(move || telemetry.flush()).await?;
    Ok(u8::from(ending == Ending::Cut))
}

/// Tells whoever runs the suite in the background where it is.
fn tell(ready: oneshot::Sender<Started>, sockets: &Sockets, token: Option<String>) -> Result<()> {
    let gateway = sockets
        .plaintext(GATEWAY)
        .context("the gateway speaks plaintext here")?;
    let file = token.context("this profile has no administrator's token")?;
    let admin_token = std::fs::read_to_string(&file).context("the administrator's token")?;
    // Whoever stopped waiting asks the suite to stop as well.
    let _ = ready.send(Started {
        gateway,
        admin_token,
    });
    Ok(())
}

fn announce_ready(profile: Profile, mounted: &[Mounted], took: std::time::Duration) {
    let blocks: Vec<&str> = mounted.iter().map(|block| block.name).collect();
    tracing::info!(
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        profile = profile.as_str(),
        blocks = blocks.join(","),
        "ready"
    );
}

fn announce_profile(profile: Profile) {
    if profile == Profile::Conformance {
        tracing::warn!(
            "anonymous callers are let in for the published test suites; never use this profile \
             for service"
        );
    }
}

/// Opens the blocks side by side and enters them in the directory.
async fn open_blocks(suite: &mut Suite, roles: &Roles, base: &Base) -> Result<Vec<Mounted>> {
    let opening: Vec<_> = roles
        .blocks
        .iter()
        .map(|name| suite.open(name, base))
        .collect();
    let parts = try_join_all(opening).await?;
    for part in &parts {
        base.peers
            .register(part.mounted.name, part.mounted.link.clone());
    }
    let mut mounted = Vec::new();
    for part in parts {
        base.note_missing_peers(part.mounted.name, part.mounted.optional_peers);
        mounted.push(part.mounted.clone());
        base.start(part);
    }
    Ok(mounted)
}

/// Every socket of the process, bound and not yet accepting.
struct Sockets {
    bound: BTreeMap<String, Socket>,
    addresses: Vec<(String, SocketAddr, bool)>,
}

struct Socket {
    listener: Listener,
    certificates: Option<Arc<Certificates>>,
}

impl Sockets {
    async fn bind(suite: &Suite, roles: &Roles) -> Result<Self> {
        let mut sockets = Self {
            bound: BTreeMap::new(),
            addresses: Vec::new(),
        };
        if roles.gateway {
            let shared = suite.listener(GATEWAY);
            sockets.add(GATEWAY.to_owned(), &shared).await?;
            for (block, surface) in &suite.gateway.surfaces {
                let config = ListenConfig {
                    listen: surface.listen,
                    ..shared.clone()
                };
                sockets.add(surface_role(block), &config).await?;
            }
        }
        for block in roles.blocks.iter().filter(|_| !roles.together) {
            sockets
                .add((*block).to_owned(), &suite.listener(block))
                .await?;
        }
        sockets.add(ADMIN.to_owned(), &suite.admin).await?;
        Ok(sockets)
    }

    async fn add(&mut self, role: String, config: &ListenConfig) -> Result<()> {
        let (tls, certificates) = match &config.tls {
            None => (None, None),
            Some(tls) => {
                let (acceptor, certificates) =
                    tls.acceptor().with_context(|| format!("TLS of {role}"))?;
                (Some(acceptor), Some(certificates))
            }
        };
        let listener = Listener::bind(config.listen, tls)
            .await
            .with_context(|| format!("listening on {} for {role}", config.listen))?;
        let (address, encrypted) = (listener.address()?, listener.is_encrypted());
        tracing::info!(role, address = %address, tls = encrypted, "listening");
        self.addresses.push((role.clone(), address, encrypted));
        self.bound.insert(
            role,
            Socket {
                listener,
                certificates,
            },
        );
        Ok(())
    }

    /// Where a role listens, if it speaks plaintext there.
    fn plaintext(&self, role: &str) -> Option<SocketAddr> {
        let of = |(name, address, encrypted): &(String, SocketAddr, bool)| {
            (name == role && !encrypted).then_some(*address)
        };
        self.addresses.iter().find_map(of)
    }

    /// Puts what is served behind each socket.
    fn doors(
        &mut self,
        suite: &Suite,
        roles: &Roles,
        base: &Base,
        mounted: &[Mounted],
        telemetry: Telemetry,
    ) -> Result<Vec<(Listener, Front)>> {
        let mut fronts = vec![(
            ADMIN.to_owned(),
            Front::web(admin(base.readiness.clone(), Some(telemetry))),
        )];
        if roles.gateway {
            fronts.extend(gateway_fronts(suite, base, mounted)?);
        }
        for block in mounted.iter().filter(|_| !roles.together) {
            fronts.push((block.name.to_owned(), Front::block(block.link.clone())));
        }
        let mut doors = Vec::new();
        for (role, front) in fronts {
            let Some(socket) = self.bound.remove(&role) else {
                continue;
            };
            if let Some(certificates) = socket.certificates {
                base.tracker
                    .spawn(certificates.watch(base.stages.stop_token()));
            }
            doors.push((
                socket.listener.with_limits(base.server.serve_limits()),
                front,
            ));
        }
        Ok(doors)
    }
}

fn surface_role(block: &str) -> String {
    format!("{block} surface")
}

fn gateway_fronts(suite: &Suite, base: &Base, mounted: &[Mounted]) -> Result<Vec<(String, Front)>> {
    let gateway = Gateway::new(suite.gateway.clone(), gateway_state(base));
    let mut open = base.health.clone();
    if base.server.reflects(base.profile) && !mounted.is_empty() {
        let sets: Vec<&[u8]> = mounted
            .iter()
            .flat_map(|block| block.descriptors.iter().copied())
            .collect();
        open = reflect(open, &sets).context("describing the services")?;
    }
    let switch = Switch::new(&base.peers, base.peers.names());
    let shared = Front::gateway(switch, gateway.router()).with_open(open);
    let mut fronts = vec![(GATEWAY.to_owned(), shared)];
    for (_, block, router) in gateway.surfaces() {
        fronts.push((surface_role(block), Front::web(router)));
    }
    Ok(fronts)
}

/// Writes the administrator's token and renews it while the process runs.
fn admin_token(base: &Base, profile: Profile) -> Result<Option<String>> {
    if profile == Profile::Production {
        return Ok(None);
    }
    let path = base.data.join(ADMIN_TOKEN);
    let mint = {
        let tokens = base.tokens.clone();
        // The first tenant's: it is the only one of most suites.
        let tenant = base.tenants.first().cloned().unwrap_or_default();
        move || -> Result<String> {
            Ok(tokens.mint("administrator", ADMIN_SCOPES, &tenant, ADMIN_TOKEN_LIFE)?)
        }
    };
    private_file(&path, &mint()?)?;
    let stop = base.stages.stop_token();
    let written = path.clone();
    base.tracker.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ADMIN_TOKEN_RENEWAL) => {}
            }
            let renewed = mint().and_then(|token| private_file(&written, &token));
            if let Err(error) = renewed {
                tracing::error!(error = %error, "the administrator's credentials were not renewed");
            }
        }
    });
    Ok(Some(path.display().to_string()))
}
