//! `publica keys rotate`: moves what is sealed to the active key, beside a server or without one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use publica_host::StorePlan;
use publica_journal::{Entry, JournalTail};
use publica_seal::{Census, Keyring, Rotated};
use publica_store::{Db, Stores};
use publica_types::{Origin, SharedClock, SharedEntropy, SystemClock, SystemEntropy, Tenant};
use serde_json::json;
use tokio::time::Instant;

use crate::cli::RotateArgs;
use crate::settings::{self, Suite};
use crate::{base, print};

/// Values in a unit of work: few enough that nobody waits for it.
const CHUNK: i64 = 200;
/// How often whoever watches is told how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: RotateArgs) -> Result<u8> {
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
    let mut rotation = Rotation::new(&suite, args.count)?;
    for block in blocks {
        rotation.block(block, suite.stores(block)).await?;
    }
    rotation.report()
}

struct Rotation {
    keyring: Keyring,
    clock: SharedClock,
    entropy: SharedEntropy,
    /// Whether nothing is moved.
    count: bool,
    stores: u64,
    moved: u64,
    /// Values under each key, by the key's id, then by where they are.
    under: BTreeMap<String, BTreeMap<String, u64>>,
    /// Values that do not open, by where they are.
    unopened: BTreeMap<String, u64>,
}

impl Rotation {
    fn new(suite: &Suite, count: bool) -> Result<Self> {
        let entropy: SharedEntropy = Arc::new(SystemEntropy);
        let keyring = base::keyring(suite, entropy.clone())?;
        let ids: Vec<&str> = keyring.key_ids().collect();
        print::line(&format!(
            "Keys at hand: {}; the active one is {}.",
            ids.join(", "),
            keyring.active_key()
        ))?;
        Ok(Self {
            keyring,
            clock: Arc::new(SystemClock),
            entropy,
            count,
            stores: 0,
            moved: 0,
            under: BTreeMap::new(),
            unopened: BTreeMap::new(),
        })
    }

    async fn block(&mut self, block: &'static str, plan: StorePlan) -> Result<()> {
        let files: BTreeMap<_, _> = plan.config.files()?.into_iter().collect();
        for tenant in &plan.config.tenants {
            // A block that never ran here has no file.
            if files.get(tenant).is_none_or(|file| file.is_file()) {
                let doing = || format!("the store of {block} ({tenant})");
                self.store(block, tenant, &plan).await.with_context(doing)?;
            }
        }
        Ok(())
    }

    async fn store(
        &mut self,
        block: &'static str,
        tenant: &Tenant,
        plan: &StorePlan,
    ) -> Result<()> {
        let keyring = self.keyring.scoped(block);
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        let tail = JournalTail::new(block, &keyring, clock.clone(), entropy);
        let mut config = plan.config.clone().beside();
        config.tenants = vec![tenant.clone()];
        let stores = Stores::open(config, plan.migrations.clone(), clock, tail).await?;
        let db = stores.of(tenant).await?;
        let name = format!("{block} ({tenant})");
        let outcome = self.turn(&db, &keyring, &name, plan).await;
        drop(db);
        stores.close().await;
        self.stores += 1;
        outcome
    }

    async fn turn(
        &mut self,
        db: &Db,
        keyring: &Keyring,
        name: &str,
        plan: &StorePlan,
    ) -> Result<()> {
        if !self.count {
            let mut told = Instant::now();
            let mut watch = |column: &'static str, seen: u64| {
                if told.elapsed() >= PROGRESS {
                    told = Instant::now();
                    // Whoever no longer reads this still wants the keys moved.
                    let _ = print::line(&format!("{name}: {column}: {seen} looked at"));
                }
            };
            let rotated = keyring.rotate(db, &plan.sealed, CHUNK, &mut watch).await?;
            print::line(&format!(
                "{name}: {} values moved to {}",
                rotated.moved,
                keyring.active_key()
            ))?;
            self.moved += rotated.moved;
            record(db, keyring, &rotated).await?;
        }
        let census = keyring.census(db, &plan.sealed, CHUNK).await?;
        self.add(name, census);
        Ok(())
    }

    fn add(&mut self, name: &str, census: Census) {
        for (column, keys) in census.under {
            for (id, count) in keys {
                let place = self.under.entry(id).or_default();
                place.insert(format!("{name} {column}"), count);
            }
        }
        for (column, count) in census.unopened {
            self.unopened.insert(format!("{name} {column}"), count);
        }
        if let Some(reason) = census.reason {
            print::error(&format!("{name}: {reason}"));
        }
    }

    /// Says what is still under each key; 1 if anything is left behind.
    fn report(&self) -> Result<u8> {
        ensure!(self.stores > 0, "no store was found; name the data folder");
        let active = self.keyring.active_key();
        let mut ids: Vec<&str> = self.keyring.key_ids().collect();
        let unknown = self.under.keys().map(String::as_str);
        ids.extend(unknown.filter(|id| !self.keyring.key_ids().any(|known| known == *id)));
        let mut left = false;
        for id in ids {
            let places = self.under.get(id);
            let sum: u64 = places.iter().flat_map(|places| places.values()).sum();
            print::line(&format!("under {id}: {sum}"))?;
            if id == active {
                continue;
            }
            for (place, count) in places.into_iter().flatten() {
                left = true;
                print::line(&format!("  {place}: {count}"))?;
            }
        }
        for (place, count) in &self.unopened {
            print::error(&format!("{count} values of {place} do not open"));
        }
        let bad = !self.unopened.is_empty();
        if bad {
            print::error("Keep every key until what does not open is accounted for.");
        } else if left {
            let what = "What a server still seals with an earlier key is moved by the next run, \
                once every server was started anew.";
            print::line(if self.count { LEFT } else { what })?;
        } else {
            print::line(&format!(
                "Everything in {} stores is under {active}. Other keys may leave the key set, \
                 unless a backup that is still wanted needs them.",
                self.stores
            ))?;
        }
        Ok(u8::from(bad || left))
    }
}

const LEFT: &str = "`publica keys rotate` without --count moves what is under other keys.";

/// Leaves an entry in the journal: somebody reached for all that is sealed here.
async fn record(db: &Db, keyring: &Keyring, rotated: &Rotated) -> Result<()> {
    if rotated.moved == 0 {
        return Ok(());
    }
    let body = json!({
        "moved": rotated.moved,
        "unopened": rotated.unopened.values().sum::<u64>(),
    });
    let input = (keyring.active_key().to_owned(), body);
    let written = db.write("keys.rotated", input, |tx, (key, body)| {
        Box::pin(async move {
            let entry = Entry::new("journal.keys.rotated")
                .subject("key", key)
                .body(body.clone());
            publica_journal::append(tx, &Origin::system("keys"), entry);
            Ok::<_, publica_store::StoreError>(())
        })
    });
    Ok(written.await?)
}
