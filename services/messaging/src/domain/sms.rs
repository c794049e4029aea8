//! Text as it travels in short messages: alphabets, and how it is cut into parts.
//!
//! A text goes in the default alphabet of GSM 03.38 with its extension table where that holds all
//! of it, and in UCS-2 otherwise. A part of several carries a header of six octets that names the
//! message, its parts and its own place (3GPP TS 23.040, 9.2.3.24.1).

/// Most parts that the header can count.
pub(crate) const PARTS_LIMIT: usize = 255;
/// Announces a character of the extension table.
const ESCAPE: u8 = 0x1b;
/// Longest sender that is a name.
const NAME_MAX: usize = 11;

/// The default alphabet, by its numbers. What stands in place of the escape is not looked for.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1b}', 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The extension table; each costs two.
const EXTENSION: [(char, u8); 10] = [
    ('\u{c}', 0x0a),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2f),
    ('[', 0x3c),
    ('~', 0x3d),
    (']', 0x3e),
    ('|', 0x40),
    ('€', 0x65),
];

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// GSM 03.38: 160 septets, 153 in a part of several.
    Gsm7,
    /// Two octets a unit: 70 units, 67 in a part of several.
    Ucs2,
}

impl Alphabet {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gsm7 => "GSM-7",
            Self::Ucs2 => "UCS-2",
        }
    }

    /// Units of a message of one part, and of each part of several.
    pub(crate) fn capacity(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }
}

/// One part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// What a person reads of it.
    pub(crate) text: String,
    /// The septets, one an octet, or the octets of UCS-2.
    pub(crate) data: Vec<u8>,
    /// Units of the alphabet.
    pub(crate) units: usize,
}

/// A text cut into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) alphabet: Alphabet,
    pub(crate) parts: Vec<Part>,
}

/// Why a text cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextError {
    #[error("is empty")]
    Empty,
    #[error("takes {parts} parts, of which {most} are allowed")]
    Long { parts: usize, most: usize },
}

impl Cut {
    /// Cuts a text; `most` bounds its parts.
    pub(crate) fn new(text: &str, most: usize) -> Result<Self, TextError> {
        let text = text.replace("\r\n", "\n");
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        let alphabet = if text.chars().all(|one| gsm(one).is_some()) {
            Alphabet::Gsm7
        } else {
            Alphabet::Ucs2
        };
        let (alone, several) = alphabet.capacity();
        let total: usize = text.chars().map(|one| units(alphabet, one)).sum();
        let parts = if total <= alone {
            vec![part(alphabet, &text)]
        } else {
            cut(alphabet, &text, several)
        };
        let most = most.min(PARTS_LIMIT);
        if parts.len() > most {
            let parts = parts.len();
            return Err(TextError::Long { parts, most });
        }
        Ok(Self { alphabet, parts })
    }

    /// Units of all parts.
    pub(crate) fn units(&self) -> usize {
        self.parts.iter().map(|part| part.units).sum()
    }

    /// Units of one part at this number of parts.
    pub(crate) fn room(&self) -> usize {
        let (alone, several) = self.alphabet.capacity();
        if self.parts.len() == 1 {
            alone
        } else {
            several
        }
    }

    /// What a part, counted from 0, looks like on the wire: with its header, where it has one.
    pub(crate) fn user_data(&self, index: usize, reference: u8) -> Option<Vec<u8>> {
        let part = self.parts.get(index)?;
        if self.parts.len() == 1 {
            return Some(part.data.clone());
        }
        let total = u8::try_from(self.parts.len()).ok()?;
        let place = u8::try_from(index + 1).ok()?;
        let mut data = vec![5, 0, 3, reference, total, place];
        data.extend_from_slice(&part.data);
        Some(data)
    }
}

fn cut(alphabet: Alphabet, text: &str, room: usize) -> Vec<Part> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut parts = Vec::new();
    let (mut start, mut used) = (0, 0);
    let mut at = 0;
    while at < chars.len() {
        let cost = units(alphabet, chars[at].1);
        if used + cost > room {
            // What belongs to the character before it moves to the next part with that one, as
            // long as enough is left in this one.
            let mut end = at;
            while belongs(&chars, end) && end > start + 1 && at - end < 8 {
                end -= 1;
            }
            if belongs(&chars, end) || end <= start {
                end = at;
            }
            parts.push(part(alphabet, &text[chars[start].0..chars[end].0]));
            (start, used, at) = (end, 0, end);
            continue;
        }
        used += cost;
        at += 1;
    }
    parts.push(part(alphabet, &text[chars[start].0..]));
    parts
}

/// Whether the character at a place is read together with the one before it.
fn belongs(chars: &[(usize, char)], at: usize) -> bool {
    let joined = at > 0 && chars[at - 1].1 == '\u{200d}';
    joined
        || matches!(chars[at].1,
            '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5bd}' | '\u{64b}'..='\u{65f}'
            | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{94f}' | '\u{e31}' | '\u{e34}'..='\u{e3a}'
            | '\u{e47}'..='\u{e4e}' | '\u{200d}' | '\u{20d0}'..='\u{20ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn part(alphabet: Alphabet, text: &str) -> Part {
    let mut data = Vec::with_capacity(text.len());
    for one in text.chars() {
        match (alphabet, gsm(one)) {
            (Alphabet::Gsm7, Some((true, code))) => data.extend([ESCAPE, code]),
            (Alphabet::Gsm7, Some((false, code))) => data.push(code),
            (Alphabet::Gsm7, None) => data.push(b'?'),
            (Alphabet::Ucs2, _) => {
                let mut buffer = [0; 2];
                for unit in one.encode_utf16(&mut buffer) {
                    data.extend(unit.to_be_bytes());
                }
            }
        }
    }
    Part {
        text: text.to_owned(),
        units: text.chars().map(|one| units(alphabet, one)).sum(),
        data,
    }
}

fn units(alphabet: Alphabet, one: char) -> usize {
    match (alphabet, gsm(one)) {
        (Alphabet::Gsm7, Some((true, _))) => 2,
        (Alphabet::Gsm7, _) => 1,
        (Alphabet::Ucs2, _) => one.len_utf16(),
    }
}

/// The number of a character, and whether it stands in the extension table.
fn gsm(one: char) -> Option<(bool, u8)> {
    if one == '\u{1b}' {
        return None;
    }
    let place = DEFAULT.iter().position(|known| *known == one);
    if let Some(code) = place.and_then(|place| u8::try_from(place).ok()) {
        return Some((false, code));
    }
    let found = EXTENSION.iter().find(|(known, _)| *known == one);
    found.map(|(_, code)| (true, *code))
}

/// Text from septets, one an octet; what no table knows is a question mark.
pub(crate) fn from_septets(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len());
    let mut octets = data.iter().copied();
    while let Some(octet) = octets.next() {
        if octet == ESCAPE {
            let code = octets.next().unwrap_or_default();
            let found = EXTENSION.iter().find(|(_, known)| *known == code);
            text.push(found.map_or(' ', |(one, _)| *one));
        } else {
            text.push(DEFAULT.get(usize::from(octet)).copied().unwrap_or('?'));
        }
    }
    text
}

/// Text from octets of UCS-2.
pub(crate) fn from_ucs2(data: &[u8]) -> String {
    let units = data
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|one| one.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Whether a text may stand as the sender: a number of 3 to 15 digits, with or without a plus,
/// or a name of up to 11 letters, digits, spaces, dots, hyphens and underscores.
pub(crate) fn is_sender(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return (3..=15).contains(&digits.len());
    }
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b" .-_".contains(&byte);
    (1..=NAME_MAX).contains(&text.len()) && text.trim() == text && text.bytes().all(sound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(text: &str) -> (Alphabet, Vec<usize>) {
        let cut = Cut::new(text, PARTS_LIMIT).unwrap();
        let units = cut.parts.iter().map(|part| part.units).collect();
        (cut.alphabet, units)
    }

    #[test]
    fn texts_are_cut_where_the_alphabets_end() {
        for (text, alphabet, units) in [
            ("a".repeat(160), Alphabet::Gsm7, vec![160]),
            ("a".repeat(161), Alphabet::Gsm7, vec![153, 8]),
            ("a".repeat(306), Alphabet::Gsm7, vec![153, 153]),
            ("a".repeat(307), Alphabet::Gsm7, vec![153, 153, 1]),
            ("€".repeat(80), Alphabet::Gsm7, vec![160]),
            // The pair of an extension character is never torn.
            ("€".repeat(81), Alphabet::Gsm7, vec![152, 10]),
            ("ш".repeat(70), Alphabet::Ucs2, vec![70]),
            ("ш".repeat(71), Alphabet::Ucs2, vec![67, 4]),
            // Nor is a character outside the basic plane.
            ("😀".repeat(35), Alphabet::Ucs2, vec![70]),
            ("😀".repeat(36), Alphabet::Ucs2, vec![66, 6]),
            ("Ünïcode".to_owned(), Alphabet::Ucs2, vec![7]),
            ("Ünicode à Ø\r\n".to_owned(), Alphabet::Gsm7, vec![12]),
        ] {
            assert_eq!(counts(&text), (alphabet, units), "{}", text.chars().count());
        }
    }

    #[test]
    fn marks_stay_with_their_letters() {
        // 66 letters, then one with two marks across the place of the cut.
        let text = format!("{}e\u{301}\u{302}{}", "ш".repeat(66), "ш".repeat(10));
        assert_eq!(counts(&text).1, [66, 13]);
        // Nothing but marks is cut all the same.
        let text = "\u{301}".repeat(150);
        assert_eq!(counts(&text).1.iter().sum::<usize>(), 150);
    }

    #[test]
    fn the_header_counts_the_parts() {
        let cut = Cut::new(&"a".repeat(200), 6).unwrap();
        let second = cut.user_data(1, 0xab).unwrap();
        assert_eq!(second[..6], [5, 0, 3, 0xab, 2, 2]);
        assert_eq!(second.len(), 6 + 47);
        assert_eq!(Cut::new("a", 6).unwrap().user_data(0, 1).unwrap(), [0x61]);
        assert_eq!(cut.user_data(2, 0), None);
        assert_eq!((cut.units(), cut.room()), (200, 153));
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(Cut::new("", 6), Err(TextError::Empty));
        let long = Cut::new(&"a".repeat(1_000), 6);
        assert_eq!(long, Err(TextError::Long { parts: 7, most: 6 }));
    }

    #[test]
    fn the_escape_is_no_letter_of_its_own() {
        assert_eq!(counts("a\u{1b}").0, Alphabet::Ucs2);
        assert_eq!(
            part(Alphabet::Gsm7, "[€]").data,
            [0x1b, 0x3c, 0x1b, 0x65, 0x1b, 0x3e]
        );
        assert_eq!(part(Alphabet::Gsm7, "@Δ ä").data, [0, 0x10, 0x20, 0x7b]);
    }

    #[test]
    fn senders_are_numbers_or_names() {
        for sound in ["+15550100", "15550100", "123", "Ministry", "Min. 1-a_b"] {
            assert!(is_sender(sound), "{sound}");
        }
        for unsound in [
            "",
            "12",
            "1234567890123456",
            "Ministry of Health",
            "Tax!",
            " a",
            "+",
            "é",
        ] {
            assert!(!is_sender(unsound), "{unsound}");
        }
    }

    proptest! {
        #[test]
        fn parts_hold_the_whole_text_and_fit(text in "[a-zA-Z0-9 €\\[\\]äшя😀é\u{301}]{1,900}") {
            let cut = Cut::new(&text, PARTS_LIMIT).unwrap();
            let whole: String = cut.parts.iter().map(|part| part.text.as_str()).collect();
            prop_assert_eq!(&whole, &text);
            for (index, part) in cut.parts.iter().enumerate() {
                prop_assert!(part.units <= cut.room());
                let data = cut.user_data(index, 1).unwrap();
                let octets = if cut.alphabet == Alphabet::Gsm7 { 160 } else { 140 };
                prop_assert!(data.len() <= octets);
                let read = match cut.alphabet {
                    Alphabet::Gsm7 => from_septets(&part.data),
                    Alphabet::Ucs2 => from_ucs2(&part.data),
                };
                prop_assert_eq!(&read, &part.text);
            }
        }
    }
}
