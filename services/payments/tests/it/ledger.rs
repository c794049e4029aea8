//! Double entry: floors, holds, repeats, history.

use std::sync::Arc;
use std::time::Duration;

use publica_proto::payments::v1 as api;
use publica_testkit::{MockClock, both_engines, eventually};
use publica_types::Clock as _;
use tonic::Code;

use crate::support::{World, refusal, world, world_with};

async fn open(world: &World, code: &str, currency: &str, floor: Option<i64>) -> String {
    let request = api::OpenAccountRequest {
        code: code.to_owned(),
        currency: currency.to_owned(),
        floor_minor: floor,
        ..Default::default()
    };
    let answer = world
        .accounts()
        .open_account(request)
        .await
        .unwrap()
        .into_inner();
    answer.account.unwrap().account_id
}

fn transfer(debit: &str, credit: &str, amount_minor: i64) -> api::CreateTransferRequest {
    api::CreateTransferRequest {
        debit_account_id: debit.to_owned(),
        credit_account_id: credit.to_owned(),
        amount_minor,
        ..Default::default()
    }
}

async fn make(world: &World, request: api::CreateTransferRequest) -> api::Transfer {
    let answer = world.transfers().create_transfer(request).await.unwrap();
    answer.into_inner().transfer.unwrap()
}

both_engines! {
    async fn money_moves_once_and_never_below_the_floor(database: TestDatabase) {
        let world = world(database).await;
        let outside = open(&world, "outside", "USD", None).await;
        let fund = open(&world, "fund", "USD", Some(0)).await;
        let euro = open(&world, "euro", "EUR", None).await;
        let first = api::CreateTransferRequest {
            request_id: "11111111-1111-1111-1111-111111111111".to_owned(),
            reason: "grant".to_owned(),
            ..transfer(&outside, &fund, 100)
        };
        let made = make(&world, first.clone()).await;
        assert_eq!(make(&world, first.clone()).await, made, "a repeat is the same transfer");
        let other = api::CreateTransferRequest { amount_minor: 99, ..first };
        let reused = world.transfers().create_transfer(other).await;
        assert_eq!(refusal(reused), (Code::InvalidArgument, "REQUEST_ID_REUSED".to_owned()));
        for (request, code, reason) in [
            (transfer(&fund, &outside, 101), Code::FailedPrecondition, "FUNDS_SHORT"),
            (transfer(&fund, &euro, 1), Code::FailedPrecondition, "CURRENCY_MISMATCH"),
            (transfer(&fund, &fund, 1), Code::InvalidArgument, "SAME_ACCOUNT"),
            (transfer(&fund, &outside, 0), Code::InvalidArgument, "AMOUNT_NOT_POSITIVE"),
            (transfer(&fund, "x", 1), Code::NotFound, "NOT_FOUND"),
        ] {
            let refused = world.transfers().create_transfer(request).await;
            assert_eq!(refusal(refused), (code, reason.to_owned()));
        }
        assert_eq!(world.balance("fund").await, 100);
        let again = api::OpenAccountRequest {
            code: "fund".to_owned(),
            currency: "USD".to_owned(),
            ..Default::default()
        };
        let again = world.accounts().open_account(again).await;
        assert_eq!(refusal(again), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
        world.assert_balanced().await;
    }

    async fn holds_are_posted_in_part_voided_or_lapse(database: TestDatabase) {
        let clock = Arc::new(MockClock::new());
        let world = world_with(database, Some(clock.clone()), |_| {}).await;
        let outside = open(&world, "outside", "USD", None).await;
        let fund = open(&world, "fund", "USD", Some(0)).await;
        make(&world, transfer(&outside, &fund, 100)).await;
        let hold = |amount| api::CreateTransferRequest {
            pending: true,
            ..transfer(&fund, &outside, amount)
        };
        let first = make(&world, hold(80)).await;
        let short = world.transfers().create_transfer(hold(21)).await;
        assert_eq!(refusal(short), (Code::FailedPrecondition, "FUNDS_SHORT".to_owned()));
        let post = |amount| api::ResolveTransferRequest {
            pending_id: first.transfer_id.clone(),
            amount_minor: Some(amount),
            ..Default::default()
        };
        let more = world.transfers().resolve_transfer(post(81)).await;
        assert_eq!(refusal(more), (Code::InvalidArgument, "MORE_THAN_HELD".to_owned()));
        world.transfers().resolve_transfer(post(30)).await.unwrap();
        let twice = world.transfers().resolve_transfer(post(30)).await;
        assert_eq!(refusal(twice), (Code::FailedPrecondition, "HOLD_RESOLVED".to_owned()));
        let fund_now = world.account("fund").await;
        assert_eq!((fund_now.debits_posted, fund_now.debits_pending), (30, 0));

        let second = make(&world, hold(70)).await;
        let void = api::ResolveTransferRequest {
            pending_id: second.transfer_id.clone(),
            void: true,
            ..Default::default()
        };
        world.transfers().resolve_transfer(void).await.unwrap();

        let end = clock.now().plus(Duration::from_secs(60));
        let third = api::CreateTransferRequest {
            expire_time: Some(publica_rpc::timestamp(end)),
            ..hold(70)
        };
        let third = make(&world, third).await;
        clock.advance(Duration::from_secs(61));
        // The next look for holds may have been put off from either side of that step.
        eventually(|| async {
            clock.advance(Duration::from_secs(1));
            let request = api::GetTransferRequest { transfer_id: third.transfer_id.clone() };
            let answer = world.transfers().get_transfer(request).await.unwrap().into_inner();
            (answer.resolution == "expired").then_some(())
        })
        .await;
        assert_eq!(world.account("fund").await.debits_pending, 0);
        for (id, resolution) in [(first.transfer_id, "posted"), (second.transfer_id, "voided")] {
            let request = api::GetTransferRequest { transfer_id: id };
            let answer = world.transfers().get_transfer(request).await.unwrap().into_inner();
            assert_eq!(answer.resolution, resolution);
        }
        world.assert_balanced().await;
    }

    async fn the_past_can_be_read(database: TestDatabase) {
        let clock = Arc::new(MockClock::new());
        let world = world_with(database, Some(clock.clone()), |_| {}).await;
        let outside = open(&world, "outside", "USD", None).await;
        let fund = open(&world, "fund", "USD", Some(0)).await;
        let start = clock.now();
        for _ in 0..3 {
            clock.advance(Duration::from_secs(10));
            make(&world, transfer(&outside, &fund, 5)).await;
        }
        for (seconds, expected) in [(0, 0), (10, 5), (19, 5), (20, 10), (1_000, 15)] {
            let at = start.plus(Duration::from_secs(seconds));
            let request = api::GetAccountRequest {
                account: fund.clone(),
                as_of_time: Some(publica_rpc::timestamp(at)),
            };
            let account = world.accounts().get_account(request).await.unwrap().into_inner();
            assert_eq!(account.account.unwrap().credits_posted, expected, "after {seconds} s");
        }
        let mut versions = Vec::new();
        let mut page_token = String::new();
        loop {
            let account_id = fund.clone();
            let request = api::ListMovementsRequest { account_id, page_size: 2, page_token };
            let page = world.accounts().list_movements(request).await.unwrap().into_inner();
            versions.extend(page.movements.iter().map(|movement| movement.version));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(versions, [1, 2, 3]);
    }

    async fn many_at_once_stay_exact(database: TestDatabase) {
        let world = world(database).await;
        let outside = open(&world, "outside", "USD", None).await;
        let fund = open(&world, "fund", "USD", Some(0)).await;
        make(&world, transfer(&outside, &fund, 50)).await;
        let attempts = (0..80).map(|_| {
            let mut transfers = world.transfers();
            let request = transfer(&fund, &outside, 1);
            async move { transfers.create_transfer(request).await.is_ok() }
        });
        let made = futures::future::join_all(attempts).await;
        assert_eq!(made.iter().filter(|made| **made).count(), 50);
        assert_eq!(world.balance("fund").await, 0);
        world.assert_balanced().await;
    }
}
