//! Writes a message as it travels (RFC 5322, RFC 2045).

use publica_types::Timestamp;

use super::address::Mailbox;
use super::encode::{self, Charset};

/// Longest Subject on the wire (RFC 5322, 2.1.1).
pub(crate) const SUBJECT_MAX: usize = 998;

/// Everything that a message says.
#[derive(Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) from: &'a Mailbox,
    pub(crate) from_name: &'a str,
    pub(crate) organisation: &'a str,
    pub(crate) reply_to: Option<&'a Mailbox>,
    pub(crate) to: &'a [String],
    pub(crate) to_name: &'a str,
    pub(crate) cc: &'a [String],
    pub(crate) subject: &'a str,
    pub(crate) text: &'a str,
    pub(crate) html: &'a str,
    pub(crate) charset: Charset,
    /// Without angle brackets: also the boundary between the two renditions is made of it.
    pub(crate) message_id: &'a str,
    pub(crate) feedback_id: &'a str,
    /// The address at which a recipient takes themselves off the list; empty for none.
    pub(crate) unsubscribe: &'a str,
    pub(crate) date: Timestamp,
}

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ComposeError {
    #[error("the text has characters outside its charset")]
    Charset,
    #[error("the subject is empty, too long or has line breaks")]
    Subject,
}

/// The whole message, header and body, without the final dot.
pub(crate) fn compose(letter: &Letter<'_>) -> Result<Vec<u8>, ComposeError> {
    if letter.subject.trim().is_empty() || letter.subject.chars().any(char::is_control) {
        return Err(ComposeError::Subject);
    }
    let subject = encode::header_text(letter.subject, 9);
    if subject.len() > SUBJECT_MAX {
        return Err(ComposeError::Subject);
    }
    let (encoding, text) =
        encode::body(letter.charset, letter.text).ok_or(ComposeError::Charset)?;

    let mut out = Vec::with_capacity(768 + text.len() + letter.html.len() * 5 / 4);
    let mut header = |name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    header("From", &named(letter.from_name, letter.from.as_str()));
    header("To", &address_list(letter.to_name, letter.to));
    if !letter.cc.is_empty() {
        header("Cc", &address_list("", letter.cc));
    }
    if let Some(reply_to) = letter.reply_to {
        header("Reply-To", reply_to.as_str());
    }
    header("Subject", &subject);
    header("Date", &rfc5322(letter.date));
    header("Message-ID", &format!("<{}>", letter.message_id));
    if !letter.organisation.is_empty() {
        header(
            "Organization",
            &encode::header_text(letter.organisation, 14),
        );
    }
    if !letter.feedback_id.is_empty() {
        header("Feedback-ID", letter.feedback_id);
    }
    if !letter.unsubscribe.is_empty() {
        // RFC 2369 and RFC 8058: mail programs offer a button that posts to this address.
        header("List-Unsubscribe", &format!("<{}>", letter.unsubscribe));
        header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
    }
    header("Auto-Submitted", "auto-generated");
    header("MIME-Version", "1.0");

    if letter.html.is_empty() {
        part(&mut out, "plain", letter.charset, encoding, &text);
        return Ok(out);
    }
    let boundary = format!(
        "=_{}",
        letter.message_id.split('@').next().unwrap_or_default()
    );
    out.extend_from_slice(
        format!("Content-Type: multipart/alternative; boundary=\"{boundary}\"\r\n\r\n").as_bytes(),
    );
    let (html_encoding, html) =
        encode::body(letter.charset, letter.html).ok_or(ComposeError::Charset)?;
    for (kind, encoding, body) in [("plain", encoding, &text), ("html", html_encoding, &html)] {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        part(&mut out, kind, letter.charset, encoding, body);
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(out)
}

fn part(out: &mut Vec<u8>, kind: &str, charset: Charset, encoding: &str, body: &[u8]) {
    let head = format!(
        "Content-Type: text/{kind}; charset={}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n",
        charset.name()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

fn named(name: &str, address: &str) -> String {
    if name.is_empty() {
        return address.to_owned();
    }
    let phrase = encode::phrase(name);
    let last_line = phrase.rsplit('\n').next().map_or(0, str::len);
    let space = if last_line + address.len() > 70 {
        "\r\n "
    } else {
        " "
    };
    format!("{phrase}{space}<{address}>")
}

fn address_list(name: &str, addresses: &[String]) -> String {
    match addresses {
        [] => "undisclosed-recipients:;".to_owned(),
        [one] => named(name, one),
        many => many.join(",\r\n "),
    }
}

/// A time as mail headers write it.
pub(crate) fn rfc5322(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = at.micros().div_euclid(1_000_000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let pick = |names: &[&'static str], index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| names.get(index).copied())
            .unwrap_or_default()
    };
    format!(
        "{}, {day} {} {year} {:02}:{:02}:{:02} +0000",
        pick(&DAYS, days.rem_euclid(7)),
        pick(&MONTHS, month - 1),
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Year, month and day of a day counted from 1 January 1970.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(from: &'a Mailbox, to: &'a [String]) -> Letter<'a> {
        Letter {
            from,
            from_name: "Ministry of Health",
            organisation: "Ministry",
            reply_to: None,
            to,
            to_name: "Anna Zoë",
            cc: &[],
            subject: "Your appointment",
            text: "Come on Monday.",
            html: "",
            charset: Charset::UTF_8,
            message_id: "abc-0@gov.example",
            feedback_id: "",
            unsubscribe: "",
            date: Timestamp::from_micros(1_057_982_437_000_000),
        }
    }

    #[test]
    fn a_plain_message_is_complete() {
        let from = Mailbox::parse("noreply@gov.example").unwrap();
        let to = ["anna@home.example".to_owned()];
        let message = String::from_utf8(compose(&letter(&from, &to)).unwrap()).unwrap();
        assert_eq!(
            message,
            "From: Ministry of Health <noreply@gov.example>\r\n\
             To: =?UTF-8?B?QW5uYSBab8Or?= <anna@home.example>\r\n\
             Subject: Your appointment\r\n\
             Date: Sat, 12 Jul 2003 04:00:37 +0000\r\n\
             Message-ID: <abc-0@gov.example>\r\n\
             Organization: Ministry\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=UTF-8\r\n\
             Content-Transfer-Encoding: 7bit\r\n\r\n\
             Come on Monday.\r\n"
        );
    }

    #[test]
    fn a_way_out_stands_in_the_header() {
        let from = Mailbox::parse("noreply@gov.example").unwrap();
        let to = ["anna@home.example".to_owned()];
        let with = Letter {
            unsubscribe: "https://mail.gov.example/messaging/unsubscribe/abc",
            ..letter(&from, &to)
        };
        let message = String::from_utf8(compose(&with).unwrap()).unwrap();
        assert!(message.contains(
            "\r\nList-Unsubscribe: <https://mail.gov.example/messaging/unsubscribe/abc>\r\n\
             List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
        ));
    }

    #[test]
    fn html_comes_with_its_alternative() {
        let from = Mailbox::parse("noreply@gov.example").unwrap();
        let to = ["a@h.example".to_owned(), "b@h.example".to_owned()];
        let with = Letter {
            html: "<p>Montag — früh</p>",
            ..letter(&from, &to)
        };
        let message = compose(&with).unwrap();
        let parsed = mail_parser::MessageParser::default()
            .parse(&message)
            .unwrap();
        assert_eq!(parsed.body_text(0).unwrap().trim(), "Come on Monday.");
        assert_eq!(parsed.body_html(0).unwrap().trim(), "<p>Montag — früh</p>");
        assert_eq!(parsed.to().unwrap().iter().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let from = Mailbox::parse("noreply@gov.example").unwrap();
        let to = ["a@h.example".to_owned()];
        let long = "ж".repeat(600);
        for subject in ["", "  ", "a\r\nBcc: b@c.example", "a\0", long.as_str()] {
            let bad = Letter {
                subject,
                ..letter(&from, &to)
            };
            assert_eq!(compose(&bad), Err(ComposeError::Subject), "{subject:?}");
        }
        let charset = Charset::parse("us-ascii").unwrap();
        let bad = Letter {
            charset,
            text: "é",
            ..letter(&from, &to)
        };
        assert_eq!(compose(&bad), Err(ComposeError::Charset));
    }

    #[test]
    fn dates_are_right_at_the_edges() {
        for (micros, expected) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_399_000_000, "Mon, 28 Feb 2000 23:59:59 +0000"),
            (951_782_400_000_000, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (4_107_542_399_000_000, "Sun, 28 Feb 2100 23:59:59 +0000"),
        ] {
            assert_eq!(rfc5322(Timestamp::from_micros(micros)), expected);
        }
    }
}
