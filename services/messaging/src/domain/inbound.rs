//! What comes back: delivery reports (RFC 3464), complaints (RFC 5965) and answers.

use publica_types::Uuid;

use super::mime::{self, Fields, Part};
use super::reply::{Reply, number};

/// Digits of the check in a return path.
pub(crate) const CHECK_LEN: usize = 16;
/// Recipients of whom one report or complaint tells; a return path belongs to a single one.
const TOLD_MAX: usize = 100;

/// A return path of ours, not verified yet: `b+<root>-<pos>-<check>@<domain>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReturnPath {
    pub(crate) root: Uuid,
    pub(crate) pos: i64,
    /// What the check was made of.
    pub(crate) message_id: String,
    pub(crate) check: String,
}

impl ReturnPath {
    pub(crate) fn parse(recipient: &str) -> Option<Self> {
        let local = recipient
            .trim()
            .trim_matches(['<', '>'])
            .split('@')
            .next()?;
        let token = local.strip_prefix("b+")?.to_ascii_lowercase();
        let (message_id, check) = token.rsplit_once('-')?;
        let (root, pos) = message_id.split_once('-')?;
        if check.len() != CHECK_LEN || root.len() != 32 {
            return None;
        }
        Some(Self {
            root: Uuid::try_parse(root).ok()?,
            pos: number(pos)?,
            message_id: message_id.to_owned(),
            check: check.to_owned(),
        })
    }
}

/// What a mail is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// What became of some recipients.
    Report(Vec<Fate>),
    /// Recipients who want no such mail, as far as the complaint names them.
    Complaint(Vec<String>),
    /// Out of office and the like.
    Automatic,
    /// Anything else is an answer.
    Reply,
}

/// What a report says of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) action: Action,
    pub(crate) status: Option<(u8, u16, u16)>,
    pub(crate) recipient: String,
}

/// The actions that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Failed,
    Delayed,
    Delivered,
    /// Relayed or expanded: it left the world of reports.
    Passed,
}

impl Fate {
    /// The report as if the server had said so at once.
    pub(crate) fn reply(&self) -> Reply {
        let class = match self.action {
            Action::Failed => 5,
            Action::Delayed => 4,
            Action::Delivered | Action::Passed => 2,
        };
        Reply {
            code: class * 100 + 50,
            status: self.status,
        }
    }
}

/// Reads a mail; `None` when it is no mail at all.
pub(crate) fn read(bytes: &[u8]) -> Option<Inbound> {
    let parts = mime::parts(bytes);
    let mail = parts.first()?;
    let text = |media_type| {
        parts
            .iter()
            .find(|part| part.is(media_type))
            .map(Part::text)
    };
    if let Some(status) = text("message/delivery-status") {
        return Some(Inbound::Report(fates(&status)));
    }
    if let Some(report) = text("message/feedback-report") {
        return Some(Inbound::Complaint(complainants(&report)));
    }
    let automatic = mail
        .field("auto-submitted")
        .is_some_and(|value| !value.to_ascii_lowercase().starts_with("no"));
    Some(if automatic {
        Inbound::Automatic
    } else {
        Inbound::Reply
    })
}

/// The groups of fields of a report, each with its names in lower case.
fn groups(text: &str) -> Vec<Fields> {
    let mut groups = Vec::new();
    let mut group = Fields::new();
    for line in text.lines() {
        if !line.trim().is_empty() {
            mime::take_field(&mut group, line);
        } else if !group.is_empty() {
            groups.push(std::mem::take(&mut group));
        }
    }
    groups.push(group);
    groups
}

fn field<'f>(group: &'f [(String, String)], name: &str) -> Option<&'f str> {
    group
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
}

fn fates(text: &str) -> Vec<Fate> {
    groups(text)
        .iter()
        .filter_map(|group| {
            let action = match field(group, "action")?.to_ascii_lowercase().as_str() {
                "failed" => Action::Failed,
                "delayed" => Action::Delayed,
                "delivered" => Action::Delivered,
                "relayed" | "expanded" => Action::Passed,
                _ => return None,
            };
            let recipient = field(group, "original-recipient")
                .or_else(|| field(group, "final-recipient"))
                .unwrap_or_default();
            Some(Fate {
                action,
                status: field(group, "status").and_then(status),
                recipient: address(recipient),
            })
        })
        .take(TOLD_MAX)
        .collect()
}

fn complainants(text: &str) -> Vec<String> {
    let named = |(name, _): &&(String, String)| {
        matches!(name.as_str(), "original-rcpt-to" | "removal-recipient")
    };
    groups(text)
        .iter()
        .flatten()
        .filter(named)
        .map(|(_, value)| address(value))
        .take(TOLD_MAX)
        .collect()
}

/// `rfc822; a@b`, `<a@b>` or `a@b`.
fn address(value: &str) -> String {
    let value = value.rsplit(';').next().unwrap_or_default().trim();
    value.trim_matches(['<', '>']).to_owned()
}

fn status(value: &str) -> Option<(u8, u16, u16)> {
    let word = value.split_whitespace().next()?;
    let mut parts = word.split('.');
    let found = (
        number(parts.next()?)?,
        number(parts.next()?)?,
        number(parts.next()?)?,
    );
    matches!(found.0, 2 | 4 | 5).then_some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPORT: &str = "From: MAILER-DAEMON@mx.example\r\n\
        To: b+x@bounce.example\r\n\
        Subject: Undelivered\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=\"b1\"\r\n\r\n\
        --b1\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\
        --b1\r\nContent-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; mx.example\r\n\
        Original-Envelope-Id: abc\r\n\r\n\
        Final-Recipient: rfc822; Anna@Home.example\r\n\
        Action: failed\r\n\
        Status: 5.1.1 (no such user)\r\n\
        Diagnostic-Code: smtp; 550 5.1.1\r\n no such user\r\n\r\n\
        Final-Recipient: rfc822; ben@home.example\r\n\
        Action: Delayed\r\n\
        Status: 4.4.1\r\n\
        --b1--\r\n";

    #[test]
    fn delivery_reports_are_read() {
        let Some(Inbound::Report(fates)) = read(REPORT.as_bytes()) else {
            panic!("no report")
        };
        assert_eq!(fates.len(), 2);
        assert_eq!(fates[0].action, Action::Failed);
        assert_eq!(fates[0].recipient, "Anna@Home.example");
        assert!(fates[0].reply().is_hard_bounce());
        assert_eq!(
            (fates[1].action, fates[1].status),
            (Action::Delayed, Some((4, 4, 1)))
        );
    }

    #[test]
    fn complaints_automatic_and_human_answers_differ() {
        let complaint = "MIME-Version: 1.0\r\n\
            Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
            --b\r\nContent-Type: message/feedback-report\r\n\r\n\
            Feedback-Type: abuse\r\nOriginal-Rcpt-To: <anna@home.example>\r\n--b--\r\n";
        assert_eq!(
            read(complaint.as_bytes()),
            Some(Inbound::Complaint(vec!["anna@home.example".to_owned()]))
        );
        let away = b"Auto-Submitted: auto-replied\r\nSubject: Away\r\n\r\nI am away.\r\n";
        assert_eq!(read(away), Some(Inbound::Automatic));
        assert_eq!(
            read(b"Subject: Re: Hello\r\n\r\nYes.\r\n"),
            Some(Inbound::Reply)
        );
    }

    #[test]
    fn return_paths_are_taken_apart() {
        let root = "018f4e3c5f0070008000000000000001";
        let found =
            ReturnPath::parse(&format!("<b+{root}-42-0123456789abcdef@bounce.example>")).unwrap();
        assert_eq!(
            (found.pos, found.message_id.as_str()),
            (42, format!("{root}-42").as_str())
        );
        for other in [
            "anna@home.example",
            "b+short-1-0123456789abcdef@x",
            &format!("b+{root}-x-0123456789abcdef@x"),
            &format!("b+{root}-1-01@x"),
            &format!("b+{root}-+5-0123456789abcdef@x"),
            &format!("b+{root}--5-0123456789abcdef@x"),
        ] {
            assert_eq!(ReturnPath::parse(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_have_no_sign_and_reports_an_end() {
        assert_eq!(status("5.1.1 (gone)"), Some((5, 1, 1)));
        for other in ["+5.1.1", "5.+1.1", "5..1", "3.1.1", "5.1.65536", "-5.1.1"] {
            assert_eq!(status(other), None, "{other}");
        }
        let text = "Action: failed\nFinal-Recipient: a@b\n\n".repeat(5_000);
        assert_eq!(fates(&text).len(), TOLD_MAX);
        let text = "Original-Rcpt-To: a@b\n".repeat(5_000);
        assert_eq!(complainants(&text).len(), TOLD_MAX);
    }

    const PIECES: &[&str] = &[
        "\r\n",
        "\n",
        "\r",
        "--b1",
        "--b1--",
        "=",
        "=?utf-8?q?",
        "=?utf-8?B?",
        "?=",
        "\"",
        ";",
        "<",
        ">",
        "(",
        ")",
        "\\",
        ": ",
        "Content-Type: multipart/mixed; boundary=b1\r\n\r\n",
        "Content-Type: message/rfc822\r\n\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: quoted-printable\r\n",
        "Date: ",
        "99999999999999999999",
        "-2147483648",
        "Mon, 32 Dec 99999 99:99:99 +9999\r\n",
        "charset*0*=",
        "utf-7''%",
        "%ff",
        "Received: from a by b; ",
        "&AA-",
        "+",
        "\0",
        "\u{fc}",
    ];

    /// A mail with something cut out, put in or turned over.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let mail = prop_oneof![
            3 => Just(REPORT.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..200),
            1 => prop::collection::vec(prop::sample::select(PIECES), 0..60)
                .prop_map(|pieces| pieces.concat().into_bytes()),
        ];
        let change = (
            any::<prop::sample::Index>(),
            0_usize..20,
            prop_oneof![
                prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..4),
            ],
        );
        (mail, prop::collection::vec(change, 0..12)).prop_map(|(mut mail, changes)| {
            for (at, cut, put) in changes {
                let at = at.index(mail.len() + 1);
                let end = mail.len().min(at + cut);
                mail.splice(at..end, put);
            }
            mail
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_mail_is_read_or_none(mail in damaged()) {
            if let Some(Inbound::Report(fates)) = read(&mail) {
                prop_assert!(fates.len() <= TOLD_MAX);
            }
        }

        #[test]
        fn return_paths_come_back(root in any::<u128>(), pos in 0_i64.., text in "\\PC{0,40}") {
            let root = Uuid::from_u128(root);
            let id = format!("{}-{pos}", root.simple());
            let found = ReturnPath::parse(&format!("<b+{id}-0123456789abcdef@bounce.example>"));
            let found = found.map(|path| (path.root, path.pos, path.message_id));
            prop_assert_eq!(found, Some((root, pos, id)));
            let _ = ReturnPath::parse(&format!("b+{text}@x"));
        }
    }
}
