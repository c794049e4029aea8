//! `publica verify-receipt`: checks a payment's receipt with nothing but the file.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use publica_payments::verify_receipt;

use crate::print;

/// The largest receipt: one of a large batch has a few dozen hashes and some sums.
const MOST_BYTES: u64 = 1 << 20;

pub(crate) fn run(receipt: &Path) -> Result<u8> {
    let mut bytes = Vec::new();
    if receipt.as_os_str() == "-" {
        let input = std::io::stdin().lock();
        input
            .take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
            .context("reading standard input")?;
    } else {
        let name = || format!("reading {}", receipt.display());
        let file = std::fs::File::open(receipt).with_context(name)?;
        file.take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
            .with_context(name)?;
    }
    anyhow::ensure!(
        u64::try_from(bytes.len()).is_ok_and(|length| length <= MOST_BYTES),
        "{} is larger than 1 MiB, so it is no receipt of one payment",
        receipt.display()
    );
    match verify_receipt(&bytes) {
        Ok(proven) => {
            print::line(&format!(
                "valid: {} of {} {} to payee {} is in batch {}, digest {}",
                proven.instruction_id,
                proven.amount,
                proven.currency,
                proven.payee,
                proven.batch_id,
                proven.digest,
            ))?;
            Ok(0)
        }
        Err(fault) => {
            print::line(&format!("not valid: {fault}"))?;
            Ok(1)
        }
    }
}
