//! Bringing in what an earlier system holds.

use publica_proto::imports::v1 as imports;
use publica_proto::imports::v1::import_service_client::ImportServiceClient;
use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::voucher_service_client::VoucherServiceClient;
use publica_testkit::{both_engines, schemas_hold};

use crate::support::{SOURCE, World, payee_id, refusal, world};

async fn import(world: &World, lines: &[(&str, &str)]) -> imports::ImportEntitiesResponse {
    let messages: Vec<imports::ImportEntitiesRequest> = (1..)
        .zip(lines)
        .map(|(line, (kind, json))| imports::ImportEntitiesRequest {
            kind: (*kind).to_owned(),
            json: json.as_bytes().to_vec().into(),
            line,
        })
        .collect();
    let mut client = ImportServiceClient::new(world.link());
    client
        .import_entities(futures::stream::iter(messages))
        .await
        .unwrap()
        .into_inner()
}

fn voucher(number: u32, status: &str) -> String {
    format!(
        r#"{{"voucher_number": "{}", "voucher_serial_number": {number}, "Gov_Stack_BB": "BB",
        "voucher_status": "{status}", "voucher_amount": "12.50", "currency": "USD",
        "voucher_group": "FOOD"}}"#,
        number + 1_000
    )
}

const GROUP: (&str, &str) = ("payments.voucher_group", r#"{"name": "FOOD"}"#);
const BLOCK: (&str, &str) = ("payments.calling_block", r#"{"name": "BB"}"#);

both_engines! {
    async fn master_data_comes_in_order_and_can_be_repeated(database: TestDatabase) {
        let world = world(database).await;
        let lines = [
            GROUP,
            BLOCK,
            ("payments.funding_account",
                r#"{"voucher_group": "FOOD", "currency": "USD", "balance": "100.00"}"#),
            ("payments.funding_account", r#"{"name": "main", "currency": "USD", "balance": 500}"#),
            ("payments.programme",
                r#"{"code": "CASH", "name": "Cash", "currency": "USD",
                "funding_account": "main"}"#),
            ("payments.source_block", r#"{"source_id": "SOURCEBLOCK1", "programme": "CASH"}"#),
            ("payments.merchant", r#"{"merchant_name": "Shop", "merchant_bank_details": "bank",
                "merchant_voucher_group": "FOOD"}"#),
            ("payments.beneficiary", r#"{"source_id": "SOURCEBLOCK1",
                "functional_id": "PAYEE000000000000000", "financial_address": "1234567"}"#),
        ];
        let first = import(&world, &lines).await;
        assert_eq!((first.accepted, first.repeated, first.problems), (8, 0, vec![]));
        let again = import(&world, &lines).await;
        assert_eq!((again.accepted, again.repeated, again.problems), (0, 8, vec![]));
        assert_eq!(world.balance("funding:FOOD USD").await, 10_000);
        assert_eq!(world.balance("funding:main").await, 50_000);
        let request = api::GetBeneficiaryRequest {
            source_id: SOURCE.to_owned(),
            functional_id: payee_id(0),
        };
        let read = world.beneficiaries().get_beneficiary(request).await.unwrap().into_inner();
        assert_eq!(read.beneficiary.unwrap().financial_address, "1234567");
        world.assert_balanced().await;
    }

    async fn blocks_bring_the_callers_that_speak_for_them(database: TestDatabase) {
        let world = world(database).await;
        let block = "payments.calling_block";
        let source = "payments.source_block";
        let lines = [
            (block, r#"{"name": "BB", "clients": ["bb-2", "bb-1"]}"#),
            (source, r#"{"source_id": "SOURCEBLOCK1", "clients": ["source-1"]}"#),
        ];
        let first = import(&world, &lines).await;
        assert_eq!((first.accepted, first.problems), (2, vec![]));
        let again = import(&world, &lines).await;
        assert_eq!((again.repeated, again.problems), (2, vec![]));
        // Who says nothing about callers changes none; who says otherwise is told.
        let silent = [(block, r#"{"name": "BB"}"#), (source, r#"{"source_id": "SOURCEBLOCK1"}"#)];
        let silent = import(&world, &silent).await;
        assert_eq!((silent.repeated, silent.problems), (2, vec![]));
        let other = [
            (block, r#"{"name": "BB", "clients": ["mallory"]}"#),
            (source, r#"{"source_id": "SOURCEBLOCK1", "clients": ["mallory"]}"#),
            (block, r#"{"name": "CC", "clients": [""]}"#),
        ];
        assert_eq!(import(&world, &other).await.problems.len(), 3);
        let request = api::GetSourceBlockRequest { source_id: SOURCE.to_owned() };
        let read = world.programmes().get_source_block(request).await.unwrap().into_inner();
        assert_eq!(read.source_block.unwrap().clients, ["source-1"]);
        // And they alone may speak.
        let cancel = api::CancelVoucherRequest {
            serial_number: "1".to_owned(),
            calling_block: "BB".to_owned(),
            ..Default::default()
        };
        let foreign = world.vouchers().cancel_voucher(cancel.clone()).await;
        assert_eq!(refusal(foreign).1, "PARTNER_FOREIGN");
        let mut own = VoucherServiceClient::new(world.link_of("bb-1"));
        assert_eq!(refusal(own.cancel_voucher(cancel).await).1, "VOUCHER_INVALID");
    }

    async fn vouchers_come_in_every_state(database: TestDatabase) {
        let world = world(database).await;
        use api::VoucherState as S;
        let states = [
            ("Not Pre-Activated", Ok(S::NotPreactivated)),
            ("Pre-Activated", Ok(S::Preactivated)),
            ("Activated", Ok(S::Activated)),
            ("Suspended", Ok(S::Suspended)),
            ("Blocked", Ok(S::Blocked)),
            ("Purged", Ok(S::Purged)),
            ("Not Existing", Ok(S::NotExisting)),
            ("Consumed", Err("VOUCHER_CONSUMED")),
            ("Expired", Err("VOUCHER_EXPIRED")),
            ("Cancelled", Ok(S::Cancelled)),
        ];
        let texts: Vec<String> =
            (1..).zip(states).map(|(number, (state, _))| voucher(number, state)).collect();
        let mut lines = vec![GROUP, BLOCK];
        lines.extend(texts.iter().map(|text| ("payments.voucher", text.as_str())));
        let answer = import(&world, &lines).await;
        // That one does not exist is no news.
        assert_eq!((answer.accepted, answer.repeated, answer.problems), (11, 1, vec![]));
        for (serial, (name, expected)) in (1..).zip(states) {
            let request = api::GetVoucherStatusRequest {
                serial_number: serial.to_string(),
                ..Default::default()
            };
            let shown = match world.vouchers().get_voucher_status(request).await {
                Ok(answer) => Ok(answer.into_inner().state()),
                refused => Err(refusal(refused).1),
            };
            assert_eq!(shown, expected.map_err(str::to_owned), "{name}");
        }
    }

    async fn problems_name_their_lines_and_spare_the_others(database: TestDatabase) {
        let world = world(database).await;
        let good = voucher(1, "Activated");
        let other = voucher(1, "Blocked");
        let lines = [
            GROUP,
            BLOCK,
            ("payments.voucher", good.as_str()),
            ("payments.voucher", other.as_str()),
            ("payments.voucher", r#"{"voucher_number": "secret-4711"}"#),
            ("payments.voucher", "not json"),
            ("payments.unheard_of", "{}"),
            ("payments.programme",
                r#"{"code": "X", "name": "X", "currency": "usd", "funding_account": "none"}"#),
            ("payments.beneficiary",
                r#"{"source_id": "NOBODY000001", "functional_id": "PAYEE000000000000000"}"#),
        ];
        let answer = import(&world, &lines).await;
        assert_eq!(answer.accepted, 3);
        let named: Vec<u64> = answer.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(named, [4, 5, 6, 7, 8, 9]);
        assert_eq!(answer.problems[4].field, "currency");
        let shown = format!("{:?}", answer.problems);
        assert!(!shown.contains("4711"), "a problem must not repeat a value: {shown}");
    }
}

both_engines! {
    async fn the_published_schemas_hold(database: TestDatabase) {
        let world = world(database).await;
        schemas_hold(&world.link(), "payments", |_, _| ()).await;
    }

    async fn vouchers_of_a_run_are_told_apart(database: TestDatabase) {
        let world = world(database).await;
        let good = voucher(1, "Activated");
        let other = voucher(1, "Blocked");
        let same_number = voucher(2, "Activated").replace("\"1002\"", "\"1001\"");
        let nowhere = voucher(3, "Activated").replace("FOOD", "FUEL").replace("\"BB\"", "\"CC\"");
        let last = voucher(4, "Purged");
        let expiry = r#""expiry": "2031-01-01T00:00:00Z", "currency""#;
        let dated = good.replace(r#""currency""#, expiry);
        let kind = "payments.voucher";
        let lines = [
            GROUP,
            BLOCK,
            (kind, good.as_str()),
            (kind, good.as_str()),
            (kind, other.as_str()),
            (kind, same_number.as_str()),
            (kind, nowhere.as_str()),
            (kind, last.as_str()),
            (kind, dated.as_str()),
        ];
        let answer = import(&world, &lines).await;
        assert_eq!((answer.accepted, answer.repeated), (4, 1), "{answer:?}");
        let found: Vec<_> = answer.problems.iter()
            .map(|problem| (problem.line, problem.field.as_str()))
            .collect();
        assert_eq!(found, [
            (5, "voucher_serial_number"), (6, "voucher_number"), (7, "Gov_Stack_BB"),
            (7, "voucher_group"), (9, "voucher_serial_number"),
        ]);
        let again = import(&world, &[(kind, good.as_str()), (kind, last.as_str())]).await;
        assert_eq!((again.repeated, again.problems), (2, vec![]));
        let missing = voucher(1, "Not Existing");
        let gone = import(&world, &[(kind, missing.as_str())]).await;
        assert_eq!(gone.problems[0].field, "voucher_status");
    }

    async fn every_problem_of_a_line_is_told(database: TestDatabase) {
        let world = world(database).await;
        let lines = [
            ("payments.merchant", r#"{"merchant_name": "", "merchant_bank_details": " ",
                "merchant_voucher_group": "X", "status": "odd"}"#),
            ("payments.voucher", r#"{"voucher_number": "x", "voucher_serial_number": "",
                "Gov_Stack_BB": "", "voucher_status": "Odd", "voucher_amount": "-1",
                "currency": "USD", "voucher_group": ""}"#),
            ("payments.beneficiary", r#"{"source_id": "", "functional_id": "",
                "modality": "09"}"#),
            ("payments.funding_account", r#"{"name": "a", "currency": "usd", "balance": "1"}"#),
            ("payments.voucher_group", r#"{"name": "", "stock": -1, "stok": 2}"#),
            ("payments.merchant", r#"{"merchant_name": "a", "merchant_bank_details": "b",
                "merchant_voucher_group": "NONE"}"#),
            ("payments.source_block", r#"{"source_id": "S", "programme": "NONE"}"#),
        ];
        let answer = import(&world, &lines).await;
        assert_eq!(answer.accepted, 0);
        let found: Vec<_> = answer.problems.iter()
            .map(|problem| (problem.line, problem.field.as_str()))
            .collect();
        assert_eq!(found, [
            (1, "status"), (1, "merchant_name"), (1, "merchant_bank_details"),
            (2, "voucher_number"), (2, "voucher_serial_number"), (2, "voucher_status"),
            (2, "Gov_Stack_BB"), (2, "voucher_group"), (2, "voucher_amount"),
            (3, "source_id"), (3, "functional_id"), (3, "modality"),
            (4, "currency"), (5, "stok"), (6, "merchant_voucher_group"), (7, "programme"),
        ]);
    }

    async fn other_content_is_a_problem(database: TestDatabase) {
        let world = world(database).await;
        let lines = [
            GROUP,
            ("payments.funding_account", r#"{"name": "main", "currency": "USD"}"#),
            ("payments.funding_account", r#"{"name": "other", "currency": "USD"}"#),
            ("payments.programme", r#"{"code": "CASH", "name": "Cash", "currency": "USD",
                "funding_account": "main"}"#),
            ("payments.source_block", r#"{"source_id": "SOURCEBLOCK1", "programme": "CASH"}"#),
            ("payments.merchant", r#"{"merchant_name": "Shop", "merchant_bank_details": "bank",
                "merchant_voucher_group": "FOOD", "agent_id": "1"}"#),
            ("payments.beneficiary", r#"{"source_id": "SOURCEBLOCK1",
                "functional_id": "PAYEE000000000000000", "financial_address": "1234567",
                "institution": "BANK"}"#),
        ];
        assert_eq!(import(&world, &lines).await.accepted, 7);
        let others = [
            ("payments.voucher_group", r#"{"name": "FOOD", "programme": "CASH"}"#),
            ("payments.programme", r#"{"code": "CASH", "name": "Cash", "currency": "USD",
                "funding_account": "other"}"#),
            ("payments.merchant", r#"{"merchant_name": "Shop", "merchant_bank_details": "bank",
                "merchant_voucher_group": "FOOD", "agent_id": "2"}"#),
            ("payments.merchant", r#"{"merchant_name": "Stall", "merchant_bank_details": "bank",
                "merchant_voucher_group": "FOOD", "agent_id": "1"}"#),
            ("payments.beneficiary", r#"{"source_id": "SOURCEBLOCK1",
                "functional_id": "PAYEE000000000000000", "financial_address": "7654321",
                "institution": "BANK"}"#),
        ];
        let answer = import(&world, &others).await;
        assert_eq!((answer.accepted, answer.repeated), (0, 0), "{answer:?}");
        assert_eq!(answer.problems.len(), 5, "{answer:?}");
        assert_eq!(import(&world, &lines).await.repeated, 7);
    }

    async fn what_no_store_takes_is_refused_by_line_and_field(database: TestDatabase) {
        let world = world(database).await;
        let number = voucher(1, "Activated");
        let nul = |text: &str, from: &str| text.replacen(from, &format!("{from}\\u0000"), 1);
        let lines = [
            ("payments.voucher_group", r#"{"name": "FO\u0000D"}"#.to_owned()),
            ("payments.voucher_group", r#"{"name": "FOOD", "stock": -1}"#.to_owned()),
            ("payments.voucher_group", r#"{"name": "FOOD", "programme": "\u0000"}"#.to_owned()),
            ("payments.calling_block", r#"{"name": "B\u0000B"}"#.to_owned()),
            ("payments.source_block", r#"{"source_id": "S", "name": "\u0000"}"#.to_owned()),
            ("payments.voucher", nul(&number, "FOOD")),
            ("payments.voucher", nul(&number, "\"BB")),
            ("payments.beneficiary",
                r#"{"source_id": "S\u0000", "functional_id": "P"}"#.to_owned()),
            ("payments.beneficiary", r#"{"source_id": "S", "functional_id": "P",
                "modality": "02", "financial_address": "\u0000"}"#.to_owned()),
            ("payments.voucher_group",
                r#"{"name": ["anna, expected b at line 1"]}"#.to_owned()),
        ];
        let lines: Vec<_> = lines.iter().map(|(kind, json)| (*kind, json.as_str())).collect();
        let done = import(&world, &[&[GROUP, BLOCK][..], &lines].concat()).await;
        assert_eq!((done.accepted, done.repeated), (2, 0));
        let found: Vec<_> = done.problems.iter()
            .map(|problem| (problem.line, problem.field.as_str()))
            .collect();
        assert_eq!(found, [
            (3, "name"), (4, "stock"), (5, "programme"), (6, "name"), (7, "name"),
            (8, "voucher_group"), (9, "Gov_Stack_BB"), (10, "source_id"),
            (11, "financial_address"), (12, "name"),
        ]);
        assert_eq!(done.problems[9].description, "invalid type, expected a string");
        // A call is refused in the same words, before the block sees it.
        let request = api::CreateVoucherGroupRequest {
            name: "FOOD".to_owned(),
            programme: "\0".to_owned(),
            ..api::CreateVoucherGroupRequest::default()
        };
        let refused = VoucherServiceClient::new(world.link()).create_voucher_group(request).await;
        let said = refused.as_ref().map_err(|refused| refused.message().to_owned()).unwrap_err();
        assert_eq!(said, "programme must not contain NUL");
        assert_eq!(refusal(refused).1, "INVALID_FIELDS");
    }
}
