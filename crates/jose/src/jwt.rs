//! Claims: writing them, and judging them (RFC 7519, 8725, 9068).

use std::time::Duration;

use publica_types::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Alg, Header, JoseError, Jwk, JwkSet, Jws, Protected, SigningKey, sign_jws, strict};

/// No clock in the suite may differ by more.
const MAX_LEEWAY: Duration = Duration::from_mins(1);
/// The year 9999 ends here; later times are nonsense.
const MAX_SECONDS: i64 = 253_402_300_799;

/// The claims of a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads claims from the payload of a token.
    pub fn from_json(json: &[u8]) -> Result<Self, JoseError> {
        strict::parse_object(json).map(Self)
    }

    /// A claim by its name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The issuer.
    pub fn issuer(&self) -> Option<&str> {
        self.text("iss")
    }

    /// The subject.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The token's own id.
    pub fn jti(&self) -> Option<&str> {
        self.text("jti")
    }

    /// The audiences, one or several.
    pub fn audiences(&self) -> Vec<&str> {
        match self.0.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The space-separated members of `scope`.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.text("scope")
            .unwrap_or_default()
            .split(' ')
            .filter(|scope| !scope.is_empty())
    }

    /// A claim that is a time in seconds since 1970, possibly with a fraction.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, JoseError> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let number = value.as_number().ok_or(JoseError::MalformedClaim(name))?;
        let micros = match number.as_i64() {
            Some(seconds) => seconds.checked_mul(1_000_000),
            None => number.as_f64().and_then(micros_of),
        };
        micros
            .filter(|micros| (0..=MAX_SECONDS * 1_000_000).contains(micros))
            .map(|micros| Some(Timestamp::from_micros(micros)))
            .ok_or(JoseError::MalformedClaim(name))
    }

    /// When the token ends.
    pub fn expires(&self) -> Result<Option<Timestamp>, JoseError> {
        self.time("exp")
    }

    /// The claims as a type of the caller's.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, JoseError> {
        serde_json::from_value(Value::Object(self.0.clone()))
            .map_err(|_| JoseError::Malformed("the claims do not have the expected shape"))
    }

    /// All claims.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// Microseconds of fractional seconds, by way of the decimal text: no cast can overflow.
fn micros_of(seconds: f64) -> Option<i64> {
    if !(0.0..=253_402_300_799.0).contains(&seconds) {
        return None;
    }
    let text = format!("{seconds:.6}");
    let (whole, fraction) = text.split_once('.')?;
    Some(whole.parse::<i64>().ok()? * 1_000_000 + fraction.parse::<i64>().ok()?)
}

/// What a verifier demands of a token's type and claims. Nothing is demanded that was not
/// asked for, except that a token must expire.
#[derive(Debug, Clone, Default)]
pub struct Validation {
    types: Vec<String>,
    type_may_be_absent: bool,
    issuers: Vec<String>,
    audiences: Vec<String>,
    one_audience: bool,
    subject: Option<String>,
    required: Vec<String>,
    leeway: Duration,
    exp_optional: bool,
    max_age: Option<Duration>,
    max_lifetime: Option<Duration>,
}

impl Validation {
    /// Demands an expiry and allows no difference between clocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// The token must have this type. Repeated calls accept any of several.
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.types.push(typ.into());
        self
    }

    /// A token without a type passes too.
    pub fn typ_may_be_absent(mut self) -> Self {
        self.type_may_be_absent = true;
        self
    }

    /// The token must come from this issuer. Repeated calls accept any of several.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuers.push(issuer.into());
        self
    }

    /// The token must be meant for this audience. Repeated calls accept any of several.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audiences.push(audience.into());
        self
    }

    /// The audience must be one text, not a list (FAPI 2.0 client assertions).
    pub fn one_audience(mut self) -> Self {
        self.one_audience = true;
        self
    }

    /// The token must be about this subject.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// These claims must be there and not be null.
    pub fn require(mut self, names: &[&str]) -> Self {
        self.required
            .extend(names.iter().map(|name| (*name).to_owned()));
        self
    }

    /// Clocks may differ by so much; more than 60 s is cut to 60 s.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(MAX_LEEWAY);
        self
    }

    /// The token need not expire (proofs of possession, which are judged by their age).
    pub fn exp_optional(mut self) -> Self {
        self.exp_optional = true;
        self
    }

    /// The token must have been issued (`iat`) no longer ago than this.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The token's life, from `iat` (or `nbf`, or now) to `exp`, may be no longer than this.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }

    /// Judges a token whose signature is good.
    pub fn check(&self, header: &Header, claims: &Claims, now: Timestamp) -> Result<(), JoseError> {
        self.check_type(header)?;
        for name in &self.required {
            if claims.get(name).is_none_or(Value::is_null) {
                return Err(JoseError::MissingClaim(name.clone()));
            }
        }
        self.check_parties(claims)?;
        self.check_times(claims, now)
    }

    fn check_type(&self, header: &Header) -> Result<(), JoseError> {
        let expected = self.types.is_empty()
            || self.types.iter().any(|typ| header.is_type(typ))
            || (self.type_may_be_absent && header.typ().is_none());
        if expected {
            Ok(())
        } else {
            Err(JoseError::WrongType)
        }
    }

    fn check_parties(&self, claims: &Claims) -> Result<(), JoseError> {
        for name in ["iss", "sub", "jti"] {
            if claims.get(name).is_some_and(|value| !value.is_string()) {
                return Err(JoseError::MalformedClaim(name));
            }
        }
        let is = |own: &String, other: &str| own == other;
        if !self.issuers.is_empty() {
            let issuer = claims.issuer().ok_or_else(|| missing("iss"))?;
            if !self.issuers.iter().any(|own| is(own, issuer)) {
                return Err(JoseError::WrongIssuer);
            }
        }
        match claims.get("aud") {
            None | Some(Value::String(_)) => {}
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                if self.one_audience {
                    return Err(JoseError::WrongAudience);
                }
            }
            Some(_) => return Err(JoseError::MalformedClaim("aud")),
        }
        if !self.audiences.is_empty() {
            let audiences = claims.audiences();
            if claims.get("aud").is_none() {
                return Err(missing("aud"));
            }
            if !self
                .audiences
                .iter()
                .any(|own| audiences.iter().any(|aud| is(own, aud)))
            {
                return Err(JoseError::WrongAudience);
            }
        }
        match &self.subject {
            Some(subject) if claims.subject() != Some(subject) => Err(JoseError::WrongSubject),
            _ => Ok(()),
        }
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), JoseError> {
        let latest = now.plus(self.leeway);
        let earliest = now.minus(self.leeway);
        let expires = claims.expires()?;
        match expires {
            None if !self.exp_optional => return Err(missing("exp")),
            Some(expires) if expires <= earliest => return Err(JoseError::Expired),
            _ => {}
        }
        let not_before = claims.time("nbf")?;
        if not_before.is_some_and(|begin| begin > latest) {
            return Err(JoseError::NotYetValid);
        }
        let issued = claims.time("iat")?;
        if issued.is_some_and(|issued| issued > latest) {
            return Err(JoseError::IssuedInFuture);
        }
        if let Some(age) = self.max_age {
            let issued = issued.ok_or_else(|| missing("iat"))?;
            if issued.plus(age) < earliest {
                return Err(JoseError::TooOld);
            }
        }
        if let (Some(lifetime), Some(expires)) = (self.max_lifetime, expires) {
            let begin = issued.or(not_before).unwrap_or(now);
            if expires > begin.plus(lifetime) {
                return Err(JoseError::TooOld);
            }
        }
        Ok(())
    }
}

fn missing(name: &str) -> JoseError {
    JoseError::MissingClaim(name.to_owned())
}

/// A token whose signature, type and claims are good.
#[derive(Debug, Clone)]
pub struct VerifiedJwt {
    /// The protected header.
    pub header: Header,
    /// The claims.
    pub claims: Claims,
    /// The key that made the signature.
    pub key: Jwk,
}

/// Signs claims as a token of the given type (`at+jwt`, `JWT`, …).
pub fn sign_jwt(key: &SigningKey, typ: &str, claims: &impl Serialize) -> Result<String, JoseError> {
    sign_jwt_with(key, Protected::new().typ(typ), claims)
}

/// Signs claims under a header of the caller's.
pub fn sign_jwt_with(
    key: &SigningKey,
    header: Protected,
    claims: &impl Serialize,
) -> Result<String, JoseError> {
    let payload = serde_json::to_vec(claims)
        .map_err(|_| JoseError::Malformed("the claims cannot be written as JSON"))?;
    sign_jws(key, header, &payload)
}

/// Verifies the signature of a token, then its type and claims.
pub fn verify_jwt(
    token: &str,
    keys: &JwkSet,
    algs: &[Alg],
    validation: &Validation,
    now: Timestamp,
) -> Result<VerifiedJwt, JoseError> {
    let verified = Jws::parse(token)?.verify(keys, algs)?;
    let claims = Claims::from_json(&verified.payload)?;
    validation.check(&verified.header, &claims, now)?;
    Ok(VerifiedJwt {
        header: verified.header,
        claims,
        key: verified.key,
    })
}
