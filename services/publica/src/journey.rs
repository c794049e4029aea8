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

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use publica_types::{SharedClock, SystemClock, SystemEntropy, new_uuid};

use crate::cli::JourneyArgs;
use crate::print;

use context::Context;
use households::FileError;
use report::Report;

/// The sample that ships with the source, for runs from a checkout.
const SAMPLE: &str = include_str!("../../../deploy/samples/households.csv");

/// Runs the main job; the exit code says whether everything added up.
pub(crate) async fn run(args: JourneyArgs) -> Result<u8> {
    // What cannot be used is refused before anything is written.
    if let Some(keep) = &args.keep {
        crate::base::ensure_empty(keep).context("--keep")?;
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let today: String = clock.now().to_string().chars().take(10).collect();
    let named = match &args.households {
        None => None,
        Some(file) => match households::check(file, &today) {
            Ok(rows) => Some((file.clone(), rows)),
            Err(error) => return refused(error),
        },
    };
    let scratch = tempfile::tempdir().context("a folder for the run")?;
    let folder = args
        .keep
        .clone()
        .unwrap_or_else(|| scratch.path().to_owned());
    crate::base::private_folder(&folder)?;
    let (file, rows) = match named {
        Some(named) => named,
        None => sample(&folder, &today)?,
    };
    let suite = suite::Suite::start(&args, &folder).await?;
    let done = match context(&suite, clock, &folder, file, rows) {
        Ok(context) => act(&args, &context).await,
        Err(error) => Err(error),
    };
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

fn sample(folder: &Path, today: &str) -> Result<(PathBuf, u64)> {
    let path = folder.join("households.csv");
    crate::base::new_private_file(&path)?
        .write_all(SAMPLE.as_bytes())
        .with_context(|| path.display().to_string())?;
    let rows = households::check(&path, today)?;
    Ok((path, rows))
}

async fn act(args: &JourneyArgs, context: &Context) -> Result<bool> {
    let mut report = Report::new();
    let parties = context.parties().await.context("registering the parties")?;
    let enrolled = enrol::run(context, &parties, &report)
        .await
        .context("step 1, identity")?;
    let people = enrolled.enrolled;
    let most = args.sign_in.unwrap_or(people).min(people);
    let signed_in = sign_in::run(context, &parties, &report, &enrolled.persons, most)
        .await
        .context("step 2, sign-in")?;
    let consent = consent::run(
        context,
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
        context,
        &parties,
        &report,
        &enrolled.persons,
        people,
        agreement,
    )
    .await
    .context("step 4, registration")?;
    let after = after_decision(context, &parties, &report, &applied, people, args).await?;
    let After {
        letters,
        paid,
        told,
        trail,
    } = after;

    let counts = Counts {
        rows: context.rows,
        signed_in,
        expected_sign_ins: most,
        letters,
        told,
    };
    report_all(&mut report, &counts, &enrolled, &consent, &applied);
    report_money(&mut report, &paid, applied.approved);
    let mails = context.mailboxes.mails();
    // Repeats can only come from a kill in the middle of a delivery.
    report.check("mails in the mailboxes", mails, mails >= told + signed_in);
    report_trail(&mut report, trail.as_ref());
    if args.keep.is_some() {
        report.fact("kept in", context.folder.display());
    }
    report.close()
}

/// What the steps after the decisions gave.
struct After {
    letters: u64,
    paid: pay::Outcome,
    told: u64,
    trail: Option<trail::Outcome>,
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
    let trail = trail::run(context, parties, report, &applied.decided)
        .await
        .context("step 8, journal")?;
    Ok(After {
        letters,
        paid,
        told,
        trail,
    })
}

fn context(
    suite: &suite::Suite,
    clock: SharedClock,
    folder: &Path,
    file: PathBuf,
    rows: u64,
) -> Result<Context> {
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
    match consent.refused_without {
        None => report.fact("register without consent", "nobody to read about"),
        Some(true) => report.check("register without consent", "refused", true),
        Some(false) => report.check("register without consent", "OPEN", false),
    }
    report.equal("decided", applied.approved + applied.refused, people);
    report.fact("  approved", applied.approved);
    report.fact("  refused", applied.refused);
    report.fact("  sent back and resubmitted", applied.sent_back);
    report.equal("letters signed and valid", counts.letters, people);
    report.equal("mails delivered", counts.told, people);
}

fn report_trail(report: &mut Report, trail: Option<&trail::Outcome>) {
    let Some(trail) = trail else {
        report.fact("one person's trail", "nobody has one");
        return;
    };
    report.fact("line of the person shown", trail.line);
    report.equal(
        "blocks in that person's trail",
        trail.blocks,
        trail.expected,
    );
    report.check("proofs valid", yes(trail.valid), trail.valid);
    report.fact("the trail", trail.export.display());
}

fn report_money(report: &mut Report, paid: &pay::Outcome, approved: u64) {
    report.equal("paid", paid.paid + paid.vouchers, approved);
    report.equal("paid as decided", paid.as_decided, approved);
    report.fact("  by the rail", paid.paid);
    report.fact("  by voucher", paid.vouchers);
    report.equal("not paid", paid.unpaid, 0);
    let sum = paid.paid_minor + paid.vouchers_minor;
    report.check("amount paid, minor units", sum, sum == paid.expected_minor);
    report.check("rail reconciled", yes(paid.reconciled), paid.reconciled);
    report.check("ledger balanced", yes(paid.balanced), paid.balanced);
}

fn yes(sound: bool) -> &'static str {
    if sound { "yes" } else { "NO" }
}
