//! The main job: how long it takes and how much memory the whole of it holds at its peak, suite,
//! mail server and client in one process on embedded stores.
//!
//! The limit of the time is what its RSA signatures alone take on all cores, three for each
//! person who signs in; that of the memory is the peak with the smallest file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use publica_types::SystemEntropy;
use tokio::time::Instant;

use crate::pace::scatter;
use crate::program::{memory, publica};
use crate::report::{Figure, Report};

/// What to measure of the main job.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Numbers of households, the smallest first.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 100_000])]
    households: Vec<u32>,
}

const SIGNATURES: f64 = 3.0;

pub(crate) async fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let a_signature = rsa_signature()?;
    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    let mut smallest = None;
    for households in &arguments.households {
        let run = run(*households).await?;
        let alone = a_signature * SIGNATURES * f64::from(*households) / f64::from(cores);
        let name = format!("journey-{households}");
        let figure = Figure::new(&name, run.took.as_secs_f64(), "s").resident(run.peak_mib);
        report.figure(
            figure
                .on("sqlite")
                .beside("its RSA signatures alone", alone),
        )?;
        let least = *smallest.get_or_insert(run.peak_mib);
        let name = format!("journey-{households}-peak-memory");
        let figure = Figure::new(&name, run.peak_mib, "MiB").resident(run.peak_mib);
        report.figure(
            figure
                .on("sqlite")
                .beside("the smallest file's peak", least),
        )?;
    }
    Ok(())
}

struct Run {
    took: Duration,
    peak_mib: f64,
}

async fn run(households: u32) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("households.csv");
    write(&file, households).context("writing the households")?;
    let mut command = publica()?;
    command
        .args(["journey", "--keep"])
        .arg(folder.path().join("kept"))
        .arg("--households")
        .arg(&file)
        .env("TMPDIR", folder.path());
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = BufReader::new(child.stdout.take().context("its output")?);
    let shown = std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // Whoever measures wants to see how far it is.
            let _ = writeln!(std::io::stdout(), "  {line}");
        }
    });
    let mut peak_mib = 0.0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        // The last look before it ends finds the peak, since a peak never falls.
        if let Ok(peak) = memory(child.id(), "VmHWM:") {
            peak_mib = peak;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let took = began.elapsed();
    shown.join().ok().context("its output")?;
    anyhow::ensure!(status.success(), "the journey did not add up");
    Ok(Run { took, peak_mib })
}

/// Seconds that one RSA-2048 signature takes on one core.
fn rsa_signature() -> anyhow::Result<f64> {
    const COUNT: u32 = 1_000;
    let key = SigningKey::generate(Alg::Rs256, &SystemEntropy)?;
    let began = Instant::now();
    for _ in 0..COUNT {
        sign_jws(&key, Protected::new(), b"{}")?;
    }
    Ok(began.elapsed().as_secs_f64() / f64::from(COUNT))
}

const NAMES: [(&str, &str, &str); 8] = [
    ("秀英", "张", "zh"),
    ("Оксана", "Бондар", "uk"),
    ("يوسف", "الخطيب", "ar"),
    ("Văn Minh", "Lê", "vi"),
    ("लक्ष्मी", "पटेल", "hi"),
    ("Amélie", "Dubois", "fr"),
    ("Wanjiru", "Mwangi", "sw"),
    ("Mary", "O'Neill", "en"),
];

/// Made-up households; one in fifty stands there twice, one in seven has no account.
fn write(path: &Path, households: u32) -> anyhow::Result<()> {
    const COLUMNS: &str = "household_id,national_id,given_name,family_name,date_of_birth,email,\
                           language,members,monthly_income_minor,account";
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "{COLUMNS}")?;
    for number in 0..households {
        // A repeated row tells of the household before it.
        let person = if number % 50 == 49 {
            number - 1
        } else {
            number
        };
        let pick = |salt: u64, among: u64| scatter(u64::from(person) * 16 + salt, among);
        let (given, family, language) = NAMES[usize::try_from(pick(1, 8))?];
        let account = match pick(2, 7) {
            0 => String::new(),
            _ => format!("UNION-{person:08}"),
        };
        writeln!(
            file,
            "H{person:07},{:012},{given},{family},19{}-{:02}-{:02},household{person}@example.org,\
             {language},{},{},{account}",
            100_000_000_000 + u64::from(person),
            40 + pick(3, 60),
            1 + pick(4, 12),
            1 + pick(5, 28),
            1 + pick(6, 8),
            pick(7, 40) * 50_000,
        )?;
    }
    file.flush()?;
    Ok(())
}
