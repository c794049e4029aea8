//! Damaged certificates, requests, signatures and time-stamps: read or refused, never a panic.

use std::sync::LazyLock;

use proptest::prelude::*;
use publica_types::{SystemEntropy, Timestamp};

use crate::domain::cms::read::SignedData;
use crate::domain::cms::{Content, Signer};
use crate::domain::csr::Csr;
use crate::domain::der::{self, DerError, Reader};
use crate::domain::judge::{self, Indication, Signed};
use crate::domain::key::{Curve, Hash, PrivateKey};
use crate::domain::x509::{self, Certificate, Issuer, Profile, Template};
use crate::domain::{oid, tsp};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const DOCUMENT: &[u8] = b"what is signed";

/// A certificate, and a signature that bears it and ten time-stamps that do not hold.
static SAMPLES: LazyLock<(Certificate, Vec<u8>)> = LazyLock::new(|| {
    let key = || PrivateKey::generate(Curve::P256, &SystemEntropy).unwrap();
    let root = key();
    let name = x509::name(&[(oid::COMMON_NAME, "Root"), (oid::COUNTRY, "XX")]);
    let signer = |profile| {
        let own = key();
        let template = Template {
            profile,
            serial: &[7],
            subject: &name,
            spki: &own.public(),
            not_before: NOW,
            not_after: NOW,
            public_url: "https://sign.example",
        };
        let issuer = Issuer {
            name: &name,
            key: &root,
        };
        let certificate = Certificate::read(&x509::issue(&template, issuer).unwrap()).unwrap();
        Signer::new(own, certificate, Vec::new())
    };
    let (seal, stamp) = (signer(Profile::Signing), signer(Profile::Timestamping));
    let hash = Hash::Sha256.of(&[DOCUMENT]);
    let content = Content::Detached {
        hash: hash.as_ref(),
        signing_time: Some(NOW),
    };
    let cms = seal.sign(content, |signature| {
        let token = tsp::token_over(&stamp, signature, &[1], NOW)?;
        Ok(Some(vec![token; 10].concat()))
    });
    (seal.certificate, cms.unwrap())
});

#[test]
fn time_stamps_and_extensions_are_counted() {
    let (certificate, cms) = &*SAMPLES;
    let signed = Signed::Bytes(&[DOCUMENT]);
    let verdict = judge::judge(cms, signed, std::slice::from_ref(certificate), NOW);
    assert!(verdict.intact, "{verdict:?}");
    let unsound = |reason: &&String| reason.contains("is not sound");
    assert_eq!(verdict.reasons.iter().filter(unsound).count(), 8);
    assert!(
        verdict
            .reasons
            .iter()
            .any(|reason| reason.contains("first 8"))
    );

    let with = |extensions: u8| {
        let own = |n: u8| x509::extension(&[0x2a, n], false, &[]);
        let list: Vec<Vec<u8>> = (0..extensions).map(own).collect();
        let mut tbs = Reader::within(&certificate.tbs, der::SEQUENCE).unwrap();
        let mut parts = Vec::new();
        while let Some(tag) = tbs.peek() {
            let part = tbs.read().unwrap();
            if tag != der::context(3) {
                parts.push(part.raw.to_vec());
            }
        }
        let list = der::element(der::SEQUENCE, &list.concat());
        parts.push(der::element(der::context(3), &list));
        let algorithm = der::sequence(&[&der::oid(&certificate.signature_algorithm)]);
        let tbs = der::element(der::SEQUENCE, &parts.concat());
        let signature = der::bit_string(&certificate.signature);
        Certificate::read(&der::sequence(&[&tbs, &algorithm, &signature]))
    };
    assert!(with(64).is_ok());
    assert_eq!(with(65), Err(DerError));
}

/// Something cut out of bytes, put in, or turned over, a few times.
fn damaged(bytes: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let change = (
        any::<prop::sample::Index>(),
        0_usize..4,
        prop::collection::vec(
            prop_oneof![
                any::<u8>(),
                prop::sample::select(vec![0, 0x30, 0x31, 0x7f, 0x80, 0x82, 0x84, 0xa0, 0xff]),
            ],
            0..4,
        ),
    );
    prop::collection::vec(change, 1..4).prop_map(move |changes| {
        let mut bytes = bytes.to_vec();
        for (at, cut, put) in changes {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + cut);
            bytes.splice(at..end, put);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn elements_come_back(
        tag in 0_u8..0x1f,
        content in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = der::element(tag, &content);
        let mut reader = Reader::new(&bytes);
        let found = reader.read().unwrap();
        prop_assert_eq!((found.tag, found.content, found.raw), (tag, &content[..], &bytes[..]));
        prop_assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut reader = Reader::new(&bytes);
        while reader.read().is_ok() {}
        let _ = (Certificate::read(&bytes), Csr::read(&bytes), SignedData::read(&bytes));
        let _ = (tsp::Query::read(&bytes), tsp::Info::read(&bytes), x509::name_text(&bytes));
    }

    #[test]
    fn times_come_back(micros in -631_152_000_000_000_i64..253_402_300_800_000_000) {
        // UTCTime begins in 1950; whole seconds are all that certificates hold.
        let time = Timestamp::from_micros(micros);
        let bytes = x509::time(time);
        let read = x509::read_time(Reader::new(&bytes).read().unwrap());
        prop_assert_eq!(read, Ok(Timestamp::from_seconds(time.seconds())));
    }

    #[test]
    fn any_time_is_read_or_refused(text in "[0-9.Z+é-]{0,20}", tag in 0x17_u8..0x19) {
        let bytes = der::element(tag, text.as_bytes());
        let _ = x509::read_time(Reader::new(&bytes).read().unwrap());
    }

    /// A damaged signature is never better than the whole one, which lacks a sound time-stamp.
    #[test]
    fn damaged_signatures_never_pass(bytes in damaged(&SAMPLES.1)) {
        let (certificate, _) = &*SAMPLES;
        let signed = Signed::Bytes(&[DOCUMENT]);
        let verdict = judge::judge(&bytes, signed, std::slice::from_ref(certificate), NOW);
        prop_assert!(verdict.indication != Indication::Passed, "{:?}", verdict);
    }

    #[test]
    fn damaged_certificates_are_read_or_refused(bytes in damaged(&SAMPLES.0.der)) {
        if let Ok(read) = Certificate::read(&bytes) {
            let _ = (read.authority(), read.usage(), read.is_timestamping(), read.signed(&read));
            let _ = x509::name_text(&read.subject);
            prop_assert_eq!(read.der, bytes);
        }
    }
}
