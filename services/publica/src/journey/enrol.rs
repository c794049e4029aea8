//! Step 1: every household head is enrolled, in batches. The identity block decides who is
//! enrolled already, so a person who stands in the file twice counts as a duplicate.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::client::text;
use super::context::{Context, Enrolled, Parties};
use super::households::{self, Household};
use super::report::Report;
use super::spool::{CHUNK, Spool};

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) enrolled: u64,
    pub(crate) duplicates: u64,
    /// The enrolled, one a line.
    pub(crate) persons: PathBuf,
}

/// Enrols the file.
pub(crate) async fn run(context: &Context, parties: &Parties, report: &Report) -> Result<Outcome> {
    let step = report.step(1, "identity", context.rows);
    let mut spool = Spool::create(&context.folder, "1-enrolled")?;
    let mut outcome = Outcome {
        enrolled: 0,
        duplicates: 0,
        persons: PathBuf::new(),
    };
    let mut rows = households::rows(&context.file)?;
    loop {
        let chunk: Vec<(u64, Household)> = rows
            .by_ref()
            .take(CHUNK)
            .collect::<Result<_, _>>()
            .context("reading the file")?;
        if chunk.is_empty() {
            break;
        }
        let cases: Vec<String> = chunk.iter().map(|_| context.new_case()).collect();
        let persons: Vec<Value> = chunk
            .iter()
            .zip(&cases)
            .map(|((line, row), case)| person(*line, row, case))
            .collect();
        let body = json!({"source": "household-survey", "persons": persons});
        let key = format!("enrol-{}", chunk[0].0);
        let answer = parties
            .registrar
            .post_once("/identity/v1/persons:batchEnrol", &key, &body);
        let answer = answer.await?;
        let results = answer
            .get("results")
            .and_then(Value::as_array)
            .context("results")?;
        if results.len() != cases.len() {
            bail!("{} people were answered for {}", results.len(), cases.len());
        }
        for (((line, household), case_id), result) in chunk.into_iter().zip(cases).zip(results) {
            match text(result, "/outcome")? {
                "ENROLLED" => {
                    outcome.enrolled += 1;
                    let person_id = text(result, "/personId")?.to_owned();
                    spool.push(&Enrolled {
                        line,
                        person_id,
                        case_id,
                        household,
                    })?;
                }
                "DUPLICATE" => outcome.duplicates += 1,
                other => bail!("line {line} was answered {other}: {result}"),
            }
        }
        step.advance(u64::try_from(results.len()).unwrap_or_default());
    }
    outcome.persons = spool.finish()?;
    let (enrolled, duplicates) = (outcome.enrolled, outcome.duplicates);
    step.done(&format!(
        "{enrolled} people enrolled, {duplicates} were known already"
    ))?;
    Ok(outcome)
}

fn person(line: u64, row: &Household, case_id: &str) -> Value {
    let name = format!("{} {}", row.given_name, row.family_name);
    json!({
        "reference": line.to_string(),
        "processId": case_id,
        "attributes": {
            "name": name,
            "given_name": row.given_name,
            "family_name": row.family_name,
            "birthdate": row.date_of_birth,
            "email": row.email,
            "locale": row.language,
        },
        "aliases": [{"kind": "national_id", "value": row.national_id}],
    })
}
