//! A rail by mobile money, with a provider that forgets, loses, delays and refuses.

use std::collections::BTreeMap;

use publica_payments::{Config, MobileMoneyConfig, OauthConfig, RailSettings};
use publica_proto::payments::v1 as api;
use publica_testkit::{MOBILE_MONEY_KEY, MobileMoney, both_engines, eventually};

use crate::support::{SOURCE, World, instruction, payee_id, tally, world_with};

fn rail(provider: &MobileMoney) -> RailSettings {
    RailSettings {
        institutions: vec!["MOBILE".to_owned()],
        mobile_money: Some(MobileMoneyConfig {
            url: provider.url().to_owned(),
            allow_private: true,
            timeout_ms: 2_000,
            concurrency: 3,
            debit_value: "100200300".to_owned(),
            api_key: MOBILE_MONEY_KEY.to_owned().into(),
            ..MobileMoneyConfig::default()
        }),
        ..RailSettings::default()
    }
}

/// The rail of a provider that wants tokens.
fn by_token(provider: &MobileMoney, client_secret: &str) -> RailSettings {
    let mut rail = rail(provider);
    if let Some(settings) = &mut rail.mobile_money {
        settings.api_key = String::new().into();
        settings.oauth = Some(OauthConfig {
            token_url: provider.token_url(),
            client_id: "ministry".to_owned(),
            client_secret: client_secret.into(),
            scope: "pay".to_owned(),
        });
    }
    rail
}

fn with(provider: &MobileMoney) -> impl FnOnce(&mut Config) {
    let rail = rail(provider);
    move |config| {
        config.rails.insert("mobile".to_owned(), rail);
    }
}

/// Registers telephone numbers, in order, and pays ten dollars and fifty cents to each.
async fn pays(world: &World, numbers: &[&str]) -> String {
    let beneficiaries = numbers
        .iter()
        .enumerate()
        .map(|(n, number)| api::Beneficiary {
            functional_id: payee_id(n),
            modality: "01".to_owned(),
            financial_address: (*number).to_owned(),
            ..Default::default()
        });
    let request = api::RegisterBeneficiariesRequest {
        source_id: SOURCE.to_owned(),
        source_request: "REQUEST00001".to_owned(),
        beneficiaries: beneficiaries.collect(),
        ..Default::default()
    };
    let answer = world
        .beneficiaries()
        .register_beneficiaries(request)
        .await
        .unwrap();
    assert_eq!(answer.into_inner().failed_cases, []);
    let batch = world.create_batch("REQUEST00001").await;
    let rows = (0..numbers.len())
        .map(|n| instruction(n, n, "10.50"))
        .collect();
    let batch = world.upload(&batch.batch_id, rows).await.unwrap();
    world.approve(&batch).await.unwrap();
    batch.batch_id
}

fn each_once(numbers: &[&str]) -> Vec<(String, String)> {
    let paid = |number: &&str| ((*number).to_owned(), "10.5".to_owned());
    let mut all: Vec<_> = numbers.iter().map(paid).collect();
    all.sort();
    all
}

both_engines! {
    async fn payees_are_paid_once_whatever_gets_lost(database: TestDatabase) {
        let provider = MobileMoney::start().await;
        let world = world_with(database, None, with(&provider)).await;
        world.programme(100_000, true).await;
        let good = [
            "+31600000010", "+31600000011", "+31600000003", "+31600000004", "+31600000005",
            "+31600000006", "+31600000009",
        ];
        let bad = ["+31600000001", "+31600000002"];
        let batch = pays(&world, &[&good[..], &bad[..]].concat()).await;
        world.reaches(&batch, api::BatchState::PartiallyCompleted).await;
        let report = world.report(&batch).await;
        assert_eq!((report.settled, report.unknown), (tally(7, 7_350), tally(0, 0)));
        assert_eq!((report.vouchers, report.rejected), (tally(2, 2_100), tally(0, 0)));
        let reasons: BTreeMap<String, i64> =
            report.reasons.into_iter().map(|r| (r.reason_code, r.item_count)).collect();
        assert_eq!(reasons, BTreeMap::from([("AM14".to_owned(), 1), ("BE06".to_owned(), 1)]));
        assert!(report.reconciled, "{:?}", report.differences);
        assert_eq!(provider.moved(), each_once(&good));
        assert_eq!(provider.complaints(), Vec::<String>::new());
        // What got lost on its way, and what was forgotten, was ordered again; nothing else.
        let orders = provider.orders();
        assert_eq!(orders.values().filter(|count| **count == 2).count(), 2, "{orders:?}");
        assert_eq!(orders.values().sum::<usize>(), 11);
        world.assert_balanced().await;
    }

    async fn what_is_unknown_stays_unknown(database: TestDatabase) {
        let provider = MobileMoney::start().await;
        let world = world_with(database, None, with(&provider)).await;
        world.programme(100_000, true).await;
        let numbers = ["+31600000010", "+31600000008", "+31600000007"];
        let batch = pays(&world, &numbers).await;
        eventually(|| async {
            let report = world.report(&batch).await;
            (report.settled == tally(1, 1_050)).then_some(())
        })
        .await;
        // One is never answered, of one another amount was paid: both are asked about, and neither
        // is paid again, rejected, or replaced by a voucher.
        let asked = provider.requests();
        eventually(|| async { (provider.requests() > asked + 4).then_some(()) }).await;
        let report = world.report(&batch).await;
        assert_eq!((report.unknown, report.vouchers), (tally(2, 2_100), tally(0, 0)));
        assert_eq!(world.batch(&batch).await.state(), api::BatchState::InProgress);
        assert_eq!(provider.moved().len(), 3);
        assert!(provider.orders().values().all(|count| *count == 1));
        world.assert_balanced().await;
    }

    async fn tokens_are_kept_and_replaced(database: TestDatabase) {
        let provider = MobileMoney::start_with_tokens(4).await;
        let rail = by_token(&provider, "secret");
        let world = world_with(database, None, |config| {
            config.rails.insert("mobile".to_owned(), rail);
        })
        .await;
        world.programme(100_000, true).await;
        let numbers = ["+31600000010", "+31600000011", "+31600000012", "+31600000004",
            "+31600000009"];
        let batch = pays(&world, &numbers).await;
        world.reaches(&batch, api::BatchState::Completed).await;
        assert_eq!(world.report(&batch).await.settled, tally(5, 5_250));
        assert_eq!(provider.moved(), each_once(&numbers));
        assert_eq!(provider.complaints(), Vec::<String>::new());
        // One for all calls, until it is refused; what was refused was asked about first.
        let (tokens, calls) = (provider.tokens(), provider.requests());
        assert!(tokens > 1 && calls >= 3 * tokens, "{tokens} tokens in {calls} calls");
        world.assert_balanced().await;
    }

    async fn without_a_token_nothing_is_ordered(database: TestDatabase) {
        let provider = MobileMoney::start_with_tokens(100).await;
        let rail = by_token(&provider, "another secret");
        let world = world_with(database, None, |config| {
            config.rails.insert("mobile".to_owned(), rail);
        })
        .await;
        world.programme(100_000, true).await;
        let batch = pays(&world, &["+31600000010", "+31600000011"]).await;
        eventually(|| async { (provider.requests() > 3).then_some(()) }).await;
        assert!(provider.moved().is_empty() && provider.orders().is_empty());
        assert_eq!(provider.tokens(), 0);
        let report = world.report(&batch).await;
        assert_eq!((report.settled, report.vouchers), (tally(0, 0), tally(0, 0)));
        assert_eq!(world.batch(&batch).await.state(), api::BatchState::InProgress);
    }

    async fn a_provider_that_is_away_is_waited_for(database: TestDatabase) {
        let provider = MobileMoney::start().await;
        let numbers = ["+31600000010", "+31600000011"];
        let world = world_with(database, None, |config| {
            let mut away = rail(&provider);
            if let Some(settings) = &mut away.mobile_money {
                settings.api_key = "a wrong key".to_owned().into();
            }
            config.rails.insert("mobile".to_owned(), away);
        })
        .await;
        world.programme(100_000, true).await;
        let batch = pays(&world, &numbers).await;
        eventually(|| async { (provider.requests() > 3).then_some(()) }).await;
        let report = world.report(&batch).await;
        assert_eq!((report.settled, report.vouchers), (tally(0, 0), tally(0, 0)));
        assert!(provider.moved().is_empty());
        assert_eq!(world.batch(&batch).await.state(), api::BatchState::InProgress);
    }
}
