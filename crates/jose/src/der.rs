//! The little DER that is needed to take an RSA key apart. Everything else about keys is the
//! cryptographic library's business.

use zeroize::Zeroizing;

use crate::JoseError;

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

const BAD: JoseError = JoseError::InvalidKey("the RSA key is not well-formed DER");

/// The numbers of an RSA private key, unsigned and big-endian, without leading zeros.
pub(crate) struct RsaPrivate {
    pub(crate) n: Vec<u8>,
    pub(crate) e: Vec<u8>,
    pub(crate) d: Zeroizing<Vec<u8>>,
    pub(crate) p: Zeroizing<Vec<u8>>,
    pub(crate) q: Zeroizing<Vec<u8>>,
    pub(crate) dp: Zeroizing<Vec<u8>>,
    pub(crate) dq: Zeroizing<Vec<u8>>,
    pub(crate) qi: Zeroizing<Vec<u8>>,
}

impl RsaPrivate {
    /// Reads the PKCS#1 key inside a PKCS#8 document.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, JoseError> {
        let (mut outer, _) = element(pkcs8, SEQUENCE)?;
        for tag in [INTEGER, SEQUENCE] {
            (_, outer) = element(outer, tag)?;
        }
        let (pkcs1, _) = element(outer, OCTET_STRING)?;
        let (mut numbers, _) = element(pkcs1, SEQUENCE)?;
        let mut next = || -> Result<Vec<u8>, JoseError> {
            let (number, rest) = element(numbers, INTEGER)?;
            numbers = rest;
            Ok(unsigned(number))
        };
        let version = next()?;
        if !version.is_empty() {
            return Err(JoseError::InvalidKey(
                "RSA keys of more than two primes are refused",
            ));
        }
        Ok(Self {
            n: next()?,
            e: next()?,
            d: Zeroizing::new(next()?),
            p: Zeroizing::new(next()?),
            q: Zeroizing::new(next()?),
            dp: Zeroizing::new(next()?),
            dq: Zeroizing::new(next()?),
            qi: Zeroizing::new(next()?),
        })
    }
}

/// Splits off one element with the given tag: its content, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), JoseError> {
    let (found, rest) = bytes.split_first().ok_or(BAD)?;
    if *found != tag {
        return Err(BAD);
    }
    let (first, rest) = rest.split_first().ok_or(BAD)?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let count = usize::from(*first & 0x7f);
        if !(1..=3).contains(&count) || rest.len() < count {
            return Err(BAD);
        }
        let (digits, rest) = rest.split_at(count);
        (
            digits
                .iter()
                .fold(0, |sum, digit| (sum << 8) | usize::from(*digit)),
            rest,
        )
    };
    if rest.len() < length {
        return Err(BAD);
    }
    Ok(rest.split_at(length))
}

fn unsigned(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number[zeros..].to_vec()
}
