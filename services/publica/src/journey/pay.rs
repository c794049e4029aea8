//! Step 6: money. People's accounts are registered, batches checked and approved by somebody else,
//! and paid over the simulated rail; its statement is reconciled, and vouchers go to those whom the
//! rail could not pay.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use publica_types::{Currency, Money};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, count, each, text};
use super::context::{Context, Decided, Parties};
use super::households::benefit_minor;
use super::report::Report;
use super::spool::chunks;

/// Instructions of one batch.
const BATCH: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(100);

/// How long a batch may stand still before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(180);

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) paid: u64,
    pub(crate) vouchers: u64,
    pub(crate) unpaid: u64,
    /// Payees who were paid once, the amount that was decided, in a way that the file allows.
    pub(crate) as_decided: u64,
    pub(crate) paid_minor: i64,
    pub(crate) vouchers_minor: i64,
    pub(crate) expected_minor: i64,
    pub(crate) reconciled: bool,
    pub(crate) balanced: bool,
}

/// Pays every approved household of the file of decisions.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    decided: &Path,
    approved: u64,
) -> Result<Outcome> {
    let step = report.step(6, "payments", approved);
    let maker = parties.maker.in_process(&context.process_id);
    let checker = parties.checker.in_process(&context.process_id);
    let source = programme(context, &maker).await?;
    let mut outcome = Outcome {
        reconciled: true,
        ..Outcome::default()
    };
    for (at, chunk) in chunks::<Decided>(decided, BATCH)?.enumerate() {
        let mut payees = chunk?;
        payees.retain(|file| file.approved);
        if payees.is_empty() {
            continue;
        }
        register(parties, &maker, &source, at, &payees).await?;
        let batch = submit(&maker, &source, at, &payees).await?;
        let digest = text(&batch, "/digest")?;
        let id = text(&batch, "/batch_id")?.to_owned();
        let path = format!("/payments/v1/batches/{id}/approve");
        checker
            .post_once(&path, &format!("approve-{at}"), &json!({"digest": digest}))
            .await?;
        let report = settle(&maker, &id).await?;
        outcome.add(&report)?;
        outcome.as_decided += compare(&maker, &id, &payees).await?;
        for file in &payees {
            outcome.expected_minor += benefit_minor(file.enrolled.household.members);
        }
        step.advance(u64::try_from(payees.len()).unwrap_or_default());
    }
    let check = maker.get("/payments/v1/ledger/check").await?;
    outcome.balanced = check
        .get("balanced")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    step.done(&format!(
        "{} paid by the rail, {} by voucher; {}, ledger {}",
        outcome.paid,
        outcome.vouchers,
        if outcome.reconciled {
            "reconciled"
        } else {
            "NOT reconciled"
        },
        if outcome.balanced {
            "balanced"
        } else {
            "NOT balanced"
        },
    ))?;
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, report: &Value) -> Result<()> {
        self.paid += count(report, "/settled/count")?;
        self.vouchers += count(report, "/vouchers/count")?;
        for state in ["rejected", "unknown", "open"] {
            self.unpaid += count(report, &format!("/{state}/count"))?;
        }
        self.paid_minor += minor(text(report, "/settled/amount")?)?;
        self.vouchers_minor += minor(text(report, "/vouchers/amount")?)?;
        self.reconciled &= report
            .get("reconciled")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        Ok(())
    }
}

fn usd() -> Result<Currency> {
    "USD".parse().context("the programme's currency")
}

fn minor(decimal: &str) -> Result<i64> {
    Ok(Money::parse(decimal, usd()?)
        .context("an amount")?
        .amount_minor)
}

fn decimal(amount_minor: i64) -> Result<String> {
    Ok(Money::new(amount_minor, usd()?).decimal())
}

/// The programme with its funding account, voucher group and source block; returns the source
/// block's id.
async fn programme(context: &Context, maker: &Client) -> Result<String> {
    // As long as the id of a source block lets it be.
    let short = context.run()[4..].to_uppercase();
    let source = format!("SBB-{short}");
    let group = format!("HOUSEHOLD-{short}");
    let body = json!({"name": format!("Treasury {short}"), "currency": "USD"});
    let account = maker
        .post_once("/payments/v1/funding-accounts", "funding", &body)
        .await?;
    let account = text(&account, "/funding_account_id")?.to_owned();
    // Enough for every household of the file at the largest benefit.
    let rows = i64::try_from(context.rows).unwrap_or(i64::MAX);
    let funds = decimal(benefit_minor(50).saturating_mul(rows))?;
    let path = format!("/payments/v1/funding-accounts/{account}/deposits");
    let body = json!({"amount": funds, "reference": "Appropriation of the year"});
    maker.post_once(&path, "deposit", &body).await?;
    let body = json!({"name": group});
    maker
        .post_once("/payments/v1/voucher-groups", "group", &body)
        .await?;
    let body = json!({
        "name": format!("Vouchers {short}"), "currency": "USD", "voucher_group": group,
    });
    maker
        .post_once("/payments/v1/funding-accounts", "vouchers", &body)
        .await?;
    let body = json!({
        "code": format!("HHS-{short}"),
        "name": "Household support",
        "currency": "USD",
        "funding_account": account,
        "fallback_voucher_group": group,
        "approvals_needed": 1,
    });
    let programme = maker
        .post_once("/payments/v1/programmes", "programme", &body)
        .await?;
    let body = json!({
        "source_id": source,
        "name": "Household support",
        "programme": text(&programme, "/programme_id")?,
        // Nobody else speaks for it.
        "clients": [context.client_id("maker")],
    });
    maker
        .post_once("/payments/v1/source-blocks", "source", &body)
        .await?;
    let body = json!({"calling_block": source, "name": source});
    let request = maker
        .request(Method::POST, "/payments/v1/calling-blocks")
        .json(&body);
    maker.send(request).await?;
    Ok(source)
}

/// The id under which payments know a person: twenty characters. What fills it up is no digit, so
/// that no two national ids share one.
fn functional_id(national_id: &str) -> String {
    format!("{national_id:P>20}")
}

/// Enters the payees into the account mapper on the published path, then reads each of them back
/// as part of that person's own case: the answer to the request does not say what became of one.
async fn register(
    parties: &Parties,
    maker: &Client,
    source: &str,
    at: usize,
    payees: &[Decided],
) -> Result<()> {
    let entry = |file: &Decided| {
        let mut entry = json!({
            "PayeeFunctionalID": functional_id(&file.enrolled.household.national_id),
            "PaymentModality": modality(file),
        });
        if !file.enrolled.household.account.is_empty() {
            entry["FinancialAddress"] = json!(file.enrolled.household.account);
        }
        entry
    };
    let entries: Vec<Value> = payees.iter().map(entry).collect();
    let body = json!({
        "RequestID": format!("RB{at:010}"),
        "SourceBBID": source,
        "Beneficiaries": entries,
    });
    acknowledged(maker, "/payments/register-beneficiary", &body).await?;
    let payees: Vec<&Decided> = payees.iter().collect();
    each(payees, |file| registered(parties, source, file)).await?;
    Ok(())
}

/// Bank account, or voucher for who has none.
fn modality(file: &Decided) -> &'static str {
    if file.enrolled.household.account.is_empty() {
        "02"
    } else {
        "00"
    }
}

/// Makes sure that a person's mapping is the one that the file asks for.
async fn registered(parties: &Parties, source: &str, file: &Decided) -> Result<()> {
    let household = &file.enrolled.household;
    let body = json!({
        "source_id": source,
        "functional_id": functional_id(&household.national_id),
    });
    let own = parties.maker.in_process(&file.enrolled.case_id);
    let found = own.post("/payments/v1/beneficiaries/read", &body).await;
    let found = found.with_context(|| format!("the payee of line {}", file.enrolled.line))?;
    let as_asked = found["financial_address"] == json!(household.account)
        && found["modality"] == json!(modality(file))
        && found["active"] == json!(true);
    if !as_asked {
        // Whose address it is instead is nobody's business here.
        bail!(
            "the payee of line {} has another account",
            file.enrolled.line
        );
    }
    Ok(())
}

async fn acknowledged(client: &Client, path: &str, body: &Value) -> Result<()> {
    let answer = client.post(path, body).await?;
    match text(&answer, "/ResponseCode")? {
        "00" => Ok(()),
        _ => bail!("POST {path} was not acknowledged: {answer}"),
    }
}

/// The source block's id of the instruction for a household.
fn instruction_id(file: &Decided) -> String {
    format!("I{:0>15}", file.enrolled.line)
}

/// Compares the instructions that a batch holds in the end with what was decided; returns how
/// many are as they should be.
async fn compare(maker: &Client, id: &str, payees: &[Decided]) -> Result<u64> {
    let mut due: HashMap<String, &Decided> = payees
        .iter()
        .map(|file| (instruction_id(file), file))
        .collect();
    let mut as_decided = 0;
    let mut token = String::new();
    loop {
        let path =
            format!("/payments/v1/batches/{id}/instructions?page_size=1000&page_token={token}");
        let page = maker.get(&path).await?;
        let rows = page.get("instructions").and_then(Value::as_array);
        for row in rows.context("instructions")? {
            let Some(file) = due.remove(text(row, "/instruction_id")?) else {
                continue;
            };
            let household = &file.enrolled.household;
            let amount = minor(text(row, "/amount")?)? == benefit_minor(household.members);
            let way = match text(row, "/state")? {
                "settled" => !household.account.is_empty(),
                // Also in place of what the rail refused.
                state => state == "voucher",
            };
            as_decided += u64::from(amount && way);
        }
        match page.get("next_page_token").and_then(Value::as_str) {
            None | Some("") => return Ok(as_decided),
            Some(next) => next.clone_into(&mut token),
        }
    }
}

/// Validates the batch and submits it, both on the published paths; returns it once it waits for
/// approval.
async fn submit(maker: &Client, source: &str, at: usize, payees: &[Decided]) -> Result<Value> {
    let instructions = payees
        .iter()
        .map(|file| {
            let household = &file.enrolled.household;
            let amount: serde_json::Number =
                serde_json::from_str(&decimal(benefit_minor(household.members))?)?;
            Ok(json!({
                "InstructionID": instruction_id(file),
                "PayeeFunctionalID": functional_id(&household.national_id),
                "Amount": amount,
                "Currency": "USD",
                "Narration": "Household support",
                "ProcessID": file.enrolled.case_id,
            }))
        })
        .collect::<Result<Vec<_>>>()?;
    let batch = format!("BATCH{at:07}");
    let message = |request: &str| {
        json!({
            "RequestID": request,
            "SourceBBID": source,
            "BatchID": batch,
            "CreditInstructions": instructions,
        })
    };
    let check = format!("PV{at:010}");
    acknowledged(maker, "/payments/prepayment-validation", &message(&check)).await?;
    validated(maker, &check, &batch).await?;
    let pay = format!("BP{at:010}");
    acknowledged(maker, "/payments/bulk-payment", &message(&pay)).await?;
    let started = tokio::time::Instant::now();
    loop {
        let list = maker.get("/payments/v1/batches?page_size=100").await?;
        let found = list
            .get("batches")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|batch| batch["source_request"] == json!(pay) && batch["source_id"] == *source);
        if let Some(batch) = found.filter(|batch| batch["state"] == "pending_approval") {
            return Ok(batch.clone());
        }
        if started.elapsed() > PATIENCE {
            bail!("the batch {pay} does not come to wait for approval: {found:?}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Polls the published result until the check has ended.
async fn validated(maker: &Client, request: &str, batch: &str) -> Result<()> {
    let body = json!({"RequestID": request, "Source_BatchID": batch});
    let started = tokio::time::Instant::now();
    loop {
        let answer = maker
            .post("/payments/prepayment-validation-response", &body)
            .await?;
        if let Some(failed) = answer.get("NumberFailedCases").and_then(Value::as_u64) {
            if failed > 0 {
                bail!("the check found {failed} payees who cannot be paid: {answer}");
            }
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("the check {request} does not end");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the batch has ended, and reads its report.
async fn settle(maker: &Client, id: &str) -> Result<Value> {
    let mut last = String::new();
    let mut moved = tokio::time::Instant::now();
    loop {
        let batch = maker.get(&format!("/payments/v1/batches/{id}")).await?;
        let state = text(&batch, "/state")?;
        if matches!(state, "completed" | "partially_completed" | "failed") {
            return maker
                .get(&format!("/payments/v1/batches/{id}/report"))
                .await;
        }
        if matches!(
            state,
            "rejected" | "declined" | "funds_refused" | "cancelled"
        ) {
            bail!("the batch ended as {state}: {batch}");
        }
        let now = format!(
            "{state}{}",
            text(&batch, "/update_time").unwrap_or_default()
        );
        if now != last {
            last = now;
            moved = tokio::time::Instant::now();
        } else if moved.elapsed() > PATIENCE {
            bail!("the batch stands still: {batch}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::functional_id;

    #[test]
    fn no_two_people_share_a_functional_id() {
        let ids = ["123456", "0123456", "00123456", "12345678901234567890"];
        let mut functional: Vec<String> = ids.into_iter().map(functional_id).collect();
        assert!(functional.iter().all(|id| id.len() == 20), "{functional:?}");
        functional.sort_unstable();
        functional.dedup();
        assert_eq!(functional.len(), ids.len());
    }
}
