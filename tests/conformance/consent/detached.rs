//! Answers signed with the suite's signature block, both blocks in one process: who signed, over
//! what, and that a signature serves for nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use publica_host::Profile;
use publica_journal::merkle::digest;
use publica_proto::signature::v1 as pb;
use publica_proto::signature::v1::signing_service_client::SigningServiceClient;
use publica_signature::{Signature, SignatureConfig};
use publica_store::Engine;
use publica_testkit::{
    Database, TestBlock, TestDatabase, TestEnv, both_engines, env, token_for, with_token,
};
use publica_types::Tenant;
use serde_json::{Value, json};

use super::{Answer, Suite, suite, suite_with, text};

const RECORDS: &str = "/service/individual/record/consent-record/";

/// A consent surface whose block has a signature block for a peer.
struct Town {
    suite: Suite,
    signatures: TestBlock<Signature>,
    _env: TestEnv,
    _db: TestDatabase,
}

async fn town(db: TestDatabase) -> Town {
    let second = match db.engine() {
        Engine::Sqlite => Database::sqlite(),
        Engine::Postgres => Database::postgres().await,
    };
    let own = env("signature");
    let config = SignatureConfig {
        database: second.config(),
        ..SignatureConfig::default()
    };
    let signatures = own.open::<Signature>(config).await.unwrap();
    let consent = env("consent").with_peer("signature", signatures.link.clone());
    Town {
        suite: suite_with(db, Profile::Local, consent, |_| {}).await,
        signatures,
        _env: own,
        _db: second,
    }
}

impl Town {
    /// What a person signs with the signature block over a payload.
    async fn sign(&self, subject: &str, payload: &str) -> String {
        let token = token_for(subject, &["signature:signature:write"], &Tenant::default());
        let link = with_token(&self.signatures.link, &token);
        let request = pb::SignHashRequest {
            format: pb::SignatureFormat::Cades.into(),
            hash_type: pb::HashType::Sha2256.into(),
            hash: digest(payload.as_bytes()).to_vec().into(),
            ..pb::SignHashRequest::default()
        };
        let answer = SigningServiceClient::new(link).sign_hash(request).await;
        STANDARD.encode(answer.unwrap().into_inner().signature.unwrap().value)
    }

    async fn draft(&self, person: &str, agreement: &str, opt_in: bool) -> Value {
        let path = format!(
            "{RECORDS}draft/?individualId={person}&dataAgreementId={agreement}&optIn={opt_in}\
             &verificationMethod=esignature"
        );
        self.suite.post(&path, json!({})).await.ok()
    }

    /// A pair that `person` answers and `subject` signs.
    async fn pair(&self, person: &str, subject: &str, agreement: &str, opt_in: bool) -> Value {
        let mut pair = self.draft(person, agreement, opt_in).await;
        let payload = text(&pair["signature"]["payload"]);
        pair["signature"]["signature"] = json!(self.sign(subject, &payload).await);
        pair
    }
}

/// The step at which a signature was found not to fit.
#[track_caller]
fn misfit(answer: Answer) -> String {
    let said = text(&answer.body["errorDescription"]);
    assert_eq!(answer.refused(400), "signature_invalid");
    let said = said
        .strip_prefix("the signature is invalid: ")
        .unwrap_or(&said)
        .to_owned();
    said.split(':').next().unwrap_or_default().to_owned()
}

both_engines! {
    async fn detached_signatures_are_judged_and_bound(db: TestDatabase) {
        let town = town(db).await;
        let suite = &town.suite;
        let agreement = text(&suite.agreement().await["id"]);
        let (one, _) = suite.person("d-1").await;
        let (two, _) = suite.person("d-2").await;

        let good = town.pair(&one, "d-1", &agreement, true).await;
        assert_eq!(good["signature"]["verificationMethod"], "esignature");
        // Somebody else's certificate, however well it signs.
        let foreign = town.pair(&one, "d-2", &agreement, true).await;
        assert_eq!(misfit(suite.post(RECORDS, foreign).await), "key");
        // A good signature of the right person over another payload.
        let mut other = town.draft(&one, &agreement, false).await;
        other["signature"]["signature"] = good["signature"]["signature"].clone();
        assert_eq!(misfit(suite.post(RECORDS, other.clone()).await), "signature");
        // The whole signature with another answer, and with another person.
        other["signature"] = good["signature"].clone();
        assert_eq!(misfit(suite.post(RECORDS, other).await), "snapshot");
        let mut theirs = town.draft(&two, &agreement, true).await;
        theirs["signature"] = good["signature"].clone();
        assert_eq!(misfit(suite.post(RECORDS, theirs.clone()).await), "key");
        // What is no signature at all.
        for bad in ["", "AAAA", "not base64!"] {
            theirs["signature"]["signature"] = json!(bad);
            assert_eq!(misfit(suite.post(RECORDS, theirs.clone()).await), "signature", "{bad}");
        }
        let none = suite.get(&format!("{RECORDS}?individualId={one}")).await.ok();
        assert_eq!(none["consentRecords"], json!([]), "a refusal stores nothing");

        let stored = suite.post(RECORDS, good.clone()).await.ok();
        assert_eq!(stored["consentRecord"]["state"], "signed");
        let record = text(&stored["consentRecord"]["id"]);
        let proof = format!("/audit/consent-record/{record}/verify/");
        let verified = suite.get(&proof).await.ok();
        assert_eq!(verified["intact"], true, "{verified}");
        assert_eq!(verified["signatures"], 1);

        // A later revision needs a signature of its own; the old one does not serve.
        let path = format!("{RECORDS}{record}/");
        suite.call("PUT", &path, json!({"optIn": false})).await.ok();
        let path = format!("{path}signature/");
        let old = json!({ "signature": good["signature"] });
        assert_eq!(suite.call("PUT", &path, old).await.refused(400), "revision_superseded");
        let ask = json!({"signature": {"verificationMethod": "esignature"}});
        let mut later = suite.post(&path, ask).await.ok();
        let payload = text(&later["signature"]["payload"]);
        let foreign = town.sign("d-2", &payload).await;
        later["signature"]["signature"] = json!(foreign);
        assert_eq!(misfit(suite.call("PUT", &path, later.clone()).await), "key");
        later["signature"]["signature"] = json!(town.sign("d-1", &payload).await);
        let signed = suite.call("PUT", &path, later).await.ok();
        assert_eq!(signed["consentRecord"]["state"], "signed");
        let verified = suite.get(&proof).await.ok();
        assert_eq!(verified["intact"], true, "{verified}");
        assert_eq!(verified["signatures"], 2);
    }

    async fn a_delegate_signs_with_a_certificate_of_their_own(db: TestDatabase) {
        let town = town(db).await;
        let suite = &town.suite;
        let agreement = text(&suite.agreement().await["id"]);
        let (child, _) = suite.person("d-4").await;
        let (parent, _) = suite.person("d-5").await;
        let delegation = json!({"delegation": {"individualId": child,
            "delegateIndividualId": parent, "relationship": "parent", "actions": ["give"]}});
        let made = suite.post("/service/delegation/", delegation).await.ok();
        let path = format!(
            "{RECORDS}draft/?individualId={child}&dataAgreementId={agreement}\
             &delegateId={parent}&verificationMethod=esignature"
        );
        let mut pair = suite.post(&path, json!({})).await.ok();
        let payload = text(&pair["signature"]["payload"]);
        // The child's own certificate is not the delegate's.
        pair["signature"]["signature"] = json!(town.sign("d-4", &payload).await);
        assert_eq!(misfit(suite.post(RECORDS, pair.clone()).await), "key");
        pair["signature"]["signature"] = json!(town.sign("d-5", &payload).await);
        let stored = suite.post(RECORDS, pair).await.ok();
        let record = &stored["consentRecord"];
        assert_eq!(record["state"], "signed");
        assert_eq!(record["delegationId"], made["delegation"]["id"], "{record}");
    }

    async fn without_a_signature_block_that_is_said(db: TestDatabase) {
        let suite = suite(db, Profile::Local).await;
        let agreement = text(&suite.agreement().await["id"]);
        let (person, _) = suite.person("d-3").await;
        let path = format!(
            "{RECORDS}draft/?individualId={person}&dataAgreementId={agreement}\
             &verificationMethod=esignature"
        );
        let mut pair = suite.post(&path, json!({})).await.ok();
        pair["signature"]["signature"] = json!("AAAA");
        let answer = suite.post(RECORDS, pair).await;
        assert_eq!(answer.refused(400), "peer_not_configured");
        let unknown = path.replace("esignature", "pgp");
        assert_eq!(misfit(suite.post(&unknown, json!({})).await), "method");
    }
}
