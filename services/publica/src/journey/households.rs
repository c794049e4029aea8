//! The file of households: checked whole before anything is written, then read again in
//! chunks, so that little memory is needed whatever its length.

mod across;
mod value;

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::{Deserialize, Serialize};

use across::{Ids, Seen};

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

/// The most problems that are listed one by one; of more, the number is said.
const MAX_PROBLEMS: usize = 1_000;

/// The most lines of one file.
const MAX_ROWS: u64 = 5_000_000;

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
/// Nobody can be born after `today`.
pub(crate) fn check(path: &Path, today: &str) -> Result<u64, FileError> {
    let mut reader = open(path)?;
    let mut found = Found::default();
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => {
            found.note(1, "", row_error(&error));
            return found.end(0);
        }
    };
    let Some(places) = places(&headers, &mut found) else {
        return found.end(0);
    };
    let mut rows = 0_u64;
    let mut seen = Seen::default();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {
                rows += 1;
                let line = record.position().map_or(0, csv::Position::line);
                if rows > MAX_ROWS {
                    let what = format!("there are more than {MAX_ROWS} households");
                    found.note(line, "", what);
                    break;
                }
                check_row(&places, &record, line, today, &mut seen, &mut found);
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                found.note(line, "", row_error(&error));
                if matches!(error.kind(), csv::ErrorKind::Io(_)) {
                    break;
                }
            }
        }
    }
    if rows == 0 && found.total == 0 {
        found.note(1, "", "there is no household".to_owned());
    }
    found.end(rows)
}

/// Where each of [`COLUMNS`] stands; none if the header is not sound.
fn places(headers: &csv::StringRecord, found: &mut Found) -> Option<Vec<usize>> {
    let mut places = Vec::with_capacity(COLUMNS.len());
    for column in COLUMNS {
        let mut of = (0..headers.len()).filter(|at| headers.get(*at) == Some(column));
        match (of.next(), of.next()) {
            (Some(at), None) => places.push(at),
            (None, _) => found.note(1, column, "the column is missing".to_owned()),
            (Some(_), Some(_)) => found.note(1, column, "the column is given twice".to_owned()),
        }
    }
    (found.total == 0).then_some(places)
}

/// Problems so far: the first ones, and how many there are.
#[derive(Default)]
struct Found {
    problems: Vec<Problem>,
    total: u64,
}

impl Found {
    fn note(&mut self, line: u64, column: &'static str, reason: String) {
        self.total += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem {
                line,
                column,
                reason,
            });
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
    places: &[usize],
    record: &csv::StringRecord,
    line: u64,
    today: &str,
    seen: &mut Seen,
    found: &mut Found,
) {
    let value = |at: usize| {
        let place = places.get(at).and_then(|place| record.get(*place));
        place.unwrap_or_default()
    };
    let before = found.total;
    for (at, column) in COLUMNS.iter().enumerate() {
        if let Err(reason) = value::check(column, value(at), today) {
            found.note(line, column, reason);
        }
    }
    // What is malformed is compared with nothing: its problem is told already.
    if found.total == before {
        let ids = Ids {
            household_id: value(0),
            national_id: value(1),
            given_name: value(2),
            family_name: value(3),
            date_of_birth: value(4),
        };
        for (column, reason) in seen.enter(line, &ids) {
            found.note(line, column, reason);
        }
    }
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

    const TODAY: &str = "2026-01-31";

    fn file(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    fn problems(content: &str) -> Vec<String> {
        match check(file(content).path(), TODAY) {
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
        assert_eq!(check(file.path(), TODAY).unwrap(), 1);
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
    fn a_column_that_is_given_twice_is_a_problem() {
        let header = HEADER.replace("account", "account,email");
        assert_eq!(
            problems(&format!(
                "{header}H1,123456,A,B,1980-01-01,a@b.org,en,1,0,,c@d.org\n"
            )),
            ["line 1: email: the column is given twice"]
        );
    }

    #[test]
    fn lines_are_compared_with_each_other() {
        let rows = "H1,123456,A,B,1980-01-01,a@example.org,en,1,0,\n\
                    H2,123456,C,B,1980-01-01,c@example.org,en,1,0,\n\
                    H1,777777,D,B,1980-01-01,a@example.org,en,1,0,\n\
                    H1,123456,A,B,1980-01-01,a@example.org,en,1,0,\n\
                    H5,0123456,E,B,2026-02-01,e@example.org,en,1,0,\n";
        assert_eq!(
            problems(&format!("{HEADER}{rows}")),
            [
                "line 3: national_id: is that of another person in line 2",
                "line 4: household_id: is that of another person's household in line 2",
                "line 6: date_of_birth: lies in the future",
            ]
        );
    }

    #[test]
    fn problems_that_are_not_listed_are_counted() {
        let row = "H1,12,A,B,1980-01-01,a@example.org,en,1,0,\n";
        let file = file(&format!("{HEADER}{}", row.repeat(1_003)));
        let refused = check(file.path(), TODAY).unwrap_err().to_string();
        assert!(
            refused.starts_with("the file has 1003 problems"),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1 + 1_000 + 1);
        assert!(refused.ends_with("… and 3 more"), "{refused}");
    }

    #[test]
    fn the_sample_that_ships_is_sound() {
        let sample = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../deploy/samples/households.csv"
        );
        assert_eq!(check(Path::new(sample), TODAY).unwrap(), 200);
    }
}
