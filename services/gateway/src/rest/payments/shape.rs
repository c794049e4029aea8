//! Messages of the block as JSON of the native paths: money as decimal text, states in lower
//! case, absent members left out as null.

use publica_proto::payments::v1 as api;
use publica_types::{Currency, Money};
use serde_json::{Value, json};

use crate::convert::rfc3339;

/// An amount as decimal text.
pub(super) fn decimal(minor: i64, currency: &str) -> String {
    match currency.parse::<Currency>() {
        Ok(currency) => Money::new(minor, currency).decimal(),
        Err(_) => minor.to_string(),
    }
}

/// An enumeration's name in lower case, without its type in front.
fn name(full: &str, prefix: &str) -> String {
    full.strip_prefix(prefix).unwrap_or(full).to_lowercase()
}

fn tally(tally: Option<&api::Tally>, currency: &str) -> Value {
    let (count, minor) = tally.map_or((0, 0), |tally| (tally.item_count, tally.amount_minor));
    json!({"count": count, "amount": decimal(minor, currency)})
}

pub(super) fn or_null(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        json!(text)
    }
}

pub(super) fn funding_account(account: &api::FundingAccount) -> Value {
    json!({
        "funding_account_id": account.funding_account_id,
        "name": account.name,
        "currency": account.currency,
        "voucher_group": or_null(&account.voucher_group),
        "balance": decimal(account.balance_minor, &account.currency),
        "held": decimal(account.held_minor, &account.currency),
    })
}

pub(super) fn programme(programme: &api::Programme) -> Value {
    json!({
        "programme_id": programme.programme_id,
        "code": programme.code,
        "name": programme.name,
        "currency": programme.currency,
        "funding_account_id": programme.funding_account_id,
        "fallback_voucher_group": or_null(&programme.fallback_voucher_group),
        "approvals_needed": programme.approvals_needed,
        "batch_ceiling": match programme.batch_ceiling_minor {
            0 => Value::Null,
            minor => json!(decimal(minor, &programme.currency)),
        },
        "state": name(programme.state().as_str_name(), "PROGRAMME_STATE_"),
        "create_time": rfc3339(programme.create_time.as_ref()),
    })
}

pub(super) fn source_block(source: &api::SourceBlock) -> Value {
    json!({
        "source_id": source.source_id,
        "name": source.name,
        "programme_id": or_null(&source.programme_id),
        "active": source.active,
        "clients": source.clients,
    })
}

pub(super) fn beneficiary(beneficiary: &api::Beneficiary) -> Value {
    json!({
        "functional_id": beneficiary.functional_id,
        "modality": beneficiary.modality,
        "institution": beneficiary.institution,
        "financial_address": beneficiary.financial_address,
        "active": beneficiary.active,
        "update_time": rfc3339(beneficiary.update_time.as_ref()),
    })
}

pub(super) fn batch_state(state: api::BatchState) -> String {
    name(state.as_str_name(), "BATCH_STATE_")
}

pub(super) fn batch(batch: &api::Batch) -> Value {
    let currency = &batch.currency;
    let approvals: Vec<Value> = batch
        .approvals
        .iter()
        .map(|approval| {
            json!({
                "approver": approval.approver,
                "approve_time": rfc3339(approval.approve_time.as_ref()),
                "digest": approval.digest,
            })
        })
        .collect();
    json!({
        "batch_id": batch.batch_id,
        "source_id": batch.source_id,
        "source_request": batch.source_request,
        "source_batch": batch.source_batch,
        "programme_id": batch.programme_id,
        "currency": currency,
        "state": batch_state(batch.state()),
        "state_reason": or_null(&batch.state_reason),
        "bank_reason": or_null(&batch.bank_reason),
        "maker": batch.maker,
        "digest": or_null(&batch.digest),
        "received_count": batch.received_count,
        "accepted": tally(batch.accepted.as_ref(), currency),
        "unresolved": tally(batch.unresolved.as_ref(), currency),
        "refused_count": batch.refused_count,
        "approvals": approvals,
        "approvals_needed": batch.approvals_needed,
        "create_time": rfc3339(batch.create_time.as_ref()),
        "update_time": rfc3339(batch.update_time.as_ref()),
    })
}

pub(super) fn instruction(row: &api::InstructionStatus) -> Value {
    let money = row.amount.clone().unwrap_or_default();
    json!({
        "ordinal": row.ordinal,
        "instruction_id": row.instruction_id,
        "amount": decimal(money.amount_minor, &money.currency),
        "currency": money.currency,
        "institution": or_null(&row.institution),
        "state": name(row.state().as_str_name(), "INSTRUCTION_STATE_"),
        "iso_status": row.iso_status,
        "reason_code": or_null(&row.reason_code),
        "end_to_end_id": or_null(&row.end_to_end_id),
    })
}

pub(super) fn refusal(row: &api::Refusal) -> Value {
    json!({
        "ordinal": row.ordinal,
        "instruction_id": or_null(&row.instruction_id),
        "reason_code": row.reason_code,
        "reason": row.reason,
    })
}

pub(super) fn report(report: &api::GetBatchReportResponse) -> Value {
    let of = report.batch.clone().unwrap_or_default();
    let currency = &of.currency;
    let institutions: Vec<Value> = report
        .institutions
        .iter()
        .map(|row| {
            json!({
                "institution": row.institution,
                "settled": tally(row.settled.as_ref(), currency),
                "rejected": tally(row.rejected.as_ref(), currency),
                "unknown": tally(row.unknown.as_ref(), currency),
            })
        })
        .collect();
    let reasons: Vec<Value> = report
        .reasons
        .iter()
        .map(|row| json!({"reason_code": row.reason_code, "count": row.item_count}))
        .collect();
    json!({
        "batch": batch(&of),
        "settled": tally(report.settled.as_ref(), currency),
        "rejected": tally(report.rejected.as_ref(), currency),
        "unknown": tally(report.unknown.as_ref(), currency),
        "vouchers": tally(report.vouchers.as_ref(), currency),
        "replaced": tally(report.replaced.as_ref(), currency),
        "open": tally(report.open.as_ref(), currency),
        "institutions": institutions,
        "reasons": reasons,
        "reconciled": report.reconciled,
        "matched_count": report.matched_count,
        "differences": report.differences,
        "ledger_balanced": report.ledger_balanced,
    })
}

pub(super) fn receipt(receipt: &api::GetReceiptResponse) -> Value {
    json!({
        "instruction": receipt.instruction.as_ref().map(instruction),
        "payee": receipt.payee,
        "leaf": receipt.leaf,
        "leaf_index": receipt.leaf_index,
        "path": receipt.path,
        "root": receipt.root,
        "tree_size": receipt.tree_size,
        "digest": receipt.digest,
        "content": receipt.content.as_ref().map(content),
        "programme_id": receipt.programme_id,
        "update_time": rfc3339(receipt.update_time.as_ref()),
    })
}

/// What approvers sign for, besides the root.
fn content(content: &api::ReceiptContent) -> Value {
    let total = |total: &api::ReceiptTotal| {
        let sum = total.tally.unwrap_or_default();
        json!({
            "institution": total.institution,
            "verdict": total.verdict,
            "count": sum.item_count,
            "amount": decimal(sum.amount_minor, &content.currency),
        })
    };
    json!({
        "batch_id": content.batch_id,
        "source_id": content.source_id,
        "source_batch": content.source_batch,
        "programme_id": content.programme_id,
        "currency": content.currency,
        "totals": content.totals.iter().map(total).collect::<Vec<Value>>(),
    })
}

pub(super) fn forecast(forecast: &api::ForecastBatchResponse, currency: &str) -> Value {
    let money = |minor| decimal(minor, currency);
    let institution = |row: &api::InstitutionForecast| {
        json!({
            "institution": row.institution,
            "tally": tally(row.tally.as_ref(), currency),
            "fee": money(row.fee_minor),
            "past_count": row.past_count,
            "past_rejected": row.past_rejected,
            "expected_rejected": row.expected_rejected,
        })
    };
    let reason =
        |row: &api::ReasonCount| json!({"reason_code": row.reason_code, "count": row.item_count});
    json!({
        "as_of_time": rfc3339(forecast.as_of_time.as_ref()),
        "currency": currency,
        "payable": tally(forecast.payable.as_ref(), currency),
        "fee": money(forecast.fee_minor),
        "available": money(forecast.available_minor),
        "competing": money(forecast.competing_minor),
        "shortfall": money(forecast.shortfall_minor),
        "shortfall_with_others": money(forecast.shortfall_with_others_minor),
        "institutions": forecast.institutions.iter().map(institution).collect::<Vec<Value>>(),
        "reasons": forecast.reasons.iter().map(reason).collect::<Vec<Value>>(),
        "lost_count": forecast.lost_count,
        "changed_count": forecast.changed_count,
    })
}

pub(super) fn batch_voucher(voucher: &api::BatchVoucher) -> Value {
    let money = voucher.amount.clone().unwrap_or_default();
    json!({
        "ordinal": voucher.ordinal,
        "instruction_id": voucher.instruction_id,
        "serial_number": voucher.serial_number,
        "voucher_number": or_null(&voucher.voucher_number),
        "functional_id": or_null(&voucher.functional_id),
        "amount": decimal(money.amount_minor, &money.currency),
        "currency": money.currency,
        "voucher_group": voucher.voucher_group,
        "expire_time": rfc3339(voucher.expire_time.as_ref()),
    })
}

pub(super) fn statement(statement: &api::Statement) -> Value {
    let currency = &statement.currency;
    json!({
        "statement_id": statement.statement_id,
        "currency": currency,
        "from_time": rfc3339(statement.from_time.as_ref()),
        "to_time": rfc3339(statement.to_time.as_ref()),
        "state": name(statement.state().as_str_name(), "STATEMENT_STATE_"),
        "paid_out": tally(statement.paid_out.as_ref(), currency),
        "paid_in": tally(statement.paid_in.as_ref(), currency),
        "matched_count": statement.matched_count,
        "item_count": statement.item_count,
        "create_time": rfc3339(statement.create_time.as_ref()),
    })
}

/// Something that does not agree.
pub(super) fn item(item: &api::ReconciliationItem) -> Value {
    let resolution = match item.resolution() {
        api::ReconciliationResolution::Unspecified => Value::Null,
        given => json!(name(given.as_str_name(), "RECONCILIATION_RESOLUTION_")),
    };
    json!({
        "item_id": item.item_id,
        "kind": name(item.kind().as_str_name(), "RECONCILIATION_KIND_"),
        "currency": item.currency,
        "expected": decimal(item.expected_minor, &item.currency),
        "found": decimal(item.found_minor, &item.currency),
        "batch_id": or_null(&item.batch_id),
        "ordinal": (!item.batch_id.is_empty()).then_some(item.ordinal),
        "statement_id": or_null(&item.statement_id),
        "reference": or_null(&item.reference),
        "since_time": rfc3339(item.since_time.as_ref()),
        "state": name(item.state().as_str_name(), "RECONCILIATION_STATE_"),
        "resolution": resolution,
        "maker": or_null(&item.maker),
        "checker": or_null(&item.checker),
        "transfer_id": or_null(&item.transfer_id),
    })
}

pub(super) fn ageing(bucket: &api::AgeingBucket, currency: &str) -> Value {
    json!({
        "kind": name(bucket.kind().as_str_name(), "RECONCILIATION_KIND_"),
        "from_days": bucket.from_days,
        "to_days": (bucket.to_days > 0).then_some(bucket.to_days),
        "tally": tally(bucket.tally.as_ref(), currency),
    })
}

pub(super) fn voucher_group(group: &api::VoucherGroup) -> Value {
    let counts: Vec<Value> = group
        .counts
        .iter()
        .map(|count| {
            json!({
                "state": name(count.state().as_str_name(), "VOUCHER_STATE_"),
                "currency": count.currency,
                "vouchers": tally(count.tally.as_ref(), &count.currency),
            })
        })
        .collect();
    json!({
        "name": group.name,
        "stock": group.stock,
        "programme_id": or_null(&group.programme_id),
        "counts": counts,
    })
}

pub(super) fn voucher_state(state: api::VoucherState) -> String {
    name(state.as_str_name(), "VOUCHER_STATE_")
}

pub(super) fn account(account: &api::Account) -> Value {
    let decimal = |minor| decimal(minor, &account.currency);
    json!({
        "account_id": account.account_id,
        "code": account.code,
        "currency": account.currency,
        "kind": name(account.kind().as_str_name(), "ACCOUNT_KIND_"),
        "balance": decimal(account.credits_posted.saturating_sub(account.debits_posted)),
        "debits_posted": decimal(account.debits_posted),
        "debits_pending": decimal(account.debits_pending),
        "credits_posted": decimal(account.credits_posted),
        "credits_pending": decimal(account.credits_pending),
        "floor": account.floor_minor.map(decimal),
        "closed": account.closed,
        "version": account.version,
        "move_time": rfc3339(account.move_time.as_ref()),
    })
}

pub(super) fn period(period: &api::Period) -> Value {
    json!({
        "period_id": period.period_id,
        "start_time": rfc3339(period.start_time.as_ref()),
        "end_time": rfc3339(period.end_time.as_ref()),
        "state": name(period.state().as_str_name(), "PERIOD_STATE_"),
        "account_count": period.account_count,
        "root": or_null(&period.root),
        "close_time": rfc3339(period.close_time.as_ref()),
    })
}

pub(super) fn period_balance(balance: &api::PeriodBalance) -> Value {
    let decimal = |minor| decimal(minor, &balance.currency);
    json!({
        "account_id": balance.account_id,
        "code": balance.code,
        "currency": balance.currency,
        "balance": decimal(balance.credits_posted.saturating_sub(balance.debits_posted)),
        "debits_posted": decimal(balance.debits_posted),
        "debits_pending": decimal(balance.debits_pending),
        "credits_posted": decimal(balance.credits_posted),
        "credits_pending": decimal(balance.credits_pending),
    })
}

pub(super) fn ledger_check(check: &api::CheckLedgerResponse) -> Value {
    let currencies: Vec<Value> = check
        .currencies
        .iter()
        .map(|sums| {
            let decimal = |minor| decimal(minor, &sums.currency);
            json!({
                "currency": sums.currency,
                "debits_posted": decimal(sums.debits_posted),
                "credits_posted": decimal(sums.credits_posted),
                "debits_pending": decimal(sums.debits_pending),
                "credits_pending": decimal(sums.credits_pending),
            })
        })
        .collect();
    json!({
        "balanced": check.balanced,
        "currencies": currencies,
        "mismatched_accounts": check.mismatched_accounts,
        "account_count": check.account_count,
        "transfer_count": check.transfer_count,
    })
}
