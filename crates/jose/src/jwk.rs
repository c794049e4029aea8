//! Public keys (RFC 7517, 7518, 8037) and their thumbprints (RFC 7638).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::strict::Strict;
use crate::{Alg, JoseError, b64, strict};

/// No key id, and no other text inside a key, is longer than this.
const MAX_TEXT_BYTES: usize = 512;
/// No key's JSON is longer than this; a long certificate chain fits.
const MAX_KEY_BYTES: usize = 64 * 1024;
/// Members that only private and symmetric keys have.
const PRIVATE_MEMBERS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key, complete and checked: points are on their curve, RSA moduli are 2048 to 8192
/// bits. A text with private members is not a public key and is refused.
#[derive(Clone)]
pub struct Jwk {
    params: Params,
    kid: Option<String>,
    alg: Option<String>,
    key_use: Option<KeyUse>,
    key_ops: Option<Vec<String>>,
    x5c: Vec<String>,
    thumbprint: String,
    verifier: Arc<Verifier>,
}

/// What a key is for, where its owner says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// `sig`: signatures.
    Signature,
    /// `enc`: encryption.
    Encryption,
}

/// An elliptic curve for signatures and key agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Curve {
    /// The curve's name in a JWK.
    pub const fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
        }
    }

    pub(crate) const fn field_len(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    pub(crate) fn from_name(name: &str) -> Result<Self, JoseError> {
        match name {
            "P-256" => Ok(Curve::P256),
            "P-384" => Ok(Curve::P384),
            _ => Err(JoseError::InvalidKey("the curve is not supported")),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Params {
    /// The uncompressed point, 0x04 first.
    Ec(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

enum Verifier {
    Ec(Alg, ParsedPublicKey),
    Ed25519(ParsedPublicKey),
    Rsa {
        pkcs1: ParsedPublicKey,
        pss: ParsedPublicKey,
    },
}

impl Jwk {
    /// Reads one key from JSON text.
    pub fn from_json(json: &[u8]) -> Result<Self, JoseError> {
        if json.len() > MAX_KEY_BYTES {
            return Err(JoseError::TooLarge {
                limit: MAX_KEY_BYTES,
            });
        }
        Self::from_value(&strict::parse(json)?)
    }

    /// Reads one key from parsed JSON.
    pub fn from_value(value: &Value) -> Result<Self, JoseError> {
        let object = value
            .as_object()
            .ok_or(JoseError::Malformed("a key is a JSON object"))?;
        if PRIVATE_MEMBERS
            .iter()
            .any(|member| object.contains_key(*member))
        {
            return Err(JoseError::InvalidKey("a public key has no private members"));
        }
        Self::from_members(object)
    }

    /// Reads the public half of an object that may also hold the private one.
    pub(crate) fn from_members(object: &Map<String, Value>) -> Result<Self, JoseError> {
        let mut key = Self::from_params(params_of(object)?)?;
        key.kid = text(object, "kid")?.map(str::to_owned);
        key.alg = text(object, "alg")?.map(str::to_owned);
        key.key_use = match text(object, "use")? {
            None => None,
            Some("sig") => Some(KeyUse::Signature),
            Some("enc") => Some(KeyUse::Encryption),
            Some(_) => return Err(JoseError::InvalidKey("the use is neither sig nor enc")),
        };
        key.key_ops = object.get("key_ops").map(texts).transpose()?;
        key.x5c = object
            .get("x5c")
            .map(texts)
            .transpose()?
            .unwrap_or_default();
        Ok(key)
    }

    pub(crate) fn from_params(params: Params) -> Result<Self, JoseError> {
        let verifier = Verifier::new(&params)?;
        let thumbprint = thumbprint(&params);
        Ok(Self {
            params,
            kid: None,
            alg: None,
            key_use: None,
            key_ops: None,
            x5c: Vec::new(),
            thumbprint,
            verifier: Arc::new(verifier),
        })
    }

    /// An elliptic-curve key from its uncompressed point (0x04, x, y), as certificates hold it.
    pub fn from_ec_point(curve: Curve, point: &[u8]) -> Result<Self, JoseError> {
        Self::from_params(Params::Ec(curve, point.to_vec()))
    }

    /// An Ed25519 key from its 32 bytes.
    pub fn from_ed25519(public: &[u8]) -> Result<Self, JoseError> {
        Self::from_params(Params::Ed25519(public.to_vec()))
    }

    /// An RSA key from modulus and exponent, big-endian without leading zeros.
    pub fn from_rsa(n: &[u8], e: &[u8]) -> Result<Self, JoseError> {
        Self::from_params(Params::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    /// The same key with a key id.
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// The same key, meant for one algorithm.
    pub fn with_alg(mut self, alg: impl Into<String>) -> Self {
        self.alg = Some(alg.into());
        self
    }

    /// The same key, meant for one use.
    pub fn with_use(mut self, key_use: KeyUse) -> Self {
        self.key_use = Some(key_use);
        self
    }

    /// The key's id, if it has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithm the owner says the key is for.
    pub fn alg(&self) -> Option<&str> {
        self.alg.as_deref()
    }

    /// The use the owner says the key is for.
    pub fn key_use(&self) -> Option<KeyUse> {
        self.key_use
    }

    /// The certificate chain in standard base64, empty if there is none.
    pub fn x5c(&self) -> &[String] {
        &self.x5c
    }

    /// The RFC 7638 SHA-256 thumbprint, base64url.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The key type as JOSE names it.
    pub fn kty(&self) -> &'static str {
        match self.params {
            Params::Ec(..) => "EC",
            Params::Ed25519(_) => "OKP",
            Params::Rsa { .. } => "RSA",
        }
    }

    /// The curve of an elliptic-curve key.
    pub fn curve(&self) -> Option<Curve> {
        match self.params {
            Params::Ec(curve, _) => Some(curve),
            _ => None,
        }
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// Whether the key can check signatures of this algorithm and its owner lets it.
    pub fn allows(&self, alg: Alg) -> bool {
        let fits = matches!(
            (&self.params, alg),
            (Params::Ec(Curve::P256, _), Alg::Es256)
                | (Params::Ec(Curve::P384, _), Alg::Es384)
                | (Params::Ed25519(_), Alg::EdDsa)
                | (Params::Rsa { .. }, Alg::Rs256 | Alg::Ps256)
        );
        fits && self.alg.as_deref().is_none_or(|own| own.parse() == Ok(alg))
            && self.key_use != Some(KeyUse::Encryption)
            && self
                .key_ops
                .as_ref()
                .is_none_or(|ops| ops.iter().any(|op| op == "verify"))
    }

    /// Checks a signature over `message`.
    pub fn verify(&self, alg: Alg, message: &[u8], signature: &[u8]) -> Result<(), JoseError> {
        if !self.allows(alg) {
            return Err(JoseError::AlgorithmNotAllowed);
        }
        let key = match (&*self.verifier, alg) {
            (Verifier::Ec(own, key), alg) if *own == alg => key,
            (Verifier::Ed25519(key), Alg::EdDsa) => key,
            (Verifier::Rsa { pkcs1, .. }, Alg::Rs256) => pkcs1,
            (Verifier::Rsa { pss, .. }, Alg::Ps256) => pss,
            _ => return Err(JoseError::AlgorithmNotAllowed),
        };
        key.verify_sig(message, signature)
            .map_err(|_| JoseError::BadSignature)
    }

    /// The key as a JWK object with all its members.
    pub fn to_value(&self) -> Value {
        let mut object = required_members(&self.params);
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        if let Some(kid) = &self.kid {
            put("kid", json!(kid));
        }
        if let Some(alg) = &self.alg {
            put("alg", json!(alg));
        }
        match self.key_use {
            Some(KeyUse::Signature) => put("use", json!("sig")),
            Some(KeyUse::Encryption) => put("use", json!("enc")),
            None => None,
        };
        if let Some(ops) = &self.key_ops {
            put("key_ops", json!(ops));
        }
        if !self.x5c.is_empty() {
            put("x5c", json!(self.x5c));
        }
        Value::Object(object)
    }
}

impl PartialEq for Jwk {
    /// Two keys are equal when their public numbers are, whatever they are called.
    fn eq(&self, other: &Self) -> bool {
        self.params == other.params
    }
}

impl Eq for Jwk {}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwk")
            .field("kty", &self.kty())
            .field("kid", &self.kid)
            .field("thumbprint", &self.thumbprint)
            .finish_non_exhaustive()
    }
}

impl Serialize for Jwk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Jwk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Strict(value) = Strict::deserialize(deserializer)?;
        Self::from_value(&value).map_err(serde::de::Error::custom)
    }
}

impl Verifier {
    fn new(params: &Params) -> Result<Self, JoseError> {
        match params {
            Params::Ec(curve, point) => {
                if point.len() != 1 + 2 * curve.field_len() || point.first() != Some(&4) {
                    return Err(JoseError::InvalidKey("the point has the wrong length"));
                }
                let off_curve = |_| JoseError::InvalidKey("the point is not on the curve");
                let (alg, parsed) = match curve {
                    Curve::P256 => (
                        Alg::Es256,
                        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
                    ),
                    Curve::P384 => (
                        Alg::Es384,
                        ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
                    ),
                };
                Ok(Self::Ec(alg, parsed.map_err(off_curve)?))
            }
            Params::Ed25519(public) => {
                if public.len() != 32 {
                    return Err(JoseError::InvalidKey("an Ed25519 key has 32 bytes"));
                }
                ParsedPublicKey::new(&ED25519, public)
                    .map(Self::Ed25519)
                    .map_err(|_| JoseError::InvalidKey("the Ed25519 key is not a point"))
            }
            Params::Rsa { n, e } => Self::rsa(n, e),
        }
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Self, JoseError> {
        let Some(top) = n.first() else {
            return Err(JoseError::InvalidKey("the modulus is empty"));
        };
        if *top == 0 || e.first().is_none_or(|byte| *byte == 0) {
            return Err(JoseError::InvalidKey("an RSA number starts with a zero"));
        }
        let bits = n.len() * 8 - usize::try_from(top.leading_zeros()).unwrap_or(0);
        if !(2048..=8192).contains(&bits) {
            return Err(JoseError::InvalidKey(
                "the modulus is not 2048 to 8192 bits",
            ));
        }
        if n.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(JoseError::InvalidKey("the modulus is even"));
        }
        // A longer exponent makes verification slow and has no use.
        if e.len() > 4 || e.last().is_none_or(|byte| byte % 2 == 0) || e == [1] {
            return Err(JoseError::InvalidKey("the exponent is even, 1 or too long"));
        }
        let components = PublicKeyComponents { n, e };
        let refused = |_| JoseError::InvalidKey("the RSA numbers do not make a key");
        Ok(Self::Rsa {
            pkcs1: components
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .map_err(refused)?,
            pss: components
                .to_parsed_public_key(&RSA_PSS_2048_8192_SHA256)
                .map_err(refused)?,
        })
    }
}

fn params_of(object: &Map<String, Value>) -> Result<Params, JoseError> {
    match required(object, "kty")? {
        "EC" => {
            let curve = Curve::from_name(required(object, "crv")?)?;
            let mut point = vec![4];
            for name in ["x", "y"] {
                let coordinate = number(object, name)?;
                if coordinate.len() != curve.field_len() {
                    return Err(JoseError::InvalidKey("a coordinate has the wrong length"));
                }
                point.extend(coordinate);
            }
            Ok(Params::Ec(curve, point))
        }
        "OKP" if required(object, "crv")? == "Ed25519" => number(object, "x").map(Params::Ed25519),
        "OKP" => Err(JoseError::InvalidKey("the curve is not supported")),
        "RSA" => Ok(Params::Rsa {
            n: number(object, "n")?,
            e: number(object, "e")?,
        }),
        _ => Err(JoseError::InvalidKey("the key type is not supported")),
    }
}

/// The members that define the key, and nothing else.
pub(crate) fn required_members(params: &Params) -> Map<String, Value> {
    let members: Vec<(&str, String)> = match params {
        Params::Ec(curve, point) => {
            let (x, y) = point[1..].split_at(curve.field_len());
            vec![
                ("crv", curve.name().to_owned()),
                ("kty", "EC".to_owned()),
                ("x", b64::encode(x)),
                ("y", b64::encode(y)),
            ]
        }
        Params::Ed25519(public) => vec![
            ("crv", "Ed25519".to_owned()),
            ("kty", "OKP".to_owned()),
            ("x", b64::encode(public)),
        ],
        Params::Rsa { n, e } => {
            vec![
                ("e", b64::encode(e)),
                ("kty", "RSA".to_owned()),
                ("n", b64::encode(n)),
            ]
        }
    };
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect()
}

fn thumbprint(params: &Params) -> String {
    // RFC 7638: the required members in lexicographic order, without white space. None of the
    // values needs escaping. Written out rather than serialised, so that the order cannot
    // change with a feature of the JSON library.
    let mut members: Vec<_> = required_members(params).into_iter().collect();
    members.sort_by(|left, right| left.0.cmp(&right.0));
    let body: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    let canonical = format!("{{{}}}", body.join(","));
    b64::encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
}

pub(crate) fn text<'a>(
    object: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, JoseError> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_TEXT_BYTES => Ok(Some(text)),
        Some(_) => Err(JoseError::Malformed("a key member is not a short text")),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, JoseError> {
    value
        .as_array()
        .and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        })
        .ok_or(JoseError::Malformed("a key member is not a list of texts"))
}

fn required<'a>(object: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, JoseError> {
    text(object, name)?.ok_or(JoseError::InvalidKey("a required member is missing"))
}

/// A number or octet string in base64url.
pub(crate) fn number(
    object: &Map<String, Value>,
    name: &'static str,
) -> Result<Vec<u8>, JoseError> {
    let Some(value) = object.get(name) else {
        return Err(JoseError::InvalidKey("a required member is missing"));
    };
    b64::decode(
        value
            .as_str()
            .ok_or(JoseError::Malformed("a key member is not a text"))?,
    )
}
