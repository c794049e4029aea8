//! The main job: an unconditional cash transfer from a file of households to money paid, letters
//! signed, people told, and a trail that anyone can check. It acts only as outside clients do.

mod apply;
mod client;
mod consent;
mod context;
mod enrol;
mod households;
mod letter;
mod letters;
mod machine;
mod mailbox;
mod oidc;
mod pay;
mod report;
mod sign_in;
mod spool;
mod suite;
mod tell;
mod trail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use publica_types::{SystemClock, SystemEntropy, new_uuid};

use crate::cli::JourneyArgs;
use crate::print;

use context::{Context, Enrolled};
use households::FileError;
use report::Report;

/// The sample that ships with the source, for runs from a checkout.
const SAMPLE: &str = include_str!("../../../deploy/samples/households.csv");

/// Runs the main job; the exit code says whether everything added up.
pub(crate) async fn run(args: JourneyArgs) -> Result<u8> {
    // A file with problems is refused before anything is written.
    if let Some(file) = &args.households
        && let Err(error) = households::check(file)
    {
        return refused(error);
    }
    let scratch = tempfile::tempdir().context("a folder for the run")?;
    let folder = args
        .keep
        .clone()
        .unwrap_or_else(|| scratch.path().to_owned());
    crate::base::private_folder(&folder)?;
    let file = match &args.households {
        Some(file) => file.clone(),
        None => sample(&folder)?,
    };
    let rows = match households::check(&file) {
        Ok(rows) => rows,
        Err(error) => return refused(error),
    };
    let suite = suite::Suite::start(&args, &folder).await?;
    let done = act(&args, &suite, &folder, file, rows).await;
    suite.stop().await?;
    Ok(u8::from(!done?))
}

fn refused(error: FileError) -> Result<u8> {
    match error {
        FileError::Malformed(..) => {
            print::error(&error.to_string());
            Ok(1)
        }
        FileError::Unreadable { .. } => Err(error.into()),
    }
}

fn sample(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("households.csv");
    std::fs::write(&path, SAMPLE).with_context(|| path.display().to_string())?;
    Ok(path)
}

async fn act(
    args: &JourneyArgs,
    suite: &suite::Suite,
    folder: &Path,
    file: PathBuf,
    rows: u64,
) -> Result<bool> {
    let mut report = Report::new();
    let context = context(suite, folder, file, rows)?;
    let parties = context.parties().await.context("registering the parties")?;
    let enrolled = enrol::run(&context, &parties, &report)
        .await
        .context("step 1, identity")?;
    let people = enrolled.enrolled;
    let most = args.sign_in.unwrap_or(people).min(people);
    let signed_in = sign_in::run(&context, &parties, &report, &enrolled.persons, most)
        .await
        .context("step 2, sign-in")?;
    let consent = consent::run(
        &context,
        &parties,
        &report,
        &enrolled.persons,
        people,
        apply::REGISTER,
    )
    .await
    .context("step 3, consent")?;
    let agreement = &consent.agreement_id;
    let applied = apply::run(
        &context,
        &parties,
        &report,
        &enrolled.persons,
        people,
        agreement,
    )
    .await
    .context("step 4, registration")?;
    let after = after_decision(&context, &parties, &report, &applied, people, args).await?;
    let After {
        letters,
        paid,
        told,
        trail,
    } = after;

    let counts = Counts {
        rows,
        signed_in,
        expected_sign_ins: most,
        letters,
        told,
    };
    report_all(&mut report, &counts, &enrolled, &consent, &applied);
    report_money(&mut report, &paid, applied.approved);
    report_trail(
        &mut report,
        &trail,
        context.mailboxes.mails(),
        told + signed_in,
    );
    if args.keep.is_some() {
        report.fact("kept in", folder.display());
        report.fact("the trail", trail.export.display());
    }
    report.close()
}

/// What the steps after the decisions gave.
struct After {
    letters: u64,
    paid: pay::Outcome,
    told: u64,
    trail: trail::Outcome,
}

async fn after_decision(
    context: &Context,
    parties: &context::Parties,
    report: &Report,
    applied: &apply::Outcome,
    people: u64,
    args: &JourneyArgs,
) -> Result<After> {
    let keep = args.keep.is_some();
    let letters = letters::run(context, parties, report, &applied.decided, people, keep)
        .await
        .context("step 5, signature")?;
    let paid = pay::run(context, parties, report, &applied.decided, applied.approved)
        .await
        .context("step 6, payments")?;
    let told = tell::run(context, parties, report, &applied.decided, people)
        .await
        .context("step 7, messaging")?;
    let person = first(&applied.decided)?;
    let trail = trail::run(context, parties, report, &person)
        .await
        .context("step 8, journal")?;
    Ok(After {
        letters,
        paid,
        told,
        trail,
    })
}

fn context(suite: &suite::Suite, folder: &Path, file: PathBuf, rows: u64) -> Result<Context> {
    let clock = Arc::new(SystemClock);
    let entropy = Arc::new(SystemEntropy);
    let anonymous = client::Client::new(suite.gateway())?;
    Ok(Context {
        process_id: new_uuid(&*clock, &*entropy).to_string(),
        file,
        rows,
        folder: folder.to_owned(),
        admin: anonymous.with_token(suite.admin_token()),
        anonymous,
        mailboxes: suite.mailboxes().clone(),
        clock,
        entropy,
    })
}

/// What steps counted.
struct Counts {
    rows: u64,
    signed_in: u64,
    expected_sign_ins: u64,
    letters: u64,
    told: u64,
}

fn report_all(
    report: &mut Report,
    counts: &Counts,
    enrolled: &enrol::Outcome,
    consent: &consent::Outcome,
    applied: &apply::Outcome,
) {
    let people = enrolled.enrolled;
    report.fact("households in the file", counts.rows);
    report.equal("people enrolled", people + enrolled.duplicates, counts.rows);
    report.fact("  known already", enrolled.duplicates);
    report.equal("signed in", counts.signed_in, counts.expected_sign_ins);
    report.equal("consent records", consent.signed, people);
    let refused = if consent.refused_without {
        "refused"
    } else {
        "OPEN"
    };
    report.check("register without consent", refused, consent.refused_without);
    report.equal("decided", applied.approved + applied.refused, people);
    report.fact("  approved", applied.approved);
    report.fact("  refused", applied.refused);
    report.fact("  sent back and resubmitted", applied.sent_back);
    report.equal("letters signed and valid", counts.letters, people);
    report.equal("mails delivered", counts.told, people);
}

fn report_trail(report: &mut Report, trail: &trail::Outcome, mails: u64, sent: u64) {
    // Repeats can only come from a kill in the middle of a delivery.
    report.check("mails in the mailboxes", mails, mails >= sent);
    report.equal("blocks in one person's trail", trail.blocks, 6);
    report.check("proofs valid", yes(trail.valid), trail.valid);
}

fn report_money(report: &mut Report, paid: &pay::Outcome, approved: u64) {
    report.equal("paid", paid.paid + paid.vouchers, approved);
    report.fact("  by the rail", paid.paid);
    report.fact("  by voucher", paid.vouchers);
    report.equal("not paid", paid.unpaid, 0);
    let sum = paid.paid_minor + paid.vouchers_minor;
    report.check("amount paid, minor units", sum, sum == paid.expected_minor);
    report.check("rail reconciled", yes(paid.reconciled), paid.reconciled);
    report.check("ledger balanced", yes(paid.balanced), paid.balanced);
}

/// The person whose trail is shown: the first who is paid, so that all blocks take part.
fn first(decided: &Path) -> Result<Enrolled> {
    for chunk in spool::chunks::<context::Decided>(decided, 100)? {
        if let Some(file) = chunk?.into_iter().find(|file| file.approved) {
            return Ok(file.enrolled);
        }
    }
    anyhow::bail!("nobody was approved, so there is no trail through all blocks")
}

fn yes(sound: bool) -> &'static str {
    if sound { "yes" } else { "NO" }
}
