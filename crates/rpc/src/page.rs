//! Page tokens and page sizes of list calls.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Invalid, invalid};

const CHECK_LEN: usize = 12;
const MAX_TOKEN_LEN: usize = 4_096;

/// The opaque way to the next page: where the last one ended, bound to the arguments of the
/// call, so that a token cannot be carried over to another question.
#[derive(Debug)]
pub struct PageToken;

impl PageToken {
    /// A token for the page after `cursor` (the sort key of the last row given). `arguments`
    /// are all arguments of the call but the page's size and token.
    pub fn encode(arguments: &impl Serialize, cursor: &impl Serialize) -> String {
        let cursor = json(cursor);
        let mut bytes = check(&json(arguments), &cursor);
        bytes.extend_from_slice(&cursor);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor in a token; `None` for the empty token that asks for the first page.
    pub fn decode<C: DeserializeOwned>(
        arguments: &impl Serialize,
        token: &str,
    ) -> Result<Option<C>, Invalid> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = || {
            invalid(
                "page_token",
                "is not a token of this list and its arguments",
            )
        };
        if token.len() > MAX_TOKEN_LEN {
            return Err(refused());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (given, cursor) = bytes.split_at_checked(CHECK_LEN).ok_or_else(refused)?;
        if given != check(&json(arguments), cursor) {
            return Err(refused());
        }
        serde_json::from_slice(cursor)
            .map(Some)
            .map_err(|_| refused())
    }
}

/// The number of rows to give: 0 asks for the default, more than the maximum gives the maximum.
pub fn page_size(asked: i32, default: i32, maximum: i32) -> Result<i64, Invalid> {
    match asked {
        ..0 => Err(invalid("page_size", "must not be negative")),
        0 => Ok(i64::from(default)),
        _ => Ok(i64::from(asked.min(maximum))),
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys and arguments are plain values")
}

fn check(arguments: &[u8], cursor: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(arguments.len() + cursor.len() + 1);
    text.extend_from_slice(arguments);
    text.push(0);
    text.extend_from_slice(cursor);
    digest(&SHA256, &text).as_ref()[..CHECK_LEN].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_leads_on() {
        let token = PageToken::encode(&("open", 7), &(1_700_i64, "id-9"));
        let cursor = PageToken::decode::<(i64, String)>(&("open", 7), &token).unwrap();
        assert_eq!(cursor, Some((1_700, "id-9".to_owned())));
        assert!(
            token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{token}"
        );
    }

    #[test]
    fn the_first_page_needs_none() {
        assert_eq!(PageToken::decode::<i64>(&(), "").unwrap(), None);
    }

    #[test]
    fn a_token_of_another_question_is_refused() {
        let token = PageToken::encode(&"open", &7);
        assert!(PageToken::decode::<i64>(&"closed", &token).is_err());
        for bad in ["x", "AAAA", "ä", &"A".repeat(5_000), &token[1..]] {
            assert!(PageToken::decode::<i64>(&"open", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(page_size(0, 50, 1_000).unwrap(), 50);
        assert_eq!(page_size(7, 50, 1_000).unwrap(), 7);
        assert_eq!(page_size(7_000, 50, 1_000).unwrap(), 1_000);
        assert!(page_size(-1, 50, 1_000).is_err());
    }

    proptest! {
        #[test]
        fn cursors_come_back(arguments in "\\PC{0,12}", cursor in any::<(i64, String)>()) {
            let token = PageToken::encode(&arguments, &cursor);
            if token.len() <= MAX_TOKEN_LEN {
                let found = PageToken::decode::<(i64, String)>(&arguments, &token).unwrap();
                prop_assert_eq!(found, Some(cursor));
            }
        }

        #[test]
        fn a_changed_token_is_refused(
            at in any::<prop::sample::Index>(), put in "[A-Za-z0-9_=é-]{0,2}",
        ) {
            let token = PageToken::encode(&"open", &(1_700_i64, "id-9"));
            let mut chars: Vec<char> = token.chars().collect();
            let at = at.index(chars.len());
            chars.splice(at..=at, put.chars());
            let changed: String = chars.into_iter().collect();
            let found = PageToken::decode::<(i64, String)>(&"open", &changed);
            prop_assert!(changed == token || changed.is_empty() || found.is_err(), "{}", changed);
        }
    }
}
