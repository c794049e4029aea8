//! `publica verify-receipt`: checks a payment's receipt, or a balance of a closed period, with
//! nothing but the file.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use publica_payments::{is_balance, verify_balance, verify_receipt};

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
        "{} is larger than 1 MiB, so it is no receipt",
        receipt.display()
    );
    let verdict = match is_balance(&bytes) {
        true => verify_balance(&bytes).map(|proven| {
            format!(
                "valid: {} {} on account {} at the end of period {}, root {}",
                proven.balance, proven.currency, proven.code, proven.period_id, proven.root,
            )
        }),
        false => verify_receipt(&bytes).map(|proven| {
            format!(
                "valid: {} of {} {} to payee {} is in batch {}, digest {}",
                proven.instruction_id,
                proven.amount,
                proven.currency,
                proven.payee,
                proven.batch_id,
                proven.digest,
            )
        }),
    };
    match verdict {
        Ok(valid) => {
            print::line(&valid)?;
            Ok(0)
        }
        Err(fault) => {
            print::line(&format!("not valid: {fault}"))?;
            Ok(1)
        }
    }
}
