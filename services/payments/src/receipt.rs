//! Checking a receipt without asking anybody.
//!
//! A receipt of the native interface has all that its digest covers. What is proved: the
//! instruction with this payee, amount and currency is a row of the content that the digest names,
//! and that approvers signed for. Who approved that digest is in the block's journal, which
//! `publica verify` checks.

mod balance;

use publica_types::{Currency, Money};
use serde::Deserialize;

use crate::domain::batch::{Content, Total};
use crate::domain::instruction::instruction_leaf;
use crate::domain::merkle::{Hash, leads_to};

pub use balance::{ProvenBalance, is_balance, verify_balance};

/// Far more rows than any batch has.
const MOST_ROWS: usize = 1 << 32;

/// A receipt that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The batch.
    pub batch_id: String,
    /// The instruction.
    pub instruction_id: String,
    /// The payee's handle, in hexadecimal.
    pub payee: String,
    /// How much, as a decimal.
    pub amount: String,
    /// The currency.
    pub currency: String,
    /// The digest of the approved content, in hexadecimal.
    pub digest: String,
}

/// Why a receipt does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// It is no receipt, or a member of it makes no sense.
    #[error("the receipt cannot be read: {0}")]
    Malformed(String),
    /// The leaf is not that of what is shown.
    #[error("the leaf is not that of what is shown beside it")]
    Leaf,
    /// The path leads elsewhere.
    #[error("the path does not lead from the leaf to the root")]
    Path,
    /// The digest is that of other content.
    #[error("the digest is not that of the content")]
    Digest,
}

#[derive(Deserialize)]
struct Receipt {
    instruction: Instruction,
    payee: String,
    leaf: String,
    leaf_index: usize,
    path: Vec<String>,
    root: String,
    tree_size: usize,
    digest: String,
    content: Covered,
}

#[derive(Deserialize)]
struct Instruction {
    instruction_id: String,
    amount: String,
    currency: String,
}

#[derive(Deserialize)]
struct Covered {
    batch_id: String,
    source_id: String,
    source_batch: String,
    programme_id: String,
    currency: String,
    totals: Vec<Covering>,
}

#[derive(Deserialize)]
struct Covering {
    institution: String,
    verdict: i64,
    count: i64,
    amount: String,
}

fn malformed(what: &str) -> ReceiptFault {
    ReceiptFault::Malformed(what.to_owned())
}

fn hash(text: &str, what: &str) -> Result<Hash, ReceiptFault> {
    let bytes = hex::decode(text).map_err(|_| malformed(what))?;
    bytes.try_into().map_err(|_| malformed(what))
}

fn minor(text: &str, currency: &str, what: &str) -> Result<i64, ReceiptFault> {
    let currency: Currency = currency.parse().map_err(|_| malformed("the currency"))?;
    let money = Money::parse(text, currency).map_err(|_| malformed(what))?;
    Ok(money.amount_minor)
}

/// Checks a receipt as the native interface gives it, as JSON.
///
/// # Errors
///
/// [`ReceiptFault`], the first that applies.
pub fn verify_receipt(json: &[u8]) -> Result<Proven, ReceiptFault> {
    let receipt: Receipt = serde_json::from_slice(json)
        .map_err(|error| ReceiptFault::Malformed(publica_json::shape(&error)))?;
    if receipt.tree_size > MOST_ROWS {
        return Err(malformed("the size"));
    }
    let (paid, covered) = (&receipt.instruction, &receipt.content);
    let payee = hex::decode(&receipt.payee).map_err(|_| malformed("the payee"))?;
    let amount = minor(&paid.amount, &paid.currency, "the amount")?;
    let leaf = instruction_leaf(&paid.instruction_id, &payee, amount, &paid.currency);
    if leaf != hash(&receipt.leaf, "the leaf")? {
        return Err(ReceiptFault::Leaf);
    }
    let path = receipt.path.iter().map(|text| hash(text, "the path"));
    let path = path.collect::<Result<Vec<Hash>, _>>()?;
    let root = hash(&receipt.root, "the root")?;
    if !leads_to(&leaf, receipt.leaf_index, receipt.tree_size, &path, &root) {
        return Err(ReceiptFault::Path);
    }
    let totals = covered.totals.iter().map(|total| {
        Ok(Total {
            institution: total.institution.clone(),
            verdict: total.verdict,
            item_count: total.count,
            amount_minor: minor(&total.amount, &covered.currency, "a total")?,
        })
    });
    let totals = totals.collect::<Result<Vec<Total>, ReceiptFault>>()?;
    let count = i64::try_from(receipt.tree_size).map_err(|_| malformed("the size"))?;
    let content = Content {
        batch_id: covered
            .batch_id
            .parse()
            .map_err(|_| malformed("the batch's id"))?,
        source_id: &covered.source_id,
        source_batch: &covered.source_batch,
        programme: &covered.programme_id,
        currency: &covered.currency,
        row_count: count,
        root: &root,
        totals: &totals,
    };
    if content.digest() != hash(&receipt.digest, "the digest")? {
        return Err(ReceiptFault::Digest);
    }
    Ok(Proven {
        batch_id: receipt.content.batch_id,
        instruction_id: receipt.instruction.instruction_id,
        payee: receipt.payee,
        amount: receipt.instruction.amount,
        currency: receipt.instruction.currency,
        digest: receipt.digest,
    })
}
