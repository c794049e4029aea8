//! The file of households: checked whole before anything is written, then read again in
//! chunks, so that memory does not grow with the file.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The columns, in any order.
const COLUMNS: &[&str] = &[
    "household_id",
    "national_id",
    "given_name",
    "family_name",
    "date_of_birth",
    "email",
    "language",
    "members",
    "monthly_income_minor",
    "account",
];

/// The most problems that are listed; a file with more has one cause, not many.
const MAX_PROBLEMS: usize = 1_000;

/// One household and its head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Household {
    pub(crate) household_id: String,
    pub(crate) national_id: String,
    pub(crate) given_name: String,
    pub(crate) family_name: String,
    pub(crate) date_of_birth: String,
    pub(crate) email: String,
    pub(crate) language: String,
    pub(crate) members: u32,
    pub(crate) monthly_income_minor: i64,
    /// Where money goes, as `INSTITUTION-NUMBER`; empty for a household without an account.
    pub(crate) account: String,
}

/// Something wrong with one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: u64,
    pub(crate) column: &'static str,
    pub(crate) reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.column.is_empty() {
            write!(f, "line {}: {}", self.line, self.reason)
        } else {
            write!(f, "line {}: {}: {}", self.line, self.column, self.reason)
        }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{path} cannot be read")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", list(.0, *.1))]
    Malformed(Vec<Problem>, u64),
}

fn list(problems: &[Problem], total: u64) -> String {
    let mut text = format!("the file has {total} problems; nothing was written");
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string());
    }
    let shown = u64::try_from(problems.len()).unwrap_or(u64::MAX);
    if total > shown {
        text.push_str(&format!("\n  … and {} more", total - shown));
    }
    text
}

/// Reads the whole file once and returns the number of its rows, or everything that is wrong.
pub(crate) fn check(path: &Path) -> Result<u64, FileError> {
    let mut reader = open(path)?;
    let mut found = Found::default();
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => {
            found.note(Problem {
                line: 1,
                column: "",
                reason: error.to_string(),
            });
            return found.end(0);
        }
    };
    let present: BTreeSet<&str> = headers.iter().collect();
    for column in COLUMNS.iter().filter(|column| !present.contains(**column)) {
        found.note(Problem {
            line: 1,
            column,
            reason: "the column is missing".to_owned(),
        });
    }
    if found.total > 0 {
        return found.end(0);
    }
    let mut rows = 0_u64;
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                rows += 1;
                let line = record.position().map_or(0, csv::Position::line);
                check_row(&headers, &record, line, &mut found);
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                found.note(Problem {
                    line,
                    column: "",
                    reason: row_error(&error),
                });
            }
        }
    }
    if rows == 0 && found.total == 0 {
        found.note(Problem {
            line: 1,
            column: "",
            reason: "there is no household".to_owned(),
        });
    }
    found.end(rows)
}

/// Problems so far: the first ones, and how many there are.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    total: u64,
}

impl Found {
    fn note(&mut self, problem: Problem) {
        self.total += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn end(self, rows: u64) -> Result<u64, FileError> {
        if self.total > 0 {
            Err(FileError::Malformed(self.problems, self.total))
        } else {
            Ok(rows)
        }
    }
}

fn row_error(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} columns instead of {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

fn check_row(
    headers: &csv::StringRecord,
    record: &csv::StringRecord,
    line: u64,
    found: &mut Found,
) {
    for column in COLUMNS {
        let Some(at) = headers.iter().position(|name| name == *column) else {
            continue;
        };
        let value = record.get(at).unwrap_or_default();
        if let Err(reason) = check_value(column, value) {
            found.note(Problem {
                line,
                column,
                reason,
            });
        }
    }
}

fn check_value(column: &str, value: &str) -> Result<(), String> {
    let printable = |most: usize| {
        let length = value.chars().count();
        if value.trim().is_empty() {
            Err("a value is required".to_owned())
        } else if length > most {
            Err(format!("{length} characters, at most {most}"))
        } else if value.chars().any(char::is_control) {
            Err("holds a control character".to_owned())
        } else {
            Ok(())
        }
    };
    let shape = |sound: bool, expected: &str| {
        if sound {
            Ok(())
        } else {
            Err(format!("{expected} expected"))
        }
    };
    match column {
        "household_id" | "given_name" | "family_name" => printable(100),
        "national_id" => {
            let digits = value.bytes().all(|byte| byte.is_ascii_digit());
            shape(
                digits && (6..=20).contains(&value.len()),
                "6 to 20 digits are",
            )
        }
        "date_of_birth" => shape(is_date(value), "a day as YYYY-MM-DD is"),
        "email" => shape(is_address(value), "an e-mail address is"),
        "language" => {
            let letters = value.bytes().all(|byte| byte.is_ascii_lowercase());
            shape(
                letters && (2..=3).contains(&value.len()),
                "a language code such as `en` is",
            )
        }
        "members" => shape(
            value
                .parse::<u32>()
                .is_ok_and(|members| (1..=50).contains(&members)),
            "a number from 1 to 50 is",
        ),
        "monthly_income_minor" => shape(
            value
                .parse::<i64>()
                .is_ok_and(|income| (0..=100_000_000_000).contains(&income)),
            "a whole number of minor units, 0 or more, is",
        ),
        "account" => shape(
            value.is_empty() || is_account(value),
            "nothing, or INSTITUTION-NUMBER with 5 letters and 4 to 20 digits, is",
        ),
        _ => Ok(()),
    }
}

fn is_date(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u32>().unwrap_or(0))
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2))
    else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1900..=2100).contains(&year) && (1..=days).contains(&day)
}

fn is_address(value: &str) -> bool {
    let Some((local, domain)) = value.rsplit_once('@') else {
        return false;
    };
    let plain = |text: &str| {
        !text.is_empty()
            && !text
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || c == '@')
    };
    value.len() <= 254 && plain(local) && plain(domain) && domain.contains('.')
}

fn is_account(value: &str) -> bool {
    value.split_once('-').is_some_and(|(institution, number)| {
        institution.len() == 5
            && institution.bytes().all(|byte| byte.is_ascii_uppercase())
            && (4..=20).contains(&number.len())
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn open(path: &Path) -> Result<csv::Reader<BufReader<File>>, FileError> {
    let file = File::open(path).map_err(|source| FileError::Unreadable {
        path: path.display().to_string(),
        source,
    })?;
    Ok(csv::ReaderBuilder::new().from_reader(BufReader::new(file)))
}

/// The rows of a file that was checked, with their line numbers.
pub(crate) fn rows(
    path: &Path,
) -> Result<impl Iterator<Item = Result<(u64, Household), csv::Error>> + use<>, FileError> {
    let mut rows = open(path)?.into_deserialize::<Household>();
    Ok(std::iter::from_fn(move || {
        let line = rows.reader().position().line();
        rows.next()
            .map(|row| row.map(|household| (line, household)))
    }))
}

/// What the programme pays a household of this size, in minor units.
pub(crate) fn benefit_minor(members: u32) -> i64 {
    3_000 + 1_500 * i64::from(members)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const HEADER: &str = "household_id,national_id,given_name,family_name,date_of_birth,email,\
                          language,members,monthly_income_minor,account\n";

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn problems(content: &str) -> Vec<String> {
        match check(file(content).path()) {
            Err(FileError::Malformed(problems, _)) => {
                problems.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sound_file_is_counted_and_read() {
        let row = "H1,1234567890,Aïssatou,Diallo,1980-02-29,a@example.org,fr,4,0,NBANK-12345678\n";
        let file = file(&format!("{HEADER}{row}"));
        assert_eq!(check(file.path()).unwrap(), 1);
        let read: Vec<_> = rows(file.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].0, 2);
        assert_eq!(read[0].1.given_name, "Aïssatou");
    }

    #[test]
    fn every_problem_is_listed_with_its_line() {
        let good = "H1,1234567890,A,B,1980-02-29,a@example.org,fr,4,0,\n";
        let bad = "H2,12x,,B,1981-02-29,a.example.org,FR,0,-1,bank-1\n";
        let short = "H3,1234567890\n";
        let found = problems(&format!("{HEADER}{good}{bad}{short}"));
        assert_eq!(found.len(), 9, "{found:?}");
        assert!(
            found[0].starts_with("line 3: national_id: 6 to 20 digits"),
            "{found:?}"
        );
        assert_eq!(found[8], "line 4: 2 columns instead of 10");
    }

    #[test]
    fn missing_columns_and_empty_files_are_problems() {
        let found = problems("household_id,national_id\nH1,123456\n");
        assert_eq!(found.len(), 8, "{found:?}");
        assert_eq!(problems(HEADER), ["line 1: there is no household"]);
    }

    #[test]
    fn the_sample_that_ships_is_sound() {
        let sample = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/samples/households.csv"
        );
        assert_eq!(check(Path::new(sample)).unwrap(), 200);
    }
}
