//! Compact signatures (RFC 7515), with detached and unencoded payloads (RFC 7797).

use serde_json::{Map, Value, json};

use crate::{Alg, JoseError, Jwk, JwkSet, SigningKey, b64, strict};

/// The longest token read by default. Credentials and identity tokens stay far below.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// The longest protected header, certificate chain included.
const MAX_HEADER_BYTES: usize = 32 * 1024;

const PARTS: JoseError = JoseError::Malformed("a compact signature has three parts");

/// A protected header as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Header(Map<String, Value>);

impl Header {
    /// Reads and checks the encoded header of a token.
    pub(crate) fn decode(encoded: &str) -> Result<Self, JoseError> {
        if encoded.len() > MAX_HEADER_BYTES {
            return Err(JoseError::TooLarge {
                limit: MAX_HEADER_BYTES,
            });
        }
        let header = Self(strict::parse_object(&b64::decode(encoded)?)?);
        for name in ["alg", "enc", "kid", "typ", "cty"] {
            if header.0.get(name).is_some_and(|value| !value.is_string()) {
                return Err(JoseError::Malformed("a header parameter is not a text"));
            }
        }
        Ok(header)
    }

    /// A parameter by its name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The algorithm the token names, as it stands there.
    pub fn alg(&self) -> Option<&str> {
        self.text("alg")
    }

    /// The content encryption a JWE names.
    pub fn enc(&self) -> Option<&str> {
        self.text("enc")
    }

    /// The id of the key.
    pub fn kid(&self) -> Option<&str> {
        self.text("kid")
    }

    /// The type of the token.
    pub fn typ(&self) -> Option<&str> {
        self.text("typ")
    }

    /// The type of the content.
    pub fn cty(&self) -> Option<&str> {
        self.text("cty")
    }

    /// Whether the type is `expected`; RFC 7515 lets `application/` be left out, and media
    /// types have no case.
    pub fn is_type(&self, expected: &str) -> bool {
        fn short(typ: &str) -> &str {
            match typ.get(..12) {
                Some(prefix) if prefix.eq_ignore_ascii_case("application/") => &typ[12..],
                _ => typ,
            }
        }
        self.typ()
            .is_some_and(|typ| short(typ).eq_ignore_ascii_case(short(expected)))
    }

    pub(crate) fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Refuses the token unless every critical parameter is in `understood` and present.
    pub(crate) fn check_critical(&self, understood: &[&str]) -> Result<(), JoseError> {
        let Some(crit) = self.0.get("crit") else {
            return Ok(());
        };
        let names = crit.as_array().filter(|names| !names.is_empty());
        let names = names.ok_or(JoseError::UnsupportedCritical)?;
        let known = |name: &Value| {
            name.as_str()
                .is_some_and(|name| understood.contains(&name) && self.0.contains_key(name))
        };
        if names.iter().all(known) {
            Ok(())
        } else {
            Err(JoseError::UnsupportedCritical)
        }
    }
}

/// A protected header to be written. The algorithm is the key's; the key id is added unless
/// [`Protected::without_kid`] is called.
#[derive(Debug, Clone)]
pub struct Protected {
    members: Map<String, Value>,
    kid: bool,
}

impl Default for Protected {
    fn default() -> Self {
        Self::new()
    }
}

impl Protected {
    /// An empty header.
    pub fn new() -> Self {
        Self {
            members: Map::new(),
            kid: true,
        }
    }

    /// With a type.
    pub fn typ(self, typ: &str) -> Self {
        self.member("typ", json!(typ))
    }

    /// With any other member.
    pub fn member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Without the key's id, for tokens that carry the key itself.
    pub fn without_kid(mut self) -> Self {
        self.kid = false;
        self
    }

    pub(crate) fn into_members(self, alg: &str, kid: Option<&str>) -> Map<String, Value> {
        let mut members = self.members;
        members.insert("alg".to_owned(), json!(alg));
        if let Some(kid) = kid.filter(|_| self.kid) {
            members.entry("kid").or_insert_with(|| json!(kid));
        }
        members
    }

    fn encode(self, key: &SigningKey) -> String {
        let members = self.into_members(key.alg().name(), Some(key.kid()));
        b64::encode(Value::Object(members).to_string())
    }
}

/// A compact signature taken apart, nothing about it believed yet.
#[derive(Debug, Clone)]
pub struct Jws<'a> {
    signing_input: &'a str,
    encoded_payload: &'a str,
    header: Header,
    signature: Vec<u8>,
}

/// A token whose signature is good. What its claims say is still to be judged.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The protected header.
    pub header: Header,
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The key that made the signature.
    pub key: Jwk,
}

impl<'a> Jws<'a> {
    /// Takes a token apart, up to [`MAX_TOKEN_BYTES`].
    pub fn parse(token: &'a str) -> Result<Self, JoseError> {
        Self::parse_limited(token, MAX_TOKEN_BYTES)
    }

    /// Takes a token apart, up to a limit of the caller's.
    pub fn parse_limited(token: &'a str, limit: usize) -> Result<Self, JoseError> {
        if token.len() > limit {
            return Err(JoseError::TooLarge { limit });
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(PARTS)?;
        let (header, encoded_payload) = signing_input.split_once('.').ok_or(PARTS)?;
        if encoded_payload.contains('.') {
            return Err(PARTS);
        }
        Ok(Self {
            signing_input,
            encoded_payload,
            header: Header::decode(header)?,
            signature: b64::decode(signature)?,
        })
    }

    /// The header, not verified.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The payload, not verified: only good for choosing the issuer whose keys to verify with.
    pub fn unverified_payload(&self) -> Result<Vec<u8>, JoseError> {
        b64::decode(self.encoded_payload)
    }

    /// The algorithm, if it is one of `algs`.
    fn alg(&self, algs: &[Alg]) -> Result<Alg, JoseError> {
        let name = self
            .header
            .alg()
            .ok_or(JoseError::Malformed("the token names no alg"))?;
        let alg: Alg = name.parse()?;
        if algs.contains(&alg) {
            Ok(alg)
        } else {
            Err(JoseError::AlgorithmNotAllowed)
        }
    }

    /// Verifies with whichever key of the set fits.
    pub fn verify(self, keys: &JwkSet, algs: &[Alg]) -> Result<Verified, JoseError> {
        self.header.check_critical(&[])?;
        let payload = b64::decode(self.encoded_payload)?;
        let key = self.check(self.signing_input.as_bytes(), keys, algs)?;
        Ok(Verified {
            header: self.header,
            payload,
            key,
        })
    }

    /// Verifies a token whose payload stands elsewhere.
    fn verify_detached(
        self,
        payload: &[u8],
        keys: &JwkSet,
        algs: &[Alg],
        understood: &[&str],
    ) -> Result<Verified, JoseError> {
        if !self.encoded_payload.is_empty() {
            return Err(JoseError::Malformed("the payload is not detached"));
        }
        let mut known = vec!["b64"];
        known.extend(understood);
        self.header.check_critical(&known)?;
        let input = match self.header.get("b64") {
            None | Some(Value::Bool(true)) => {
                format!("{}{}", self.signing_input, b64::encode(payload)).into_bytes()
            }
            // RFC 7797 section 6: without `crit` a reader that knows no better would verify
            // something else.
            Some(Value::Bool(false)) if self.header.get("crit").is_some() => {
                [self.signing_input.as_bytes(), payload].concat()
            }
            Some(_) => return Err(JoseError::UnsupportedCritical),
        };
        let key = self.check(&input, keys, algs)?;
        Ok(Verified {
            header: self.header,
            payload: payload.to_vec(),
            key,
        })
    }

    fn check(&self, input: &[u8], keys: &JwkSet, algs: &[Alg]) -> Result<Jwk, JoseError> {
        let alg = self.alg(algs)?;
        let candidates = keys.candidates(&self.header, alg);
        if candidates.is_empty() {
            return Err(JoseError::UnknownKey);
        }
        candidates
            .into_iter()
            .find(|key| key.verify(alg, input, &self.signature).is_ok())
            .cloned()
            .ok_or(JoseError::BadSignature)
    }
}

/// Signs `payload` in the compact form.
pub fn sign_jws(key: &SigningKey, header: Protected, payload: &[u8]) -> Result<String, JoseError> {
    let mut token = header.encode(key);
    token.push('.');
    token.push_str(&b64::encode(payload));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&b64::encode(signature));
    Ok(token)
}

/// Signs `payload` without putting it into the token. With `unencoded` the payload is signed
/// as it is (`b64: false`), which spares large payloads a copy in another alphabet.
pub fn sign_detached(
    key: &SigningKey,
    mut header: Protected,
    payload: &[u8],
    unencoded: bool,
) -> Result<String, JoseError> {
    if unencoded {
        header.members.insert("b64".to_owned(), json!(false));
        let crit = header.members.entry("crit").or_insert_with(|| json!([]));
        let crit = crit
            .as_array_mut()
            .ok_or(JoseError::Malformed("crit is not a list"))?;
        crit.push(json!("b64"));
    }
    let encoded = header.encode(key);
    let mut input = format!("{encoded}.").into_bytes();
    if unencoded {
        input.extend_from_slice(payload);
    } else {
        input.extend_from_slice(b64::encode(payload).as_bytes());
    }
    let signature = key.sign(&input)?;
    Ok(format!("{encoded}..{}", b64::encode(signature)))
}

/// Verifies a compact token with a key of the set and one of the algorithms.
pub fn verify_jws(token: &str, keys: &JwkSet, algs: &[Alg]) -> Result<Verified, JoseError> {
    Jws::parse(token)?.verify(keys, algs)
}

/// Verifies a compact token with one given key, whatever key id the token names. For tokens
/// that prove possession of a key they carry.
pub fn verify_jws_with(token: &str, key: &Jwk, algs: &[Alg]) -> Result<Verified, JoseError> {
    let jws = Jws::parse(token)?;
    let alg = jws.alg(algs)?;
    jws.header.check_critical(&[])?;
    key.verify(alg, jws.signing_input.as_bytes(), &jws.signature)?;
    let payload = b64::decode(jws.encoded_payload)?;
    Ok(Verified {
        header: jws.header,
        payload,
        key: key.clone(),
    })
}

/// Verifies a token whose payload stands elsewhere. `understood` names the critical header
/// parameters that the caller itself will honour; `b64` is handled here.
pub fn verify_detached(
    token: &str,
    payload: &[u8],
    keys: &JwkSet,
    algs: &[Alg],
    understood: &[&str],
) -> Result<Verified, JoseError> {
    Jws::parse(token)?.verify_detached(payload, keys, algs, understood)
}
