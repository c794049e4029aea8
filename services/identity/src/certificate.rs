//! The self-signed certificates that stand beside RSA keys in the published key set.
//!
//! Nothing trusts them: verifiers use the key. They are there because the published schema of
//! the key set wants `x5c` and `x5t#S256` on every key.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_jose::{SigningKey, base64url, base64url_decode};
use publica_types::{Entropy, Timestamp};
use rcgen::{CertificateParams, DistinguishedName, DnType, SerialNumber};

/// Years that a certificate is good for; the key is withdrawn long before.
const YEARS: i32 = 10;

/// A certificate as the key set shows it.
pub(crate) struct Shown {
    /// The certificate in standard base64.
    pub(crate) base64: String,
    /// Its SHA-256 in base64url.
    pub(crate) thumbprint: String,
}

/// Makes the certificate of a key, or nothing if the key is not RSA.
pub(crate) fn self_signed(
    key: &SigningKey,
    issuer: &str,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Option<Shown> {
    let signer = Signer {
        key,
        der: rsa_public_key(key)?,
    };
    let mut serial = [0_u8; 16];
    entropy.fill(&mut serial);
    serial[0] &= 0x7f;
    let (year, month, day) = now.date();
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    // The last of February may not exist ten years on; the first of a month always does.
    params.not_after = rcgen::date_time_ymd(year + YEARS, month, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, issuer);
    let certificate = params.self_signed(&signer).ok()?;
    let der = certificate.der().as_ref();
    Some(Shown {
        base64: STANDARD.encode(der),
        thumbprint: base64url(digest(&SHA256, der)),
    })
}

struct Signer<'a> {
    key: &'a SigningKey,
    der: Vec<u8>,
}

impl rcgen::PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.der
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key
            .sign(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// `RSAPublicKey` of RFC 8017: a sequence of modulus and exponent.
fn rsa_public_key(key: &SigningKey) -> Option<Vec<u8>> {
    let jwk = key.public_jwk().to_value();
    let number = |name: &str| base64url_decode(jwk.get(name)?.as_str()?).ok();
    let mut content = integer(&number("n")?);
    content.extend(integer(&number("e")?));
    Some(tagged(0x30, &content))
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    let mut content = bytes[first..].to_vec();
    if content.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    tagged(0x02, &content)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    let length = content.len().to_be_bytes();
    let first = length
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(length.len() - 1);
    let length = &length[first..];
    match length {
        [short] if *short < 0x80 => der.push(*short),
        _ => {
            der.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            der.extend_from_slice(length);
        }
    }
    der.extend_from_slice(content);
    der
}
