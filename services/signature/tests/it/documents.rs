//! Sealed documents: made, judged by ourselves and by others, and tampered with.

use publica_proto::signature::v1 as pb;
use publica_testkit::both_engines;
use tonic::Code;

use crate::tools::{Files, installed};
use crate::{Fixture, letter};

/// The contents of the only signature, and the bytes that it covers.
fn parts(document: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let marker = b"/Contents <";
    let start = document
        .windows(marker.len())
        .position(|window| window == marker)
        .unwrap();
    let start = start + marker.len() - 1;
    let length = document[start..]
        .iter()
        .position(|byte| *byte == b'>')
        .unwrap()
        + 1;
    let digits = &document[start + 1..start + length - 1];
    let mut cms = hex::decode(digits).unwrap();
    while cms.last() == Some(&0) {
        cms.pop();
    }
    (
        cms,
        [&document[..start], &document[start + length..]].concat(),
    )
}

both_engines! {
    async fn sealed_letters_are_valid_for_everybody(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.credential().await;
        let letters = vec![letter("One"), b"no document".to_vec(), letter("Two")];
        let sealed = fixture.seal(letters).await;
        assert_eq!(sealed.items.len(), 3);
        assert_eq!(sealed.items[1].error, "DOCUMENT_UNREADABLE");
        assert!(sealed.items[1].document.is_empty());
        let document = &sealed.items[0].document;
        assert!(document.starts_with(&letter("One")));

        let reports = fixture.validate(document).await;
        assert_eq!(reports.len(), 1);
        let report = &reports[0];
        assert_eq!(report.indication(), pb::Indication::TotalPassed, "{:?}", report.reasons);
        assert_eq!((&*report.level, &*report.sub_filter), ("B-T", "ETSI.CAdES.detached"));
        assert!(report.intact && report.trusted && report.covers_whole_file);
        assert!(report.signer.contains("O=Ministry of Examples"), "{}", report.signer);
        assert!(report.timestamp_time.is_some());

        let files = Files::new();
        let authorities = fixture.authorities().await;
        let (cms, signed) = parts(document);
        files.write("signature.der", &cms);
        files.write("signed.bin", &signed);
        files.write_pem("root.pem", &[&authorities.root]);
        let said = files.must(
            "openssl",
            "cms -verify -inform DER -in signature.der -content signed.bin -binary \
             -CAfile root.pem -purpose any -out out.bin",
        );
        assert!(said.contains("erification successful"), "{said}");
        if installed("pdfsig") {
            files.write("sealed.pdf", document);
            let said = files.must("pdfsig", "sealed.pdf");
            assert!(said.contains("Signature is Valid."), "{said}");
            assert!(said.contains("ETSI.CAdES.detached"), "{said}");
            assert!(said.contains("Total document signed"), "{said}");
        }
    }

    async fn changes_are_found(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.credential().await;
        let sealed = fixture.seal(vec![letter("Pay 100")]).await.items[0].document.to_vec();

        let mut changed = sealed.clone();
        let at = changed.windows(7).position(|window| window == b"Pay 100").unwrap();
        changed[at + 4] = b'9';
        let report = &fixture.validate(&changed).await[0];
        assert_eq!(report.indication(), pb::Indication::TotalFailed);
        assert_eq!(report.sub_indication, "HASH_FAILURE");
        assert!(!report.intact);

        let (cms, _) = parts(&sealed);
        let mut forged = sealed.clone();
        let digits = hex::encode_upper(&cms);
        let at = forged.windows(digits.len()).position(|one| one == digits.as_bytes()).unwrap();
        // The organisation's name, inside the certificate that the signature carries.
        let name = hex::encode_upper("Ministry of Examples");
        let inner = digits.find(&name).unwrap();
        forged[at + inner + 1] = b'E';
        let report = &fixture.validate(&forged).await[0];
        assert_ne!(report.indication(), pb::Indication::TotalPassed);

        // A revision that replaces the page's text.
        let mut extended = sealed.clone();
        let offset = extended.len();
        extended.extend_from_slice(b"5 0 obj\n<< /Length 0 >>\nstream\n\nendstream\nendobj\n");
        let start = extended.len();
        let old = startxref(&sealed);
        let tail = format!(
            "xref\n5 1\n{offset:010} 00000 n\r\ntrailer\n<< /Size 9 /Root 1 0 R /Prev {old} >>\n\
             startxref\n{start}\n%%EOF\n"
        );
        extended.extend_from_slice(tail.as_bytes());
        let report = &fixture.validate(&extended).await[0];
        assert_eq!(report.indication(), pb::Indication::Indeterminate, "{:?}", report.reasons);
        assert_eq!(report.sub_indication, "SIG_CONSTRAINTS_FAILURE");
        assert!(report.intact && !report.covers_whole_file);
    }

    async fn a_second_seal_leaves_the_first_valid(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.credential().await;
        let once = fixture.seal(vec![letter("Twice")]).await.items[0].document.to_vec();
        let twice = fixture.seal(vec![once]).await.items[0].document.to_vec();
        let reports = fixture.validate(&twice).await;
        assert_eq!(reports.len(), 2);
        for report in &reports {
            let reasons = &report.reasons;
            assert_eq!(report.indication(), pb::Indication::TotalPassed, "{reasons:?}");
        }
        assert!(!reports[0].covers_whole_file && reports[1].covers_whole_file);
    }

    async fn a_repeated_request_gives_the_first_seals(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.credential().await;
        let request = pb::SealDocumentsRequest {
            request_id: "once".into(),
            documents: vec![letter("A").into(), letter("B").into()],
            ..Default::default()
        };
        let mut client = fixture.signing();
        let first = client.seal_documents(request.clone()).await.unwrap().into_inner();
        let second = client.seal_documents(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, second);
        let other =
            pb::SealDocumentsRequest { documents: vec![letter("C").into()], ..request };
        let refused = client.seal_documents(other).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("REQUEST_ID_REUSED"));
    }

    async fn a_revoked_seal_seals_no_more(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let credential = fixture.credential().await;
        let before = fixture.seal(vec![letter("Before")]).await.items[0].document.to_vec();
        let change = |status: pb::CertificateStatus| pb::ChangeCredentialStatusRequest {
            credential_id: credential.credential_id.clone(),
            status: status.into(),
            ..Default::default()
        };
        let mut credentials = fixture.credentials();
        let suspend = change(pb::CertificateStatus::Suspended);
        credentials.change_credential_status(suspend).await.unwrap();
        let report = &fixture.validate(&before).await[0];
        assert_eq!(report.sub_indication, "TRY_LATER");
        let revoke = change(pb::CertificateStatus::Revoked);
        credentials.change_credential_status(revoke).await.unwrap();
        let request = pb::SealDocumentsRequest {
            credential_id: credential.credential_id.clone(),
            documents: vec![letter("After").into()],
            ..Default::default()
        };
        let refused = fixture.signing().seal_documents(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        // The time-stamp proves that the seal is older than its revocation.
        let report = &fixture.validate(&before).await[0];
        assert_eq!(report.indication(), pb::Indication::TotalPassed, "{:?}", report.reasons);

        let mut client = fixture.certificates(fixture.office());
        let crl = client.get_revocation_list(pb::GetRevocationListRequest {}).await.unwrap();
        let files = Files::new();
        let authorities = fixture.authorities().await;
        files.write("list.crl", &crl.into_inner().crl);
        files.write_pem("issuing.pem", &[&authorities.issuing]);
        let said = files.must(
            "openssl",
            "crl -inform DER -in list.crl -noout -text -CAfile issuing.pem",
        );
        assert!(said.contains("verify OK") && said.contains("Serial Number"), "{said}");
        let certificate = credential.certificate.unwrap();
        files.write_pem("root.pem", &[&authorities.root]);
        files.write_pem("end.pem", &[&certificate.certificate]);
        files.must("openssl", "verify -CAfile root.pem -untrusted issuing.pem end.pem");
        files.must("openssl", "crl -inform DER -in list.crl -out list.pem");
        let checked = files.run(
            "openssl",
            "verify -crl_check -CRLfile list.pem -CAfile root.pem -untrusted issuing.pem end.pem",
        );
        assert!(!checked.status.success());
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(said.contains("certificate revoked"), "{said}");
    }

    async fn hashes_are_sealed_in_batches(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        fixture.credential().await;
        let request = pb::SealHashesRequest {
            format: pb::SignatureFormat::Cades.into(),
            hash_type: pb::HashType::Sha2256.into(),
            hashes: vec![vec![7; 32].into(), vec![1; 5].into()],
            ..Default::default()
        };
        let sealed = fixture.signing().seal_hashes(request).await.unwrap().into_inner().items;
        assert_eq!(sealed[1].error, "HASH_LENGTH");
        let request = |byte| pb::ValidateSignatureRequest {
            value: sealed[0].value.clone(),
            hash_type: pb::HashType::Sha2256.into(),
            hash: vec![byte; 32].into(),
        };
        let mut client = fixture.validation();
        let right = client.validate_signature(request(7)).await.unwrap().into_inner().signature;
        assert_eq!(right.unwrap().indication(), pb::Indication::TotalPassed);
        let wrong = client.validate_signature(request(8)).await.unwrap().into_inner().signature;
        assert_eq!(wrong.unwrap().sub_indication, "HASH_FAILURE");
    }
}

fn startxref(document: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&document[document.len() - 60..]).into_owned();
    let after = text.split("startxref\n").nth(1).unwrap();
    after.lines().next().unwrap().parse().unwrap()
}
