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
    #[error("the header names {column} twice")]
    Twice { column: String },
    #[error("row {row} is not an instruction: {why}")]
    NotInstruction { row: u64, why: String },
    #[error("the body ends within a row")]
    Torn,
    #[error("the body ends after row {row}, and its list does not")]
    Open { row: u64 },
    #[error("something follows the list")]
    Trailing,
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

/// What stands between objects, and so what may come next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Between {
    /// Nothing so far but white space.
    #[default]
    Start,
    /// Objects by themselves.
    Lines,
    /// The beginning of a list.
    Opened,
    /// An object of a list.
    Item,
    /// A comma of a list.
    Comma,
    /// The end of a list.
    Closed,
}

/// Finds the objects in a JSON array or in JSON lines by counting braces outside of texts.
///
/// A list must have its end: a connection may break between two rows as well as within one, and
/// what comes before would be paid as if it were all.
#[derive(Default)]
pub(super) struct Json {
    between: Between,
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
            return self.outside(byte);
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

    fn outside(&mut self, byte: u8) -> Result<(), RowFault> {
        let row = self.row;
        self.between = match (byte, self.between) {
            (b' ' | b'\t' | b'\r' | b'\n', between) => between,
            (b'{', Between::Start | Between::Lines) => self.object_of(Between::Lines),
            (b'{', Between::Opened | Between::Comma) => self.object_of(Between::Item),
            (b'[', Between::Start) => Between::Opened,
            (b',', Between::Item) => Between::Comma,
            (b']', Between::Opened | Between::Item) => Between::Closed,
            (_, Between::Closed) => return Err(RowFault::Trailing),
            (_, between) => {
                let why = match between {
                    Between::Item => "a comma or the end of the list is due before it",
                    _ => "an object is due",
                };
                let why = why.to_owned();
                return Err(RowFault::NotInstruction { row, why });
            }
        };
        Ok(())
    }

    fn object_of(&mut self, between: Between) -> Between {
        self.depth = 1;
        self.object.push(b'{');
        between
    }

    fn finish(&self) -> Result<(), RowFault> {
        let open = matches!(
            self.between,
            Between::Opened | Between::Item | Between::Comma
        );
        match (self.depth, self.row) {
            (1.., _) => Err(RowFault::Torn),
            (0, row) if open => Err(RowFault::Open { row }),
            (0, 0) => Err(RowFault::Empty),
            (0, _) => Ok(()),
        }
    }
}

fn instruction(object: &[u8], row: u64) -> Result<Instruction, RowFault> {
    let not = |why: &str| RowFault::NotInstruction {
        row,
        why: why.to_owned(),
    };
    let given: Given<'_> =
        serde_json::from_slice(object).map_err(|error| not(&publica_json::shape(&error)))?;
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
    use proptest::prelude::*;

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
            (
                format!("{}, Amount\n1,2,3,USD,4\n", header.trim_end()),
                RowFault::Twice {
                    column: "amount".to_owned(),
                },
            ),
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

    const ONE: &str = r#"{"instruction_id":"I","functional_id":"P","amount":"1","currency":"USD"}"#;

    #[test]
    fn a_list_that_is_cut_is_no_short_list() {
        let not = |row, why: &str| RowFault::NotInstruction {
            row,
            why: why.to_owned(),
        };
        let due = "a comma or the end of the list is due before it";
        for (body, fault) in [
            (format!("[{ONE}"), RowFault::Open { row: 1 }),
            (format!("[{ONE},{ONE},\n"), RowFault::Open { row: 2 }),
            ("[".to_owned(), RowFault::Open { row: 0 }),
            (format!("[{ONE}]{ONE}"), RowFault::Trailing),
            (format!("[{ONE}]]"), RowFault::Trailing),
            (format!("[{ONE},]"), not(1, "an object is due")),
            (format!("[{ONE} {ONE}]"), not(1, due)),
            (format!("[[{ONE}]]"), not(0, "an object is due")),
            (format!("{ONE},{ONE}"), not(1, "an object is due")),
            (format!("{ONE}]"), not(1, "an object is due")),
            ("[]".to_owned(), RowFault::Empty),
        ] {
            assert_eq!(read("application/json", &body), Err(fault), "{body}");
        }
    }

    #[test]
    fn a_carriage_return_within_a_row_is_part_of_it() {
        let header = "instruction_id,functional_id,amount,currency\r\n";
        let rows = read("text/csv", &format!("{header}I,P,1\r2,USD\r\n\r\n")).unwrap();
        assert_eq!((rows.len(), rows[0].amount.as_str()), (1, "1\r2"));
    }

    fn instruction_of(texts: [String; 6]) -> Instruction {
        let [
            instruction_id,
            functional_id,
            amount,
            currency,
            narration,
            process_id,
        ] = texts;
        Instruction {
            instruction_id,
            functional_id,
            amount,
            currency,
            narration,
            process_id,
        }
    }

    fn csv_of(rows: &[Instruction]) -> String {
        let mut out = COLUMNS.join(",") + "\n";
        for row in rows {
            let fields = [
                &row.instruction_id,
                &row.functional_id,
                &row.amount,
                &row.currency,
                &row.narration,
                &row.process_id,
            ];
            let quoted = fields.map(|field| format!("\"{}\"", field.replace('"', "\"\"")));
            out.push_str(&quoted.join(","));
            out.push('\n');
        }
        out
    }

    fn json_of(rows: &[Instruction]) -> String {
        let rows: Vec<serde_json::Value> = rows
            .iter()
            .map(|row| {
                serde_json::json!({
                    "instruction_id": row.instruction_id, "functional_id": row.functional_id,
                    "amount": row.amount, "currency": row.currency,
                    "narration": row.narration, "process_id": row.process_id,
                })
            })
            .collect();
        serde_json::Value::Array(rows).to_string()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_come_back(
            rows in prop::collection::vec(
                prop::array::uniform6("[a-z0-9\\[\\]{}\",\n\\\\é ]{0,12}")
                    .prop_map(instruction_of),
                1..5,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            prop_assert_eq!(read("text/csv", &csv_of(&rows)), Ok(rows.clone()));
            let json = json_of(&rows);
            prop_assert_eq!(read("application/json", &json), Ok(rows));
            // No beginning of a list is a list.
            let mut end = cut.index(json.len());
            while !json.is_char_boundary(end) {
                end -= 1;
            }
            prop_assert!(read("application/json", &json[..end]).is_err());
        }

        #[test]
        fn any_body_is_read_or_refused(body in "([\\[\\]{},\":\n\r]|amount|1|é|\\\\){0,40}") {
            let _ = read("application/json", &body);
            let _ = read("text/csv", &format!("{}\n{body}", COLUMNS.join(",")));
            let _ = read("text/csv", &body);
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
