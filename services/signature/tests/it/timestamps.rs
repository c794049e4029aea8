//! The time-stamping authority, asked and judged by OpenSSL.

use publica_proto::signature::v1 as pb;
use publica_testkit::both_engines;

use crate::Fixture;
use crate::tools::Files;

both_engines! {
    async fn openssl_verifies_time_stamps(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let authorities = fixture.authorities().await;
        let files = Files::new();
        files.write_pem("root.pem", &[&authorities.root]);
        files.write("data.txt", b"some data\n");
        for options in ["-sha256 -cert", "-sha512 -cert -no_nonce", "-sha3-256 -cert"] {
            let query = format!("ts -query -data data.txt {options} -out query.tsq");
            files.must("openssl", &query);
            let request = pb::CreateTimestampRequest { query: files.read("query.tsq").into() };
            let reply = fixture.timestamps().create_timestamp(request).await.unwrap();
            files.write("reply.tsr", &reply.into_inner().reply);
            let said = files.must(
                "openssl",
                "ts -verify -queryfile query.tsq -in reply.tsr -CAfile root.pem",
            );
            assert!(said.contains("Verification: OK"), "{said}");
        }
    }

    async fn refusals_are_replies(db: TestDatabase) {
        let fixture = Fixture::new(&db).await;
        let files = Files::new();
        files.write("data.txt", b"some data\n");
        files.must("openssl", "ts -query -data data.txt -sha1 -out weak.tsq");
        files.must("openssl", "ts -query -data data.txt -tspolicy 1.2.3 -out policy.tsq");
        files.write("junk.tsq", b"junk");
        let cases = [
            ("weak.tsq", "unrecognized or unsupported algorithm identifier"),
            ("policy.tsq", "the requested TSA policy is not supported by the TSA"),
            ("junk.tsq", "the data submitted has the wrong format"),
        ];
        for (name, reason) in cases {
            let request = pb::CreateTimestampRequest { query: files.read(name).into() };
            let reply = fixture.timestamps().create_timestamp(request).await.unwrap();
            files.write("reply.tsr", &reply.into_inner().reply);
            let said = files.must("openssl", "ts -reply -in reply.tsr -text");
            assert!(said.contains("Status: Rejected."), "{said}");
            assert!(said.contains(reason), "{said}");
        }
    }
}
