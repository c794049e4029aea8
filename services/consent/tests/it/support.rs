//! A block to test, and people who sign.

use std::sync::Arc;
use std::time::Duration;

use publica_consent::{Consent, ConsentConfig};
use publica_jose::{Alg, Jws, Protected, SigningKey, sign_jws};
use publica_proto::consent::v1 as pb;
use publica_proto::consent::v1::consent_record_service_client::ConsentRecordServiceClient;
use publica_proto::consent::v1::consent_service_client::ConsentServiceClient;
use publica_proto::consent::v1::data_agreement_service_client::DataAgreementServiceClient;
use publica_proto::consent::v1::individual_service_client::IndividualServiceClient;
use publica_proto::consent::v1::policy_service_client::PolicyServiceClient;
use publica_proto::consent::v1::revision_service_client::RevisionServiceClient;
use publica_rpc::Link;
use publica_testkit::{
    MockClock, TestBlock, TestDatabase, TestEnv, env, token_for, tokens, with_token,
};
use publica_types::{SystemEntropy, Tenant, Timestamp};
use tonic_types::StatusExt as _;

/// The block with a clock that tests move.
pub(crate) struct Bench {
    env: TestEnv,
    pub(crate) block: TestBlock<Consent>,
    pub(crate) clock: Arc<MockClock>,
    /// Keeps the database while the bench lives.
    pub(crate) db: TestDatabase,
}

pub(crate) async fn bench(db: TestDatabase) -> Bench {
    bench_with(db, |_| {}).await
}

pub(crate) async fn bench_with(db: TestDatabase, set: impl FnOnce(&mut ConsentConfig)) -> Bench {
    let clock = Arc::new(MockClock::at(Timestamp::from_seconds(1_800_000_000)));
    let env = env("consent").with_clock(clock.clone());
    let mut config = ConsentConfig {
        database: db.config(),
        ..ConsentConfig::default()
    };
    set(&mut config);
    let block = env.open::<Consent>(config).await.unwrap();
    Bench {
        env,
        block,
        clock,
        db,
    }
}

impl Bench {
    /// The same caller at a second replica over the same store.
    pub(crate) async fn replica(&self) -> Link {
        let config = ConsentConfig {
            database: self.db.config(),
            ..ConsentConfig::default()
        };
        let block = self.env.open::<Consent>(config).await.unwrap();
        block.as_caller(&["consent:*"])
    }

    /// A caller who may do everything.
    pub(crate) fn admin(&self) -> Link {
        self.block.as_caller(&["consent:*"])
    }

    /// A person without scopes.
    pub(crate) fn person(&self, subject: &str) -> Link {
        with_token(&self.block.link, &person_token(subject))
    }

    /// A caller who may do everything, of an organisation.
    pub(crate) fn of_organisation(&self, affiliation: &str) -> Link {
        let token = token_for("clerk", &["consent:*"], &Tenant::default());
        let token = with_claim(&token, "affiliation", affiliation);
        with_token(&self.block.link, &token)
    }

    /// Another caller who may do everything.
    pub(crate) fn colleague(&self) -> Link {
        let token = token_for("colleague", &["consent:*"], &Tenant::default());
        with_token(&self.block.link, &token)
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        use publica_types::Clock as _;
        self.clock.now()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn policies(&self) -> PolicyServiceClient<Link> {
        PolicyServiceClient::new(self.admin())
    }

    pub(crate) fn agreements(&self) -> DataAgreementServiceClient<Link> {
        DataAgreementServiceClient::new(self.admin())
    }

    pub(crate) fn individuals(&self) -> IndividualServiceClient<Link> {
        IndividualServiceClient::new(self.admin())
    }

    pub(crate) fn records(&self) -> ConsentRecordServiceClient<Link> {
        ConsentRecordServiceClient::new(self.admin())
    }

    pub(crate) fn revisions(&self) -> RevisionServiceClient<Link> {
        RevisionServiceClient::new(self.admin())
    }

    pub(crate) fn checks(&self) -> ConsentServiceClient<Link> {
        ConsentServiceClient::new(self.admin())
    }

    /// A published agreement with a policy, two attributes and no end.
    pub(crate) async fn agreement(&self) -> pb::DataAgreement {
        self.publish(agreement()).await
    }

    pub(crate) async fn publish(&self, agreement: pb::DataAgreement) -> pb::DataAgreement {
        let request = pb::CreateDataAgreementRequest {
            data_agreement: Some(agreement),
            publish: true,
            request_id: String::new(),
        };
        let answer = self
            .agreements()
            .create_data_agreement(request)
            .await
            .unwrap();
        answer.into_inner().data_agreement.unwrap()
    }

    /// A person with a key.
    pub(crate) async fn signer(&self, external_id: &str) -> Signer {
        let key = SigningKey::generate(Alg::Es256, &SystemEntropy).unwrap();
        let request = pb::BatchCreateIndividualsRequest {
            individuals: vec![pb::IndividualWithKeys {
                individual: Some(pb::Individual {
                    external_id: external_id.to_owned(),
                    external_id_type: "foundational id".to_owned(),
                    ..pb::Individual::default()
                }),
                jwks: vec![key.public_jwk().to_value().to_string()],
            }],
            request_id: String::new(),
        };
        let answer = self
            .individuals()
            .batch_create_individuals(request)
            .await
            .unwrap();
        let id = answer.into_inner().individuals[0].individual_id.clone();
        Signer { id, key }
    }

    /// The pair that a person would send, drafted by the block and signed by the person.
    pub(crate) async fn pair(
        &self,
        signer: &Signer,
        agreement: &pb::DataAgreement,
        opt_in: bool,
    ) -> pb::SignConsentRecordRequest {
        self.pair_with(signer, agreement, opt_in, Vec::new()).await
    }

    pub(crate) async fn pair_with(
        &self,
        signer: &Signer,
        agreement: &pb::DataAgreement,
        opt_in: bool,
        attributes: Vec<pb::AttributeChoice>,
    ) -> pb::SignConsentRecordRequest {
        let request = pb::DraftConsentRecordRequest {
            individual_id: signer.id.clone(),
            data_agreement_id: agreement.data_agreement_id.clone(),
            opt_in: Some(opt_in),
            attributes,
            ..pb::DraftConsentRecordRequest::default()
        };
        let draft = self
            .records()
            .draft_consent_record(request)
            .await
            .unwrap()
            .into_inner();
        let signature = signer.sign(draft.signature.unwrap());
        pb::SignConsentRecordRequest {
            consent_record: draft.consent_record,
            signature: Some(signature),
            request_id: String::new(),
        }
    }

    /// A signed answer, stored.
    pub(crate) async fn signed(
        &self,
        signer: &Signer,
        agreement: &pb::DataAgreement,
        opt_in: bool,
    ) -> pb::ConsentRecord {
        let pair = self.pair(signer, agreement, opt_in).await;
        let answer = self
            .records()
            .sign_consent_record(pair)
            .await
            .unwrap()
            .into_inner();
        answer.consent_record.unwrap()
    }

    /// A new answer to a record.
    pub(crate) async fn change(
        &self,
        record_id: &str,
        opt_in: bool,
    ) -> Result<pb::ChangeConsentRecordResponse, tonic::Status> {
        let request = pb::ChangeConsentRecordRequest {
            consent_record_id: record_id.to_owned(),
            opt_in: Some(opt_in),
            ..pb::ChangeConsentRecordRequest::default()
        };
        Ok(self
            .records()
            .change_consent_record(request)
            .await?
            .into_inner())
    }

    /// Whether the agreement allows the use now.
    pub(crate) async fn check(
        &self,
        individual_id: &str,
        agreement_id: &str,
        attributes: &[&str],
    ) -> pb::CheckConsentResponse {
        let request = question(individual_id, agreement_id, attributes);
        self.checks()
            .check_consent(request)
            .await
            .unwrap()
            .into_inner()
    }

    /// Whether a record's chain is intact.
    pub(crate) async fn chain(&self, record_id: &str) -> pb::VerifyChainResponse {
        let request = pb::VerifyChainRequest {
            schema: pb::Schema::ConsentRecord.into(),
            object_id: record_id.to_owned(),
            ..pb::VerifyChainRequest::default()
        };
        self.revisions()
            .verify_chain(request)
            .await
            .unwrap()
            .into_inner()
    }
}

/// A token that a person got by way of a portal.
fn person_token(subject: &str) -> String {
    let machine = token_for(subject, &[], &Tenant::default());
    with_claim(&machine, "client_id", "portal")
}

/// A token with a claim that says something else.
fn with_claim(token: &str, name: &str, value: &str) -> String {
    let payload = Jws::parse(token).unwrap().unverified_payload().unwrap();
    let mut claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    claims[name] = value.into();
    let header = Protected::new().typ("at+jwt");
    sign_jws(tokens().key(), header, claims.to_string().as_bytes()).unwrap()
}

pub(crate) fn question(
    individual_id: &str,
    agreement_id: &str,
    attributes: &[&str],
) -> pb::CheckConsentRequest {
    let person = pb::person_reference::Person::IndividualId(individual_id.to_owned());
    pb::CheckConsentRequest {
        person: Some(pb::PersonReference {
            person: Some(person),
        }),
        data_agreement_id: agreement_id.to_owned(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        ..pb::CheckConsentRequest::default()
    }
}

pub(crate) fn policy() -> pb::Policy {
    pb::Policy {
        name: "Privacy policy".to_owned(),
        url: "https://example.org/privacy/1".to_owned(),
        jurisdiction: "NL".to_owned(),
        storage_location: "NL".to_owned(),
        data_retention_period_days: Some(365),
        withdrawal_method: "online".to_owned(),
        ..pb::Policy::default()
    }
}

pub(crate) fn agreement() -> pb::DataAgreement {
    let attribute = |name: &str, necessity: &str| pb::DataAgreementAttribute {
        name: name.to_owned(),
        necessity: necessity.to_owned(),
        category: "household".to_owned(),
        sensitivity: "ordinary".to_owned(),
        ..pb::DataAgreementAttribute::default()
    };
    pb::DataAgreement {
        controller: Some(pb::Controller {
            name: "Ministry".to_owned(),
            url: "https://example.org".to_owned(),
            address: "1 Main Street".to_owned(),
            contact: "The desk".to_owned(),
            ..pb::Controller::default()
        }),
        policy: Some(policy()),
        purpose: "Pay an unconditional cash transfer".to_owned(),
        purpose_code: "urn:purpose:cash-transfer".to_owned(),
        lawful_basis: pb::LawfulBasis::Consent.into(),
        dpia: "https://example.org/dpia".to_owned(),
        active: Some(true),
        attributes: vec![
            attribute("name", "required"),
            attribute("income", "optional"),
        ],
        ..pb::DataAgreement::default()
    }
}

/// A person with the key they sign with.
pub(crate) struct Signer {
    pub(crate) id: String,
    pub(crate) key: SigningKey,
}

impl Signer {
    pub(crate) fn sign(&self, mut signature: pb::Signature) -> pb::Signature {
        let payload = signature.payload.as_bytes();
        signature.signature = sign_jws(&self.key, Protected::new(), payload).unwrap();
        signature
    }
}

/// The reason of a refusal.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> String {
    let status = result.unwrap_err();
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}
