//! Private keys for signing.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use aws_lc_rs::{agreement, digest};
use publica_types::{Entropy, Secret};
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use crate::der::RsaPrivate;
use crate::jwk::{Params, number, required_members};
use crate::{Alg, Curve, JoseError, Jwk, KeyUse, b64, strict};

/// A private key that signs with one algorithm. Cheap to clone; never prints itself.
#[derive(Clone)]
pub struct SigningKey {
    alg: Alg,
    pair: Arc<Pair>,
    public: Jwk,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Makes a new key. Ed25519 and elliptic-curve keys come from `entropy` alone, so a seeded
    /// source repeats them; RSA keys (3072 bits) always come from the system's generator.
    pub fn generate(alg: Alg, entropy: &dyn Entropy) -> Result<Self, JoseError> {
        match alg {
            Alg::EdDsa => {
                let mut seed = Zeroizing::new([0_u8; 32]);
                entropy.fill(seed.as_mut());
                Self::from_ed25519_seed(seed.as_ref())
            }
            Alg::Es256 => Self::generate_ec(Curve::P256, entropy),
            Alg::Es384 => Self::generate_ec(Curve::P384, entropy),
            Alg::Rs256 | Alg::Ps256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa3072).map_err(crypto)?;
                Self::from_rsa_pair(alg, pair)
            }
        }
    }

    fn generate_ec(curve: Curve, entropy: &dyn Entropy) -> Result<Self, JoseError> {
        let (private, point) = ec_private(curve, entropy)?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(ecdsa(curve), &private, &point)
            .map_err(crypto)?;
        Self::from_ec_pair(curve, pair)
    }

    /// Reads a PKCS#8 document; `alg` says how the key will be used and must fit it.
    pub fn from_pkcs8(alg: Alg, pkcs8: &[u8]) -> Result<Self, JoseError> {
        let refused = |_| JoseError::InvalidKey("the PKCS#8 document does not hold such a key");
        match alg {
            Alg::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
                .map_err(refused)
                .and_then(Self::from_ed25519_pair),
            Alg::Es256 | Alg::Es384 => {
                let curve = if alg == Alg::Es256 {
                    Curve::P256
                } else {
                    Curve::P384
                };
                EcdsaKeyPair::from_pkcs8(ecdsa(curve), pkcs8)
                    .map_err(refused)
                    .and_then(|pair| Self::from_ec_pair(curve, pair))
            }
            Alg::Rs256 | Alg::Ps256 => RsaKeyPair::from_pkcs8(pkcs8)
                .map_err(refused)
                .and_then(|pair| Self::from_rsa_pair(alg, pair)),
        }
    }

    /// Reads a private JWK. An RSA key needs its `alg`, since it could sign with two.
    pub fn from_jwk(json: &[u8]) -> Result<Self, JoseError> {
        Self::from_jwk_value(&strict::parse(json)?)
    }

    /// Reads a private JWK from parsed JSON.
    pub fn from_jwk_value(value: &Value) -> Result<Self, JoseError> {
        let object = value
            .as_object()
            .ok_or(JoseError::Malformed("a key is a JSON object"))?;
        let public = Jwk::from_members(object)?;
        let stated = public.alg().map(str::parse::<Alg>).transpose()?;
        let private = |name| number(object, name).map(Zeroizing::new);
        let mismatch = |_| JoseError::InvalidKey("the private part does not fit the public one");
        let mut key = match public.params() {
            Params::Ed25519(point) => {
                Ed25519KeyPair::from_seed_and_public_key(&private("d")?, point)
                    .map_err(mismatch)
                    .and_then(Self::from_ed25519_pair)?
            }
            Params::Ec(curve, point) => {
                let algorithm = ecdsa(*curve);
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private("d")?, point)
                    .map_err(mismatch)
                    .and_then(|pair| Self::from_ec_pair(*curve, pair))?
            }
            Params::Rsa { n, e } => {
                let alg = stated.ok_or(JoseError::InvalidKey("an RSA key needs its alg"))?;
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents {
                        n: n.clone(),
                        e: e.clone(),
                    },
                    d: private("d")?,
                    p: private("p")?,
                    q: private("q")?,
                    dP: private("dp")?,
                    dQ: private("dq")?,
                    qInv: private("qi")?,
                };
                RsaKeyPair::from_components(&components)
                    .map_err(mismatch)
                    .and_then(|pair| Self::from_rsa_pair(alg, pair))?
            }
        };
        if stated.is_some_and(|alg| alg != key.alg) {
            return Err(JoseError::InvalidKey("the alg does not fit the key"));
        }
        if let Some(kid) = public.kid() {
            key = key.with_kid(kid);
        }
        Ok(key)
    }

    /// An Ed25519 key from its 32-byte seed.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self, JoseError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| JoseError::InvalidKey("an Ed25519 seed has 32 bytes"))
            .and_then(Self::from_ed25519_pair)
    }

    fn from_ed25519_pair(pair: Ed25519KeyPair) -> Result<Self, JoseError> {
        let public = Jwk::from_ed25519(pair.public_key().as_ref())?;
        Ok(Self::assemble(Alg::EdDsa, Pair::Ed25519(pair), public))
    }

    fn from_ec_pair(curve: Curve, pair: EcdsaKeyPair) -> Result<Self, JoseError> {
        let alg = if curve == Curve::P256 {
            Alg::Es256
        } else {
            Alg::Es384
        };
        let public = Jwk::from_ec_point(curve, pair.public_key().as_ref())?;
        Ok(Self::assemble(alg, Pair::Ec(pair), public))
    }

    fn from_rsa_pair(alg: Alg, pair: RsaKeyPair) -> Result<Self, JoseError> {
        if !matches!(alg, Alg::Rs256 | Alg::Ps256) {
            return Err(JoseError::InvalidKey("the alg does not fit the key"));
        }
        let numbers = rsa_numbers(&pair)?;
        let public = Jwk::from_rsa(&numbers.n, &numbers.e)?;
        Ok(Self::assemble(alg, Pair::Rsa(pair), public))
    }

    fn assemble(alg: Alg, pair: Pair, public: Jwk) -> Self {
        let kid = public.thumbprint().to_owned();
        let public = public
            .with_kid(kid)
            .with_alg(alg.name())
            .with_use(KeyUse::Signature);
        Self {
            alg,
            pair: Arc::new(pair),
            public,
        }
    }

    /// The same key under another id than its thumbprint.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.public = self.public.with_kid(kid);
        self
    }

    /// The algorithm the key signs with.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// The key's id: its RFC 7638 thumbprint unless another was given.
    pub fn kid(&self) -> &str {
        self.public
            .kid()
            .unwrap_or_else(|| self.public.thumbprint())
    }

    /// The public half, with id, algorithm and use.
    pub fn public_jwk(&self) -> &Jwk {
        &self.public
    }

    /// Signs `message`. ECDSA signatures are the two numbers side by side, as JOSE wants them.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the library that signs takes no randomness but its own"
        )]
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ec(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(crypto),
            Pair::Rsa(pair) => {
                let padding = if self.alg == Alg::Ps256 {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature)
                    .map_err(crypto)?;
                Ok(signature)
            }
        }
    }

    /// The key as a PKCS#8 document, for sealing.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, JoseError> {
        let der: Pkcs8V1Der<'_> = match &*self.pair {
            Pair::Ed25519(pair) => pair.as_der(),
            Pair::Ec(pair) => {
                let document = pair.to_pkcs8v1().map_err(crypto)?;
                return Ok(Secret::new(document.as_ref().to_vec()));
            }
            Pair::Rsa(pair) => pair.as_der(),
        }
        .map_err(crypto)?;
        Ok(Secret::new(der.as_ref().to_vec()))
    }

    /// The key as a private JWK, for a key file.
    pub fn to_private_jwk(&self) -> Result<Secret<String>, JoseError> {
        let mut object = required_members(self.public.params());
        let mut put = |name: &str, bytes: &[u8]| {
            object.insert(name.to_owned(), Value::String(b64::encode(bytes)));
        };
        match &*self.pair {
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(crypto)?;
                let bytes: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(crypto)?;
                put("d", bytes.as_ref());
            }
            Pair::Ec(pair) => {
                let private = pair.private_key();
                let bytes: EcPrivateKeyBin<'_> = private.as_be_bytes().map_err(crypto)?;
                put("d", bytes.as_ref());
            }
            Pair::Rsa(pair) => {
                let numbers = rsa_numbers(pair)?;
                put("d", &numbers.d);
                put("p", &numbers.p);
                put("q", &numbers.q);
                put("dp", &numbers.dp);
                put("dq", &numbers.dq);
                put("qi", &numbers.qi);
            }
        }
        object.insert("kid".to_owned(), Value::String(self.kid().to_owned()));
        object.insert("alg".to_owned(), Value::String(self.alg.name().to_owned()));
        let text = Value::Object(object.clone()).to_string();
        for (_, member) in &mut object {
            if let Value::String(text) = member {
                text.zeroize();
            }
        }
        Ok(Secret::new(text))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("alg", &self.alg)
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

fn ecdsa(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
    }
}

pub(crate) fn ecdh(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    }
}

/// A private number from the given entropy, and its public point. Numbers outside the group's
/// order are drawn again; that happens about once in 2^32 draws.
pub(crate) fn ec_private(
    curve: Curve,
    entropy: &dyn Entropy,
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), JoseError> {
    for _ in 0..8 {
        let mut bytes = Zeroizing::new(vec![0_u8; curve.field_len()]);
        entropy.fill(&mut bytes);
        if let Ok(private) = agreement::PrivateKey::from_private_key(ecdh(curve), &bytes) {
            let point = private.compute_public_key().map_err(crypto)?;
            return Ok((bytes, point.as_ref().to_vec()));
        }
    }
    Err(JoseError::Crypto)
}

fn rsa_numbers(pair: &RsaKeyPair) -> Result<RsaPrivate, JoseError> {
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(crypto)?;
    RsaPrivate::from_pkcs8(der.as_ref())
}

pub(crate) fn crypto<E>(_: E) -> JoseError {
    JoseError::Crypto
}

/// SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}
