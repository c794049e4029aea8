//! Who may call what. What is not listed is denied to everybody.

use publica_auth::Access::{self, Public, Scope};

pub(crate) const POLICY: &[(&str, Access)] = publica_journal::policy! {
    "signature";
    ("/publica.signature.v1.CredentialService/CreateCredential",
        Scope("signature:credential:write")),
    ("/publica.signature.v1.CredentialService/GetCredential",
        Scope("signature:credential:read")),
    ("/publica.signature.v1.CredentialService/ListCredentials",
        Scope("signature:credential:read")),
    ("/publica.signature.v1.CredentialService/ChangeCredentialStatus",
        Scope("signature:credential:write")),
    ("/publica.signature.v1.CertificateService/CreateCertificate",
        Scope("signature:certificate:write")),
    ("/publica.signature.v1.CertificateService/GetCertificate",
        Scope("signature:certificate:read")),
    ("/publica.signature.v1.CertificateService/ListCertificates",
        Scope("signature:certificate:read")),
    ("/publica.signature.v1.CertificateService/ChangeCertificateStatus",
        Scope("signature:certificate:write")),
    // What verifiers need is for everybody, as certificates are.
    ("/publica.signature.v1.CertificateService/GetRevocationList", Public),
    ("/publica.signature.v1.CertificateService/ListAuthorities", Public),
    ("/publica.signature.v1.SigningService/SignHash", Scope("signature:signature:write")),
    ("/publica.signature.v1.SigningService/SealHashes", Scope("signature:seal:write")),
    ("/publica.signature.v1.SigningService/SealDocuments", Scope("signature:seal:write")),
    ("/publica.signature.v1.SigningService/GetSignature", Scope("signature:signature:read")),
    ("/publica.signature.v1.SigningService/ListSignatures", Scope("signature:signature:read")),
    ("/publica.signature.v1.TimestampAuthorityService/CreateTimestamp",
        Scope("signature:timestamp:write")),
    ("/publica.signature.v1.ValidationService/ValidateDocument",
        Scope("signature:validation:read")),
    ("/publica.signature.v1.ValidationService/ValidateSignature",
        Scope("signature:validation:read")),
    ("/publica.imports.v1.ImportService/ImportEntities", Scope("signature:import:write")),
};
