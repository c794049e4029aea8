//! Charsets and the encodings of RFC 2045 and RFC 2047.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest line that mail may carry without its line break.
const LINE_MAX: usize = 998;

/// The charset of outgoing text parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Charset {
    encoding: &'static encoding_rs::Encoding,
    name: &'static str,
}

impl Charset {
    pub(crate) const UTF_8: Self = Self {
        encoding: encoding_rs::UTF_8,
        name: "UTF-8",
    };

    /// Finds a charset by its registered name; empty means UTF-8.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        if name.is_empty() {
            return Some(Self::UTF_8);
        }
        // Web standards read these two as windows-1252, which mail readers do not.
        if name.eq_ignore_ascii_case("us-ascii") || name.eq_ignore_ascii_case("ascii") {
            return Some(Self {
                encoding: encoding_rs::WINDOWS_1252,
                name: "US-ASCII",
            });
        }
        if name.eq_ignore_ascii_case("iso-8859-1") || name.eq_ignore_ascii_case("latin1") {
            return Some(Self {
                encoding: encoding_rs::WINDOWS_1252,
                name: "ISO-8859-1",
            });
        }
        let encoding = encoding_rs::Encoding::for_label(name.as_bytes())?;
        // Those that the web cannot write (UTF-16, replacement) are not offered either.
        (encoding.output_encoding() == encoding).then(|| Self {
            encoding,
            name: encoding.name(),
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The text in this charset, or `None` when a character has no place in it.
    pub(crate) fn encode(&self, text: &str) -> Option<Vec<u8>> {
        let fits = match self.name {
            "US-ASCII" => text.is_ascii(),
            "ISO-8859-1" => text.chars().all(|char| u32::from(char) < 256),
            _ => true,
        };
        let (bytes, _, lossy) = self.encoding.encode(text);
        (fits && !lossy).then(|| bytes.into_owned())
    }
}

/// A body as it travels, with the name of its transfer encoding. Lines end in CR LF.
pub(crate) fn body(charset: Charset, text: &str) -> Option<(&'static str, Vec<u8>)> {
    let bytes = charset.encode(&crlf(text))?;
    // Charsets with escape sequences are ASCII by the byte, but not by meaning.
    let plain = bytes.is_ascii()
        && !bytes.contains(&0x1b)
        && bytes
            .split(|byte| *byte == b'\n')
            .all(|line| line.len() <= LINE_MAX);
    if plain {
        return Some(("7bit", ended(bytes)));
    }
    let foreign = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    if foreign * 6 > bytes.len() {
        Some(("base64", base64_lines(&bytes)))
    } else {
        Some(("quoted-printable", quoted_printable(&bytes)))
    }
}

/// Any mixture of line breaks as CR LF.
pub(crate) fn crlf(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32 + 2);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push_str("\r\n");
            }
            '\n' => out.push_str("\r\n"),
            char => out.push(char),
        }
    }
    out
}

fn ended(mut bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.ends_with(b"\r\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn base64_lines(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 4 / 3 + bytes.len() / 38 + 4);
    for piece in bytes.chunks(57) {
        out.extend_from_slice(STANDARD.encode(piece).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() * 5 / 4);
    let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() && lines.peek().is_none() {
            break;
        }
        let mut width = 0;
        for (at, byte) in line.iter().enumerate() {
            let last = at + 1 == line.len();
            let literal = match *byte {
                b'=' => false,
                b' ' | b'\t' => !last,
                byte => byte.is_ascii_graphic(),
            };
            let needed = if literal { 1 } else { 3 };
            if width + needed > 75 {
                out.extend_from_slice(b"=\r\n");
                width = 0;
            }
            if literal {
                out.push(*byte);
            } else {
                push_hex(&mut out, *byte);
            }
            width += needed;
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[
        b'=',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

/// The value of a header of free text, folded, beginning after `Name: `.
///
/// ASCII goes as it is; anything else as encoded words of at most 75 characters.
pub(crate) fn header_text(text: &str, name_len: usize) -> String {
    if text.is_ascii() && !text.contains("=?") && !text.split(' ').any(|word| word.len() > 900) {
        fold(text, name_len)
    } else {
        encoded_words(text)
    }
}

/// Breaks a long line at spaces. A line may run over when it has no space.
fn fold(text: &str, name_len: usize) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut width = name_len;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            if width + 1 + word.len() > 76 && !word.is_empty() && width > name_len {
                out.push_str("\r\n");
                width = 0;
            }
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out
}

fn encoded_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut piece = String::new();
    let mut flush = |piece: &mut String| {
        if !out.is_empty() {
            out.push_str("\r\n ");
        }
        out.push_str("=?UTF-8?B?");
        out.push_str(&STANDARD.encode(piece.as_bytes()));
        out.push_str("?=");
        piece.clear();
    };
    for char in text.chars() {
        // 42 bytes are 56 letters; with the frame of 12 that leaves room for the name.
        if piece.len() + char.len_utf8() > 42 {
            flush(&mut piece);
        }
        piece.push(char);
    }
    flush(&mut piece);
    out
}

/// A display name before an address: bare, quoted, or as encoded words.
pub(crate) fn phrase(name: &str) -> String {
    if !name.is_ascii() || name.contains("=?") {
        return encoded_words(name);
    }
    let atoms = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(char);
    if name.chars().all(atoms) && !name.starts_with(' ') && !name.ends_with(' ') {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for char in name.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_found_and_refuse_what_they_cannot_write() {
        assert_eq!(Charset::parse("").unwrap().name(), "UTF-8");
        assert_eq!(Charset::parse("utf8").unwrap().name(), "UTF-8");
        let latin = Charset::parse("ISO-8859-1").unwrap();
        assert_eq!(latin.encode("né").unwrap(), b"n\xe9");
        assert_eq!(latin.encode("€"), None);
        assert_eq!(Charset::parse("us-ascii").unwrap().encode("né"), None);
        assert_eq!(
            Charset::parse("koi8-r").unwrap().encode("да").unwrap(),
            b"\xc4\xc1"
        );
        for name in ["utf-16", "klingon", "utf-7"] {
            assert_eq!(Charset::parse(name), None, "{name}");
        }
    }

    #[test]
    fn bodies_take_the_lightest_encoding() {
        let of = |text: &str| body(Charset::UTF_8, text).unwrap();
        assert_eq!(of("a\nb"), ("7bit", b"a\r\nb\r\n".to_vec()));
        let (name, bytes) = of("Grüße an alle, die dies lesen = gut. \nNoch");
        assert_eq!(name, "quoted-printable");
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "Gr=C3=BC=C3=9Fe an alle, die dies lesen =3D gut.=20\r\nNoch\r\n"
        );
        let (name, bytes) = of("Здравствуйте");
        assert_eq!(name, "base64");
        assert_eq!(bytes, b"0JfQtNGA0LDQstGB0YLQstGD0LnRgtC1\r\n");
        let long = "x".repeat(2_000);
        let (name, bytes) = of(&long);
        assert_eq!(name, "quoted-printable");
        assert!(
            bytes
                .split(|byte| *byte == b'\n')
                .all(|line| line.len() <= 77)
        );
    }

    #[test]
    fn header_text_folds_and_encodes() {
        assert_eq!(header_text("Hello there", 9), "Hello there");
        let long = "word ".repeat(40);
        let folded = header_text(long.trim(), 9);
        assert!(folded.lines().all(|line| line.len() <= 77), "{folded}");
        assert_eq!(folded.replace("\r\n", ""), long.trim());
        assert_eq!(header_text("é", 9), "=?UTF-8?B?w6k=?=");
        let words = header_text(&"ж".repeat(60), 9);
        assert!(words.lines().all(|line| line.trim().len() <= 75), "{words}");
        // What looks like an encoded word must not become one.
        assert!(header_text("=?UTF-8?B?w6k=?=", 9).starts_with("=?UTF-8?B?PT9"));
    }

    #[test]
    fn names_are_quoted_where_needed() {
        assert_eq!(phrase("Ministry of Health"), "Ministry of Health");
        assert_eq!(phrase("Health, Ministry"), "\"Health, Ministry\"");
        assert_eq!(phrase("a \"b\""), "\"a \\\"b\\\"\"");
        assert_eq!(phrase("Zoë"), "=?UTF-8?B?Wm/Dqw==?=");
    }
}
