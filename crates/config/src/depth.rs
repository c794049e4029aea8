//! How deep settings nest, measured before they are parsed.
//!
//! The parser bounds brackets and dotted keys each by itself. Both together, and a table's header
//! on top, still lead thousands of tables down, which no thread's stack holds: everything that
//! reads, copies or drops settings does so by recursion.

/// Tables and lists within each other.
pub(crate) const MAX: usize = 32;
/// What is wrong with more than that.
pub(crate) const TOO_DEEP: &str = "leads more than 32 tables deep";

/// The number of the first line that leads too deep.
pub(crate) fn check(text: &str) -> Result<(), usize> {
    let mut scan = Scan {
        text: text.as_bytes(),
        at: 0,
        line: 1,
        header: 0,
        open: Vec::new(),
        here: Here::Start,
    };
    while let Some(byte) = scan.take() {
        scan.step(byte);
        if scan.depth() > MAX {
            return Err(scan.line);
        }
    }
    Ok(())
}

/// What is being read at the present level.
#[derive(Clone, Copy)]
enum Here {
    /// The beginning of a line outside of all brackets.
    Start,
    /// The header of a table.
    Header,
    /// A key with so many dots.
    Key(usize),
    /// The value of such a key.
    Value(usize),
}

impl Here {
    fn dots(self) -> usize {
        match self {
            Self::Start | Self::Header => 0,
            Self::Key(dots) | Self::Value(dots) => dots,
        }
    }
}

struct Scan<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
    /// Levels of the last header.
    header: usize,
    /// What was being read when each open bracket came, and what closes it.
    open: Vec<(Here, u8)>,
    here: Here,
}

impl Scan<'_> {
    fn depth(&self) -> usize {
        let open: usize = self.open.iter().map(|(above, _)| above.dots() + 1).sum();
        self.header + open + self.here.dots()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.text.get(self.at).copied()?;
        self.at += 1;
        if byte == b'\n' {
            self.line += 1;
        }
        Some(byte)
    }

    fn step(&mut self, byte: u8) {
        match (byte, self.here) {
            (b'#', _) => self.skip_comment(),
            (b'"' | b'\'', _) => {
                self.skip_text(byte);
                if matches!(self.here, Here::Start) {
                    self.here = Here::Key(0);
                }
            }
            (b'\n', _) if self.open.is_empty() => self.here = Here::Start,
            (b'[', Here::Start) => {
                self.here = Here::Header;
                self.header = 1;
            }
            (b'.' | b'[', Here::Header) => self.header += 1,
            (_, Here::Header) => {}
            (b'[' | b'{', here) => {
                let (inside, closing) = match byte {
                    b'{' => (Here::Key(0), b'}'),
                    _ => (Here::Value(0), b']'),
                };
                self.open.push((here, closing));
                self.here = inside;
            }
            (b']' | b'}', _) => {
                // One that closes nothing is the parser's to refuse.
                if let Some((above, _)) = self.open.pop_if(|(_, closing)| *closing == byte) {
                    self.here = Here::Value(above.dots());
                }
            }
            (b'=', here) => self.here = Here::Value(here.dots()),
            (b'.', Here::Key(dots)) => self.here = Here::Key(dots + 1),
            // In a list this begins a value, which has no dots that count; taking it for a key
            // errs on the safe side by the one dot of a number.
            (b',', _) if !self.open.is_empty() => self.here = Here::Key(0),
            (byte, Here::Start) if !byte.is_ascii_whitespace() => self.here = Here::Key(0),
            _ => {}
        }
    }

    fn skip_comment(&mut self) {
        while !matches!(self.text.get(self.at), None | Some(b'\n')) {
            self.at += 1;
        }
    }

    /// Skips a text as the parser does: one in single quotes ends with its line at the latest.
    fn skip_text(&mut self, quote: u8) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let long = rest.starts_with(&[quote, quote]);
        if long {
            self.at += 2;
        }
        while let Some(&byte) = self.text.get(self.at) {
            if byte == b'\n' && !long {
                return;
            }
            let rest = self.text.get(self.at..).unwrap_or_default();
            if byte == quote && (!long || rest.starts_with(&[quote; 3])) {
                self.at += if long { 3 } else { 1 };
                // A long text may end in two quotes of its own.
                for _ in 0..2 {
                    if long && self.text.get(self.at) == Some(&quote) {
                        self.at += 1;
                    }
                }
                return;
            }
            self.take();
            if byte == b'\\' && quote == b'"' && self.text.get(self.at) != Some(&b'\n') {
                self.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_ways_down_count_together() {
        let deep = |header: usize, dots: usize, lists: usize, tables: usize| {
            format!(
                "[h{}]\na = 1.5 # ]]\nk{} = {}{}1{}{}\n",
                ".h".repeat(header.saturating_sub(1)),
                ".k".repeat(dots),
                "[".repeat(lists),
                "{ x.y = ".repeat(tables),
                " }".repeat(tables),
                "]".repeat(lists),
            )
        };
        assert_eq!(check(&deep(8, 8, 8, 4)), Ok(()));
        assert_eq!(check(&deep(9, 8, 8, 4)), Err(3));
        assert_eq!(check(&deep(8, 9, 8, 4)), Err(3));
        assert_eq!(check(&deep(8, 8, 9, 4)), Err(3));
        assert_eq!(check(&deep(8, 8, 8, 5)), Err(3));
        assert_eq!(check(&deep(33, 0, 0, 0)), Err(1));
    }

    #[test]
    fn brackets_and_dots_in_texts_and_comments_count_for_nothing() {
        let many = "[{.".repeat(100);
        for text in [
            format!("a = \"{many}\""),
            format!("a = \"\\\"{many}\""),
            format!("a = '{many}'"),
            format!("a = '\\'\n# {many}"),
            format!("a = \"\"\"\n{many}\"\"{many}\n\\\"\"\"{many}\"\"\""),
            format!("a = '''\n{many}''{many}\n'''"),
            format!("a = \"\" # {many}"),
            format!("\"{many}\" = 1\n[\"{many}x\"]"),
            format!("a = \"\"\"b\"\"\"\"\" # {many}"),
            "[[a.b]]\nc = [1.5, 2.5, { d.e = [3.5] }]\n".repeat(100),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
            assert!(text.parse::<toml::Table>().is_ok(), "{text}");
        }
    }

    fn depth_of(value: &toml::Value) -> usize {
        match value {
            toml::Value::Array(items) => 1 + items.iter().map(depth_of).max().unwrap_or(0),
            toml::Value::Table(table) => 1 + table.values().map(depth_of).max().unwrap_or(0),
            _ => 0,
        }
    }

    const PIECES: &[&str] = &[
        "\n",
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "a",
        "1",
        "\"",
        "'",
        "'''",
        "\"\"\"",
        "\\",
        "#",
        " ",
        "[a.b]\n",
        "[[c.d]]\n",
        "a.b = ",
        "{ a = ",
        " }",
        "\r\n",
        "2024-01-01",
        "é",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// What is let through is parsed or refused, and never deeper than was measured.
        #[test]
        fn measured_settings_are_shallow(
            parts in prop::collection::vec((prop::sample::select(PIECES), 1_usize..30), 0..40)
        ) {
            let text: String = parts.iter().map(|(piece, times)| piece.repeat(*times)).collect();
            if check(&text).is_ok() && let Ok(table) = text.parse::<toml::Table>() {
                // The root itself is no level.
                prop_assert!(depth_of(&toml::Value::Table(table)) <= MAX + 1);
            }
        }
    }
}
