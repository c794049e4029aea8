//! What never reaches a log line.

/// Parts of field names whose values are secrets or personal.
const CONFIDENTIAL: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "token",
    "authorization",
    "cookie",
    "api_key",
    "apikey",
    "private_key",
    "credential",
    "passcode",
    "one_time_code",
    "otp",
    "pin",
    "email",
    "phone",
    "national_id",
    "birth",
    "msisdn",
    "iban",
    "assertion",
    "signature_value",
];

/// Names that contain one of the above and are harmless all the same.
const HARMLESS: &[&str] = &["token_kind", "token_count", "page_token_given", "key_id"];

pub(crate) const MASK: &str = "***";

/// True if the values of this field are never shown.
pub(crate) fn is_confidential(field: &str) -> bool {
    let field = field.to_ascii_lowercase().replace('-', "_");
    if HARMLESS.contains(&field.as_str()) {
        return false;
    }
    CONFIDENTIAL.iter().any(|name| match *name {
        // Short words would match inside others, such as `pin` in `shipping`.
        "otp" | "pin" => field.split(['_', '.']).any(|part| part == *name),
        long => field.contains(long),
    })
}

/// Masks what looks like a credential inside a text: bearer tokens, JSON web tokens, passwords
/// in addresses, private keys.
pub(crate) fn text(text: &str) -> String {
    if text.contains("PRIVATE KEY-----") {
        return MASK.to_owned();
    }
    if !["eyJ", "earer ", "asic ", "://"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        return text.to_owned();
    }
    let mut masked = String::with_capacity(text.len());
    let mut after_scheme = false;
    for part in text.split_inclusive(|c: char| c.is_whitespace() || "\"',;()".contains(c)) {
        let word = part.trim_end_matches(|c: char| c.is_whitespace() || "\"',;()".contains(c));
        let rest = &part[word.len()..];
        if word.is_empty() {
            masked.push_str(part);
            continue;
        }
        let jwt = word.contains("eyJ") && word.matches('.').count() >= 2;
        if after_scheme || jwt {
            masked.push_str(MASK);
        } else {
            masked.push_str(&without_password(word));
        }
        masked.push_str(rest);
        after_scheme = ["Bearer", "bearer", "Basic", "basic"].contains(&word);
    }
    masked
}

/// `scheme://user:password@host` without the password.
fn without_password(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{name}:{MASK}{}", &rest[user.len()..])
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidential_fields_are_known_by_name() {
        for name in [
            "password",
            "client_secret",
            "Authorization",
            "user.otp",
            "x-api-key",
            "pin",
        ] {
            assert!(is_confidential(name), "{name}");
        }
        for name in [
            "account.id",
            "shipping",
            "duration_ms",
            "token_count",
            "kind",
        ] {
            assert!(!is_confidential(name), "{name}");
        }
    }

    #[test]
    fn credentials_inside_text_are_masked() {
        for (given, shown) in [
            ("sent Bearer abc.def", "sent Bearer ***"),
            ("got eyJhbGciOi.eyJzdWIi.c2ln, sorry", "got ***, sorry"),
            (
                "open postgres://app:hunter2@db/x failed",
                "open postgres://app:***@db/x failed",
            ),
            (
                "see https://example.org/a@b:c",
                "see https://example.org/a@b:c",
            ),
            ("-----BEGIN PRIVATE KEY-----\nMC4", "***"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(text(given), shown);
        }
    }
}
