//! Claims.

use std::time::Duration;

use publica_jose::{Alg, Claims, JoseError, JwkSet, SigningKey, Validation, sign_jwt, verify_jwt};
use publica_types::Timestamp;
use serde_json::{Value, json};

use crate::key;

const NOW: i64 = 1_800_000_000;

fn judge(key: &SigningKey, claims: &Value, validation: &Validation) -> Result<Claims, JoseError> {
    let token = sign_jwt(key, "at+jwt", claims).unwrap();
    let set = JwkSet::from(key.public_jwk().clone());
    let now = Timestamp::from_seconds(NOW);
    verify_jwt(&token, &set, Alg::ALL, validation, now).map(|verified| verified.claims)
}

#[test]
fn times_are_judged_with_the_leeway() {
    let key = key(Alg::EdDsa);
    let strict = Validation::new();
    let loose = Validation::new().leeway(Duration::from_mins(10));
    let table = [
        (json!({"exp": NOW + 1}), Ok(()), Ok(())),
        (json!({"exp": NOW}), Err(JoseError::Expired), Ok(())),
        (json!({"exp": NOW - 59}), Err(JoseError::Expired), Ok(())),
        (
            json!({"exp": NOW - 60}),
            Err(JoseError::Expired),
            Err(JoseError::Expired),
        ),
        (json!({"exp": NOW + 9, "nbf": NOW}), Ok(()), Ok(())),
        (
            json!({"exp": NOW + 9, "nbf": NOW + 60}),
            Err(JoseError::NotYetValid),
            Ok(()),
        ),
        (
            json!({"exp": NOW + 99, "nbf": NOW + 61}),
            Err(JoseError::NotYetValid),
            Err(JoseError::NotYetValid),
        ),
        (
            json!({"exp": NOW + 99, "iat": NOW + 61}),
            Err(JoseError::IssuedInFuture),
            Err(JoseError::IssuedInFuture),
        ),
        (json!({"exp": 1_800_000_000.5}), Ok(()), Ok(())),
    ];
    for (claims, tight, wide) in table {
        assert_eq!(judge(&key, &claims, &strict).map(|_| ()), tight, "{claims}");
        assert_eq!(judge(&key, &claims, &loose).map(|_| ()), wide, "{claims}");
    }
    let missing = judge(&key, &json!({}), &strict);
    assert_eq!(
        missing.err(),
        Some(JoseError::MissingClaim("exp".to_owned()))
    );
    assert!(judge(&key, &json!({}), &Validation::new().exp_optional()).is_ok());
    for bad in [
        json!("1"),
        json!(-1),
        json!(1e300),
        json!(i64::MAX),
        json!(null),
        json!([1]),
    ] {
        let refused = judge(&key, &json!({ "exp": bad }), &strict);
        assert_eq!(
            refused.err(),
            Some(JoseError::MalformedClaim("exp")),
            "{bad}"
        );
    }
}

#[test]
fn parties_are_judged() {
    let key = key(Alg::Es256);
    let base = json!({"iss": "https://a", "aud": ["x", "y"], "sub": "s", "exp": NOW + 60});
    let rule = || Validation::new().issuer("https://a").audience("y");
    assert!(judge(&key, &base, &rule()).is_ok());
    assert!(judge(&key, &base, &rule().subject("s").require(&["sub", "iss"])).is_ok());
    let refusals = [
        (
            Validation::new().issuer("https://b"),
            JoseError::WrongIssuer,
        ),
        (
            Validation::new().issuer("https://A"),
            JoseError::WrongIssuer,
        ),
        (Validation::new().audience("z"), JoseError::WrongAudience),
        (rule().one_audience(), JoseError::WrongAudience),
        (rule().subject("t"), JoseError::WrongSubject),
        (
            rule().require(&["jti"]),
            JoseError::MissingClaim("jti".to_owned()),
        ),
        (rule().typ("JWT"), JoseError::WrongType),
    ];
    for (validation, error) in refusals {
        assert_eq!(judge(&key, &base, &validation).err(), Some(error));
    }
    for (name, bad) in [
        ("iss", json!(1)),
        ("aud", json!(1)),
        ("aud", json!(["y", 1])),
    ] {
        let mut claims = base.clone();
        claims[name] = bad;
        assert!(judge(&key, &claims, &rule()).is_err(), "{claims}");
    }
    let none = json!({"exp": NOW + 60});
    assert!(judge(&key, &none, &Validation::new().audience("y")).is_err());
    assert!(judge(&key, &none, &Validation::new().issuer("https://a")).is_err());
}

#[test]
fn age_and_life_are_limited() {
    let key = key(Alg::EdDsa);
    let minute = Duration::from_mins(1);
    let aged = Validation::new().exp_optional().max_age(minute);
    assert!(judge(&key, &json!({"iat": NOW - 60}), &aged).is_ok());
    assert_eq!(
        judge(&key, &json!({"iat": NOW - 61}), &aged).err(),
        Some(JoseError::TooOld)
    );
    assert!(judge(&key, &json!({}), &aged).is_err());
    let short = Validation::new().max_lifetime(minute);
    assert!(judge(&key, &json!({"iat": NOW, "exp": NOW + 60}), &short).is_ok());
    assert!(judge(&key, &json!({"exp": NOW + 61}), &short).is_err());
    assert!(judge(&key, &json!({"iat": NOW - 5, "exp": NOW + 56}), &short).is_err());
}

#[test]
fn types_may_be_absent_only_where_allowed() {
    let key = key(Alg::EdDsa);
    let set = JwkSet::from(key.public_jwk().clone());
    let claims = json!({"exp": NOW + 60, "scope": "a  b"});
    let header = publica_jose::Protected::new();
    let token = publica_jose::sign_jwt_with(&key, header, &claims).unwrap();
    let now = Timestamp::from_seconds(NOW);
    let check = |validation| verify_jwt(&token, &set, Alg::ALL, &validation, now);
    assert!(check(Validation::new().typ("at+jwt")).is_err());
    let verified = check(Validation::new().typ("at+jwt").typ_may_be_absent()).unwrap();
    assert_eq!(verified.claims.scopes().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn repeated_claims_are_refused() {
    let text = br#"{"sub":"a","sub":"b"}"#;
    assert_eq!(Claims::from_json(text), Err(JoseError::DuplicateMember));
}
