//! Vouchers: which refusal comes first, and that money moves once.

use std::sync::Arc;
use std::time::Duration;

use publica_proto::payments::v1 as api;
use publica_testkit::{MockClock, both_engines};
use tonic::Code;

use crate::support::{World, refusal, world, world_with};

fn issue() -> api::PreactivateVoucherRequest {
    api::PreactivateVoucherRequest {
        amount: "100.00".to_owned(),
        currency: "USD".to_owned(),
        voucher_group: "FOOD".to_owned(),
        calling_block: "BB".to_owned(),
        ..Default::default()
    }
}

async fn prepare(world: &World, funds_minor: i64) {
    world.group("FOOD", funds_minor).await;
    world.group("FUEL", 1_000_000).await;
    for name in ["BB", "OTHER"] {
        let block = api::CreateCallingBlockRequest {
            name: name.to_owned(),
            ..Default::default()
        };
        world.vouchers().create_calling_block(block).await.unwrap();
    }
    for (name, group, blocked) in [
        ("Shop", "FOOD", false),
        ("Shop", "FUEL", false),
        ("Barred", "FOOD", true),
    ] {
        let merchant = api::CreateMerchantRequest {
            name: name.to_owned(),
            bank_details: "bank".to_owned(),
            voucher_group: group.to_owned(),
            blocked,
            ..Default::default()
        };
        world.vouchers().create_merchant(merchant).await.unwrap();
    }
}

async fn issued(world: &World) -> api::PreactivateVoucherResponse {
    world
        .vouchers()
        .preactivate_voucher(issue())
        .await
        .unwrap()
        .into_inner()
}

fn activation(serial: &str, block: &str) -> api::ActivateVoucherRequest {
    let (serial_number, calling_block) = (serial.to_owned(), block.to_owned());
    api::ActivateVoucherRequest {
        serial_number,
        calling_block,
        ..Default::default()
    }
}

fn redemption(number: &str) -> api::RedeemVoucherRequest {
    api::RedeemVoucherRequest {
        voucher_number: number.to_owned(),
        calling_block: "BB".to_owned(),
        merchant_name: "Shop".to_owned(),
        merchant_bank_details: "bank".to_owned(),
        merchant_voucher_group: "FOOD".to_owned(),
        r#override: false,
        ..Default::default()
    }
}

fn cancellation(serial: &str, block: &str) -> api::CancelVoucherRequest {
    let (serial_number, calling_block) = (serial.to_owned(), block.to_owned());
    api::CancelVoucherRequest {
        serial_number,
        calling_block,
        ..Default::default()
    }
}

async fn status(world: &World, serial: &str) -> Result<(api::VoucherState, String), String> {
    let request = api::GetVoucherStatusRequest {
        serial_number: serial.to_owned(),
        ..Default::default()
    };
    match world.vouchers().get_voucher_status(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            Ok((answer.state(), answer.amount_text))
        }
        refused => Err(refusal(refused).1),
    }
}

both_engines! {
    async fn issuing_checks_in_order(database: TestDatabase) {
        let world = world(database).await;
        prepare(&world, 0).await;
        let bad = |change: fn(&mut api::PreactivateVoucherRequest)| {
            let mut request = issue();
            // Everything is wrong at once; `change` puts the first things right.
            request.amount = "0".to_owned();
            request.currency = "usd".to_owned();
            request.voucher_group = "NONE".to_owned();
            request.calling_block = "NOBODY".to_owned();
            change(&mut request);
            request
        };
        for (request, reason) in [
            (bad(|_| {}), "AMOUNT_INVALID"),
            (bad(|r| r.amount = "1.005".to_owned()), "CURRENCY_INVALID"),
            (bad(|r| {
                r.amount = "1.00".to_owned();
                r.currency = "USD".to_owned();
            }), "GROUP_UNKNOWN"),
            (bad(|r| {
                r.amount = "1.00".to_owned();
                r.currency = "USD".to_owned();
                r.voucher_group = "FOOD".to_owned();
            }), "CALLING_BLOCK_UNKNOWN"),
            (bad(|r| {
                r.amount = "1.005".to_owned();
                r.currency = "USD".to_owned();
            }), "AMOUNT_INVALID"),
        ] {
            let refused = world.vouchers().preactivate_voucher(request.clone()).await;
            assert_eq!(refusal(refused).1, reason, "{request:?}");
        }
        let voucher = issued(&world).await;
        assert_eq!((voucher.voucher_number.len(), voucher.serial_number.len()), (16, 16));
        let next = issued(&world).await;
        let serial = |text: &str| text.parse::<u64>().unwrap();
        assert_eq!(serial(&next.serial_number), serial(&voucher.serial_number) + 1);
    }

    async fn a_repeat_gives_the_same_voucher(database: TestDatabase) {
        let world = world(database).await;
        prepare(&world, 0).await;
        let request = api::PreactivateVoucherRequest {
            request_id: "2f9e3ba2-9a5e-4b52-8e0c-d2f6fbc9a3a1".to_owned(),
            ..issue()
        };
        let first = world.vouchers().preactivate_voucher(request.clone()).await.unwrap();
        let again = world.vouchers().preactivate_voucher(request).await.unwrap();
        assert_eq!(first.into_inner(), again.into_inner());
    }

    async fn stock_and_budget_run_out(database: TestDatabase) {
        let world = world(database).await;
        let programme = world.programme(15_000, false).await;
        for (name, stock, programme) in
            [("STOCKED", Some(1), String::new()), ("BACKED", None, programme.code)]
        {
            let name = name.to_owned();
            let group = api::CreateVoucherGroupRequest {
                name: name.clone(),
                stock,
                programme,
                ..Default::default()
            };
            world.vouchers().create_voucher_group(group).await.unwrap();
            let account = api::CreateFundingAccountRequest {
                currency: "USD".to_owned(),
                voucher_group: name.clone(),
                ..Default::default()
            };
            world.programmes().create_funding_account(account).await.unwrap();
            let issue = || api::PreactivateVoucherRequest {
                voucher_group: name.clone(),
                calling_block: crate::support::SOURCE.to_owned(),
                ..issue()
            };
            world.vouchers().preactivate_voucher(issue()).await.unwrap();
            let second = world.vouchers().preactivate_voucher(issue()).await;
            assert_eq!(refusal(second).1, "GROUP_EXHAUSTED", "{name}");
        }
        // Backed by allocated funds from the moment of issue.
        assert_eq!(world.balance("funding:treasury").await, 5_000);
        assert_eq!(world.balance("funding:BACKED USD").await, 10_000);
    }

    async fn activating_is_for_the_issuer_and_can_be_repeated(database: TestDatabase) {
        let clock = Arc::new(MockClock::new());
        let world = world_with(database, Some(clock.clone()), |_| {}).await;
        prepare(&world, 0).await;
        let serial = issued(&world).await.serial_number;
        for (serial, block, reason) in [
            (serial.as_str(), "NOBODY", "CALLING_BLOCK_UNKNOWN"),
            ("12ab", "NOBODY", "CALLING_BLOCK_UNKNOWN"),
            ("12ab", "BB", "SERIAL_INVALID"),
            ("42", "BB", "SERIAL_INVALID"),
            (&serial, "OTHER", "SERIAL_INVALID"),
        ] {
            let refused = world.vouchers().activate_voucher(activation(serial, block)).await;
            assert_eq!(refusal(refused).1, reason, "{serial} {block}");
        }
        let first = world.vouchers().activate_voucher(activation(&serial, "BB")).await.unwrap();
        clock.advance(Duration::from_secs(3_600));
        let again = world.vouchers().activate_voucher(activation(&serial, "BB")).await.unwrap();
        assert_eq!(first.into_inner(), again.into_inner(), "the expiry does not move");
    }

    async fn redeeming_checks_in_order(database: TestDatabase) {
        let world = world(database).await;
        prepare(&world, 10_000).await;
        let first = issued(&world).await;
        let second = issued(&world).await;
        for serial in [&first.serial_number, &second.serial_number] {
            world.vouchers().activate_voucher(activation(serial, "BB")).await.unwrap();
        }
        let pending = issued(&world).await;
        let number = first.voucher_number.as_str();
        let with = |number: &str, change: fn(&mut api::RedeemVoucherRequest)| {
            let mut request = redemption(number);
            change(&mut request);
            request
        };
        for (request, reason) in [
            (with("x", |r| r.calling_block = "NOBODY".into()), "CALLING_BLOCK_UNKNOWN"),
            (with("x", |r| r.merchant_name = "Nobody".into()), "NUMBER_INVALID"),
            (with("4242", |r| r.merchant_name = "Nobody".into()), "NUMBER_INVALID"),
            (with(number, |r| r.merchant_name = "Nobody".into()), "MERCHANT_REFUSED"),
            (with(number, |r| r.merchant_name = "Barred".into()), "MERCHANT_REFUSED"),
            (with(&pending.voucher_number, |_| {}), "NUMBER_INVALID"),
            (with(number, |r| r.merchant_voucher_group = "FUEL".into()), "NUMBER_INVALID"),
        ] {
            let refused = world.vouchers().redeem_voucher(request.clone()).await;
            assert_eq!(refusal(refused).1, reason, "{request:?}");
        }
        let other_group = with(number, |r| {
            r.merchant_voucher_group = "FUEL".into();
            r.r#override = true;
        });
        world.vouchers().redeem_voucher(other_group).await.unwrap();
        let used = world.vouchers().redeem_voucher(redemption(number)).await;
        assert_eq!(refusal(used).1, "VOUCHER_CONSUMED");
        world.vouchers().redeem_voucher(redemption(&second.voucher_number)).await.unwrap();
        // The account of FOOD is empty now: that shows before the voucher's own state.
        let short = world.vouchers().redeem_voucher(redemption(number)).await;
        assert_eq!(refusal(short).1, "FUNDS_SHORT");
        world.assert_balanced().await;
    }

    async fn guessing_numbers_is_stopped(database: TestDatabase) {
        let world = world(database).await;
        prepare(&world, 100_000).await;
        for number in 0..50 {
            let guess = redemption(&(7_000_000_000_000_000_u64 + number).to_string());
            let refused = world.vouchers().redeem_voucher(guess).await;
            assert_eq!(refusal(refused).1, "NUMBER_INVALID");
        }
        let locked = world.vouchers().redeem_voucher(redemption("7000000000000099")).await;
        let expected = (Code::ResourceExhausted, "VOUCHER_GUESSING_LOCKED".to_owned());
        assert_eq!(refusal(locked), expected);
    }

    async fn two_redemptions_at_once_pay_once(database: TestDatabase) {
        let world = world(database).await;
        prepare(&world, 100_000).await;
        let voucher = issued(&world).await;
        world.vouchers().activate_voucher(activation(&voucher.serial_number, "BB")).await.unwrap();
        let attempts = (0..8).map(|_| {
            let mut vouchers = world.vouchers();
            let request = redemption(&voucher.voucher_number);
            async move { vouchers.redeem_voucher(request).await }
        });
        let answers = futures::future::join_all(attempts).await;
        let (paid, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!(paid.len(), 1);
        for answer in refused {
            assert_eq!(refusal(answer).1, "VOUCHER_CONSUMED");
        }
        assert_eq!(world.balance("funding:FOOD USD").await, 90_000);
    }

    async fn states_are_shown_and_time_ends_them(database: TestDatabase) {
        let clock = Arc::new(MockClock::new());
        let world = world_with(database, Some(clock.clone()), |_| {}).await;
        prepare(&world, 100_000).await;
        use api::VoucherState as S;
        let waiting = issued(&world).await;
        let active = issued(&world).await;
        let used = issued(&world).await;
        for serial in [&active.serial_number, &used.serial_number] {
            world.vouchers().activate_voucher(activation(serial, "BB")).await.unwrap();
        }
        world.vouchers().redeem_voucher(redemption(&used.voucher_number)).await.unwrap();
        let shown = |state| Ok((state, "100.00".to_owned()));
        assert_eq!(status(&world, &waiting.serial_number).await, shown(S::Preactivated));
        assert_eq!(status(&world, &active.serial_number).await, shown(S::Activated));
        assert_eq!(status(&world, &used.serial_number).await, Err("VOUCHER_CONSUMED".to_owned()));
        assert_eq!(status(&world, "42").await, Ok((S::NotExisting, "0".to_owned())));
        assert_eq!(status(&world, "4x").await, Err("SERIAL_INVALID".to_owned()));
        let suspend = |lift| api::SuspendVoucherRequest {
            serial_number: active.serial_number.clone(),
            lift,
            reason: "reported stolen".to_owned(),
            ..Default::default()
        };
        world.vouchers().suspend_voucher(suspend(false)).await.unwrap();
        assert_eq!(status(&world, &active.serial_number).await, shown(S::Suspended));
        world.vouchers().suspend_voucher(suspend(true)).await.unwrap();
        assert_eq!(status(&world, &active.serial_number).await, shown(S::Activated));
        clock.advance(Duration::from_secs(90 * 86_400));
        assert_eq!(status(&world, &active.serial_number).await, Err("VOUCHER_EXPIRED".to_owned()));
        let late = world.vouchers().redeem_voucher(redemption(&active.voucher_number)).await;
        assert_eq!(refusal(late).1, "VOUCHER_EXPIRED");
    }

    async fn cancelling_is_final(database: TestDatabase) {
        let world = world(database).await;
        prepare(&world, 100_000).await;
        let voucher = issued(&world).await;
        let serial = voucher.serial_number.as_str();
        for (serial, block) in [(serial, "NOBODY"), (serial, "OTHER"), ("4x", "BB"), ("42", "BB")] {
            let refused = world.vouchers().cancel_voucher(cancellation(serial, block)).await;
            assert_eq!(refusal(refused).1, "VOUCHER_INVALID", "{serial} {block}");
        }
        world.vouchers().cancel_voucher(cancellation(serial, "BB")).await.unwrap();
        let again = world.vouchers().cancel_voucher(cancellation(serial, "BB")).await;
        assert_eq!(refusal(again).1, "ALREADY_CANCELLED");
        let refused = world.vouchers().activate_voucher(activation(serial, "BB")).await;
        assert_eq!(refusal(refused).1, "SERIAL_INVALID");
    }
}
