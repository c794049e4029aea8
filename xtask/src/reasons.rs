//! Reasons of refusals: every one that stands in the code stands in `docs/errors.md`, under the
//! block that gives it or under what all blocks share, and nothing else does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::tidy::SERVICES;

const CATALOGUE: &str = "docs/errors.md";
const SHARED: &str = "Every block";
const GATEWAY: &str = "gateway";

/// Files whose upper-case words are names of other things.
const OTHER_NAMES: &[&str] = &[
    // Codes of gRPC.
    "crates/rpc/src/methods.rs",
    // Indications of a validation, and kinds of devices that sign.
    "services/signature/src/domain/judge.rs",
    "services/signature/src/app/validation.rs",
    "services/signature/src/app/certificate.rs",
    // Prefixes of values of enums.
    "services/consent/src/app/imports/lines.rs",
    // Names of statements.
    "services/registration/src/store/file_list.rs",
    "services/registration/src/store/task_list.rs",
];

/// Files where reasons of a single word are given as well.
const SINGLE_WORDS: &[&str] = &[
    "error.rs",
    "fault.rs",
    "denial.rs",
    "framework.rs",
    "guard.rs",
];
/// Shorter single words are names of HTTP methods and the like.
const MIN_SINGLE: usize = 5;

/// Sections with their reasons.
type Sections = BTreeMap<String, BTreeSet<String>>;

/// What the catalogue lacks, and what it has too much.
pub(crate) fn drift(root: &Path, files: &[PathBuf]) -> Result<Vec<String>> {
    let written = catalogue(&fs::read_to_string(root.join(CATALOGUE))?);
    let mut given = Sections::new();
    for file in files {
        if let Some(section) = section(file) {
            let text = fs::read_to_string(root.join(file))?;
            let reasons = reasons(file, &text, section == GATEWAY);
            given.entry(section).or_default().extend(reasons);
        }
    }
    Ok(compare(&given, &written))
}

/// The section that a file's reasons belong to; none if it gives none.
fn section(file: &Path) -> Option<String> {
    let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
    let rust = file.extension().is_some_and(|ending| ending == "rs");
    let tests = parts.contains(&"tests") || parts.contains(&"tests.rs");
    let other = OTHER_NAMES.iter().any(|other| file == Path::new(other));
    if !rust || tests || other {
        return None;
    }
    match parts.as_slice() {
        ["services", block, "src", ..] if SERVICES.contains(block) => Some((*block).to_owned()),
        ["crates", name, "src", ..] if *name != "testkit" => Some(SHARED.to_owned()),
        _ => None,
    }
}

/// Reasons in a source file. The gateway also repeats reasons of blocks and names those of
/// published interfaces, so of its words only what makes a problem document counts.
fn reasons(file: &Path, text: &str, gateway: bool) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    if gateway {
        let problems = code.split("Problem::new(").skip(1);
        let named = problems.filter_map(|rest| rest.split('"').nth(1));
        return named
            .filter(|word| is_reason(word))
            .map(str::to_owned)
            .collect();
    }
    let name = file.file_name().and_then(|name| name.to_str());
    let single = name.is_some_and(|name| SINGLE_WORDS.contains(&name));
    let counts = |word: &&str| {
        let known = word.contains('_') || (single && word.len() >= MIN_SINGLE);
        is_reason(word) && known && !word.starts_with("CARGO_")
    };
    // Between quotes stands every other piece of a line.
    code.lines()
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(counts)
        .map(str::to_owned)
        .collect()
}

fn is_reason(word: &str) -> bool {
    let upper = |letter: u8| letter.is_ascii_uppercase() || letter.is_ascii_digit();
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.bytes().all(|letter| upper(letter) || letter == b'_')
        && word.bytes().last().is_some_and(upper)
        && word.len() > 1
}

/// The first column of every table, by section.
fn catalogue(text: &str) -> Sections {
    let mut sections = Sections::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        } else if let Some((reason, _)) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once('`'))
            && is_reason(reason)
            // Before the first section stand the codes of gRPC.
            && !section.is_empty()
        {
            let reasons = sections.entry(section.clone()).or_default();
            reasons.insert(reason.to_owned());
        }
    }
    sections
}

fn compare(given: &Sections, written: &Sections) -> Vec<String> {
    let none = BTreeSet::new();
    let shared = written.get(SHARED).unwrap_or(&none);
    let mut wrong = Vec::new();
    for (section, reasons) in given {
        let own = written.get(section).unwrap_or(&none);
        let missing = reasons
            .iter()
            .filter(|reason| !own.contains(*reason) && !shared.contains(*reason));
        wrong.extend(missing.map(|reason| format!("{CATALOGUE}: {section} lacks {reason}")));
    }
    for (section, reasons) in written {
        let own = given.get(section).unwrap_or(&none);
        let stale = reasons.iter().filter(|reason| !own.contains(*reason));
        wrong
            .extend(stale.map(|reason| {
                format!("{CATALOGUE}: {section} has {reason}, which is never given")
            }));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, text: &str) -> Vec<String> {
        let gateway = file.contains("gateway");
        reasons(Path::new(file), text, gateway)
            .into_iter()
            .collect()
    }

    #[test]
    fn reasons_are_found_and_other_words_are_not() {
        let text = "match self {\n    A => \"FUNDS_SHORT\", B => \"CONFLICT\",\n    \
                    // \"NOT_THIS\"\n    C => \"a WORD\", D => \"GET\", E => \"CARGO_PKG_NAME\",\n\
                    }\n#[cfg(test)]\n\"NOT_THAT\"";
        let single = found("services/payments/src/error.rs", text);
        assert_eq!(single, ["CONFLICT", "FUNDS_SHORT"]);
        let elsewhere = found("services/payments/src/app/pay.rs", text);
        assert_eq!(elsewhere, ["FUNDS_SHORT"]);
        let gateway =
            "if reason == \"FUNDS_SHORT\" { Problem::new(\n  Code::X,\n \"BODY\", \"\") }";
        assert_eq!(found("services/gateway/src/a.rs", gateway), ["BODY"]);
    }

    #[test]
    fn drift_is_found_in_both_directions() {
        let text = "## payments\n| Reason | Code |\n|---|---|\n| `STALE_ONE` | `ABORTED` |\n\
                    ## Every block\n| `COMMON_ONE` | x |\n";
        let written = catalogue(text);
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let given = Sections::from([
            ("payments".to_owned(), set(&["NEW_ONE", "COMMON_ONE"])),
            (SHARED.to_owned(), set(&["COMMON_ONE"])),
        ]);
        assert_eq!(
            compare(&given, &written),
            [
                "docs/errors.md: payments lacks NEW_ONE",
                "docs/errors.md: payments has STALE_ONE, which is never given",
            ]
        );
    }
}
