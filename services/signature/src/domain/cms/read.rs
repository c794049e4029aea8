//! Reading signed data. Bytes are borrowed as they stand, so that hashes stay what they were.

use crate::domain::der::{self, DerError, Reader};
use crate::domain::oid;
use crate::domain::x509::Certificate;

/// The most certificates that are looked at.
const MAX_CERTIFICATES: usize = 32;

/// Who signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SignerId<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    SubjectKeyId(&'a [u8]),
}

/// An attribute with its values, each as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Attribute<'a> {
    kind: &'a [u8],
    values: Vec<&'a [u8]>,
}

/// The one signer of signed data.
#[derive(Debug)]
pub(crate) struct SignerInfo<'a> {
    pub(crate) id: SignerId<'a>,
    pub(crate) digest_algorithm: &'a [u8],
    pub(crate) signed_attributes: Vec<Attribute<'a>>,
    /// The signed attributes as a SET: what the signature is over.
    pub(crate) signed_bytes: Vec<u8>,
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) unsigned_attributes: Vec<Attribute<'a>>,
}

/// Signed data with exactly one signer.
#[derive(Debug)]
pub(crate) struct SignedData<'a> {
    pub(crate) content_type: &'a [u8],
    pub(crate) content: Option<&'a [u8]>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) signer: SignerInfo<'a>,
}

impl<'a> SignedData<'a> {
    /// Reads a ContentInfo; `bytes` may go on with zeros, as the contents of a PDF's signature
    /// dictionary do.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, DerError> {
        let mut padded = Reader::new(bytes);
        let outer = padded.expect(der::SEQUENCE)?;
        if bytes[outer.raw.len()..].iter().any(|byte| *byte != 0) {
            return Err(DerError);
        }
        let mut outer = outer.inside();
        if outer.expect(der::OID)?.content != oid::SIGNED_DATA {
            return Err(DerError);
        }
        let wrapped = outer.expect(der::context(0))?;
        let mut data = Reader::within(wrapped.content, der::SEQUENCE)?;
        data.number()?;
        data.expect(der::SET)?;
        let mut encapsulated = data.enter(der::SEQUENCE)?;
        let content_type = encapsulated.expect(der::OID)?.content;
        let content = match encapsulated.optional(der::context(0))? {
            Some(wrapped) => {
                let mut inner = wrapped.inside();
                let content = inner.expect(der::OCTET_STRING)?.content;
                inner.end()?;
                Some(content)
            }
            None => None,
        };
        let certificates = match data.optional(der::context(0))? {
            Some(set) => read_certificates(set.inside())?,
            None => Vec::new(),
        };
        data.optional(der::context(1))?;
        let mut signers = data.enter(der::SET)?;
        let signer = SignerInfo::read(signers.enter(der::SEQUENCE)?)?;
        signers.end()?;
        data.end()?;
        Ok(Self {
            content_type,
            content,
            certificates,
            signer,
        })
    }

    /// The signer's certificate, if it is there.
    pub(crate) fn signing_certificate(&self) -> Option<&Certificate> {
        self.certificates
            .iter()
            .find(|certificate| match self.signer.id {
                SignerId::IssuerAndSerial { issuer, serial } => {
                    certificate.issuer == issuer && certificate.serial == serial
                }
                SignerId::SubjectKeyId(id) => {
                    let own = certificate.extension(oid::SUBJECT_KEY_ID);
                    own.is_some_and(|extension| extension.value == der::octets(id))
                }
            })
    }
}

fn read_certificates(mut set: Reader<'_>) -> Result<Vec<Certificate>, DerError> {
    let mut certificates = Vec::new();
    while !set.is_empty() {
        let found = set.read()?;
        if certificates.len() == MAX_CERTIFICATES {
            return Err(DerError);
        }
        // Other kinds of certificates, and ones that cannot be read, help nobody here.
        if let Ok(certificate) = Certificate::read(found.raw) {
            certificates.push(certificate);
        }
    }
    Ok(certificates)
}

impl<'a> SignerInfo<'a> {
    fn read(mut info: Reader<'a>) -> Result<Self, DerError> {
        info.number()?;
        let id = if info.peek() == Some(der::SEQUENCE) {
            let mut pair = info.enter(der::SEQUENCE)?;
            let issuer = pair.expect(der::SEQUENCE)?.raw;
            SignerId::IssuerAndSerial {
                issuer,
                serial: pair.expect(der::INTEGER)?.content,
            }
        } else {
            SignerId::SubjectKeyId(info.expect(der::context_primitive(0))?.content)
        };
        let (digest_algorithm, _) = info.algorithm()?;
        let signed = info.expect(der::context(0))?;
        let mut signed_bytes = signed.raw.to_vec();
        signed_bytes[0] = der::SET;
        let (signature_algorithm, _) = info.algorithm()?;
        let signature = info.expect(der::OCTET_STRING)?.content;
        let unsigned = info.optional(der::context(1))?;
        info.end()?;
        Ok(Self {
            id,
            digest_algorithm,
            signed_attributes: attributes(signed.inside())?,
            signed_bytes,
            signature_algorithm,
            signature,
            unsigned_attributes: unsigned.map_or(Ok(Vec::new()), |set| attributes(set.inside()))?,
        })
    }

    /// The single value of a signed attribute that stands there once; `Err` if it stands there
    /// more often.
    pub(crate) fn signed(&self, kind: &[u8]) -> Result<Option<&'a [u8]>, DerError> {
        let mut found = self.signed_attributes.iter().filter(|one| one.kind == kind);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(one), None) if one.values.len() == 1 => Ok(Some(one.values[0])),
            _ => Err(DerError),
        }
    }

    /// The values of an unsigned attribute.
    pub(crate) fn unsigned(&self, kind: &[u8]) -> Vec<&'a [u8]> {
        let found = self
            .unsigned_attributes
            .iter()
            .filter(|one| one.kind == kind);
        found.flat_map(|one| one.values.iter().copied()).collect()
    }
}

fn attributes(mut set: Reader<'_>) -> Result<Vec<Attribute<'_>>, DerError> {
    let mut attributes = Vec::new();
    while !set.is_empty() {
        let mut pair = set.enter(der::SEQUENCE)?;
        let kind = pair.expect(der::OID)?.content;
        let mut inside = pair.enter(der::SET)?;
        pair.end()?;
        let mut values = Vec::new();
        while !inside.is_empty() {
            values.push(inside.read()?.raw);
        }
        attributes.push(Attribute { kind, values });
    }
    Ok(attributes)
}
