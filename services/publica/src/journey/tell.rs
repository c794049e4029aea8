//! Step 7: everyone is told, with delivery status.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, count, text};
use super::context::{Context, Decided, Parties};
use super::report::Report;
use super::spool::chunks;

/// Recipients of one batch.
const BATCH: usize = 2_000;

/// How long delivery may stand still before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Mails everybody the decision; returns how many mails were delivered.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    decided: &Path,
    total: u64,
) -> Result<u64> {
    let step = report.step(7, "messaging", total);
    let mut requests: Vec<(String, u64)> = Vec::new();
    for (at, chunk) in chunks::<Decided>(decided, BATCH)?.enumerate() {
        let chunk = chunk?;
        for approved in [true, false] {
            let recipients: Vec<Value> = chunk
                .iter()
                .filter(|file| file.approved == approved)
                .map(|file| {
                    let household = &file.enrolled.household;
                    let name = format!("{} {}", household.given_name, household.family_name);
                    json!({"recipientInfo": {
                        "email": household.email,
                        "name": name,
                        "processId": file.enrolled.case_id,
                    }})
                })
                .collect();
            if !recipients.is_empty() {
                let key = format!("tell-{at}-{approved}");
                let sent = send(&parties.programme, &key, approved, &recipients).await?;
                let members = u64::try_from(recipients.len()).unwrap_or_default();
                requests.push((sent, members));
            }
        }
    }
    let client = parties.programme.in_process(&context.process_id);
    let mut delivered = 0;
    for (request, members) in requests {
        wait(&client, &request, members).await?;
        delivered += members;
        step.advance(members);
    }
    step.done(&format!("{delivered} mails delivered"))?;
    Ok(delivered)
}

async fn send(client: &Client, key: &str, approved: bool, recipients: &[Value]) -> Result<String> {
    let content = if approved {
        "Your application for household support is approved. Your signed letter is in the portal."
    } else {
        "Your application for household support is refused. Your signed letter, with the reason, \
         is in the portal."
    };
    let list = Value::Array(recipients.to_vec()).to_string();
    let body = json!({
        "senderInfo": {"email": "support@social.example.org", "name": "Household support"},
        "recipientInfo": {"batchEmailAsBase64": STANDARD.encode(list)},
        "emailContent": {"title": "Decision on your application", "content": content},
    });
    let answer = client
        .post_once("/messaging/send/email/batch", key, &body)
        .await?;
    Ok(text(&answer, "/requestUid")?.to_owned())
}

/// Polls the published status until every message of the request is delivered.
async fn wait(client: &Client, request_uid: &str, members: u64) -> Result<()> {
    const PATH: &str = "/messaging/status/email?status=scheduled&status=processing\
                        &status=deferred&status=bounced&status=notSent&status=delivered";
    let mut last = 0;
    let mut moved = tokio::time::Instant::now();
    loop {
        let request = client
            .request(Method::GET, PATH)
            .header("requestUid", request_uid);
        let answer = client
            .send(request)
            .await?
            .json("GET /messaging/status/email")?;
        let delivered = count(&answer, "/delivered")?;
        let sum = [
            "scheduled",
            "processing",
            "deferred",
            "bounced",
            "notSent",
            "delivered",
        ]
        .iter()
        .map(|state| count(&answer, &format!("/{state}")))
        .sum::<Result<u64>>()?;
        if sum != members {
            bail!("the counters of {request_uid} sum to {sum}, not {members}: {answer}");
        }
        if delivered == members {
            return Ok(());
        }
        if delivered > last {
            last = delivered;
            moved = tokio::time::Instant::now();
        } else if moved.elapsed() > PATIENCE {
            bail!("delivery stands still: {answer}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
