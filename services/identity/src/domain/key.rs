//! Public keys that relying parties bring.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

const MAX_LEN: usize = 8_192;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Members that only a private or a shared key has.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Whether a text is a public JSON Web Key that may verify a client's assertions: RSA of 2,048
/// bits or more, a P-256 key or an Ed25519 key, without a private member.
pub(crate) fn is_public_key(text: &str) -> bool {
    let Some(key) = key_of(text).filter(is_for_signatures) else {
        return false;
    };
    match key.get("kty").and_then(Value::as_str) {
        Some("RSA") => is_rsa(&key),
        Some("EC") => {
            curve(&key) == Some("P-256") && coordinate(&key, "x") && coordinate(&key, "y")
        }
        Some("OKP") => curve(&key) == Some("Ed25519") && coordinate(&key, "x"),
        _ => false,
    }
}

/// Whether a client's own key may also encrypt: an RSA key that is not reserved for signatures.
/// Keys of curves serve one purpose only, so they must be registered for encryption.
pub(crate) fn may_encrypt(text: &str) -> bool {
    key_of(text).is_some_and(|key| is_for_encryption(&key) && is_kind(&key, "RSA") && is_rsa(&key))
}

/// Whether a text is a public key that claims can be encrypted to: RSA of 2,048 bits or more, or
/// a P-256 key, without a private member and not reserved for signatures.
pub(crate) fn is_encryption_key(text: &str) -> bool {
    let Some(key) = key_of(text).filter(is_for_encryption) else {
        return false;
    };
    let curve_key = is_kind(&key, "EC") && curve(&key) == Some("P-256");
    (is_kind(&key, "RSA") && is_rsa(&key))
        || (curve_key && coordinate(&key, "x") && coordinate(&key, "y"))
}

/// A public key's members, if a text is one.
fn key_of(text: &str) -> Option<Map<String, Value>> {
    if text.len() > MAX_LEN {
        return None;
    }
    let Ok(Value::Object(key)) = serde_json::from_str::<Value>(text) else {
        return None;
    };
    let private = PRIVATE.iter().any(|name| key.contains_key(*name));
    (!private).then_some(key)
}

fn is_kind(key: &Map<String, Value>, kind: &str) -> bool {
    key.get("kty").is_some_and(|kty| kty == kind)
}

fn is_for_encryption(key: &Map<String, Value>) -> bool {
    let usage = key.get("use").is_none_or(|usage| usage == "enc");
    let fits = |alg: &str| alg.starts_with("RSA-OAEP-256") || alg.starts_with("ECDH-ES");
    let algorithm = key
        .get("alg")
        .is_none_or(|alg| alg.as_str().is_some_and(fits));
    let operations = key.get("key_ops").is_none_or(|operations| {
        let listed = operations.as_array().into_iter().flatten();
        listed
            .filter_map(Value::as_str)
            .any(|one| matches!(one, "encrypt" | "wrapKey" | "deriveKey" | "deriveBits"))
    });
    usage && algorithm && operations
}

fn is_for_signatures(key: &Map<String, Value>) -> bool {
    let usage = key.get("use").is_none_or(|usage| usage == "sig");
    let operations = key.get("key_ops").is_none_or(|operations| {
        operations
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one == "verify"))
    });
    usage && operations
}

fn curve(key: &Map<String, Value>) -> Option<&str> {
    key.get("crv").and_then(Value::as_str)
}

fn bytes(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()
}

fn coordinate(key: &Map<String, Value>, name: &str) -> bool {
    bytes(key, name).is_some_and(|bytes| bytes.len() == 32)
}

fn is_rsa(key: &Map<String, Value>) -> bool {
    let (Some(modulus), Some(exponent)) = (bytes(key, "n"), bytes(key, "e")) else {
        return false;
    };
    let significant: &[u8] = match modulus.iter().position(|byte| *byte != 0) {
        Some(first) => &modulus[first..],
        None => return false,
    };
    let bits = significant.len() * 8 - usize::try_from(significant[0].leading_zeros()).unwrap_or(0);
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last % 2 == 1);
    let exponent_sound = odd(&exponent) && exponent.len() <= 4 && exponent != [1];
    RSA_BITS.contains(&bits) && odd(&modulus) && exponent_sound
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(bytes: usize, last: u8, exponent: &[u8]) -> Value {
        let mut modulus = vec![0xAB; bytes];
        *modulus.last_mut().unwrap() = last;
        json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus),
               "e": URL_SAFE_NO_PAD.encode(exponent)})
    }

    fn with(mut key: Value, name: &str, value: &str) -> Value {
        key[name] = value.into();
        key
    }

    #[test]
    fn public_keys() {
        let point = URL_SAFE_NO_PAD.encode([7; 32]);
        for key in [
            rsa(256, 1, &[1, 0, 1]),
            with(rsa(512, 3, &[1, 0, 1]), "use", "sig"),
            json!({"kty": "EC", "crv": "P-256", "x": point, "y": point}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": point}),
        ] {
            assert!(is_public_key(&key.to_string()), "{key}");
        }
    }

    #[test]
    fn everything_else() {
        let point = URL_SAFE_NO_PAD.encode([7; 32]);
        for key in [
            json!({}),
            json!([]),
            json!("key"),
            rsa(255, 1, &[1, 0, 1]),
            rsa(256, 2, &[1, 0, 1]),
            rsa(256, 1, &[1, 0, 0]),
            rsa(256, 1, &[1]),
            rsa(256, 1, &[]),
            with(rsa(256, 1, &[1, 0, 1]), "d", "AQAB"),
            with(rsa(256, 1, &[1, 0, 1]), "use", "enc"),
            with(rsa(256, 1, &[1, 0, 1]), "n", "not base64"),
            json!({"kty": "RSA", "e": "AQAB"}),
            json!({"kty": "oct", "k": point}),
            json!({"kty": "EC", "crv": "P-999", "x": point, "y": point}),
            json!({"kty": "EC", "crv": "P-256", "x": point}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        ] {
            assert!(!is_public_key(&key.to_string()), "{key}");
        }
        assert!(!is_public_key("{"));
    }
}
