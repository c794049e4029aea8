//! `publica restore --mark`: tells journals that their stores were brought back from copies.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use publica_host::StorePlan;
use publica_store::{NoTail, Stores};
use publica_types::{SharedClock, SystemClock, Tenant};

use crate::print;
use crate::settings::{self, Suite};

/// Marks the stores of the named blocks, all if there are none.
pub(crate) async fn run(suite: &Suite, blocks: &[String]) -> Result<u8> {
    let blocks = match settings::chosen(blocks) {
        Ok(blocks) => blocks,
        Err(problem) => {
            print::error(&problem);
            return Ok(publica_config::EXIT_CODE);
        }
    };
    let mut stores = 0;
    for block in blocks {
        let plan = suite.stores(block);
        let files: BTreeMap<_, _> = plan.config.files()?.into_iter().collect();
        for tenant in &plan.config.tenants {
            if files.get(tenant).is_none_or(|file| file.is_file()) {
                let doing = || format!("the store of {block} ({tenant})");
                let marked = mark(&plan, tenant).await.with_context(doing)?;
                let what = if marked {
                    "marked; its journal opens a new epoch when it next starts"
                } else {
                    "its journal has signed nothing, so there is nothing to mark"
                };
                print::line(&format!("{block} ({tenant}): {what}"))?;
                stores += 1;
            }
        }
    }
    ensure!(
        stores > 0,
        "no store was found; name the settings or the data folder"
    );
    Ok(0)
}

async fn mark(plan: &StorePlan, tenant: &Tenant) -> Result<bool> {
    let clock: SharedClock = Arc::new(SystemClock);
    // Not beside a server: whoever runs on the store would go on in the old epoch.
    let mut config = plan.config.clone();
    config.database.migrate_on_open = Some(false);
    config.tenants = vec![tenant.clone()];
    let stores = Stores::open(config, plan.migrations.clone(), clock, Arc::new(NoTail)).await?;
    let db = stores.of(tenant).await?;
    let marked = publica_journal::mark_restored(&db).await;
    drop(db);
    stores.close().await;
    Ok(marked?)
}
