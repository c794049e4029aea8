//! Certificates for keys on devices, and their status.

use publica_proto::signature::v1 as pb;
use publica_testkit::both_engines;
use tonic::Code;

use crate::Fixture;
use crate::tools::Files;

const HOLDER: &[&str] = &["signature:certificate:write", "signature:certificate:read"];

fn request(files: &Files, curve: &str) -> pb::CreateCertificateRequest {
    files.must(
        "openssl",
        &format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:{curve} -nodes -keyout key.pem \
             -subj / -outform DER -out request.der"
        ),
    );
    pb::CreateCertificateRequest {
        csr: files.read("request.der").into(),
        scd_type: "REMOTE_SCD_APP_ANDROID".into(),
        scd_remote_id: "push-token".into(),
        ..Default::default()
    }
}

both_engines! {
    async fn a_device_gets_a_certificate(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let files = Files::new();
        let mut client = fixture.certificates(fixture.link("person-1", HOLDER));
        let asked = request(&files, "P-256");
        let asked = pb::CreateCertificateRequest { pseudonym: "Moon-Light".into(), ..asked };
        let made = client.create_certificate(asked.clone()).await.unwrap().into_inner();
        let certificate = made.certificate.unwrap();
        assert_eq!(certificate.pseudonym, "moon-light");
        files.write_pem("end.pem", &[&certificate.certificate]);
        files.write_pem("root.pem", &[&certificate.chain[1]]);
        files.write_pem("issuing.pem", &[&certificate.chain[0]]);
        let strict = "verify -x509_strict -CAfile root.pem -untrusted issuing.pem end.pem";
        files.must("openssl", strict);

        let taken = client.create_certificate(asked.clone()).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&taken).as_deref(), Some("PSEUDONYM_TAKEN"));
        let same_key = pb::CreateCertificateRequest { pseudonym: String::new(), ..asked.clone() };
        let taken = client.create_certificate(same_key).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&taken).as_deref(), Some("KEY_TAKEN"));

        let mut broken = asked.csr.to_vec();
        *broken.last_mut().unwrap() ^= 1;
        let broken = pb::CreateCertificateRequest { csr: broken.into(), ..asked };
        let refused = client.create_certificate(broken).await.unwrap_err();
        assert_eq!(publica_rpc::reason(&refused).as_deref(), Some("CSR_REFUSED"));
    }

    async fn a_status_moves_only_forward(db: TestDatabase) {
        use pb::CertificateStatus::{Active, Revoked, Suspended};

        let fixture = Fixture::new(&db).await;
        let files = Files::new();
        let mut client = fixture.certificates(fixture.link("person-1", HOLDER));
        let mut other = fixture.certificates(fixture.link("person-2", HOLDER));
        let made = client.create_certificate(request(&files, "P-384")).await.unwrap();
        let id = made.into_inner().certificate.unwrap().certificate_id;
        let change = |status: pb::CertificateStatus| pb::ChangeCertificateStatusRequest {
            certificate_id: id.clone(),
            status: status.into(),
            ..Default::default()
        };
        let foreign = other.change_certificate_status(change(Revoked)).await.unwrap_err();
        assert_eq!(foreign.code(), Code::NotFound);
        for status in [Suspended, Active, Active, Suspended, Revoked, Revoked] {
            let done = client.change_certificate_status(change(status)).await.unwrap();
            assert_eq!(done.into_inner().certificate.unwrap().status(), status);
        }
        let refused = client.change_certificate_status(change(Active)).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let list = |status: i32| pb::ListCertificatesRequest { status, ..Default::default() };
        for (status, count) in [(0, 1), (1, 0), (3, 1)] {
            let found = client.list_certificates(list(status)).await.unwrap().into_inner();
            assert_eq!(found.certificates.len(), count, "{status}");
        }
        let none = other.list_certificates(list(0)).await.unwrap().into_inner();
        assert!(none.certificates.is_empty());
    }
}
