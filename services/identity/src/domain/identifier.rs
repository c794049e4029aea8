//! What a person types to say who they are.

use unicode_normalization::UnicodeNormalization as _;

const MAX_LEN: usize = 256;
/// How often a text is folded until it stays as it is; nearly all do at once.
const ROUNDS: usize = 4;

/// Code points of the digit zero in scripts whose digits people type; the other nine follow.
const ZEROS: [u32; 21] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810, 0x1946, 0x19D0, 0xA9D0,
];

/// The form in which identifiers are compared: compatibility characters unified, letters
/// lower-case, digits of any script ASCII, and, except in an e-mail address, without the spaces,
/// hyphens and invisible characters that people add for reading. `None` if nothing sound is left.
pub(crate) fn normalise(typed: &str) -> Option<String> {
    if typed.len() > MAX_LEN * 4 {
        return None;
    }
    let email = typed.nfkc().any(|character| character == '@');
    let mut normal = folded(typed, email)?;
    // What was left out or lowered may let others compose, or end what a mark stood on; it is
    // the form that stays as it is that two spellings share.
    for _ in 0..ROUNDS {
        let again = folded(&normal, email)?;
        if again == normal {
            let sound = !normal.is_empty() && normal.len() <= MAX_LEN;
            return sound.then_some(normal);
        }
        normal = again;
    }
    None
}

fn folded(text: &str, email: bool) -> Option<String> {
    let mut folded = String::with_capacity(text.len());
    for character in text.nfkc().flat_map(char::to_lowercase) {
        let dash = matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
        if character.is_whitespace() || invisible(character) || (dash && !email) {
            continue;
        }
        if character.is_control() {
            return None;
        }
        folded.push(ascii_digit(character).unwrap_or(character));
    }
    Some(folded)
}

fn invisible(character: char) -> bool {
    matches!(character,
        '\u{00AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

fn ascii_digit(character: char) -> Option<char> {
    let code = u32::from(character);
    let zero = ZEROS
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// Whether a text is fit to be the kind of an alias.
pub(crate) fn is_alias_kind(kind: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=32).contains(&kind.len()) && kind.bytes().all(allowed)
}

/// Whether a text can be an e-mail address that a code is sent to: one `@`, sound on both
/// sides. Whether it exists only the mail tells.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |text: &str| {
        text.chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && !"<>(),;:\"[]\\@".contains(c))
    };
    (1..=64).contains(&local.len())
        && (1..=253).contains(&domain.len())
        && plain(local)
        && plain(domain)
        && domain
            .split('.')
            .all(|label| !label.is_empty() && !label.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_type_is_brought_to_one_form() {
        for (typed, normal) in [
            (" 1234-5678 9012 ", "123456789012"),
            ("ID‑77", "id77"),
            ("٠١٢٣۴", "01234"),
            ("១២៣", "123"),
            ("ＡＢ１２", "ab12"),
            ("Amina.Y-s@Example.ORG ", "amina.y-s@example.org"),
            ("12\u{200b}34", "1234"),
        ] {
            assert_eq!(normalise(typed).as_deref(), Some(normal), "{typed}");
        }
    }

    #[test]
    fn nothing_sound_is_nothing() {
        for typed in [
            "",
            " ",
            "--",
            "a\u{0}b",
            &"x".repeat(257),
            &"x".repeat(5_000),
        ] {
            assert_eq!(normalise(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn addresses_are_told_from_other_texts() {
        for good in ["a@b", "amina.y+x@mail.example.org", "用户@例え.テスト"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "", "a", "@b", "a@", "a b@c", "a@b..c", "a@b,c@d", "a\r\n@b", "<a@b>",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn alias_kinds_are_plain_words() {
        assert!(is_alias_kind("national_id"));
        for bad in ["", "National", "a b", &"x".repeat(33)] {
            assert!(!is_alias_kind(bad));
        }
    }

    #[test]
    fn marks_compose_once_nothing_stands_between() {
        for typed in [
            "e-\u{301}",
            "e\u{301}",
            "E\u{200b}\u{301}",
            "\u{c9}",
            "e \u{301}",
        ] {
            assert_eq!(normalise(typed).as_deref(), Some("\u{e9}"), "{typed:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_048))]

        /// Two spellings are one identifier only if the common form is its own.
        #[test]
        fn what_was_brought_to_one_form_stays_there(
            typed in prop_oneof![
                "\\PC{0,24}",
                "[-a-zA-ZİıßſK\u{1e9e}Σςﬁŉǰΐῼ\u{300}-\u{345}\u{5b0}\u{93c}\u{200b}\u{ad}\
                 @＠ \u{b4}\u{a8}\u{2126}\u{1100}\u{1161}\u{11a8}0-9٣]{0,12}",
            ]
        ) {
            if let Some(normal) = normalise(&typed) {
                prop_assert_eq!(normalise(&normal), Some(normal.clone()), "{:?}", typed);
                prop_assert!(normal.len() <= MAX_LEN);
            }
            let _ = is_email(&typed);
        }
    }
}
