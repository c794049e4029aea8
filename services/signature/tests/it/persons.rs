//! One-time signatures of persons.

use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::signing_service_client::SigningServiceClient;
use publica_testkit::both_engines;
use tonic::Code;

use crate::Fixture;
use crate::tools::Files;

const SIGNER: &[&str] = &["signature:signature:write", "signature:signature:read"];

fn request(format: pb::SignatureFormat, kind: pb::HashType, hash: Vec<u8>) -> pb::SignHashRequest {
    pb::SignHashRequest {
        format: format.into(),
        hash_type: kind.into(),
        hash: hash.into(),
        display_text: "I agree".into(),
        ..Default::default()
    }
}

both_engines! {
    async fn openssl_verifies_what_a_person_signed(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let mut client = SigningServiceClient::new(fixture.link("person-1", SIGNER));
        let authorities = fixture.authorities().await;
        let files = Files::new();
        files.write_pem("root.pem", &[&authorities.root]);
        files.write("text.txt", b"I agree to everything.\n");
        let kinds = [
            ("sha256", pb::HashType::Sha2256),
            ("sha384", pb::HashType::Sha2384),
            ("sha512", pb::HashType::Sha2512),
        ];
        for (name, kind) in kinds {
            files.must("openssl", &format!("dgst -{name} -binary -out hash.bin text.txt"));
            let asked = request(pb::SignatureFormat::Cades, kind, files.read("hash.bin"));
            let signed = client.sign_hash(asked).await.unwrap().into_inner().signature.unwrap();
            files.write("signature.der", &signed.value);
            let said = files.must(
                "openssl",
                "cms -verify -inform DER -in signature.der -content text.txt -binary \
                 -CAfile root.pem -purpose any -cades -out out.bin",
            );
            assert!(said.contains("erification successful"), "{said}");
            files.write("token.der", &signed.timestamp_token);
            let text = files.must("openssl", "ts -reply -token_in -in token.der -text");
            assert!(text.contains("Hash Algorithm: sha256"), "{text}");
        }
    }

    async fn a_signature_belongs_to_its_signer(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let mut mine = SigningServiceClient::new(fixture.link("person-1", SIGNER));
        let mut others = SigningServiceClient::new(fixture.link("person-2", SIGNER));
        let auditor = &["signature:signature:read", "signature:audit:read"];
        let mut auditor = SigningServiceClient::new(fixture.link("auditor", auditor));
        let asked = request(pb::SignatureFormat::Pades, pb::HashType::Sha2256, vec![1; 32]);
        let asked = pb::SignHashRequest { request_id: "once".into(), ..asked };
        let first = mine.sign_hash(asked.clone()).await.unwrap().into_inner().signature.unwrap();
        let again = mine.sign_hash(asked).await.unwrap().into_inner().signature.unwrap();
        assert_eq!(first, again);
        let get = pb::GetSignatureRequest { signature_id: first.signature_id.clone() };
        let found = mine.get_signature(get.clone()).await.unwrap().into_inner().signature;
        assert_eq!(found.as_ref(), Some(&first));
        assert_eq!(others.get_signature(get).await.unwrap_err().code(), Code::NotFound);

        let list = pb::ListSignaturesRequest::default();
        let own = mine.list_signatures(list.clone()).await.unwrap().into_inner().signatures;
        assert_eq!(own, [first.clone()]);
        let none = others.list_signatures(list.clone()).await.unwrap().into_inner().signatures;
        assert!(none.is_empty());
        let all = auditor.list_signatures(list).await.unwrap().into_inner().signatures;
        assert_eq!((all.len(), &all[0].hash), (1, &first.hash));
        assert!(all[0].value.is_empty() && all[0].certificate.is_empty());
    }

    async fn what_is_not_offered_is_refused(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let mut client = SigningServiceClient::new(fixture.link("person-1", SIGNER));
        let cases = [
            (pb::SignatureFormat::Xades, pb::HashType::Sha2256, 32, "UNSUPPORTED_COMBINATION"),
            (pb::SignatureFormat::Jws, pb::HashType::Sha2256, 32, "UNSUPPORTED_COMBINATION"),
            (pb::SignatureFormat::Cades, pb::HashType::Sha3256, 32, "UNSUPPORTED_COMBINATION"),
            (pb::SignatureFormat::Cades, pb::HashType::Blake2b, 64, "UNSUPPORTED_COMBINATION"),
        ];
        for (format, kind, length, reason) in cases {
            let asked = request(format, kind, vec![0; length]);
            let refused = client.sign_hash(asked).await.unwrap_err();
            assert_eq!(publica_rpc::reason(&refused).as_deref(), Some(reason));
        }
        let short = request(pb::SignatureFormat::Cades, pb::HashType::Sha2256, vec![0; 31]);
        assert_eq!(client.sign_hash(short).await.unwrap_err().code(), Code::InvalidArgument);
        let mut bidi = request(pb::SignatureFormat::Cades, pb::HashType::Sha2256, vec![0; 32]);
        bidi.display_text = "Pay \u{202e}001".into();
        assert_eq!(client.sign_hash(bidi).await.unwrap_err().code(), Code::InvalidArgument);
    }
}
