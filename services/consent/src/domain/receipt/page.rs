//! A receipt on paper: a PDF that people read, with the receipt for machines inside.
//!
//! The standard fonts of a page reach Western European letters only. Each line therefore carries
//! its true text beside the drawn one, which is what readers search, copy and speak.

use pdf_writer::types::AssociationKind;
use pdf_writer::{Content, Date, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use publica_types::Timestamp;
use serde_json::Value;

/// Points between lines, from the left edge, and from the lower edge to the first line.
const LEADING: f32 = 15.0;
const LEFT: f32 = 56.0;
const TOP: f32 = 780.0;
/// Lines on a page, down to a margin like that of the sides.
const LINES: usize = 48;
/// Characters in a line.
const WIDTH: usize = 88;
/// Where values begin, in characters.
const INDENT: usize = 4;

const CATALOG: i32 = 1;
const PAGES: i32 = 2;
const FONT: i32 = 3;
const BOLD: i32 = 4;
const INFO: i32 = 5;
const FILE: i32 = 6;
const SPEC: i32 = 7;
/// The first of the pages; each takes two numbers.
const FIRST: i32 = 8;

/// A line of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    bold: bool,
}

/// What is put on paper.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paper<'a> {
    /// The receipt in the structure of ISO/IEC TS 27560.
    pub(crate) receipt: &'a Value,
    /// The same, signed by the service.
    pub(crate) signed: &'a str,
    /// Language of the texts.
    pub(crate) language: &'a str,
    /// When it was made.
    pub(crate) made: Timestamp,
}

/// The PDF.
pub(crate) fn pdf(paper: Paper<'_>) -> Vec<u8> {
    let lines = lines(paper.receipt);
    let pages: Vec<&[Line]> = lines.chunks(LINES).collect();
    let mut pdf = Pdf::new();
    let mut catalog = pdf.catalog(Ref::new(CATALOG));
    catalog.pages(Ref::new(PAGES));
    catalog.lang(TextStr(paper.language));
    catalog
        .names()
        .embedded_files()
        .names()
        .insert(Str(b"receipt.jws"), Ref::new(SPEC));
    catalog.insert(Name(b"AF")).array().item(Ref::new(SPEC));
    catalog.finish();
    let place = |n: usize| i32::try_from(n).unwrap_or(i32::MAX / 4) * 2 + FIRST;
    let kids = (0..pages.len()).map(|n| Ref::new(place(n)));
    let count = i32::try_from(pages.len()).unwrap_or(i32::MAX);
    pdf.pages(Ref::new(PAGES)).kids(kids).count(count);
    for (n, lines) in pages.iter().enumerate() {
        let (own, content) = (Ref::new(place(n)), Ref::new(place(n) + 1));
        let mut page = pdf.page(own);
        page.media_box(Rect::new(0.0, 0.0, 595.0, 842.0));
        page.parent(Ref::new(PAGES));
        page.contents(content);
        let mut resources = page.resources();
        let mut fonts = resources.fonts();
        fonts.pair(Name(b"F1"), Ref::new(FONT));
        fonts.pair(Name(b"F2"), Ref::new(BOLD));
        fonts.finish();
        resources.finish();
        page.finish();
        pdf.stream(content, &drawn(lines));
    }
    for (font, name) in [(FONT, &b"Helvetica"[..]), (BOLD, b"Helvetica-Bold")] {
        pdf.type1_font(Ref::new(font))
            .base_font(Name(name))
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    finish(pdf, paper)
}

/// Adds the receipt for machines and the properties.
fn finish(mut pdf: Pdf, paper: Paper<'_>) -> Vec<u8> {
    let mut file = pdf.embedded_file(Ref::new(FILE), paper.signed.as_bytes());
    file.subtype(Name(b"application/jose"));
    file.finish();
    let mut spec = pdf.file_spec(Ref::new(SPEC));
    spec.path(Str(b"receipt.jws"));
    spec.unic_file(TextStr("receipt.jws"));
    spec.description(TextStr("The receipt as signed by the service"));
    spec.association_kind(AssociationKind::Data);
    spec.embedded_file(Ref::new(FILE));
    spec.finish();
    let mut info = pdf.document_info(Ref::new(INFO));
    info.title(TextStr("Consent receipt"));
    info.producer(TextStr("Publica"));
    if let Some(date) = date(paper.made) {
        info.creation_date(date);
    }
    info.finish();
    pdf.finish()
}

fn date(time: Timestamp) -> Option<Date> {
    let text = time.to_string();
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
    let small = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    Some(
        Date::new(number(0, 4)?)
            .month(small(5, 7)?)
            .day(small(8, 10)?)
            .hour(small(11, 13)?)
            .minute(small(14, 16)?)
            .second(small(17, 19)?)
            .utc_offset_hour(0)
            .utc_offset_minute(0),
    )
}

/// The page's content.
fn drawn(lines: &[Line]) -> Vec<u8> {
    let mut content = Content::new();
    let mut height = TOP;
    for line in lines {
        if !line.text.is_empty() {
            let mut marked = content.begin_marked_content_with_properties(Name(b"Span"));
            marked.properties().actual_text(TextStr(&line.text));
            marked.finish();
            content.begin_text();
            let font = if line.bold { Name(b"F2") } else { Name(b"F1") };
            content.set_font(font, 10.5);
            content.next_line(LEFT, height);
            content.show(Str(&latin(&line.text)));
            content.end_text();
            content.end_marked_content();
        }
        height -= LEADING;
    }
    content.finish().to_vec()
}

/// The receipt as lines: a heading a section, a line a member, values folded below.
fn lines(receipt: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    push(&mut lines, 0, "Consent receipt", true);
    if let Value::Object(sections) = receipt {
        for name in ["header", "processing", "event"] {
            let Some(section) = sections.get(name) else {
                continue;
            };
            push(&mut lines, 0, "", false);
            push(&mut lines, 0, &spaced(name), true);
            members(&mut lines, section, 1);
        }
    }
    lines
}

fn members(lines: &mut Vec<Line>, value: &Value, depth: usize) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                member(lines, &spaced(name), value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                members(lines, item, depth);
            }
        }
        plain => push(lines, depth, &text(plain), false),
    }
}

fn member(lines: &mut Vec<Line>, name: &str, value: &Value, depth: usize) {
    match value {
        Value::Object(_) => {
            push(lines, depth, name, true);
            members(lines, value, depth + 1);
        }
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            let all: Vec<String> = items.iter().map(text).collect();
            push(lines, depth, &format!("{name}: {}", all.join(", ")), false);
        }
        Value::Array(items) => {
            for item in items {
                push(lines, depth, name, true);
                members(lines, item, depth + 1);
            }
        }
        plain => push(lines, depth, &format!("{name}: {}", text(plain)), false),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// `retentionPeriod` as `Retention period`.
fn spaced(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (n, c) in name.chars().enumerate() {
        if n == 0 {
            out.extend(c.to_uppercase());
        } else if c.is_uppercase() {
            out.push(' ');
            out.extend(c.to_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

/// Adds a text, folded into lines.
fn push(lines: &mut Vec<Line>, depth: usize, text: &str, bold: bool) {
    let indent = " ".repeat(depth * INDENT);
    let width = WIDTH.saturating_sub(indent.len()).max(20);
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        loop {
            let room = width.saturating_sub(line.chars().count() + usize::from(!line.is_empty()));
            if rest.chars().count() <= room {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(rest);
                break;
            }
            if line.is_empty() {
                // Longer than a line: hashes and addresses are cut.
                let cut = rest
                    .char_indices()
                    .nth(width)
                    .map_or(rest.len(), |(at, _)| at);
                let (head, tail) = rest.split_at(cut);
                line.push_str(head);
                rest = tail;
            }
            let text = format!("{indent}{line}");
            lines.push(Line { text, bold });
            line.clear();
            if rest.is_empty() {
                break;
            }
        }
    }
    if !line.is_empty() || text.is_empty() {
        let text = if line.is_empty() {
            line
        } else {
            format!("{indent}{line}")
        };
        lines.push(Line { text, bold });
    }
}

/// Text in the encoding of the fonts; what it cannot draw becomes a question mark.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| match c {
            '\u{2018}' => 0x91,
            '\u{2019}' => 0x92,
            '\u{201c}' => 0x93,
            '\u{201d}' => 0x94,
            '\u{2013}' => 0x96,
            '\u{2014}' => 0x97,
            '\u{20ac}' => 0x80,
            ' '..='~' | '\u{a0}'..='\u{ff}' => u8::try_from(c).unwrap_or(b'?'),
            _ => b'?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paper(receipt: &Value) -> Vec<u8> {
        pdf(Paper {
            receipt,
            signed: "a.b.c",
            language: "en",
            made: Timestamp::from_seconds(1_700_000_000),
        })
    }

    fn has(bytes: &[u8], text: &[u8]) -> bool {
        bytes.windows(text.len()).any(|window| window == text)
    }

    #[test]
    fn a_receipt_on_paper_tells_everything() {
        let receipt = json!({
            "header": {"recordId": "r1"},
            "processing": {"purpose": "Pay a grant", "piiInformation": [{"name": "income"}],
                "storageLocations": ["NL", "BE"]},
            "event": {"eventState": "given"},
        });
        let found = lines(&receipt);
        let texts: Vec<&str> = found.iter().map(|line| line.text.as_str()).collect();
        assert!(texts.contains(&"    Record id: r1"), "{texts:?}");
        assert!(texts.contains(&"        Name: income"));
        assert!(texts.contains(&"    Storage locations: NL, BE"));
        let bytes = paper(&receipt);
        assert!(bytes.starts_with(b"%PDF-1."));
        assert!(has(&bytes, b"Pay a grant"));
        assert!(has(&bytes, b"a.b.c"), "the signed receipt is inside");
    }

    #[test]
    fn other_scripts_keep_their_text() {
        let receipt =
            json!({"processing": {"purpose": "\u{41f}\u{43e}\u{43c}\u{43e}\u{449}\u{44c}"}});
        let bytes = paper(&receipt);
        // The true text stands beside the line, as UTF-16.
        let utf16: Vec<u8> = "\u{41f}\u{43e}"
            .encode_utf16()
            .flat_map(u16::to_be_bytes)
            .collect();
        let hex: String = utf16.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(has(&bytes, &utf16) || has(&bytes, hex.as_bytes()));
    }

    #[test]
    fn long_texts_are_folded_and_run_over_pages() {
        let long = vec!["word"; 4_000].join(" ");
        let hash = "a".repeat(300);
        let receipt = json!({"processing": {"purpose": long, "hash": hash}});
        let found = lines(&receipt);
        assert!(found.len() > 200);
        assert!(found.iter().all(|line| line.text.chars().count() <= WIDTH));
        let bytes = paper(&receipt);
        let pages = found.len().div_ceil(LINES);
        assert!(has(&bytes, format!("/Count {pages}").as_bytes()));
    }
}
