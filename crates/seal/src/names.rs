//! Forms of a name under which it can be found.
//!
//! A name is folded (compatibility decomposition, marks removed, lower case) and split into
//! parts. Each part is a key, marked `=`, and so is a phonetic form of Latin parts, marked `~`:
//! the first letter and the consonants after it, similar ones written alike. Parts in other
//! scripts have the exact key only. What the keys reveal to somebody who reads the store without
//! the look-up key is which rows share a part; `docs/threat-model.md` weighs it.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The most keys a name gives; a longer one is found by its first parts.
const MAX_KEYS: usize = 32;

/// The longest phonetic form.
const MAX_PHONETIC: usize = 8;

/// Every key of a name, to be hashed with [`Keyring::lookup`](crate::Keyring::lookup).
pub fn name_keys(name: &str) -> Vec<String> {
    let folded: String = name
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let mut keys = BTreeSet::new();
    for part in folded
        .split(|c: char| !c.is_alphanumeric())
        .filter(|part| !part.is_empty())
    {
        keys.insert(format!("={part}"));
        if let Some(phonetic) = phonetic(part) {
            keys.insert(format!("~{phonetic}"));
        }
        if keys.len() >= MAX_KEYS {
            break;
        }
    }
    keys.into_iter().take(MAX_KEYS).collect()
}

/// Groups of letters that are often written for each other, after the first letter.
fn class(letter: char) -> Option<char> {
    match letter {
        'b' | 'p' => Some('p'),
        'c' | 'k' | 'q' | 'g' => Some('k'),
        'd' | 't' => Some('t'),
        'f' | 'v' | 'w' => Some('f'),
        's' | 'z' | 'x' => Some('s'),
        'm' | 'n' => Some('n'),
        'j' => Some('j'),
        'l' => Some('l'),
        'r' => Some('r'),
        _ => None,
    }
}

fn phonetic(part: &str) -> Option<String> {
    if !part.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    // Digraphs for one sound, and letters that start words in place of each other.
    let part = part
        .replace("ph", "f")
        .replace("ck", "k")
        .replace("sch", "s")
        .replace("sh", "s");
    let mut letters = part.chars();
    let first = letters.next()?;
    let mut result = String::from(class(first).unwrap_or(first));
    let mut last = class(first);
    for letter in letters {
        let class = class(letter);
        if let Some(class) = class.filter(|_| class != last) {
            result.push(class);
        }
        // A vowel between two like consonants keeps both.
        last = class;
        if result.len() >= MAX_PHONETIC {
            break;
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(a: &str, b: &str) -> bool {
        let (a, b) = (name_keys(a), name_keys(b));
        a.iter().any(|key| b.contains(key))
    }

    #[test]
    fn spellings_of_a_name_meet() {
        for (a, b) in [
            ("José", "JOSE"),
            ("Aïssatou", "Aissatou Diallo"),
            ("Philip", "Filip"),
            ("Sara", "Sarah"),
            ("Mohamed", "Muhammad"),
            ("Nguyễn", "nguyen"),
            ("ｗｉｄｅ", "wide"),
            ("محمد", "محمد علي"),
            ("王 秀英", "王"),
        ] {
            assert!(
                shares(a, b),
                "{a} and {b}: {:?} {:?}",
                name_keys(a),
                name_keys(b)
            );
        }
        for (a, b) in [("Grace", "Daniel"), ("王", "李"), ("Tom", "Tomato Sauce")] {
            assert!(!shares(a, b), "{a} and {b}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_bounded_keys(name in ".*") {
            let keys = name_keys(&name);
            prop_assert!(keys.len() <= MAX_KEYS);
            prop_assert_eq!(keys, name_keys(&name));
        }
    }
}
