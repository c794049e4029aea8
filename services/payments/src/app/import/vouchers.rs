//! Vouchers from another system: a run of them takes as many statements as one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use publica_imports::{Outcome, Problem};
use publica_store::Tx;

use super::{Entity, Line, VoucherLine};
use crate::error::Error;
use crate::store::voucher::{self as sql, ImportedRow, NewVoucher};

/// A voucher with those that follow it at once.
pub(super) fn run<'l>(first: &'l VoucherLine, rest: &'l [Line]) -> Vec<&'l VoucherLine> {
    let vouchers = rest.iter().map_while(|line| match &line.entity {
        Entity::Voucher(one) => Some(&**one),
        _ => None,
    });
    std::iter::once(first).chain(vouchers).collect()
}

/// Stores vouchers, each once.
pub(super) async fn store(tx: &mut Tx<'_>, lines: &[&VoucherLine]) -> Result<Vec<Outcome>, Error> {
    let (blocks, groups) = named(tx, lines).await?;
    let mut wrong: Vec<Vec<Problem>> = Vec::with_capacity(lines.len());
    // Of several lines with one serial number the first one is stored.
    let mut first: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let mut problems = Vec::new();
        if !blocks.contains(line.new.calling_block.as_str()) {
            let what = "there is no such building block";
            problems.push(("Gov_Stack_BB".to_owned(), what.to_owned()));
        }
        if !groups.contains(line.new.voucher_group.as_str()) {
            let what = "there is no such voucher group";
            problems.push(("voucher_group".to_owned(), what.to_owned()));
        }
        if problems.is_empty() {
            first.entry(&line.new.serial).or_insert(at);
        }
        wrong.push(problems);
    }
    let fresh: Vec<&NewVoucher> = first.values().map(|at| &lines[*at].new).collect();
    let stored: BTreeSet<String> = sql::insert_many(tx, &fresh).await?.into_iter().collect();
    let is_new = |at: usize, line: &VoucherLine| {
        first.get(line.new.serial.as_str()) == Some(&at) && stored.contains(&line.new.serial)
    };
    let asked: Vec<&str> = lines
        .iter()
        .enumerate()
        .filter(|(at, line)| wrong[*at].is_empty() && !is_new(*at, line))
        .map(|(_, line)| line.new.serial.as_str())
        .collect();
    let known = sql::imported(tx, &asked).await?;
    let known: HashMap<&str, &ImportedRow> =
        known.iter().map(|row| (row.serial.as_str(), row)).collect();
    Ok(lines
        .iter()
        .zip(wrong)
        .enumerate()
        .map(|(at, (line, problems))| {
            if !problems.is_empty() {
                return Outcome::Refused(problems);
            }
            if is_new(at, line) {
                return Outcome::Stored;
            }
            match known.get(line.new.serial.as_str()) {
                Some(row) if same(row, line) => Outcome::Repeated,
                Some(_) => Outcome::differs("voucher_serial_number"),
                None => Outcome::refused("voucher_number", "is that of another voucher"),
            }
        })
        .collect())
}

/// Stores a single voucher.
pub(super) async fn only(tx: &mut Tx<'_>, line: &VoucherLine) -> Result<Outcome, Error> {
    let mut outcomes = store(tx, &[line]).await?;
    outcomes
        .pop()
        .ok_or(Error::corrupt("the outcome of a line"))
}

/// The calling blocks and the groups among those that lines name which there are.
async fn named<'l>(
    tx: &mut Tx<'_>,
    lines: &[&'l VoucherLine],
) -> Result<(BTreeSet<&'l str>, BTreeSet<&'l str>), Error> {
    let mut blocks: BTreeSet<&str> = BTreeSet::new();
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    for line in lines {
        blocks.insert(&line.new.calling_block);
        groups.insert(&line.new.voucher_group);
    }
    let mut known = (BTreeSet::new(), BTreeSet::new());
    for block in blocks {
        if sql::knows_block(tx, block).await? {
            known.0.insert(block);
        }
    }
    for group in groups {
        if sql::find_group(tx, group).await?.is_some() {
            known.1.insert(group);
        }
    }
    Ok(known)
}

/// Whether a stored voucher is the line's. A line without an expiry leaves that open.
fn same(row: &ImportedRow, line: &VoucherLine) -> bool {
    let new = &line.new;
    let ends = row.hold_until.or(row.expires_at);
    row.number_hash == new.number_hash
        && row.calling_block == new.calling_block
        && row.voucher_group == new.voucher_group
        && row.currency == new.currency
        && row.amount_minor == new.amount_minor
        && row.state == new.state.code()
        && (line.told_expiry.is_none() || line.told_expiry == ends)
}
