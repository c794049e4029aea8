//! Algorithms of JWE.

use std::str::FromStr;

use aws_lc_rs::{aead, key_wrap};

use crate::JoseError;
use crate::key::crypto;

/// How the content key reaches the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JweAlg {
    /// RSAES-OAEP with SHA-256.
    RsaOaep256,
    /// ECDH with an ephemeral key; the agreed key encrypts the content.
    EcdhEs,
    /// ECDH with an ephemeral key; the agreed key wraps the content key (AES-128).
    EcdhEsA128Kw,
    /// ECDH with an ephemeral key; the agreed key wraps the content key (AES-256).
    EcdhEsA256Kw,
    /// A key that both sides share already.
    Direct,
}

impl JweAlg {
    /// The name that goes into a header.
    pub const fn name(self) -> &'static str {
        match self {
            JweAlg::RsaOaep256 => "RSA-OAEP-256",
            JweAlg::EcdhEs => "ECDH-ES",
            JweAlg::EcdhEsA128Kw => "ECDH-ES+A128KW",
            JweAlg::EcdhEsA256Kw => "ECDH-ES+A256KW",
            JweAlg::Direct => "dir",
        }
    }

    /// For ECDH with key wrapping: the wrapping cipher and its key length.
    pub(crate) fn wrapping(self) -> Option<(&'static key_wrap::AesBlockCipher, usize)> {
        match self {
            JweAlg::EcdhEsA128Kw => Some((&key_wrap::AES_128, 16)),
            JweAlg::EcdhEsA256Kw => Some((&key_wrap::AES_256, 32)),
            _ => None,
        }
    }
}

impl FromStr for JweAlg {
    type Err = JoseError;

    fn from_str(name: &str) -> Result<Self, JoseError> {
        [
            JweAlg::RsaOaep256,
            JweAlg::EcdhEs,
            JweAlg::EcdhEsA128Kw,
            JweAlg::EcdhEsA256Kw,
            JweAlg::Direct,
        ]
        .into_iter()
        .find(|alg| alg.name() == name)
        .ok_or(JoseError::AlgorithmNotAllowed)
    }
}

/// How the content is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JweEnc {
    /// AES-GCM with a 128-bit key.
    A128Gcm,
    /// AES-GCM with a 256-bit key.
    A256Gcm,
}

impl JweEnc {
    /// The name that goes into a header.
    pub const fn name(self) -> &'static str {
        match self {
            JweEnc::A128Gcm => "A128GCM",
            JweEnc::A256Gcm => "A256GCM",
        }
    }

    pub(crate) const fn key_len(self) -> usize {
        match self {
            JweEnc::A128Gcm => 16,
            JweEnc::A256Gcm => 32,
        }
    }

    pub(crate) fn key(self, bytes: &[u8]) -> Result<aead::LessSafeKey, JoseError> {
        let algorithm = match self {
            JweEnc::A128Gcm => &aead::AES_128_GCM,
            JweEnc::A256Gcm => &aead::AES_256_GCM,
        };
        aead::UnboundKey::new(algorithm, bytes)
            .map(aead::LessSafeKey::new)
            .map_err(crypto)
    }
}

impl FromStr for JweEnc {
    type Err = JoseError;

    fn from_str(name: &str) -> Result<Self, JoseError> {
        match name {
            "A128GCM" => Ok(JweEnc::A128Gcm),
            "A256GCM" => Ok(JweEnc::A256Gcm),
            _ => Err(JoseError::AlgorithmNotAllowed),
        }
    }
}
