//! What `publica up` tells the person who started it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use publica_host::{Mounted, Profile};

use crate::base::Base;
use crate::print;
use crate::settings::GATEWAY;

/// Prints where everything is and how to make a first call. It goes to standard error, so that
/// standard output holds log lines alone.
pub(crate) fn print(
    addresses: &[(String, SocketAddr, bool)],
    base: &Base,
    blocks: &[Mounted],
    token: Option<&str>,
) -> std::fmt::Result {
    let mut text = String::new();
    writeln!(text, "\nPublica is up ({} profile).\n", base.profile)?;
    for (name, address, encrypted) in addresses {
        let scheme = if *encrypted { "https" } else { "http" };
        writeln!(text, "  {name:<20} {scheme}://{address}{}", explain(name))?;
    }
    if !blocks.is_empty() {
        let names: Vec<&str> = blocks.iter().map(|block| block.name).collect();
        writeln!(text, "  {:<20} {}", "blocks", names.join(", "))?;
    }
    writeln!(text, "  {:<20} {}", "data", base.data.display())?;
    if let Some(token) = token {
        writeln!(text, "  {:<20} {token}", "administrator")?;
    }
    let gateway = addresses.iter().find(|(name, ..)| name == GATEWAY);
    // A block without the gateway is called at its own address.
    let own = addresses
        .iter()
        .find(|(name, ..)| blocks.iter().any(|block| block.name == name));
    let reflects = base.server.reflects(base.profile);
    if let Some((name, address, false)) = gateway.or(own) {
        writeln!(text, "\nFirst calls:\n")?;
        if name == GATEWAY {
            writeln!(text, "  curl http://{address}/gateway/v1/blocks")?;
        }
        if reflects && !blocks.is_empty() {
            writeln!(text, "  grpcurl -plaintext {address} list")?;
        }
        let called = blocks
            .iter()
            .find(|block| name == GATEWAY || block.name == name);
        if let (true, Some(block), Some(token)) = (reflects, called, token) {
            first_call(&mut text, *address, block, token)?;
        }
    }
    if base.profile == Profile::Conformance {
        writeln!(
            text,
            "\nAnonymous callers are let in: this profile is for test suites only."
        )?;
    }
    writeln!(text, "\nStop with Ctrl-C.")?;
    print::error(&text);
    Ok(())
}

fn explain(name: &str) -> &'static str {
    match name {
        GATEWAY => "    REST, gRPC and pages",
        "admin" => "    /readyz, /metrics",
        _ => "",
    }
}

/// A call to which every block has something to say from its start: who signs its journal.
fn first_call(
    text: &mut String,
    address: SocketAddr,
    block: &Mounted,
    token: &str,
) -> std::fmt::Result {
    let (token, name) = (quoted(token), block.name);
    writeln!(
        text,
        "  grpcurl -plaintext -H \"authorization: Bearer $(cat {token})\" \\"
    )?;
    writeln!(text, "    -H 'x-publica-block: {name}' {address} \\")?;
    writeln!(text, "    publica.journal.v1.JournalService/ListEpochs")
}

/// A path as a shell reads it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn paths_are_quoted_where_a_shell_would_part_them() {
        assert_eq!(
            quoted("publica-data/admin.token"),
            "publica-data/admin.token"
        );
        assert_eq!(quoted("my data/admin.token"), "'my data/admin.token'");
        assert_eq!(quoted("it's/$x"), r"'it'\''s/$x'");
    }
}
