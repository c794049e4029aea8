//! Statements held against the ledger: what agrees, what does not, and what is done about it.

use std::collections::BTreeMap;
use std::time::Duration;

use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::reconciliation_service_client::ReconciliationServiceClient;
use publica_rpc::{Link, timestamp};
use publica_testkit::{MockClock, both_engines, eventually};
use publica_types::{Clock as _, SystemClock, Timestamp};
use tonic::{Code, Status};

use crate::support::{World, instruction, refusal, world, world_with};

use api::ReconciliationKind as Kind;
use api::ReconciliationState as State;

const HOUR: Duration = Duration::from_hours(1);
const FUNDS: i64 = 10_000_000;

/// A day's statement, line by line.
struct Sheet {
    header: api::StatementHeader,
    lines: Vec<api::StatementLine>,
}

impl Sheet {
    fn new(id: &str, now: Timestamp) -> Self {
        let header = api::StatementHeader {
            statement_id: id.to_owned(),
            currency: "USD".to_owned(),
            from_time: Some(timestamp(now.minus(HOUR))),
            to_time: Some(timestamp(now.plus(HOUR))),
        };
        Self {
            header,
            lines: Vec::new(),
        }
    }

    fn line(mut self, out: bool, end_to_end_id: &str, amount_minor: i64) -> Self {
        let direction = match out {
            true => api::StatementDirection::Debit,
            false => api::StatementDirection::Credit,
        };
        let from = self.header.from_time.unwrap();
        self.lines.push(api::StatementLine {
            reference: format!("BANK{}", self.lines.len()),
            end_to_end_id: end_to_end_id.to_owned(),
            direction: direction.into(),
            amount_minor,
            book_time: Some(prost_types::Timestamp {
                seconds: from.seconds + 60,
                nanos: 0,
            }),
        });
        self
    }

    fn debit(self, end_to_end_id: &str, amount_minor: i64) -> Self {
        self.line(true, end_to_end_id, amount_minor)
    }

    fn credit(self, end_to_end_id: &str, amount_minor: i64) -> Self {
        self.line(false, end_to_end_id, amount_minor)
    }

    /// What went out less what came back.
    fn net(&self) -> i64 {
        let signed = |line: &api::StatementLine| match line.direction() {
            api::StatementDirection::Credit => -line.amount_minor,
            _ => line.amount_minor,
        };
        self.lines.iter().map(signed).sum()
    }
}

fn client(link: Link) -> ReconciliationServiceClient<Link> {
    ReconciliationServiceClient::new(link)
}

async fn send(world: &World, sheet: &Sheet, complete: bool) -> Result<api::Statement, Status> {
    let mut messages = vec![api::UploadStatementRequest {
        header: Some(sheet.header.clone()),
        ..Default::default()
    }];
    for part in sheet.lines.chunks(2) {
        messages.push(api::UploadStatementRequest {
            lines: part.to_vec(),
            ..Default::default()
        });
    }
    if complete {
        messages.push(api::UploadStatementRequest {
            complete: true,
            ..Default::default()
        });
    }
    let stream = futures::stream::iter(messages);
    let answer = client(world.link()).upload_statement(stream).await?;
    Ok(answer.into_inner().statement.unwrap())
}

/// Uploads a statement and waits until its lines are matched.
async fn matched(world: &World, sheet: &Sheet) -> api::Statement {
    send(world, sheet, true).await.unwrap();
    eventually(|| async {
        let request = api::GetStatementRequest {
            statement_id: sheet.header.statement_id.clone(),
        };
        let answer = client(world.link()).get_statement(request).await.unwrap();
        let statement = answer.into_inner().statement.unwrap();
        (statement.state() == api::StatementState::Done).then_some(statement)
    })
    .await
}

async fn items(world: &World, state: State) -> Vec<api::ReconciliationItem> {
    let mut all = Vec::new();
    let mut request = api::ListReconciliationItemsRequest {
        page_size: 3,
        state: state.into(),
        ..Default::default()
    };
    loop {
        let page = client(world.link())
            .list_reconciliation_items(request.clone())
            .await
            .unwrap()
            .into_inner();
        all.extend(page.items);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

async fn resolve(
    world: &World,
    item: &api::ReconciliationItem,
    resolution: api::ReconciliationResolution,
) -> Result<api::ReconciliationItem, Status> {
    let request = api::ResolveReconciliationItemRequest {
        item_id: item.item_id.clone(),
        resolution: resolution.into(),
        reason: "looked into".to_owned(),
        ..Default::default()
    };
    let answer = client(world.link())
        .resolve_reconciliation_item(request)
        .await?;
    Ok(answer.into_inner().item.unwrap())
}

async fn approve(
    link: Link,
    item: &api::ReconciliationItem,
) -> Result<api::ReconciliationItem, Status> {
    let request = api::ApproveReconciliationItemRequest {
        item_id: item.item_id.clone(),
        ..Default::default()
    };
    let answer = client(link).approve_reconciliation_item(request).await?;
    Ok(answer.into_inner().item.unwrap())
}

/// Has an item posted by two people.
async fn posted(world: &World, item: &api::ReconciliationItem) -> api::ReconciliationItem {
    let post = api::ReconciliationResolution::Post;
    let proposed = resolve(world, item, post).await.unwrap();
    assert_eq!(proposed.state(), State::Proposed);
    approve(world.link_of("second"), item).await.unwrap()
}

/// A batch to these addresses, of 10.00 and one more for each further payee; what became of each
/// instruction.
async fn paid(world: &World, request: &str, addresses: &[&str]) -> Vec<api::InstructionStatus> {
    let first = request.bytes().map(usize::from).sum::<usize>() * 1_000;
    let payees: Vec<(usize, &str)> = (first..).zip(addresses.iter().copied()).collect();
    world.register(request, &payees).await;
    let batch = world.create_batch(request).await;
    let rows = payees
        .iter()
        .enumerate()
        .map(|(n, (payee, _))| instruction(*payee, *payee, &format!("{}.00", 10 + n)))
        .collect();
    let batch = world.upload(&batch.batch_id, rows).await.unwrap();
    world.approve(&batch).await.unwrap();
    eventually(|| async {
        let batch = world.batch(&batch.batch_id).await;
        let waits = batch.update_time.is_some() && !open(world, &batch).await;
        waits.then_some(())
    })
    .await;
    let request = api::ListInstructionsRequest {
        batch_id: batch.batch_id.clone(),
        page_size: 10_000,
        ..Default::default()
    };
    let listed = world.batches().list_instructions(request).await.unwrap();
    listed.into_inner().instructions
}

/// Whether something of a batch has no outcome, not even an unknown one.
async fn open(world: &World, batch: &api::Batch) -> bool {
    let report = world.report(&batch.batch_id).await;
    report.open.unwrap().item_count > 0
}

fn minor(status: &api::InstructionStatus) -> i64 {
    status.amount.as_ref().unwrap().amount_minor
}

fn kinds(items: &[api::ReconciliationItem]) -> BTreeMap<i32, usize> {
    let mut kinds = BTreeMap::new();
    for item in items {
        *kinds.entry(item.kind).or_default() += 1;
    }
    kinds
}

both_engines! {
    async fn a_statement_meets_what_was_paid(database: TestDatabase) {
        let world = world(database).await;
        world.programme(FUNDS, false).await;
        let p = paid(&world, "REQUEST00001", &["11", "12", "13", "14", "15"]).await;
        let id = |n: usize| p[n].end_to_end_id.as_str();
        let sheet = Sheet::new("DAY1", SystemClock.now())
            .debit(id(0), minor(&p[0]))
            .debit(id(1), minor(&p[1]) + 5)
            .debit(id(3), minor(&p[3]))
            .debit(id(3), minor(&p[3]))
            .credit(id(3), minor(&p[3]))
            .debit(id(4), minor(&p[4]))
            .debit("NOT OURS", 77);
        let done = matched(&world, &sheet).await;
        assert_eq!((done.matched_count, done.item_count), (3, 5));
        assert_eq!(done.paid_out.unwrap().item_count, 6);
        assert_eq!(done.paid_in.unwrap().amount_minor, minor(&p[3]));
        let open = items(&world, State::Open).await;
        let of = |kind: Kind, ordinal: Option<i64>| {
            let mut fits = open.iter().filter(|item| {
                let linked = (!item.batch_id.is_empty()).then_some(item.ordinal);
                item.kind() == kind && linked == ordinal
            });
            let item = fits.next().unwrap_or_else(|| panic!("{kind:?} {ordinal:?} in {open:?}"));
            assert!(fits.next().is_none(), "{kind:?}");
            (item.expected_minor, item.found_minor)
        };
        assert_eq!(of(Kind::Differing, Some(1)), (minor(&p[1]), minor(&p[1]) + 5));
        assert_eq!(of(Kind::Missing, Some(2)), (minor(&p[2]), 0));
        assert_eq!(of(Kind::Unexpected, Some(3)), (0, minor(&p[3])));
        assert_eq!(of(Kind::Returned, Some(3)), (0, minor(&p[3])));
        assert_eq!(of(Kind::Unexpected, None), (0, 77));
        // The same statement again is the one that is there; another one of its name is not.
        assert_eq!(send(&world, &sheet, true).await.unwrap().matched_count, 3);
        assert_eq!(items(&world, State::Open).await.len(), 5);
        let other = Sheet::new("DAY1", SystemClock.now()).debit(id(0), 1);
        assert_eq!(refusal(send(&world, &other, true).await).0, Code::AlreadyExists);
        // What was missing comes with the next statement.
        let second = Sheet::new("DAY2", SystemClock.now()).debit(id(2), minor(&p[2]));
        let done = matched(&world, &second).await;
        assert_eq!((done.matched_count, done.item_count), (1, 0));
        let later = items(&world, State::MatchedLater).await;
        assert_eq!(kinds(&later), [(Kind::Missing as i32, 1)].into());
        for item in items(&world, State::Open).await {
            let item = posted(&world, &item).await;
            assert_eq!(item.state(), State::Resolved);
            assert!(!item.transfer_id.is_empty());
        }
        let net = sheet.net() + second.net();
        assert_eq!(world.balance("settlement:USD").await, net);
        world.assert_balanced().await;
    }

    async fn nobody_posts_alone(database: TestDatabase) {
        let world = world(database).await;
        world.programme(FUNDS, false).await;
        let p = paid(&world, "REQUEST00001", &["11", "12"]).await;
        let sheet = Sheet::new("DAY1", SystemClock.now())
            .credit(&p[0].end_to_end_id, minor(&p[0]))
            .debit(&p[0].end_to_end_id, minor(&p[0]));
        matched(&world, &sheet).await;
        let open = items(&world, State::Open).await;
        assert_eq!(
            kinds(&open),
            [(Kind::Missing as i32, 1), (Kind::Returned as i32, 1)].into()
        );
        let treasury = world.balance("funding:treasury").await;
        let returned = open.iter().find(|item| item.kind() == Kind::Returned).unwrap();
        let missing = open.iter().find(|item| item.kind() == Kind::Missing).unwrap();
        let (post, accept) =
            (api::ReconciliationResolution::Post, api::ReconciliationResolution::Accept);
        let early = approve(world.link_of("second"), returned).await;
        assert_eq!(refusal(early), (Code::FailedPrecondition, "ITEM_STATE".to_owned()));
        resolve(&world, returned, post).await.unwrap();
        let alone = approve(world.link(), returned).await;
        assert_eq!(refusal(alone), (Code::PermissionDenied, "APPROVER_IS_MAKER".to_owned()));
        assert_eq!(world.balance("funding:treasury").await, treasury);
        // Declined, it is open again and can be proposed anew.
        let decline = api::DeclineReconciliationItemRequest {
            item_id: returned.item_id.clone(),
            reason: "not yet".to_owned(),
            ..Default::default()
        };
        let declined = client(world.link_of("second"))
            .decline_reconciliation_item(decline)
            .await
            .unwrap();
        assert_eq!(declined.into_inner().item.unwrap().state(), State::Open);
        let done = posted(&world, returned).await;
        assert_eq!((done.checker.as_str(), done.state()), ("second", State::Resolved));
        // The money is back where it came from, once.
        let again = approve(world.link_of("third"), returned).await;
        assert_eq!(refusal(again), (Code::FailedPrecondition, "ITEM_STATE".to_owned()));
        assert_eq!(world.balance("funding:treasury").await, treasury + minor(&p[0]));
        // Accepting moves nothing; what comes afterwards is one too many.
        let accepted = resolve(&world, missing, accept).await.unwrap();
        assert_eq!((accepted.state(), accepted.transfer_id.as_str()), (State::Resolved, ""));
        assert_eq!(world.balance("funding:treasury").await, treasury + minor(&p[0]));
        let late = Sheet::new("DAY2", SystemClock.now())
            .debit(&p[1].end_to_end_id, minor(&p[1]));
        let done = matched(&world, &late).await;
        assert_eq!((done.matched_count, done.item_count), (0, 1));
        assert_eq!(items(&world, State::Open).await[0].kind(), Kind::Unexpected);
        world.assert_balanced().await;
    }

    async fn nothing_is_posted_while_an_outcome_is_open(database: TestDatabase) {
        let world = world_with(database, None, |config| config.rail.unknown_queries = 1_000_000)
            .await;
        world.programme(FUNDS, false).await;
        // Rejected, and unknown for as long as anybody asks.
        let p = paid(&world, "REQUEST00001", &["110000", "112222"]).await;
        let sheet = Sheet::new("DAY1", SystemClock.now())
            .debit(&p[0].end_to_end_id, minor(&p[0]))
            .debit(&p[1].end_to_end_id, minor(&p[1]));
        let done = matched(&world, &sheet).await;
        assert_eq!((done.matched_count, done.item_count), (0, 2));
        for item in items(&world, State::Open).await {
            assert_eq!(item.kind(), Kind::Unexpected);
            let proposed = resolve(&world, &item, api::ReconciliationResolution::Post).await;
            match item.ordinal {
                0 => assert_eq!(proposed.unwrap().state(), State::Proposed),
                _ => assert_eq!(
                    refusal(proposed),
                    (Code::FailedPrecondition, "OUTCOME_OPEN".to_owned())
                ),
            }
        }
    }

    async fn statements_are_whole_or_not_at_all(database: TestDatabase) {
        let world = world(database).await;
        let now = SystemClock.now();
        let sound = || Sheet::new("DAY1", now).debit("A", 1).debit("B", 2).debit("C", 3);
        let change = |change: fn(&mut Sheet)| {
            let mut sheet = sound();
            change(&mut sheet);
            sheet
        };
        for wrong in [
            change(|sheet| sheet.header.statement_id.clear()),
            change(|sheet| sheet.header.currency = "ZZZ".to_owned()),
            change(|sheet| sheet.header.to_time = None),
            change(|sheet| sheet.header.to_time = sheet.header.from_time),
            change(|sheet| sheet.lines[1].reference.clear()),
            change(|sheet| sheet.lines[1].reference = sheet.lines[0].reference.clone()),
            change(|sheet| sheet.lines[1].end_to_end_id = "x".repeat(37)),
            change(|sheet| sheet.lines[1].direction = 0),
            change(|sheet| sheet.lines[1].amount_minor = 0),
            change(|sheet| sheet.lines[1].book_time = None),
            change(|sheet| sheet.lines[1].book_time = sheet.header.to_time),
        ] {
            let refused = refusal(send(&world, &wrong, true).await);
            assert_eq!(refused.0, Code::InvalidArgument, "{:?}", wrong.lines);
        }
        // One that breaks off leaves nothing, and is sent again from its start.
        let torn = refusal(send(&world, &sound(), false).await);
        assert_eq!(torn.0, Code::InvalidArgument);
        let done = matched(&world, &sound()).await;
        assert_eq!(done.paid_out.unwrap(), api::Tally { item_count: 3, amount_minor: 6 });
        assert_eq!(done.item_count, 3);
        let unknown = api::GetStatementRequest { statement_id: "DAY9".to_owned() };
        let unknown = client(world.link()).get_statement(unknown).await;
        assert_eq!(refusal(unknown).0, Code::NotFound);
        let listed = client(world.link())
            .list_statements(api::ListStatementsRequest::default())
            .await
            .unwrap();
        assert_eq!(listed.into_inner().statements.len(), 1);
    }

    async fn items_grow_old(database: TestDatabase) {
        let clock = MockClock::new();
        let world = world_with(database, Some(clock.shared()), |_| {}).await;
        world.programme(FUNDS, false).await;
        let p = paid(&world, "REQUEST00001", &["11"]).await;
        matched(&world, &Sheet::new("DAY1", clock.now()).debit("NOT OURS", 77)).await;
        let ages = async || {
            let request = api::GetReconciliationAgeingRequest { currency: "USD".to_owned() };
            let answer = client(world.link()).get_reconciliation_ageing(request).await.unwrap();
            let mut found = Vec::new();
            for bucket in answer.into_inner().buckets {
                let tally = bucket.tally.unwrap();
                assert_eq!(tally.item_count, 1);
                found.push((bucket.kind, bucket.from_days, bucket.to_days, tally.amount_minor));
            }
            found
        };
        let (missing, unexpected) = (Kind::Missing as i32, Kind::Unexpected as i32);
        for (days, from, to) in [(0, 0, 1), (1, 0, 1), (3, 2, 7), (20, 8, 30), (60, 31, 90),
            (200, 91, 0)]
        {
            clock.set(MockClock::new().now().plus(HOUR * 24 * days));
            let expected =
                vec![(missing, from, to, minor(&p[0])), (unexpected, from, to, 77)];
            assert_eq!(ages().await, expected, "{days}");
        }
    }

    /// Whatever a bank writes: once each item is posted, settlement is what the statements show,
    /// and the ledger is balanced.
    async fn postings_make_the_ledger_agree(database: TestDatabase) {
        let world = world(database).await;
        world.programme(FUNDS, false).await;
        let mut dice = Dice(0x5eed);
        let mut net = 0;
        for round in 0..3 {
            let addresses: Vec<String> = (0..12)
                .map(|n| match dice.roll(5) {
                    0 => format!("1{n}0000"),
                    _ => format!("1{n}"),
                })
                .collect();
            let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
            let p = paid(&world, &format!("REQUEST0000{round}"), &addresses).await;
            let mut sheet = Sheet::new(&format!("DAY{round}"), SystemClock.now());
            for status in &p {
                let (id, amount) = (status.end_to_end_id.as_str(), minor(status));
                sheet = match dice.roll(8) {
                    0 => sheet,
                    1 => sheet.debit(id, amount + 1),
                    2 => sheet.debit(id, amount - 1),
                    3 => sheet.debit(id, amount).debit(id, amount),
                    4 => sheet.credit(id, amount).debit(id, amount),
                    5 => sheet.debit(id, amount).debit(&format!("FOREIGN{amount}"), 5),
                    _ => sheet.debit(id, amount),
                };
            }
            matched(&world, &sheet).await;
            net += sheet.net();
            for item in items(&world, State::Open).await {
                posted(&world, &item).await;
            }
            assert_eq!(world.balance("settlement:USD").await, net, "round {round}");
            world.assert_balanced().await;
        }
    }
}

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}
