//! The signatures of a document.

use std::ops::Range;

use crate::domain::pdf::PdfError;
use crate::domain::pdf::file::Pdf;
use crate::domain::pdf::object::{Dict, Object};
use crate::domain::pdf::revision;

/// The most fields that are looked at, or wait to be.
const MAX_FIELDS: usize = 10_000;
/// The longest name of a field, in bytes: each level adds to it.
const MAX_NAME: usize = 1_000;

/// A signature as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) field: String,
    pub(crate) sub_filter: String,
    /// The decoded contents, with the zeros at their end.
    pub(crate) contents: Vec<u8>,
    /// Where the contents are, brackets included; `None` if the byte range is not sound.
    pub(crate) hole: Option<Range<usize>>,
    /// Where the signed bytes end.
    pub(crate) end: usize,
    /// Whether it forbids changes of fields.
    pub(crate) locks_fields: bool,
}

/// What became of a document after a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// Everything is signed.
    WholeFile,
    /// Later revisions only added signatures or validation data.
    Extended,
    /// Later revisions changed something else.
    Changed,
}

/// Every signature in the document's form, the earliest first.
pub(crate) fn find(pdf: &Pdf<'_>) -> Result<Vec<Found>, PdfError> {
    let (_, root) = pdf.root()?;
    let form = pdf.member(&root, "AcroForm")?;
    let Some(form) = form.dict() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let fields = pdf.member(form, "Fields")?;
    let mut waiting: Vec<(Object, String, bool)> = Vec::new();
    for field in at_most(fields.array().unwrap_or_default(), MAX_FIELDS)? {
        waiting.push((field.clone(), String::new(), false));
    }
    let mut looked_at = 0;
    while let Some((field, parent, parent_signs)) = waiting.pop() {
        looked_at += 1;
        if looked_at > MAX_FIELDS {
            return Err(PdfError::Unreadable);
        }
        let field = pdf.resolve(&field)?;
        let Some(field) = field.dict() else { continue };
        let name = full_name(&parent, field);
        if name.len() > MAX_NAME {
            return Err(PdfError::Unreadable);
        }
        let signs = field
            .get("FT")
            .map_or(parent_signs, |_| field.is_name("FT", "Sig"));
        let left = MAX_FIELDS.saturating_sub(looked_at + waiting.len());
        let kids = pdf.member(field, "Kids")?;
        for kid in at_most(kids.array().unwrap_or_default(), left)? {
            waiting.push((kid.clone(), name.clone(), signs));
        }
        if signs && let Some(value) = pdf.member(field, "V")?.dict() {
            found.push(read(pdf, name, value)?);
        }
    }
    found.sort_by_key(|one| one.end);
    Ok(found)
}

fn at_most(items: &[Object], most: usize) -> Result<&[Object], PdfError> {
    match items.len() <= most {
        true => Ok(items),
        false => Err(PdfError::Unreadable),
    }
}

fn full_name(parent: &str, field: &Dict) -> String {
    let own = match field.get("T") {
        Some(Object::Text(text)) => String::from_utf8_lossy(text).into_owned(),
        _ => return parent.to_owned(),
    };
    if parent.is_empty() {
        own
    } else {
        format!("{parent}.{own}")
    }
}

fn read(pdf: &Pdf<'_>, field: String, value: &Dict) -> Result<Found, PdfError> {
    let sub_filter = match value.get("SubFilter") {
        Some(Object::Name(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    };
    let contents = match pdf.member(value, "Contents")? {
        Object::Text(bytes) => bytes,
        _ => Vec::new(),
    };
    let range = pdf.member(value, "ByteRange")?;
    let numbers: Option<Vec<usize>> = range.array().and_then(|items| {
        items
            .iter()
            .map(|item| usize::try_from(item.integer()?).ok())
            .collect()
    });
    let (hole, end) = match numbers.as_deref() {
        Some(&[0, start, after, length]) => {
            let end = after.saturating_add(length);
            (sound_hole(pdf, start..after, end, &contents), end)
        }
        _ => (None, 0),
    };
    let mut locks_fields = false;
    for reference in pdf.member(value, "Reference")?.array().unwrap_or_default() {
        let reference = pdf.resolve(reference)?;
        let kind = reference
            .dict()
            .map(|dict| dict.is_name("TransformMethod", "FieldMDP"));
        locks_fields |= kind == Some(true);
    }
    Ok(Found {
        field,
        sub_filter,
        contents,
        hole,
        end,
        locks_fields,
    })
}

/// The gap of a byte range, if it holds these contents and nothing else, and if a revision of
/// the document ends where the range ends.
fn sound_hole(
    pdf: &Pdf<'_>,
    hole: Range<usize>,
    end: usize,
    contents: &[u8],
) -> Option<Range<usize>> {
    let gap = pdf.bytes.get(hole.clone())?;
    let digits = gap.strip_prefix(b"<")?.strip_suffix(b">")?;
    // The length first: the gap may be anywhere, and as long as the document.
    let same = digits.len() == contents.len() * 2 && hex::decode(digits).ok()? == contents;
    let covered = pdf.bytes.get(..end)?;
    let ended = covered.trim_ascii_end().ends_with(b"%%EOF");
    (same && ended && hole.end <= end).then_some(hole)
}

impl Found {
    /// What became of the document after this signature.
    pub(crate) fn coverage(&self, pdf: &Pdf<'_>) -> Coverage {
        if self.end >= pdf.bytes.len() {
            return Coverage::WholeFile;
        }
        let old = pdf
            .bytes
            .get(..self.end)
            .and_then(|bytes| Pdf::open(bytes).ok());
        match old {
            Some(old) if revision::only_extended(&old, pdf) => Coverage::Extended,
            _ => Coverage::Changed,
        }
    }
}
