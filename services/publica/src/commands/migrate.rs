//! `publica migrate`.

use std::sync::Arc;

use anyhow::Result;
use publica_types::SystemClock;

use crate::base::Base;
use crate::cli::MigrateArgs;
use crate::print;
use crate::settings::{self, BLOCKS};

pub(crate) async fn run(args: MigrateArgs) -> Result<u8> {
    let loaded = settings::load(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
    });
    let mut suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    if let Some(wrong) = args
        .blocks
        .iter()
        .find(|name| !BLOCKS.contains(&name.as_str()))
    {
        print::error(&format!(
            "there is no block {wrong}; there are {}",
            BLOCKS.join(", ")
        ));
        return Ok(publica_config::EXIT_CODE);
    }
    let base = Base::new(&suite, Arc::new(SystemClock))?;
    for block in BLOCKS {
        if args.blocks.is_empty() || args.blocks.iter().any(|name| name == block) {
            suite.migrate(block, &base).await?;
            print::line(&format!("{block}: up to date"))?;
        }
    }
    Ok(0)
}
