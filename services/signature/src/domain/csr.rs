//! Certification requests (PKCS#10, RFC 2986).

use crate::domain::der::{self, DerError, Reader};
use crate::domain::key::PublicKey;

/// A request whose own signature was checked.
#[derive(Debug, Clone)]
pub(crate) struct Csr {
    pub(crate) spki: Vec<u8>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsrError {
    #[error("is not a certification request")]
    Unreadable,
    #[error("is not signed with its own key")]
    Unproved,
    #[error("asks for a key that is not taken: P-256, P-384 and P-521 are")]
    Key,
}

impl From<DerError> for CsrError {
    fn from(_: DerError) -> Self {
        Self::Unreadable
    }
}

impl Csr {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, CsrError> {
        let mut outer = Reader::within(bytes, der::SEQUENCE)?;
        let info = outer.expect(der::SEQUENCE)?;
        let (algorithm, _) = outer.algorithm()?;
        let signature = outer.bits()?;
        outer.end()?;
        let mut inner = info.inside();
        if inner.number()? != 0 {
            return Err(CsrError::Unreadable);
        }
        inner.expect(der::SEQUENCE)?;
        let spki = inner.expect(der::SEQUENCE)?.raw;
        let key = PublicKey::read(spki)?;
        if key.curve().is_none() {
            return Err(CsrError::Key);
        }
        if !key.verifies(algorithm, info.raw, signature) {
            return Err(CsrError::Unproved);
        }
        Ok(Self {
            spki: spki.to_vec(),
        })
    }
}
