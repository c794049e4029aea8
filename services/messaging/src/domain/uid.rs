//! Public handles of requests and messages.

use uuid::Uuid;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Length of a request's handle: six groups of four and five hyphens.
pub(crate) const REQUEST_UID_LEN: usize = 29;

/// Writes a request's handle from randomness: 24 letters and digits, about 143 bits.
///
/// Returns `None` when too many of the bytes had to be thrown away, which keeps the letters
/// evenly distributed; the caller then draws again.
pub(crate) fn request_uid(random: &[u8; 48]) -> Option<String> {
    let mut letters = random
        .iter()
        .map(|byte| usize::from(byte & 63))
        .filter(|index| *index < ALPHABET.len())
        .map(|index| char::from(ALPHABET[index]));
    let mut uid = String::with_capacity(REQUEST_UID_LEN);
    for place in 0..24 {
        if place > 0 && place % 4 == 0 {
            uid.push('-');
        }
        uid.push(letters.next()?);
    }
    Some(uid)
}

/// Whether a text has the form of a request's handle. An imported handle may have any form of
/// up to 64 letters, digits, hyphens, dots and underscores.
pub(crate) fn is_request_uid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// A message's id: the chunk of its first attempt and its place in it.
pub(crate) fn message_id(root: Uuid, pos: i64) -> String {
    format!("{}-{pos}", root.simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_have_the_published_form() {
        let mut random = [0_u8; 48];
        for (index, byte) in random.iter_mut().enumerate() {
            *byte = u8::try_from(index * 5).unwrap();
        }
        let uid = request_uid(&random).unwrap();
        assert_eq!(uid.len(), REQUEST_UID_LEN);
        assert!(is_request_uid(&uid));
        for (index, char) in uid.chars().enumerate() {
            assert_eq!(char == '-', index % 5 == 4, "{uid}");
        }
    }

    #[test]
    fn biased_randomness_is_thrown_away() {
        assert_eq!(request_uid(&[63; 48]), None);
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "a b", "UfQK/CPju", &"a".repeat(65)] {
            assert!(!is_request_uid(text), "{text:?}");
        }
    }
}
