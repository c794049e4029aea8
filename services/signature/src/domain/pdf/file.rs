//! A document: its cross-references and the objects they lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::ZlibDecoder;

use crate::domain::pdf::PdfError;
use crate::domain::pdf::lex::Lexer;
use crate::domain::pdf::object::{Dict, Id, Object};

/// The most bytes that one stream may unpack to.
const MAX_UNPACKED: u64 = 32 * 1024 * 1024;
/// The most bytes that all streams of a document may unpack to.
const MAX_UNPACKED_TOTAL: usize = 64 * 1024 * 1024;
/// The most bytes that are read as objects, beyond eight times those of the document: references
/// may lead to the same large object any number of times.
const MAX_READ: usize = 16 * 1024 * 1024;
/// The most revisions that a document may have.
const MAX_SECTIONS: usize = 1_024;
/// The most objects that a document may have.
const MAX_OBJECTS: u64 = 1_000_000;
/// The most entries in all cross-references of a document.
const MAX_ENTRIES: usize = 2_000_000;

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    At { offset: usize, generation: u16 },
    InStream { stream: u32, index: usize },
}

/// A document that was opened.
#[derive(Debug)]
pub(crate) struct Pdf<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) places: BTreeMap<u32, Place>,
    pub(crate) trailer: Dict,
    /// Where the newest cross-reference section starts.
    pub(crate) start: usize,
    /// Whether that section is a stream.
    pub(crate) by_stream: bool,
    /// Where the sections start, newest first.
    pub(crate) sections: Vec<usize>,
    /// Object streams that were unpacked, so that each is unpacked once.
    unpacked: Mutex<BTreeMap<u32, Arc<Packed>>>,
    work: Work,
}

/// An object stream.
#[derive(Debug)]
struct Packed {
    data: Vec<u8>,
    /// Number and place of each object.
    index: Vec<(u64, usize)>,
}

/// What was done so far with a document.
#[derive(Debug, Default)]
struct Work {
    /// Bytes read as objects.
    read: AtomicUsize,
    /// Bytes that streams unpacked to.
    unpacked: AtomicUsize,
    /// Entries of cross-references.
    entries: AtomicUsize,
}

impl Work {
    fn add(counter: &AtomicUsize, amount: usize, most: usize) -> Result<(), PdfError> {
        let before = counter.fetch_add(amount, Ordering::Relaxed);
        match before.saturating_add(amount) <= most {
            true => Ok(()),
            false => Err(PdfError::Unreadable),
        }
    }
}

impl<'a> Pdf<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, PdfError> {
        if !bytes.starts_with(b"%PDF-") {
            return Err(PdfError::Unreadable);
        }
        let tail = bytes.len().saturating_sub(2_048);
        let marker = b"startxref";
        let found = bytes[tail..]
            .windows(marker.len())
            .rposition(|window| window == marker);
        let at = tail + found.ok_or(PdfError::Unreadable)? + marker.len();
        let start = Lexer::new(bytes, at).unsigned()?;
        let start = usize::try_from(start).map_err(|_| PdfError::Unreadable)?;
        let mut pdf = Self {
            bytes,
            places: BTreeMap::new(),
            trailer: Dict::default(),
            start,
            by_stream: false,
            sections: Vec::new(),
            unpacked: Mutex::new(BTreeMap::new()),
            work: Work::default(),
        };
        pdf.read_sections()?;
        if pdf.trailer.get("Encrypt").is_some() {
            return Err(PdfError::Encrypted);
        }
        Ok(pdf)
    }

    fn read_sections(&mut self) -> Result<(), PdfError> {
        let mut seen = BTreeSet::new();
        let mut next = Some(self.start);
        while let Some(offset) = next {
            let known = !seen.insert(offset) || seen.len() > MAX_SECTIONS;
            if known || offset >= self.bytes.len() {
                return Err(PdfError::Unreadable);
            }
            self.sections.push(offset);
            let mut lexer = Lexer::new(self.bytes, offset);
            let by_table = lexer.word("xref");
            let trailer = if by_table {
                self.read_table(lexer)?
            } else {
                self.read_stream(offset)?
            };
            if trailer.get("XRefStm").is_some() {
                return Err(PdfError::Hybrid);
            }
            next = match trailer.get("Prev") {
                Some(Object::Integer(at)) => {
                    Some(usize::try_from(*at).map_err(|_| PdfError::Unreadable)?)
                }
                None => None,
                Some(_) => return Err(PdfError::Unreadable),
            };
            if seen.len() == 1 {
                self.by_stream = !by_table;
                self.trailer = trailer;
            }
        }
        Ok(())
    }

    fn note(&mut self, number: u64, place: Place) -> Result<(), PdfError> {
        if number > MAX_OBJECTS {
            return Err(PdfError::Unreadable);
        }
        Work::add(&self.work.entries, 1, MAX_ENTRIES)?;
        let number = u32::try_from(number).map_err(|_| PdfError::Unreadable)?;
        // Sections are read newest first, so what is known already counts.
        self.places.entry(number).or_insert(place);
        Ok(())
    }

    fn read_table(&mut self, mut lexer: Lexer<'a>) -> Result<Dict, PdfError> {
        while !lexer.word("trailer") {
            let (first, count) = (lexer.unsigned()?, lexer.unsigned()?);
            if count > MAX_OBJECTS {
                return Err(PdfError::Unreadable);
            }
            for number in first..first.saturating_add(count) {
                let offset = usize::try_from(lexer.unsigned()?);
                let generation = u16::try_from(lexer.unsigned()?);
                let (Ok(offset), Ok(generation)) = (offset, generation) else {
                    return Err(PdfError::Unreadable);
                };
                let place = match (lexer.word("n"), lexer.word("f")) {
                    (true, _) => Place::At { offset, generation },
                    (false, true) => Place::Free,
                    _ => return Err(PdfError::Unreadable),
                };
                self.note(number, place)?;
            }
        }
        match self.counted(&mut lexer)? {
            Object::Dictionary(dict) => Ok(dict),
            _ => Err(PdfError::Unreadable),
        }
    }

    /// Reads an object, and counts its bytes.
    fn counted(&self, lexer: &mut Lexer<'_>) -> Result<Object, PdfError> {
        let most = self.bytes.len().saturating_mul(8).saturating_add(MAX_READ);
        Work::add(&self.work.read, 0, most)?;
        let start = lexer.at;
        let object = lexer.object();
        lexer.skip_space();
        // Even nothing takes a step.
        Work::add(&self.work.read, lexer.at - start + 1, most)?;
        object
    }

    fn read_stream(&mut self, offset: usize) -> Result<Dict, PdfError> {
        let (_, object) = self.indirect(offset)?;
        let Object::Stream { dict, start } = object else {
            return Err(PdfError::Unreadable);
        };
        if !dict.is_name("Type", "XRef") {
            return Err(PdfError::Unreadable);
        }
        let data = self.unpack(&dict, start)?;
        let numbers = |key: &str| -> Option<Vec<u64>> {
            let items = dict.get(key)?.array()?.iter();
            items
                .map(|item| u64::try_from(item.integer()?).ok())
                .collect()
        };
        let widths = numbers("W")
            .filter(|widths| widths.len() == 3)
            .ok_or(PdfError::Unreadable)?;
        let size = dict
            .get("Size")
            .and_then(Object::integer)
            .unwrap_or_default();
        let size = u64::try_from(size).map_err(|_| PdfError::Unreadable)?;
        let index = numbers("Index").unwrap_or_else(|| vec![0, size]);
        // An entry without any bytes could be there any number of times.
        let row: u64 = widths
            .iter()
            .fold(0, |sum, width| sum.saturating_add(*width));
        let rows: u64 = index
            .chunks(2)
            .filter_map(|pair| pair.get(1))
            .fold(0, |sum, count| sum.saturating_add(*count));
        if widths.iter().any(|width| *width > 8)
            || row == 0
            || rows > MAX_OBJECTS + 1
            || index.len() % 2 != 0
        {
            return Err(PdfError::Unreadable);
        }
        let mut rest = &data[..];
        let mut field = |width: u64, default: u64| -> Option<u64> {
            let width = usize::try_from(width).ok()?;
            let (digits, after) = rest.split_at_checked(width)?;
            rest = after;
            let value = digits
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            Some(if width == 0 { default } else { value })
        };
        let mut found = Vec::new();
        for pair in index.chunks(2) {
            for number in pair[0]..pair[0].saturating_add(pair[1]) {
                let kind = field(widths[0], 1).ok_or(PdfError::Unreadable)?;
                let (second, third) = (field(widths[1], 0), field(widths[2], 0));
                let (Some(second), Some(third)) = (second, third) else {
                    return Err(PdfError::Unreadable);
                };
                found.push((number, place(kind, second, third)?));
            }
        }
        for (number, place) in found {
            self.note(number, place)?;
        }
        Ok(dict)
    }

    /// The indirect object that starts at an offset.
    fn indirect(&self, offset: usize) -> Result<(Id, Object), PdfError> {
        let mut lexer = Lexer::new(self.bytes, offset);
        let number = u32::try_from(lexer.unsigned()?).map_err(|_| PdfError::Unreadable)?;
        let generation = u16::try_from(lexer.unsigned()?).map_err(|_| PdfError::Unreadable)?;
        if !lexer.word("obj") {
            return Err(PdfError::Unreadable);
        }
        let mut object = self.counted(&mut lexer)?;
        if lexer.rest().starts_with(b"stream") {
            let mut start = lexer.at + 6;
            if self.bytes.get(start) == Some(&b'\r') {
                start += 1;
            }
            if self.bytes.get(start) == Some(&b'\n') {
                start += 1;
            }
            if let Object::Dictionary(dict) = object {
                object = Object::Stream { dict, start };
            }
        }
        Ok(((number, generation), object))
    }

    /// An object by its number; what is free or was never there is null.
    pub(crate) fn load(&self, id: Id) -> Result<Object, PdfError> {
        match self.places.get(&id.0) {
            None | Some(Place::Free) => Ok(Object::Null),
            Some(Place::At { offset, generation }) => {
                let (found, object) = self.indirect(*offset)?;
                if found != (id.0, *generation) || *generation != id.1 {
                    return Err(PdfError::Unreadable);
                }
                Ok(object)
            }
            Some(Place::InStream { stream, index }) => self.load_packed(id.0, *stream, *index),
        }
    }

    fn load_packed(&self, number: u32, stream: u32, index: usize) -> Result<Object, PdfError> {
        let packed = self.object_stream(stream)?;
        match packed.index.get(index) {
            Some((known, offset)) if *known == u64::from(number) => {
                self.counted(&mut Lexer::new(&packed.data, *offset))
            }
            _ => Err(PdfError::Unreadable),
        }
    }

    fn object_stream(&self, stream: u32) -> Result<Arc<Packed>, PdfError> {
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = unpacked.get(&stream) {
            return Ok(known.clone());
        }
        let Some(Place::At { offset, .. }) = self.places.get(&stream) else {
            return Err(PdfError::Unreadable);
        };
        let (_, object) = self.indirect(*offset)?;
        let Object::Stream { dict, start } = object else {
            return Err(PdfError::Unreadable);
        };
        let data = self.unpack(&dict, start)?;
        let number = |key| dict.get(key).and_then(Object::integer).unwrap_or_default();
        let first = usize::try_from(number("First")).map_err(|_| PdfError::Unreadable)?;
        let count = u64::try_from(number("N")).map_err(|_| PdfError::Unreadable)?;
        if count > MAX_OBJECTS {
            return Err(PdfError::Unreadable);
        }
        let mut lexer = Lexer::new(&data, 0);
        let mut index = Vec::new();
        for _ in 0..count {
            let (number, offset) = (lexer.unsigned()?, lexer.unsigned()?);
            let offset = usize::try_from(offset).map_err(|_| PdfError::Unreadable)?;
            index.push((number, first.saturating_add(offset)));
        }
        let found = Arc::new(Packed { data, index });
        unpacked.insert(stream, found.clone());
        Ok(found)
    }

    /// Follows references until something else is found.
    pub(crate) fn resolve(&self, object: &Object) -> Result<Object, PdfError> {
        let mut object = object.clone();
        for _ in 0..16 {
            match object {
                Object::Reference(id) => object = self.load(id)?,
                other => return Ok(other),
            }
        }
        Err(PdfError::Unreadable)
    }

    /// A member of a dictionary, resolved.
    pub(crate) fn member(&self, dict: &Dict, key: &str) -> Result<Object, PdfError> {
        dict.get(key)
            .map_or(Ok(Object::Null), |value| self.resolve(value))
    }

    pub(crate) fn root(&self) -> Result<(Id, Dict), PdfError> {
        let id = self.trailer.get("Root").and_then(Object::reference);
        let id = id.ok_or(PdfError::Unreadable)?;
        match self.load(id)? {
            Object::Dictionary(dict) => Ok((id, dict)),
            _ => Err(PdfError::Unreadable),
        }
    }

    fn unpack(&self, dict: &Dict, start: usize) -> Result<Vec<u8>, PdfError> {
        let length = match dict.get("Length") {
            Some(Object::Integer(length)) => *length,
            // A length inside an object stream could be its own stream's.
            Some(Object::Reference(id)) => match self.places.get(&id.0) {
                Some(Place::At { offset, .. }) => self
                    .indirect(*offset)?
                    .1
                    .integer()
                    .ok_or(PdfError::Unreadable)?,
                _ => return Err(PdfError::Unreadable),
            },
            _ => return Err(PdfError::Unreadable),
        };
        let length = usize::try_from(length).map_err(|_| PdfError::Unreadable)?;
        let packed = self.bytes.get(start..).and_then(|rest| rest.get(..length));
        let packed = packed.ok_or(PdfError::Unreadable)?;
        let filter = match dict.get("Filter") {
            Some(Object::Array(filters)) if filters.len() == 1 => Some(&filters[0]),
            other => other,
        };
        match filter {
            None => {
                Work::add(&self.work.unpacked, length, MAX_UNPACKED_TOTAL)?;
                Ok(packed.to_vec())
            }
            Some(Object::Name(name)) if name == b"FlateDecode" => {
                Work::add(&self.work.unpacked, 0, MAX_UNPACKED_TOTAL)?;
                let mut data = Vec::new();
                let mut decoder = ZlibDecoder::new(packed).take(MAX_UNPACKED);
                decoder
                    .read_to_end(&mut data)
                    .map_err(|_| PdfError::Unreadable)?;
                Work::add(&self.work.unpacked, data.len() + 1, MAX_UNPACKED_TOTAL)?;
                unpredict(dict, data)
            }
            Some(_) => Err(PdfError::Unreadable),
        }
    }
}

/// Undoes the predictors of PNG, which cross-reference streams use.
fn unpredict(dict: &Dict, data: Vec<u8>) -> Result<Vec<u8>, PdfError> {
    let parameters = match dict.get("DecodeParms") {
        Some(Object::Array(items)) if items.len() == 1 => items[0].clone(),
        Some(other) => other.clone(),
        None => return Ok(data),
    };
    let Object::Dictionary(parameters) = parameters else {
        return Err(PdfError::Unreadable);
    };
    let number = |key, default| {
        parameters
            .get(key)
            .and_then(Object::integer)
            .unwrap_or(default)
    };
    if number("Predictor", 1) < 10 {
        return if number("Predictor", 1) == 1 {
            Ok(data)
        } else {
            Err(PdfError::Unreadable)
        };
    }
    if number("Colors", 1) != 1 || number("BitsPerComponent", 8) != 8 {
        return Err(PdfError::Unreadable);
    }
    let columns = usize::try_from(number("Columns", 1))
        .unwrap_or(0)
        .clamp(1, 65_536);
    let mut out: Vec<u8> = Vec::with_capacity(data.len());
    let mut above = vec![0_u8; columns];
    for line in data.chunks_exact(columns + 1) {
        let mut row = line[1..].to_vec();
        for at in 0..columns {
            let left = if at == 0 { 0 } else { row[at - 1] };
            let corner = if at == 0 { 0 } else { above[at - 1] };
            let added = match line[0] {
                0 => 0,
                1 => left,
                2 => above[at],
                3 => u8::midpoint(left, above[at]),
                4 => paeth(left, above[at], corner),
                _ => return Err(PdfError::Unreadable),
            };
            row[at] = row[at].wrapping_add(added);
        }
        out.extend_from_slice(&row);
        above = row;
    }
    Ok(out)
}

fn place(kind: u64, second: u64, third: u64) -> Result<Place, PdfError> {
    let unreadable = |_| PdfError::Unreadable;
    Ok(match kind {
        0 => Place::Free,
        1 => Place::At {
            offset: usize::try_from(second).map_err(unreadable)?,
            generation: u16::try_from(third).map_err(unreadable)?,
        },
        2 => Place::InStream {
            stream: u32::try_from(second).map_err(unreadable)?,
            index: usize::try_from(third).map_err(unreadable)?,
        },
        // Unknown kinds are references to the null object.
        _ => Place::Free,
    })
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(above) - i16::from(corner);
    let distance = |value: u8| (estimate - i16::from(value)).abs();
    if distance(left) <= distance(above) && distance(left) <= distance(corner) {
        left
    } else if distance(above) <= distance(corner) {
        above
    } else {
        corner
    }
}
