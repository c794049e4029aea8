//! Walking through XML: each element by its path, with its text and currency.
//!
//! Only what ISO 20022 uses is read: elements of one namespace, texts, and the attribute `Ccy`.
//! Document types and entities are refused, so nothing is ever expanded or fetched.

use quick_xml::NsReader;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::ResolveResult;

use super::Fault;

pub(super) const MOST_LEVELS: usize = 32;
pub(super) const LONGEST_TEXT: usize = 2_048;
const MOST_ATTRIBUTES: usize = 16;
const LONGEST_NAME: usize = 64;
const SPACE: &str = "urn:iso:std:iso:20022:tech:xsd:";
/// What stands for an element of another namespace; no path of ours has it.
const FOREIGN: &str = "?";

/// What is told of a document. Paths begin below its root.
pub(super) trait Visit {
    fn open(&mut self, path: &str) -> Result<(), Fault>;

    fn close(&mut self, path: &str, text: &str, currency: &str) -> Result<(), Fault>;
}

/// Tells only which message a document is.
struct Nothing;

impl Visit for Nothing {
    fn open(&mut self, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&mut self, _: &str, _: &str, _: &str) -> Result<(), Fault> {
        Ok(())
    }
}

/// The message that a document is, such as `pain.002`, by the namespace of its root.
pub(super) fn message(bytes: &[u8]) -> Result<&'static str, Fault> {
    let mut walk = Walk::new(bytes)?;
    while walk.space.is_none() {
        if !walk.step(&mut Nothing)? {
            return Err(Fault::Malformed(0));
        }
    }
    let version = walk.space.as_deref().and_then(|s| s.strip_prefix(SPACE));
    let version = version.unwrap_or_default();
    let known = ["pain.002", "camt.053", "camt.054"];
    let is = |kind: &&str| {
        let rest = version.strip_prefix(*kind);
        rest.is_some_and(|rest| rest.starts_with(".001."))
    };
    known.into_iter().find(is).ok_or(Fault::Kind)
}

/// Walks through a document to its end.
pub(super) fn walk(bytes: &[u8], visit: &mut impl Visit) -> Result<(), Fault> {
    let mut walk = Walk::new(bytes)?;
    while walk.step(visit)? {}
    Ok(())
}

struct Walk<'a> {
    reader: NsReader<&'a [u8]>,
    /// The namespace of the root, once it was seen.
    space: Option<String>,
    path: String,
    /// Where the names of the path begin, the root's left out.
    starts: Vec<usize>,
    /// Levels that are open, the root's among them.
    levels: usize,
    text: String,
    currency: String,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // XML has no other control characters, whatever stands around them.
        let control = |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r');
        if text.contains(control) {
            return Err(Fault::Malformed(0));
        }
        let mut reader = NsReader::from_str(text);
        reader.config_mut().check_comments = true;
        reader
            .resolver_mut()
            .set_max_namespace_bindings(MOST_ATTRIBUTES);
        Ok(Self {
            reader,
            space: None,
            path: String::new(),
            starts: Vec::new(),
            levels: 0,
            text: String::new(),
            currency: String::new(),
            ended: false,
        })
    }

    fn malformed(&self) -> Fault {
        Fault::Malformed(self.reader.buffer_position())
    }

    /// Takes the next step; false at the end.
    fn step(&mut self, visit: &mut impl Visit) -> Result<bool, Fault> {
        let at = self.reader.buffer_position();
        let read = self.reader.read_resolved_event();
        let (space, event) = read.map_err(|_| Fault::Malformed(at))?;
        let space = match space {
            ResolveResult::Bound(space) => Some(space.0.to_owned()),
            ResolveResult::Unbound => None,
            ResolveResult::Unknown(_) => return Err(Fault::Malformed(at)),
        };
        match event {
            Event::Start(start) => self.open(&start, space, visit)?,
            Event::Empty(start) => {
                self.open(&start, space, visit)?;
                self.close(visit)?;
            }
            Event::End(_) => self.close(visit)?,
            Event::Text(text) => self.put(&text.xml10_content())?,
            Event::CData(text) => self.put(&text.xml10_content())?,
            Event::GeneralRef(entity) => self.refer(&entity)?,
            Event::Decl(declaration) => match declaration.encoding() {
                None => {}
                Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") => {}
                Some(_) => return Err(Fault::Encoding),
            },
            Event::DocType(_) => return Err(Fault::Entity),
            Event::Comment(_) | Event::PI(_) => {}
            Event::Eof if self.ended => return Ok(false),
            Event::Eof => return Err(self.malformed()),
        }
        Ok(true)
    }

    fn open(
        &mut self,
        start: &BytesStart<'_>,
        space: Option<String>,
        visit: &mut impl Visit,
    ) -> Result<(), Fault> {
        // A text is never beside elements, and a document has one root.
        if !self.text.trim().is_empty() || self.ended {
            return Err(self.malformed());
        }
        if self.levels == MOST_LEVELS {
            return Err(Fault::Deep);
        }
        self.levels += 1;
        self.text.clear();
        self.currency.clear();
        for (at, attribute) in start.attributes().enumerate() {
            let attribute = attribute.map_err(|_| self.malformed())?;
            if at == MOST_ATTRIBUTES || attribute.value.len() > LONGEST_TEXT {
                return Err(Fault::Long);
            }
            if attribute.key.as_ref() == "Ccy" {
                attribute.value.trim().clone_into(&mut self.currency);
            }
        }
        let name = start.local_name().into_inner();
        let Some(root) = &self.space else {
            let space = space.filter(|space| space.starts_with(SPACE));
            self.space = Some(space.filter(|_| name == "Document").ok_or(Fault::Kind)?);
            return Ok(());
        };
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let name = match space.as_deref() == Some(root) {
            true if name.len() <= LONGEST_NAME && name.bytes().all(sound) => name,
            true => return Err(self.malformed()),
            false => FOREIGN,
        };
        self.starts.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push('/');
        }
        self.path.push_str(name);
        visit.open(&self.path)
    }

    fn close(&mut self, visit: &mut impl Visit) -> Result<(), Fault> {
        self.levels = self.levels.saturating_sub(1);
        match self.starts.pop() {
            Some(start) => {
                visit.close(&self.path, self.text.trim(), &self.currency)?;
                self.path.truncate(start);
            }
            None => self.ended = true,
        }
        self.text.clear();
        self.currency.clear();
        Ok(())
    }

    fn put(&mut self, text: &str) -> Result<(), Fault> {
        if self.levels == 0 && !text.trim().is_empty() {
            return Err(self.malformed());
        }
        // Space between elements is no text.
        if self.text.is_empty() && text.trim().is_empty() {
            return Ok(());
        }
        if self.text.len() + text.len() > LONGEST_TEXT {
            return Err(Fault::Long);
        }
        self.text.push_str(text);
        Ok(())
    }

    /// The five entities that XML itself has, and characters by number.
    fn refer(&mut self, entity: &BytesRef<'_>) -> Result<(), Fault> {
        let character = entity.resolve_char_ref().map_err(|_| self.malformed())?;
        let character = match character {
            Some(c) if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => {
                return Err(self.malformed());
            }
            Some(character) => character,
            None => match &**entity {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "quot" => '"',
                "apos" => '\'',
                _ => return Err(Fault::Entity),
            },
        };
        self.put(character.encode_utf8(&mut [0; 4]))
    }
}
