//! What a person sees: a line a step with counts and timings, a progress bar on a terminal,
//! and the closing table whose every line must add up.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Prints steps and collects the closing table.
#[derive(Debug)]
pub(crate) struct Report {
    start: tokio::time::Instant,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    name: String,
    value: String,
    sound: Option<bool>,
}

/// One step under way.
#[derive(Debug)]
pub(crate) struct Step {
    number: u32,
    name: &'static str,
    start: tokio::time::Instant,
    bar: ProgressBar,
}

impl Report {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            lines: Vec::new(),
        }
    }

    /// Starts a step of `total` items.
    pub(crate) fn step(&self, number: u32, name: &'static str, total: u64) -> Step {
        let bar = ProgressBar::new(total);
        if std::io::stderr().is_terminal() {
            if let Ok(style) =
                ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {per_sec} {eta}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(format!("{number}/8 {name}"));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Step {
            number,
            name,
            start: tokio::time::Instant::now(),
            bar,
        }
    }

    /// A line of the table that only informs.
    pub(crate) fn fact(&mut self, name: impl Into<String>, value: impl ToString) {
        self.lines.push(Line {
            name: name.into(),
            value: value.to_string(),
            sound: None,
        });
    }

    /// A line of the table that must hold.
    pub(crate) fn check(&mut self, name: impl Into<String>, value: impl ToString, sound: bool) {
        self.lines.push(Line {
            name: name.into(),
            value: value.to_string(),
            sound: Some(sound),
        });
    }

    /// A line that holds when two counts are equal.
    pub(crate) fn equal(&mut self, name: impl Into<String>, found: u64, expected: u64) {
        let value = if found == expected {
            found.to_string()
        } else {
            format!("{found}, expected {expected}")
        };
        self.check(name, value, found == expected);
    }

    /// Prints the table; true when everything adds up.
    pub(crate) fn close(self) -> Result<bool> {
        let width = self
            .lines
            .iter()
            .map(|line| line.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut out = std::io::stdout().lock();
        writeln!(out)?;
        for line in &self.lines {
            let mark = match line.sound {
                None => "  ",
                Some(true) => "✓ ",
                Some(false) => "✗ ",
            };
            let pad = " ".repeat(width - line.name.chars().count());
            writeln!(out, "{mark}{}{pad}  {}", line.name, line.value)?;
        }
        let wrong = self
            .lines
            .iter()
            .filter(|line| line.sound == Some(false))
            .count();
        let seconds = self.start.elapsed().as_secs_f64();
        if wrong == 0 {
            writeln!(out, "\nEverything adds up, in {seconds:.1} s.")?;
        } else {
            writeln!(out, "\n{wrong} lines do not add up, after {seconds:.1} s.")?;
        }
        Ok(wrong == 0)
    }
}

impl Step {
    /// Counts finished items.
    pub(crate) fn advance(&self, items: u64) {
        self.bar.inc(items);
    }

    /// Ends the step with what was done.
    pub(crate) fn done(self, what: &str) -> Result<Duration> {
        self.bar.finish_and_clear();
        let took = self.start.elapsed();
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{}/8 {:<13} {:>8.2} s  {what}",
            self.number,
            self.name,
            took.as_secs_f64()
        )?;
        out.flush()?;
        Ok(took)
    }
}
