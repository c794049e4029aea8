//! Checking what an account held at the end of a closed period.
//!
//! What is proved: the balance is a row of the tree with this root. That the root is that of the
//! period stands in the block's journal, which `publica verify` checks.

use serde::Deserialize;

use super::{MOST_ROWS, ReceiptFault, hash, malformed, minor};
use crate::domain::ledger::Counters;
use crate::domain::merkle::{Hash, leads_to};
use crate::domain::period::Balance;

/// A balance that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenBalance {
    /// The period.
    pub period_id: String,
    /// The account's code.
    pub code: String,
    /// Posted credits less posted debits, as a decimal.
    pub balance: String,
    /// The currency.
    pub currency: String,
    /// The period's root, in hexadecimal.
    pub root: String,
}

#[derive(Deserialize)]
struct Proof {
    period: Period,
    balance: Held,
    leaf: String,
    leaf_index: usize,
    path: Vec<String>,
}

#[derive(Deserialize)]
struct Period {
    period_id: String,
    account_count: usize,
    root: String,
}

#[derive(Deserialize)]
struct Held {
    account_id: String,
    code: String,
    currency: String,
    balance: String,
    debits_pending: String,
    debits_posted: String,
    credits_pending: String,
    credits_posted: String,
}

/// Whether JSON is about a balance, and not a receipt.
pub fn is_balance(json: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        balance: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Kind>(json).is_ok_and(|kind| kind.balance.is_some())
}

/// Checks a balance of a closed period as the native interface gives it, as JSON.
///
/// # Errors
///
/// [`ReceiptFault`], the first that applies.
pub fn verify_balance(json: &[u8]) -> Result<ProvenBalance, ReceiptFault> {
    let proof: Proof = serde_json::from_slice(json)
        .map_err(|error| ReceiptFault::Malformed(publica_json::shape(&error)))?;
    let (held, size) = (&proof.balance, proof.period.account_count);
    if size > MOST_ROWS {
        return Err(malformed("the size"));
    }
    let amount = |text: &str| minor(text, &held.currency, "an amount");
    let counters = Counters {
        debits_pending: amount(&held.debits_pending)?,
        debits_posted: amount(&held.debits_posted)?,
        credits_pending: amount(&held.credits_pending)?,
        credits_posted: amount(&held.credits_posted)?,
    };
    let account_id = held.account_id.parse();
    let balance = Balance {
        account_id: account_id.map_err(|_| malformed("the account's id"))?,
        code: &held.code,
        currency: &held.currency,
        counters,
    };
    let leaf = balance.leaf(&proof.period.period_id);
    let net = counters.credits_posted.checked_sub(counters.debits_posted);
    let same = net == Some(minor(&held.balance, &held.currency, "the balance")?);
    if !same || leaf != hash(&proof.leaf, "the leaf")? {
        return Err(ReceiptFault::Leaf);
    }
    let path = proof.path.iter().map(|text| hash(text, "the path"));
    let path = path.collect::<Result<Vec<Hash>, _>>()?;
    let root = hash(&proof.period.root, "the root")?;
    if !leads_to(&leaf, proof.leaf_index, size, &path, &root) {
        return Err(ReceiptFault::Path);
    }
    Ok(ProvenBalance {
        period_id: proof.period.period_id,
        code: proof.balance.code,
        balance: proof.balance.balance,
        currency: proof.balance.currency,
        root: proof.period.root,
    })
}
