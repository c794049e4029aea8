//! Distinguished encoding rules: a writer that composes byte vectors, and a strict reader that
//! keeps the original bytes of whatever it passes.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encoding is not sound")]
pub(crate) struct DerError;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A context-specific, constructed tag.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A context-specific, primitive tag.
pub(crate) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// One element.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    push(&mut out, tag, content);
    out
}

fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len().to_be_bytes();
    let start = length.iter().position(|byte| *byte != 0).unwrap_or(7);
    let length = &length[start..];
    if content.len() >= 0x80 {
        out.push(0x80 | u8::try_from(length.len()).unwrap_or(8));
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
}

/// A constructed element from the encodings of its parts.
pub(crate) fn constructed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(tag, &parts.concat())
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    constructed(SEQUENCE, parts)
}

/// A SET OF: its parts in the order of their encodings.
pub(crate) fn set_of(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    element(SET, &parts.concat())
}

pub(crate) fn oid(content: &[u8]) -> Vec<u8> {
    element(OID, content)
}

/// A non-negative integer from its big-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0);
    let digits = start.map_or(&[0_u8][..], |start| &bytes[start..]);
    if digits[0] & 0x80 == 0 {
        return element(INTEGER, digits);
    }
    element(INTEGER, &[&[0], digits].concat())
}

pub(crate) fn small(value: u8) -> Vec<u8> {
    unsigned(&[value])
}

/// A bit string without unused bits.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// A named bit string with one octet: bit 0 is the highest, trailing zeros are left out.
pub(crate) fn named_bits(bits: u8) -> Vec<u8> {
    let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap_or(7);
    element(BIT_STRING, &[unused, bits])
}

pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(OCTET_STRING, bytes)
}

pub(crate) fn null() -> Vec<u8> {
    vec![5, 0]
}

/// An element as it stands in its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// With tag and length.
    pub(crate) raw: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A reader of the one element that `bytes` consist of.
    pub(crate) fn within(bytes: &'a [u8], tag: u8) -> Result<Self, DerError> {
        let mut reader = Self(bytes);
        let found = reader.expect(tag)?;
        reader.end()?;
        Ok(Self(found.content))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn end(&self) -> Result<(), DerError> {
        self.is_empty().then_some(()).ok_or(DerError)
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(crate) fn read(&mut self) -> Result<Element<'a>, DerError> {
        let bytes = self.0;
        let (&tag, rest) = bytes.split_first().ok_or(DerError)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError);
        }
        let (&first, rest) = rest.split_first().ok_or(DerError)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let count = usize::from(first & 0x7f);
                let digits = rest.get(..count).ok_or(DerError)?;
                let length = digits
                    .iter()
                    .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
                if length < 0x80 || digits[0] == 0 {
                    return Err(DerError);
                }
                (length, &rest[count..])
            }
            _ => return Err(DerError),
        };
        let content = rest.get(..length).ok_or(DerError)?;
        let header = bytes.len() - rest.len();
        self.0 = &rest[length..];
        Ok(Element {
            tag,
            content,
            raw: &bytes[..header + length],
        })
    }

    pub(crate) fn expect(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let found = self.read()?;
        (found.tag == tag).then_some(found).ok_or(DerError)
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.peek() == Some(tag) {
            self.read().map(Some)
        } else {
            Ok(None)
        }
    }

    /// A reader of the next element's content.
    pub(crate) fn enter(&mut self, tag: u8) -> Result<Self, DerError> {
        Ok(Self(self.expect(tag)?.content))
    }

    /// The algorithm of an AlgorithmIdentifier, and its parameters as they stand.
    pub(crate) fn algorithm(&mut self) -> Result<(&'a [u8], &'a [u8]), DerError> {
        let mut inner = self.enter(SEQUENCE)?;
        let id = inner.expect(OID)?.content;
        Ok((id, inner.0))
    }

    /// An integer that fits.
    pub(crate) fn number(&mut self) -> Result<u64, DerError> {
        let content = self.expect(INTEGER)?.content;
        if content.is_empty() || content.len() > 8 || content[0] & 0x80 != 0 {
            return Err(DerError);
        }
        Ok(content
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// A bit string without unused bits.
    pub(crate) fn bits(&mut self) -> Result<&'a [u8], DerError> {
        let content = self.expect(BIT_STRING)?.content;
        match content.split_first() {
            Some((0, bits)) => Ok(bits),
            _ => Err(DerError),
        }
    }
}

impl<'a> Element<'a> {
    /// A reader of its content.
    pub(crate) const fn inside(&self) -> Reader<'a> {
        Reader(self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal_and_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let bytes = element(OCTET_STRING, &content);
            let mut reader = Reader::new(&bytes);
            let found = reader.expect(OCTET_STRING).unwrap();
            assert_eq!((found.content, found.raw), (&content[..], &bytes[..]));
            reader.end().unwrap();
        }
        for bad in [
            &[4, 0x81, 1, 0][..],
            &[4, 2, 0],
            &[4, 0x80, 0, 0],
            &[0x1f, 1, 0],
            &[4],
        ] {
            assert_eq!(Reader::new(bad).read(), Err(DerError), "{bad:?}");
        }
    }

    #[test]
    fn integers_are_minimal() {
        assert_eq!(unsigned(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
        assert_eq!(named_bits(0x80), [3, 2, 7, 0x80]);
        assert_eq!(named_bits(0x06), [3, 2, 1, 0x06]);
    }
}
