//! Reading objects from bytes.

use crate::domain::pdf::PdfError;
use crate::domain::pdf::object::{Dict, Object};

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 64;
/// The most objects within one object: each takes many times the bytes that it is written with.
const MAX_PARTS: usize = 1_000_000;

/// A place in a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
    /// Objects that may still be read.
    parts: usize,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | 9 | 10 | 12 | 13 | 32)
}

fn is_delimiter(byte: u8) -> bool {
    b"()<>[]{}/%".contains(&byte)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

impl<'a> Lexer<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            parts: MAX_PARTS,
        }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Result<u8, PdfError> {
        let byte = *self.bytes.get(self.at).ok_or(PdfError::Unreadable)?;
        self.at += 1;
        Ok(byte)
    }

    /// Passes white space and comments.
    pub(crate) fn skip_space(&mut self) {
        while let Some(byte) = self.bytes.get(self.at) {
            if *byte == b'%' {
                while self
                    .bytes
                    .get(self.at)
                    .is_some_and(|byte| !matches!(byte, 10 | 13))
                {
                    self.at += 1;
                }
            } else if is_space(*byte) {
                self.at += 1;
            } else {
                break;
            }
        }
    }

    /// Passes a word if it is next.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = self.rest();
        let ends = rest
            .get(word.len())
            .is_none_or(|byte| is_space(*byte) || is_delimiter(*byte));
        let found = rest.starts_with(word.as_bytes()) && ends;
        if found {
            self.at += word.len();
        }
        found
    }

    /// A run of digits.
    pub(crate) fn unsigned(&mut self) -> Result<u64, PdfError> {
        self.skip_space();
        let length = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let text = std::str::from_utf8(&self.rest()[..length]).unwrap_or_default();
        self.at += length;
        text.parse().map_err(|_| PdfError::Unreadable)
    }

    /// The next object, without the stream that may follow a dictionary.
    pub(crate) fn object(&mut self) -> Result<Object, PdfError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Object, PdfError> {
        if depth > MAX_DEPTH || self.parts == 0 {
            return Err(PdfError::Unreadable);
        }
        self.parts -= 1;
        self.skip_space();
        let rest = self.rest();
        match *rest.first().ok_or(PdfError::Unreadable)? {
            b'/' => self.name().map(Object::Name),
            b'(' => self.literal().map(Object::Text),
            b'<' if rest.get(1) == Some(&b'<') => self.dictionary(depth).map(Object::Dictionary),
            b'<' => self.hex_text().map(Object::Text),
            b'[' => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.skip_space();
                    if self.rest().first() == Some(&b']') {
                        self.at += 1;
                        return Ok(Object::Array(items));
                    }
                    items.push(self.nested(depth + 1)?);
                }
            }
            b'+' | b'-' | b'.' | b'0'..=b'9' => self.number_or_reference(),
            _ if self.word("true") => Ok(Object::Boolean(true)),
            _ if self.word("false") => Ok(Object::Boolean(false)),
            _ if self.word("null") => Ok(Object::Null),
            _ => Err(PdfError::Unreadable),
        }
    }

    fn dictionary(&mut self, depth: usize) -> Result<Dict, PdfError> {
        self.at += 2;
        let mut dict = Dict::default();
        loop {
            self.skip_space();
            if self.rest().starts_with(b">>") {
                self.at += 2;
                break;
            }
            let name = self.name()?;
            let value = self.nested(depth + 1)?;
            dict.0.push((name, value));
        }
        // Readers disagree on which of two equal keys counts.
        let mut names: Vec<&[u8]> = dict.0.iter().map(|(name, _)| &name[..]).collect();
        names.sort_unstable();
        match names.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(PdfError::Unreadable),
            false => Ok(dict),
        }
    }

    fn name(&mut self) -> Result<Vec<u8>, PdfError> {
        if self.next()? != b'/' {
            return Err(PdfError::Unreadable);
        }
        let mut name = Vec::new();
        while let Some(byte) = self.rest().first().copied() {
            if is_space(byte) || is_delimiter(byte) {
                break;
            }
            self.at += 1;
            let escaped = || {
                let (high, low) = (*self.rest().first()?, *self.rest().get(1)?);
                Some(digit(high)? << 4 | digit(low)?)
            };
            match (byte == b'#').then(escaped).flatten() {
                Some(value) => {
                    self.at += 2;
                    name.push(value);
                }
                None => name.push(byte),
            }
        }
        Ok(name)
    }

    fn literal(&mut self) -> Result<Vec<u8>, PdfError> {
        self.at += 1;
        let (mut text, mut open) = (Vec::new(), 1);
        loop {
            match self.next()? {
                b'(' => {
                    open += 1;
                    text.push(b'(');
                }
                b')' if open == 1 => return Ok(text),
                b')' => {
                    open -= 1;
                    text.push(b')');
                }
                b'\\' => self.escape(&mut text)?,
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), PdfError> {
        match self.next()? {
            b'n' => text.push(b'\n'),
            b'r' => text.push(b'\r'),
            b't' => text.push(b'\t'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'\r' => {
                if self.rest().first() == Some(&b'\n') {
                    self.at += 1;
                }
            }
            b'\n' => {}
            first @ b'0'..=b'7' => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    let Some(byte @ b'0'..=b'7') = self.rest().first().copied() else {
                        break;
                    };
                    self.at += 1;
                    value = value * 8 + u32::from(byte - b'0');
                }
                text.push(u8::try_from(value & 0xff).unwrap_or_default());
            }
            other => text.push(other),
        }
        Ok(())
    }

    fn hex_text(&mut self) -> Result<Vec<u8>, PdfError> {
        self.at += 1;
        let mut digits = Vec::new();
        loop {
            match self.next()? {
                b'>' => break,
                byte if is_space(byte) => {}
                byte => digits.push(digit(byte).ok_or(PdfError::Unreadable)?),
            }
        }
        let pairs = digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0));
        Ok(pairs.collect())
    }

    fn number_or_reference(&mut self) -> Result<Object, PdfError> {
        let number = |byte: &&u8| byte.is_ascii_digit() || b"+-.".contains(byte);
        let length = self.rest().iter().take_while(number).count();
        let text = &self.rest()[..length];
        self.at += length;
        if text.contains(&b'.') {
            return Ok(Object::Real(text.to_vec()));
        }
        let text = std::str::from_utf8(text).map_err(|_| PdfError::Unreadable)?;
        let value: i64 = text.parse().map_err(|_| PdfError::Unreadable)?;
        let mut ahead = *self;
        let reference = u32::try_from(value).ok().and_then(|number| {
            let generation = u16::try_from(ahead.unsigned().ok()?).ok()?;
            ahead.word("R").then_some((number, generation))
        });
        match reference {
            Some(id) => {
                self.at = ahead.at;
                Ok(Object::Reference(id))
            }
            None => Ok(Object::Integer(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_and_written() {
        let source = b"<< /A#20B [1 -2 .5 true null 3 0 R] /T (a\\(\\101\\)) /H <4a4> >>";
        let object = Lexer::new(source, 0).object().unwrap();
        let mut out = Vec::new();
        object.write(&mut out);
        let text = String::from_utf8(out.clone()).unwrap();
        assert_eq!(
            text,
            "<< /A#20B [1 -2 .5 true null 3 0 R] /T <61284129> /H <4A40> >>"
        );
        assert_eq!(Lexer::new(&out, 0).object().unwrap(), object);
        let bads = ["<< /A 1 /A 2 >>", "[1", "(a", "<4g>", "", "<< 1 2 >>"];
        for bad in bads {
            assert!(Lexer::new(bad.as_bytes(), 0).object().is_err(), "{bad}");
        }
        assert!(Lexer::new(&[b'['; 100_000], 0).object().is_err());
    }

    #[test]
    fn an_object_has_so_many_parts() {
        let with = |text: &'static str, parts: usize| {
            let bytes = text.as_bytes();
            Lexer {
                bytes,
                at: 0,
                parts,
            }
            .object()
        };
        assert!(with("[1 [2] << /A 3 >>]", 6).is_ok());
        assert!(with("[1 [2] << /A 3 >>]", 5).is_err());
        assert_eq!(Lexer::new(b"", 0).parts, MAX_PARTS);
        // Keys are compared without looking at each for each.
        let read = |text: &str| Lexer::new(text.as_bytes(), 0).object();
        let keys: String = (0..20_000).map(|key| format!("/K{key} 1 ")).collect();
        assert!(read(&format!("<<{keys}>>")).is_ok());
        assert!(read(&format!("<<{keys}/K0 1>>")).is_err());
    }
}
