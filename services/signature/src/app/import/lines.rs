//! Lines of an import: their shapes, and all that can be said about them without the store.

use publica_imports::Problem;
use publica_json::read_entity;
use publica_rpc::{Fault as _, Invalid};
use publica_types::Timestamp;
use serde::Deserialize;

use crate::app::certificate::{ACTIVE, DEVICE, REVOKED, SUSPENDED};
use crate::app::credential::check_name;
use crate::domain::crl::reason_code;
use crate::domain::key::sha256;
use crate::domain::x509::Certificate;
use crate::store::certificate::CertificateRow;

/// A line of good form.
pub(crate) enum Line {
    Credential(Box<CredentialLine>),
    Certificate(Box<CertificateLine>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CredentialLine {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    pub(super) credential_id: String,
    pub(super) owner: String,
    pub(super) organization: String,
    pub(super) country: String,
    #[serde(default)]
    pub(super) organization_identifier: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawCertificate {
    #[serde(default, rename = "kind")]
    _kind: Option<String>,
    certificate_id: String,
    owner: String,
    /// Hexadecimal DER of a certificate that the issuing authority of this store signed.
    certificate: String,
    #[serde(default)]
    pseudonym: Option<String>,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    changed: Option<Timestamp>,
    created: Timestamp,
}

pub(crate) struct CertificateLine {
    pub(super) row: CertificateRow,
    pub(super) read: Certificate,
}

impl Line {
    /// Reads a line of a kind, or says all that is wrong with it.
    pub(crate) fn read(kind: &str, json: &[u8]) -> Result<Self, Vec<Problem>> {
        let one = |problem| vec![problem];
        match kind {
            "signature.credential" => {
                let line: CredentialLine = read_entity(json).map_err(one)?;
                let checked = check_credential(&line).check();
                checked.map_err(|invalid| invalid.violations())?;
                Ok(Self::Credential(Box::new(line)))
            }
            "signature.certificate" => {
                let raw = read_entity(json).map_err(one)?;
                Ok(Self::Certificate(Box::new(certificate(raw)?)))
            }
            _ => {
                let what = "is not a kind of this block";
                Err(one(("kind".to_owned(), what.to_owned())))
            }
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Credential(_) => "signature.credential",
            Self::Certificate(_) => "signature.certificate",
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::Credential(one) => &one.credential_id,
            Self::Certificate(one) => &one.row.certificate_id,
        }
    }

    pub(super) fn credential(&self) -> Option<&CredentialLine> {
        match self {
            Self::Credential(one) => Some(one),
            Self::Certificate(_) => None,
        }
    }
}

fn check_id(invalid: &mut Invalid, field: &str, id: &str) {
    let sound = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    if !sound {
        invalid.push(field, "must have 1 to 64 visible characters");
    }
}

fn check_credential(line: &CredentialLine) -> Invalid {
    let mut invalid = Invalid::new();
    check_id(&mut invalid, "credentialId", &line.credential_id);
    check_id(&mut invalid, "owner", &line.owner);
    let name = check_name(
        &line.country,
        &line.organization,
        &line.organization_identifier,
    );
    for (field, description) in name.violations() {
        // The shape of calls writes names otherwise.
        let field = match field.as_str() {
            "organization_identifier" => "organizationIdentifier",
            other => other,
        };
        invalid.push(field, description);
    }
    invalid
}

fn certificate(raw: RawCertificate) -> Result<CertificateLine, Vec<Problem>> {
    let mut invalid = Invalid::new();
    check_id(&mut invalid, "certificateId", &raw.certificate_id);
    check_id(&mut invalid, "owner", &raw.owner);
    let state = match &*raw.status {
        "ACTIVE" => Some(ACTIVE),
        "SUSPENDED" => Some(SUSPENDED),
        "REVOKED" => Some(REVOKED),
        _ => None,
    };
    if state.is_none() {
        invalid.push("status", "must be ACTIVE, SUSPENDED or REVOKED");
    }
    let state = state.unwrap_or(ACTIVE);
    if state != ACTIVE && raw.changed.is_none() {
        invalid.push("changed", "is required with this status");
    }
    if raw
        .pseudonym
        .as_ref()
        .is_some_and(|name| !is_pseudonym(name))
    {
        let what = "must have 1 to 64 characters, and no control characters";
        invalid.push("pseudonym", what);
    }
    let reason = match (state, &*raw.reason) {
        (ACTIVE, _) => Some(0),
        (SUSPENDED, _) => Some(6),
        (_, "") => Some(0),
        (_, name) => reason_code(name),
    };
    if reason.is_none() {
        invalid.push("reason", "is not a reason");
    }
    let der = hex::decode(&raw.certificate).unwrap_or_default();
    let read = Certificate::read(&der).ok();
    if read.is_none() {
        invalid.push("certificate", "is not a certificate");
    }
    let (Some(read), true) = (read, invalid.is_empty()) else {
        return Err(invalid.violations());
    };
    let row = CertificateRow {
        certificate_id: raw.certificate_id,
        kind: DEVICE,
        owner: raw.owner,
        pseudonym: raw.pseudonym,
        serial: read.serial.clone(),
        key_hash: sha256(&read.spki()),
        not_after: read.not_after,
        state,
        reason: reason.unwrap_or_default().into(),
        change_time: raw.changed.filter(|_| state != ACTIVE),
        create_time: raw.created,
        certificate: der,
        scd_type: String::new(),
        scd_key_id: 0,
        sealed_remote_id: None,
    };
    Ok(CertificateLine { row, read })
}

fn is_pseudonym(name: &str) -> bool {
    (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}
