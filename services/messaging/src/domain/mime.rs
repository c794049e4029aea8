//! The parts of a mail (RFC 2046), as far as reports and complaints need them.
//!
//! Each byte is looked at once a level, and levels and parts are few: a mail may come from
//! anybody. What a mail encloses as a message stays closed, for it is another mail's business.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Parts within each other; a report has one.
const LEVELS_MAX: usize = 8;
/// Parts that are looked at.
const PARTS_MAX: usize = 100;
/// Header fields of a part; further ones are passed over.
const FIELDS_MAX: usize = 1_000;
/// Longest boundary (RFC 2046, 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// Names in lower case, with their unfolded values.
pub(crate) type Fields = Vec<(String, String)>;

/// A part: its header fields and what follows them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'m> {
    fields: Fields,
    body: &'m [u8],
}

/// All parts of a mail, itself first; none if it has no header.
pub(crate) fn parts(mail: &[u8]) -> Vec<Part<'_>> {
    let whole = Part::read(mail);
    if whole.fields.is_empty() {
        return Vec::new();
    }
    let mut open = vec![(whole, 0)];
    let mut found = Vec::new();
    while let Some((part, level)) = open.pop() {
        if level < LEVELS_MAX {
            let left = PARTS_MAX - found.len().min(PARTS_MAX);
            let within: Vec<_> = part.within().take(left).map(Part::read).collect();
            // The last one in is the next one out.
            open.extend(within.into_iter().rev().map(|part| (part, level + 1)));
        }
        found.push(part);
        if found.len() == PARTS_MAX {
            break;
        }
    }
    found
}

impl<'m> Part<'m> {
    fn read(bytes: &'m [u8]) -> Self {
        let mut fields = Fields::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = first_line(rest);
            rest = after;
            if line.is_empty() {
                break;
            }
            if fields.len() < FIELDS_MAX {
                take_field(&mut fields, &String::from_utf8_lossy(line));
            }
        }
        Self { fields, body: rest }
    }

    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the part is of a type, such as `message/delivery-status`.
    pub(crate) fn is(&self, media_type: &str) -> bool {
        let found = self.field("content-type").unwrap_or_default();
        let found = found.split(';').next().unwrap_or_default().trim();
        found.eq_ignore_ascii_case(media_type)
    }

    /// The content as text.
    pub(crate) fn text(&self) -> String {
        let encoding = self.field("content-transfer-encoding").unwrap_or_default();
        let encoding = encoding.trim();
        if encoding.eq_ignore_ascii_case("base64") {
            String::from_utf8_lossy(&base64(self.body)).into_owned()
        } else if encoding.eq_ignore_ascii_case("quoted-printable") {
            String::from_utf8_lossy(&quoted_printable(self.body)).into_owned()
        } else {
            String::from_utf8_lossy(self.body).into_owned()
        }
    }

    /// The parts within a multipart.
    fn within(&self) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        let boundary = self.boundary().unwrap_or_default();
        let mut rest = match boundary.is_empty() {
            true => None,
            false => Some(next_part(self.body, &boundary).1),
        };
        std::iter::from_fn(move || {
            let bytes = rest??;
            let (part, after) = next_part(bytes, &boundary);
            rest = Some(after);
            Some(part)
        })
    }

    fn boundary(&self) -> Option<Vec<u8>> {
        let (kind, parameters) = self.field("content-type")?.split_once(';')?;
        let is_multipart = kind
            .trim()
            .get(..10)
            .is_some_and(|start| start.eq_ignore_ascii_case("multipart/"));
        let boundary = parameter(parameters, "boundary").filter(|_| is_multipart)?;
        (1..=BOUNDARY_MAX)
            .contains(&boundary.len())
            .then(|| boundary.into_bytes())
    }
}

/// A line without its end, and what follows.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', bytes) {
        Some(end) => bytes.split_at(end + 1),
        None => (bytes, &[][..]),
    };
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// What comes before the next boundary, and what follows it unless it was the last.
fn next_part<'m>(bytes: &'m [u8], boundary: &[u8]) -> (&'m [u8], Option<&'m [u8]>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = first_line(rest);
        let end = line
            .strip_prefix(b"--")
            .and_then(|line| line.strip_prefix(boundary))
            .map(<[u8]>::trim_ascii);
        if let Some(end @ (b"" | b"--")) = end {
            let before = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
            return (before, end.is_empty().then_some(after));
        }
        rest = after;
    }
    (bytes, None)
}

/// Takes a line of a header or of a report: a field, or more of the one before it.
pub(crate) fn take_field(fields: &mut Fields, line: &str) {
    if line.starts_with([' ', '\t']) {
        if let Some((_, value)) = fields.last_mut() {
            value.push(' ');
            value.push_str(line.trim());
        }
    } else if let Some((name, value)) = line.split_once(':') {
        fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// A parameter of a field's value: `; name=value; other="a \"text\""`.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters.chars().peekable();
    loop {
        let mut name = String::new();
        let mut value = String::new();
        let mut has_value = false;
        let mut quoted = false;
        loop {
            match rest.next() {
                None if name.trim().is_empty() => return None,
                None => break,
                Some('\\') if quoted => value.extend(rest.next()),
                Some('"') if has_value => quoted = !quoted,
                Some(';') if !quoted => break,
                Some('=') if !has_value => has_value = true,
                Some(c) if has_value => value.push(c),
                Some(c) => name.push(c),
            }
        }
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value.trim().to_owned());
        }
        rest.peek()?;
    }
}

fn base64(body: &[u8]) -> Vec<u8> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let digits: Vec<u8> = body
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .copied()
        .collect();
    ENGINE.decode(digits).unwrap_or_default()
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => after,
            (b'=', [high, low, after @ ..]) => match hex::decode([*high, *low]) {
                Ok(bytes) => {
                    text.extend(bytes);
                    after
                }
                Err(_) => {
                    text.push(b'=');
                    rest.get(1..).unwrap_or_default()
                }
            },
            (byte, after) => {
                text.push(*byte);
                after
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mail: &str) -> String {
        Part::read(mail.as_bytes()).text()
    }

    #[test]
    fn fields_are_unfolded_and_contents_decoded() {
        let part = Part::read(b"A: one\r\n two\nB : 3\r\nno field\r\n\r\nbody");
        assert_eq!(
            (part.field("a"), part.field("b")),
            (Some("one two"), Some("3"))
        );
        assert_eq!(part.text(), "body");
        assert_eq!(
            text("Content-Transfer-Encoding: BASE64\n\naGVs\r\nbG8"),
            "hello"
        );
        assert_eq!(text("Content-Transfer-Encoding: base64\n\n!"), "");
        let encoded = "Content-Transfer-Encoding: quoted-printable\n\na=3Db=\r\nc=\nd=zz=e";
        assert_eq!(text(encoded), "a=bcd=zz=e");
    }

    #[test]
    fn boundaries_are_found_however_they_are_written() {
        for value in [
            "b 1",
            "\"b 1\"",
            "\"b \\1\"; x=y",
            "b 1; charset=\"a;boundary=c\"",
        ] {
            for other in ["", "; charset=\"a;boundary=c\"", "; x; y="] {
                let mail = format!("Content-Type: Multipart/Mixed{other}; Boundary={value}\n\n");
                let part = Part::read(mail.as_bytes());
                assert_eq!(part.boundary().as_deref(), Some(&b"b 1"[..]), "{mail}");
            }
        }
        for header in [
            "text/plain; boundary=b",
            "multipart/mixed",
            "multipart/mixed; boundary=",
        ] {
            let mail = format!("Content-Type: {header}\n\n");
            assert_eq!(Part::read(mail.as_bytes()).boundary(), None, "{mail}");
        }
    }

    #[test]
    fn parts_come_in_their_order_and_messages_stay_closed() {
        let mail = "Content-Type: multipart/mixed; boundary=a\n\npreamble\n\
            --a\nX: 1\nContent-Type: multipart/mixed; boundary=b\n\n\
            --b\nX: 2\n\n--ab\n--b--\nafter\n--a \n\nplain\n\
            --a\nX: 3\nContent-Type: message/rfc822\n\nX: 4\n--a--\n--a\nX: 5\n";
        let parts = parts(mail.as_bytes());
        let marks: Vec<_> = parts
            .iter()
            .map(|part| part.field("x").unwrap_or("-"))
            .collect();
        assert_eq!(marks, ["-", "1", "2", "-", "3"]);
        assert_eq!(parts[2].text(), "--ab\n");
        assert!(super::parts(b"\nno header").is_empty() && super::parts(b"").is_empty());
    }

    #[test]
    fn work_is_bounded() {
        let nested: String = (0..10_000)
            .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"))
            .collect();
        assert_eq!(parts(nested.as_bytes()).len(), LEVELS_MAX + 1);
        let wide = format!(
            "Content-Type: multipart/mixed; boundary=a\n\n{}",
            "--a\n".repeat(9_999)
        );
        assert_eq!(parts(wide.as_bytes()).len(), PARTS_MAX);
        let fields = "A: b\n".repeat(FIELDS_MAX + 10);
        assert_eq!(Part::read(fields.as_bytes()).fields.len(), FIELDS_MAX);
    }
}
