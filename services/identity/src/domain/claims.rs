//! Claims: which are asked for, and what is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::attributes::Attributes;

/// Claims of the scope `profile` that this block keeps.
const PROFILE: [&str; 11] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "preferred_username",
    "nickname",
    "gender",
    "birthdate",
    "picture",
    "locale",
    "zoneinfo",
];
const ADDRESS_PARTS: [&str; 6] = [
    "formatted",
    "street_address",
    "locality",
    "region",
    "postal_code",
    "country",
];
const MAX_ASKED: usize = 64;

/// Claims that a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AskedClaims {
    /// The client says that it needs them.
    pub(crate) essential: Vec<String>,
    /// The client would like them.
    pub(crate) voluntary: Vec<String>,
    /// Those of both kinds that belong into the ID token.
    pub(crate) in_id_token: Vec<String>,
}

impl AskedClaims {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.essential.is_empty() && self.voluntary.is_empty()
    }

    /// Every claim with whether it is essential, essential ones first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, bool)> {
        let essential = self.essential.iter().map(|claim| (claim.as_str(), true));
        essential.chain(self.voluntary.iter().map(|claim| (claim.as_str(), false)))
    }

    /// Whether a claim is asked for.
    pub(crate) fn includes(&self, claim: &str) -> bool {
        self.all().any(|(asked, _)| asked == claim)
    }
}

/// What scopes and the parameter `claims` ask for, as far as the client may.
pub(crate) fn ask(
    scopes: &[String],
    parameter: &str,
    allowed: &[String],
) -> Result<AskedClaims, &'static str> {
    let mut asked: BTreeMap<String, bool> = BTreeMap::new();
    for scope in scopes {
        for claim in of_scope(scope) {
            asked.entry((*claim).to_owned()).or_insert(false);
        }
    }
    let mut in_id_token = Vec::new();
    if !parameter.is_empty() {
        let value: Value =
            serde_json::from_str(parameter).map_err(|_| "claims is no JSON object")?;
        let members = value.as_object().ok_or("claims is no JSON object")?;
        for place in ["userinfo", "id_token"] {
            for (claim, essential) in named(members, place)? {
                let known = asked.entry(claim.clone()).or_insert(false);
                *known = *known || essential;
                if place == "id_token" {
                    in_id_token.push(claim);
                }
            }
        }
    }
    if asked.len() > MAX_ASKED {
        return Err("claims asks for too many claims");
    }
    asked.retain(|claim, _| allowed.contains(claim));
    in_id_token.retain(|claim| allowed.contains(claim));
    let (essential, voluntary): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|(_, essential)| *essential);
    let names = |list: Vec<(String, bool)>| list.into_iter().map(|(name, _)| name).collect();
    Ok(AskedClaims {
        essential: names(essential),
        voluntary: names(voluntary),
        in_id_token,
    })
}

fn of_scope(scope: &str) -> &'static [&'static str] {
    match scope {
        "profile" => &PROFILE,
        "email" => &["email", "email_verified"],
        "phone" => &["phone_number", "phone_number_verified"],
        "address" => &["address"],
        _ => &[],
    }
}

/// Names and whether they are essential, below one member of the parameter.
fn named(members: &Map<String, Value>, place: &str) -> Result<Vec<(String, bool)>, &'static str> {
    let members = match members.get(place) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err("claims holds a member that is no object"),
    };
    members
        .iter()
        .map(|(name, wish)| match wish {
            Value::Null => Ok((name.clone(), false)),
            Value::Object(wish) => Ok((name.clone(), wish.get("essential") == Some(&true.into()))),
            _ => Err("claims asks for a claim with something other than null or an object"),
        })
        .collect()
}

/// Whether there is a value for a claim.
pub(crate) fn is_available(attributes: &Attributes, claim: &str) -> bool {
    !value(attributes, claim, &[]).is_empty()
}

/// The values of the shared claims, with language-tagged members for the languages asked for.
pub(crate) fn assemble(
    attributes: &Attributes,
    shared: &[String],
    locales: &[String],
) -> Map<String, Value> {
    shared
        .iter()
        .flat_map(|claim| value(attributes, claim, locales))
        .collect()
}

/// The members that one claim gives.
fn value(attributes: &Attributes, claim: &str, locales: &[String]) -> Vec<(String, Value)> {
    match claim {
        "address" => address(attributes).into_iter().collect(),
        "name" => name(attributes, locales),
        "email_verified" | "phone_number_verified" => {
            let subject = claim.trim_end_matches("_verified");
            let verified = attributes.first(claim) == Some("true");
            let known = attributes.first(subject).is_some();
            known
                .then(|| (claim.to_owned(), verified.into()))
                .into_iter()
                .collect()
        }
        _ => plain(attributes, claim, locales),
    }
}

fn plain(attributes: &Attributes, claim: &str, locales: &[String]) -> Vec<(String, Value)> {
    let Some(first) = attributes.first(claim) else {
        return Vec::new();
    };
    let mut members = vec![(claim.to_owned(), first.into())];
    for locale in locales {
        if let Some(value) = attributes
            .values(claim)
            .and_then(|values| values.get(locale))
        {
            members.push((format!("{claim}#{locale}"), value.as_str().into()));
        }
    }
    members
}

/// The full name, put together from its parts where only those are known.
fn name(attributes: &Attributes, locales: &[String]) -> Vec<(String, Value)> {
    let members = plain(attributes, "name", locales);
    if !members.is_empty() {
        return members;
    }
    let parts: Vec<&str> = ["given_name", "middle_name", "family_name"]
        .into_iter()
        .filter_map(|part| attributes.first(part))
        .collect();
    if parts.is_empty() {
        Vec::new()
    } else {
        vec![("name".to_owned(), parts.join(" ").into())]
    }
}

fn address(attributes: &Attributes) -> Option<(String, Value)> {
    let mut parts = Map::new();
    for part in ADDRESS_PARTS {
        if let Some(value) = attributes.first(&format!("address.{part}")) {
            parts.insert(part.to_owned(), value.into());
        }
    }
    (!parts.is_empty()).then(|| ("address".to_owned(), Value::Object(parts)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn amina() -> Attributes {
        let mut attributes = Attributes::default();
        for (name, language, value) in [
            ("given_name", "", "Amina"),
            ("given_name", "ar", "أمينة"),
            ("family_name", "", "Yusuf"),
            ("email", "", "amina@example.org"),
            ("address.locality", "", "Kenitra"),
            ("uin", "", "never"),
        ] {
            attributes.set(name, language, value).unwrap();
        }
        attributes
    }

    #[test]
    fn scopes_and_parameter_add_up_within_what_is_allowed() {
        let parameter = r#"{"userinfo":{"email":{"essential":true},"picture":null,"uin":null},
                            "id_token":{"birthdate":{"essential":true},"email":null}}"#;
        let allowed = words(&["name", "birthdate", "email"]);
        let asked = ask(&words(&["openid", "profile"]), parameter, &allowed).unwrap();
        assert_eq!(asked.essential, ["birthdate", "email"]);
        assert_eq!(asked.voluntary, ["name"]);
        assert_eq!(asked.in_id_token, ["birthdate", "email"]);
        assert!(asked.includes("name") && !asked.includes("picture"));
    }

    #[test]
    fn openid_alone_asks_for_nothing() {
        let asked = ask(&words(&["openid"]), "", &words(&["name"])).unwrap();
        assert!(asked.is_empty());
    }

    #[test]
    fn a_bad_parameter_is_refused() {
        for parameter in [
            "{",
            "[]",
            r#"{"userinfo":1}"#,
            r#"{"userinfo":{"name":true}}"#,
        ] {
            assert!(ask(&[], parameter, &[]).is_err(), "{parameter}");
        }
    }

    #[test]
    fn only_shared_claims_are_answered() {
        let shared = words(&[
            "name",
            "given_name",
            "email_verified",
            "address",
            "birthdate",
        ]);
        let claims = assemble(&amina(), &shared, &words(&["ar", "km"]));
        let expected = json!({
            "name": "Amina Yusuf",
            "given_name": "Amina",
            "given_name#ar": "أمينة",
            "email_verified": false,
            "address": {"locality": "Kenitra"},
        });
        assert_eq!(Value::Object(claims), expected);
    }

    #[test]
    fn availability_follows_the_values() {
        assert!(is_available(&amina(), "name"));
        assert!(is_available(&amina(), "address"));
        assert!(!is_available(&amina(), "phone_number_verified"));
        assert!(!is_available(&amina(), "birthdate"));
    }
}
