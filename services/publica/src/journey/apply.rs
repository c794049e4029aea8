//! Step 4: applications go in through the published form; rules decide what they can, an operator
//! the rest; some are sent back and resubmitted.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, each, text};
use super::context::{Context, Decided, Enrolled, Parties};
use super::report::Report;
use super::spool::{CHUNK, Spool, chunks};

/// The register that approvals write into.
pub(crate) const REGISTER: &str = "supported-households";

/// Incomes, in minor units a head and month: below the first the rules approve, above the second
/// they refuse, and between them an operator looks.
const APPROVED_BELOW: i64 = 60_000;
const REFUSED_ABOVE: i64 = 250_000;

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) approved: u64,
    pub(crate) refused: u64,
    pub(crate) by_rules: u64,
    pub(crate) by_operator: u64,
    pub(crate) sent_back: u64,
    /// The decided, one a line.
    pub(crate) decided: PathBuf,
}

/// Publishes the service and takes everybody through it.
pub(crate) async fn run(
    context: &Context,
    parties: &Parties,
    report: &Report,
    persons: &Path,
    total: u64,
    agreement_id: &str,
) -> Result<Outcome> {
    let step = report.step(4, "registration", total);
    let service_id = publish(context, parties, agreement_id).await?;
    let mut outcome = Outcome::default();
    let mut spool = Spool::create(&context.folder, "4-decided")?;
    for chunk in chunks::<Enrolled>(persons, CHUNK)? {
        let chunk = chunk?;
        let count = u64::try_from(chunk.len()).unwrap_or_default();
        let files = each(chunk, |person| apply(parties, &service_id, person)).await?;
        for file in files {
            outcome.approved += u64::from(file.decided.approved);
            outcome.refused += u64::from(!file.decided.approved);
            outcome.by_operator += u64::from(file.by_operator);
            outcome.by_rules += u64::from(!file.by_operator);
            outcome.sent_back += u64::from(file.sent_back);
            spool.push(&file.decided)?;
        }
        step.advance(count);
    }
    outcome.decided = spool.finish()?;
    step.done(&format!(
        "{} approved, {} refused; rules decided {}, an operator {}; {} sent back and resubmitted",
        outcome.approved, outcome.refused, outcome.by_rules, outcome.by_operator, outcome.sent_back,
    ))?;
    Ok(outcome)
}

async fn publish(context: &Context, parties: &Parties, agreement_id: &str) -> Result<String> {
    let service_id = format!("household-support-{}", context.run());
    let per_head = json!({"/": [{"var": "household.income"}, {"var": "household.members"}]});
    let definition = json!({
        "serviceId": service_id,
        "name": "Household support",
        "description": "Monthly support for households with a low income",
        "forms": [{
            "eFormId": format!("{service_id}-form"),
            "name": "Application for household support",
            "containers": [{
                "key": "household",
                "title": "Your household",
                "fields": [
                    {"key": "household_id", "label": "Number", "type": "text", "required": true},
                    {"key": "members", "label": "People who live in it", "type": "integer",
                     "required": true, "min": 1, "max": 50},
                    {"key": "income", "label": "Monthly income in minor units", "type": "integer",
                     "required": true, "min": 0},
                    {"key": "account", "label": "Account", "type": "text", "maxLength": 30},
                    {"key": "confirmed", "label": "I confirm the number of people",
                     "type": "boolean"},
                ],
            }],
        }],
        "determinants": {
            "low_income": {"<": [per_head, APPROVED_BELOW]},
            "high_income": {">": [per_head, REFUSED_ABOVE]},
        },
        "decisions": [
            {"when": {"determinant": "low_income"}, "outcome": "APPROVED",
             "reason": "The income of the household is below the line."},
            {"when": {"determinant": "high_income"}, "outcome": "REJECTED",
             "reason": "The income of the household is above the limit."},
        ],
        "roles": [{"id": "clerk", "name": "Review by a clerk"}],
        "register": {"name": REGISTER, "fields": ["household.members", "household.income"]},
        "consentAgreement": agreement_id,
    });
    let answer = parties
        .programme
        .post_once("/registration/api/v1/services", "service", &definition)
        .await?;
    Ok(text(&answer, "/id")?.to_owned())
}

/// A file that has come to its end.
struct Finished {
    decided: Decided,
    by_operator: bool,
    sent_back: bool,
}

async fn apply(parties: &Parties, service_id: &str, person: Enrolled) -> Result<Finished> {
    let household = &person.household;
    let body = json!({
        "applicantId": person.person_id,
        "applicationName": "Household support",
        "formData": {"data": {"household": {
            "household_id": household.household_id,
            "members": household.members,
            "income": household.monthly_income_minor,
            "account": household.account,
        }}},
    });
    let path = format!("/registration/services/{service_id}/applications");
    let key = format!("apply-{}", person.person_id);
    let programme = parties.programme.in_process(&person.case_id);
    let operator = parties.operator.in_process(&person.case_id);
    let mut file = programme.post_once(&path, &key, &body).await?;
    let file_id = text(&file, "/fileId")?.to_owned();
    let mut by_operator = false;
    let mut sent_back = false;
    while text(&file, "/status/code")? == "PENDING" {
        by_operator = true;
        let task_id = text(&file, "/currentTaskId")?;
        // Large households are asked to confirm their size before they are decided on.
        let ask = household.members >= 5 && !sent_back;
        decide(&operator, task_id, household.members, ask).await?;
        if ask {
            sent_back = true;
            file = resubmit(&programme, &file_id).await?;
        } else {
            file = read(&programme, &file_id).await?;
        }
    }
    let approved = match text(&file, "/status/code")? {
        "APPROVED" => true,
        "REJECTED" => false,
        other => bail!("the file {file_id} ended as {other}"),
    };
    let reason = file
        .get("decisionText")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let decided = Decided {
        enrolled: person,
        file_id,
        approved,
        reason,
    };
    Ok(Finished {
        decided,
        by_operator,
        sent_back,
    })
}

/// The operator completes the task on the published path. Households of one or two people with a
/// middling income are refused.
async fn decide(operator: &Client, task_id: &str, members: u32, ask: bool) -> Result<()> {
    let decision = if ask {
        json!({"code": "SENDBACK", "text": "Please confirm the number of people.",
               "marks": ["household.members"]})
    } else if members <= 2 {
        json!({"code": "REJECTED", "text": "The household can meet its needs."})
    } else {
        json!({"code": "APPROVED", "text": "The household is in need."})
    };
    let body = json!({"data": {"decision": decision}});
    let path = format!("/registration/tasks/{task_id}/complete");
    let key = format!("complete-{task_id}");
    operator.post_once(&path, &key, &body).await.map(drop)
}

async fn resubmit(applicant: &Client, file_id: &str) -> Result<Value> {
    let body = json!({"formData": {"data": {"household": {"confirmed": true}}}});
    let path = format!("/registration/applications/{file_id}");
    // A repeated resubmission would be refused as a file in process, so the copy is read first.
    let key = format!("resubmit-{file_id}");
    let request = applicant
        .request(Method::PUT, &path)
        .header("Idempotency-Key", key)
        .json(&body);
    applicant
        .send(request)
        .await?
        .json("PUT /applications")
        .context("resubmitting")
}

async fn read(client: &Client, file_id: &str) -> Result<Value> {
    client
        .get(&format!("/registration/applications/{file_id}"))
        .await
}
