//! Keys: made from the given randomness, signing messages, and checking foreign signatures.

use aws_lc_rs::agreement;
use aws_lc_rs::digest::{self, Algorithm, Digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    UnparsedPublicKey, VerificationAlgorithm,
};
use publica_types::Entropy;

use crate::domain::der::{self, DerError, Reader};
use crate::domain::oid;

/// A key could not be made or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not be used")]
pub(crate) struct KeyError;

/// A hash algorithm of this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) const fn oid(self) -> &'static [u8] {
        match self {
            Self::Sha256 => oid::SHA256,
            Self::Sha384 => oid::SHA384,
            Self::Sha512 => oid::SHA512,
        }
    }

    pub(crate) fn from_oid(id: &[u8]) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|hash| hash.oid() == id)
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    pub(crate) fn length(self) -> usize {
        self.algorithm().output_len()
    }

    pub(crate) fn of(self, parts: &[&[u8]]) -> Digest {
        let mut context = digest::Context::new(self.algorithm());
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    }

    /// Its AlgorithmIdentifier, without parameters.
    pub(crate) fn identifier(self) -> Vec<u8> {
        der::sequence(&[&der::oid(self.oid())])
    }
}

/// The hash of bytes with SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    Hash::Sha256.of(&[bytes]).as_ref().to_vec()
}

/// The curve of a key, which fixes the hash that it signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// The curve whose signatures use this hash.
    pub(crate) const fn fitting(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::P256,
            Hash::Sha384 => Self::P384,
            Hash::Sha512 => Self::P521,
        }
    }

    pub(crate) const fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }

    const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => oid::P256,
            Self::P384 => oid::P384,
            Self::P521 => oid::P521,
        }
    }

    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    /// The AlgorithmIdentifier of its signatures.
    pub(crate) fn signature_identifier(self) -> Vec<u8> {
        der::sequence(&[&der::oid(match self {
            Self::P256 => oid::ECDSA_SHA256,
            Self::P384 => oid::ECDSA_SHA384,
            Self::P521 => oid::ECDSA_SHA512,
        })])
    }
}

/// A private key. The library wipes it when it is dropped.
#[derive(Debug)]
pub(crate) struct PrivateKey {
    pub(crate) curve: Curve,
    pair: EcdsaKeyPair,
}

impl PrivateKey {
    /// Makes a key. Numbers outside the group are drawn again.
    pub(crate) fn generate(curve: Curve, entropy: &dyn Entropy) -> Result<Self, KeyError> {
        let (length, agreement) = match curve {
            Curve::P256 => (32, &agreement::ECDH_P256),
            Curve::P384 => (48, &agreement::ECDH_P384),
            Curve::P521 => (66, &agreement::ECDH_P521),
        };
        for _ in 0..8 {
            let mut bytes = zeroize::Zeroizing::new(vec![0_u8; length]);
            entropy.fill(&mut bytes);
            if curve == Curve::P521 {
                bytes[0] &= 1;
            }
            let Ok(private) = agreement::PrivateKey::from_private_key(agreement, &bytes) else {
                continue;
            };
            let point = private.compute_public_key().map_err(|_| KeyError)?;
            let pair = EcdsaKeyPair::from_private_key_and_public_key(
                curve.signing(),
                &bytes,
                point.as_ref(),
            );
            return Ok(Self {
                curve,
                pair: pair.map_err(|_| KeyError)?,
            });
        }
        Err(KeyError)
    }

    /// Reads a P-256 key from its PKCS#8 document.
    pub(crate) fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(Curve::P256.signing(), bytes);
        Ok(Self {
            curve: Curve::P256,
            pair: pair.map_err(|_| KeyError)?,
        })
    }

    pub(crate) fn to_pkcs8(&self) -> Result<zeroize::Zeroizing<Vec<u8>>, KeyError> {
        let document = self.pair.to_pkcs8v1().map_err(|_| KeyError)?;
        Ok(document.as_ref().to_vec().into())
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn public(&self) -> Vec<u8> {
        let algorithm =
            der::sequence(&[&der::oid(oid::EC_PUBLIC_KEY), &der::oid(self.curve.oid())]);
        der::sequence(&[
            &algorithm,
            &der::bit_string(self.pair.public_key().as_ref()),
        ])
    }

    /// Signs a message; the signature is DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the library that signs takes no randomness but its own"
        )]
        let random = SystemRandom::new();
        let signature = self.pair.sign(&random, message).map_err(|_| KeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A public key as certificates and requests carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    algorithm: Vec<u8>,
    parameters: Vec<u8>,
    pub(crate) bits: Vec<u8>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn read(spki: &[u8]) -> Result<Self, DerError> {
        let mut reader = Reader::within(spki, der::SEQUENCE)?;
        let (algorithm, parameters) = reader.algorithm()?;
        let bits = reader.bits()?;
        reader.end()?;
        Ok(Self {
            algorithm: algorithm.to_vec(),
            parameters: parameters.to_vec(),
            bits: bits.to_vec(),
        })
    }

    /// The SubjectPublicKeyInfo.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[&der::oid(&self.algorithm), &self.parameters]);
        der::sequence(&[&algorithm, &der::bit_string(&self.bits)])
    }

    /// The curve, if the key is on one that this block takes.
    pub(crate) fn curve(&self) -> Option<Curve> {
        let on = |curve: &Curve| self.parameters == der::oid(curve.oid());
        let known = [Curve::P256, Curve::P384, Curve::P521].into_iter().find(on);
        known.filter(|_| self.algorithm == oid::EC_PUBLIC_KEY)
    }

    /// Whether the key made this signature, by the algorithm's identifier.
    pub(crate) fn verifies(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let Some(verification) = self.verification(algorithm) else {
            return false;
        };
        UnparsedPublicKey::new(verification, &self.bits)
            .verify(message, signature)
            .is_ok()
    }

    fn verification(&self, algorithm: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
        use Curve::{P256, P384, P521};
        let found: &'static dyn VerificationAlgorithm = match (self.curve(), algorithm) {
            (Some(P256), oid::ECDSA_SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (Some(P256), oid::ECDSA_SHA384) => &signature::ECDSA_P256_SHA384_ASN1,
            (Some(P256), oid::ECDSA_SHA512) => &signature::ECDSA_P256_SHA512_ASN1,
            (Some(P384), oid::ECDSA_SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            (Some(P384), oid::ECDSA_SHA384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Some(P384), oid::ECDSA_SHA512) => &signature::ECDSA_P384_SHA512_ASN1,
            (Some(P521), oid::ECDSA_SHA256) => &signature::ECDSA_P521_SHA256_ASN1,
            (Some(P521), oid::ECDSA_SHA384) => &signature::ECDSA_P521_SHA384_ASN1,
            (Some(P521), oid::ECDSA_SHA512) => &signature::ECDSA_P521_SHA512_ASN1,
            (None, oid::RSA_SHA256) if self.is_rsa() => &signature::RSA_PKCS1_2048_8192_SHA256,
            (None, oid::RSA_SHA384) if self.is_rsa() => &signature::RSA_PKCS1_2048_8192_SHA384,
            (None, oid::RSA_SHA512) if self.is_rsa() => &signature::RSA_PKCS1_2048_8192_SHA512,
            (None, oid::ED25519) if self.algorithm == oid::ED25519 => &signature::ED25519,
            _ => return None,
        };
        Some(found)
    }

    fn is_rsa(&self) -> bool {
        self.algorithm == oid::RSA
    }
}

/// The hash that a signature algorithm includes, if it includes one.
pub(crate) fn hash_of_signature(algorithm: &[u8]) -> Option<Hash> {
    match algorithm {
        oid::ECDSA_SHA256 | oid::RSA_SHA256 => Some(Hash::Sha256),
        oid::ECDSA_SHA384 | oid::RSA_SHA384 => Some(Hash::Sha384),
        // RFC 8419: Ed25519 goes with SHA-512 when attributes are signed.
        oid::ECDSA_SHA512 | oid::RSA_SHA512 | oid::ED25519 => Some(Hash::Sha512),
        _ => None,
    }
}
