//! Alterations behind the block's back, each found by verifying the chain.

use std::sync::Arc;

use publica_host::Block as _;
use publica_jose::{Alg, Protected, SigningKey, sign_jws};
use publica_proto::consent::v1 as pb;
use publica_rpc::Fault as _;
use publica_store::Sql;
use publica_testkit::{TestDatabase, both_engines, env};
use publica_types::{SystemEntropy, Tenant};

use super::revisions::SNAPSHOT;
use super::seals::{Reach, claims};
use super::shown::key_of;
use super::tests::admin;
use super::{App, Shop, Who, record_keys, revisions};
use crate::domain::snapshot::canonical;
use crate::error::Error;
use crate::store::revision;
use crate::{Consent, ConsentConfig};

publica_store::statements! {
    NO_SNAPSHOT = "UPDATE revision SET snapshot = NULL WHERE object_id = $1 AND seq = 1",
    AS_IF_ERASED = "UPDATE revision SET snapshot = NULL, erased = created WHERE object_id = $1",
    CUT_TAIL = "DELETE FROM revision WHERE object_id = $1 AND seq = 2",
    NO_CHAIN = "DELETE FROM revision WHERE object_id = $1",
    NAMED_BY = "UPDATE revision SET by_other = 'somebody' WHERE object_id = $1 AND seq = 2",
    UNLINKED = "UPDATE revision SET predecessor_signature = '' WHERE object_id = $1 AND seq = 2",
    NO_BODY = "UPDATE revision SET body = NULL WHERE object_id = $1 AND seq = 2",
    OTHER_BODY = "UPDATE revision SET body = (SELECT o.body FROM revision o \
                  WHERE o.object_id = $1 AND o.seq = 1) WHERE object_id = $1 AND seq = 2",
    OLD_SEAL = "UPDATE revision SET seal = $2 WHERE revision_id = $1",
    FLIPPED = "UPDATE consent_record SET opt_in = NOT opt_in WHERE record_id = $1",
    WIDENED = "UPDATE consent_record SET sealed = NULL WHERE record_id = $1",
    ENDLESS = "UPDATE consent_record SET valid_until = NULL WHERE record_id = $1",
    NEVER_GIVEN = "UPDATE consent_record SET ever_given = FALSE WHERE record_id = $1",
    LATER = {
        sqlite: "UPDATE consent_record SET valid_from = valid_from + 1 WHERE record_id = $1",
        postgres: "UPDATE consent_record SET valid_from = valid_from + INTERVAL '1 second' \
                   WHERE record_id = $1",
    },
    // As it was before the person took the answer back.
    YES_AGAIN = "UPDATE consent_record SET opt_in = TRUE, state = 3, \
                 revision_id = (SELECT v.revision_id FROM revision v \
                 WHERE v.object_id = $1 AND v.seq = 1), \
                 revision_sha256 = (SELECT v.sha256 FROM revision v \
                 WHERE v.object_id = $1 AND v.seq = 1), \
                 signature_id = (SELECT s.signature_id FROM signature s WHERE s.record_id = $1) \
                 WHERE record_id = $1",
    OTHER_HASH = "UPDATE consent_record SET revision_sha256 = 'x' WHERE record_id = $1",
    CLAIMED = "UPDATE consent_record SET state = 3 WHERE record_id = $1",
    DISOWNED = "UPDATE consent_record SET state = 1 WHERE record_id = $1",
    NO_RECORD = "DELETE FROM consent_record WHERE record_id = $1",
    NO_SIGNATURE = "DELETE FROM signature WHERE record_id = $1",
    NO_KEY = "UPDATE subject_key SET wrapped = NULL WHERE subject = (SELECT r.individual_id \
              FROM consent_record r WHERE r.record_id = $1)",
    NO_KEY_ROW = "DELETE FROM record_key WHERE record_id = $1",
    RESEALED = {
        sqlite: "UPDATE revision SET snapshot = unhex($2) WHERE object_id = $1",
        postgres: "UPDATE revision SET snapshot = decode($2, 'hex') WHERE object_id = $1",
    },
    NO_RECORD_KEY = "UPDATE record_key SET wrapped = NULL WHERE record_id = $1",
    OLD_AGREEMENT = "UPDATE agreement SET body = (SELECT r.body FROM revision r \
              WHERE r.object_id = $1 AND r.seq = 1) WHERE agreement_id = $1",
    OLD_TEXT = "UPDATE agreement SET published_revision_id = (SELECT r.revision_id \
              FROM revision r WHERE r.object_id = $1 AND r.seq = 1) WHERE agreement_id = $1",
    OTHER_LATEST = "UPDATE agreement SET revision_id = 'x' WHERE agreement_id = $1",
    OLD_POLICY = "UPDATE policy SET body = (SELECT r.body FROM revision r \
              WHERE r.object_id = $1 AND r.seq = 1) WHERE policy_id = $1",
    NO_POLICY = "DELETE FROM policy WHERE policy_id = $1",
    OTHER_DELEGATE = "UPDATE delegation SET valid_until = NULL WHERE delegation_id = $1",
    ENTRIES = "SELECT COUNT(*) FROM journal WHERE action = $1",
}

struct Bench {
    app: App,
    shop: Arc<Shop>,
    who: Who,
    agreement: pb::DataAgreement,
    _block: Consent,
    _db: TestDatabase,
}

fn policy(id: &str, url: &str) -> pb::Policy {
    pb::Policy {
        policy_id: id.to_owned(),
        name: "Privacy".to_owned(),
        url: url.to_owned(),
        jurisdiction: "NL".to_owned(),
        storage_location: "NL".to_owned(),
        data_retention_period_days: Some(365),
        ..pb::Policy::default()
    }
}

fn agreement() -> pb::DataAgreement {
    pb::DataAgreement {
        controller: Some(pb::Controller {
            name: "Ministry".to_owned(),
            url: "https://example.org".to_owned(),
            ..pb::Controller::default()
        }),
        policy: Some(policy("", "https://example.org/privacy/1")),
        purpose: "Pay a transfer".to_owned(),
        lawful_basis: pb::LawfulBasis::Consent.into(),
        dpia: "https://example.org/dpia".to_owned(),
        active: Some(true),
        validity_days: Some(30),
        attributes: vec![pb::DataAgreementAttribute {
            name: "income".to_owned(),
            necessity: "optional".to_owned(),
            category: "household".to_owned(),
            sensitivity: "ordinary".to_owned(),
            ..pb::DataAgreementAttribute::default()
        }],
        ..pb::DataAgreement::default()
    }
}

async fn bench(db: TestDatabase) -> Bench {
    let config = ConsentConfig {
        database: db.config(),
        ..ConsentConfig::default()
    };
    let block = Consent::open(config, &env("consent")).await.unwrap();
    let app = block.app.clone();
    let mut bench = Bench {
        shop: app.shop(&Tenant::default()).await.unwrap(),
        app,
        who: admin(),
        agreement: pb::DataAgreement::default(),
        _block: block,
        _db: db,
    };
    bench.agreement = bench.published().await;
    bench
}

impl Bench {
    async fn published(&self) -> pb::DataAgreement {
        let request = pb::CreateDataAgreementRequest {
            data_agreement: Some(agreement()),
            publish: true,
            request_id: String::new(),
        };
        let made = self.app.create_agreement(&self.who, request).await.unwrap();
        made.data_agreement.unwrap()
    }

    /// An agreement with two published texts.
    async fn revised(&self) -> String {
        let mut one = self.published().await;
        let id = one.data_agreement_id.clone();
        "Pay another transfer".clone_into(&mut one.purpose);
        let request = pb::ReplaceDataAgreementRequest {
            data_agreement: Some(one),
            publish: true,
            ..pb::ReplaceDataAgreementRequest::default()
        };
        self.app
            .replace_agreement(&self.who, request)
            .await
            .unwrap();
        id
    }

    /// A policy with two revisions.
    async fn policy(&self) -> String {
        let request = pb::CreatePolicyRequest {
            policy: Some(policy("", "https://example.org/privacy/1")),
            request_id: String::new(),
        };
        let made = self.app.create_policy(&self.who, request).await.unwrap();
        let id = made.policy.unwrap().policy_id;
        let request = pb::ReplacePolicyRequest {
            policy: Some(policy(&id, "https://example.org/privacy/2")),
            ..pb::ReplacePolicyRequest::default()
        };
        self.app.replace_policy(&self.who, request).await.unwrap();
        id
    }

    async fn person(&self, key: &SigningKey) -> String {
        let one = pb::IndividualWithKeys {
            individual: Some(pb::Individual::default()),
            jwks: vec![key.public_jwk().to_value().to_string()],
        };
        let request = pb::BatchCreateIndividualsRequest {
            individuals: vec![one],
            request_id: String::new(),
        };
        let made = self.app.create_individuals(&self.who, request);
        made.await.unwrap().individuals[0].individual_id.clone()
    }

    /// A signed yes to everything but the income.
    async fn signed(&self) -> String {
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let request = pb::DraftConsentRecordRequest {
            individual_id: self.person(&key).await,
            data_agreement_id: self.agreement.data_agreement_id.clone(),
            attributes: vec![pb::AttributeChoice {
                attribute: "income".to_owned(),
                granted: false,
            }],
            ..pb::DraftConsentRecordRequest::default()
        };
        let draft = self.app.draft_record(&self.who, request).await.unwrap();
        let mut signature = draft.signature.unwrap();
        let payload = signature.payload.as_bytes();
        signature.signature = sign_jws(&key, Protected::new(), payload).unwrap();
        let request = pb::SignConsentRecordRequest {
            consent_record: draft.consent_record,
            signature: Some(signature),
            request_id: String::new(),
        };
        let stored = self.app.sign_record(&self.who, request).await.unwrap();
        stored.consent_record.unwrap().consent_record_id
    }

    /// The same, taken back since.
    async fn withdrawn(&self) -> String {
        let id = self.signed().await;
        let request = pb::ChangeConsentRecordRequest {
            consent_record_id: id.clone(),
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        self.app.change_record(&self.who, request).await.unwrap();
        id
    }

    async fn delegation(&self) -> String {
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let until = self.shop.now().plus(std::time::Duration::from_hours(24));
        let one = pb::Delegation {
            individual_id: self.person(&key).await,
            delegate_individual_id: self.person(&key).await,
            relationship: pb::DelegationRelationship::Carer.into(),
            actions: vec![pb::DelegationAction::Give.into()],
            valid_until_time: Some(publica_rpc::timestamp(until)),
            ..pb::Delegation::default()
        };
        let request = pb::CreateDelegationRequest {
            delegation: Some(one),
            request_id: String::new(),
        };
        let made = self.app.create_delegation(&self.who, request);
        made.await.unwrap().delegation.unwrap().delegation_id
    }

    async fn alter(&self, sql: Sql, id: &str, text: Option<String>) {
        let input = (sql, id.to_owned(), text);
        let done = self
            .shop
            .db
            .write("test.alter", input, |tx, (sql, id, text)| {
                Box::pin(async move {
                    let query = tx.query(*sql).bind(id.as_str());
                    let query = match text {
                        Some(text) => query.bind(text.as_str()),
                        None => query,
                    };
                    Ok::<u64, Error>(query.execute().await?)
                })
            });
        assert!(done.await.unwrap() > 0);
    }

    async fn verified(&self, schema: pb::Schema, id: &str) -> pb::VerifyChainResponse {
        let verify = pb::VerifyChainRequest {
            schema: schema.into(),
            object_id: id.to_owned(),
            ..pb::VerifyChainRequest::default()
        };
        self.app.verify_chain(&self.who, verify).await.unwrap()
    }

    /// Asserts that a chain is whole, and no more once it was altered.
    async fn found(&self, schema: pb::Schema, id: &str, sql: Sql, problem: &str) {
        let before = self.verified(schema, id).await;
        assert!(before.intact, "{before:?}");
        self.alter(sql, id, None).await;
        let after = self.verified(schema, id).await;
        assert!(!after.intact, "{problem} was not found after {sql:?}");
        assert_eq!(after.problem, problem, "after {sql:?}");
    }

    /// Seals all revisions of an object as it was once done.
    async fn seal_as_before(&self, schema: pb::Schema, id: &str) {
        let (db, kind) = (&self.shop.db, i64::from(schema as i32));
        for row in revision::chain(db, kind, id, 0, 100).await.unwrap() {
            let claims = canonical(&claims(&row, &Reach::Short));
            let header = Protected::new().typ("consent-revision+jws");
            let seal = sign_jws(&self.shop.key, header, claims.as_bytes()).unwrap();
            self.alter(OLD_SEAL, &row.revision_id, Some(seal)).await;
        }
    }
}

both_engines! {
    async fn nothing_about_a_record_is_altered_unseen(db: TestDatabase) {
        let bench = bench(db).await;
        for (sql, problem) in [
            (NO_SNAPSHOT, "snapshot"),
            (AS_IF_ERASED, "snapshot"),
            (NO_KEY, "snapshot"),
            (NO_RECORD_KEY, "snapshot"),
            (NO_CHAIN, "head"),
            (OTHER_HASH, "head"),
            (FLIPPED, "row"),
            (WIDENED, "row"),
            (ENDLESS, "row"),
            (NEVER_GIVEN, "row"),
            (LATER, "row"),
            (DISOWNED, "row"),
            (NO_RECORD, "row"),
            (NO_SIGNATURE, "signature_missing"),
        ] {
            let id = bench.signed().await;
            bench.found(pb::Schema::ConsentRecord, &id, sql, problem).await;
        }
        for (sql, problem) in [
            (CUT_TAIL, "head"),
            (NAMED_BY, "seal"),
            (UNLINKED, "seal"),
            (NO_SIGNATURE, "signature_missing"),
            (CLAIMED, "signature_missing"),
            (WIDENED, "row"),
        ] {
            let id = bench.withdrawn().await;
            bench.found(pb::Schema::ConsentRecord, &id, sql, problem).await;
        }
        let told = bench.shop.db.query(ENTRIES).bind("consent.chain.altered");
        assert_eq!(told.fetch_scalar::<i64>().await.unwrap(), 20);
    }

    async fn what_was_cut_off_is_missed_by_the_journal(db: TestDatabase) {
        let bench = bench(db).await;
        let record = pb::Schema::ConsentRecord;
        // The withdrawal is undone without a trace in the chain and beside it.
        let id = bench.withdrawn().await;
        // However often it is looked at.
        for _ in 0..60 {
            assert!(bench.verified(record, &id).await.intact);
        }
        bench.alter(CUT_TAIL, &id, None).await;
        bench.alter(YES_AGAIN, &id, None).await;
        let found = bench.verified(record, &id).await;
        assert_eq!((found.intact, found.problem.as_str()), (false, "journal"));
        // Nothing at all is left.
        let id = bench.signed().await;
        for sql in [NO_CHAIN, NO_SIGNATURE, NO_RECORD] {
            bench.alter(sql, &id, None).await;
        }
        let found = bench.verified(record, &id).await;
        assert_eq!((found.intact, found.problem.as_str()), (false, "journal"));
    }

    async fn nothing_about_texts_and_delegations_is_altered_unseen(db: TestDatabase) {
        let bench = bench(db).await;
        for (sql, problem) in [
            (CUT_TAIL, "head"),
            (OTHER_LATEST, "head"),
            (NO_SNAPSHOT, "snapshot"),
            (NO_BODY, "body"),
            (OTHER_BODY, "body"),
            (OLD_AGREEMENT, "row"),
            (OLD_TEXT, "row"),
        ] {
            let id = bench.revised().await;
            bench.found(pb::Schema::DataAgreement, &id, sql, problem).await;
        }
        for (sql, problem) in [
            (CUT_TAIL, "head"),
            (AS_IF_ERASED, "snapshot"),
            (OTHER_BODY, "body"),
            (OLD_POLICY, "row"),
            (NO_POLICY, "row"),
        ] {
            let id = bench.policy().await;
            bench.found(pb::Schema::Policy, &id, sql, problem).await;
        }
        for (sql, problem) in [(OTHER_DELEGATE, "row"), (AS_IF_ERASED, "snapshot")] {
            let id = bench.delegation().await;
            bench.found(pb::Schema::Delegation, &id, sql, problem).await;
        }
    }

    async fn what_was_erased_stays_closed_wherever_it_is_kept(db: TestDatabase) {
        let bench = bench(db).await;
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let person = bench.person(&key).await;
        let mut records = Vec::new();
        for agreement in [bench.agreement.clone(), bench.published().await] {
            let request = pb::CreateConsentRecordRequest {
                individual_id: person.clone(),
                data_agreement_id: agreement.data_agreement_id,
                ..pb::CreateConsentRecordRequest::default()
            };
            let made = bench.app.create_record(&bench.who, request).await.unwrap();
            records.push(made.consent_record.unwrap().consent_record_id);
        }
        let (shop, kind) = (&bench.shop, i64::from(pb::Schema::ConsentRecord as i32));
        let mut kept = Vec::new();
        for id in &records {
            let row = revision::chain(&shop.db, kind, id, 0, 1).await.unwrap().remove(0);
            let own = record_keys::load(shop, &person, id).await.unwrap().unwrap();
            own.open_text(SNAPSHOT, row.snapshot.as_deref().unwrap()).unwrap();
            kept.push(row);
        }
        let [first, second] = &kept[..] else { panic!("two records") };
        let own = record_keys::load(shop, &person, &records[0]).await.unwrap().unwrap();
        assert!(own.open_text(SNAPSHOT, second.snapshot.as_deref().unwrap()).is_err());
        let request = pb::EraseConsentRecordsRequest {
            individual_id: person.clone(),
            request_id: String::new(),
        };
        let done = bench.app.erase_records(&bench.who, request).await.unwrap();
        assert_eq!((done.erased, done.retained), (2, 0));
        let everything = key_of(shop, &person).await.unwrap().unwrap();
        for (id, row) in records.iter().zip([first, second]) {
            assert!(record_keys::load(shop, &person, id).await.unwrap().is_none());
            let copy = row.snapshot.as_deref().unwrap();
            assert!(everything.open_text(SNAPSHOT, copy).is_err(), "a copy is of no use");
            let found = bench.verified(pb::Schema::ConsentRecord, id).await;
            assert!(found.intact && found.erased == found.revisions, "{found:?}");
        }
    }

    async fn records_older_than_their_keys_are_read_as_before(db: TestDatabase) {
        let bench = bench(db).await;
        let id = bench.signed().await;
        let (shop, kind) = (&bench.shop, i64::from(pb::Schema::ConsentRecord as i32));
        let row = revision::chain(&shop.db, kind, &id, 0, 1).await.unwrap().remove(0);
        let person = row.subject.clone().unwrap();
        let own = record_keys::load(shop, &person, &id).await.unwrap().unwrap();
        let text = own.open_text(SNAPSHOT, row.snapshot.as_deref().unwrap()).unwrap();
        let everything = key_of(shop, &person).await.unwrap().unwrap();
        let sealed = hex::encode(everything.seal(SNAPSHOT, text.as_bytes()));
        bench.alter(NO_KEY_ROW, &id, None).await;
        bench.alter(NO_SIGNATURE, &id, None).await;
        bench.alter(RESEALED, &id, Some(sealed)).await;
        let read = revisions::read(shop, &row.revision_id).await.unwrap();
        assert_eq!(read.serialized_snapshot, text);
        let request = pb::ChangeConsentRecordRequest {
            consent_record_id: id.clone(),
            opt_in: Some(false),
            ..pb::ChangeConsentRecordRequest::default()
        };
        bench.app.change_record(&bench.who, request).await.unwrap();
        let request = pb::EraseConsentRecordsRequest {
            individual_id: person,
            request_id: String::new(),
        };
        let done = bench.app.erase_records(&bench.who, request).await.unwrap();
        assert_eq!(done.erased, 1);
    }

    async fn altered_content_is_not_served(db: TestDatabase) {
        let bench = bench(db).await;
        let id = bench.policy().await;
        let request = pb::GetPolicyRequest { policy_id: id.clone(), ..Default::default() };
        bench.app.get_policy(&bench.who, request.clone()).await.unwrap();
        bench.alter(OTHER_BODY, &id, None).await;
        let refused = bench.app.get_policy(&bench.who, request).await.unwrap_err();
        assert_eq!(refused.reason(), "REVISION_ALTERED");
    }

    async fn earlier_seals_still_hold(db: TestDatabase) {
        let bench = bench(db).await;
        let (text, policy) = (bench.revised().await, bench.policy().await);
        let record = bench.withdrawn().await;
        for (schema, id) in [
            (pb::Schema::DataAgreement, &text),
            (pb::Schema::Policy, &policy),
            (pb::Schema::ConsentRecord, &record),
        ] {
            bench.seal_as_before(schema, id).await;
            let found = bench.verified(schema, id).await;
            assert!(found.intact, "{found:?}");
        }
        bench.found(pb::Schema::Policy, &policy, OTHER_BODY, "body").await;
        bench.found(pb::Schema::DataAgreement, &text, OLD_TEXT, "row").await;
        bench.found(pb::Schema::ConsentRecord, &record, FLIPPED, "row").await;
    }
}
