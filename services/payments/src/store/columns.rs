//! Several columns bound at once: an array each on PostgreSQL, one JSON array of rows on SQLite.
//!
//! SQLite can join two `json_each` only by comparing all with all, so there one array drives.
//! Its statements read `value ->> 0`, `value ->> 1` and so on; bytes and UUIDs under `unhex`.

use std::fmt::Write as _;

use publica_store::ListItem;

/// A column of values to bind.
pub(crate) trait Column {
    /// The value in a row, as JSON.
    fn json(&self, row: usize) -> Option<serde_json::Value>;

    /// How many rows there are.
    fn rows(&self) -> usize;
}

impl<T: ListItem> Column for Vec<T> {
    fn json(&self, row: usize) -> Option<serde_json::Value> {
        self.get(row).and_then(ListItem::json)
    }

    fn rows(&self) -> usize {
        self.len()
    }
}

/// The rows as one JSON text.
pub(crate) fn json_rows(columns: &[&dyn Column]) -> String {
    let rows = columns.first().map_or(0, |column| column.rows());
    let mut text = String::with_capacity(rows * columns.len() * 24 + 2);
    text.push('[');
    for row in 0..rows {
        text.push_str(if row == 0 { "[" } else { ",[" });
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            match column.json(row) {
                // Writing to a text cannot fail.
                Some(value) => drop(write!(text, "{value}")),
                None => text.push_str("null"),
            }
        }
        text.push(']');
    }
    text.push(']');
    text
}

/// Binds columns, which must be of one length, to a statement that is split by engine.
macro_rules! bind_columns {
    ($engine:expr, $query:expr, $($column:expr),+ $(,)?) => {
        match $engine {
            ::publica_store::Engine::Sqlite => $query.bind(
                $crate::store::columns::json_rows(&[$($column as _),+])
            ),
            ::publica_store::Engine::Postgres => $query$(.bind_list($column))+,
        }
    };
}

pub(crate) use bind_columns;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_arrays() {
        let numbers = vec![1_i64, 2];
        let bytes = vec![vec![0xab_u8], vec![]];
        let texts = vec![Some("a\"b".to_owned()), None];
        let text = json_rows(&[&numbers, &bytes, &texts]);
        assert_eq!(text, r#"[[1,"ab","a\"b"],[2,"",null]]"#);
        assert_eq!(json_rows(&[&Vec::<i64>::new()]), "[]");
    }
}
