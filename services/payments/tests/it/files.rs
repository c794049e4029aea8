//! A rail by files of ISO 20022, with the bank behind it played by the test.

use std::path::{Path, PathBuf};

use publica_payments::{Config, FileRailConfig, RailSettings};
use publica_proto::journal::v1::ListEntriesRequest;
use publica_proto::journal::v1::journal_service_client::JournalServiceClient;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::reconciliation_service_client::ReconciliationServiceClient;
use publica_testkit::{both_engines, eventually};
use publica_types::{Clock as _, SystemClock};
use serde_json::Value;

use crate::resume::{Running, order, start_with};
use crate::support::{World, instruction, tally, world_with};

/// A bank's side of a rail's folder.
pub(crate) struct Bank {
    folder: tempfile::TempDir,
}

/// A payment as the bank reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    id: String,
    account: String,
    amount: String,
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(from)?;
    rest.split_once(to)
}

fn value(text: &str, tag: &str) -> String {
    let found = between(text, &format!("<{tag}>"), &format!("</{tag}>"));
    found
        .unwrap_or_else(|| panic!("{tag} in {text}"))
        .0
        .to_owned()
}

fn orders(text: &str) -> Vec<Order> {
    let mut orders = Vec::new();
    let mut rest = text;
    while let Some((order, after)) = between(rest, "<CdtTrfTxInf>", "</CdtTrfTxInf>") {
        let account = between(order, "<CdtrAcct><Id>", "</Id></CdtrAcct>")
            .unwrap()
            .0;
        orders.push(Order {
            id: value(order, "EndToEndId"),
            account: account
                .replace("<Othr><Id>", "")
                .replace("</Id></Othr>", ""),
            amount: between(order, "<InstdAmt Ccy=\"USD\">", "</InstdAmt>")
                .unwrap()
                .0
                .to_owned(),
        });
        rest = after;
    }
    orders.sort_by(|a, b| a.account.cmp(&b.account));
    orders
}

impl Bank {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A rail to this bank.
    fn rail(&self, institutions: &[&str]) -> RailSettings {
        RailSettings {
            institutions: institutions.iter().map(ToString::to_string).collect(),
            files: Some(FileRailConfig {
                folder: self.folder.path().to_owned(),
                poll_ms: 100,
                debtor_name: "Ministry of Welfare".to_owned(),
                debtor_account: "DE89370400440532013000".to_owned(),
                debtor_agent: "COBADEFFXXX".to_owned(),
                ..FileRailConfig::default()
            }),
            ..RailSettings::default()
        }
    }

    fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join("default").join(part)
    }

    fn names(&self, part: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(part)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(&self, part: &str, name: &str) -> String {
        std::fs::read_to_string(self.path(part).join(name)).unwrap()
    }

    /// The files that are to be done, once there are so many.
    async fn takes(&self, count: usize) -> Vec<String> {
        let names = eventually(|| async {
            let names = self.names("outgoing");
            (names.len() == count).then_some(names)
        })
        .await;
        names
            .iter()
            .map(|name| self.text("outgoing", name))
            .collect()
    }

    /// Puts a file down and waits until it is taken or refused.
    async fn puts(&self, name: &str, text: &str) {
        let aside = self.path("staging").join(name);
        std::fs::write(&aside, text).unwrap();
        let place = self.path("incoming").join(name);
        std::fs::rename(aside, &place).unwrap();
        eventually(|| async { (!Path::exists(&place)).then_some(()) }).await;
    }
}

fn status_report(id: &str, original: &str, inner: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.10\"><CstmrPmtStsRpt>\
         <GrpHdr><MsgId>{id}</MsgId><CreDtTm>2026-03-01T10:00:00Z</CreDtTm></GrpHdr>\
         <OrgnlGrpInfAndSts><OrgnlMsgId>{original}</OrgnlMsgId>\
         <OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId></OrgnlGrpInfAndSts>\
         <OrgnlPmtInfAndSts><OrgnlPmtInfId>{original}</OrgnlPmtInfId>{inner}\
         </OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"
    )
}

fn status(order: &Order, status: &str, reason: &str) -> String {
    let id = &order.id;
    let reason = match reason {
        "" => String::new(),
        code => format!("<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>"),
    };
    format!(
        "<TxInfAndSts><OrgnlEndToEndId>{id}</OrgnlEndToEndId><TxSts>{status}</TxSts>{reason}\
         </TxInfAndSts>"
    )
}

/// A day's bookings as a notification (`camt.054`) or a statement (`camt.053`).
fn account(message: &str, id: &str, entries: &str) -> String {
    let (root, part) = match message {
        "camt.053" => ("BkToCstmrStmt", "Stmt"),
        _ => ("BkToCstmrDbtCdtNtfctn", "Ntfctn"),
    };
    let now = SystemClock.now();
    format!(
        "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:{message}.001.08\"><{root}>\
         <GrpHdr><MsgId>{id}</MsgId><CreDtTm>{now}</CreDtTm></GrpHdr><{part}><Id>{id}</Id>\
         <CreDtTm>{now}</CreDtTm><Acct><Id><Othr><Id>1</Id></Othr></Id><Ccy>USD</Ccy></Acct>\
         {entries}</{part}></{root}></Document>"
    )
}

fn booking(amount: &str, direction: &str, details: &str) -> String {
    let now = SystemClock.now();
    format!(
        "<Ntry><Amt Ccy=\"USD\">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>\
         <Sts><Cd>BOOK</Cd></Sts><BookgDt><DtTm>{now}</DtTm></BookgDt>\
         <NtryDtls>{details}</NtryDtls></Ntry>"
    )
}

fn paid(order: &Order) -> String {
    let id = &order.id;
    let details = format!("<TxDtls><Refs><EndToEndId>{id}</EndToEndId></Refs></TxDtls>");
    booking(&order.amount, "DBIT", &details)
}

async fn world_of(
    database: publica_testkit::TestDatabase,
    rails: Vec<(&str, RailSettings)>,
    change: impl FnOnce(&mut Config),
) -> World {
    let world = world_with(database, None, |config| {
        let named = rails
            .into_iter()
            .map(|(name, rail)| (name.to_owned(), rail));
        config.rails = named.collect();
        change(config);
    });
    world.await
}

/// A batch of ten dollars for each of the first payees, on its way.
async fn pays(world: &World, payees: usize) -> String {
    let batch = world.create_batch("REQUEST00001").await;
    let rows = (0..payees).map(|n| instruction(n, n, "10.00")).collect();
    let batch = world.upload(&batch.batch_id, rows).await.unwrap();
    world.approve(&batch).await.unwrap();
    batch.batch_id
}

/// A batch of ten dollars for the first payee, approved by somebody else.
async fn sends(running: &Running, request: &str, instruction_no: usize) -> String {
    let batch = running.clients.create_batch(request).await;
    let rows = vec![instruction(instruction_no, 0, "10.00")];
    let batch = running.clients.upload(&batch.batch_id, rows).await.unwrap();
    running.approver.approve(&batch).await.unwrap();
    batch.batch_id
}

/// What the journal says of files that were taken or refused.
async fn taken(world: &World, action: &str) -> Vec<Value> {
    let mut journal = JournalServiceClient::new(world.link());
    let request = ListEntriesRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let entries = journal
        .list_entries(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    let of_action = entries.into_iter().filter(|entry| entry.action == action);
    let body = |bytes: Option<Vec<u8>>| serde_json::from_slice(&bytes.unwrap()).unwrap();
    of_action
        .map(|entry| body(entry.body.map(Into::into)))
        .collect()
}

both_engines! {
    async fn a_batch_is_paid_by_files(database: TestDatabase) {
        let bank = Bank::new();
        let world = world_of(database, vec![("bank", bank.rail(&["BANK"]))], |_| {}).await;
        world.programme(100_000, true).await;
        let payees = [(0, "1000001"), (1, "1000002"), (2, "1000003"), (3, "\u{3a9}17")];
        world.register("REQUEST00001", &payees).await;
        let batch = pays(&world, 4).await;
        let text = bank.takes(1).await.remove(0);
        let orders = orders(&text);
        // The fourth account cannot be written; it is rejected without being sent.
        assert_eq!(orders.len(), 3);
        assert!(orders.iter().all(|order| order.id.len() == 32 && order.amount == "10.00"));
        assert_eq!(orders[0].account, "1000001");
        let message = value(&text, "MsgId");
        assert_eq!(bank.names("outgoing"), [format!("pain.001-{message}.xml")]);
        assert_eq!([value(&text, "NbOfTxs"), value(&text, "CtrlSum")], ["3", "30.00"]);
        assert_eq!(value(&text, "PmtInfId"), message);

        let inner = [
            status(&orders[0], "ACSC", ""),
            status(&orders[1], "ACSP", ""),
            status(&orders[2], "RJCT", "AC04"),
        ];
        bank.puts("report.xml", &status_report("R1", &message, &inner.concat())).await;
        eventually(|| async {
            let report = world.report(&batch).await;
            let known = report.settled == tally(1, 1_000) && report.vouchers == tally(2, 2_000);
            (known && report.unknown == tally(1, 1_000)).then_some(())
        })
        .await;
        // Accepted is not paid; booked is.
        bank.puts("advice.xml", &account("camt.054", "N1", &paid(&orders[1]))).await;
        world.reaches(&batch, api::BatchState::PartiallyCompleted).await;
        let report = world.report(&batch).await;
        assert_eq!((report.settled, report.rejected), (tally(2, 2_000), tally(0, 0)));
        assert!(report.reconciled, "{:?}", report.differences);
        let mut reasons: Vec<String> = report.reasons.into_iter().map(|r| r.reason_code).collect();
        reasons.sort();
        assert_eq!(reasons, ["AC01", "AC04"]);
        assert_eq!(bank.names("done"), ["advice.xml", "report.xml"]);
        assert_eq!(bank.names("outgoing").len(), 1, "one file, once");
        assert!(bank.names("staging").is_empty() && bank.names("refused").is_empty());
        world.assert_balanced().await;
    }

    async fn a_file_is_taken_once(database: TestDatabase) {
        let bank = Bank::new();
        let world = world_of(database, vec![("bank", bank.rail(&["BANK"]))], |_| {}).await;
        world.programme(100_000, false).await;
        world.register("REQUEST00001", &[(0, "1000001"), (1, "1000002")]).await;
        let batch = pays(&world, 2).await;
        let text = bank.takes(1).await.remove(0);
        let (orders, message) = (orders(&text), value(&text, "MsgId"));
        let id = "0123456789abcdef0123456789abcdef".to_owned();
        let stranger = Order { id, ..orders[0].clone() };
        let other = Order { amount: "11.00".to_owned(), ..orders[1].clone() };
        let first = status(&orders[0], "ACSC", "") + &status(&stranger, "ACSC", "");
        let report = status_report("R1", &message, &first);
        bank.puts("a.xml", &report).await;
        bank.puts("b.xml", &report).await;
        let [first, second] = [0, 1].map(|n: usize| status(&orders[n], "RJCT", "AC04"));
        bank.puts("c.xml", &status_report("R1", &message, &second)).await;
        bank.puts("d.xml", &status_report("R2", &message, &first)).await;
        bank.puts("e.xml", &account("camt.054", "N1", &paid(&other))).await;
        bank.puts("f.xml", &report[..report.len() - 5]).await;
        bank.puts("g.xml", &report.replace("<Document", "<!DOCTYPE d><Document")).await;
        assert_eq!(bank.names("done"), ["a.xml", "b.xml", "d.xml", "e.xml"]);
        let refused = bank.names("refused");
        assert_eq!(refused.len(), 6, "{refused:?}");
        let reason = bank.text("refused", "c.xml.reason.txt");
        assert!(reason.contains("same message id"), "{reason}");
        let reason = bank.text("refused", "g.xml.reason.txt");
        assert!(reason.contains("document type"), "{reason}");
        let entries = eventually(|| async {
            let entries = taken(&world, "payments.rail.file_taken").await;
            (entries.len() == 3).then_some(entries)
        })
        .await;
        let count = |name: &str| entries.iter().map(|body| body[name].as_i64().unwrap()).sum();
        let counts: [i64; 4] = ["settled", "unknown", "contradicting", "differing"].map(count);
        assert_eq!(counts, [1, 1, 1, 1]);
        eventually(|| async {
            (taken(&world, "payments.rail.file_refused").await.len() == 3).then_some(())
        })
        .await;
        // All of the message: what is named stays, the rest follows.
        let all = format!(
            "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.12\"><CstmrPmtStsRpt>\
             <GrpHdr><MsgId>R3</MsgId></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>{message}\
             </OrgnlMsgId><GrpSts>ACSC</GrpSts></OrgnlGrpInfAndSts></CstmrPmtStsRpt></Document>"
        );
        bank.puts("h.xml", &all).await;
        world.reaches(&batch, api::BatchState::Completed).await;
        assert_eq!(world.balance("settlement:USD").await, 2_000);
        world.assert_balanced().await;
    }

    async fn statements_settle_and_are_reconciled(database: TestDatabase) {
        let bank = Bank::new();
        let world = world_of(database, vec![("bank", bank.rail(&["BANK"]))], |_| {}).await;
        world.programme(100_000, false).await;
        let payees = [(0, "1000001"), (1, "1000002"), (2, "1000003"), (3, "1000004")];
        world.register("REQUEST00001", &payees).await;
        let batch = pays(&world, 4).await;
        let text = bank.takes(1).await.remove(0);
        let (orders, message) = (orders(&text), value(&text, "MsgId"));
        let rejected = status(&orders[3], "RJCT", "AC04");
        bank.puts("report.xml", &status_report("R1", &message, &rejected)).await;
        // The rest was booked as one; the bank also took its charges.
        let whole = format!("<Btch><PmtInfId>{message}</PmtInfId><NbOfTxs>3</NbOfTxs></Btch>");
        let entries = booking("30.00", "DBIT", &whole) + &booking("1.50", "DBIT", "");
        let statement = account("camt.053", "DAY1", &entries);
        bank.puts("day1.xml", &statement).await;
        world.reaches(&batch, api::BatchState::PartiallyCompleted).await;
        assert_eq!(world.report(&batch).await.settled, tally(3, 3_000));
        let mut client = ReconciliationServiceClient::new(world.link());
        let request = api::GetStatementRequest { statement_id: "bank:DAY1".to_owned() };
        let found = client.get_statement(request.clone()).await.unwrap().into_inner();
        assert_eq!(found.statement.unwrap().paid_out, tally(4, 3_150));
        let done = eventually(|| async {
            let mut client = ReconciliationServiceClient::new(world.link());
            let found = client.get_statement(request.clone()).await.unwrap().into_inner();
            found.statement.filter(|found| found.state() == api::StatementState::Done)
        })
        .await;
        assert_eq!((done.matched_count, done.item_count), (3, 1), "the charges are an item");
        // Another statement under the same id is refused, and changes nothing.
        let other = account("camt.053", "DAY2", &entries).replace("<Id>DAY2</Id>", "<Id>DAY1</Id>");
        bank.puts("day2.xml", &other.replace("1.50", "2.50")).await;
        assert!(bank.text("refused", "day2.xml.reason.txt").contains("other content"));
        world.assert_balanced().await;
    }

    async fn rails_are_chosen_by_institution(database: TestDatabase) {
        let (bank, other) = (Bank::new(), Bank::new());
        let rails = vec![
            ("bank", bank.rail(&["BANK"])),
            ("other", other.rail(&["OTHERBANK", "DE3704"])),
        ];
        let world = world_of(database, rails, |_| {}).await;
        world.programme(100_000, true).await;
        let payees = [(0, "1000001"), (1, "DE89370400440532013000"), (2, "GB82WEST12345698765432")];
        world.register("REQUEST00001", &payees).await;
        let batch = pays(&world, 3).await;
        let mine = bank.takes(1).await.remove(0);
        let theirs = other.takes(1).await.remove(0);
        assert_eq!(orders(&mine).len(), 1);
        assert!(theirs.contains("<IBAN>DE89370400440532013000</IBAN></Id></CdtrAcct>"));
        // What is said of a payment by a bank that never had it changes nothing.
        let wrong = status(&orders(&mine)[0], "ACSC", "");
        other.puts("wrong.xml", &status_report("R1", &value(&mine, "MsgId"), &wrong)).await;
        assert_eq!(world.report(&batch).await.settled, tally(0, 0));
        for (bank, text) in [(&bank, &mine), (&other, &theirs)] {
            let all: String = orders(text).iter().map(|order| status(order, "ACSC", "")).collect();
            bank.puts("good.xml", &status_report("R2", &value(text, "MsgId"), &all)).await;
        }
        world.reaches(&batch, api::BatchState::PartiallyCompleted).await;
        let report = world.report(&batch).await;
        assert_eq!((report.settled, report.vouchers), (tally(2, 2_000), tally(1, 1_000)));
        assert_eq!(report.reasons[0].reason_code, "RC04", "no rail serves the third bank");
        world.assert_balanced().await;
    }

    async fn a_message_waits_for_its_folder(database: TestDatabase) {
        let bank = Bank::new();
        let blocked = bank.path("outgoing");
        std::fs::create_dir_all(blocked.parent().unwrap()).unwrap();
        std::fs::write(&blocked, "in the way").unwrap();
        let world = world_of(database, vec![("bank", bank.rail(&["BANK"]))], |_| {}).await;
        world.programme(100_000, false).await;
        world.register("REQUEST00001", &[(0, "1000001")]).await;
        let batch = pays(&world, 1).await;
        eventually(|| async { (bank.names("staging").len() == 1).then_some(()) }).await;
        std::fs::remove_file(&blocked).unwrap();
        std::fs::create_dir(&blocked).unwrap();
        let text = bank.takes(1).await.remove(0);
        eventually(|| async { bank.names("staging").is_empty().then_some(()) }).await;
        let all = status(&orders(&text)[0], "ACSC", "");
        bank.puts("good.xml", &status_report("R1", &value(&text, "MsgId"), &all)).await;
        world.reaches(&batch, api::BatchState::Completed).await;
        assert_eq!(bank.names("outgoing").len(), 1);
    }

    async fn what_is_out_stays_with_its_rail(database: TestDatabase) {
        let (bank, order) = (Bank::new(), order(&database));
        let with_bank = |config: &mut Config| {
            config.rails = [("bank".to_owned(), bank.rail(&["BANK"]))].into();
        };
        let running = start_with(&order, with_bank).await;
        running.clients.programme(100_000, false).await;
        running.clients.register("REQUEST00001", &[(0, "1000001")]).await;
        let out = sends(&running, "REQUEST00001", 0).await;
        let text = bank.takes(1).await.remove(0);
        running.clients.reaches(&out, api::BatchState::InProgress).await;
        running.stop().await;

        // No bank any more: what comes now is simulated, what is out is not.
        let running = start_with(&order, |_| {}).await;
        let other = sends(&running, "REQUEST00002", 1).await;
        running.clients.reaches(&other, api::BatchState::Completed).await;
        running.clients.reaches(&out, api::BatchState::InProgress).await;
        running.stop().await;

        let running = start_with(&order, with_bank).await;
        let all = status(&orders(&text)[0], "ACSC", "");
        bank.puts("good.xml", &status_report("R1", &value(&text, "MsgId"), &all)).await;
        running.clients.reaches(&out, api::BatchState::Completed).await;
        assert_eq!(bank.names("outgoing").len(), 1);
        running.clients.assert_balanced().await;
        running.stop().await;
    }
}
