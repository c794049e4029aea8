//! Settings: defaults, then a TOML file, then the environment.
//!
//! [`load`] reads them, refuses unknown keys, takes any text from a file when its key ends in
//! `_file`, and reports all problems at once. [`Settings`] is what a part's settings implement.
//!
//! Leaves out: any block's settings, and reading the environment, which is handed in.

#![warn(missing_docs)]

mod depth;
mod layers;
mod problems;
mod reader;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use problems::{Problem, Problems};

/// The exit code of a program that refuses its settings (`EX_USAGE` of `sysexits.h`).
pub const EXIT_CODE: u8 = 64;

/// Settings of one part of the suite. Deserialize them with `#[serde(default)]`, so that a new
/// setting works with an old file.
pub trait Settings: DeserializeOwned + Default {
    /// Reports what a value's type alone cannot rule out, by key.
    fn check(&self, problems: &mut Problems);
}

/// No settings at all.
impl Settings for () {
    fn check(&self, _: &mut Problems) {}
}

/// Reads settings: the defaults of `T`, then `file`, then the variables of `env` that begin
/// with `prefix` and an underscore. In a variable's name two underscores lead one table down:
/// `PUBLICA_PAYMENTS__DATABASE__URL` is `payments.database.url`.
///
/// A text setting `url` may be given as `url_file` instead, the name of a file that holds it.
/// Names of variables without a double underscore that mean nothing here are ignored, because
/// container platforms inject such variables; everything else that is unknown is a problem.
pub fn load<T: Settings>(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    prefix: &str,
) -> Result<T, Problems> {
    let (value, mut problems) = read::<T>(file, env, prefix);
    if let Some(value) = &value {
        value.check(&mut problems);
    }
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems),
    }
}

/// As [`load`], but without [`Settings::check`]: for a program whose command line changes
/// settings before they are checked. What could be read is checked all the same when something
/// could not, so that the report is complete.
pub fn load_unchecked<T: Settings>(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    prefix: &str,
) -> Result<T, Problems> {
    let (value, mut problems) = read::<T>(file, env, prefix);
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        Some(value) => {
            value.check(&mut problems);
            Err(problems)
        }
        None => Err(problems),
    }
}

fn read<T: Settings>(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    prefix: &str,
) -> (Option<T>, Problems) {
    let mut problems = Problems::new();
    let mut root = layers::Node::table();
    if let Some(file) = file {
        layers::read_file(file, &mut root, &mut problems);
    }
    layers::overlay(env, prefix, &mut root, &mut problems);
    let value = reader::read::<T>(root, &mut problems);
    (value, problems)
}
