//! Client credentials of OAuth 2 (RFC 6749, 4.4): what is asked for a token, and what its answer
//! means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_types::Secret;
use serde::Deserialize;

/// The longest token that is sent on.
const MOST_TOKEN: usize = 8_192;
/// How long a token is used whose end is not told.
const USUAL_SECONDS: u64 = 60;
/// However long a token is said to live.
const MOST_SECONDS: u64 = 86_400;

/// A token, and for how many seconds it can be used.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) token: Secret<String>,
    pub(crate) seconds: u64,
}

#[derive(Deserialize)]
struct Body {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Id and secret as `Authorization` carries them: each in the encoding of forms, then together.
pub(crate) fn basic(client_id: &str, client_secret: &str) -> String {
    let coded =
        |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let both = format!("{}:{}", coded(client_id), coded(client_secret));
    format!("Basic {}", STANDARD.encode(both))
}

/// The body that asks for a token.
pub(crate) fn asking(scope: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !scope.is_empty() {
        form.append_pair("scope", scope);
    }
    form.finish()
}

/// The token of an answer, if it has one that can be used.
pub(crate) fn granted(status: u16, body: &[u8]) -> Option<Granted> {
    if status != 200 {
        return None;
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let visible = body
        .access_token
        .bytes()
        .all(|byte| byte.is_ascii_graphic());
    let sound = (1..=MOST_TOKEN).contains(&body.access_token.len()) && visible;
    let seconds = body.expires_in.unwrap_or(USUAL_SECONDS).min(MOST_SECONDS);
    let bearer = body.token_type.eq_ignore_ascii_case("bearer");
    (sound && bearer).then(|| Granted {
        token: body.access_token.into(),
        seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_has_the_form_of_the_rfc() {
        assert_eq!(
            basic("s6BhdRkqt3", "gX1fBat3bV"),
            "Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"
        );
        // A colon in the id would end it.
        assert_eq!(
            basic("a:b", "c d"),
            format!("Basic {}", STANDARD.encode("a%3Ab:c+d"))
        );
        assert_eq!(asking(""), "grant_type=client_credentials");
        assert_eq!(
            asking("pay read"),
            "grant_type=client_credentials&scope=pay+read"
        );
    }

    #[test]
    fn only_tokens_that_can_be_sent_are_taken() {
        let read = |status, body: &str| {
            let granted = granted(status, body.as_bytes())?;
            Some((granted.token.expose().clone(), granted.seconds))
        };
        let token = |text: &str, seconds| Some((text.to_owned(), seconds));
        for (status, body, expected) in [
            (
                200,
                r#"{"access_token": "a.b", "token_type": "Bearer", "expires_in": 300}"#,
                token("a.b", 300),
            ),
            (
                200,
                r#"{"access_token": "a", "token_type": "bearer"}"#,
                token("a", 60),
            ),
            (
                200,
                r#"{"access_token": "a", "token_type": "bearer", "expires_in": 9999999}"#,
                token("a", 86_400),
            ),
            (200, r#"{"access_token": "a", "token_type": "mac"}"#, None),
            (
                200,
                r#"{"access_token": "a\r\nb", "token_type": "bearer"}"#,
                None,
            ),
            (200, r#"{"access_token": "", "token_type": "bearer"}"#, None),
            (
                200,
                r#"{"access_token": "a", "token_type": "bearer", "expires_in": -1}"#,
                None,
            ),
            (
                401,
                r#"{"access_token": "a", "token_type": "bearer"}"#,
                None,
            ),
            (200, "a token", None),
        ] {
            assert_eq!(read(status, body), expected, "{status} {body}");
        }
    }
}
