//! CSV files out of a body that streams in. Memory holds one row.

use super::rows::{ROW_LIMIT, RowFault};

/// A CSV reader (RFC 4180): quotes may hold separators and line ends.
pub(super) struct Csv {
    columns: &'static [&'static str],
    /// How many of them, from the first on, must be there.
    mandatory: usize,
    /// Where each of our columns stands in the file.
    header: Option<Vec<usize>>,
    width: usize,
    fields: Vec<Vec<u8>>,
    field: Vec<u8>,
    length: usize,
    row: u64,
    quoted: bool,
    /// The last byte was a quote inside quotes: an end, or the first half of a doubled one.
    closing: bool,
}

impl Csv {
    /// A reader of files with these columns, of which so many must be there.
    pub(super) fn new(columns: &'static [&'static str], mandatory: usize) -> Self {
        Self {
            columns,
            mandatory,
            header: None,
            width: 0,
            fields: Vec::new(),
            field: Vec::new(),
            length: 0,
            row: 0,
            quoted: false,
            closing: false,
        }
    }

    /// Takes a piece and appends the rows that it completes, each with its fields in the order of
    /// the columns; one that the file does not have is empty.
    pub(super) fn take(
        &mut self,
        piece: &[u8],
        rows: &mut Vec<Vec<String>>,
    ) -> Result<(), RowFault> {
        for byte in piece {
            self.byte(*byte, rows)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, rows: &mut Vec<Vec<String>>) -> Result<(), RowFault> {
        self.length += 1;
        if self.length > ROW_LIMIT {
            return Err(RowFault::TooLong { row: self.row });
        }
        if self.quoted && !self.closing {
            match byte {
                b'"' => self.closing = true,
                other => self.field.push(other),
            }
            return Ok(());
        }
        if self.closing {
            self.closing = false;
            if byte == b'"' {
                self.field.push(b'"');
                return Ok(());
            }
            self.quoted = false;
        }
        match byte {
            b'"' if self.field.is_empty() => self.quoted = true,
            b',' => self.fields.push(std::mem::take(&mut self.field)),
            b'\n' => self.end_row(rows)?,
            other => self.field.push(other),
        }
        Ok(())
    }

    fn end_row(&mut self, rows: &mut Vec<Vec<String>>) -> Result<(), RowFault> {
        // A carriage return belongs to the end of a line, and to nothing else.
        let _ = self.field.pop_if(|last| *last == b'\r');
        self.fields.push(std::mem::take(&mut self.field));
        self.length = 0;
        let fields = std::mem::take(&mut self.fields);
        // An empty line separates nothing.
        if fields.len() == 1 && fields[0].is_empty() {
            return Ok(());
        }
        let row = self.row;
        let texts: Vec<String> = fields
            .into_iter()
            .map(|field| String::from_utf8(field).map_err(|_| RowFault::NotUtf8 { row }))
            .collect::<Result<_, _>>()?;
        let Some(header) = &self.header else {
            return self.read_header(&texts);
        };
        self.row += 1;
        if texts.len() != self.width {
            let (found, expected) = (texts.len(), self.width);
            return Err(RowFault::Columns {
                row,
                found,
                expected,
            });
        }
        let column = |place: usize| {
            let at = header.get(place).copied();
            at.and_then(|at| texts.get(at)).cloned().unwrap_or_default()
        };
        rows.push((0..self.columns.len()).map(column).collect());
        Ok(())
    }

    fn read_header(&mut self, names: &[String]) -> Result<(), RowFault> {
        let clean = |name: &str| name.trim_start_matches('\u{feff}').trim().to_lowercase();
        let names: Vec<String> = names.iter().map(|name| clean(name)).collect();
        let known = |name: &String| self.columns.contains(&name.as_str());
        if !names.iter().all(known) {
            return Err(self.wrong_header());
        }
        if let Some(column) = repeated(&names) {
            let column = column.to_owned();
            return Err(RowFault::Twice { column });
        }
        let mut places = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            match names.iter().position(|name| name == column) {
                Some(at) => places.push(at),
                None if place >= self.mandatory => places.push(usize::MAX),
                None => return Err(self.wrong_header()),
            }
        }
        self.width = names.len();
        self.header = Some(places);
        Ok(())
    }

    fn wrong_header(&self) -> RowFault {
        let (needed, more) = self.columns.split_at(self.mandatory);
        RowFault::Header {
            needed: needed.join(", "),
            more: more.join(", "),
        }
    }

    /// Takes the end of the body.
    pub(super) fn finish(&mut self, rows: &mut Vec<Vec<String>>) -> Result<(), RowFault> {
        if self.quoted && !self.closing {
            return Err(RowFault::Torn);
        }
        if !self.field.is_empty() || !self.fields.is_empty() || self.closing {
            self.end_row(rows)?;
        }
        match (&self.header, self.row) {
            (None, _) => Err(self.wrong_header()),
            (Some(_), 0) => Err(RowFault::Empty),
            _ => Ok(()),
        }
    }
}

/// The first column that a header names again: nobody could say which of both is meant.
pub(super) fn repeated(names: &[String]) -> Option<&str> {
    let mut seen = std::collections::BTreeSet::new();
    let twice = names.iter().find(|name| !seen.insert(name.as_str()))?;
    Some(twice)
}
