//! The charts in `helm/`: linted, rendered in every shape that they promise, and the settings in
//! what was rendered read by the program that will read them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::tidy::SERVICES;

const ISSUER: &str = "https://id.example.org/identity";
/// The role without a store.
const GATEWAY: &str = "gateway";
const UMBRELLA: &str = "publica";

/// Further settings may hold any table, also those that the charts write keys of.
const SETTINGS: &str = "[auth]\nleeway_seconds = 20\n[identity.code]\nlifetime_seconds = 120\n";

/// A way to install a chart.
struct Shape {
    name: &'static str,
    values: &'static [&'static str],
    /// Whether the blocks keep their stores on PostgreSQL.
    postgres: bool,
    /// Whether tokens of people are believed.
    issuer: bool,
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "embedded",
        values: &[],
        postgres: false,
        issuer: true,
    },
    Shape {
        name: "PostgreSQL",
        values: &[
            "store.engine=postgres",
            "database.existingSecret=database",
            "replicas=3",
            "witness.existingClaim=witness",
        ],
        postgres: true,
        issuer: true,
    },
    Shape {
        name: "alone",
        values: &[],
        postgres: false,
        issuer: false,
    },
];

/// Lints and renders every chart; `publica` is the program whose settings they write.
pub(crate) fn check(helm: &Path, publica: &Path) -> Result<()> {
    let helm = Helm {
        program: helm,
        folder: crate::root().join("helm"),
    };
    for block in SERVICES {
        helm.run(&["dependency", "build"], block, &[])?;
    }
    helm.run(&["dependency", "build"], UMBRELLA, &[])?;
    for block in SERVICES {
        for shape in SHAPES {
            // People are given tokens by the identity block alone, so it has to know its name.
            if *block == "identity" && !shape.issuer {
                let rendered = helm.run(&["template", "it"], block, &[]);
                ensure!(rendered.is_err(), "identity was rendered without an issuer");
                continue;
            }
            let values = values(block, shape, "");
            helm.run(&["lint", "--strict"], block, &values)?;
            let rendered = helm.run(&["template", "it"], block, &values)?;
            judge(block, shape, &rendered)
                .and_then(|()| settings(publica, &rendered))
                .with_context(|| format!("the chart {block}, {}", shape.name))?;
        }
    }
    witnesses(&helm)?;
    for shape in SHAPES.iter().filter(|shape| shape.issuer) {
        let mut all = vec![format!("global.issuer={ISSUER}")];
        for block in SERVICES {
            all.extend(values(block, shape, &format!("{block}.")));
        }
        helm.run(&["lint", "--strict"], UMBRELLA, &all)?;
        let rendered = helm.run(&["template", "it"], UMBRELLA, &all)?;
        settings(publica, &rendered)
            .with_context(|| format!("the umbrella chart, {}", shape.name))?;
    }
    Ok(())
}

/// With PostgreSQL nobody loses the witness without having asked for that.
fn witnesses(helm: &Helm<'_>) -> Result<()> {
    let mut values = vec!["store.engine=postgres".to_owned()];
    values.push("database.existingSecret=database".to_owned());
    let rendered = helm.run(&["template", "it"], "payments", &values);
    let said = rendered.err().map(|error| format!("{error:#}"));
    let said = said.context("payments was rendered on PostgreSQL without a witness")?;
    ensure!(said.contains("witness.existingClaim"), "{said}");
    values.push("witness.ephemeral=true".to_owned());
    let rendered = helm.run(&["template", "it"], "payments", &values)?;
    ensure!(rendered.contains("emptyDir"), "there is no folder for it");
    Ok(())
}

fn values(block: &str, shape: &Shape, prefix: &str) -> Vec<String> {
    // The gateway keeps no journal, so there is nothing for a witness to keep.
    let of_block = |value: &&&str| block != "gateway" || !value.starts_with("witness.");
    let mut values: Vec<String> = shape
        .values
        .iter()
        .filter(of_block)
        .map(|value| format!("{prefix}{value}"))
        .collect();
    if shape.issuer {
        values.push(format!("{prefix}issuer={ISSUER}"));
    }
    values.push(format!("{prefix}settings={SETTINGS}"));
    values
}

struct Helm<'a> {
    program: &'a Path,
    folder: PathBuf,
}

impl Helm<'_> {
    fn run(&self, action: &[&str], chart: &str, values: &[String]) -> Result<String> {
        let mut command = Command::new(self.program);
        command.args(action).arg(self.folder.join(chart));
        for value in values {
            command.args(["--set", value]);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("helm {} {chart}: {said}{complaint}", action[0]);
        }
        Ok(said)
    }
}

/// What must and must not stand in the manifests of one block.
fn judge(block: &str, shape: &Shape, rendered: &str) -> Result<()> {
    let issuers = rendered.contains("[[auth.issuers]]");
    ensure!(issuers == shape.issuer, "auth.issuers: {issuers}");
    let named = rendered.contains("name: PUBLICA_IDENTITY__ISSUER");
    ensure!(named == (block == "identity"), "identity.issuer: {named}");
    let migrates = shape.postgres && block != GATEWAY;
    let job: Vec<&str> = documents(rendered)
        .filter(|document| document.contains("\nkind: Job\n"))
        .collect();
    let expected = usize::from(migrates);
    ensure!(job.len() == expected, "{} jobs", job.len());
    for job in job {
        for wanted in [
            "helm.sh/hook: pre-install,pre-upgrade",
            "args: [migrate, \"--blocks\"",
            "key: migrate-url",
            "key: url",
        ] {
            ensure!(job.contains(wanted), "the job lacks {wanted}");
        }
        let selected = format!("app.kubernetes.io/name: {block}\n");
        ensure!(!job.contains(&selected), "the block's service selects it");
    }
    for pod in documents(rendered).filter(|document| document.contains("containers:")) {
        for wanted in [
            "runAsNonRoot: true",
            "readOnlyRootFilesystem: true",
            "drop: [ALL]",
            "enableServiceLinks: false",
        ] {
            ensure!(pod.contains(wanted), "a pod lacks {wanted}");
        }
    }
    Ok(())
}

fn documents(rendered: &str) -> impl Iterator<Item = &str> {
    rendered.split("\n---\n")
}

/// Where pods find the keys of the suite.
const KEYS: &str = "/var/lib/publica/keys";

/// Has the program read every settings file that was rendered, with keys where it names them.
fn settings(publica: &Path, rendered: &str) -> Result<()> {
    let files = settings_files(rendered);
    ensure!(!files.is_empty(), "no settings were rendered");
    let folder = std::env::temp_dir().join(format!("publica-charts-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let checked = settings_in(&folder, publica, &files);
    std::fs::remove_dir_all(&folder)?;
    checked
}

fn settings_in(folder: &Path, publica: &Path, files: &[String]) -> Result<()> {
    let keys = folder.join("keys");
    if !keys.exists() {
        let mut make = Command::new(publica);
        make.args(["keys", "--to"]).arg(&keys).env_clear();
        let made = make.output()?;
        ensure!(made.status.success(), "no keys could be made: {made:?}");
    }
    let path = folder.join("publica.toml");
    for text in files {
        let here = text.replace(KEYS, &keys.display().to_string());
        std::fs::write(&path, here)?;
        let checked = Command::new(publica)
            .arg("check-config")
            .arg(&path)
            .env_clear()
            .env("PUBLICA_IDENTITY__ISSUER", ISSUER)
            .output()?;
        if !checked.status.success() {
            let complaint = String::from_utf8_lossy(&checked.stderr);
            bail!("settings that cannot be used: {complaint}\n{text}");
        }
    }
    Ok(())
}

/// The texts of `publica.toml: |` in config maps: the lines below that stand further in.
fn settings_files(rendered: &str) -> Vec<String> {
    const KEY: &str = "  publica.toml: |";
    const INDENT: &str = "    ";
    let mut files = Vec::new();
    let mut lines = rendered.lines();
    while lines.by_ref().any(|line| line == KEY) {
        let text = lines
            .clone()
            .take_while(|line| line.is_empty() || line.starts_with(INDENT))
            .map(|line| line.strip_prefix(INDENT).unwrap_or_default())
            .fold(String::new(), |text, line| text + line + "\n");
        files.push(text);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::settings_files;

    #[test]
    fn settings_are_found_in_manifests() {
        let rendered = "kind: ConfigMap\ndata:\n  publica.toml: |\n    a = 1\n\n    [b]\n\
                        \x20   c = 2\n---\nkind: X\n---\ndata:\n  publica.toml: |\n    a = 3\n";
        assert_eq!(
            settings_files(rendered),
            ["a = 1\n\n[b]\nc = 2\n", "a = 3\n"]
        );
    }
}
