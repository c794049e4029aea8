//! Authorization requests of OpenID Connect: what is sound and what must be refused how.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::claims::{self, AskedClaims};
use crate::domain::client::{AUTHORIZATION_CODE, Client};
use crate::domain::pkce;

const MAX_STATE: usize = 256;
const MAX_NONCE: usize = 512;
const MAX_SCOPE: usize = 1_024;
const MAX_ACR: usize = 1_024;
const MAX_CLAIMS: usize = 8_192;
const MAX_LOCALES: usize = 256;
/// Context classes that this block can reach today: a code sent by e-mail.
const REACHABLE: [&str; 1] = [ACR_GENERATED_CODE];
/// The class of a one-time code.
pub(crate) const ACR_GENERATED_CODE: &str = "idbb:acr:generated-code";
/// Scopes that have a meaning here; others are ignored, as the standard asks.
pub(crate) const SCOPES: [&str; 5] = ["openid", "profile", "email", "address", "phone"];

/// The parameters as they came; empty is absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) response_type: String,
    pub(crate) scope: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) display: String,
    pub(crate) prompt: String,
    pub(crate) max_age: String,
    pub(crate) acr_values: String,
    pub(crate) claims_locales: String,
    pub(crate) claims: String,
    pub(crate) code_challenge: String,
    pub(crate) code_challenge_method: String,
    pub(crate) repeated: Vec<String>,
    pub(crate) refused: Vec<String>,
}

/// A request that may go on; stored with the sign-in. It names no person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) redirect_uri: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) acr_values: Vec<String>,
    pub(crate) code_challenge: String,
    pub(crate) claims_locales: Vec<String>,
    pub(crate) asked: AskedClaims,
    /// The client wants the person to be asked again.
    pub(crate) ask_consent: bool,
    /// What the log-in page was shown, by its hash; empty until it was shown anything.
    #[serde(default)]
    pub(crate) details_hash: String,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuthorizationFault {
    /// The error of OAuth 2.0 or OpenID Connect.
    pub(crate) error: &'static str,
    /// A sentence for developers.
    pub(crate) description: &'static str,
    /// The stable reason; in lower case it is the code of the log-in page's interface.
    pub(crate) reason: &'static str,
    /// Whether the error may go to the redirect URI.
    pub(crate) may_redirect: bool,
}

const fn page(reason: &'static str, description: &'static str) -> AuthorizationFault {
    AuthorizationFault {
        error: "invalid_request",
        description,
        reason,
        may_redirect: false,
    }
}

const fn back(
    error: &'static str,
    reason: &'static str,
    description: &'static str,
) -> AuthorizationFault {
    AuthorizationFault {
        error,
        description,
        reason,
        may_redirect: true,
    }
}

const INVALID: &str = "invalid_request";

/// Decides on a request. Until client and redirect URI are proven good nothing may be sent to
/// that URI; what comes after is in the order of the published parameters.
pub(crate) fn check(
    parameters: &Parameters,
    client: Option<&Client>,
) -> Result<AuthorizationRequest, AuthorizationFault> {
    let client = proven(parameters, client)?;
    check_names(parameters)?;
    if parameters.response_type.is_empty() {
        return Err(back(
            INVALID,
            "INVALID_RESPONSE_TYPE",
            "response_type is missing",
        ));
    }
    if parameters.response_type != "code" || !client.may_use(AUTHORIZATION_CODE) {
        let text = "only the response type code is supported";
        return Err(back(
            "unsupported_response_type",
            "INVALID_RESPONSE_TYPE",
            text,
        ));
    }
    let scopes = scopes(&parameters.scope)?;
    check_texts(parameters)?;
    let ask_consent = check_prompt(&parameters.prompt)?;
    let asked = claims::ask(&scopes, &parameters.claims, &client.user_claims)
        .map_err(|text| back(INVALID, "INVALID_CLAIMS", text))?;
    check_pkce(parameters)?;
    let acr_values = acr_values(parameters, client)?;
    Ok(AuthorizationRequest {
        redirect_uri: parameters.redirect_uri.clone(),
        scopes,
        state: parameters.state.clone(),
        nonce: parameters.nonce.clone(),
        acr_values,
        code_challenge: parameters.code_challenge.clone(),
        claims_locales: words(&parameters.claims_locales),
        asked,
        ask_consent,
        details_hash: String::new(),
    })
}

/// The client, if it is known and active and registered the URI, character by character.
fn proven<'a>(
    parameters: &Parameters,
    client: Option<&'a Client>,
) -> Result<&'a Client, AuthorizationFault> {
    let repeated = |name: &str| parameters.repeated.iter().any(|one| one == name);
    if repeated("client_id") {
        return Err(page("INVALID_CLIENT_ID", "client_id came more than once"));
    }
    if repeated("redirect_uri") {
        return Err(page(
            "INVALID_REDIRECT_URI",
            "redirect_uri came more than once",
        ));
    }
    let client = client
        .filter(|client| client.active)
        .ok_or(page("INVALID_CLIENT_ID", "the client is not known here"))?;
    if client.redirect_uris.contains(&parameters.redirect_uri) {
        Ok(client)
    } else {
        Err(page(
            "INVALID_REDIRECT_URI",
            "the address to return to is not registered",
        ))
    }
}

fn check_names(parameters: &Parameters) -> Result<(), AuthorizationFault> {
    let refused = |name: &str| parameters.refused.iter().any(|one| one == name);
    if refused("request") {
        let text = "request objects are not supported";
        return Err(back("request_not_supported", "INVALID_REQUEST", text));
    }
    if refused("request_uri") {
        let text = "request_uri is not supported";
        return Err(back("request_uri_not_supported", "INVALID_REQUEST", text));
    }
    if parameters.repeated.is_empty() {
        Ok(())
    } else {
        Err(back(
            INVALID,
            "INVALID_REQUEST",
            "a parameter came more than once",
        ))
    }
}

fn scopes(scope: &str) -> Result<Vec<String>, AuthorizationFault> {
    if scope.len() > MAX_SCOPE {
        return Err(back(INVALID, "INVALID_SCOPE", "scope is too long"));
    }
    let mut scopes = words(scope);
    if !scopes.iter().any(|scope| scope == "openid") {
        return Err(back(
            "invalid_scope",
            "INVALID_SCOPE",
            "scope must include openid",
        ));
    }
    scopes.retain(|scope| SCOPES.contains(&scope.as_str()));
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

fn check_texts(parameters: &Parameters) -> Result<(), AuthorizationFault> {
    let bounded = [
        (&parameters.state, MAX_STATE, "state is too long"),
        (&parameters.nonce, MAX_NONCE, "nonce is too long"),
        (&parameters.acr_values, MAX_ACR, "acr_values is too long"),
        (&parameters.claims, MAX_CLAIMS, "claims is too long"),
        (
            &parameters.claims_locales,
            MAX_LOCALES,
            "claims_locales is too long",
        ),
    ];
    for (text, longest, fault) in bounded {
        if text.len() > longest {
            return Err(back(INVALID, "INVALID_REQUEST", fault));
        }
        if text.chars().any(char::is_control) {
            return Err(back(
                INVALID,
                "INVALID_REQUEST",
                "a parameter holds control characters",
            ));
        }
    }
    let display = parameters.display.as_str();
    if !matches!(display, "" | "page" | "popup" | "touch" | "wap") {
        return Err(back(
            INVALID,
            "INVALID_DISPLAY",
            "display is none of the defined values",
        ));
    }
    if !parameters.max_age.is_empty() && parameters.max_age.parse::<u32>().is_err() {
        return Err(back(
            INVALID,
            "INVALID_MAX_AGE",
            "max_age is no number of seconds",
        ));
    }
    Ok(())
}

/// Whether consent must be asked for again. No session outlives a sign-in here, so every one is
/// fresh, and one without any page is impossible.
fn check_prompt(prompt: &str) -> Result<bool, AuthorizationFault> {
    let prompts = words(prompt);
    for prompt in &prompts {
        if !matches!(
            prompt.as_str(),
            "none" | "login" | "consent" | "select_account"
        ) {
            return Err(back(
                INVALID,
                "INVALID_PROMPT",
                "prompt is none of the defined values",
            ));
        }
    }
    if prompts.iter().any(|prompt| prompt == "none") {
        if prompts.len() > 1 {
            return Err(back(INVALID, "INVALID_PROMPT", "prompt none stands alone"));
        }
        return Err(back(
            "login_required",
            "LOGIN_REQUIRED",
            "the person must sign in",
        ));
    }
    Ok(prompts.iter().any(|prompt| prompt == "consent"))
}

fn check_pkce(parameters: &Parameters) -> Result<(), AuthorizationFault> {
    if parameters.code_challenge.is_empty() {
        return Err(back(INVALID, "USE_PKCE", "code_challenge is required"));
    }
    if parameters.code_challenge_method != "S256" {
        let text = "code_challenge_method must be S256";
        return Err(back(INVALID, "UNSUPPORTED_PKCE_CHALLENGE_METHOD", text));
    }
    if !pkce::is_challenge(&parameters.code_challenge) {
        let text = "code_challenge is no SHA-256 value";
        return Err(back(INVALID, "INVALID_PKCE_CHALLENGE", text));
    }
    Ok(())
}

/// The classes that the client may have and that this block can reach, in the order asked for.
/// Asking for others is no error unless they are essential.
fn acr_values(parameters: &Parameters, client: &Client) -> Result<Vec<String>, AuthorizationFault> {
    let unmet = |text| {
        back(
            "unmet_authentication_requirements",
            "NO_ACR_REGISTERED",
            text,
        )
    };
    let usable =
        |acr: &String| client.acr_values.contains(acr) && REACHABLE.contains(&acr.as_str());
    let essential = essential_acr(&parameters.claims);
    if !essential.is_empty() && !essential.iter().any(usable) {
        return Err(unmet("the required authentication is not possible"));
    }
    let asked = if essential.is_empty() {
        words(&parameters.acr_values)
    } else {
        essential
    };
    let mut chosen: Vec<String> = asked.into_iter().filter(usable).collect();
    if chosen.is_empty() {
        chosen = client
            .acr_values
            .iter()
            .filter(|acr| usable(acr))
            .cloned()
            .collect();
    }
    chosen.dedup();
    if chosen.is_empty() {
        return Err(unmet("no way to authenticate is registered for the client"));
    }
    Ok(chosen)
}

/// Classes that the parameter `claims` makes essential.
fn essential_acr(claims: &str) -> Vec<String> {
    let Ok(claims) = serde_json::from_str::<Value>(claims) else {
        return Vec::new();
    };
    let acr = &claims["id_token"]["acr"];
    if acr["essential"] != true {
        return Vec::new();
    }
    let single = acr["value"].as_str().into_iter();
    let several = acr["values"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    single.chain(several).map(str::to_owned).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client::sample;

    fn sound() -> Parameters {
        Parameters {
            client_id: "portal".to_owned(),
            redirect_uri: "https://portal.example.org/back".to_owned(),
            response_type: "code".to_owned(),
            scope: "openid profile".to_owned(),
            state: "s1".to_owned(),
            nonce: "n1".to_owned(),
            code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
            code_challenge_method: "S256".to_owned(),
            ..Parameters::default()
        }
    }

    fn error(change: impl FnOnce(&mut Parameters)) -> (&'static str, bool) {
        let mut parameters = sound();
        change(&mut parameters);
        let fault = check(&parameters, Some(&sample())).unwrap_err();
        (fault.error, fault.may_redirect)
    }

    fn request(change: impl FnOnce(&mut Parameters)) -> AuthorizationRequest {
        let mut parameters = sound();
        change(&mut parameters);
        check(&parameters, Some(&sample())).unwrap()
    }

    #[test]
    fn a_sound_request_goes_on() {
        let request = request(|_| ());
        assert_eq!(request.scopes, ["openid", "profile"]);
        assert_eq!(request.acr_values, [ACR_GENERATED_CODE]);
        assert_eq!(request.asked.voluntary, ["birthdate", "name"]);
        assert!(!request.ask_consent);
    }

    #[test]
    fn nothing_goes_to_an_address_that_is_not_proven() {
        assert!(!check(&sound(), None).unwrap_err().may_redirect);
        let inactive = Client {
            active: false,
            ..sample()
        };
        assert_eq!(
            check(&sound(), Some(&inactive)).unwrap_err().reason,
            "INVALID_CLIENT_ID"
        );
        for uri in [
            "",
            "https://evil.example/",
            "https://portal.example.org/back?a=b",
        ] {
            assert!(!error(|p| p.redirect_uri = uri.to_owned()).1, "{uri}");
        }
        assert!(!error(|p| p.repeated = vec!["redirect_uri".to_owned()]).1);
        assert!(!error(|p| p.repeated = vec!["client_id".to_owned()]).1);
    }

    #[test]
    fn other_faults_go_back_to_the_client() {
        let invalid = ("invalid_request", true);
        assert_eq!(error(|p| p.repeated = vec!["scope".to_owned()]), invalid);
        let refused = |name: &str| vec![name.to_owned()];
        assert_eq!(
            error(|p| p.refused = refused("request")),
            ("request_not_supported", true)
        );
        assert_eq!(
            error(|p| p.refused = refused("request_uri")),
            ("request_uri_not_supported", true)
        );
        assert_eq!(error(|p| p.response_type.clear()), invalid);
        let token = ("unsupported_response_type", true);
        assert_eq!(error(|p| p.response_type = "token".to_owned()), token);
        assert_eq!(
            error(|p| p.scope = "profile".to_owned()),
            ("invalid_scope", true)
        );
        assert_eq!(error(|p| p.state = "s".repeat(257)), invalid);
        assert_eq!(error(|p| p.nonce = "n".repeat(513)), invalid);
        assert_eq!(error(|p| p.display = "hologram".to_owned()), invalid);
        assert_eq!(error(|p| p.max_age = "-1".to_owned()), invalid);
        assert_eq!(error(|p| p.prompt = "now".to_owned()), invalid);
        assert_eq!(error(|p| p.prompt = "none login".to_owned()), invalid);
        assert_eq!(
            error(|p| p.prompt = "none".to_owned()),
            ("login_required", true)
        );
        assert_eq!(error(|p| p.claims = "{".to_owned()), invalid);
        assert_eq!(error(|p| p.code_challenge.clear()), invalid);
        assert_eq!(
            error(|p| p.code_challenge_method = "plain".to_owned()),
            invalid
        );
        assert_eq!(error(|p| p.code_challenge = "short".to_owned()), invalid);
    }

    #[test]
    fn classes_are_asked_for_politely_or_essentially() {
        assert_eq!(
            request(|p| p.acr_values = "level9 idbb:acr:biometrics".to_owned()).acr_values,
            [ACR_GENERATED_CODE]
        );
        let essential = r#"{"id_token":{"acr":{"essential":true,"values":["level9"]}}}"#;
        assert_eq!(
            error(|p| p.claims = essential.to_owned()),
            ("unmet_authentication_requirements", true)
        );
        let none = Client {
            acr_values: vec!["idbb:acr:biometrics".to_owned()],
            ..sample()
        };
        assert_eq!(
            check(&sound(), Some(&none)).unwrap_err().reason,
            "NO_ACR_REGISTERED"
        );
    }

    #[test]
    fn prompts_and_unknown_scopes() {
        assert!(request(|p| p.prompt = "login consent".to_owned()).ask_consent);
        let known = request(|p| p.scope = "openid  openid offline_access email".to_owned()).scopes;
        assert_eq!(known, ["email", "openid"]);
    }
}
