//! Strict base64url: no padding, no foreign characters, no loose bits at the end, so a value
//! has exactly one spelling.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::JoseError;

/// Writes bytes as base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding; any other spelling is an error.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, JoseError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| JoseError::Malformed("not strict base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_only() {
        assert_eq!(decode("AQAB").unwrap(), [1, 0, 1]);
        for bad in [
            "AQAB=", "AQ==", "AR", "A", "A+", "A/", "AQ AB", "AQ\nAB", "ÄÖ",
        ] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
