//! `publica token`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use publica_types::{SystemClock, SystemEntropy, Tenant};

use crate::cli::TokenArgs;
use crate::{base, print, settings};

pub(crate) fn run(args: TokenArgs) -> Result<u8> {
    let loaded = settings::load(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
        if let Some(key) = &args.key {
            suite.workload_key = Some(key.clone());
        }
    });
    let suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    // A token for a tenant without stores would be refused wherever it is shown.
    let known: Vec<&str> = suite.tenants.iter().map(Tenant::as_str).collect();
    ensure!(
        suite.tenants.contains(&args.tenant),
        "there is no tenant {}; the settings name {}",
        args.tenant.as_str(),
        known.join(", ")
    );
    let key = suite
        .workload_key
        .unwrap_or_else(|| base::workload_key(&suite.data));
    ensure!(
        key.is_file(),
        "{} does not exist: name the data folder of a suite that has run once (--data), or the \
         key (--key)",
        key.display()
    );
    let tokens = base::tokens(&key, Arc::new(SystemClock), Arc::new(SystemEntropy))?;
    let lifetime = Duration::from_secs(args.minutes * 60);
    print::line(&tokens.mint(&args.subject, &args.scope, &args.tenant, lifetime)?)?;
    Ok(0)
}
