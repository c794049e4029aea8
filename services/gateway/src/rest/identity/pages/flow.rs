//! What the pages of one sign-in remember between two steps: a sealed cookie that goes to these
//! pages alone. The gateway itself keeps nothing.

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use publica_host::Profile;
use publica_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::GatewayState;

publica_seal::sealed! {
    /// What a browser keeps of a sign-in.
    LOGIN = "login" [],
}

/// Letters and digits that are hard to confuse, and that spell no words.
const LETTERS: &[u8] = b"23456789BCDFGHJKMNPQRSTVWXZ";
/// Length of a flow's id, which is also the reference that a person tells the help desk.
const ID_LENGTH: usize = 8;
const FORM_COOKIE: &str = "login-form";
const LANGUAGE_COOKIE: &str = "login-language";
/// Longer than any sign-in may take, so that the pages can still say that it is over; when it is,
/// the identity block decides.
const MAX_AGE: u32 = 7_800;
const LANGUAGE_MAX_AGE: u32 = 365 * 24 * 3_600;

/// One sign-in, as its pages know it. The names are short because it travels with each request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Flow {
    #[serde(skip)]
    pub(super) id: String,
    /// The right to go on with the sign-in.
    #[serde(rename = "t")]
    pub(super) transaction_id: String,
    /// The token that forms repeat.
    #[serde(rename = "f")]
    pub(super) form: String,
    #[serde(rename = "c")]
    pub(super) client_name: String,
    /// Where forms may lead in the end.
    #[serde(rename = "r")]
    pub(super) target: String,
    #[serde(rename = "l")]
    pub(super) language: String,
    /// What the person typed.
    #[serde(rename = "i")]
    pub(super) typed: String,
    #[serde(rename = "m")]
    pub(super) masked: String,
    /// When the last code was asked for, in seconds.
    #[serde(rename = "s")]
    pub(super) sent: i64,
    /// How long a code is good, in seconds.
    #[serde(rename = "v")]
    pub(super) code_lifetime: u32,
    /// Digits of a code.
    #[serde(rename = "d")]
    pub(super) code_length: u32,
    /// Seconds before another code may be asked for.
    #[serde(rename = "w")]
    pub(super) resend_delay: u32,
    /// Until when codes are of no use, in microseconds.
    #[serde(rename = "u")]
    pub(super) locked_until: Option<i64>,
    /// How long a page waits, in seconds.
    #[serde(rename = "p")]
    pub(super) page_seconds: u32,
    /// Whether it is finished.
    #[serde(rename = "o")]
    pub(super) over: bool,
}

impl Flow {
    /// The flow of an id, from its cookie.
    pub(super) fn open(state: &GatewayState, headers: &HeaderMap, id: &str) -> Option<Self> {
        let sound = id.len() == ID_LENGTH && id.bytes().all(|byte| LETTERS.contains(&byte));
        let sealed = cookie(headers, &format!("login-{id}")).filter(|_| sound)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let plain = state.keyring().open_block(&LOGIN, &sealed).ok()?;
        let flow: Self = serde_json::from_slice(&plain).ok()?;
        Some(Self {
            id: id.to_owned(),
            ..flow
        })
    }

    /// The cookie that keeps it, for the pages below `root`.
    pub(super) fn cookie(&self, state: &GatewayState, root: &str) -> Option<HeaderValue> {
        let plain = serde_json::to_vec(self).ok()?;
        let sealed = URL_SAFE_NO_PAD.encode(state.keyring().seal_block(&LOGIN, &plain));
        let id = &self.id;
        set_cookie(
            state,
            &format!("login-{id}={sealed}; Path={root}/login/{id}; Max-Age={MAX_AGE}"),
        )
    }

    /// When the pause after too many wrong codes ends, if it has not.
    pub(super) fn locked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.locked_until
            .map(Timestamp::from_micros)
            .filter(|end| now < *end)
    }
}

/// A new id.
pub(super) fn new_id(state: &GatewayState) -> String {
    let mut bytes = [0_u8; ID_LENGTH];
    state.entropy().fill(&mut bytes);
    bytes
        .into_iter()
        .map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]))
        .collect()
}

/// A new token for forms.
pub(in crate::rest::identity) fn new_token(state: &GatewayState) -> String {
    let mut bytes = [0_u8; 24];
    state.entropy().fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The token that the first form repeats, if the browser has one.
pub(super) fn form_token(headers: &HeaderMap) -> Option<String> {
    cookie(headers, FORM_COOKIE)
        .filter(|token| (16..=64).contains(&token.len()) && token.is_ascii())
        .map(str::to_owned)
}

/// The cookie with that token.
pub(super) fn form_cookie(state: &GatewayState, root: &str, token: &str) -> Option<HeaderValue> {
    set_cookie(state, &format!("{FORM_COOKIE}={token}; Path={root}/"))
}

/// The language that was chosen earlier.
pub(super) fn chosen_language(headers: &HeaderMap) -> &str {
    cookie(headers, LANGUAGE_COOKIE).unwrap_or_default()
}

/// The cookie with that choice.
pub(super) fn language_cookie(state: &GatewayState, root: &str, code: &str) -> Option<HeaderValue> {
    set_cookie(
        state,
        &format!("{LANGUAGE_COOKIE}={code}; Path={root}/; Max-Age={LANGUAGE_MAX_AGE}"),
    )
}

fn set_cookie(state: &GatewayState, text: &str) -> Option<HeaderValue> {
    let secure = if state.profile() == Profile::Production {
        "; Secure"
    } else {
        ""
    };
    HeaderValue::try_from(format!("{text}; HttpOnly; SameSite=Lax{secure}")).ok()
}

pub(in crate::rest::identity) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// What stands before `/authorize` or `/login` in the address as the browser sees it, which
/// depends on where the surface is mounted.
pub(super) fn root(uri: &Uri) -> String {
    let path = uri.path();
    let end = path
        .rfind("/login/")
        .or_else(|| path.rfind("/authorize"))
        .unwrap_or(0);
    path[..end].to_owned()
}

/// What a form may lead to besides this server, as a source of a content security policy: the
/// origin of a web address, the scheme of an app's own. Nothing for what does not look like
/// either.
pub(super) fn target(redirect_uri: &str) -> String {
    let Ok(uri) = redirect_uri.parse::<Uri>() else {
        return scheme(redirect_uri);
    };
    match (uri.scheme_str(), uri.authority()) {
        (Some(scheme @ ("http" | "https")), Some(authority)) => {
            let authority = authority.as_str();
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
            if authority.bytes().all(allowed) {
                format!("{scheme}://{authority}")
            } else {
                String::new()
            }
        }
        _ => scheme(redirect_uri),
    }
}

fn scheme(redirect_uri: &str) -> String {
    let scheme = redirect_uri.split(':').next().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-+".contains(&byte);
    let own = !["", "http", "https"].contains(&scheme) && scheme.len() < redirect_uri.len();
    if own && scheme.bytes().all(allowed) {
        format!("{scheme}:")
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_follow_the_mount() {
        let root = |path: &str| root(&path.parse().unwrap());
        assert_eq!(root("/identity/authorize"), "/identity");
        assert_eq!(root("/authorize?x=/login/"), "");
        assert_eq!(
            root("/identity/v1/esignet/login/AB/code"),
            "/identity/v1/esignet"
        );
        assert_eq!(root("/login/start"), "");
    }

    #[test]
    fn targets_hold_nothing_but_an_origin() {
        assert_eq!(
            target("https://rp.example:8443/back?a=b"),
            "https://rp.example:8443"
        );
        assert_eq!(target("http://[::1]:80/x"), "http://[::1]:80");
        assert_eq!(target("org.example.app:/back"), "org.example.app:");
        assert_eq!(target("https://a;script-src x/"), "");
        assert_eq!(target("no scheme"), "");
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::COOKIE,
            "login-language=fr; login=1".parse().unwrap(),
        );
        assert_eq!(chosen_language(&headers), "fr");
        assert_eq!(cookie(&headers, "login"), Some("1"));
        assert_eq!(cookie(&headers, "log"), None);
    }
}
