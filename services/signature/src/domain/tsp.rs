//! Time-stamps (RFC 3161): queries, replies and tokens.

use publica_types::Timestamp;

use crate::domain::cms::{Content, Signer};
use crate::domain::der::{self, DerError, Reader};
use crate::domain::key::{Hash, KeyError};
use crate::domain::oid;
use crate::domain::x509::{self, timestamp_policy};

/// Why a query is refused, as the bit of PKIFailureInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    BadAlgorithm = 0,
    BadRequest = 2,
    BadDataFormat = 5,
    UnacceptedPolicy = 15,
    UnacceptedExtension = 16,
}

/// A query that can be answered.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    /// MessageImprint as it stands.
    imprint: &'a [u8],
    /// The nonce as it stands; empty if there is none.
    nonce: &'a [u8],
    with_certificates: bool,
}

impl<'a> Query<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (version, imprint, rest) = outline(bytes).map_err(|DerError| Refusal::BadDataFormat)?;
        if version != 1 {
            return Err(Refusal::BadRequest);
        }
        let mut inner = Reader::within(imprint, der::SEQUENCE).map_err(bad_format)?;
        let (algorithm, _) = inner.algorithm().map_err(bad_format)?;
        let hashed = inner.expect(der::OCTET_STRING).map_err(bad_format)?.content;
        inner.end().map_err(bad_format)?;
        let length = imprint_length(algorithm).ok_or(Refusal::BadAlgorithm)?;
        if hashed.len() != length {
            return Err(Refusal::BadDataFormat);
        }
        let mut query = Self {
            imprint,
            nonce: &[],
            with_certificates: false,
        };
        query.read_options(rest)?;
        Ok(query)
    }

    fn read_options(&mut self, mut rest: Reader<'a>) -> Result<(), Refusal> {
        if let Some(policy) = rest.optional(der::OID).map_err(bad_format)?
            && policy.content != timestamp_policy()
        {
            return Err(Refusal::UnacceptedPolicy);
        }
        if let Some(nonce) = rest.optional(der::INTEGER).map_err(bad_format)? {
            if nonce.content.is_empty() || nonce.content.len() > 64 {
                return Err(Refusal::BadDataFormat);
            }
            self.nonce = nonce.raw;
        }
        if let Some(flag) = rest.optional(der::BOOLEAN).map_err(bad_format)? {
            self.with_certificates = flag.content == [0xff];
        }
        if rest
            .optional(der::context(0))
            .map_err(bad_format)?
            .is_some()
        {
            return Err(Refusal::UnacceptedExtension);
        }
        rest.end().map_err(bad_format)
    }
}

fn bad_format(_: DerError) -> Refusal {
    Refusal::BadDataFormat
}

fn outline(bytes: &[u8]) -> Result<(u64, &[u8], Reader<'_>), DerError> {
    let mut outer = Reader::within(bytes, der::SEQUENCE)?;
    let version = outer.number()?;
    Ok((version, outer.expect(der::SEQUENCE)?.raw, outer))
}

/// Length of a hash that may be time-stamped. SHA-1 never may.
fn imprint_length(algorithm: &[u8]) -> Option<usize> {
    match algorithm {
        oid::SHA256 | oid::SHA3_256 => Some(32),
        oid::SHA384 | oid::SHA3_384 => Some(48),
        oid::SHA512 | oid::SHA3_512 => Some(64),
        _ => None,
    }
}

/// GeneralizedTime with a fraction that has no trailing zeros.
fn generalized(time: Timestamp) -> Vec<u8> {
    let micros = time.micros().rem_euclid(1_000_000);
    let fraction = format!("{micros:06}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let text = format!("{}{point}{fraction}Z", x509::time_digits(time));
    der::element(der::GENERALIZED_TIME, text.as_bytes())
}

/// A time-stamp token for a query.
pub(crate) fn token(
    signer: &Signer,
    query: &Query<'_>,
    serial: &[u8],
    time: Timestamp,
) -> Result<Vec<u8>, KeyError> {
    // The clock is the host's: one second is what we answer for.
    let accuracy = der::sequence(&[&der::small(1)]);
    let tsa = der::element(der::context(4), &signer.certificate.subject);
    let info = der::sequence(&[
        &der::small(1),
        &der::oid(&timestamp_policy()),
        query.imprint,
        &der::unsigned(serial),
        &generalized(time),
        &accuracy,
        query.nonce,
        &der::element(der::context(0), &tsa),
    ]);
    let content = Content::TimestampInfo {
        info: &info,
        with_certificates: query.with_certificates,
    };
    signer.sign(content, |_| Ok(None))
}

/// A time-stamp token over a signature value, for the signature itself to carry.
pub(crate) fn token_over(
    signer: &Signer,
    signature: &[u8],
    serial: &[u8],
    time: Timestamp,
) -> Result<Vec<u8>, KeyError> {
    let hash = Hash::Sha256.of(&[signature]);
    let imprint = der::sequence(&[&Hash::Sha256.identifier(), &der::octets(hash.as_ref())]);
    let query = Query {
        imprint: &imprint,
        nonce: &[],
        with_certificates: true,
    };
    token(signer, &query, serial, time)
}

/// A reply that grants a token.
pub(crate) fn granted(token: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::sequence(&[&der::small(0)]), token])
}

/// A reply that refuses.
pub(crate) fn refused(refusal: Refusal) -> Vec<u8> {
    let bit = refusal as usize;
    let mut octets = vec![0_u8; bit / 8 + 2];
    octets[0] = u8::try_from(7 - bit % 8).unwrap_or(0);
    octets[bit / 8 + 1] = 0x80 >> (bit % 8);
    let info = der::element(der::BIT_STRING, &octets);
    der::sequence(&[&der::sequence(&[&der::small(2), &info])])
}

/// What a token says.
#[derive(Debug)]
pub(crate) struct Info<'a> {
    pub(crate) hash: Hash,
    pub(crate) hashed: &'a [u8],
    pub(crate) time: Timestamp,
}

impl<'a> Info<'a> {
    /// Reads a TSTInfo.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DerError> {
        let mut info = Reader::within(bytes, der::SEQUENCE)?;
        info.number()?;
        info.expect(der::OID)?;
        let mut imprint = info.enter(der::SEQUENCE)?;
        let (algorithm, _) = imprint.algorithm()?;
        let hashed = imprint.expect(der::OCTET_STRING)?.content;
        info.expect(der::INTEGER)?;
        let time = x509::read_time(info.expect(der::GENERALIZED_TIME)?)?;
        Ok(Self {
            hash: Hash::from_oid(algorithm).ok_or(DerError)?,
            hashed,
            time,
        })
    }
}
