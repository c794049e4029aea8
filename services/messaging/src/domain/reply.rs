//! What an SMTP server's answer means.

/// Longest answer that is read; RFC 5321 allows 512 octets a line.
pub(crate) const REPLY_MAX: usize = 16 * 1024;

/// An answer, reduced to what may be kept: the server's text can name the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// The enhanced status code of RFC 3463, when there was one.
    pub(crate) status: Option<(u8, u16, u16)>,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Success,
    Transient,
    Permanent,
}

impl Reply {
    pub(crate) fn new(code: u16) -> Self {
        Self { code, status: None }
    }

    pub(crate) fn class(&self) -> Class {
        match (self.code, self.status) {
            (200..=399, _) => Class::Success,
            (400..=499, _) => Class::Transient,
            // A full mailbox is emptied some day, whatever the server says.
            (_, Some((_, 2, 2))) => Class::Transient,
            _ => Class::Permanent,
        }
    }

    /// The server asks for patience with senders that it does not know yet.
    pub(crate) fn is_greylisting(&self) -> bool {
        matches!(self.code, 450 | 451)
    }

    /// A stable word for why.
    pub(crate) fn reason(&self) -> &'static str {
        if self.class() == Class::Success {
            return "accepted";
        }
        match (self.status, self.code) {
            (Some((_, 1, 1..=3)), _) => "no_such_mailbox",
            (Some((_, 1, 10)), _) => "domain_takes_no_mail",
            (Some((_, 2, 1)), _) => "mailbox_disabled",
            (Some((_, 2, 2)), _) | (None, 552) => "mailbox_full",
            (Some((_, 3, 4)), _) => "message_too_large",
            (Some((_, 4, _)), _) => "no_route",
            (Some((_, 6, 7)), _) => "address_needs_smtputf8",
            (Some((_, 7, _)), _) | (_, 554 | 521 | 530 | 535) => "refused_by_policy",
            (_, 421) => "service_closing",
            (_, 450 | 451) => "greylisted",
            (_, 452) => "receiver_overloaded",
            (_, 550 | 551 | 553) => "no_such_mailbox",
            (_, 400..=499) => "refused_for_now",
            _ => "refused",
        }
    }

    /// The mailbox does not exist, so writing to it again harms our standing.
    pub(crate) fn is_hard_bounce(&self) -> bool {
        self.class() == Class::Permanent
            && matches!(
                self.reason(),
                "no_such_mailbox" | "mailbox_disabled" | "domain_takes_no_mail"
            )
    }
}

/// A whole answer at the front of `input`: the answer, its lines' texts and its length.
///
/// `Ok(None)` asks for more input.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Reply, Vec<String>, usize)>, ReplyError> {
    let mut texts = Vec::new();
    let mut reply: Option<Reply> = None;
    let mut at = 0;
    while let Some(length) = input[at..].iter().position(|byte| *byte == b'\n') {
        let line = &input[at..at + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += length + 1;
        let code = code(line)?;
        if reply.is_some_and(|reply| reply.code != code) {
            return Err(ReplyError::Malformed);
        }
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(ReplyError::Malformed),
        };
        let text = String::from_utf8_lossy(line.get(4..).unwrap_or_default()).into_owned();
        let known = reply.get_or_insert(Reply { code, status: None });
        if known.status.is_none() {
            known.status = status(&text).filter(|status| u16::from(status.0) == code / 100);
        }
        texts.push(text);
        if last {
            return Ok(Some((*known, texts, at)));
        }
    }
    if input.len() > REPLY_MAX {
        Err(ReplyError::Long)
    } else {
        Ok(None)
    }
}

/// Why a server's words are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    #[error("the server's answer is not SMTP")]
    Malformed,
    #[error("the server's answer is too long")]
    Long,
}

fn code(line: &[u8]) -> Result<u16, ReplyError> {
    let digits = line.get(..3).ok_or(ReplyError::Malformed)?;
    let text = std::str::from_utf8(digits).map_err(|_| ReplyError::Malformed)?;
    match text.parse::<u16>() {
        Ok(code) if (200..=599).contains(&code) => Ok(code),
        _ => Err(ReplyError::Malformed),
    }
}

fn status(text: &str) -> Option<(u8, u16, u16)> {
    let word = text.split(' ').next()?;
    let mut parts = word.split('.');
    let class: u8 = number(parts.next()?)?;
    let subject = number(parts.next()?)?;
    let detail = number(parts.next()?)?;
    (parts.next().is_none() && matches!(class, 2 | 4 | 5)).then_some((class, subject, detail))
}

/// A number as it is printed: digits and no sign, which `parse` would take as well.
pub(super) fn number<N: std::str::FromStr>(digits: &str) -> Option<N> {
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str) -> Reply {
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    #[test]
    fn answers_of_one_and_several_lines_are_read() {
        let input = b"250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n354 go";
        let (reply, texts, length) = parse(input).unwrap().unwrap();
        assert_eq!(reply, Reply::new(250));
        assert_eq!(texts, ["mx.example", "PIPELINING", "SIZE 1000"]);
        assert_eq!(&input[length..], b"354 go");
        assert_eq!(parse(b"250-a\r\n250").unwrap(), None);
        assert_eq!(one("550 5.1.1 unknown\r\n").status, Some((5, 1, 1)));
        assert_eq!(one("250\r\n"), Reply::new(250));
        assert_eq!(one("250 2.1.0 ok\n").code, 250);
        // The class must fit the code, else the words are not a status.
        assert_eq!(one("550 4.1.1 odd\r\n").status, None);
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "HTTP/1.1 400\r\n",
            "25 x\r\n",
            "250-a\r\n550 b\r\n",
            "250?x\r\n",
            "999 x\r\n",
        ] {
            assert_eq!(
                parse(text.as_bytes()).unwrap_err(),
                ReplyError::Malformed,
                "{text}"
            );
        }
        let long = vec![b'x'; REPLY_MAX + 1];
        assert_eq!(parse(&long).unwrap_err(), ReplyError::Long);
    }

    #[test]
    fn answers_have_the_class_of_the_specification() {
        for (text, class, reason) in [
            ("250 2.0.0 queued", Class::Success, "accepted"),
            ("421 4.3.2 closing", Class::Transient, "service_closing"),
            (
                "450 4.7.1 greylisted",
                Class::Transient,
                "refused_by_policy",
            ),
            ("451 try later", Class::Transient, "greylisted"),
            ("452 4.2.2 full", Class::Transient, "mailbox_full"),
            ("552 5.2.2 full", Class::Transient, "mailbox_full"),
            ("550 5.1.1 unknown", Class::Permanent, "no_such_mailbox"),
            ("550 no", Class::Permanent, "no_such_mailbox"),
            ("554 5.7.1 policy", Class::Permanent, "refused_by_policy"),
            ("552 5.3.4 too large", Class::Permanent, "message_too_large"),
            ("500 what", Class::Permanent, "refused"),
        ] {
            let reply = one(&format!("{text}\r\n"));
            assert_eq!((reply.class(), reply.reason()), (class, reason), "{text}");
        }
        assert!(one("550 5.1.1 x\r\n").is_hard_bounce());
        assert!(!one("554 5.7.1 x\r\n").is_hard_bounce());
        assert!(one("450 x\r\n").is_greylisting());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(
            input in "(([2-5][0-9]{2}|[+ x])([- ]([245]\\.[0-9]{1,6}\\.[+0-9]{1,3} )?\
                [a-zé]{0,5})?\r?\n){0,6}[ -~]{0,3}",
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = input.as_bytes();
            if let Ok(Some((reply, texts, length))) = parse(bytes) {
                prop_assert!((200..=599).contains(&reply.code));
                prop_assert!(!texts.is_empty() && length <= bytes.len());
                // An answer is the same however much has come in, and less than it is none yet.
                prop_assert_eq!(parse(&bytes[..length]), Ok(Some((reply, texts, length))));
                let less = cut.index(length);
                prop_assert_eq!(parse(&bytes[..less]), Ok(None));
            }
        }
    }
}
