//! What a message centre says of a short message: at once, and later in receipts.

use super::counters::State;

/// What follows from the status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// Too much at once: slower, and the same again.
    Throttled,
    /// Not now.
    Transient,
    /// Never.
    Permanent,
    /// The session is no good any more.
    Session,
}

/// Judges the status of an answer to a submission.
pub(crate) fn verdict(status: u32) -> Verdict {
    match status {
        0x00 => Verdict::Accepted,
        0x14 | 0x58 => Verdict::Throttled,
        0x08 | 0x64 | 0x102 => Verdict::Transient,
        0x04 | 0x05 | 0x0d..=0x0f => Verdict::Session,
        _ => Verdict::Permanent,
    }
}

/// A stable word for a status.
pub(crate) fn reason(status: u32) -> &'static str {
    match status {
        0x00 => "accepted",
        0x01 => "message_too_large",
        0x0a | 0x48 | 0x49 => "sender_unusable",
        0x0b | 0x50 | 0x51 => "no_such_number",
        0x14 | 0x58 => "throttled",
        0x45 | 0x101 | 0x103 => "refused_by_policy",
        0x08 | 0x64 | 0x102 => "refused_for_now",
        _ => "refused",
    }
}

/// The final state that a receipt tells of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered = 1,
    Expired = 2,
    Deleted = 3,
    Undeliverable = 4,
    Rejected = 5,
}

impl Fate {
    pub(crate) const ALL: [Self; 5] = [
        Self::Delivered,
        Self::Expired,
        Self::Deleted,
        Self::Undeliverable,
        Self::Rejected,
    ];

    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|fate| fate.number() == number)
    }

    /// The word for a message that ended so.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Delivered => "confirmed",
            Self::Expired => "expired_on_the_way",
            Self::Deleted => "deleted_on_the_way",
            Self::Undeliverable => "undeliverable",
            Self::Rejected => "rejected_on_the_way",
        }
    }
}

/// A receipt, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The centre's id of the message.
    pub(crate) id: String,
    /// `None` while the message is still on its way.
    pub(crate) fate: Option<Fate>,
    /// The network's own number for an error.
    pub(crate) code: i64,
}

/// Reads a receipt from its text and, where the centre sends them, from its parameters.
pub(crate) fn read(text: &str, id: Option<&str>, state: Option<u8>) -> Option<Receipt> {
    let field = |name: &str| {
        let at = text.to_ascii_lowercase().find(name)? + name.len();
        text.get(at..)?.split(char::is_whitespace).next()
    };
    let id = id
        .or_else(|| field("id:"))
        .map(str::trim)
        .filter(|id| (1..=64).contains(&id.len()))?
        .to_owned();
    let stat = field("stat:").unwrap_or_default().to_ascii_uppercase();
    let fate = match state {
        Some(2) => Some(Fate::Delivered),
        Some(3) => Some(Fate::Expired),
        Some(4) => Some(Fate::Deleted),
        Some(5) => Some(Fate::Undeliverable),
        Some(8 | 9) => Some(Fate::Rejected),
        Some(_) => None,
        None => match stat.as_str() {
            "DELIVRD" => Some(Fate::Delivered),
            "EXPIRED" => Some(Fate::Expired),
            "DELETED" => Some(Fate::Deleted),
            "UNDELIV" => Some(Fate::Undeliverable),
            "REJECTD" => Some(Fate::Rejected),
            "ACCEPTD" | "ENROUTE" | "UNKNOWN" => None,
            _ => return None,
        },
    };
    let code = field("err:").and_then(|code| code.parse().ok());
    Some(Receipt {
        id,
        fate,
        code: code.unwrap_or_default(),
    })
}

/// How a centre writes the id in a receipt, compared to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IdForm {
    /// In the same way.
    #[default]
    Same,
    /// The answer has the number in hexadecimal digits, the receipt in decimal ones.
    Decimal,
    /// The other way round.
    Hexadecimal,
}

impl IdForm {
    /// The id of a receipt as it stood in the answer.
    pub(crate) fn as_answered(self, id: &str) -> String {
        let turned = match self {
            Self::Same => None,
            Self::Decimal => id.parse::<u128>().ok().map(|number| format!("{number:x}")),
            Self::Hexadecimal => u128::from_str_radix(id, 16)
                .ok()
                .map(|number| number.to_string()),
        };
        turned.unwrap_or_else(|| id.to_owned())
    }

    /// An id of an answer in the form under which it is kept.
    pub(crate) fn kept(self, id: &str) -> String {
        match self {
            Self::Same => id.to_owned(),
            // Hexadecimal digits come in either case, and with zeros in front.
            Self::Decimal => {
                let number = u128::from_str_radix(id, 16);
                number.map_or_else(|_| id.to_owned(), |number| format!("{number:x}"))
            }
            Self::Hexadecimal => {
                let number = id.parse::<u128>();
                number.map_or_else(|_| id.to_owned(), |number| number.to_string())
            }
        }
    }
}

/// What is known of one submission of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The place of the part, counted from 1, and how many there are.
    pub(crate) part: i64,
    pub(crate) parts: i64,
    pub(crate) fate: Option<Fate>,
    pub(crate) code: i64,
}

/// The state of a message from its parts: delivered when all are; refused when one cannot
/// arrive any more; `None` as long as that is open. A part that was submitted twice has arrived
/// when either has.
pub(crate) fn settle(told: &[Told]) -> Option<(State, &'static str, i64)> {
    let parts = told.iter().map(|one| one.parts).max()?;
    let mut open = false;
    let mut failed = None;
    for part in 1..=parts {
        let mut of_part = told.iter().filter(|one| one.part == part).peekable();
        if of_part.peek().is_none() {
            open = true;
            continue;
        }
        let (mut arrived, mut waiting, mut worst) = (false, false, None);
        for one in of_part {
            match one.fate {
                Some(Fate::Delivered) => arrived = true,
                Some(fate) => worst = Some((fate, one.code)),
                None => waiting = true,
            }
        }
        match (arrived, waiting, worst) {
            (true, ..) => {}
            (false, false, Some(found)) => failed = failed.or(Some(found)),
            _ => open = true,
        }
    }
    match failed {
        Some((fate, code)) => Some((State::Bounced, fate.reason(), code)),
        None if open => None,
        None => Some((State::Delivered, Fate::Delivered.reason(), 0)),
    }
}

/// What a person who writes back wants, as far as it concerns this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Stop,
    Start,
}

/// Reads a wish from the text of a short message, which must hold nothing else.
pub(crate) fn wish(text: &str, stop: &[String], start: &[String]) -> Option<Wish> {
    let word = text.trim().trim_end_matches(['.', '!']).to_lowercase();
    let among = |list: &[String]| list.iter().any(|one| one.to_lowercase() == word);
    if among(stop) {
        Some(Wish::Stop)
    } else if among(start) {
        Some(Wish::Start)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_read_from_text_and_parameters() {
        let text = "id:0a1B sub:001 dlvrd:001 submit date:2603010900 done date:2603010901 \
                    stat:DELIVRD err:000 text:Hello";
        let read_text = read(text, None, None).unwrap();
        assert_eq!(read_text.id, "0a1B");
        assert_eq!((read_text.fate, read_text.code), (Some(Fate::Delivered), 0));
        let failed = read("id:7 stat:UNDELIV err:027 text:", None, None).unwrap();
        assert_eq!((failed.fate, failed.code), (Some(Fate::Undeliverable), 27));
        let underway = read("ID:7 STAT:ENROUTE", None, None).unwrap();
        assert_eq!(underway.fate, None);
        let bare = read("", Some("9"), Some(8)).unwrap();
        assert_eq!((bare.id.as_str(), bare.fate), ("9", Some(Fate::Rejected)));
        for text in ["", "stat:DELIVRD", "id:7 stat:WHATEVER", "id: stat:DELIVRD"] {
            assert_eq!(read(text, None, None), None, "{text}");
        }
    }

    #[test]
    fn ids_come_in_other_forms() {
        assert_eq!(IdForm::Same.as_answered("0A"), "0A");
        assert_eq!(
            IdForm::Decimal.kept("00FF"),
            IdForm::Decimal.as_answered("255")
        );
        assert_eq!(
            IdForm::Hexadecimal.kept("255"),
            IdForm::Hexadecimal.as_answered("ff")
        );
        assert_eq!(IdForm::Decimal.as_answered("no number"), "no number");
    }

    fn told(part: i64, fate: Option<Fate>) -> Told {
        Told {
            part,
            parts: 2,
            fate,
            code: 0,
        }
    }

    #[test]
    fn a_message_is_what_its_parts_are() {
        let (yes, no) = (Some(Fate::Delivered), Some(Fate::Undeliverable));
        assert_eq!(settle(&[]), None);
        assert_eq!(settle(&[told(1, yes)]), None);
        assert_eq!(settle(&[told(1, yes), told(2, None)]), None);
        let all = settle(&[told(1, yes), told(2, yes)]).unwrap();
        assert_eq!((all.0, all.1), (State::Delivered, "confirmed"));
        let one = settle(&[told(1, None), told(2, no)]).unwrap();
        assert_eq!((one.0, one.1), (State::Bounced, "undeliverable"));
        // A second submission of the part may still arrive, or has.
        assert_eq!(settle(&[told(1, yes), told(2, no), told(2, None)]), None);
        let second = settle(&[told(1, yes), told(2, no), told(2, yes)]).unwrap();
        assert_eq!(second.0, State::Delivered);
    }

    #[test]
    fn statuses_have_their_kinds() {
        for (status, kind, word) in [
            (0, Verdict::Accepted, "accepted"),
            (0x58, Verdict::Throttled, "throttled"),
            (0x14, Verdict::Throttled, "throttled"),
            (0x08, Verdict::Transient, "refused_for_now"),
            (0x0b, Verdict::Permanent, "no_such_number"),
            (0x45, Verdict::Permanent, "refused_by_policy"),
            (0x04, Verdict::Session, "refused"),
            (0xffff, Verdict::Permanent, "refused"),
        ] {
            assert_eq!(
                (verdict(status), reason(status)),
                (kind, word),
                "{status:#x}"
            );
        }
    }

    #[test]
    fn wishes_are_whole_words() {
        let (stop, start) = (
            ["STOP".to_owned(), "arrêt".to_owned()],
            ["START".to_owned()],
        );
        for (text, expected) in [
            ("stop", Some(Wish::Stop)),
            (" Stop. ", Some(Wish::Stop)),
            ("ARRÊT", Some(Wish::Stop)),
            ("Start!", Some(Wish::Start)),
            ("please do not stop", None),
            ("", None),
        ] {
            assert_eq!(wish(text, &stop, &start), expected, "{text}");
        }
    }
}
