//! Who may call what. What is not listed is denied to everybody.

use publica_auth::Access;
use publica_auth::Access::{Authenticated, Public, Scope};

/// The block's policy.
///
/// Signing in and tokens are public: the right to go on is the transaction id, the code or the
/// client's assertion, and the block checks it. Registering clients is allowed by two scopes,
/// so the block checks those itself.
pub(crate) const POLICY: &[(&str, Access)] = publica_journal::policy! {
    "identity";
    ("/publica.identity.v1.PersonService/EnrolPersons", Scope("identity:person:enrol")),
    ("/publica.identity.v1.PersonService/GetPerson", Scope("identity:person:read")),
    ("/publica.identity.v1.PersonService/ListPersons", Scope("identity:person:read")),
    ("/publica.identity.v1.PersonService/SearchPersons", Scope("identity:person:search")),
    ("/publica.identity.v1.PersonService/UpdatePerson", Scope("identity:person:write")),
    ("/publica.identity.v1.PersonService/BlockPerson", Scope("identity:person:block")),
    ("/publica.identity.v1.PersonService/UnblockPerson", Scope("identity:person:block")),
    ("/publica.identity.v1.PersonService/DeactivatePerson", Scope("identity:person:block")),
    ("/publica.identity.v1.PersonService/RecordDeath", Scope("identity:person:block")),
    ("/publica.identity.v1.PersonService/ErasePerson", Scope("identity:person:erase")),
    ("/publica.identity.v1.IdentifierService/CreateVid", Scope("identity:identifier:write")),
    ("/publica.identity.v1.IdentifierService/AttachAlias", Scope("identity:identifier:write")),
    ("/publica.identity.v1.IdentifierService/ListIdentifiers", Scope("identity:identifier:read")),
    ("/publica.identity.v1.IdentifierService/RevokeIdentifier", Scope("identity:identifier:write")),
    ("/publica.identity.v1.FactorService/SetFactor", Scope("identity:factor:write")),
    ("/publica.identity.v1.FactorService/ListFactors", Scope("identity:factor:read")),
    ("/publica.identity.v1.FactorService/LockFactor", Scope("identity:factor:write")),
    ("/publica.identity.v1.FactorService/UnlockFactor", Scope("identity:factor:write")),
    ("/publica.identity.v1.EnrolmentService/SubmitPacket", Scope("identity:person:enrol")),
    ("/publica.identity.v1.EnrolmentService/GetEnrolment", Scope("identity:enrolment:read")),
    ("/publica.identity.v1.EnrolmentService/ListEnrolments", Scope("identity:enrolment:read")),
    ("/publica.identity.v1.ClientService/CreateClient", Authenticated),
    ("/publica.identity.v1.ClientService/UpdateClient", Authenticated),
    ("/publica.identity.v1.ClientService/GetClient", Scope("identity:client:read")),
    ("/publica.identity.v1.ClientService/ListClients", Scope("identity:client:read")),
    ("/publica.identity.v1.SignInService/CheckAuthorization", Public),
    ("/publica.identity.v1.SignInService/StartSignIn", Public),
    ("/publica.identity.v1.SignInService/SendCode", Public),
    ("/publica.identity.v1.SignInService/Authenticate", Public),
    ("/publica.identity.v1.SignInService/GetConsentDetails", Public),
    ("/publica.identity.v1.SignInService/IssueCode", Public),
    ("/publica.identity.v1.SignInService/CancelSignIn", Public),
    ("/publica.identity.v1.TokenService/IssueToken", Public),
    ("/publica.identity.v1.TokenService/GetUserInfo", Public),
    ("/publica.identity.v1.TokenService/RevokeToken", Public),
    ("/publica.identity.v1.TokenService/IntrospectToken", Public),
    ("/publica.identity.v1.ProviderService/GetMetadata", Public),
    ("/publica.identity.v1.ProviderService/GetKeySet", Public),
    ("/publica.identity.v1.ProviderService/RotateSigningKey", Scope("identity:key:rotate")),
    ("/publica.identity.v1.ProviderService/ListSigningKeys", Scope("identity:key:read")),
    ("/publica.imports.v1.ImportService/ImportEntities", Scope("identity:import:write")),
};
