//! Clients of relying parties: what may be registered.

use crate::domain::{key, uri};

/// Authentication context classes of the published interface.
pub(crate) const ACR_VALUES: [&str; 6] = [
    "idbb:acr:static-code",
    "idbb:acr:generated-code",
    "idbb:acr:linked-wallet",
    "idbb:acr:biometrics",
    "idbb:acr:biometrics-generated-code",
    "idbb:acr:linked-wallet-static-code",
];

/// Claims that a client may be allowed to ask for.
pub(crate) const USER_CLAIMS: [&str; 16] = [
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "preferred_username",
    "nickname",
    "gender",
    "birthdate",
    "email",
    "email_verified",
    "phone_number",
    "phone_number_verified",
    "picture",
    "address",
    "locale",
    "zoneinfo",
];

/// The grant by which a person signs in.
pub(crate) const AUTHORIZATION_CODE: &str = "authorization_code";
/// The grant by which a client acts for itself.
pub(crate) const CLIENT_CREDENTIALS: &str = "client_credentials";
/// The one way in which clients prove themselves.
pub(crate) const PRIVATE_KEY_JWT: &str = "private_key_jwt";

const ACR_PREFIX: &str = "idbb:acr:";
/// What another product calls the same classes.
const ACR_PREFIX_ELSEWHERE: &str = "mosip:idp:acr:";
const MAX_LIST: usize = 64;
const MAX_SCOPES: usize = 128;
/// Longest time that a consent is remembered: five years.
const MAX_CONSENT_MINUTES: i32 = 5 * 366 * 24 * 60;

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "ids are named for what they name, as on the wire"
)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) client_name: String,
    pub(crate) relying_party_id: String,
    pub(crate) logo_uri: String,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) acr_values: Vec<String>,
    pub(crate) public_key: String,
    pub(crate) user_claims: Vec<String>,
    pub(crate) grant_types: Vec<String>,
    pub(crate) auth_methods: Vec<String>,
    pub(crate) allowed_scopes: Vec<String>,
    pub(crate) active: bool,
    pub(crate) consent_expire_minutes: i32,
    /// `JWS`, `JWE`, or empty for whichever the keys allow.
    pub(crate) user_info_type: String,
    /// A further key that claims are encrypted to; empty if there is none.
    pub(crate) encryption_key: String,
}

/// What is wrong with a client, named as the published interface names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFault {
    Id,
    Name,
    RelyingParty,
    Logo,
    Redirect,
    Acr,
    Claim,
    Grant,
    Auth,
    Key,
    Scope,
    Consent,
    UserInfo,
    EncryptionKey,
}

impl ClientFault {
    /// The stable reason; in lower case it is the published code.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Id => "INVALID_CLIENT_ID",
            Self::Name => "INVALID_CLIENT_NAME",
            Self::RelyingParty => "INVALID_RP_ID",
            Self::Logo => "INVALID_URI",
            Self::Redirect => "INVALID_REDIRECT_URI",
            Self::Acr => "INVALID_ACR",
            Self::Claim => "INVALID_CLAIM",
            Self::Grant => "INVALID_GRANT_TYPE",
            Self::Auth => "INVALID_CLIENT_AUTH",
            Self::Key => "INVALID_PUBLIC_KEY",
            Self::Scope => "INVALID_ALLOWED_SCOPE",
            Self::Consent => "INVALID_CONSENT_EXPIRY",
            Self::UserInfo => "INVALID_USER_INFO_TYPE",
            Self::EncryptionKey => "INVALID_ENCRYPTION_KEY",
        }
    }

    /// The field at fault and what it must be.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Id => ("client_id", "must be 1 to 50 printable characters"),
            Self::Name => ("client_name", "must be 1 to 256 printable characters"),
            Self::RelyingParty => ("relying_party_id", "must be 1 to 50 printable characters"),
            Self::Logo => (
                "logo_uri",
                "must be a web address of at most 1,024 characters",
            ),
            Self::Redirect => (
                "redirect_uris",
                "must be one or more different, absolute URIs",
            ),
            Self::Acr => (
                "acr_values",
                "must be one or more of the registered classes",
            ),
            Self::Claim => ("user_claims", "must be one or more of the standard claims"),
            Self::Grant => (
                "grant_types",
                "must be one or more different, supported grants",
            ),
            Self::Auth => ("auth_methods", "must be private_key_jwt"),
            Self::Key => (
                "public_key_jwk",
                "must be a public RSA, P-256 or Ed25519 key",
            ),
            Self::Scope => (
                "allowed_scopes",
                "must be scopes of the form block:resource:verb",
            ),
            Self::Consent => ("consent_expire_minutes", "must be 0 to five years"),
            Self::UserInfo => (
                "user_info_type",
                "must be JWS, or JWE with a key that may encrypt",
            ),
            Self::EncryptionKey => (
                "encryption_key_jwk",
                "must be a public RSA or EC key that may encrypt",
            ),
        }
    }
}

impl Client {
    /// Brings other spellings of the context classes to ours.
    pub(crate) fn canonical(mut self) -> Self {
        for acr in &mut self.acr_values {
            if let Some(name) = acr.strip_prefix(ACR_PREFIX_ELSEWHERE) {
                *acr = format!("{ACR_PREFIX}{name}");
            }
        }
        self
    }

    /// The first fault, in the order in which the published interface reports them. The key
    /// comes last there, after the look for a client of the same id, so it is checked apart.
    pub(crate) fn first_fault(&self, allow_http: bool) -> Option<ClientFault> {
        self.faults(allow_http).into_iter().next()
    }

    /// Every fault, the key aside.
    pub(crate) fn faults(&self, allow_http: bool) -> Vec<ClientFault> {
        let redirects = |uri: &str| uri::is_redirect_uri(uri, allow_http);
        let grant = |grant: &str| matches!(grant, AUTHORIZATION_CODE | CLIENT_CREDENTIALS);
        let interactive = self
            .grant_types
            .iter()
            .any(|grant| grant == AUTHORIZATION_CODE)
            || self.grant_types.is_empty();
        let listed = |list: &[String], sound: &dyn Fn(&str) -> bool| {
            // A client that only acts for itself meets no person.
            (list.is_empty() && !interactive) || is_list(list, sound)
        };
        let checks = [
            (is_text(&self.client_id, 50), ClientFault::Id),
            (is_text(&self.client_name, 256), ClientFault::Name),
            (
                is_text(&self.relying_party_id, 50),
                ClientFault::RelyingParty,
            ),
            (self.logo_is_sound(interactive), ClientFault::Logo),
            (
                listed(&self.redirect_uris, &redirects),
                ClientFault::Redirect,
            ),
            (
                listed(&self.acr_values, &|acr| ACR_VALUES.contains(&acr)),
                ClientFault::Acr,
            ),
            (
                listed(&self.user_claims, &|claim| USER_CLAIMS.contains(&claim)),
                ClientFault::Claim,
            ),
            (is_list(&self.grant_types, &grant), ClientFault::Grant),
            (
                is_list(&self.auth_methods, &|method| method == PRIVATE_KEY_JWT),
                ClientFault::Auth,
            ),
            (self.scopes_are_sound(), ClientFault::Scope),
            (
                (0..=MAX_CONSENT_MINUTES).contains(&self.consent_expire_minutes),
                ClientFault::Consent,
            ),
        ];
        let faults = checks.into_iter().filter(|(sound, _)| !sound);
        faults.map(|(_, fault)| fault).collect()
    }

    /// Whether the key may verify this client's assertions.
    pub(crate) fn has_sound_key(&self) -> bool {
        key::is_public_key(&self.public_key)
    }

    /// The key that claims are encrypted to, if they are.
    pub(crate) fn encrypts_to(&self) -> Option<&str> {
        let own = key::may_encrypt(&self.public_key).then_some(self.public_key.as_str());
        let further = Some(self.encryption_key.as_str()).filter(|key| !key.is_empty());
        further.or(own).filter(|_| self.user_info_type != "JWS")
    }

    /// What is wrong with how claims reach the client. Known only with the key, which a change
    /// of a client does not bring along.
    pub(crate) fn encryption_fault(&self) -> Option<ClientFault> {
        if !self.encryption_key.is_empty() && !key::is_encryption_key(&self.encryption_key) {
            return Some(ClientFault::EncryptionKey);
        }
        let sound = match self.user_info_type.as_str() {
            "" | "JWS" => true,
            "JWE" => self.encrypts_to().is_some(),
            _ => false,
        };
        (!sound).then_some(ClientFault::UserInfo)
    }

    /// Whether the client may use a grant.
    pub(crate) fn may_use(&self, grant: &str) -> bool {
        self.grant_types.iter().any(|known| known == grant)
    }

    fn logo_is_sound(&self, interactive: bool) -> bool {
        if self.logo_uri.is_empty() {
            return !interactive;
        }
        self.logo_uri.len() <= 1_024 && uri::is_web_uri(&self.logo_uri)
    }

    fn scopes_are_sound(&self) -> bool {
        let credentials = self.may_use(CLIENT_CREDENTIALS);
        self.allowed_scopes.len() <= MAX_SCOPES
            && (credentials || self.allowed_scopes.is_empty())
            && self.allowed_scopes.iter().all(|scope| is_scope(scope))
    }
}

fn is_scope(scope: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=100).contains(&scope.len()) && scope.bytes().all(allowed)
}

/// A text for people or machines: not blank, without control characters, and inside the basic
/// plane, since what lies outside breaks too many readers.
fn is_text(text: &str, longest: usize) -> bool {
    let sound = |c: char| !c.is_control() && u32::from(c) <= 0xFFFF;
    !text.trim().is_empty() && text.chars().count() <= longest && text.chars().all(sound)
}

fn is_list(list: &[String], sound: &dyn Fn(&str) -> bool) -> bool {
    let unique = |at: usize| !list[..at].contains(&list[at]);
    (1..=MAX_LIST).contains(&list.len())
        && list
            .iter()
            .enumerate()
            .all(|(at, value)| sound(value) && unique(at))
}

#[cfg(test)]
pub(crate) fn sample() -> Client {
    let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Client {
        client_id: "portal".to_owned(),
        client_name: "Cash transfer portal".to_owned(),
        relying_party_id: "social-protection".to_owned(),
        logo_uri: "https://portal.example.org/logo.png".to_owned(),
        redirect_uris: list(&["https://portal.example.org/back"]),
        acr_values: list(&["idbb:acr:generated-code"]),
        public_key: "{}".to_owned(),
        user_claims: list(&["name", "birthdate", "email"]),
        grant_types: list(&[AUTHORIZATION_CODE]),
        auth_methods: list(&[PRIVATE_KEY_JWT]),
        allowed_scopes: Vec::new(),
        active: true,
        consent_expire_minutes: 0,
        user_info_type: String::new(),
        encryption_key: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(change: impl FnOnce(&mut Client)) -> Option<ClientFault> {
        let mut client = sample();
        change(&mut client);
        client.first_fault(false)
    }

    #[test]
    fn a_sound_client_has_no_fault() {
        assert_eq!(fault(|_| ()), None);
        assert_eq!(fault(|c| c.client_name = "ប្រព័ន្ធ".to_owned()), None);
    }

    #[test]
    fn each_field_has_its_fault() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        for id in ["", " ", &"x".repeat(51), "a\u{7}", "😀"] {
            assert_eq!(
                fault(|c| c.client_id = id.to_owned()),
                Some(ClientFault::Id),
                "{id:?}"
            );
        }
        assert_eq!(
            fault(|c| c.client_name = "x".repeat(257)),
            Some(ClientFault::Name)
        );
        assert_eq!(
            fault(|c| c.relying_party_id.clear()),
            Some(ClientFault::RelyingParty)
        );
        assert_eq!(
            fault(|c| c.logo_uri = "logo".to_owned()),
            Some(ClientFault::Logo)
        );
        assert_eq!(fault(|c| c.logo_uri.clear()), Some(ClientFault::Logo));
        assert_eq!(
            fault(|c| c.redirect_uris.clear()),
            Some(ClientFault::Redirect)
        );
        let twice = words(&["https://a.example/", "https://a.example/"]);
        assert_eq!(
            fault(|c| c.redirect_uris = twice),
            Some(ClientFault::Redirect)
        );
        let plain = words(&["http://a.example/"]);
        assert_eq!(
            fault(|c| c.redirect_uris = plain),
            Some(ClientFault::Redirect)
        );
        assert_eq!(
            fault(|c| c.acr_values = words(&["level3"])),
            Some(ClientFault::Acr)
        );
        assert_eq!(
            fault(|c| c.user_claims = words(&["uin"])),
            Some(ClientFault::Claim)
        );
        assert_eq!(
            fault(|c| c.grant_types = words(&["implicit"])),
            Some(ClientFault::Grant)
        );
        assert_eq!(
            fault(|c| c.auth_methods = words(&["none"])),
            Some(ClientFault::Auth)
        );
        assert_eq!(
            fault(|c| c.allowed_scopes = words(&["a:b:c"])),
            Some(ClientFault::Scope)
        );
        assert_eq!(
            fault(|c| c.consent_expire_minutes = -1),
            Some(ClientFault::Consent)
        );
    }

    #[test]
    fn claims_are_encrypted_where_a_key_may() {
        let rsa = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#, "w".repeat(342));
        let signs = rsa.replace('{', r#"{"use":"sig","#);
        let with = |public: &str, further: &str, kind: &str| Client {
            public_key: public.to_owned(),
            encryption_key: further.to_owned(),
            user_info_type: kind.to_owned(),
            ..sample()
        };
        assert_eq!(with(&rsa, "", "").encrypts_to(), Some(rsa.as_str()));
        assert_eq!(with(&rsa, "", "JWS").encrypts_to(), None);
        assert_eq!(with(&signs, "", "").encrypts_to(), None);
        assert_eq!(with(&signs, &rsa, "").encrypts_to(), Some(rsa.as_str()));
        let fault = |client: Client| client.encryption_fault();
        assert_eq!(fault(with(&signs, "", "JWE")), Some(ClientFault::UserInfo));
        assert_eq!(fault(with(&signs, &rsa, "JWE")), None);
        assert_eq!(fault(with(&rsa, "", "jws")), Some(ClientFault::UserInfo));
        assert_eq!(
            fault(with(&rsa, &signs, "")),
            Some(ClientFault::EncryptionKey)
        );
        assert_eq!(
            fault(with(&rsa, "{}", "")),
            Some(ClientFault::EncryptionKey)
        );
    }

    #[test]
    fn only_the_first_fault_is_told() {
        let first = fault(|c| {
            c.auth_methods.clear();
            c.logo_uri.clear();
            c.client_name.clear();
        });
        assert_eq!(first, Some(ClientFault::Name));
    }

    #[test]
    fn a_machine_needs_no_pages() {
        let client = Client {
            grant_types: vec![CLIENT_CREDENTIALS.to_owned()],
            redirect_uris: Vec::new(),
            acr_values: Vec::new(),
            user_claims: Vec::new(),
            logo_uri: String::new(),
            allowed_scopes: vec!["payments:batch:write".to_owned()],
            ..sample()
        };
        assert_eq!(client.first_fault(false), None);
    }

    #[test]
    fn other_spellings_of_classes_are_understood() {
        let mut client = sample();
        client.acr_values = vec!["mosip:idp:acr:generated-code".to_owned()];
        assert_eq!(client.canonical().acr_values, ["idbb:acr:generated-code"]);
    }
}
