//! What may enter the tree, by `deny.toml`: licences, banned crates, crates that must have one
//! version, and sources. The file is `cargo-deny`'s, which asks for more (such as advisories, for
//! which it needs the network); building it takes longer than all that is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    reason: String,
    /// Not banned, but at most one version of it may be there.
    #[serde(default)]
    deny_multiple_versions: bool,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Where it comes from; our own have none.
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    source: Option<String>,
}

/// Checks every package of the lock file and reports all that is wrong together.
pub(crate) fn run() -> Result<()> {
    let text = std::fs::read_to_string(crate::root().join("deny.toml"))?;
    let rules: Rules = toml::from_str(&text).context("deny.toml")?;
    let metadata = cargo(&["metadata", "--format-version=1"])?;
    let metadata: Metadata = serde_json::from_str(&metadata)?;
    // The lock file also names what only features that nobody asks for would bring.
    let tree = ["tree", "--workspace", "--target=all", "--prefix=none"];
    let tree = cargo(&[&tree[..], &["--edges=normal,build,dev", "--format={p}"]].concat())?;
    let built: BTreeSet<&str> = tree.lines().filter_map(named).collect();
    let packages: Vec<Package> = metadata
        .packages
        .into_iter()
        .filter(|package| built.contains(format!("{} v{}", package.name, package.version).as_str()))
        .collect();
    ensure!(packages.len() > 1, "cargo tree and cargo metadata disagree");
    let wrong = judge(&rules, &packages);
    ensure!(
        wrong.is_empty(),
        "{} dependencies are against deny.toml:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    );
    Ok(())
}

/// What cargo says about the lock file, with every feature of ours.
fn cargo(arguments: &[&str]) -> Result<String> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--locked", "--all-features"])
        .current_dir(crate::root())
        .output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("cargo {}: {complaint}", arguments[0]);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The name and version at the start of a line, which may go on with a source or a mark.
fn named(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(' ')?;
    let version = rest.split(' ').next()?;
    line.get(..name.len() + 1 + version.len())
}

fn judge(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        let known = versions.entry(&package.name).or_default();
        known.insert(&package.version);
        match &package.license {
            None => wrong.push(format!("{name}: names no licence")),
            Some(license) if !is_allowed(license, &rules.licenses.allow) => {
                wrong.push(format!("{name}: its licence is {license}"));
            }
            Some(_) => {}
        }
        match package.source.as_deref() {
            Some(CRATES_IO) => {}
            Some(other) => wrong.push(format!("{name}: comes from {other}")),
            None => wrong.extend(wildcards(package)),
        }
    }
    for ban in &rules.bans.deny {
        let there = versions.get(ban.name.as_str());
        let there = there.into_iter().flatten().copied().collect::<Vec<_>>();
        let limit = usize::from(ban.deny_multiple_versions);
        if there.len() > limit {
            let list = there.join(", ");
            let reason = if ban.deny_multiple_versions {
                "one version alone is allowed"
            } else {
                &ban.reason
            };
            wrong.push(format!("{} {list}: {reason}", ban.name));
        }
    }
    wrong
}

/// Dependencies of ours that would take any version.
fn wildcards(package: &Package) -> impl Iterator<Item = String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.source.is_some() && dependency.req == "*")
        .map(|dependency| format!("{}: takes any {}", package.name, dependency.name))
}

/// Whether a licence expression (SPDX) can be met with allowed licences alone.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        // An older way to write a choice.
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = choice(&mut words, allowed);
    // What cannot be read to its end is not understood.
    met && words.peek().is_none()
}

type Words<I> = std::iter::Peekable<I>;

fn choice<'a, I: Iterator<Item = &'a str>>(
    words: &mut Words<I>,
    allowed: &BTreeSet<String>,
) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        // Both sides are read, whatever the first one gives.
        let other = all(words, allowed);
        met = met || other;
    }
    met
}

fn all<'a, I: Iterator<Item = &'a str>>(words: &mut Words<I>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        let other = one(words, allowed);
        met = met && other;
    }
    met
}

fn one<'a, I: Iterator<Item = &'a str>>(words: &mut Words<I>, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        let met = choice(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    match words.next_if_eq(&"WITH").and_then(|_| words.next()) {
        Some(exception) => allowed.contains(&format!("{word} WITH {exception}")),
        None => allowed.contains(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        toml::from_str(
            "[licenses]\nallow = ['MIT', 'Apache-2.0', 'Apache-2.0 WITH LLVM-exception']\n\
             [bans]\ndeny = [{ crate = 'ring', reason = 'no second provider' },\n\
             { crate = 'tonic', deny-multiple-versions = true }]",
        )
        .unwrap()
    }

    fn package(name: &str, version: &str, license: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some(license.to_owned()),
            source: Some(CRATES_IO.to_owned()),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn licence_expressions_are_weighed() {
        let allowed = rules().licenses.allow;
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "MIT AND (GPL-2.0 OR Apache-2.0)",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "GPL-3.0 OR (MIT AND LGPL-2.1)",
            "MIT WITH Odd-exception",
            "(MIT",
            "MIT MIT",
            "",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn bans_versions_and_sources_are_held() {
        let mut ours = package("ours", "0.0.0", "Apache-2.0");
        ours.source = None;
        ours.dependencies.push(Dependency {
            name: "serde".to_owned(),
            req: "*".to_owned(),
            source: Some(CRATES_IO.to_owned()),
        });
        let mut elsewhere = package("elsewhere", "1.0.0", "MIT");
        elsewhere.source = Some("git+https://example.org/elsewhere".to_owned());
        let mut silent = package("silent", "1.0.0", "MIT");
        silent.license = None;
        let packages = [
            package("tonic", "0.13.0", "MIT"),
            package("tonic", "0.14.0", "MIT"),
            package("hyper", "0.14.0", "MIT"),
            package("hyper", "1.0.0", "MIT"),
            package("ring", "0.17.0", "Apache-2.0"),
            ours,
            elsewhere,
            silent,
        ];
        assert_eq!(
            judge(&rules(), &packages),
            [
                "ours: takes any serde",
                "elsewhere 1.0.0: comes from git+https://example.org/elsewhere",
                "silent 1.0.0: names no licence",
                "ring 0.17.0: no second provider",
                "tonic 0.13.0, 0.14.0: one version alone is allowed",
            ]
        );
        assert_eq!(judge(&rules(), &packages[1..4]), Vec::<String>::new());
    }
}
