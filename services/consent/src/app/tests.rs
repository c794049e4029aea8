//! What callers cannot arrange from outside: authority that ends between a check and its unit, and
//! timers that look at chosen moments.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use publica_auth::{Caller, CallerKind};
use publica_host::Block as _;
use publica_proto::consent::v1 as pb;
use publica_rpc::Fault as _;
use publica_testkit::{MockClock, TestDatabase, both_engines, env};
use publica_types::{Tenant, Timestamp};

use super::delegations::{Matter, acting, hold};
use super::notices::{About, Notice};
use super::{App, Shop, Who};
use crate::domain::delegation::Act;
use crate::domain::notice::Kind;
use crate::error::Error;
use crate::{Consent, ConsentConfig};

const DAY: Duration = Duration::from_hours(24);

publica_store::statements! {
    ENTRIES = "SELECT COUNT(*) FROM journal WHERE action = $1",
    MARKS = "SELECT at FROM timer ORDER BY name",
    END_LATE = "UPDATE consent_record SET valid_until = $1, created = $2, valid_from = $2 \
                WHERE created = (SELECT MAX(created) FROM consent_record)",
    NOTED = "SELECT COUNT(*) FROM timer_told WHERE name = 'expired'",
    END_AT = "UPDATE consent_record SET valid_until = $1",
}

struct Bench {
    app: App,
    shop: Arc<Shop>,
    clock: Arc<MockClock>,
    who: Who,
    _block: Consent,
    _db: TestDatabase,
}

pub(super) fn admin() -> Who {
    let mut request = tonic::Request::new(());
    request.extensions_mut().insert(Arc::new(Caller {
        subject: "tester".to_owned(),
        issuer: None,
        client_id: None,
        affiliation: None,
        scopes: BTreeSet::from(["consent:*".to_owned()]),
        tenant: Tenant::default(),
        kind: CallerKind::Machine,
    }));
    Who::of(&request)
}

async fn bench(db: TestDatabase) -> Bench {
    let clock = Arc::new(MockClock::at(Timestamp::from_seconds(1_800_000_000)));
    let env = env("consent").with_clock(clock.clone());
    let config = ConsentConfig {
        database: db.config(),
        ..ConsentConfig::default()
    };
    let block = Consent::open(config, &env).await.unwrap();
    let app = block.app.clone();
    Bench {
        shop: app.shop(&Tenant::default()).await.unwrap(),
        app,
        clock,
        who: admin(),
        _block: block,
        _db: db,
    }
}

impl Bench {
    async fn agreement(&self, validity_days: Option<i32>) -> pb::DataAgreement {
        let policy = pb::Policy {
            name: "Privacy".to_owned(),
            url: "https://example.org/privacy/1".to_owned(),
            jurisdiction: "NL".to_owned(),
            storage_location: "NL".to_owned(),
            data_retention_period_days: Some(365),
            ..pb::Policy::default()
        };
        let agreement = pb::DataAgreement {
            controller: Some(pb::Controller {
                name: "Ministry".to_owned(),
                url: "https://example.org".to_owned(),
                ..pb::Controller::default()
            }),
            policy: Some(policy),
            purpose: "Pay a transfer".to_owned(),
            lawful_basis: pb::LawfulBasis::Consent.into(),
            dpia: "https://example.org/dpia".to_owned(),
            active: Some(true),
            validity_days,
            ..pb::DataAgreement::default()
        };
        let request = pb::CreateDataAgreementRequest {
            data_agreement: Some(agreement),
            publish: true,
            request_id: String::new(),
        };
        let made = self.app.create_agreement(&self.who, request).await.unwrap();
        made.data_agreement.unwrap()
    }

    async fn person(&self) -> String {
        let request = pb::CreateIndividualRequest {
            individual: Some(pb::Individual::default()),
            request_id: String::new(),
        };
        let made = self
            .app
            .create_individual(&self.who, request)
            .await
            .unwrap();
        made.individual.unwrap().individual_id
    }

    async fn yes(&self, person: &str, agreement: &pb::DataAgreement) {
        let request = pb::CreateConsentRecordRequest {
            individual_id: person.to_owned(),
            data_agreement_id: agreement.data_agreement_id.clone(),
            ..pb::CreateConsentRecordRequest::default()
        };
        self.app.create_record(&self.who, request).await.unwrap();
    }

    /// Looks what came due; when to look again, from now on.
    async fn look(&self) -> Duration {
        let until = self.app.tell_due(&Tenant::default()).await.unwrap();
        until.since(self.shop.now())
    }

    async fn told(&self, action: &str) -> i64 {
        let query = self.shop.db.query(ENTRIES).bind(action);
        query.fetch_scalar().await.unwrap()
    }

    async fn marks(&self) -> Vec<Timestamp> {
        self.shop.db.query(MARKS).fetch_scalars().await.unwrap()
    }
}

both_engines! {
    async fn authority_that_ended_since_it_was_checked_holds_nothing(db: TestDatabase) {
        let bench = bench(db).await;
        let text = bench.agreement(None).await;
        let (person, helper) = (bench.person().await, bench.person().await);
        let delegation = pb::Delegation {
            individual_id: person.clone(),
            delegate_individual_id: helper.clone(),
            relationship: pb::DelegationRelationship::LegalGuardian.into(),
            actions: vec![pb::DelegationAction::Give.into()],
            ..pb::Delegation::default()
        };
        let request = pb::CreateDelegationRequest {
            delegation: Some(delegation),
            request_id: String::new(),
        };
        let made = bench.app.create_delegation(&bench.who, request.clone()).await.unwrap();
        let matter = Matter::of(&text);
        let found = acting(&bench.shop, &person, &helper, Act::Give, matter).await.unwrap();
        let write = || {
            let input = (Arc::clone(&bench.shop), found.clone(), (person.clone(), text.clone()));
            bench.shop.db.write("test.hold", input, |tx, (shop, found, (person, text))| {
                Box::pin(async move {
                    let key = shop.keyring.subject(tx, person).await?;
                    let matter = Matter::of(text);
                    hold(tx, &admin(), &key, Some(found), Act::Give, matter).await
                })
            })
        };
        write().await.unwrap();
        let id = made.delegation.unwrap().delegation_id;
        let revoke = pb::RevokeDelegationRequest { delegation_id: id, ..Default::default() };
        bench.app.revoke_delegation(&bench.who, revoke).await.unwrap();
        let refused: Error = write().await.unwrap_err();
        assert_eq!(refused.reason(), "DELEGATION_INVALID");
        // Another one between the same people is not the one that was relied on.
        bench.app.create_delegation(&bench.who, request).await.unwrap();
        let refused: Error = write().await.unwrap_err();
        assert_eq!(refused.reason(), "DELEGATION_INVALID");
    }

    async fn rounds_of_two_changes_are_told_apart(db: TestDatabase) {
        let bench = bench(db).await;
        let one = bench.agreement(None).await;
        let keys = async |about: About, cause: &str| {
            let cause = cause.to_owned();
            let notice = Notice { kind: Kind::PolicyChanged, about, cause };
            let round = bench.app.round(&bench.shop, &notice).await.unwrap();
            round.further.into_iter().map(|job| job.key).collect::<Vec<_>>()
        };
        let policy = || About::Policy { id: one.policy_id.clone(), after: String::new() };
        let first = keys(policy(), "r1").await;
        assert_eq!(first.len(), 1);
        assert_eq!(keys(policy(), "r1").await, first, "a repeat is the same round");
        assert_ne!(keys(policy(), "r2").await, first);
        // Jobs of an earlier release wait without a cause.
        let old = format!("{{\"kind\":{},\"about\":{}}}",
            serde_json::to_string(&Kind::PolicyChanged).unwrap(),
            serde_json::to_string(&policy()).unwrap());
        let read: Notice = serde_json::from_str(&old).unwrap();
        assert_eq!((read.about, read.cause.as_str()), (policy(), ""));
    }

    async fn timers_read_alone_until_something_is_due(db: TestDatabase) {
        let bench = bench(db).await;
        let (rest, short) = (Duration::from_mins(1), Duration::from_secs(20));
        assert_eq!(bench.look().await, rest);
        let began = bench.marks().await;
        assert_eq!(began.len(), 5);
        bench.yes(&bench.person().await, &bench.agreement(Some(40)).await).await;
        bench.clock.advance(DAY * 9 + Duration::from_secs(24 * 3_600 - 20));
        // Nothing was written, and the next look is at the very moment.
        assert_eq!(bench.look().await, short);
        assert_eq!(bench.marks().await, began);
        assert_eq!(bench.told("consent.record.expiring").await, 0);
        bench.clock.advance(short);
        assert_eq!(bench.look().await, rest);
        assert_eq!(bench.told("consent.record.expiring").await, 1);
        let moved = bench.marks().await;
        assert_eq!(moved.iter().zip(&began).filter(|(now, then)| now != then).count(), 1);
        bench.clock.advance(DAY * 29);
        bench.look().await;
        assert_eq!(bench.told("consent.record.expiring").await, 3);
        bench.clock.advance(DAY);
        bench.look().await;
        bench.look().await;
        assert_eq!(bench.told("consent.record.expiring").await, 3);
        assert_eq!(bench.told("consent.record.expired").await, 1);
    }

    async fn who_answers_within_the_time_of_a_warning_is_not_warned(db: TestDatabase) {
        let bench = bench(db).await;
        bench.look().await;
        // Marks are far behind by now, since nothing came due.
        bench.clock.advance(DAY * 90);
        bench.yes(&bench.person().await, &bench.agreement(Some(5)).await).await;
        bench.look().await;
        assert_eq!(bench.told("consent.record.expiring").await, 0);
        bench.clock.advance(DAY * 4);
        bench.look().await;
        assert_eq!(bench.told("consent.record.expiring").await, 1);
    }

    async fn what_is_stored_after_its_moment_is_told_once(db: TestDatabase) {
        let bench = bench(db).await;
        bench.look().await;
        let text = bench.agreement(Some(1)).await;
        bench.yes(&bench.person().await, &text).await;
        bench.clock.advance(DAY);
        bench.look().await;
        assert_eq!(bench.told("consent.record.expired").await, 1);
        // A unit that began before that look ends after it.
        bench.yes(&bench.person().await, &text).await;
        let late = bench.shop.now().minus(Duration::from_secs(3));
        let done = bench.shop.db.write("test.end", late, |tx, late| {
            Box::pin(async move {
                let first = late.minus(DAY);
                Ok::<u64, Error>(tx.query(END_LATE).bind(*late).bind(first).execute().await?)
            })
        });
        assert_eq!(done.await.unwrap(), 1);
        for _ in 0..3 {
            bench.clock.advance(Duration::from_secs(1));
            bench.look().await;
            assert_eq!(bench.told("consent.record.expired").await, 2);
        }
        // What was told of is forgotten once no look reaches back to it.
        let noted = || bench.shop.db.query(NOTED).fetch_scalar::<i64>();
        assert!(noted().await.unwrap() >= 2);
        bench.clock.advance(DAY);
        bench.yes(&bench.person().await, &text).await;
        bench.clock.advance(DAY);
        bench.look().await;
        assert_eq!(bench.told("consent.record.expired").await, 3);
        assert_eq!(noted().await.unwrap(), 1);
    }

    async fn what_ended_before_it_was_imported_is_not_told(db: TestDatabase) {
        let bench = bench(db).await;
        bench.look().await;
        bench.clock.advance(DAY * 90);
        bench.yes(&bench.person().await, &bench.agreement(Some(400)).await).await;
        bench.app.settle_due(&Tenant::default()).await.unwrap();
        let past = bench.shop.now().minus(DAY);
        let done = bench.shop.db.write("test.end", past, |tx, past| {
            Box::pin(async move {
                Ok::<u64, Error>(tx.query(END_AT).bind(*past).execute().await?)
            })
        });
        assert_eq!(done.await.unwrap(), 1);
        bench.look().await;
        assert_eq!(bench.told("consent.record.expired").await, 0);
    }
}
