//! Signatures per Standard Webhooks.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The header `webhook-signature`: one signature for each secret in use.
pub fn signature(secrets: &[Vec<u8>], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut content = format!("{id}.{seconds}.").into_bytes();
    content.extend_from_slice(body);
    let signatures: Vec<String> = secrets
        .iter()
        .map(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            format!("v1,{}", STANDARD.encode(hmac::sign(&key, &content)))
        })
        .collect();
    signatures.join(" ")
}

/// The header `x-igrant-signature` of an earlier system: `t=` and Unix seconds, `,sig=` and the
/// hexadecimal HMAC-SHA256 of seconds, a dot and the body.
pub fn legacy_signature(secret: &[u8], seconds: i64, body: &[u8]) -> String {
    let mut content = format!("{seconds}.").into_bytes();
    content.extend_from_slice(body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &content);
    let digits = tag.as_ref().iter();
    let sig: String = digits.map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},sig={sig}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_agree_with_the_published_example() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        assert_eq!(
            signature(&[secret], id, 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }
}
