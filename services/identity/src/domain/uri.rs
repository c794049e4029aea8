//! Addresses that relying parties register.

const MAX_LEN: usize = 2_048;

/// Whether a text may be a redirect URI: absolute, ASCII, without a fragment, a wildcard or user
/// information, of no scheme that a browser would run. Plain `http` only where `allow_http`.
pub(crate) fn is_redirect_uri(uri: &str, allow_http: bool) -> bool {
    if uri.contains(['#', '*']) || uri.len() > MAX_LEN {
        return false;
    }
    let Some((scheme, rest)) = split(uri) else {
        return false;
    };
    match scheme.as_str() {
        "https" => has_host(rest),
        "http" => allow_http && has_host(rest),
        "javascript" | "data" | "vbscript" | "file" | "blob" | "about" | "view-source" => false,
        // An application's own scheme (RFC 8252, 7.1) is a reversed domain name.
        _ => scheme.contains('.') && rest.starts_with('/'),
    }
}

/// Whether a text may be the address of a logo.
pub(crate) fn is_web_uri(uri: &str) -> bool {
    split(uri)
        .is_some_and(|(scheme, rest)| matches!(scheme.as_str(), "http" | "https") && has_host(rest))
}

/// Scheme in lower case, and what follows the colon.
fn split(uri: &str) -> Option<(String, &str)> {
    let printable = |byte: u8| byte.is_ascii_graphic() && !b"<>\"{}|\\^`".contains(&byte);
    if !uri.bytes().all(printable) {
        return None;
    }
    let (scheme, rest) = uri.split_once(':')?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let sound = scheme
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && scheme.bytes().all(allowed);
    sound.then(|| (scheme.to_ascii_lowercase(), rest))
}

fn has_host(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix("//") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((host, after)) => (host, after),
            None => return false,
        },
        None => authority
            .find(':')
            .map_or((authority, ""), |at| authority.split_at(at)),
    };
    let port_sound = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|digits| digits.parse::<u16>().is_ok());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
    !host.is_empty() && host.bytes().all(allowed) && port_sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_redirect_uris() {
        for uri in [
            "https://portal.example.org/back",
            "https://portal.example.org:8443/back?a=b",
            "https://[::1]:8443/back",
            "HTTPS://portal.example.org",
            "com.example.app:/back",
        ] {
            assert!(is_redirect_uri(uri, false), "{uri}");
        }
        assert!(is_redirect_uri("http://127.0.0.1:3000/back", true));
        assert!(!is_redirect_uri("http://127.0.0.1:3000/back", false));
    }

    #[test]
    fn unsound_redirect_uris() {
        for uri in [
            "",
            "portal",
            "/back",
            "//portal.example.org/back",
            "https:///back",
            "https:portal",
            "https://user@portal.example.org/",
            "https://user:word@portal.example.org/",
            "https://portal.example.org/#part",
            "https://*.example.org/",
            "https://portal.example.org:port/",
            "https://portal.example.org:99999/",
            "https://portal example.org/",
            "https://pörtal.example.org/",
            "javascript:alert(1)",
            "JavaScript://portal.example.org/%0aalert(1)",
            "data:text/html,x",
            "myapp:/back",
            "https://[::1/back",
            "https://portal.example.org/\\evil",
        ] {
            assert!(!is_redirect_uri(uri, true), "{uri}");
        }
    }

    #[test]
    fn logos_are_on_the_web() {
        assert!(is_web_uri("http://example.com"));
        for uri in [
            "",
            "ftp://example.com",
            "logo.png",
            "data:image/png;base64,AA==",
        ] {
            assert!(!is_web_uri(uri), "{uri}");
        }
    }
}
