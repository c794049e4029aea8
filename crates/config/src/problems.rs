//! What is wrong with settings.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `payments.database.url`; empty if the file as a whole is at fault.
    pub key: String,
    /// What is wrong, without the value.
    pub what: String,
}

/// Everything that is wrong, in the order found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Problem>,
    within: Vec<String>,
}

impl Problems {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports a setting, by its key below the present table.
    pub fn add(&mut self, key: impl AsRef<str>, what: impl Into<String>) {
        let mut path = self.within.clone();
        if !key.as_ref().is_empty() {
            path.push(key.as_ref().to_owned());
        }
        let problem = Problem {
            key: path.join("."),
            what: what.into(),
        };
        // Checks run on what could be read; what could not be read is reported already.
        if !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    /// Reports `key` unless `sound` holds.
    pub fn require(&mut self, sound: bool, key: impl AsRef<str>, what: impl Into<String>) {
        if !sound {
            self.add(key, what);
        }
    }

    /// Runs checks of the table `key`.
    pub fn within(&mut self, key: impl Into<String>, check: impl FnOnce(&mut Self)) {
        self.within.push(key.into());
        check(self);
        self.within.pop();
    }

    /// True while nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The number of problems found.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// All problems, in the order found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter()
    }

    /// An error if anything was found.
    pub fn check(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.found.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if problem.key.is_empty() {
                f.write_str(&problem.what)?;
            } else {
                write!(f, "{}: {}", problem.key, problem.what)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
