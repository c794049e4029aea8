//! Proof key for code exchange, RFC 7636.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Whether a text can be an `S256` challenge: the base64url form of 32 bytes.
pub(crate) fn is_challenge(challenge: &str) -> bool {
    URL_SAFE_NO_PAD
        .decode(challenge)
        .is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a verifier is well formed and belongs to the challenge.
pub(crate) fn proves(verifier: &str, challenge: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(allowed) {
        return false;
    }
    let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    verify_slices_are_equal(expected.as_bytes(), challenge.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_standard() {
        assert!(is_challenge(CHALLENGE));
        assert!(proves(VERIFIER, CHALLENGE));
    }

    #[test]
    fn anything_else_fails() {
        for verifier in [
            "",
            &VERIFIER[1..],
            &VERIFIER.to_lowercase(),
            &"ä".repeat(30),
            CHALLENGE,
        ] {
            assert!(!proves(verifier, CHALLENGE), "{verifier}");
        }
        assert!(!proves(&"a".repeat(129), CHALLENGE));
        for challenge in [
            "",
            "short",
            &CHALLENGE[1..],
            "not base64url, but as long as it!!!!!!!!!!",
        ] {
            assert!(!is_challenge(challenge), "{challenge}");
        }
    }
}
