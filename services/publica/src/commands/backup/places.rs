//! What the settings place outside the data folder, and where that is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use publica_store::Engine;
use serde::{Deserialize, Serialize};

use crate::base::{SEAL_KEYS, workload_key};
use crate::settings::{BLOCKS, Suite};

/// What a file outside the data folder is to the suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Role {
    /// The embedded store of a block and tenant.
    Store { block: String, tenant: String },
    /// The keys of personal data.
    SealKeys,
    /// The key of workload tokens.
    WorkloadKey,
}

impl Role {
    /// Where the settings have it now.
    pub(super) fn place(&self, suite: &Suite) -> Result<PathBuf> {
        match self {
            Self::Store { block, tenant } => {
                let known = BLOCKS.contains(&block.as_str());
                let files = if known {
                    suite.stores(block).config.files()?
                } else {
                    Vec::new()
                };
                let mut files = files.into_iter();
                let file = files.find(|(of, _)| of.as_str() == tenant);
                let missing =
                    || format!("the settings name no embedded store of {block} ({tenant})");
                file.map(|(_, file)| file).with_context(missing)
            }
            Self::SealKeys => {
                let usual = || suite.data.join("keys").join(SEAL_KEYS);
                Ok(suite.seal.file.clone().unwrap_or_else(usual))
            }
            Self::WorkloadKey => {
                let usual = || workload_key(&suite.data);
                Ok(suite.workload_key.clone().unwrap_or_else(usual))
            }
        }
    }
}

/// Every file of the suite that stands outside its data folder and exists.
pub(super) fn outside(suite: &Suite) -> Result<Vec<(Role, PathBuf)>> {
    let mut found = Vec::new();
    for block in BLOCKS {
        for (tenant, file) in suite.stores(block).config.files()? {
            let role = Role::Store {
                block: (*block).to_owned(),
                tenant: tenant.to_string(),
            };
            found.push((role, file));
        }
    }
    let seal = suite.seal.file.clone();
    found.extend(seal.map(|file| (Role::SealKeys, file)));
    let workload = suite.workload_key.clone();
    found.extend(workload.map(|file| (Role::WorkloadKey, file)));
    found.retain(|(_, file)| file.is_file() && !is_below(&suite.data, file));
    Ok(found)
}

fn is_below(folder: &Path, file: &Path) -> bool {
    // Links are followed, so that neither is copied twice nor missed.
    match (folder.canonicalize(), file.canonicalize()) {
        (Ok(folder), Ok(file)) => file.starts_with(folder),
        _ => false,
    }
}

/// What belongs to the suite and cannot be copied, in words.
pub(super) fn elsewhere(suite: &Suite) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for block in BLOCKS {
        if suite.stores(block).config.database.engine()? == Engine::Postgres {
            words.push(format!(
                "the store of {block} is on PostgreSQL: copy it with PostgreSQL's own tools, and \
                 after it came back run `publica restore --mark --blocks {block}`"
            ));
        }
    }
    if suite.seal.keys.is_some() {
        words.push(
            "the keys of personal data are given by seal.keys: without a copy of them no store \
             can be read"
                .to_owned(),
        );
    }
    Ok(words)
}
