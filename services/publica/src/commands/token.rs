//! `publica token`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use publica_types::{SystemClock, SystemEntropy};

use crate::base;
use crate::cli::TokenArgs;
use crate::print;

pub(crate) fn run(args: TokenArgs) -> Result<u8> {
    let key = args.key.unwrap_or_else(|| base::workload_key(&args.data));
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
