//! Adding a signature as an incremental update. The old bytes stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use publica_types::Timestamp;

use crate::domain::key::sha256;
use crate::domain::pdf::PdfError;
use crate::domain::pdf::file::Pdf;
use crate::domain::pdf::object::{Dict, Id, Object};
use crate::domain::x509::time_digits;

/// Width of each number in the byte range.
const WIDTH: usize = 10;

/// What the signature dictionary says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dictionary<'a> {
    pub(crate) time: Timestamp,
    pub(crate) name: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) location: &'a str,
    /// Bytes reserved for the CMS signature.
    pub(crate) reserved: usize,
}

/// A document with a hole where the signature goes.
#[derive(Debug)]
pub(crate) struct Prepared {
    bytes: Vec<u8>,
    /// From `<` to `>`, both included.
    hole: Range<usize>,
}

impl Prepared {
    /// The signed bytes: everything but the hole.
    pub(crate) fn signed(&self) -> [&[u8]; 2] {
        [&self.bytes[..self.hole.start], &self.bytes[self.hole.end..]]
    }

    /// Fills the hole; what is left of it stays zero.
    pub(crate) fn fill(mut self, cms: &[u8]) -> Result<Vec<u8>, PdfError> {
        let digits = self.hole.start + 1..self.hole.end - 1;
        if cms.len() * 2 > digits.len() {
            return Err(PdfError::TooSmall);
        }
        let target = &mut self.bytes[digits][..cms.len() * 2];
        hex::encode_to_slice(cms, target).map_err(|_| PdfError::TooSmall)?;
        target.make_ascii_uppercase();
        Ok(self.bytes)
    }
}

/// Prepares a document: the same input gives the same bytes.
pub(crate) fn prepare(bytes: &[u8], dictionary: Dictionary<'_>) -> Result<Prepared, PdfError> {
    let pdf = Pdf::open(bytes)?;
    let mut update = Update::new(&pdf)?;
    let (root_id, mut root) = pdf.root()?;
    refuse_locked(&pdf, &root)?;
    let (signature, field) = (update.new_id()?, update.new_id()?);
    let page_id = first_page(&pdf, &root)?;
    update.add_annotation(page_id, field)?;
    let form = root.get("AcroForm").cloned();
    let name = update.add_to_form(&mut root, form, field)?;
    add_extension(&pdf, &mut root)?;
    update.put(root_id, Object::Dictionary(root));
    update.put(
        field,
        Object::Dictionary(field_dict(&name, signature, page_id)),
    );
    update.write(signature, dictionary)
}

/// Certified documents that allow no change, and locked fields.
fn refuse_locked(pdf: &Pdf<'_>, root: &Dict) -> Result<(), PdfError> {
    if let Some(permissions) = pdf.member(root, "Perms")?.dict() {
        let certified = pdf.member(permissions, "DocMDP")?;
        if let Some(signature) = certified.dict() {
            for reference in pdf
                .member(signature, "Reference")?
                .array()
                .unwrap_or_default()
            {
                let reference = pdf.resolve(reference)?;
                let parameters = match reference.dict() {
                    Some(dict) => pdf.member(dict, "TransformParams")?,
                    None => Object::Null,
                };
                let level = parameters.dict().and_then(|dict| dict.get("P")?.integer());
                if level == Some(1) {
                    return Err(PdfError::Locked);
                }
            }
        }
    }
    for found in super::signatures::find(pdf)? {
        if found.locks_fields {
            return Err(PdfError::Locked);
        }
    }
    Ok(())
}

fn first_page(pdf: &Pdf<'_>, root: &Dict) -> Result<Id, PdfError> {
    let mut id = root
        .get("Pages")
        .and_then(Object::reference)
        .ok_or(PdfError::Unreadable)?;
    for _ in 0..64 {
        let node = pdf.load(id)?;
        let node = node.dict().ok_or(PdfError::Unreadable)?;
        if !node.is_name("Type", "Pages") && node.get("Kids").is_none() {
            return Ok(id);
        }
        let kids = pdf.member(node, "Kids")?;
        let first = kids
            .array()
            .and_then(|kids| kids.first())
            .and_then(Object::reference);
        id = first.ok_or(PdfError::Unreadable)?;
    }
    Err(PdfError::Unreadable)
}

fn field_dict(name: &str, signature: Id, page: Id) -> Dict {
    let zero = || Object::Integer(0);
    let mut field = Dict::default();
    field.set("Type", Object::name("Annot"));
    field.set("Subtype", Object::name("Widget"));
    field.set("FT", Object::name("Sig"));
    field.set("T", Object::Text(name.as_bytes().to_vec()));
    field.set("V", Object::Reference(signature));
    field.set("Rect", Object::Array(vec![zero(), zero(), zero(), zero()]));
    // Printed and locked; without an area it shows nothing.
    field.set("F", Object::Integer(132));
    field.set("P", Object::Reference(page));
    field
}

/// Below PDF 2.0, PAdES signatures are an extension that the catalog names.
fn add_extension(pdf: &Pdf<'_>, root: &mut Dict) -> Result<(), PdfError> {
    let newer = matches!(root.get("Version"), Some(Object::Name(name)) if name.starts_with(b"2"));
    if newer || pdf.bytes.starts_with(b"%PDF-2") {
        return Ok(());
    }
    let mut extensions = match pdf.member(root, "Extensions")? {
        Object::Dictionary(dict) => dict,
        _ => Dict::default(),
    };
    if extensions.get("ESIC").is_none() {
        let mut own = Dict::default();
        own.set("BaseVersion", Object::name("1.7"));
        own.set("ExtensionLevel", Object::Integer(1));
        extensions.set("ESIC", Object::Dictionary(own));
        root.set("Extensions", Object::Dictionary(extensions));
    }
    Ok(())
}

/// Objects that change or are new.
struct Update<'a> {
    pdf: &'a Pdf<'a>,
    objects: BTreeMap<u32, (u16, Object)>,
    next: u32,
}

impl<'a> Update<'a> {
    fn new(pdf: &'a Pdf<'a>) -> Result<Self, PdfError> {
        let size = pdf
            .trailer
            .get("Size")
            .and_then(Object::integer)
            .unwrap_or_default();
        let size = u32::try_from(size).map_err(|_| PdfError::Unreadable)?;
        let known = pdf
            .places
            .keys()
            .next_back()
            .map_or(0, |last| last.saturating_add(1));
        Ok(Self {
            pdf,
            objects: BTreeMap::new(),
            next: size.max(known).max(1),
        })
    }

    fn new_id(&mut self) -> Result<Id, PdfError> {
        let id = self.next;
        self.next = id.checked_add(1).ok_or(PdfError::Unreadable)?;
        Ok((id, 0))
    }

    fn put(&mut self, id: Id, object: Object) {
        self.objects.insert(id.0, (id.1, object));
    }

    /// An object as this update leaves it so far.
    fn load(&self, id: Id) -> Result<Object, PdfError> {
        match self.objects.get(&id.0) {
            Some((_, object)) => Ok(object.clone()),
            None => self.pdf.load(id),
        }
    }

    /// Appends to an array that a dictionary holds; true if the dictionary itself changed.
    fn append(&mut self, dict: &mut Dict, key: &str, item: Object) -> Result<bool, PdfError> {
        match dict.get(key).cloned() {
            Some(Object::Reference(id)) => {
                let Object::Array(mut items) = self.load(id)? else {
                    return Err(PdfError::Unreadable);
                };
                items.push(item);
                self.put(id, Object::Array(items));
                Ok(false)
            }
            Some(Object::Array(mut items)) => {
                items.push(item);
                dict.set(key, Object::Array(items));
                Ok(true)
            }
            None | Some(Object::Null) => {
                dict.set(key, Object::Array(vec![item]));
                Ok(true)
            }
            Some(_) => Err(PdfError::Unreadable),
        }
    }

    fn add_annotation(&mut self, page_id: Id, field: Id) -> Result<(), PdfError> {
        let Object::Dictionary(mut page) = self.load(page_id)? else {
            return Err(PdfError::Unreadable);
        };
        if self.append(&mut page, "Annots", Object::Reference(field))? {
            self.put(page_id, Object::Dictionary(page));
        }
        Ok(())
    }

    /// Enters the field in the form; gives the name that it gets.
    fn add_to_form(
        &mut self,
        root: &mut Dict,
        form: Option<Object>,
        field: Id,
    ) -> Result<String, PdfError> {
        let (place, mut form) = match form {
            Some(Object::Reference(id)) => match self.load(id)? {
                Object::Dictionary(dict) => (Some(id), dict),
                _ => return Err(PdfError::Unreadable),
            },
            Some(Object::Dictionary(dict)) => (None, dict),
            None | Some(Object::Null) => (None, Dict::default()),
            Some(_) => return Err(PdfError::Unreadable),
        };
        let name = self.free_name(&form)?;
        self.append(&mut form, "Fields", Object::Reference(field))?;
        form.set("SigFlags", Object::Integer(3));
        form.remove("NeedAppearances");
        match place {
            Some(id) => self.put(id, Object::Dictionary(form)),
            None => root.set("AcroForm", Object::Dictionary(form)),
        }
        Ok(name)
    }

    fn free_name(&self, form: &Dict) -> Result<String, PdfError> {
        let mut taken = BTreeSet::new();
        for field in self.pdf.member(form, "Fields")?.array().unwrap_or_default() {
            if let Some(Object::Text(name)) = self
                .pdf
                .resolve(field)?
                .dict()
                .and_then(|dict| dict.get("T"))
            {
                taken.insert(name.clone());
            }
        }
        let free = (1..=taken.len() + 1)
            .map(|number| format!("Signature{number}"))
            .find(|name| !taken.contains(name.as_bytes()));
        free.ok_or(PdfError::Unreadable)
    }

    /// Writes old bytes, changed objects, the signature dictionary and the references to them.
    fn write(mut self, signature: Id, said: Dictionary<'_>) -> Result<Prepared, PdfError> {
        let mut out = Vec::with_capacity(self.pdf.bytes.len() + said.reserved * 2 + 4_096);
        out.extend_from_slice(self.pdf.bytes);
        if !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        let mut offsets: BTreeMap<u32, (usize, u16)> = BTreeMap::new();
        for (number, (generation, object)) in &self.objects {
            offsets.insert(*number, (out.len(), *generation));
            out.extend_from_slice(format!("{number} {generation} obj\n").as_bytes());
            object.write(&mut out);
            out.extend_from_slice(b"\nendobj\n");
        }
        offsets.insert(signature.0, (out.len(), 0));
        out.extend_from_slice(format!("{} 0 obj\n", signature.0).as_bytes());
        let (range_at, hole) = write_signature(&mut out, said);
        out.extend_from_slice(b"\nendobj\n");
        let start = out.len();
        if self.pdf.by_stream {
            let own = self.new_id()?;
            offsets.insert(own.0, (start, 0));
            self.write_stream(&mut out, own, &offsets)?;
        } else {
            self.write_table(&mut out, &offsets)?;
        }
        out.extend_from_slice(format!("startxref\n{start}\n%%EOF\n").as_bytes());
        let range = [0, hole.start, hole.end, out.len() - hole.end];
        let text = range.map(|number| format!("{number:>WIDTH$}")).join(" ");
        if text.len() != WIDTH * 4 + 3 {
            return Err(PdfError::Unreadable);
        }
        out[range_at..range_at + text.len()].copy_from_slice(text.as_bytes());
        Ok(Prepared { bytes: out, hole })
    }

    fn trailer(&self, offsets: &BTreeMap<u32, (usize, u16)>) -> Result<Dict, PdfError> {
        let mut trailer = Dict::default();
        let prev = i64::try_from(self.pdf.start).map_err(|_| PdfError::Unreadable)?;
        trailer.set("Size", Object::Integer(i64::from(self.next)));
        trailer.set("Prev", Object::Integer(prev));
        for key in ["Root", "Info"] {
            if let Some(value) = self.pdf.trailer.get(key) {
                trailer.set(key, value.clone());
            }
        }
        // The second half of the id is new with each revision, and still repeatable.
        let fresh = sha256(format!("{:?}{}", offsets, self.pdf.bytes.len()).as_bytes());
        let fresh = Object::Text(fresh[..16].to_vec());
        let first = match self.pdf.trailer.get("ID") {
            Some(Object::Array(items)) if !items.is_empty() => items[0].clone(),
            _ => fresh.clone(),
        };
        trailer.set("ID", Object::Array(vec![first, fresh]));
        Ok(trailer)
    }

    fn write_table(
        &self,
        out: &mut Vec<u8>,
        offsets: &BTreeMap<u32, (usize, u16)>,
    ) -> Result<(), PdfError> {
        out.extend_from_slice(b"xref\n");
        for run in runs(offsets) {
            out.extend_from_slice(format!("{} {}\n", run.start, run.len()).as_bytes());
            for number in run {
                let (offset, generation) = offsets[&number];
                let line = format!("{offset:010} {generation:05} n\r\n");
                out.extend_from_slice(line.as_bytes());
            }
        }
        out.extend_from_slice(b"trailer\n");
        self.trailer(offsets)?.write(out);
        out.push(b'\n');
        Ok(())
    }

    fn write_stream(
        &self,
        out: &mut Vec<u8>,
        own: Id,
        offsets: &BTreeMap<u32, (usize, u16)>,
    ) -> Result<(), PdfError> {
        let mut data = Vec::new();
        let mut index = Vec::new();
        for run in runs(offsets) {
            index.push(Object::Integer(i64::from(run.start)));
            index.push(Object::Integer(
                i64::try_from(run.len()).unwrap_or_default(),
            ));
            for number in run {
                let (offset, generation) = offsets[&number];
                let offset = u64::try_from(offset).unwrap_or_default();
                data.push(1);
                data.extend_from_slice(&offset.to_be_bytes());
                data.extend_from_slice(&generation.to_be_bytes());
            }
        }
        let mut dict = self.trailer(offsets)?;
        dict.set("Type", Object::name("XRef"));
        dict.set("W", Object::Array([1, 8, 2].map(Object::Integer).to_vec()));
        dict.set("Index", Object::Array(index));
        let length = i64::try_from(data.len()).unwrap_or_default();
        dict.set("Length", Object::Integer(length));
        out.extend_from_slice(format!("{} {} obj\n", own.0, own.1).as_bytes());
        dict.write(out);
        out.extend_from_slice(b"\nstream\n");
        out.extend_from_slice(&data);
        out.extend_from_slice(b"\nendstream\nendobj\n");
        Ok(())
    }
}

/// Consecutive object numbers.
fn runs(offsets: &BTreeMap<u32, (usize, u16)>) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for number in offsets.keys() {
        match runs.last_mut() {
            Some(run) if run.end == *number => run.end += 1,
            _ => runs.push(*number..*number + 1),
        }
    }
    runs
}

/// Writes the signature dictionary; gives the places of its byte range and of its hole.
fn write_signature(out: &mut Vec<u8>, said: Dictionary<'_>) -> (usize, Range<usize>) {
    out.extend_from_slice(b"<< /Type /Sig /Filter /Adobe.PPKLite /SubFilter /ETSI.CAdES.detached");
    out.extend_from_slice(format!(" /M (D:{}+00'00')", time_digits(said.time)).as_bytes());
    for (key, text) in [
        ("Name", said.name),
        ("Reason", said.reason),
        ("Location", said.location),
    ] {
        if !text.is_empty() {
            out.extend_from_slice(format!(" /{key} ").as_bytes());
            Object::Text(text_bytes(text)).write(out);
        }
    }
    out.extend_from_slice(b" /ByteRange [");
    let range_at = out.len();
    out.resize(range_at + WIDTH * 4 + 3, b' ');
    out.extend_from_slice(b"] /Contents ");
    let start = out.len();
    out.push(b'<');
    out.resize(start + 1 + said.reserved * 2, b'0');
    out.push(b'>');
    let hole = start..out.len();
    out.extend_from_slice(b" >>");
    (range_at, hole)
}

/// A text string: plain where it is ASCII, else UTF-16 with its mark.
fn text_bytes(text: &str) -> Vec<u8> {
    if text.is_ascii() {
        return text.as_bytes().to_vec();
    }
    let units = text.encode_utf16().flat_map(u16::to_be_bytes);
    [0xfe, 0xff].into_iter().chain(units).collect()
}
