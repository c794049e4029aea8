//! Compact encryption (RFC 7516, 7518) with AES-GCM content.

use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeyPairComponents, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::{aead, key_wrap};
use key_wrap::KeyWrap;
use publica_types::{Entropy, Secret};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::jwk::{Params, number, required_members};
use crate::key::{crypto, ec_private, ecdh, sha256};
use crate::{
    Curve, Header, JoseError, JweAlg, JweEnc, Jwk, KeyUse, MAX_TOKEN_BYTES, Protected, b64,
    der::RsaPrivate, strict,
};

const TAG_BYTES: usize = 16;

/// A private key that decrypts.
pub struct DecryptionKey {
    inner: Inner,
    kid: Option<String>,
    public: Option<Jwk>,
}

enum Inner {
    Ec(Curve, Zeroizing<Vec<u8>>),
    Rsa(OaepPrivateDecryptingKey, Secret<Vec<u8>>),
    Shared(Zeroizing<Vec<u8>>),
}

impl DecryptionKey {
    /// Makes a new elliptic-curve key from `entropy`.
    pub fn generate(curve: Curve, entropy: &dyn Entropy) -> Result<Self, JoseError> {
        let (private, point) = ec_private(curve, entropy)?;
        let public = Jwk::from_ec_point(curve, &point)?;
        Ok(Self::assemble(Inner::Ec(curve, private), public))
    }

    /// An elliptic-curve key from its private number, as long as the curve's field.
    pub fn from_ec_private(curve: Curve, private: &[u8]) -> Result<Self, JoseError> {
        let refused = |_| JoseError::InvalidKey("not a private number of this curve");
        let key = PrivateKey::from_private_key(ecdh(curve), private).map_err(refused)?;
        let point = key.compute_public_key().map_err(crypto)?;
        let public = Jwk::from_ec_point(curve, point.as_ref())?;
        Ok(Self::assemble(
            Inner::Ec(curve, Zeroizing::new(private.to_vec())),
            public,
        ))
    }

    /// An RSA key from a PKCS#8 document.
    pub fn from_rsa_pkcs8(pkcs8: &[u8]) -> Result<Self, JoseError> {
        let refused = |_| JoseError::InvalidKey("the document does not hold an RSA key");
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(refused)?;
        let numbers = RsaPrivate::from_pkcs8(pkcs8)?;
        let public = Jwk::from_rsa(&numbers.n, &numbers.e)?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(crypto)?;
        Ok(Self::assemble(
            Inner::Rsa(key, Secret::new(pkcs8.to_vec())),
            public,
        ))
    }

    /// A key that both sides share, 16 or 32 bytes, for `dir`.
    pub fn shared(key: &[u8]) -> Result<Self, JoseError> {
        if !matches!(key.len(), 16 | 32) {
            return Err(JoseError::InvalidKey("a shared key has 16 or 32 bytes"));
        }
        let inner = Inner::Shared(Zeroizing::new(key.to_vec()));
        Ok(Self {
            inner,
            kid: None,
            public: None,
        })
    }

    /// Reads a private EC or RSA JWK.
    pub fn from_jwk(json: &[u8]) -> Result<Self, JoseError> {
        let object = strict::parse_object(json)?;
        let public = Jwk::from_members(&object)?;
        let private = |name| number(&object, name).map(Zeroizing::new);
        let mut key = match public.params() {
            Params::Ec(curve, _) => Self::from_ec_private(*curve, &private("d")?)?,
            Params::Rsa { n, e } => {
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
                let pair = RsaKeyPair::from_components(&components).map_err(|_| MISMATCH)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(crypto)?;
                Self::from_rsa_pkcs8(der.as_ref())?
            }
            Params::Ed25519(_) => {
                return Err(JoseError::InvalidKey("an Ed25519 key does not decrypt"));
            }
        };
        if key.public.as_ref() != Some(&public) {
            return Err(MISMATCH);
        }
        if let Some(kid) = public.kid() {
            key = key.with_kid(kid);
        }
        Ok(key)
    }

    fn assemble(inner: Inner, public: Jwk) -> Self {
        let kid = public.thumbprint().to_owned();
        let public = public.with_kid(kid.as_str()).with_use(KeyUse::Encryption);
        Self {
            inner,
            kid: Some(kid),
            public: Some(public),
        }
    }

    /// The same key under an id of the caller's.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        let kid = kid.into();
        self.public = self.public.map(|public| public.with_kid(kid.as_str()));
        self.kid = Some(kid);
        self
    }

    /// The key's id.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The public half; a shared key has none.
    pub fn public_jwk(&self) -> Option<&Jwk> {
        self.public.as_ref()
    }

    /// The private key for sealing: a private JWK for elliptic curves, PKCS#8 for RSA.
    pub fn to_private_bytes(&self) -> Result<Secret<Vec<u8>>, JoseError> {
        match (&self.inner, &self.public) {
            (Inner::Ec(curve, private), Some(public)) => {
                let key = PrivateKey::from_private_key(ecdh(*curve), private).map_err(crypto)?;
                let bytes: EcPrivateKeyBin<'_> = key.as_be_bytes().map_err(crypto)?;
                let mut object = required_members(public.params());
                object.insert("d".to_owned(), json!(b64::encode(bytes.as_ref())));
                if let Some(kid) = &self.kid {
                    object.insert("kid".to_owned(), json!(kid));
                }
                Ok(Secret::new(Value::Object(object).to_string().into_bytes()))
            }
            (Inner::Rsa(_, pkcs8), _) => Ok(pkcs8.clone()),
            (Inner::Shared(key), _) => Ok(Secret::new(key.to_vec())),
            (Inner::Ec(..), None) => Err(JoseError::Crypto),
        }
    }
}

const MISMATCH: JoseError = JoseError::InvalidKey("the private part does not fit the public one");

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// Whom a message is sealed for.
#[derive(Debug, Clone, Copy)]
pub enum Sealing<'a> {
    /// The holder of a public key. The algorithm must fit the key.
    To(&'a Jwk, JweAlg),
    /// Whoever shares this key.
    Shared(&'a [u8]),
}

/// A decrypted token. Decryption proves nothing about who wrote it.
#[derive(Debug)]
pub struct Decrypted {
    /// The protected header.
    pub header: Header,
    /// The content.
    pub plaintext: Vec<u8>,
}

/// Encrypts `plaintext` in the compact form.
pub fn encrypt(
    sealing: Sealing<'_>,
    enc: JweEnc,
    header: Protected,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Result<String, JoseError> {
    let (alg, kid) = match sealing {
        Sealing::To(key, alg) => (alg, key.kid()),
        Sealing::Shared(_) => (JweAlg::Direct, None),
    };
    let mut members = header.into_members(alg.name(), kid);
    members.insert("enc".to_owned(), json!(enc.name()));
    let (content_key, encrypted_key) = match sealing {
        Sealing::Shared(key) => (Zeroizing::new(key.to_vec()), Vec::new()),
        Sealing::To(key, alg) => seal_key(key, alg, enc, &mut members, entropy)?,
    };
    let protected = b64::encode(Value::Object(members).to_string());
    let mut iv = [0_u8; aead::NONCE_LEN];
    entropy.fill(&mut iv);
    let mut content = plaintext.to_vec();
    let tag = enc
        .key(&content_key)?
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(iv),
            aead::Aad::from(protected.as_bytes()),
            &mut content,
        )
        .map_err(crypto)?;
    Ok([
        protected,
        b64::encode(encrypted_key),
        b64::encode(iv),
        b64::encode(content),
        b64::encode(tag.as_ref()),
    ]
    .join("."))
}

type SealedKey = (Zeroizing<Vec<u8>>, Vec<u8>);

fn seal_key(
    key: &Jwk,
    alg: JweAlg,
    enc: JweEnc,
    members: &mut Map<String, Value>,
    entropy: &dyn Entropy,
) -> Result<SealedKey, JoseError> {
    let mut content_key = Zeroizing::new(vec![0_u8; enc.key_len()]);
    if let (Params::Rsa { n, e }, JweAlg::RsaOaep256) = (key.params(), alg) {
        entropy.fill(&mut content_key);
        let sealed = rsa_encrypt(n, e, &content_key)?;
        return Ok((content_key, sealed));
    }
    let ecdh_alg = matches!(
        alg,
        JweAlg::EcdhEs | JweAlg::EcdhEsA128Kw | JweAlg::EcdhEsA256Kw
    );
    let Params::Ec(curve, point) = key.params() else {
        return Err(JoseError::InvalidKey("the key does not fit the algorithm"));
    };
    if !ecdh_alg {
        return Err(JoseError::InvalidKey("the key does not fit the algorithm"));
    }
    let (private, public) = ec_private(*curve, entropy)?;
    let epk = required_members(&Params::Ec(*curve, public));
    members.insert("epk".to_owned(), Value::Object(epk));
    let agreed = derive(*curve, &private, point, alg, enc, members)?;
    match alg.wrapping() {
        None => Ok((agreed, Vec::new())),
        Some((cipher, _)) => {
            entropy.fill(&mut content_key);
            let kek = key_wrap::AesKek::new(cipher, &agreed).map_err(crypto)?;
            let mut sealed = vec![0; content_key.len() + 8];
            kek.wrap(&content_key, &mut sealed).map_err(crypto)?;
            Ok((content_key, sealed))
        }
    }
}

fn rsa_encrypt(n: &[u8], e: &[u8], content_key: &[u8]) -> Result<Vec<u8>, JoseError> {
    let components = PublicKeyComponents { n, e };
    let public: PublicEncryptingKey = components.try_into().map_err(crypto)?;
    let public = OaepPublicEncryptingKey::new(public).map_err(crypto)?;
    let mut sealed = vec![0; public.ciphertext_size()];
    let length = public
        .encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut sealed, None)
        .map_err(crypto)?
        .len();
    sealed.truncate(length);
    Ok(sealed)
}

/// Decrypts a compact token with whichever key fits, accepting only the listed algorithms.
/// Every cryptographic failure is the same error, so that it tells an attacker nothing.
pub fn decrypt(
    token: &str,
    keys: &[&DecryptionKey],
    algs: &[JweAlg],
    encs: &[JweEnc],
) -> Result<Decrypted, JoseError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JoseError::TooLarge {
            limit: MAX_TOKEN_BYTES,
        });
    }
    let parts: Vec<&str> = token.splitn(6, '.').collect();
    let [protected, encrypted_key, iv, content, tag] = parts[..] else {
        return Err(JoseError::Malformed("a compact encryption has five parts"));
    };
    let header = Header::decode(protected)?;
    header.check_critical(&[])?;
    // Compression before encryption leaks, and bombs the reader.
    if header.get("zip").is_some() {
        return Err(JoseError::AlgorithmNotAllowed);
    }
    let alg: JweAlg = header.alg().unwrap_or_default().parse()?;
    let enc: JweEnc = header.enc().unwrap_or_default().parse()?;
    if !algs.contains(&alg) || !encs.contains(&enc) {
        return Err(JoseError::AlgorithmNotAllowed);
    }
    let encrypted_key = b64::decode(encrypted_key)?;
    let iv: [u8; aead::NONCE_LEN] = b64::decode(iv)?
        .try_into()
        .map_err(|_| JoseError::Malformed("the initialisation vector has the wrong length"))?;
    let mut content = b64::decode(content)?;
    let tag = b64::decode(tag)?;
    if tag.len() != TAG_BYTES {
        return Err(JoseError::Malformed("the tag has the wrong length"));
    }
    let mut fitting = keys
        .iter()
        .filter(|key| key.fits(alg, header.kid()))
        .peekable();
    if fitting.peek().is_none() {
        return Err(JoseError::UnknownKey);
    }
    content.extend(tag);
    for key in fitting {
        if let Ok(plaintext) = key.open(alg, enc, &header, &encrypted_key, protected, iv, &content)
        {
            return Ok(Decrypted { header, plaintext });
        }
    }
    Err(JoseError::Undecryptable)
}

impl DecryptionKey {
    fn fits(&self, alg: JweAlg, kid: Option<&str>) -> bool {
        let kind = match self.inner {
            Inner::Rsa(..) => alg == JweAlg::RsaOaep256,
            Inner::Shared(_) => alg == JweAlg::Direct,
            Inner::Ec(..) => alg == JweAlg::EcdhEs || alg.wrapping().is_some(),
        };
        kind && match (kid, self.kid()) {
            (Some(theirs), Some(own)) => theirs == own,
            _ => true,
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one token, used once"
    )]
    fn open(
        &self,
        alg: JweAlg,
        enc: JweEnc,
        header: &Header,
        encrypted_key: &[u8],
        protected: &str,
        iv: [u8; aead::NONCE_LEN],
        content: &[u8],
    ) -> Result<Vec<u8>, JoseError> {
        let content_key = self.content_key(alg, enc, header, encrypted_key)?;
        let mut buffer = content.to_vec();
        let length = enc
            .key(&content_key)?
            .open_in_place(
                aead::Nonce::assume_unique_for_key(iv),
                aead::Aad::from(protected.as_bytes()),
                &mut buffer,
            )
            .map_err(crypto)?
            .len();
        buffer.truncate(length);
        Ok(buffer)
    }

    fn content_key(
        &self,
        alg: JweAlg,
        enc: JweEnc,
        header: &Header,
        encrypted_key: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let needs_key = alg == JweAlg::RsaOaep256 || alg.wrapping().is_some();
        if needs_key == encrypted_key.is_empty() {
            return Err(JoseError::Undecryptable);
        }
        match &self.inner {
            Inner::Shared(key) => Ok(key.clone()),
            Inner::Rsa(key, _) => {
                let mut opened = Zeroizing::new(vec![0; key.min_output_size()]);
                let length = key
                    .decrypt(&OAEP_SHA256_MGF1SHA256, encrypted_key, &mut opened, None)
                    .map_err(crypto)?
                    .len();
                opened.truncate(length);
                Ok(opened)
            }
            Inner::Ec(curve, private) => {
                let epk = header.get("epk").ok_or(JoseError::Undecryptable)?;
                let epk = Jwk::from_value(epk)?;
                let Params::Ec(their_curve, point) = epk.params() else {
                    return Err(JoseError::Undecryptable);
                };
                if their_curve != curve {
                    return Err(JoseError::Undecryptable);
                }
                let agreed = derive(*curve, private, point, alg, enc, header.members())?;
                let Some((cipher, _)) = alg.wrapping() else {
                    return Ok(agreed);
                };
                if encrypted_key.len() != enc.key_len() + 8 {
                    return Err(JoseError::Undecryptable);
                }
                let kek = key_wrap::AesKek::new(cipher, &agreed).map_err(crypto)?;
                let mut opened = Zeroizing::new(vec![0; enc.key_len()]);
                kek.unwrap(encrypted_key, &mut opened).map_err(crypto)?;
                Ok(opened)
            }
        }
    }
}

/// Agrees on a secret and derives the key that the algorithm asks for (RFC 7518 section 4.6.2).
fn derive(
    curve: Curve,
    private: &[u8],
    point: &[u8],
    alg: JweAlg,
    enc: JweEnc,
    members: &Map<String, Value>,
) -> Result<Zeroizing<Vec<u8>>, JoseError> {
    let party = |name: &'static str| match members.get(name) {
        None => Ok(Vec::new()),
        Some(_) => number(members, name),
    };
    let (apu, apv) = (party("apu")?, party("apv")?);
    let (id, length) = match alg.wrapping() {
        Some((_, length)) => (alg.name(), length),
        None => (enc.name(), enc.key_len()),
    };
    let private = PrivateKey::from_private_key(ecdh(curve), private).map_err(crypto)?;
    let public = UnparsedPublicKey::new(ecdh(curve), point);
    agree(&private, public, JoseError::Crypto, |secret| {
        Ok(concat_kdf(secret, id, &apu, &apv, length))
    })
}

/// The Concat KDF with SHA-256. One round, since no key here is longer than the hash.
fn concat_kdf(
    secret: &[u8],
    algorithm: &str,
    apu: &[u8],
    apv: &[u8],
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let count = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let bits = u32::try_from(length * 8).unwrap_or(u32::MAX).to_be_bytes();
    let mut input = Zeroizing::new(1_u32.to_be_bytes().to_vec());
    input.extend_from_slice(secret);
    for part in [algorithm.as_bytes(), apu, apv] {
        input.extend_from_slice(&count(part));
        input.extend_from_slice(part);
    }
    input.extend_from_slice(&bits);
    Zeroizing::new(sha256(&input).as_ref()[..length].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concat_kdf_gives_the_key_of_rfc_7518_appendix_c() {
        let alice = br#"{"kty":"EC","crv":"P-256",
            "x":"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0",
            "y":"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
            "d":"0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo"}"#;
        let bob = br#"{"kty":"EC","crv":"P-256",
            "x":"weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
            "y":"e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
            "d":"VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw"}"#;
        let alice = DecryptionKey::from_jwk(alice).unwrap();
        let bob = DecryptionKey::from_jwk(bob).unwrap();
        let members = strict::parse_object(br#"{"apu":"QWxpY2U","apv":"Qm9i"}"#).unwrap();
        let Inner::Ec(_, private) = &alice.inner else {
            unreachable!()
        };
        let Params::Ec(_, point) = bob.public_jwk().unwrap().params() else {
            unreachable!()
        };
        let key = derive(
            Curve::P256,
            private,
            point,
            JweAlg::EcdhEs,
            JweEnc::A128Gcm,
            &members,
        );
        assert_eq!(b64::encode(key.unwrap()), "VqqN6vgjbSBcIijNcacQGg");
    }
}
