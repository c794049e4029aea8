//! Rows out of a body that streams in: CSV, a JSON array, or JSON lines. Memory holds one row.

use publica_proto::payments::v1::Instruction;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::csv::Csv;

/// The longest row, in bytes.
pub(super) const ROW_LIMIT: usize = 16 * 1_024;

/// Columns of a CSV file; the last two may be left out.
const COLUMNS: [&str; 6] = [
    "instruction_id",
    "functional_id",
    "amount",
    "currency",
    "narration",
    "process_id",
];
const MANDATORY: usize = 4;

/// What is wrong with a body, for the whole of which the call fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowFault {
    #[error("row {row} is longer than 16 KiB")]
    TooLong { row: u64 },
    #[error("row {row} is not UTF-8")]
    NotUtf8 { row: u64 },
    #[error("row {row} has {found} columns, and the header has {expected}")]
    Columns {
        row: u64,
        found: usize,
        expected: usize,
    },
    #[error("the header must name {needed}, and may name no others but: {more}")]
    Header { needed: String, more: String },
    #[error("row {row} is not an instruction: {why}")]
    NotInstruction { row: u64, why: String },
    #[error("the body ends within a row")]
    Torn,
    #[error("the body holds no rows")]
    Empty,
}

/// Reads rows from pieces of a body.
pub(super) enum Reader {
    Csv(Csv),
    Json(Json),
}

impl Reader {
    /// A reader for a media type: CSV if it says so, JSON otherwise.
    pub(super) fn new(media_type: &str) -> Self {
        match media_type.contains("csv") {
            true => Self::Csv(Csv::new(&COLUMNS, MANDATORY)),
            false => Self::Json(Json::default()),
        }
    }

    /// Takes a piece and appends the rows that it completes.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        rows: &mut Vec<Instruction>,
    ) -> Result<(), RowFault> {
        match self {
            Self::Csv(reader) => of_csv(rows, |found| reader.take(piece, found)),
            Self::Json(reader) => reader.take(piece, rows),
        }
    }

    /// Takes the end of the body.
    pub(super) fn finish(&mut self, rows: &mut Vec<Instruction>) -> Result<(), RowFault> {
        match self {
            Self::Csv(reader) => of_csv(rows, |found| reader.finish(found)),
            Self::Json(reader) => reader.finish(),
        }
    }
}

/// Appends what a CSV reader finds.
fn of_csv(
    rows: &mut Vec<Instruction>,
    read: impl FnOnce(&mut Vec<Vec<String>>) -> Result<(), RowFault>,
) -> Result<(), RowFault> {
    let mut found = Vec::new();
    let done = read(&mut found);
    let instruction = |fields: Vec<String>| {
        let mut fields = fields.into_iter();
        let mut field = || fields.next().unwrap_or_default();
        Instruction {
            instruction_id: field(),
            functional_id: field(),
            amount: field(),
            currency: field(),
            narration: field(),
            process_id: field(),
        }
    };
    rows.extend(found.into_iter().map(instruction));
    done
}

/// Finds the objects in a JSON array or in JSON lines by counting braces outside of texts.
#[derive(Default)]
pub(super) struct Json {
    object: Vec<u8>,
    depth: usize,
    text: bool,
    escaped: bool,
    row: u64,
}

/// An instruction as it stands in a body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given<'a> {
    instruction_id: String,
    functional_id: String,
    #[serde(borrow)]
    amount: &'a RawValue,
    currency: String,
    #[serde(default)]
    narration: Option<String>,
    #[serde(default)]
    process_id: Option<String>,
}

impl Json {
    fn take(&mut self, piece: &[u8], rows: &mut Vec<Instruction>) -> Result<(), RowFault> {
        for byte in piece {
            self.byte(*byte, rows)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, rows: &mut Vec<Instruction>) -> Result<(), RowFault> {
        let row = self.row;
        if self.depth == 0 {
            return match byte {
                b'{' => {
                    self.depth = 1;
                    self.object.push(byte);
                    Ok(())
                }
                b'[' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' => Ok(()),
                _ => Err(RowFault::NotInstruction {
                    row,
                    why: "an object is due".to_owned(),
                }),
            };
        }
        if self.object.len() >= ROW_LIMIT {
            return Err(RowFault::TooLong { row });
        }
        self.object.push(byte);
        match (self.text, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => self.text = !self.text,
            (false, b'{') => self.depth += 1,
            (false, b'}') => {
                self.depth -= 1;
                if self.depth == 0 {
                    rows.push(instruction(&self.object, row)?);
                    self.object.clear();
                    self.row += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), RowFault> {
        match (self.depth, self.row) {
            (0, 0) => Err(RowFault::Empty),
            (0, _) => Ok(()),
            _ => Err(RowFault::Torn),
        }
    }
}

fn instruction(object: &[u8], row: u64) -> Result<Instruction, RowFault> {
    let not = |why: &str| RowFault::NotInstruction {
        row,
        why: why.to_owned(),
    };
    let given: Given<'_> = serde_json::from_slice(object).map_err(|error| {
        match error.classify() {
            // Names of members, never their values.
            serde_json::error::Category::Data if error.to_string().contains("field") => {
                let text = error.to_string();
                let end = text.find(" at line").unwrap_or(text.len());
                not(&text[..end])
            }
            serde_json::error::Category::Data => not("a member has the wrong type"),
            _ => not("it is not JSON"),
        }
    })?;
    // A number keeps its digits; a text is taken as it is.
    let literal = given.amount.get();
    let amount = match literal.strip_prefix('"') {
        Some(_) => serde_json::from_str(literal).map_err(|_| not("amount is malformed"))?,
        None => literal.to_owned(),
    };
    Ok(Instruction {
        instruction_id: given.instruction_id,
        functional_id: given.functional_id,
        amount,
        currency: given.currency,
        narration: given.narration.unwrap_or_default(),
        process_id: given.process_id.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a body in pieces of every size, and makes sure that all give the same.
    fn read(media_type: &str, body: &str) -> Result<Vec<Instruction>, RowFault> {
        let mut last = None;
        for size in [1, 2, 3, 7, body.len().max(1)] {
            let mut reader = Reader::new(media_type);
            let mut rows = Vec::new();
            let mut result = Ok(());
            for piece in body.as_bytes().chunks(size) {
                result = result.and_then(|()| reader.take(piece, &mut rows));
            }
            let result = result
                .and_then(|()| reader.finish(&mut rows))
                .map(|()| rows);
            if let Some(last) = &last {
                assert_eq!(last, &result, "pieces of {size}");
            }
            last = Some(result);
        }
        last.unwrap()
    }

    #[test]
    fn csv_in_any_order_with_quotes() {
        let body = "\u{feff}amount,instruction_id,currency,functional_id,narration\r\n\
            \"1.50\",I1,USD,P1,\"a \"\"quoted\"\", text\nin two lines\"\r\n\
            \r\n\
            2,I2,USD,P2,";
        let rows = read("text/csv", body).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].amount, "1.50");
        assert_eq!(rows[0].narration, "a \"quoted\", text\nin two lines");
        assert_eq!(
            (rows[1].instruction_id.as_str(), rows[1].narration.as_str()),
            ("I2", "")
        );
    }

    #[test]
    fn what_is_no_csv() {
        let header = "instruction_id,functional_id,amount,currency\n";
        let wrong_header = || RowFault::Header {
            needed: "instruction_id, functional_id, amount, currency".to_owned(),
            more: "narration, process_id".to_owned(),
        };
        for (body, fault) in [
            (String::new(), wrong_header()),
            ("a,b\n".to_owned(), wrong_header()),
            (format!("{},extra\n", header.trim_end()), wrong_header()),
            (header.to_owned(), RowFault::Empty),
            (
                format!("{header}1,2,3\n"),
                RowFault::Columns {
                    row: 0,
                    found: 3,
                    expected: 4,
                },
            ),
            (format!("{header}\"1,2,3,4"), RowFault::Torn),
            (
                format!("{header}{}", "1".repeat(20_000)),
                RowFault::TooLong { row: 0 },
            ),
        ] {
            assert_eq!(read("text/csv", &body), Err(fault), "{body:.60}");
        }
    }

    #[test]
    fn json_as_array_or_lines() {
        let one =
            r#"{"instruction_id":"I{1}\"","functional_id":"P","amount":1.50,"currency":"USD"}"#;
        let two = r#"{"instruction_id":"I2","functional_id":"P","amount":"2","currency":"USD",
            "narration":null}"#;
        for body in [format!("[{one},\n {two}]"), format!("{one}\n{two}\n")] {
            let rows = read("application/json", &body).unwrap();
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[0].instruction_id, "I{1}\"");
            assert_eq!(
                (rows[0].amount.as_str(), rows[1].amount.as_str()),
                ("1.50", "2")
            );
        }
    }

    #[test]
    fn what_is_no_json() {
        for body in [
            "",
            "[]",
            "x",
            "[1]",
            "[{\"instruction_id\":\"secret\"}]",
            "[{\"a\": {}",
        ] {
            let fault = read("application/json", body).unwrap_err();
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
    }
}
