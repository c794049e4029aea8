//! Step 2: people sign in to the portal with a one-time code that came by mail. A sign-in that
//! breaks off is begun anew, as a person would.

use std::path::Path;

use anyhow::{Result, bail};
use reqwest::Method;

use super::client::each;
use super::context::{Context, Enrolled, Parties};
use super::report::Report;
use super::spool::{CHUNK, chunks};

/// How often a person begins a sign-in before giving up.
const MOST_ATTEMPTS: u32 = 4;

/// Signs in up to `most` of the enrolled; returns how many.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    persons: &Path,
    most: u64,
) -> Result<u64> {
    let step = report.step(2, "sign-in", most);
    let mut signed_in = 0;
    let mut begun_anew = 0;
    for chunk in chunks::<Enrolled>(persons, CHUNK)? {
        let mut chunk = chunk?;
        chunk.truncate(usize::try_from(most - signed_in).unwrap_or(usize::MAX));
        if chunk.is_empty() {
            break;
        }
        let count = u64::try_from(chunk.len()).unwrap_or_default();
        let attempts = each(chunk, |person| patiently(context, parties, person)).await?;
        begun_anew += attempts.into_iter().filter(|attempt| *attempt > 1).count();
        signed_in += count;
        step.advance(count);
    }
    let mut what = format!("{signed_in} people signed in with codes read from their mail");
    if begun_anew > 0 {
        what.push_str(&format!("; {begun_anew} had to begin anew"));
    }
    step.done(&what)?;
    Ok(signed_in)
}

/// Returns the attempt that succeeded.
async fn patiently(context: &Context, parties: &Parties, person: Enrolled) -> Result<u32> {
    let mut broken = Vec::new();
    for attempt in 1..=MOST_ATTEMPTS {
        match one(context, parties, &person).await {
            Ok(()) => return Ok(attempt),
            Err(error) => broken.push(format!("attempt {attempt}: {error:#}")),
        }
    }
    bail!(
        "signing in, for line {}: {}",
        person.line,
        broken.join("; ")
    )
}

async fn one(context: &Context, parties: &Parties, person: &Enrolled) -> Result<()> {
    let mut mails = context.mailboxes.expect(&person.household.email).await?;
    let client = context.anonymous.in_process(&person.case_id);
    let tokens = parties
        .portal
        .sign_in(&client, &person.household.national_id, &mut mails)
        .await?;
    let person = client.with_token(tokens.access_token);
    let request = person.request(Method::GET, "/identity/oidc/userinfo");
    let answer = person.send(request).await?;
    let kind = answer
        .headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    if !answer.status.is_success() || !kind.unwrap_or_default().starts_with("application/jwt") {
        bail!("userinfo was answered {}: {}", answer.status, answer.text());
    }
    if tokens.id_token.split('.').count() != 3 {
        bail!("the ID token is not signed");
    }
    Ok(())
}
