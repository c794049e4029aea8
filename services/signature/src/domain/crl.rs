//! The list of revoked certificates (RFC 5280, section 5).

use publica_types::Timestamp;

use crate::domain::der::{self, DerError};
use crate::domain::key::KeyError;
use crate::domain::oid;
use crate::domain::x509::{self, Issuer, extension};

/// Reasons by their number.
const REASONS: &[(u8, &str)] = &[
    (0, "unspecified"),
    (1, "keyCompromise"),
    (3, "affiliationChanged"),
    (4, "superseded"),
    (5, "cessationOfOperation"),
    (6, "certificateHold"),
    (9, "privilegeWithdrawn"),
];

/// The number of a reason.
pub(crate) fn reason_code(name: &str) -> Option<u8> {
    REASONS
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(code, _)| *code)
}

/// The name of a reason.
pub(crate) fn reason_name(code: i64) -> &'static str {
    let known = REASONS.iter().find(|(known, _)| i64::from(*known) == code);
    known.map_or("unspecified", |(_, name)| name)
}

/// One certificate on the list.
#[derive(Debug, Clone)]
pub(crate) struct Revoked {
    /// Content octets of the serial number.
    pub(crate) serial: Vec<u8>,
    pub(crate) time: Timestamp,
    pub(crate) reason: u8,
}

/// Writes and signs a list. Its number is the time it was made, which only grows.
pub(crate) fn list(
    issuer: Issuer<'_>,
    this_update: Timestamp,
    next_update: Timestamp,
    revoked: &[Revoked],
) -> Result<Vec<u8>, KeyError> {
    let entries = revoked.iter().map(|entry| {
        // The reason `unspecified` is said by leaving it out.
        let reason = extension(oid::CRL_REASON, false, &der::element(0x0a, &[entry.reason]));
        let extensions = if entry.reason == 0 {
            Vec::new()
        } else {
            der::sequence(&[&reason])
        };
        let serial = der::element(der::INTEGER, &entry.serial);
        der::sequence(&[&serial, &x509::time(entry.time), &extensions])
    });
    let entries: Vec<u8> = entries.collect::<Vec<_>>().concat();
    let entries = if entries.is_empty() {
        entries
    } else {
        der::element(der::SEQUENCE, &entries)
    };
    let number = der::unsigned(&this_update.micros().to_be_bytes());
    let key_id = x509::authority_key_id(issuer.key).map_err(|DerError| KeyError)?;
    let extensions = der::sequence(&[&key_id, &extension(oid::CRL_NUMBER, false, &number)]);
    let tbs = der::sequence(&[
        &der::small(1),
        &issuer.key.curve.signature_identifier(),
        issuer.name,
        &x509::time(this_update),
        &x509::time(next_update),
        &entries,
        &der::element(der::context(0), &extensions),
    ]);
    x509::signed(&tbs, issuer.key)
}
