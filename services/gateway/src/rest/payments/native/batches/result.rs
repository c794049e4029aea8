//! The report of a batch as a file: its rows as CSV, its sums as a PDF that people read.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};
use publica_proto::payments::v1 as api;
use serde_json::Value;

use super::{client, problem};
use crate::convert::rfc3339;
use crate::problem::Problem;
use crate::respond;
use crate::rest::payments::{shape, timed};
use crate::state::{Entry, GatewayState};

const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
const PDF: HeaderValue = HeaderValue::from_static("application/pdf");
/// Rows of one page from the block; memory holds one.
const PAGE: i32 = 1_000;
const COLUMNS: [&str; 9] = [
    "ordinal",
    "instruction_id",
    "amount",
    "currency",
    "institution",
    "state",
    "iso_status",
    "reason_code",
    "end_to_end_id",
];
/// Points between lines, from the left edge, and from the lower edge to the first line.
const LEADING: f32 = 15.0;
const LEFT: f32 = 56.0;
const TOP: f32 = 780.0;
/// Lines on a page, and characters in one.
const LINES: usize = 48;
const WIDTH: usize = 90;
const CATALOG: i32 = 1;
const PAGES: i32 = 2;
const FONT: i32 = 3;
const BOLD: i32 = 4;
const INFO: i32 = 5;
/// The first of the pages; each takes two numbers.
const FIRST: i32 = 6;

/// What became of each row, page by page.
pub(super) async fn csv(
    state: GatewayState,
    entry: Entry,
    batch_id: String,
) -> Result<Response, Problem> {
    // The first page comes before the answer does, so that a refusal is still one.
    let first = rows(&state, &entry, &batch_id, String::new()).await;
    let (text, next) = first.map_err(problem)?;
    let head = format!("{}\r\n{text}", COLUMNS.join(","));
    let rest = futures::stream::try_unfold(next, move |token| {
        let (state, entry, batch_id) = (state.clone(), entry.clone(), batch_id.clone());
        async move {
            if token.is_empty() {
                return Ok(None);
            }
            let page = rows(&state, &entry, &batch_id, token).await;
            let page = page.map_err(|_| std::io::Error::other("the block did not go on"))?;
            Ok::<_, std::io::Error>(Some((Bytes::from(page.0), page.1)))
        }
    });
    let head = futures::stream::once(async move { Ok(Bytes::from(head)) });
    let body = Body::from_stream(futures::StreamExt::chain(head, rest));
    Ok(respond::bytes_answer(StatusCode::OK, CSV, body))
}

/// A page of rows as text, and the token of the next.
async fn rows(
    state: &GatewayState,
    entry: &Entry,
    batch_id: &str,
    page_token: String,
) -> Result<(String, String), tonic::Status> {
    let message = api::ListInstructionsRequest {
        batch_id: batch_id.to_owned(),
        page_size: PAGE,
        page_token,
        exceptions_only: false,
    };
    let call = timed(entry.request(message));
    let page = client(state).list_instructions(call).await?.into_inner();
    let mut text = String::new();
    for row in &page.instructions {
        let row = shape::instruction(row);
        let fields: Vec<String> = COLUMNS.iter().map(|name| field(&row[*name])).collect();
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    Ok((text, page.next_page_token))
}

/// A field as RFC 4180 has it.
fn field(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// The sums on paper.
pub(super) fn pdf(report: &api::GetBatchReportResponse) -> Response {
    let lines = lines(report);
    respond::bytes_answer(StatusCode::OK, PDF, drawn(&lines))
}

/// A line, and whether it is a heading.
type Line = (String, bool);

fn lines(report: &api::GetBatchReportResponse) -> Vec<Line> {
    let batch = report.batch.clone().unwrap_or_default();
    let currency = batch.currency.as_str();
    let plain = |text: String| (text, false);
    let time = |time: Option<&prost_types::Timestamp>| rfc3339(time).unwrap_or_default();
    let sum = |label: &str, tally: Option<&api::Tally>| {
        let tally = tally.copied().unwrap_or_default();
        let amount = shape::decimal(tally.amount_minor, currency);
        plain(format!(
            "{label}: {} payments, {amount} {currency}",
            tally.item_count
        ))
    };
    let mut lines = vec![
        ("Report of a batch".to_owned(), true),
        plain(format!("Batch: {}", batch.batch_id)),
        plain(format!(
            "Source block: {}, its number: {}",
            batch.source_id, batch.source_batch
        )),
        plain(format!("Programme: {}", batch.programme_id)),
        plain(format!("State: {}", shape::batch_state(batch.state()))),
        plain(format!("Announced: {}", time(batch.create_time.as_ref()))),
        plain(format!("State since: {}", time(batch.update_time.as_ref()))),
        plain(format!("Digest: {}", batch.digest)),
        plain(String::new()),
        ("Sums".to_owned(), true),
        sum("Accepted", batch.accepted.as_ref()),
        sum("Settled", report.settled.as_ref()),
        sum("Replaced by vouchers", report.replaced.as_ref()),
        sum("Vouchers", report.vouchers.as_ref()),
        sum("Rejected", report.rejected.as_ref()),
        sum("Unknown", report.unknown.as_ref()),
        sum("Open", report.open.as_ref()),
        sum("Unresolved", batch.unresolved.as_ref()),
        plain(format!("Refused at intake: {}", batch.refused_count)),
        plain(format!(
            "Agrees with the rail's statement: {}",
            yes(report.reconciled)
        )),
        plain(format!("Ledger balanced: {}", yes(report.ledger_balanced))),
        plain(String::new()),
        ("Institutions".to_owned(), true),
    ];
    for row in &report.institutions {
        lines.push(plain(row.institution.clone()));
        lines.push(sum("    Settled", row.settled.as_ref()));
        lines.push(sum("    Rejected", row.rejected.as_ref()));
        lines.push(sum("    Unknown", row.unknown.as_ref()));
    }
    lines.push(plain(String::new()));
    lines.push(("Reasons".to_owned(), true));
    for row in &report.reasons {
        lines.push(plain(format!("{}: {}", row.reason_code, row.item_count)));
    }
    lines
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

fn drawn(lines: &[Line]) -> Vec<u8> {
    let pages: Vec<&[Line]> = lines.chunks(LINES).collect();
    let mut pdf = Pdf::new();
    let mut catalog = pdf.catalog(Ref::new(CATALOG));
    catalog.pages(Ref::new(PAGES));
    catalog.lang(TextStr("en"));
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
        pdf.stream(content, &page_of(lines));
    }
    for (font, name) in [(FONT, &b"Helvetica"[..]), (BOLD, b"Helvetica-Bold")] {
        pdf.type1_font(Ref::new(font))
            .base_font(Name(name))
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    let mut info = pdf.document_info(Ref::new(INFO));
    info.title(TextStr("Report of a batch"));
    info.producer(TextStr("Publica"));
    info.finish();
    pdf.finish()
}

/// A page's content. The standard fonts reach Western European letters only, so each line
/// carries its true text beside the drawn one.
fn page_of(lines: &[Line]) -> Vec<u8> {
    let mut content = Content::new();
    let mut height = TOP;
    for (text, heading) in lines {
        let text: String = text.chars().take(WIDTH).collect();
        if !text.is_empty() {
            let mut marked = content.begin_marked_content_with_properties(Name(b"Span"));
            marked.properties().actual_text(TextStr(&text));
            marked.finish();
            content.begin_text();
            let font = if *heading { Name(b"F2") } else { Name(b"F1") };
            content.set_font(font, 10.5);
            content.next_line(LEFT, height);
            content.show(Str(&latin(&text)));
            content.end_text();
            content.end_marked_content();
        }
        height -= LEADING;
    }
    content.finish().to_vec()
}

/// Letters of Latin-1 as they are drawn; others as a question mark.
fn latin(text: &str) -> Vec<u8> {
    let drawn = |c: char| match u32::from(c) {
        code @ (0x20..=0x7e | 0xa0..=0xff) => u8::try_from(code).unwrap_or(b'?'),
        _ => b'?',
    };
    text.chars().map(drawn).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        for (value, expected) in [
            (Value::Null, ""),
            (json!(7), "7"),
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("a\"b"), "\"a\"\"b\""),
        ] {
            assert_eq!(field(&value), expected);
        }
    }

    #[test]
    fn long_reports_take_several_pages() {
        let institution = api::InstitutionReport {
            institution: "BANK\u{e9}\u{623}".to_owned(),
            ..Default::default()
        };
        let report = api::GetBatchReportResponse {
            institutions: vec![institution; 20],
            ..Default::default()
        };
        let bytes = drawn(&lines(&report));
        assert!(bytes.starts_with(b"%PDF-"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("/Count 3"), "pages");
        assert_eq!(latin("a\u{e9}\u{623}"), [b'a', 0xe9, b'?']);
    }
}
