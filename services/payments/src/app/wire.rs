//! Rows of the store as messages of the wire.

use std::collections::BTreeMap;

use publica_proto::payments::v1 as pb;
use publica_rpc::timestamp;
use publica_types::Timestamp;

use crate::domain::batch::Total;
use crate::error::Error;
use crate::store::batch::{ApprovalRow, BatchRow};
use crate::store::ledger::{AccountRow, Made, MovementRow, TransferRow};
use crate::store::programme::{FundingRow, ProgrammeRow, SourceRow};

/// Tallies together.
pub(crate) fn sum_of(tallies: [Option<&pb::Tally>; 2]) -> pb::Tally {
    let given = tallies.into_iter().flatten();
    given.fold(tally(0, 0), |sum, more| {
        tally(
            sum.item_count + more.item_count,
            sum.amount_minor.saturating_add(more.amount_minor),
        )
    })
}

/// A number for a field that cannot be negative and is small.
pub(crate) fn small(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// An account's kind, as the store keeps it.
pub(crate) fn account_kind(kind: pb::AccountKind) -> i64 {
    i64::from(i32::from(kind))
}

pub(crate) fn account(row: AccountRow) -> pb::Account {
    pb::Account {
        account_id: row.account_id.to_string(),
        code: row.code,
        currency: row.currency,
        debits_pending: row.debits_pending,
        debits_posted: row.debits_posted,
        credits_pending: row.credits_pending,
        credits_posted: row.credits_posted,
        floor_minor: row.floor_minor,
        version: row.version,
        kind: small(row.kind),
        closed: row.closed,
        move_time: row.moved_at.map(timestamp),
    }
}

pub(crate) fn movement(row: MovementRow) -> pb::Movement {
    pb::Movement {
        group_id: row.group_id.to_string(),
        move_time: Some(timestamp(row.moved_at)),
        version: row.version,
        debits_pending: row.debits_pending,
        debits_posted: row.debits_posted,
        credits_pending: row.credits_pending,
        credits_posted: row.credits_posted,
    }
}

/// Kinds are numbered from 0 in the store and from 1 on the wire.
fn kind(code: i64) -> i32 {
    small(code + 1)
}

pub(crate) fn made(made: &Made) -> pb::Transfer {
    let transfer = &made.transfer;
    pb::Transfer {
        transfer_id: made.transfer_id.to_string(),
        group_id: made.transfer_id.group().to_string(),
        debit_account_id: transfer.debit.to_string(),
        credit_account_id: transfer.credit.to_string(),
        amount_minor: transfer.amount_minor,
        currency: made.currency.clone(),
        kind: kind(transfer.action.code()),
        create_time: Some(timestamp(made.made_at)),
        pending_id: transfer
            .action
            .pending()
            .map(|id| id.to_string())
            .unwrap_or_default(),
        reason: transfer.reason.clone(),
        effective_time: made.effective_at.map(timestamp),
    }
}

pub(crate) fn transfer(
    row: TransferRow,
    currency: String,
    effective_at: Option<Timestamp>,
) -> pb::Transfer {
    pb::Transfer {
        transfer_id: row.transfer_id.to_string(),
        group_id: row.transfer_id.group().to_string(),
        debit_account_id: row.debit_id.to_string(),
        credit_account_id: row.credit_id.to_string(),
        amount_minor: row.amount_minor,
        currency,
        kind: kind(row.kind),
        create_time: Some(timestamp(row.made_at)),
        pending_id: row.pending_id.map(|id| id.to_string()).unwrap_or_default(),
        reason: row.reason,
        effective_time: effective_at.map(timestamp),
    }
}

pub(crate) fn funding(row: FundingRow) -> pb::FundingAccount {
    pb::FundingAccount {
        funding_account_id: row.account_id.to_string(),
        name: row.name,
        currency: row.currency,
        voucher_group: row.voucher_group,
        balance_minor: row.credits_posted.saturating_sub(row.debits_posted),
        held_minor: row.debits_pending,
    }
}

pub(crate) fn programme(row: ProgrammeRow) -> pb::Programme {
    let state = match row.stopped {
        true => pb::ProgrammeState::Stopped,
        false => pb::ProgrammeState::Active,
    };
    pb::Programme {
        programme_id: row.programme_id.to_string(),
        code: row.code,
        name: row.name,
        currency: row.currency,
        funding_account_id: row.funding_account_id.to_string(),
        fallback_voucher_group: row.fallback_group,
        approvals_needed: small(row.approvals_needed),
        batch_ceiling_minor: row.batch_ceiling_minor,
        state: state.into(),
        create_time: Some(timestamp(row.created_at)),
    }
}

pub(crate) fn source(row: SourceRow, clients: &BTreeMap<String, Vec<String>>) -> pb::SourceBlock {
    pb::SourceBlock {
        clients: clients.get(&row.source_id).cloned().unwrap_or_default(),
        source_id: row.source_id,
        name: row.name,
        programme_id: row
            .programme_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        active: row.active,
    }
}

pub(crate) fn tally(item_count: i64, amount_minor: i64) -> pb::Tally {
    pb::Tally {
        item_count,
        amount_minor,
    }
}

pub(crate) fn sum<'a>(totals: impl Iterator<Item = &'a Total>) -> pb::Tally {
    totals.fold(tally(0, 0), |sum, total| {
        tally(
            sum.item_count + total.item_count,
            sum.amount_minor + total.amount_minor,
        )
    })
}

fn approval(row: ApprovalRow) -> pb::Approval {
    pb::Approval {
        approver: row.approver,
        approve_time: Some(timestamp(row.approved_at)),
        digest: hex::encode(row.digest),
    }
}

/// A batch with what stands beside it in other tables.
pub(crate) fn batch(
    row: BatchRow,
    source_id: String,
    approvals_needed: i64,
    approvals: Vec<ApprovalRow>,
) -> pb::Batch {
    pb::Batch {
        batch_id: row.batch_id.to_string(),
        source_id,
        source_request: row.source_request,
        source_batch: row.source_batch,
        programme_id: row.programme_id.to_string(),
        currency: row.currency,
        state: small(row.state),
        state_reason: row.state_reason,
        maker: row.maker,
        digest: row.digest.map(hex::encode).unwrap_or_default(),
        received_count: row.received_count,
        accepted: Some(tally(row.accepted_count, row.accepted_minor)),
        unresolved: Some(tally(row.unresolved_count, row.unresolved_minor)),
        refused_count: row.refused_count,
        approvals: approvals.into_iter().map(approval).collect(),
        approvals_needed: small(approvals_needed),
        create_time: Some(timestamp(row.created_at)),
        update_time: Some(timestamp(row.updated_at)),
        bank_reason: String::new(),
    }
}

/// A time of the wire, or an error that names the field.
pub(crate) fn time(
    field: &str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Error> {
    let read = |time| publica_rpc::from_timestamp(field, time);
    Ok(time.map(read).transpose()?)
}
