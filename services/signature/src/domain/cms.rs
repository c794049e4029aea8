//! Cryptographic message syntax (RFC 5652): signed data with one signer.

pub(crate) mod read;

use publica_types::Timestamp;

use crate::domain::der;
use crate::domain::key::{Hash, KeyError, PrivateKey};
use crate::domain::oid;
use crate::domain::x509::{self, Certificate};

/// A key with its certificate, ready to sign. The parts that never change are encoded once.
#[derive(Debug)]
pub(crate) struct Signer {
    key: PrivateKey,
    pub(crate) certificate: Certificate,
    /// Further certificates that go along, DER.
    chain: Vec<Vec<u8>>,
    identifier: Vec<u8>,
    signing_certificate: Vec<u8>,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// Bytes outside, known by their hash.
    Detached {
        hash: &'a [u8],
        signing_time: Option<Timestamp>,
    },
    /// A TSTInfo inside.
    TimestampInfo {
        info: &'a [u8],
        with_certificates: bool,
    },
}

impl Signer {
    pub(crate) fn new(key: PrivateKey, certificate: Certificate, chain: Vec<Vec<u8>>) -> Self {
        let serial = der::element(der::INTEGER, &certificate.serial);
        let identifier = der::sequence(&[&certificate.issuer, &serial]);
        // SHA-256 is the default algorithm of ESSCertIDv2 and must be left out.
        let hash = Hash::Sha256.of(&[&certificate.der]);
        let id = der::sequence(&[&der::octets(hash.as_ref())]);
        let value = der::sequence(&[&der::sequence(&[&id])]);
        Self {
            signing_certificate: attribute(oid::SIGNING_CERTIFICATE_V2, &value),
            key,
            certificate,
            chain,
            identifier,
        }
    }

    /// The hash that content and attributes are signed with.
    pub(crate) fn hash(&self) -> Hash {
        self.key.curve.hash()
    }

    /// Signs. `timestamp` is handed the signature value and gives a token for it, or nothing.
    pub(crate) fn sign<F>(&self, content: Content<'_>, timestamp: F) -> Result<Vec<u8>, KeyError>
    where
        F: FnOnce(&[u8]) -> Result<Option<Vec<u8>>, KeyError>,
    {
        let (kind, digest, time) = match content {
            Content::Detached { hash, signing_time } => (oid::DATA, hash.to_vec(), signing_time),
            Content::TimestampInfo { info, .. } => (
                oid::TST_INFO,
                self.hash().of(&[info]).as_ref().to_vec(),
                None,
            ),
        };
        let mut attributes = vec![
            attribute(oid::CONTENT_TYPE, &der::oid(kind)),
            attribute(oid::MESSAGE_DIGEST, &der::octets(&digest)),
            self.signing_certificate.clone(),
        ];
        if let Some(time) = time {
            attributes.push(attribute(oid::SIGNING_TIME, &x509::time(time)));
        }
        // Signed as a SET (0x31), sent with the tag [0].
        let mut signed_attributes = der::set_of(attributes);
        let signature = self.key.sign(&signed_attributes)?;
        signed_attributes[0] = der::context(0);
        let unsigned = match timestamp(&signature)? {
            Some(token) => {
                let attribute = attribute(oid::SIGNATURE_TIME_STAMP, &token);
                der::element(der::context(1), &attribute)
            }
            None => Vec::new(),
        };
        let info = der::sequence(&[
            &der::small(1),
            &self.identifier,
            &self.hash().identifier(),
            &signed_attributes,
            &self.key.curve.signature_identifier(),
            &der::octets(&signature),
            &unsigned,
        ]);
        Ok(self.wrap(content, kind, &info))
    }

    fn wrap(&self, content: Content<'_>, kind: &[u8], info: &[u8]) -> Vec<u8> {
        let (version, inside, with_certificates) = match content {
            Content::Detached { .. } => (1, Vec::new(), true),
            Content::TimestampInfo {
                info,
                with_certificates,
            } => {
                let inside = der::element(der::context(0), &der::octets(info));
                (3, inside, with_certificates)
            }
        };
        let certificates = if with_certificates {
            let mut set = vec![self.certificate.der.clone()];
            set.extend(self.chain.iter().cloned());
            let mut set = der::set_of(set);
            set[0] = der::context(0);
            set
        } else {
            Vec::new()
        };
        let data = der::sequence(&[
            &der::small(version),
            &der::constructed(der::SET, &[&self.hash().identifier()]),
            &der::sequence(&[&der::oid(kind), &inside]),
            &certificates,
            &der::constructed(der::SET, &[info]),
        ]);
        der::sequence(&[
            &der::oid(oid::SIGNED_DATA),
            &der::element(der::context(0), &data),
        ])
    }
}

fn attribute(kind: &[u8], value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(kind), &der::constructed(der::SET, &[value])])
}
