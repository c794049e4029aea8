//! Judging a signature in the words of EN 319 102-1. What is revoked only the store knows; see
//! [`Verdict::revoked`].

use publica_types::Timestamp;

use crate::domain::cms::read::SignedData;
use crate::domain::der::{self, DerError, Reader};
use crate::domain::key::{Hash, hash_of_signature};
use crate::domain::oid;
use crate::domain::path::{self, PathFault};
use crate::domain::tsp;
use crate::domain::x509::{self, Certificate};

/// The most time-stamps of a signature that are looked at.
const MAX_TIMESTAMPS: usize = 8;

/// The three indications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indication {
    Passed,
    Failed,
    Indeterminate,
}

/// What is known about the hash of the signed bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signed<'a> {
    /// The bytes themselves, in parts.
    Bytes(&'a [&'a [u8]]),
    /// Only their hash.
    Hash(Hash, &'a [u8]),
}

/// A judgement.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) indication: Indication,
    pub(crate) sub_indication: &'static str,
    pub(crate) reasons: Vec<String>,
    pub(crate) intact: bool,
    pub(crate) trusted: bool,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) stamped: Option<Timestamp>,
    pub(crate) claimed: Option<Timestamp>,
    /// Whether the signer's certificate is named by the signature itself.
    pub(crate) baseline: bool,
}

/// How a revoked certificate stands to the time of its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revocation {
    Suspended,
    Revoked(Timestamp),
}

impl Verdict {
    fn new() -> Self {
        Self {
            indication: Indication::Passed,
            sub_indication: "",
            reasons: Vec::new(),
            intact: false,
            trusted: false,
            certificate: None,
            stamped: None,
            claimed: None,
            baseline: false,
        }
    }

    /// A signature that cannot even be read.
    pub(crate) fn unreadable(reason: &str) -> Self {
        let mut verdict = Self::new();
        verdict.fail("FORMAT_FAILURE", reason);
        verdict
    }

    /// A finding that ends the matter. The first finding of the gravest kind gives the name.
    pub(crate) fn fail(&mut self, sub_indication: &'static str, reason: &str) {
        if self.indication != Indication::Failed {
            self.indication = Indication::Failed;
            self.sub_indication = sub_indication;
        }
        self.reasons.push(reason.to_owned());
    }

    /// A finding that leaves the matter open.
    pub(crate) fn doubt(&mut self, sub_indication: &'static str, reason: &str) {
        if self.indication == Indication::Passed {
            self.indication = Indication::Indeterminate;
            self.sub_indication = sub_indication;
        }
        self.reasons.push(reason.to_owned());
    }

    /// Takes account of what the store says about the signer's certificate.
    pub(crate) fn revoked(&mut self, revocation: Revocation) {
        match (revocation, self.stamped) {
            (Revocation::Suspended, _) => {
                self.doubt("TRY_LATER", "The signer's certificate is suspended.");
            }
            (Revocation::Revoked(time), Some(stamped)) if stamped < time => {
                let note = "The signer's certificate was revoked after the signature was made.";
                self.reasons.push(note.to_owned());
            }
            (Revocation::Revoked(_), Some(_)) => {
                let reason = "The signer's certificate was revoked before the signature was made.";
                self.fail("REVOKED", reason);
            }
            (Revocation::Revoked(_), None) => {
                let reason = "The signer's certificate is revoked, and nothing proves that the \
                              signature is older.";
                self.doubt("REVOKED_NO_POE", reason);
            }
        }
    }

    pub(crate) fn level(&self) -> &'static str {
        match (self.baseline, self.stamped) {
            (true, Some(_)) => "B-T",
            (true, None) => "B-B",
            _ => "",
        }
    }
}

/// Judges a CMS signature at a time.
pub(crate) fn judge(
    cms: &[u8],
    signed: Signed<'_>,
    anchors: &[Certificate],
    now: Timestamp,
) -> Verdict {
    let Ok(data) = SignedData::read(cms) else {
        return Verdict::unreadable("The signature is not sound CMS in DER with one signer.");
    };
    let mut verdict = Verdict::new();
    let Some(certificate) = data.signing_certificate() else {
        verdict.doubt(
            "NO_SIGNING_CERTIFICATE_FOUND",
            "The signer's certificate is not there.",
        );
        return verdict;
    };
    verdict.certificate = Some(certificate.clone());
    if data.content_type != oid::DATA || data.content.is_some() {
        verdict.fail(
            "FORMAT_FAILURE",
            "A detached signature over data is expected.",
        );
        return verdict;
    }
    if check_integrity(&data, certificate, signed, &mut verdict).is_err() {
        verdict.fail("FORMAT_FAILURE", "The signed attributes are not sound.");
    }
    verdict.claimed = claimed_time(&data);
    check_timestamp(&data, anchors, &mut verdict);
    let time = verdict.stamped.unwrap_or(now);
    check_path(certificate, &data.certificates, anchors, time, &mut verdict);
    if certificate.usage() & 0xc0 == 0 {
        let reason = "The certificate is not meant for signatures.";
        verdict.doubt("CHAIN_CONSTRAINTS_FAILURE", reason);
    }
    verdict
}

fn claimed_time(data: &SignedData<'_>) -> Option<Timestamp> {
    let value = data.signer.signed(oid::SIGNING_TIME).ok()??;
    x509::read_time(Reader::new(value).read().ok()?).ok()
}

fn check_integrity(
    data: &SignedData<'_>,
    certificate: &Certificate,
    signed: Signed<'_>,
    verdict: &mut Verdict,
) -> Result<(), DerError> {
    let signer = &data.signer;
    let hash = Hash::from_oid(signer.digest_algorithm);
    let Some(hash) = hash.filter(|_| hash_of_signature(signer.signature_algorithm).is_some())
    else {
        let reason = "The signature uses an algorithm that is not accepted.";
        verdict.doubt("CRYPTO_CONSTRAINTS_FAILURE", reason);
        return Ok(());
    };
    let kind = signer.signed(oid::CONTENT_TYPE)?.ok_or(DerError)?;
    if kind != der::oid(data.content_type) {
        return Err(DerError);
    }
    let claimed = signer.signed(oid::MESSAGE_DIGEST)?.ok_or(DerError)?;
    let claimed = Reader::new(claimed).expect(der::OCTET_STRING)?.content;
    let matches = match signed {
        Signed::Bytes(parts) => hash.of(parts).as_ref() == claimed,
        Signed::Hash(given, value) => given == hash && value == claimed,
    };
    if !matches {
        verdict.fail(
            "HASH_FAILURE",
            "The signed bytes are not those that were signed.",
        );
    }
    let algorithm = signer.signature_algorithm;
    if !certificate
        .key
        .verifies(algorithm, &signer.signed_bytes, signer.signature)
    {
        verdict.fail(
            "SIG_CRYPTO_FAILURE",
            "The signature was not made with this key.",
        );
        return Ok(());
    }
    verdict.intact = matches;
    match names_certificate(signer.signed(oid::SIGNING_CERTIFICATE_V2), certificate) {
        Some(true) => verdict.baseline = true,
        Some(false) => verdict.doubt(
            "SIG_CONSTRAINTS_FAILURE",
            "The signature names another certificate than the one it carries.",
        ),
        None => verdict.doubt(
            "SIG_CONSTRAINTS_FAILURE",
            "The signature does not say which certificate it was made with.",
        ),
    }
    Ok(())
}

/// Whether signing-certificate-v2 names this certificate; `None` without that attribute.
fn names_certificate(
    attribute: Result<Option<&[u8]>, DerError>,
    certificate: &Certificate,
) -> Option<bool> {
    let value = match attribute {
        Ok(value) => value?,
        Err(DerError) => return Some(false),
    };
    let first = || -> Result<bool, DerError> {
        let mut list = Reader::within(value, der::SEQUENCE)?.enter(der::SEQUENCE)?;
        let mut id = list.enter(der::SEQUENCE)?;
        let hash = if id.peek() == Some(der::SEQUENCE) {
            Hash::from_oid(id.algorithm()?.0).ok_or(DerError)?
        } else {
            Hash::Sha256
        };
        let named = id.expect(der::OCTET_STRING)?.content;
        Ok(hash.of(&[&certificate.der]).as_ref() == named)
    };
    Some(first().unwrap_or(false))
}

fn check_timestamp(data: &SignedData<'_>, anchors: &[Certificate], verdict: &mut Verdict) {
    let tokens = data.signer.unsigned(oid::SIGNATURE_TIME_STAMP);
    if tokens.len() > MAX_TIMESTAMPS {
        let note = "Of the time-stamps of the signature, only the first 8 are looked at.";
        verdict.reasons.push(note.to_owned());
    }
    let sound = tokens.iter().take(MAX_TIMESTAMPS).filter_map(|token| {
        let checked = token_time(token, data.signer.signature, anchors);
        if checked.is_none() {
            let note = "A time-stamp of the signature is not sound and does not count.";
            verdict.reasons.push(note.to_owned());
        }
        checked
    });
    verdict.stamped = sound.min();
    if verdict.stamped.is_none() {
        // Every valid signature has a time-stamp: the rule of the specification.
        verdict.doubt(
            "SIG_CONSTRAINTS_FAILURE",
            "The signature has no sound time-stamp.",
        );
    }
}

/// The time of a token, if everything about it is sound.
fn token_time(token: &[u8], signature: &[u8], anchors: &[Certificate]) -> Option<Timestamp> {
    let data = SignedData::read(token).ok()?;
    let content = data
        .content
        .filter(|_| data.content_type == oid::TST_INFO)?;
    let info = tsp::Info::read(content).ok()?;
    let certificate = data.signing_certificate()?;
    let mut inner = Verdict::new();
    check_integrity(&data, certificate, Signed::Bytes(&[content]), &mut inner).ok()?;
    check_path(
        certificate,
        &data.certificates,
        anchors,
        info.time,
        &mut inner,
    );
    let sound = inner.intact
        && inner.baseline
        && inner.indication == Indication::Passed
        && certificate.is_timestamping()
        && info.hash.of(&[signature]).as_ref() == info.hashed;
    sound.then_some(info.time)
}

fn check_path(
    certificate: &Certificate,
    pool: &[Certificate],
    anchors: &[Certificate],
    time: Timestamp,
    verdict: &mut Verdict,
) {
    match path::find(certificate, pool, anchors, time) {
        Ok(()) => verdict.trusted = true,
        Err(PathFault::NotFound) => verdict.doubt(
            "NO_CERTIFICATE_CHAIN_FOUND",
            "The certificate does not lead to a trust anchor.",
        ),
        Err(PathFault::Costly) => verdict.doubt(
            "NO_CERTIFICATE_CHAIN_FOUND",
            "The certificates lead in more ways than are looked at.",
        ),
        Err(PathFault::Expired) => verdict.doubt(
            "OUT_OF_BOUNDS_NO_POE",
            "A certificate had ended when the signature was first seen.",
        ),
        Err(PathFault::NotYetValid) => {
            verdict.fail(
                "NOT_YET_VALID",
                "A certificate was not valid yet at signing.",
            );
        }
        Err(PathFault::Constraint) => verdict.doubt(
            "CHAIN_CONSTRAINTS_FAILURE",
            "A certificate has a critical extension that is not understood.",
        ),
    }
}
