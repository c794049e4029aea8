//! `publica verify`: checks an exported trail with nothing but the file.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use publica_journal::verify::{Pin, Report, Verifier, path};

use crate::cli::VerifyArgs;
use crate::print;

pub(crate) fn run(args: &VerifyArgs) -> Result<u8> {
    let mut verifier = verifier(args)?;
    let export = args.export.as_path();
    let report = if export.as_os_str() == "-" {
        verifier
            .read("standard input", std::io::stdin().lock())
            .context("reading standard input")?;
        verifier.finish()
    } else {
        path(export, verifier).with_context(|| format!("reading {}", export.display()))?
    };
    if args.json {
        print::line(&serde_json::to_string_pretty(&as_json(&report))?)?;
    } else {
        print::line(report.to_string().trim_end())?;
    }
    Ok(u8::from(!report.is_valid()))
}

/// A verifier that knows what was kept apart from the export.
fn verifier(args: &VerifyArgs) -> Result<Verifier> {
    let mut verifier = Verifier::new();
    let mut pins = args.key.clone();
    for file in &args.keys {
        let listed = Pin::list(&text(file)?).map_err(|problem| anyhow!(problem));
        pins.extend(listed.with_context(|| format!("reading keys from {}", file.display()))?);
    }
    for pin in pins {
        verifier.pin(pin)?;
    }
    for file in &args.checkpoint {
        verifier
            .compare(&text(file)?)
            .with_context(|| format!("reading the checkpoint in {}", file.display()))?;
    }
    Ok(verifier)
}

fn text(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
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
                "missing_bodies": log.missing_bodies,
                "checkpoints": log.checkpoints,
                "complete": log.complete,
                "key": log.key,
                "key_given": log.pinned,
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
        "keys_given": report.is_pinned(),
        "verdict": report.verdict(),
        "process_id": report.process_id,
        "logs": logs,
        "findings": findings,
        "more_findings": report.more_findings,
        "notes": report.notes,
    })
}
