//! Settings of the whole suite; each command uses the parts it needs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use publica_auth::{AuthConfig, IssuerConfig};
use publica_config::{Problems, Settings};
use publica_gateway::GatewayConfig;
use publica_host::{Block, ListenConfig, PeerConfig, Profile, ServerConfig, StorePlan};
use publica_seal::SealConfig;
use publica_telemetry::TelemetryConfig;
use publica_types::Tenant;
use serde::Deserialize;

use crate::print;

/// The role in front of the blocks.
pub(crate) const GATEWAY: &str = "gateway";

/// Variables with our prefix that are no settings.
const RESERVED: &[&str] = &["PUBLICA_CONFIG", "PUBLICA_ROLE", "PUBLICA_TEST_"];

/// Ports of blocks that run on their own, from the first block on.
const FIRST_PORT: u16 = 7_001;
const GATEWAY_PORT: u16 = 8_080;
const ADMIN_PORT: u16 = 9_090;

/// Declares the settings file and all that differs by block, so that a block is named once.
macro_rules! suite {
    ($($name:ident: $block:ty,)+) => {
        /// Names of the blocks, in the order in which they are presented.
        pub(crate) const BLOCKS: &[&str] = &[$(stringify!($name)),+];

        /// The settings file.
        #[derive(Debug, Deserialize)]
        #[serde(default)]
        pub(crate) struct Suite {
            /// Which rules of caution hold.
            pub(crate) profile: Profile,
            /// Folder of embedded stores and keys.
            pub(crate) data: PathBuf,
            /// Folder, outside that of the stores, where journals leave their last checkpoints, so
            /// that a store which was brought back from a copy is noticed. Beside the data folder
            /// unless named.
            pub(crate) witness: Option<PathBuf>,
            /// The tenants, each with stores of its own.
            pub(crate) tenants: Vec<Tenant>,
            /// Bounds of every server.
            pub(crate) server: ServerConfig,
            /// Probes and metrics.
            pub(crate) admin: ListenConfig,
            /// Where each role listens, by name.
            pub(crate) listeners: BTreeMap<String, ListenConfig>,
            /// Blocks that run elsewhere, by name.
            pub(crate) peers: BTreeMap<String, PeerConfig>,
            /// Logs and traces.
            pub(crate) telemetry: TelemetryConfig,
            /// Whose tokens are believed.
            pub(crate) auth: AuthConfig,
            /// The key of workload tokens, in the data folder unless named. Processes whose
            /// blocks call each other with tokens share it.
            pub(crate) workload_key: Option<PathBuf>,
            /// Keys of personal data at rest.
            pub(crate) seal: SealConfig,
            /// REST surfaces.
            pub(crate) gateway: GatewayConfig,
            $(pub(crate) $name: <$block as Block>::Config,)+
        }

        impl Default for Suite {
            fn default() -> Self {
                Self {
                    profile: Profile::default(),
                    data: PathBuf::from("publica-data"),
                    witness: None,
                    tenants: vec![Tenant::default()],
                    server: ServerConfig::default(),
                    admin: ListenConfig::on(ADMIN_PORT),
                    listeners: BTreeMap::new(),
                    peers: BTreeMap::new(),
                    telemetry: TelemetryConfig::default(),
                    auth: AuthConfig::default(),
                    workload_key: None,
                    seal: SealConfig::default(),
                    gateway: GatewayConfig::default(),
                    $($name: Default::default(),)+
                }
            }
        }

        impl Suite {
            fn check_blocks(&self, problems: &mut Problems) {
                $(problems.within(stringify!($name), |problems| self.$name.check(problems));)+
            }

            /// Opens the block of that name, with the settings it has here.
            pub(crate) fn open<'b>(
                &mut self,
                name: &str,
                base: &'b crate::base::Base,
            ) -> BoxFuture<'b, Result<crate::base::Part, publica_host::OpenError>> {
                match name {
                    $(stringify!($name) => {
                        let config = std::mem::take(&mut self.$name);
                        Box::pin(base.open::<$block>(config))
                    })+
                    _ => unreachable!("names of blocks are checked when they are read"),
                }
            }

            /// The stores of the block of that name.
            pub(crate) fn stores(&self, name: &str) -> StorePlan {
                let folder = self.data.join(name);
                match name {
                    $(stringify!($name) => {
                        <$block>::stores(&self.$name, &folder, &self.tenants)
                    })+
                    _ => unreachable!("names of blocks are checked when they are read"),
                }
            }

            /// Brings the stores of the block of that name up to date.
            pub(crate) async fn migrate(
                &self,
                name: &str,
                base: &crate::base::Base,
            ) -> Result<(), publica_host::OpenError> {
                match name {
                    $(stringify!($name) => {
                        let env = base.env::<$block>()?;
                        <$block>::migrate(&self.$name, &env).await
                    })+
                    _ => unreachable!("names of blocks are checked when they are read"),
                }
            }
        }
    };
}

suite! {
    identity: publica_identity::Identity,
    signature: publica_signature::Signature,
    payments: publica_payments::Payments,
    messaging: publica_messaging::Messaging,
    registration: publica_registration::Registration,
    consent: publica_consent::Consent,
}

impl Suite {
    /// Where a role listens.
    pub(crate) fn listener(&self, role: &str) -> ListenConfig {
        if let Some(listener) = self.listeners.get(role) {
            return listener.clone();
        }
        let place = BLOCKS.iter().position(|block| *block == role);
        let port = place.and_then(|place| u16::try_from(place).ok());
        ListenConfig::on(port.map_or(GATEWAY_PORT, |place| FIRST_PORT + place))
    }

    /// Where journals leave their last checkpoints.
    pub(crate) fn witness(&self) -> PathBuf {
        self.witness.clone().unwrap_or_else(|| {
            let data = absolute(&self.data);
            let mut name = data.file_name().unwrap_or_default().to_owned();
            name.push("-witness");
            data.with_file_name(name)
        })
    }

    /// The identity block beside the gateway is found at the gateway's address and believed
    /// without being configured, unless the settings say where else it is.
    pub(crate) fn adopt_issuer(&mut self, mut gateway: SocketAddr) {
        // Who listens on every address is reached here on the loopback one.
        if gateway.ip().is_unspecified() {
            let loopback: IpAddr = match gateway.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            gateway.set_ip(loopback);
        }
        let usual = publica_identity::IdentityConfig::default().issuer;
        if self.identity.issuer == usual {
            self.identity.issuer = format!("http://{gateway}/identity");
        }
        let issuer = self.identity.issuer.clone();
        if self.auth.issuers.iter().any(|known| known.issuer == issuer) {
            return;
        }
        self.auth.issuers.push(IssuerConfig {
            jwks_url: Some(format!("http://{gateway}/identity/oauth2/jwks")),
            issuer,
            algorithms: vec![self.identity.keys.algorithm.clone()],
            tenants: self.tenants.clone(),
            ..IssuerConfig::default()
        });
    }

    fn check_conformance(&self, problems: &mut Problems) {
        let what = "is refused in the conformance profile, which lets anonymous callers in";
        problems.require(self.peers.is_empty(), "peers", what);
        problems.require(self.auth.issuers.is_empty(), "auth.issuers", what);
        for (role, listener) in &self.listeners {
            problems.require(
                listener.tls.is_none(),
                format!("listeners.{role}.tls"),
                what,
            );
        }
    }

    fn check_seal(&self, problems: &mut Problems) {
        problems.within("seal", |problems| {
            for (key, what) in self.seal.problems() {
                problems.add(key, what);
            }
        });
        let key = self.workload_key.as_deref();
        // Outside production the key is made on first start, wherever it is to be.
        let there = key.is_none_or(Path::is_file) || self.profile != Profile::Production;
        problems.require(there, "workload_key", "names a file that does not exist");
    }

    fn check_production(&self, problems: &mut Problems) {
        let sealed = self.seal.file.is_some() || self.seal.keys.is_some();
        let what = "must name the key set in the production profile: file or keys";
        problems.require(sealed, "seal", what);
        problems.require(
            !self.seal.create,
            "seal.create",
            "is refused in the production profile",
        );
        let what = "must name a folder in the production profile, apart from the stores and not \
            brought back with them";
        problems.require(self.witness.is_some(), "witness", what);
        let anonymous = self.gateway.anonymous_scopes.is_empty();
        let what = "is for the conformance profile";
        problems.require(anonymous, "gateway.anonymous_scopes", what);
    }
}

/// The same path however it was written, as far as that can be told without looking.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Settings for Suite {
    fn check(&self, problems: &mut Problems) {
        problems.require(
            !self.tenants.is_empty(),
            "tenants",
            "must name at least one tenant",
        );
        problems.require(
            !absolute(&self.witness()).starts_with(absolute(&self.data)),
            "witness",
            "must name a folder outside of the data folder, whose copies would bring it back",
        );
        problems.within("server", |problems| self.server.check(problems));
        problems.within("telemetry", |problems| self.telemetry.check(problems));
        for problem in self.auth.problems() {
            let (key, what) = problem.split_once(": ").unwrap_or(("auth", &problem));
            problems.add(key, what);
        }
        problems.within("gateway", |problems| {
            self.gateway.check(problems);
            // Surfaces are served as the gateway's own listener is.
            let shared = self.listener(GATEWAY);
            for (block, surface) in &self.gateway.surfaces {
                problems.within(format!("surfaces.{block}"), |problems| {
                    shared.check_address(surface.listen, self.profile, problems);
                });
            }
        });
        self.check_seal(problems);
        problems.within("admin", |problems| self.admin.check(self.profile, problems));
        for (role, listener) in &self.listeners {
            problems.within(format!("listeners.{role}"), |problems| {
                let known = BLOCKS.contains(&role.as_str()) || role == GATEWAY;
                problems.require(known, "", "is the name of no role");
                listener.check(self.profile, problems);
            });
        }
        for (name, peer) in &self.peers {
            problems.within(format!("peers.{name}"), |problems| {
                problems.require(
                    BLOCKS.contains(&name.as_str()),
                    "",
                    "is the name of no block",
                );
                peer.check(self.profile, problems);
            });
        }
        match self.profile {
            Profile::Conformance => self.check_conformance(problems),
            Profile::Production => self.check_production(problems),
            Profile::Local => {}
        }
        self.check_blocks(problems);
    }
}

/// The blocks of these names, all if there are none; or what is wrong with them.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static str>, String> {
    if let Some(wrong) = names.iter().find(|name| !BLOCKS.contains(&name.as_str())) {
        let known = BLOCKS.join(", ");
        return Err(format!("there is no block {wrong}; there are {known}"));
    }
    let named = |block: &&str| names.is_empty() || names.iter().any(|name| name == block);
    Ok(BLOCKS.iter().copied().filter(named).collect())
}

/// Reads the settings: defaults, the file, the environment, then what the command line says.
pub(crate) fn load(
    file: Option<&Path>,
    change: impl FnOnce(&mut Suite),
) -> Result<Suite, Problems> {
    let suite = load_unchecked(file, change)?;
    let mut problems = Problems::new();
    suite.check(&mut problems);
    problems.check().map(|()| suite)
}

/// The same without judging what they say.
pub(crate) fn load_unchecked(
    file: Option<&Path>,
    change: impl FnOnce(&mut Suite),
) -> Result<Suite, Problems> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !RESERVED.iter().any(|reserved| name.starts_with(reserved)));
    let mut suite: Suite = publica_config::load_unchecked(file, env, "PUBLICA")?;
    change(&mut suite);
    Ok(suite)
}

/// Prints what is wrong with the settings; gives the exit code for it.
pub(crate) fn report(problems: &Problems) -> u8 {
    print::error("The settings cannot be used:");
    for line in problems.to_string().lines() {
        print::error(&format!("  {line}"));
    }
    publica_config::EXIT_CODE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_beside_the_gateway_is_where_people_reach_it() {
        let table = [
            ("127.0.0.1:8080", "http://127.0.0.1:8080/identity"),
            ("10.0.0.7:80", "http://10.0.0.7:80/identity"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080/identity"),
            ("[::]:8080", "http://[::1]:8080/identity"),
        ];
        for (gateway, issuer) in table {
            let mut suite = Suite::default();
            suite.adopt_issuer(gateway.parse().unwrap());
            assert_eq!(suite.identity.issuer, issuer);
            let [believed] = suite.auth.issuers.as_slice() else {
                panic!("{:?}", suite.auth.issuers);
            };
            assert_eq!(believed.issuer, issuer);
            let keys = format!("{issuer}/oauth2/jwks");
            assert_eq!(believed.jwks_url.as_deref(), Some(keys.as_str()));
        }
    }

    #[test]
    fn all_blocks_are_meant_unless_some_are_named() {
        assert_eq!(chosen(&[]).unwrap(), BLOCKS);
        assert_eq!(chosen(&["consent".to_owned()]).unwrap(), ["consent"]);
        let wrong = chosen(&["taxes".to_owned()]).unwrap_err();
        assert!(wrong.contains("no block taxes"), "{wrong}");
    }

    #[test]
    fn an_issuer_that_is_named_stays() {
        let mut suite = Suite::default();
        suite.identity.issuer = "https://id.example.org/identity".to_owned();
        suite.adopt_issuer("0.0.0.0:8080".parse().unwrap());
        assert_eq!(suite.identity.issuer, "https://id.example.org/identity");
        assert_eq!(suite.auth.issuers[0].issuer, suite.identity.issuer);
        let keys = suite.auth.issuers[0].jwks_url.as_deref();
        assert_eq!(keys, Some("http://127.0.0.1:8080/identity/oauth2/jwks"));
    }
}
