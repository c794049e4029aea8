//! Accounting periods: what a close keeps, what it refuses, and that it survives being killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use publica_host::Block as _;
use publica_payments::{Payments, verify_balance};
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::period_service_client::PeriodServiceClient;
use publica_rpc::{Link, timestamp};
use publica_store::Engine;
use publica_testkit::{MockClock, SeededEntropy, TestDatabase, both_engines, eventually};
use publica_types::{Clock as _, Entropy as _, Timestamp};
use serde_json::json;
use sqlx::Connection as _;
use tonic::{Code, Status};

use crate::kill::{self, Order, link};
use crate::resume::{start_with, tamper};
use crate::support::{Clients, World, refusal, world_with};

const DAY: Duration = Duration::from_hours(24);

fn periods(clients: &Clients) -> PeriodServiceClient<Link> {
    PeriodServiceClient::new(clients.link())
}

async fn create(
    clients: &Clients,
    id: &str,
    start: Option<Timestamp>,
    end: Timestamp,
) -> Result<api::Period, Status> {
    let request = api::CreatePeriodRequest {
        period_id: id.to_owned(),
        start_time: start.map(timestamp),
        end_time: Some(timestamp(end)),
        ..Default::default()
    };
    let answer = periods(clients).create_period(request).await?;
    Ok(answer.into_inner().period.unwrap())
}

async fn close(clients: &Clients, id: &str) -> Result<api::Period, Status> {
    let request = api::ClosePeriodRequest {
        period_id: id.to_owned(),
        ..Default::default()
    };
    let answer = periods(clients).close_period(request).await?;
    Ok(answer.into_inner().period.unwrap())
}

async fn period(clients: &Clients, id: &str) -> api::Period {
    let period_id = id.to_owned();
    let request = api::GetPeriodRequest { period_id };
    let answer = periods(clients).get_period(request).await.unwrap();
    answer.into_inner().period.unwrap()
}

async fn is_closed(clients: &Clients, id: &str) -> api::Period {
    eventually(|| async {
        let period = period(clients, id).await;
        (period.state() == api::PeriodState::Closed).then_some(period)
    })
    .await
}

/// All balances of a period, page by page.
async fn balances(clients: &Clients, id: &str) -> Vec<api::PeriodBalance> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = api::ListPeriodBalancesRequest {
            period_id: id.to_owned(),
            page_size: 700,
            page_token,
        };
        let page = periods(clients)
            .list_period_balances(request)
            .await
            .unwrap();
        let page = page.into_inner();
        all.extend(page.balances);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

/// Checks the proof of one account's balance, as somebody without the ledger would.
async fn assert_proven(clients: &Clients, period: &api::Period, account: &str) {
    let request = api::GetPeriodBalanceRequest {
        period_id: period.period_id.clone(),
        account: account.to_owned(),
    };
    let answer = periods(clients).get_period_balance(request).await.unwrap();
    let proof = answer.into_inner();
    let balance = proof.balance.clone().unwrap();
    let decimal = |minor: i64| format!("{}.{:02}", minor / 100, minor.unsigned_abs() % 100);
    let net = balance.credits_posted - balance.debits_posted;
    let sign = if net < 0 { "-" } else { "" };
    let shown = |posted: i64| {
        json!({
            "period": {
                "period_id": period.period_id,
                "account_count": period.account_count,
                "root": period.root,
            },
            "balance": {
                "account_id": balance.account_id,
                "code": balance.code,
                "currency": balance.currency,
                "balance": format!("{sign}{}", decimal(net.abs())),
                "debits_pending": decimal(balance.debits_pending),
                "debits_posted": decimal(balance.debits_posted),
                "credits_pending": decimal(balance.credits_pending + posted),
                "credits_posted": decimal(balance.credits_posted),
            },
            "leaf": proof.leaf,
            "leaf_index": proof.leaf_index,
            "path": proof.path,
        })
    };
    let proven = verify_balance(shown(0).to_string().as_bytes()).unwrap();
    assert_eq!(proven.root, period.root);
    let forged = verify_balance(shown(1).to_string().as_bytes());
    assert!(forged.is_err(), "a cent more is proven, too");
}

async fn open(clients: &Clients, code: String, floor: Option<i64>) -> String {
    let request = api::OpenAccountRequest {
        code,
        currency: "USD".to_owned(),
        floor_minor: floor,
        ..Default::default()
    };
    let answer = clients.accounts().open_account(request).await.unwrap();
    answer.into_inner().account.unwrap().account_id
}

fn transfer(debit: &str, credit: &str, amount_minor: i64) -> api::CreateTransferRequest {
    api::CreateTransferRequest {
        debit_account_id: debit.to_owned(),
        credit_account_id: credit.to_owned(),
        amount_minor,
        ..Default::default()
    }
}

async fn make(
    clients: &Clients,
    request: api::CreateTransferRequest,
) -> Result<api::Transfer, Status> {
    let answer = clients.transfers().create_transfer(request).await?;
    Ok(answer.into_inner().transfer.unwrap())
}

/// The counters of an account, by the transfers made up to a moment.
async fn as_of(clients: &Clients, account: &str, at: Timestamp) -> [i64; 4] {
    let request = api::GetAccountRequest {
        account: account.to_owned(),
        as_of_time: Some(timestamp(at)),
    };
    let answer = clients.accounts().get_account(request).await.unwrap();
    let account = answer.into_inner().account.unwrap();
    [
        account.debits_pending,
        account.debits_posted,
        account.credits_pending,
        account.credits_posted,
    ]
}

const fn counters(balance: &api::PeriodBalance) -> [i64; 4] {
    [
        balance.debits_pending,
        balance.debits_posted,
        balance.credits_pending,
        balance.credits_posted,
    ]
}

fn before(moment: Timestamp) -> Timestamp {
    Timestamp::from_micros(moment.micros() - 1)
}

/// What a test does to the ledger, drawn from a seed.
struct Draw(SeededEntropy);

impl Draw {
    fn below(&self, most: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % most
    }
}

/// A transfer that took effect before it was made.
struct Late {
    made: Timestamp,
    effective: Timestamp,
    debit: String,
    credit: String,
    amount: i64,
}

struct Books {
    world: World,
    clock: Arc<MockClock>,
    start: Timestamp,
    accounts: Vec<String>,
    late: Vec<Late>,
}

/// Some ninety days of transfers, holds and corrections; months of thirty days.
async fn kept(database: TestDatabase, seed: u64) -> Books {
    let clock = Arc::new(MockClock::new());
    let world = world_with(database, Some(clock.clone()), |_| {}).await;
    let start = clock.now();
    let draw = Draw(SeededEntropy::new(seed));
    let mut accounts = Vec::new();
    for number in 0..6 {
        accounts.push(open(&world, format!("account {number}"), None).await);
    }
    let (mut holds, mut late): (Vec<String>, Vec<Late>) = (Vec::new(), Vec::new());
    for _ in 0..120 {
        clock.advance(Duration::from_secs(draw.below(2 * 86_400)));
        let pick = |number: u64| accounts[usize::try_from(number).unwrap()].clone();
        let from = draw.below(6);
        let (debit, credit) = (pick(from), pick((from + 1 + draw.below(5)) % 6));
        let amount = 1 + i64::try_from(draw.below(1_000)).unwrap();
        let mut request = transfer(&debit, &credit, amount);
        match draw.below(5) {
            0 => {
                request.pending = true;
                holds.push(make(&world, request).await.unwrap().transfer_id);
            }
            1 if !holds.is_empty() => {
                let request = api::ResolveTransferRequest {
                    pending_id: holds.swap_remove(0),
                    void: draw.below(2) == 0,
                    ..Default::default()
                };
                world.transfers().resolve_transfer(request).await.unwrap();
            }
            2 => {
                let made = clock.now();
                let back = draw.below(40 * 86_400);
                let effective = made.minus(Duration::from_secs(back)).max(start);
                request.effective_time = Some(timestamp(effective));
                let transfer = make(&world, request).await.unwrap();
                assert_eq!(transfer.effective_time, Some(timestamp(effective)));
                late.push(Late {
                    made,
                    effective,
                    debit,
                    credit,
                    amount,
                });
            }
            _ => drop(make(&world, request).await.unwrap()),
        }
    }
    Books {
        world,
        clock,
        start,
        accounts,
        late,
    }
}

both_engines! {
    async fn balances_are_those_as_of_the_end(database: TestDatabase) {
        let Books { world, clock, start, accounts, late } = kept(database, 7).await;
        clock.advance(90 * DAY);
        let mut ends = Vec::new();
        for number in 1..=4_u32 {
            let end = start.plus(30 * number * DAY);
            let first = (number == 1).then_some(start);
            create(&world, &format!("P{number}"), first, end).await.unwrap();
            close(&world, &format!("P{number}")).await.unwrap();
            is_closed(&world, &format!("P{number}")).await;
            ends.push(end);
        }
        assert!(late.len() > 10, "the seed makes corrections");
        for (end, number) in ends.iter().zip(1..) {
            let closed = period(&world, &format!("P{number}")).await;
            let found: BTreeMap<String, [i64; 4]> = balances(&world, &closed.period_id)
                .await
                .iter()
                .map(|balance| (balance.account_id.clone(), counters(balance)))
                .collect();
            assert_eq!(found.len(), accounts.len());
            for account in &accounts {
                let mut expected = as_of(&world, account, before(*end)).await;
                for late in late.iter().filter(|late| late.made >= *end && late.effective < *end) {
                    expected[1] += if late.debit == *account { late.amount } else { 0 };
                    expected[3] += if late.credit == *account { late.amount } else { 0 };
                }
                assert_eq!(found[account], expected, "{account} at the end of P{number}");
                assert_proven(&world, &closed, account).await;
            }
        }
        let roots: Vec<String> = {
            let mut client = periods(&world);
            let list = client.list_periods(api::ListPeriodsRequest::default()).await;
            let list = list.unwrap().into_inner().periods;
            list.into_iter().map(|period| period.root).collect()
        };
        assert_eq!(roots.len(), 4);
        for (root, number) in roots.iter().zip(1..) {
            assert_eq!(*root, period(&world, &format!("P{number}")).await.root);
        }
        world.assert_balanced().await;
    }

    async fn a_close_refuses_what_takes_effect_inside(database: TestDatabase) {
        let clock = Arc::new(MockClock::new());
        let world = world_with(database, Some(clock.clone()), |_| {}).await;
        let start = clock.now();
        let outside = open(&world, "outside".to_owned(), None).await;
        let fund = open(&world, "fund".to_owned(), Some(0)).await;
        make(&world, transfer(&outside, &fund, 100)).await.unwrap();
        let (may, june) = (start.plus(30 * DAY), start.plus(60 * DAY));
        create(&world, "may", Some(start), may).await.unwrap();
        create(&world, "june", None, june).await.unwrap();
        let no = |answer| refusal::<api::Period>(answer);
        let failed = |reason: &str| (Code::FailedPrecondition, reason.to_owned());
        let gap = create(&world, "july", Some(june.plus(DAY)), june.plus(2 * DAY)).await;
        assert_eq!(no(gap), failed("PERIOD_GAP"));
        let again = create(&world, "may", None, june.plus(DAY)).await;
        assert_eq!(no(again), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
        for (id, end) in [("x/y", june.plus(DAY)), ("july", june), ("july", june.plus(367 * DAY))] {
            assert_eq!(no(create(&world, id, None, end).await).0, Code::InvalidArgument, "{id}");
        }
        assert_eq!(no(close(&world, "none").await).0, Code::NotFound);
        assert_eq!(no(close(&world, "may").await), failed("PERIOD_NOT_OVER"));
        clock.set(may.plus(Duration::from_secs(299)));
        assert_eq!(no(close(&world, "may").await), failed("PERIOD_NOT_OVER"));

        let late = |days: u32| api::CreateTransferRequest {
            effective_time: Some(timestamp(start.plus(days * DAY))),
            ..transfer(&outside, &fund, 5)
        };
        make(&world, late(29)).await.unwrap();
        let future = make(&world, late(31)).await;
        assert_eq!(refusal(future).0, Code::InvalidArgument);
        let held = api::CreateTransferRequest { pending: true, ..late(29) };
        assert_eq!(refusal(make(&world, held).await).0, Code::InvalidArgument);
        let request = api::ListPeriodBalancesRequest {
            period_id: "may".to_owned(),
            ..Default::default()
        };
        let open_yet = periods(&world).list_period_balances(request).await;
        assert_eq!(refusal(open_yet), failed("PERIOD_STATE"));

        clock.set(june.plus(DAY));
        assert_eq!(no(close(&world, "june").await), failed("PERIOD_ORDER"));
        close(&world, "may").await.unwrap();
        // At once, whether or not its balances were copied.
        let refused = make(&world, late(29)).await;
        assert_eq!(refusal(refused), failed("PERIOD_CLOSED"));
        let may_closed = is_closed(&world, "may").await;
        assert_eq!(no(close(&world, "may").await), failed("PERIOD_STATE"));
        let refused = make(&world, late(29)).await;
        assert_eq!(refusal(refused), failed("PERIOD_CLOSED"));
        // A correction takes effect in the period that is open.
        let correction = make(&world, late(30)).await.unwrap();
        let request = api::GetTransferRequest { transfer_id: correction.transfer_id };
        let read = world.transfers().get_transfer(request).await.unwrap().into_inner();
        assert_eq!(read.transfer.unwrap().effective_time, Some(timestamp(may)));
        close(&world, "june").await.unwrap();
        let june_closed = is_closed(&world, "june").await;
        let mut held = Vec::new();
        for closed in [&may_closed, &june_closed] {
            let all = balances(&world, &closed.period_id).await;
            let fund = all.iter().find(|balance| balance.code == "fund").unwrap();
            held.push(fund.credits_posted);
            assert_proven(&world, closed, "fund").await;
        }
        assert_eq!(held, [105, 110]);
        world.assert_balanced().await;
    }

    async fn a_clock_behind_moves_nothing_inside(database: TestDatabase) {
        let clock = Arc::new(MockClock::new());
        let world = world_with(database, Some(clock.clone()), |_| {}).await;
        let start = clock.now();
        let outside = open(&world, "outside".to_owned(), None).await;
        let fund = open(&world, "fund".to_owned(), Some(0)).await;
        make(&world, transfer(&outside, &fund, 100)).await.unwrap();
        let end = start.plus(DAY);
        create(&world, "day", Some(start), end).await.unwrap();
        clock.set(end.plus(DAY));
        close(&world, "day").await.unwrap();
        let closed = is_closed(&world, "day").await;
        // A replica whose clock still shows a time inside.
        clock.set(before(end));
        let moved = make(&world, transfer(&outside, &fund, 1)).await.unwrap();
        assert_eq!(moved.create_time, Some(timestamp(end)));
        let opened = open(&world, "opened since".to_owned(), None).await;
        make(&world, transfer(&fund, &opened, 1)).await.unwrap();
        for account in [&outside, &fund] {
            let all = balances(&world, "day").await;
            let balance = all.iter().find(|balance| balance.account_id == *account).unwrap();
            assert_eq!(as_of(&world, account, before(end)).await, counters(balance));
        }
        assert_eq!(as_of(&world, &opened, before(end)).await, [0; 4]);
        assert_eq!(closed.account_count, 2);
        let request = api::GetPeriodBalanceRequest {
            period_id: "day".to_owned(),
            account: opened,
        };
        let missing = periods(&world).get_period_balance(request).await;
        assert_eq!(refusal(missing).0, Code::NotFound);
    }

    async fn a_close_goes_on_after_sigkill(database: TestDatabase) {
        let mut order = Order {
            folder: database.dir().to_owned(),
            database: database.config().url.expose().clone(),
            ahead: 0,
        };
        let block = Payments::open(order.config(), &order.env()).await.unwrap();
        prepare(&order, &Clients(link(&block, "maker"))).await;
        kill::close(block).await;
        order.ahead += 3_600;
        let block = Payments::open(order.config(), &order.env()).await.unwrap();
        close(&Clients(link(&block, "closer")), "day").await.unwrap();
        kill::close(block).await;

        // A row in the way of the second page, so that the first kill falls between the two.
        let ahead = "INSERT INTO period_balance SELECT 'day', account_id, 0, 0, 0, 0 \
            FROM ledger_account ORDER BY account_id LIMIT 1 OFFSET 1500";
        tamper(&database, ahead).await;
        order.ahead += 60;
        let mut child = kill::start(&order);
        let copied = eventually(|| async { Some(copied(&database).await).filter(|n| *n > 0) });
        assert_eq!(copied.await, 1_024);
        child.kill().unwrap();
        child.wait().unwrap();
        // No account is without movements.
        tamper(&database, "DELETE FROM period_balance WHERE debits_posted + credits_posted = 0")
            .await;
        for kill in 1..=KILLS {
            order.ahead += 60;
            let mut child = kill::start(&order);
            let ready = order.folder.join(format!("ready-{}", order.ahead));
            eventually(|| async { ready.exists().then_some(()) }).await;
            // Kills fall on other steps each time, or on none.
            tokio::time::sleep(Duration::from_millis(u64::from(kill) * 4)).await;
            child.kill().unwrap();
            child.wait().unwrap();
        }
        order.ahead += 60;
        let running = start_with(&order, |_| {}).await;
        assert_all_there(&running.clients).await;
        running.stop().await;
    }
}

const ACCOUNTS: usize = 2_600;
const KILLS: u32 = 5;

/// How many balances the store says were copied, read beside the process that copies.
async fn copied(database: &TestDatabase) -> i64 {
    const COUNT: &str = "SELECT account_count FROM ledger_period";
    let url = database.config().url.expose().clone();
    match database.engine() {
        Engine::Sqlite => {
            let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
            sqlx::query_scalar(COUNT)
                .fetch_one(&mut connection)
                .await
                .unwrap()
        }
        Engine::Postgres => {
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let own = sqlx::query("SET search_path TO payments");
            own.execute(&mut connection).await.unwrap();
            sqlx::query_scalar(COUNT)
                .fetch_one(&mut connection)
                .await
                .unwrap()
        }
    }
}

/// Accounts of three pages, moved before the end of a period.
async fn prepare(order: &Order, clients: &Clients) {
    let outside = &open(clients, "outside".to_owned(), None).await;
    let numbers: Vec<usize> = (0..ACCOUNTS).collect();
    for some in numbers.chunks(200) {
        let opened = some.iter().map(|number| async move {
            let account = open(clients, format!("account {number}"), Some(0)).await;
            let amount = i64::try_from(*number).unwrap() + 1;
            make(clients, transfer(outside, &account, amount))
                .await
                .unwrap();
        });
        futures::future::join_all(opened).await;
    }
    let now = order.env().clock.now();
    let end = now.plus(Duration::from_secs(60));
    create(clients, "day", Some(now.minus(DAY)), end)
        .await
        .unwrap();
}

async fn assert_all_there(clients: &Clients) {
    let closed = is_closed(clients, "day").await;
    let all = balances(clients, "day").await;
    assert_eq!(all.len(), ACCOUNTS + 1);
    assert_eq!(closed.account_count, i64::try_from(ACCOUNTS + 1).unwrap());
    let sum: i64 = all.iter().map(|balance| balance.credits_posted).sum();
    assert_eq!(sum, i64::try_from(ACCOUNTS * (ACCOUNTS + 1) / 2).unwrap());
    for balance in [&all[0], &all[1_023], &all[1_024], &all[ACCOUNTS]] {
        assert_proven(clients, &closed, &balance.account_id).await;
    }
    clients.assert_balanced().await;
}
