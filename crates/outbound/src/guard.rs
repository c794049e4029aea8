//! Keeping calls from reaching into the inside of a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

const MAX_URL: usize = 2_000;

/// Checks a target; the address behind a name is checked when it is resolved.
pub fn check_url(text: &str, allow_private: bool) -> Result<reqwest::Url, &'static str> {
    if text.len() > MAX_URL {
        return Err("is longer than 2000 characters");
    }
    let url = reqwest::Url::parse(text).map_err(|_| "is not a URL")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err("must begin with https://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry credentials");
    }
    let host = url
        .host_str()
        .filter(|host| !host.is_empty())
        .ok_or("names no host")?;
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if !allow_private && address.is_some_and(|address| !is_public(address)) {
        return Err("must be a public address");
    }
    Ok(url)
}

/// Which targets may be called.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Whether targets may be inside: plain http, and addresses that are not public.
    pub allow_private: bool,
    /// Hosts that may be called; one that begins with a dot stands for all below it. Empty: any.
    pub hosts: Vec<String>,
}

impl Targets {
    /// The target, if it may be called.
    pub fn check(&self, text: &str) -> Result<reqwest::Url, &'static str> {
        let url = check_url(text, self.allow_private)?;
        let host = url.host_str().unwrap_or_default();
        let fits = |allowed: &String| match allowed.strip_prefix('.') {
            Some(_) => host.ends_with(allowed.as_str()),
            None => host == allowed,
        };
        match self.hosts.is_empty() || self.hosts.iter().any(fits) {
            true => Ok(url),
            false => Err("names a host that may not be called"),
        }
    }
}

/// Whether an address belongs to the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        // Shared by carriers, benchmarks, protocol assignments, 6to4 relays, multicast and above.
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || a >= 224;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [a, b, .., y, z] = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        // Translated by NAT64, or tunnelled: what counts is the address inside.
        (0x64, 0xff9b) => is_public_v4(embedded(y, z)),
        (0x2002, high) => is_public_v4(embedded(high, address.segments()[2])),
        // Teredo, benchmarks and other special purposes; documentation.
        (0x2001, 0..0x0200 | 0x0db8) | (0x3fff, 0..0x1000) => false,
        // The only block that is given out.
        (0x2000..0x4000, _) => true,
        _ => false,
    }
}

/// Resolves names to public addresses only. The connection goes to an address that was checked,
/// so a name cannot change its mind between check and use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedResolver {
    /// Whether addresses that are not public pass too.
    pub(crate) allow_private: bool,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fit: Vec<SocketAddr> = found
                .filter(|address| allow_private || is_public(address.ip()))
                .collect();
            if fit.is_empty() {
                return Err("the name has no public address".into());
            }
            let addresses: Addrs = Box::new(fit.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        for public in [
            "1.1.1.1",
            "93.184.215.14",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[test]
    fn targets_are_checked() {
        assert!(check_url("https://example.org/hook?a=1", false).is_ok());
        for bad in [
            "http://example.org/",
            "ftp://example.org/",
            "https://user:pw@example.org/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "file:///etc/passwd",
            "no url",
        ] {
            assert!(check_url(bad, false).is_err(), "{bad}");
        }
        assert!(check_url("http://127.0.0.1:80/", true).is_ok());
        assert!(check_url("ftp://127.0.0.1/", true).is_err());
    }

    #[test]
    fn hosts_can_be_listed() {
        let targets = Targets {
            allow_private: false,
            hosts: vec!["bank.example".to_owned(), ".gov.example".to_owned()],
        };
        for good in ["https://bank.example/a", "https://tax.gov.example:8443/"] {
            assert!(targets.check(good).is_ok(), "{good}");
        }
        for bad in [
            "https://evilbank.example/",
            "https://gov.example/",
            "https://evilgov.example/",
            "http://bank.example/",
        ] {
            assert!(targets.check(bad).is_err(), "{bad}");
        }
    }
}
