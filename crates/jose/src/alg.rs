//! Signature algorithms.

use std::fmt;
use std::str::FromStr;

use crate::JoseError;

/// A signature algorithm of JWS that the suite uses. All are asymmetric; `none` and HMAC have
/// no value here, so no list of accepted algorithms can contain them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alg {
    /// Edwards-curve signature with Ed25519 (RFC 8037; also read as `Ed25519`, RFC 9864).
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256; legacy, but GovStack's profile names it.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl Alg {
    /// Every algorithm, for callers who accept all that is safe.
    pub const ALL: &'static [Alg] = &[Alg::EdDsa, Alg::Es256, Alg::Es384, Alg::Rs256, Alg::Ps256];

    /// The name that goes into a header.
    pub const fn name(self) -> &'static str {
        match self {
            Alg::EdDsa => "EdDSA",
            Alg::Es256 => "ES256",
            Alg::Es384 => "ES384",
            Alg::Rs256 => "RS256",
            Alg::Ps256 => "PS256",
        }
    }
}

impl FromStr for Alg {
    type Err = JoseError;

    fn from_str(name: &str) -> Result<Self, JoseError> {
        match name {
            "EdDSA" | "Ed25519" => Ok(Alg::EdDsa),
            "ES256" => Ok(Alg::Es256),
            "ES384" => Ok(Alg::Es384),
            "RS256" => Ok(Alg::Rs256),
            "PS256" => Ok(Alg::Ps256),
            _ => Err(JoseError::AlgorithmNotAllowed),
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
