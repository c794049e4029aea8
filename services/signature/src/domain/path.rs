//! Paths from a certificate to a trust anchor (RFC 5280, section 6).

use publica_types::Timestamp;

use crate::domain::oid;
use crate::domain::x509::Certificate;

/// The most certificates between an end and its anchor.
const MAX_DEPTH: u64 = 6;

/// Critical extensions that are looked at somewhere in this block.
const UNDERSTOOD: &[&[u8]] = &[
    oid::BASIC_CONSTRAINTS,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::CERTIFICATE_POLICIES,
];

/// Why there is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathFault {
    /// Nothing leads to an anchor.
    NotFound,
    /// A certificate of the path had ended at that time.
    Expired,
    /// A certificate of the path was not valid yet at that time.
    NotYetValid,
    /// A certificate says something critical that is not understood.
    Constraint,
}

/// Finds a path that holds at a time.
pub(crate) fn find(
    end: &Certificate,
    pool: &[Certificate],
    anchors: &[Certificate],
    time: Timestamp,
) -> Result<(), PathFault> {
    step(end, pool, anchors, time, 0)
}

fn step(
    subject: &Certificate,
    pool: &[Certificate],
    anchors: &[Certificate],
    time: Timestamp,
    below: u64,
) -> Result<(), PathFault> {
    if anchors.iter().any(|anchor| anchor.der == subject.der) {
        return Ok(());
    }
    sound_at(subject, time)?;
    if below > MAX_DEPTH {
        return Err(PathFault::NotFound);
    }
    let mut fault = PathFault::NotFound;
    for issuer in anchors.iter().chain(pool) {
        let fits = issuer.subject == subject.issuer
            && issuer.authority().is_some_and(|most| most >= below)
            && issuer.signed(subject);
        if !fits {
            continue;
        }
        match step(issuer, pool, anchors, time, below + 1) {
            Ok(()) => return Ok(()),
            Err(PathFault::NotFound) => {}
            Err(other) => fault = other,
        }
    }
    Err(fault)
}

fn sound_at(certificate: &Certificate, time: Timestamp) -> Result<(), PathFault> {
    if time < certificate.not_before {
        return Err(PathFault::NotYetValid);
    }
    // Certificates count whole seconds and include the last one.
    if time.seconds() > certificate.not_after.seconds() {
        return Err(PathFault::Expired);
    }
    let unknown = |id: &[u8]| !UNDERSTOOD.contains(&id);
    if certificate
        .extensions
        .iter()
        .any(|one| one.critical && unknown(&one.id))
    {
        return Err(PathFault::Constraint);
    }
    Ok(())
}
