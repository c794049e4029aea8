//! `publica migrate`.

use std::sync::Arc;

use anyhow::Result;
use publica_types::SystemClock;

use crate::base::Base;
use crate::cli::MigrateArgs;
use crate::print;
use crate::settings;

pub(crate) async fn run(args: MigrateArgs) -> Result<u8> {
    let loaded = settings::load(args.config.as_deref(), |suite| {
        if let Some(data) = &args.data {
            suite.data.clone_from(data);
        }
    });
    let suite = match loaded {
        Ok(suite) => suite,
        Err(problems) => return Ok(settings::report(&problems)),
    };
    let blocks = match settings::chosen(&args.blocks) {
        Ok(blocks) => blocks,
        Err(problem) => {
            print::error(&problem);
            return Ok(publica_config::EXIT_CODE);
        }
    };
    let base = Base::new(&suite, Arc::new(SystemClock))?;
    for block in blocks {
        suite.migrate(block, &base).await?;
        print::line(&format!("{block}: up to date"))?;
    }
    Ok(0)
}
