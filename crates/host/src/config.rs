//! Settings of listeners, of stopping and of limits.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use publica_config::{Problems, Settings};
use publica_rpc::Limits;
use serde::Deserialize;

use crate::{Profile, ServeLimits, StopTimes, TlsConfig};

/// One address that is listened on.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ListenConfig {
    /// Address and port; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Files for TLS. Without them the listener speaks plaintext.
    pub tls: Option<TlsConfig>,
    /// Allows plaintext on other than loopback addresses, for containers on a private network
    /// of one machine. Only the local profile does.
    pub insecure_dev: bool,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self::on(8080)
    }
}

impl ListenConfig {
    /// A plaintext port on the loopback address.
    pub fn on(port: u16) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, port).into(),
            tls: None,
            insecure_dev: false,
        }
    }

    /// Reports what the profile does not allow.
    pub fn check(&self, profile: Profile, problems: &mut Problems) {
        self.check_address(self.listen, profile, problems);
        if profile != Profile::Local {
            let what = format!("is refused in the {profile} profile");
            problems.require(!self.insecure_dev, "insecure_dev", what);
        }
        if let Some(tls) = &self.tls {
            problems.within("tls", |problems| tls.check(problems));
        }
    }

    /// Reports an address that the profile does not allow to be listened on as this is: `listen`
    /// itself, or one that is served with the same certificates.
    pub fn check_address(&self, listen: SocketAddr, profile: Profile, problems: &mut Problems) {
        let loopback = listen.ip().is_loopback();
        match profile {
            Profile::Production => {
                let encrypted = self.tls.is_some() || loopback;
                let what = "needs [tls] in the production profile unless the address is loopback";
                problems.require(encrypted, "listen", what);
            }
            Profile::Conformance => {
                let what = "must be a loopback address in the conformance profile";
                problems.require(loopback, "listen", what);
            }
            Profile::Local => {
                let what = "must be a loopback address in the local profile, unless insecure_dev \
                            is set for containers on one machine";
                problems.require(loopback || self.insecure_dev, "listen", what);
            }
        }
    }
}

/// The table `[server]`: what holds for every server of the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ServerConfig {
    /// Given to calls that name no deadline.
    pub default_deadline_ms: u64,
    /// The longest deadline that a caller can ask for.
    pub max_deadline_ms: u64,
    /// Calls at work at once in one block; more are shed.
    pub max_in_flight: usize,
    /// Connections open at once on one listener.
    pub max_connections: usize,
    /// A connection this old is asked to come back.
    pub max_connection_age_s: u64,
    /// From readiness going off until new connections are refused. 5,000 in the production
    /// profile, otherwise 0.
    pub drain_delay_ms: Option<u64>,
    /// From then until work that is still running is cut.
    pub grace_ms: u64,
    /// Describes the services to anyone who asks. On, unless the profile is production.
    pub reflection: Option<bool>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            default_deadline_ms: 10_000,
            max_deadline_ms: 3_600_000,
            max_in_flight: 2_048,
            max_connections: 10_000,
            max_connection_age_s: 1_800,
            drain_delay_ms: None,
            grace_ms: 25_000,
            reflection: None,
        }
    }
}

impl Settings for ServerConfig {
    fn check(&self, problems: &mut Problems) {
        let least = self.default_deadline_ms >= 200;
        problems.require(least, "default_deadline_ms", "must be at least 200");
        let longest = self.max_deadline_ms >= self.default_deadline_ms;
        problems.require(
            longest,
            "max_deadline_ms",
            "must not be below default_deadline_ms",
        );
        problems.require(self.max_in_flight > 0, "max_in_flight", "must not be 0");
        problems.require(self.max_connections > 0, "max_connections", "must not be 0");
        let age = self.max_connection_age_s >= 10;
        problems.require(age, "max_connection_age_s", "must be at least 10");
    }
}

impl ServerConfig {
    /// Bounds of every call.
    pub fn limits(&self) -> Limits {
        Limits {
            default_deadline: Duration::from_millis(self.default_deadline_ms),
            max_deadline: Duration::from_millis(self.max_deadline_ms),
            max_in_flight: self.max_in_flight,
            ..Limits::default()
        }
    }

    /// Bounds of every listener.
    pub fn serve_limits(&self) -> ServeLimits {
        ServeLimits {
            max_connections: self.max_connections,
            max_connection_age: Duration::from_secs(self.max_connection_age_s),
        }
    }

    /// How long stopping may take.
    pub fn stop_times(&self, profile: Profile) -> StopTimes {
        let usual = if profile == Profile::Production {
            5_000
        } else {
            0
        };
        StopTimes {
            drain_delay: Duration::from_millis(self.drain_delay_ms.unwrap_or(usual)),
            grace: Duration::from_millis(self.grace_ms),
        }
    }

    /// True if services describe themselves to anyone who asks.
    pub fn reflects(&self, profile: Profile) -> bool {
        self.reflection.unwrap_or(profile != Profile::Production)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(profile: Profile, address: &str, change: impl Fn(&mut ListenConfig)) -> usize {
        let mut config = ListenConfig {
            listen: address.parse().unwrap(),
            ..ListenConfig::default()
        };
        change(&mut config);
        let mut problems = Problems::new();
        config.check(profile, &mut problems);
        problems.len()
    }

    #[test]
    fn plaintext_stays_on_this_machine() {
        for profile in [Profile::Local, Profile::Conformance, Profile::Production] {
            assert_eq!(problems(profile, "127.0.0.1:1", |_| ()), 0);
            assert_eq!(problems(profile, "[::1]:1", |_| ()), 0);
            assert_eq!(problems(profile, "0.0.0.0:1", |_| ()), 1);
        }
        let dev = |config: &mut ListenConfig| config.insecure_dev = true;
        assert_eq!(problems(Profile::Local, "0.0.0.0:1", dev), 0);
        for profile in [Profile::Conformance, Profile::Production] {
            assert_eq!(problems(profile, "127.0.0.1:1", dev), 1);
            assert_eq!(problems(profile, "0.0.0.0:1", dev), 2);
        }
    }

    #[test]
    fn tls_needs_its_files() {
        let tls = |config: &mut ListenConfig| config.tls = Some(TlsConfig::default());
        assert_eq!(problems(Profile::Production, "0.0.0.0:1", tls), 2);
    }
}
