//! Opens the stores that the settings name, beside whoever has them.

use std::fmt;
use std::sync::Arc;

use publica_host::{Profile, StorePlan};
use publica_store::{Db, Engine, NoTail, StoreError, Stores};
use publica_types::{SharedClock, SystemClock, Tenant};

use super::Findings;
use crate::settings::{BLOCKS, Suite};

/// A store that could be opened.
pub(super) struct Open {
    pub(super) block: &'static str,
    pub(super) tenant: Tenant,
    pub(super) db: Db,
    stores: Stores,
}

/// The block, and the tenant unless it is the only one of most suites.
impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.block)?;
        if self.tenant != Tenant::default() {
            write!(f, " ({})", self.tenant)?;
        }
        Ok(())
    }
}

/// Opens what there is. Stores on PostgreSQL are judged here; embedded ones were, as files.
pub(super) async fn open(suite: &Suite, findings: &mut Findings) -> Vec<Open> {
    let mut open = Vec::new();
    for block in BLOCKS {
        let plan = suite.stores(block);
        let files = plan.config.files().unwrap_or_default();
        for tenant in &plan.config.tenants {
            let mut files = files.iter().filter(|(of, _)| of == tenant);
            if files.any(|(_, file)| !file.is_file()) {
                continue;
            }
            open.extend(one(suite, block, &plan, tenant, findings).await);
        }
    }
    open
}

async fn one(
    suite: &Suite,
    block: &'static str,
    plan: &StorePlan,
    tenant: &Tenant,
    findings: &mut Findings,
) -> Option<Open> {
    let name = format!("the store of {block} ({tenant})");
    let on_server = matches!(plan.config.database.engine(), Ok(Engine::Postgres));
    let (stores, db) = match attempt(plan, tenant, on_server).await {
        Ok(opened) => {
            if on_server {
                findings.good(format!("{name} answers and its schema is the program's"));
            }
            opened
        }
        Err(guarded) => match attempt(plan, tenant, false).await {
            // What was refused is the role alone.
            Ok(opened) => {
                let what = format!("{name} is up to date, but {guarded}");
                if suite.profile == Profile::Production {
                    findings.bad(what);
                } else {
                    findings.note(what);
                }
                opened
            }
            Err(error) => {
                let what = format!("{name} cannot be used: {error}");
                if on_server {
                    findings.bad(what);
                } else {
                    findings.note(what);
                }
                return None;
            }
        },
    };
    Some(Open {
        block,
        tenant: tenant.clone(),
        db,
        stores,
    })
}

/// Opens a store with the service's own role; `guarded` as a server in production does.
async fn attempt(
    plan: &StorePlan,
    tenant: &Tenant,
    guarded: bool,
) -> Result<(Stores, Db), StoreError> {
    let mut config = plan.config.clone();
    config.tenants = vec![tenant.clone()];
    config.beside = true;
    config.guarded = guarded;
    config.database.migrate_on_open = Some(false);
    let clock: SharedClock = Arc::new(SystemClock);
    let stores = Stores::open(config, plan.migrations.clone(), clock, Arc::new(NoTail)).await?;
    let db = stores.of(tenant).await?;
    Ok((stores, db))
}

/// Closes what was opened.
pub(super) async fn close(open: Vec<Open>) {
    for Open { db, stores, .. } in open {
        drop(db);
        stores.close().await;
    }
}
