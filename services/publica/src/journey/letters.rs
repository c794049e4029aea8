//! Step 5: each decision letter is signed and time-stamped, then validated.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use publica_types::{Currency, Money};
use reqwest::{Method, header};
use serde_json::{Value, json};

use super::client::{Client, each, text};
use super::context::{Context, Decided, Parties};
use super::households::benefit_minor;
use super::letter::Letter;
use super::report::Report;
use super::spool::{CHUNK, chunks};
use crate::base::{new_private_file, private_folder};

/// Signs and validates a letter for each decision; returns how many were found good.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    decided: &Path,
    total: u64,
    keep: bool,
) -> Result<u64> {
    let step = report.step(5, "signature", total);
    let folder = context.folder.join("letters");
    if keep {
        private_folder(&folder)?;
    }
    let body = json!({"organization": "Ministry of Social Affairs", "country": "XX"});
    parties
        .programme
        .post_once("/signature/v1/credentials", "seal", &body)
        .await?;
    let date: String = context.clock.now().to_string().chars().take(10).collect();
    let mut good = 0;
    for chunk in chunks::<Decided>(decided, CHUNK)? {
        let chunk = chunk?;
        let count = u64::try_from(chunk.len()).unwrap_or_default();
        let folder = keep.then_some(folder.as_path());
        let results = each(chunk, |file| one(&parties.programme, file, &date, folder)).await?;
        good += u64::try_from(results.len()).unwrap_or_default();
        step.advance(count);
    }
    step.done(&format!(
        "{good} letters signed, time-stamped and validated"
    ))?;
    Ok(good)
}

async fn one(programme: &Client, file: Decided, date: &str, folder: Option<&Path>) -> Result<()> {
    let client = programme.in_process(&file.enrolled.case_id);
    let household = &file.enrolled.household;
    let letter = Letter {
        household_id: &household.household_id,
        addressee: &format!("{} {}", household.given_name, household.family_name),
        file_id: &file.file_id,
        approved: file.approved,
        amount: &amount(household.members)?,
        reason: &file.reason,
        date,
        language: &household.language,
    };
    let key = format!("letter-{}", file.file_id);
    let request = client
        .request(Method::POST, "/signature/v1/documents:sign")
        .header(header::CONTENT_TYPE, "application/pdf")
        .header("Idempotency-Key", key)
        .body(letter.pdf());
    let signed = client.send(request).await?;
    if !signed.status.is_success() {
        bail!(
            "signing a letter was answered {}: {}",
            signed.status,
            signed.text()
        );
    }
    if let Some(folder) = folder {
        // By its line, since a household's number may hold what a file name cannot.
        let path = folder.join(format!("line-{:0>7}.pdf", file.enrolled.line));
        let mut letter = new_private_file(&path)?;
        letter
            .write_all(&signed.body)
            .with_context(|| path.display().to_string())?;
    }
    let request = client
        .request(Method::POST, "/signature/v1/documents:validate")
        .header(header::CONTENT_TYPE, "application/pdf")
        .body(signed.body);
    let answer = client
        .send(request)
        .await?
        .json("POST /signature/v1/documents:validate")?;
    good(&answer)
}

fn good(answer: &Value) -> Result<()> {
    let indication = text(answer, "/signatures/0/indication")?;
    if indication != "TOTAL-PASSED" {
        bail!("a letter was found {indication}: {answer}");
    }
    if answer.pointer("/signatures/0/timestamped") != Some(&json!(true)) {
        bail!("a letter carries no time-stamp: {answer}");
    }
    Ok(())
}

fn amount(members: u32) -> Result<String> {
    let currency: Currency = "USD".parse().context("the programme's currency")?;
    let money = Money {
        amount_minor: benefit_minor(members),
        currency,
    };
    Ok(money.to_string())
}
