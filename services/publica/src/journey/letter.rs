//! The decision letter: one page, in text that any reader can search. The addressee's name stands
//! in the document's properties, where every script is at home; the standard fonts of a page
//! reach Latin only, so the page itself names the household by its number.

use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

/// What a letter says.
#[derive(Debug, Clone)]
pub(crate) struct Letter<'a> {
    pub(crate) household_id: &'a str,
    pub(crate) addressee: &'a str,
    pub(crate) file_id: &'a str,
    pub(crate) approved: bool,
    /// The monthly payment as decimal text with its currency.
    pub(crate) amount: &'a str,
    pub(crate) reason: &'a str,
    /// `YYYY-MM-DD`.
    pub(crate) date: &'a str,
    pub(crate) language: &'a str,
}

const CATALOG: i32 = 1;
const PAGES: i32 = 2;
const PAGE: i32 = 3;
const FONT: i32 = 4;
const CONTENT: i32 = 5;
const INFO: i32 = 6;

/// Points between lines, and characters a line.
const LEADING: f32 = 16.0;
const WIDTH: usize = 78;

impl Letter<'_> {
    /// The letter as a PDF of one page.
    pub(crate) fn pdf(&self) -> Vec<u8> {
        let mut pdf = Pdf::new();
        let mut catalog = pdf.catalog(Ref::new(CATALOG));
        catalog.pages(Ref::new(PAGES));
        catalog.lang(TextStr(self.language));
        catalog.finish();
        pdf.pages(Ref::new(PAGES)).kids([Ref::new(PAGE)]).count(1);
        let mut page = pdf.page(Ref::new(PAGE));
        page.media_box(Rect::new(0.0, 0.0, 595.0, 842.0));
        page.parent(Ref::new(PAGES));
        page.contents(Ref::new(CONTENT));
        page.resources().fonts().pair(Name(b"F1"), Ref::new(FONT));
        page.finish();
        pdf.type1_font(Ref::new(FONT)).base_font(Name(b"Helvetica"));
        let title = format!(
            "Decision on application {} for {}",
            self.file_id, self.addressee
        );
        pdf.document_info(Ref::new(INFO))
            .title(TextStr(&title))
            .producer(TextStr("Publica"));
        pdf.stream(Ref::new(CONTENT), &self.content());
        pdf.finish()
    }

    fn content(&self) -> Vec<u8> {
        let mut content = Content::new();
        content.begin_text();
        content.set_font(Name(b"F1"), 16.0);
        content.next_line(72.0, 760.0);
        content.show(Str(b"Household support programme"));
        content.set_font(Name(b"F1"), 11.0);
        content.next_line(0.0, -2.0 * LEADING);
        for line in self.lines() {
            content.show(Str(&latin(&line)));
            content.next_line(0.0, -LEADING);
        }
        content.end_text();
        content.finish().to_vec()
    }

    fn lines(&self) -> Vec<String> {
        let decision = if self.approved {
            format!(
                "Your application is approved. The household receives {} each month.",
                self.amount
            )
        } else {
            "Your application is refused.".to_owned()
        };
        let mut lines = vec![
            format!("Date: {}", self.date),
            format!("Household: {}", self.household_id),
            format!("Application: {}", self.file_id),
            String::new(),
        ];
        for paragraph in [
            decision.as_str(),
            self.reason,
            "This letter carries an electronic signature and a time-stamp. Any reader of signed \
             PDF files can check that it has not been changed.",
            "You may ask for a review within 30 days of the date above.",
        ] {
            if !paragraph.is_empty() {
                fold(paragraph, &mut lines);
                lines.push(String::new());
            }
        }
        lines
    }
}

/// Folds a paragraph into lines.
fn fold(paragraph: &str, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
}

/// Text in the standard encoding of the font; what it cannot show becomes a question mark.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| {
            u8::try_from(c)
                .ok()
                .filter(|byte| (32..127).contains(byte))
                .unwrap_or(b'?')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_pdf_with_its_facts() {
        let letter = Letter {
            household_id: "H00007",
            addressee: "秀英 张",
            file_id: "0192",
            approved: true,
            amount: "75.00 USD",
            reason: "Income is below the line for five members.",
            date: "2026-01-31",
            language: "zh",
        };
        let pdf = letter.pdf();
        assert!(pdf.starts_with(b"%PDF-1."));
        let has = |text: &[u8]| pdf.windows(text.len()).any(|part| part == text);
        assert!(has(b"75.00 USD"));
        assert!(has(b"Household: H00007"));
        // The name is there in UTF-16, whose first character is U+79C0.
        assert!(has(b"\xfe\xff") || has(b"FEFF") || has(b"feff"));
        assert!(pdf.trim_ascii_end().ends_with(b"%%EOF"));
    }
}
