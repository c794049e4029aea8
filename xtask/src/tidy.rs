//! Rules of the house that no compiler checks: lengths, layering, pairs of migrations, files
//! that every block must have, and words that mark unfinished work.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::reasons;

const MAX_COLUMNS: usize = 100;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_TABLE_STATEMENTS: usize = 4;
const MAX_FILE_LINES: usize = 600;
const MAX_CRATE_LINES: usize = 2_000;
/// Everybody knows `types`, so it is held closer.
const MAX_TYPES_LINES: usize = 1_100;

/// Shared crates that an ADR allows to be larger than the rest, with that ADR's number.
const LARGE_CRATES: &[(&str, &str)] = &[
    ("store", "0003"),
    ("journal", "0003"),
    ("work", "0003"),
    ("testkit", "0003"),
    ("jose", "0003"),
    ("auth", "0003"),
];

/// Code outside `store` modules that may name sqlx: the crate that wraps it, the codecs of values,
/// the test kit that makes databases, and the commands that look into embedded stores as files,
/// for which no block is open.
const KNOW_SQLX: &[&str] = &[
    "crates/store/src",
    "crates/types/src",
    "crates/testkit/src/server.rs",
    "services/publica/src/commands/backup.rs",
    "services/publica/src/commands/doctor.rs",
    "services/publica/src/commands/doctor/references.rs",
];

/// The six building blocks and the gateway.
pub(crate) const SERVICES: &[&str] = &[
    "identity",
    "signature",
    "payments",
    "messaging",
    "registration",
    "consent",
    "gateway",
];

/// Checks every rule and reports all that is wrong together.
pub(crate) fn run() -> Result<()> {
    let root = crate::root();
    let files = tracked(root)?;
    let mut wrong = Vec::new();
    for file in &files {
        if file.extension().is_some_and(|ending| ending == "rs") && !is_generated(file) {
            rust_file(root, file, &mut wrong)?;
        }
        unfinished(root, file, &mut wrong);
    }
    store_layer(root, &files, &mut wrong)?;
    layering(root, &mut wrong)?;
    blocks(root, &mut wrong)?;
    crate_sizes(&files, root, &mut wrong)?;
    versions(root, &files, &mut wrong)?;
    wrong.extend(reasons::drift(root, &files)?);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "{} things are untidy:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    )
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git lists the files to check")?;
    let names = String::from_utf8(output.stdout)?;
    Ok(names
        .lines()
        .map(PathBuf::from)
        .filter(|file| root.join(file).is_file())
        .collect())
}

fn is_generated(file: &Path) -> bool {
    file.starts_with("proto/src/gen")
}

fn rust_file(root: &Path, file: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(root.join(file))?;
    let name = file.display();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > MAX_FILE_LINES {
        wrong.push(format!(
            "{name}: {} lines, at most {MAX_FILE_LINES}",
            lines.len()
        ));
    }
    if file.file_name().is_some_and(|last| last == "mod.rs") {
        wrong.push(format!(
            "{name}: name the module's file after the module, not mod.rs"
        ));
    }
    for (number, line) in lines.iter().enumerate() {
        // A link cannot be folded.
        if line.chars().count() > MAX_COLUMNS && !line.contains("://") {
            wrong.push(format!("{name}:{}: over {MAX_COLUMNS} columns", number + 1));
        }
    }
    for (first, length) in long_functions(&lines) {
        wrong.push(format!(
            "{name}:{first}: a function of {length} lines, at most {MAX_FUNCTION_LINES}"
        ));
    }
    Ok(())
}

/// Functions over the limit as (line, length). The formatter puts a function's closing brace
/// under the column where its header starts, which is all this needs to know.
fn long_functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let header = line.trim_start();
        if !is_function(header) || header.ends_with('}') || !has_body(&lines[start..]) {
            continue;
        }
        let closing = format!("{}}}", &line[..indent]);
        if let Some(end) = lines[start..].iter().position(|line| *line == closing) {
            // The body without header and brace is what counts.
            let length = end.saturating_sub(1);
            let body = &lines[start + 1..start + end.max(1)];
            if length > MAX_FUNCTION_LINES && !is_table(body) {
                found.push((start + 1, length));
            }
        }
    }
    found
}

/// Whether the function that begins here has a body; in a trait it may not.
fn has_body(lines: &[&str]) -> bool {
    let end = lines.iter().find(|line| line.ends_with(['{', '}', ';']));
    end.is_some_and(|line| !line.ends_with(';'))
}

/// Whether a line begins a function, whoever sees it and whatever it may do.
fn is_function(header: &str) -> bool {
    let mut rest = header;
    if let Some(public) = rest.strip_prefix("pub") {
        let shown_to = public.strip_prefix('(').and_then(|to| to.split_once(')'));
        rest = shown_to.map_or(public, |(_, rest)| rest).trim_start();
    }
    for word in ["default ", "const ", "async ", "unsafe ", "extern \"C\" "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.starts_with("fn ")
}

/// A body that is one long table, such as a match from errors to codes: it has hardly a statement,
/// and nearly all of its lines end an arm, an element or a part of one.
fn is_table(body: &[&str]) -> bool {
    let ending = |end: char| {
        let lines = body.iter().filter(|line| line.trim_end().ends_with(end));
        lines.count()
    };
    ending(';') <= MAX_TABLE_STATEMENTS && ending(',') * 3 >= body.len() * 2
}

fn unfinished(root: &Path, file: &Path, wrong: &mut Vec<String>) {
    let Ok(text) = fs::read_to_string(root.join(file)) else {
        return;
    };
    if file.starts_with("xtask/src/tidy.rs") || is_generated(file) {
        return;
    }
    for (number, line) in text.lines().enumerate() {
        for word in ["FIXME", "XXX:", "todo!(", "unimplemented!(", "#[ignore"] {
            if line.contains(word) {
                wrong.push(format!("{}:{}: holds {word}", file.display(), number + 1));
            }
        }
        if line.contains("TODO") && !line.contains("TODO(#") {
            wrong.push(format!(
                "{}:{}: a TODO without an issue",
                file.display(),
                number + 1
            ));
        }
    }
}

/// Dependencies point down: services to crates to proto and types, never block to block.
fn layering(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for block in SERVICES {
        let manifest = dependencies(&root.join("services").join(block).join("Cargo.toml"))?;
        for other in SERVICES {
            if other != block && manifest.contains(&format!("publica-{other}")) {
                wrong.push(format!("services/{block}: depends on the block {other}"));
            }
        }
    }
    for entry in fs::read_dir(root.join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let manifest = dependencies(&root.join("crates").join(&name).join("Cargo.toml"))?;
        for block in SERVICES {
            if manifest.contains(&format!("publica-{block}")) {
                wrong.push(format!("crates/{name}: depends on the block {block}"));
            }
        }
        if name == "host" && manifest.contains("sqlx") {
            wrong.push("crates/host: must not know sqlx".to_owned());
        }
    }
    Ok(())
}

fn dependencies(manifest: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(['=', '.', ' ']).next())
        .map(str::to_owned)
        .collect())
}

/// Only `store` modules know the database's driver.
fn store_layer(root: &Path, files: &[PathBuf], wrong: &mut Vec<String>) -> Result<()> {
    let sources = files.iter().filter(|file| {
        let parts: Vec<_> = file.iter().filter_map(|part| part.to_str()).collect();
        let ours = matches!(parts.as_slice(), ["crates" | "services", _, "src", ..]);
        let store = matches!(parts.get(3), Some(&("store" | "store.rs")));
        let known = KNOW_SQLX.iter().any(|known| file.starts_with(known));
        ours && !store && !known && file.extension().is_some_and(|ending| ending == "rs")
    });
    for file in sources {
        let text = fs::read_to_string(root.join(file))?;
        let code = text.lines().take_while(|line| *line != "#[cfg(test)]");
        for (number, line) in code.enumerate() {
            if line.contains("sqlx") && !line.trim_start().starts_with("//") {
                wrong.push(format!(
                    "{}:{}: names sqlx outside a store module",
                    file.display(),
                    number + 1
                ));
            }
        }
    }
    Ok(())
}

/// One version: what the program says, image and charts say too.
fn versions(root: &Path, files: &[PathBuf], wrong: &mut Vec<String>) -> Result<()> {
    let version_of = |file: &str| -> Result<String> {
        let text = fs::read_to_string(root.join(file))?;
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix("version = "));
        let version = found.with_context(|| format!("{file} has no version of its own"))?;
        Ok(version.trim_matches('"').to_owned())
    };
    let version = version_of("services/publica/Cargo.toml")?;
    let gateway = version_of("services/gateway/Cargo.toml")?;
    let mut said = vec![("services/gateway/Cargo.toml".to_owned(), gateway)];
    let charts = files.iter().filter(|file| file.ends_with("Chart.yaml"));
    for file in charts {
        let text = fs::read_to_string(root.join(file))?;
        for line in text.lines() {
            let line = line.trim_start();
            let found = line
                .strip_prefix("version: ")
                .or_else(|| line.strip_prefix("appVersion: "));
            if let Some(found) = found {
                said.push((
                    file.display().to_string(),
                    found.trim_matches('"').to_owned(),
                ));
            }
        }
    }
    let compose = fs::read_to_string(root.join("compose.yaml"))?;
    let images = compose
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("image: publica:"));
    said.extend(images.map(|image| ("compose.yaml".to_owned(), image.to_owned())));
    for (file, other) in said {
        if other != version {
            wrong.push(format!("{file}: says {other}, the program says {version}"));
        }
    }
    Ok(())
}

/// What each block's folder must hold, and that its migrations come in pairs.
fn blocks(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for block in SERVICES {
        let folder = root.join("services").join(block);
        for file in ["README.md", "config.sample.toml"] {
            if !folder.join(file).is_file() {
                wrong.push(format!("services/{block}: has no {file}"));
            }
        }
        if *block != "gateway" {
            for page in ["requirements", "data-model"] {
                if !root
                    .join("docs")
                    .join(page)
                    .join(format!("{block}.md"))
                    .is_file()
                {
                    wrong.push(format!("docs/{page}/{block}.md is missing"));
                }
            }
        }
    }
    for parent in ["services", "crates"] {
        for entry in fs::read_dir(root.join(parent))? {
            let migrations = entry?.path().join("migrations");
            let sqlite = migration_names(&migrations.join("sqlite"));
            let postgres = migration_names(&migrations.join("postgres"));
            for odd in sqlite.symmetric_difference(&postgres) {
                wrong.push(format!(
                    "{}: {odd} has no counterpart",
                    migrations.display()
                ));
            }
        }
    }
    Ok(())
}

fn migration_names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// A shared crate stays one thing; past the limit an ADR says why it still is.
fn crate_sizes(files: &[PathBuf], root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if LARGE_CRATES.iter().any(|(large, _)| *large == name) {
            continue;
        }
        let folder = Path::new("crates").join(&name).join("src");
        let mut lines = 0;
        for file in files.iter().filter(|file| file.starts_with(&folder)) {
            // Tests stand beside the code but are not what the limit is about.
            let text = fs::read_to_string(root.join(file))?;
            lines += text
                .lines()
                .take_while(|line| *line != "#[cfg(test)]")
                .count();
        }
        let limit = match name.as_str() {
            "types" => MAX_TYPES_LINES,
            _ => MAX_CRATE_LINES,
        };
        if lines > limit {
            wrong.push(format!(
                "crates/{name}: {lines} lines; over {limit} needs an ADR"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{is_function, long_functions};

    #[test]
    fn functions_are_known_by_their_headers() {
        for header in [
            "fn a() {",
            "pub fn a() {",
            "pub const fn a() {",
            "pub(crate) const fn a() {",
            "pub(in crate::a) async fn a() {",
            "pub(super) unsafe extern \"C\" fn a() {",
        ] {
            assert!(is_function(header), "{header}");
        }
        for other in [
            "let f = 1;",
            "pub const F: fn() = a;",
            "public(fn)",
            "// fn a() {",
        ] {
            assert!(!is_function(other), "{other}");
        }
    }

    #[test]
    fn one_long_expression_is_no_table() {
        let mut chain = vec!["pub const fn e() -> u8 {", "    a()"];
        chain.extend(std::iter::repeat_n("        .and_then(|a| a.b())", 80));
        chain.extend(["        ;", "}"]);
        assert_eq!(long_functions(&chain), [(1, 82)]);
    }

    #[test]
    fn tables_may_be_long() {
        let mut table = vec!["fn e(self) -> u8 {", "    match self {"];
        table.extend(std::iter::repeat_n("        F => 1,", 80));
        table.extend(["    }", "}"]);
        assert_eq!(long_functions(&table), []);
    }

    #[test]
    fn what_a_trait_leaves_open_has_no_length() {
        let mut lines = vec![
            "    fn a(",
            "        &self,",
            "    ) -> u8;",
            "}",
            "impl B {",
        ];
        lines.extend(["    fn b() {"]);
        lines.extend(std::iter::repeat_n("        c();", 70));
        lines.extend(["    }", "}"]);
        assert_eq!(long_functions(&lines), []);
    }

    #[test]
    fn only_functions_over_the_limit_are_found() {
        let short = ["fn a() {", "    b();", "}"];
        assert_eq!(long_functions(&short), []);
        let mut long = vec!["    pub async fn c() {"];
        long.extend(std::iter::repeat_n("        d();", 71));
        long.push("    }");
        assert_eq!(long_functions(&long), [(1, 71)]);
    }
}
