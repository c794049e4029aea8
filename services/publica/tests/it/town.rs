//! The suite as separate processes on one machine: a process a block, the gateway, and a shared
//! settings file by which they find each other.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::journey::BLOCKS;
use crate::running::{PATIENCE, Running, get, publica, settings};

/// Processes that find each other.
pub(crate) struct Town {
    folder: PathBuf,
    settings: PathBuf,
    ports: BTreeMap<&'static str, u16>,
    environment: Vec<(String, String)>,
    running: BTreeMap<&'static str, Running>,
}

pub(crate) const GATEWAY: &str = "gateway";
const MAIL: &str = "mail";

impl Town {
    /// Plans a town whose data is in `folder` and makes its keys and stores; nothing serves yet.
    pub(crate) fn found(folder: &Path, environment: Vec<(String, String)>) -> Self {
        let mut ports = Ports::new();
        let roles = BLOCKS.iter().copied().chain([GATEWAY, MAIL]);
        let ports: BTreeMap<_, _> = roles.map(|role| (role, ports.free())).collect();
        let town = Self {
            folder: folder.to_owned(),
            settings: settings(folder, &plan(folder, &ports)),
            ports,
            environment,
            running: BTreeMap::new(),
        };
        // Keys are shared by all processes; whoever migrates first makes them.
        let made = town.command(&["migrate"], "migrate").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        town
    }

    fn command(&self, arguments: &[&str], role: &str) -> Command {
        let mut command = publica();
        command
            .args(arguments)
            .arg("--config")
            .arg(&self.settings)
            .arg("--data")
            .arg(self.data(role))
            .envs(self.environment.iter().cloned());
        if role == "messaging" {
            let file = self.authority();
            command.env("PUBLICA_MESSAGING__RELAY__CA_PEM_FILE", file);
        }
        command
    }

    fn data(&self, role: &str) -> PathBuf {
        self.folder.join(role)
    }

    /// Starts a role, again after it was killed.
    pub(crate) fn start(&mut self, role: &'static str) {
        let running = Running::start(&mut self.command(&[role], role));
        assert_eq!(running.address(role), self.address(role));
        self.running.insert(role, running);
    }

    /// Ends a role as a power cut would, and starts it again.
    pub(crate) fn kill_and_restart(&mut self, role: &'static str) {
        let killed = self.running.remove(role).expect("it runs");
        killed.signal("KILL");
        drop(killed);
        self.start(role);
    }

    fn address(&self, role: &str) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[role]))
    }

    /// Where the gateway is.
    pub(crate) fn gateway(&self) -> String {
        format!("http://{}", self.address(GATEWAY))
    }

    /// Where the mail server of the households is to listen.
    pub(crate) fn mail(&self) -> String {
        self.address(MAIL).to_string()
    }

    /// The file where the mail server leaves its authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("mail.pem")
    }

    /// The file of the administrator's token.
    pub(crate) fn token(&self) -> PathBuf {
        self.data(GATEWAY).join("admin.token")
    }

    /// Calls that a role has answered since it started, of those whose line in its metrics
    /// contains `kind`.
    pub(crate) fn calls(&self, role: &str, kind: &str) -> u64 {
        const COUNTS: [&str; 2] = [
            "rpc_server_call_duration_seconds_count{",
            "http_server_request_duration_seconds_count{",
        ];
        let (_, metrics) = get(self.running[role].address("admin"), "/metrics");
        let lines = metrics.lines().filter(|line| {
            let counted = COUNTS.iter().any(|name| line.starts_with(name));
            counted && line.contains(kind) && !line.contains("http_route=\"/metrics\"")
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Ends everything in order.
    pub(crate) fn stop(self) {
        for running in self.running.values() {
            running.signal("TERM");
        }
        for (role, mut running) in self.running {
            assert_eq!(running.end().code(), Some(0), "{role}");
        }
    }
}

/// The settings that all processes share.
fn plan(folder: &Path, ports: &BTreeMap<&'static str, u16>) -> String {
    let place = folder.display();
    let gateway = ports[GATEWAY];
    let mut plan = format!(
        "workload_key = '{place}/workload.jwk'\n\
         [seal]\nfile = '{place}/seal.json'\ncreate = true\n\
         [admin]\nlisten = '127.0.0.1:0'\n\
         [identity]\nissuer = 'http://127.0.0.1:{gateway}/identity'\n\
         [identity.code]\nmax_sends_from_address = 1000000\n\
         [[auth.issuers]]\nissuer = 'http://127.0.0.1:{gateway}/identity'\n\
         jwks_url = 'http://127.0.0.1:{gateway}/identity/oauth2/jwks'\n\
         algorithms = ['RS256']\n\
         [payments.rail]\nreject_per_mille = 40\nunknown_per_mille = 10\n\
         [messaging.relay]\nhost = '127.0.0.1'\nport = {}\ntls = 'starttls'\n",
        ports[MAIL],
    );
    for (role, port) in ports.iter().filter(|(role, _)| **role != MAIL) {
        plan.push_str(&format!(
            "[listeners.{role}]\nlisten = '127.0.0.1:{port}'\n"
        ));
        if *role != GATEWAY {
            plan.push_str(&format!(
                "[peers.{role}]\nendpoint = 'http://127.0.0.1:{port}'\n"
            ));
        }
    }
    plan
}

/// Ports that a process can come back to: outside the range from which the system takes those of
/// outgoing connections.
pub(crate) struct Ports(u16);

impl Ports {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;

    pub(crate) fn new() -> Self {
        // Tests that run side by side begin at different places.
        let place = RandomState::new().hash_one(std::process::id()) % u64::from(Self::COUNT);
        Self(u16::try_from(place).unwrap())
    }

    pub(crate) fn free(&mut self) -> u16 {
        for _ in 0..Self::COUNT {
            self.0 = (self.0 + 1) % Self::COUNT;
            let port = Self::FIRST + self.0;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
        panic!("no port is free");
    }
}

/// Asks again and again until `what` is there; fails after a generous while.
pub(crate) fn until(what: &str, mut there: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    while !there() {
        assert!(waited < PATIENCE, "{what}");
        std::thread::sleep(PAUSE);
        waited += PAUSE;
    }
}
