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
    let names: Vec<&str> = blocks.iter().map(|block| block.name).collect();
    writeln!(text, "  {:<20} {}", "blocks", names.join(", "))?;
    writeln!(text, "  {:<20} {}", "data", base.data.display())?;
    let gateway = addresses.iter().find(|(name, ..)| name == GATEWAY);
    if let (Some(token), Some((_, address, false))) = (token, gateway) {
        writeln!(text, "  {:<20} {token}", "administrator")?;
        writeln!(text, "\nFirst calls:\n")?;
        writeln!(text, "  curl http://{address}/gateway/v1/blocks")?;
        writeln!(text, "  grpcurl -plaintext {address} list")?;
        first_call(&mut text, *address, blocks, token)?;
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

/// A call that every block answers: its own journal, read with the administrator's token.
fn first_call(
    text: &mut String,
    address: SocketAddr,
    blocks: &[Mounted],
    token: &str,
) -> std::fmt::Result {
    let Some(block) = blocks.last() else {
        return Ok(());
    };
    writeln!(
        text,
        "  grpcurl -plaintext -H \"authorization: Bearer $(cat {token})\" \\"
    )?;
    writeln!(
        text,
        "    -H 'x-publica-block: {}' {address} \\",
        block.name
    )?;
    writeln!(text, "    publica.journal.v1.JournalService/ListEntries")
}
