//! `publica keys`: what a suite's processes share, made once.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use publica_seal::{Keyring, SealConfig};
use publica_types::{SharedEntropy, SystemClock, SystemEntropy};

use crate::base::{self, SEAL_KEYS, WORKLOAD_KEY};
use crate::print;

pub(crate) fn run(folder: Option<&Path>) -> Result<u8> {
    let folder = folder.context("--to names the folder for the keys")?;
    let (seal, workload) = (folder.join(SEAL_KEYS), folder.join(WORKLOAD_KEY));
    for file in [&seal, &workload] {
        let there = file
            .try_exists()
            .with_context(|| file.display().to_string())?;
        ensure!(
            !there,
            "{} exists already, and other keys would open nothing of what it has sealed or \
             signed; nothing was made",
            file.display()
        );
    }
    base::private_folder(folder)?;
    let entropy: SharedEntropy = Arc::new(SystemEntropy);
    let config = SealConfig {
        file: Some(seal.clone()),
        create: true,
        ..SealConfig::default()
    };
    Keyring::open(&config, entropy.clone()).context("making the keys of personal data")?;
    base::tokens(&workload, Arc::new(SystemClock), entropy)?;
    for file in [&seal, &workload] {
        print::line(&file.display().to_string())?;
    }
    Ok(0)
}
