//! `publica verify`: checks an exported trail with nothing but the file.

use std::path::Path;

use anyhow::{Context as _, Result};
use publica_journal::verify::{Report, Verifier, path, trail};

use crate::print;

pub(crate) fn run(export: &Path, json: bool) -> Result<u8> {
    let report = if export.as_os_str() == "-" {
        trail(std::io::stdin().lock()).context("reading standard input")?
    } else {
        path(export, Verifier::new()).with_context(|| format!("reading {}", export.display()))?
    };
    if json {
        print::line(&serde_json::to_string_pretty(&as_json(&report))?)?;
    } else {
        print::line(report.to_string().trim_end())?;
    }
    Ok(u8::from(!report.is_valid()))
}

fn as_json(report: &Report) -> serde_json::Value {
    let logs: Vec<_> = report
        .logs
        .iter()
        .map(|log| {
            serde_json::json!({
                "origin": log.origin,
                "block": log.block,
                "tenant": log.tenant,
                "entries": log.entries,
                "checkpoints": log.checkpoints,
                "complete": log.complete,
                "key": log.key,
            })
        })
        .collect();
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "kind": finding.kind.to_string(),
                "place": finding.place,
                "message": finding.message,
            })
        })
        .collect();
    serde_json::json!({
        "valid": report.is_valid(),
        "process_id": report.process_id,
        "logs": logs,
        "findings": findings,
        "more_findings": report.more_findings,
    })
}
