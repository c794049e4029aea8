//! Whose token may speak for whom: on every path that names a partner, another's is refused.

use publica_proto::journal::v1::Entry;

use super::v3::Receiver;
use super::*;

const COMMON: [(&str, &str); 2] = [
    ("x-correlationid", "5f0e7c1a-8f4e-4a9c-9a43-0d6c1f7a1b2c"),
    ("platform-tenantid", "default"),
];
/// A client of a partner that is never the one concerned.
const STRANGER: &str = "gas-1";

/// A call that one token may make.
struct Spoken {
    /// The only client that may.
    by: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

fn spoken(by: &'static str, method: &'static str, path: &str, body: Value) -> Spoken {
    let headers = COMMON.map(|(name, value)| (name, value.to_owned()));
    Spoken {
        by,
        method,
        path: path.to_owned(),
        headers: headers.to_vec(),
        body,
    }
}

impl Spoken {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Partners of every kind, each with a client of its own.
struct Town {
    suite: Suite,
    partner: Receiver,
}

impl Town {
    async fn build(db: TestDatabase) -> Self {
        let suite = filled(db).await;
        let partner = Receiver::start(0).await;
        let url = &partner.url;
        let biller = |prefix: &str, client: &str| {
            json!({"prefix": prefix, "name": "Works", "url": url, "source_id": SOURCE,
                "clients": [client]})
        };
        let named = |client: &str| json!({"clients": [client]});
        for (path, body) in [
            ("/v1/billers/WATER", biller("WAT", "water-1")),
            ("/v1/billers/GASCO", biller("GAS", STRANGER)),
            (
                "/v1/payer-institutions/BANK",
                json!({"name": "Bank", "url": url, "clients": ["bank-1"]}),
            ),
            (
                "/v1/programmes/CASH/payer-bank",
                json!({"url": url, "payer_identifier": "TREASURY", "clients": ["treasury-1"]}),
            ),
            ("/v1/blocks/SOURCEBLOCK1/clients", named("source-1")),
            ("/v1/blocks/BB/clients", named("bb-1")),
        ] {
            let put = suite.call("PUT", path, &body.to_string()).await;
            assert_eq!(put.status, 200, "{path} {}", put.body);
        }
        Self { suite, partner }
    }

    async fn say(&self, by: &str, call: &Spoken) -> Answer {
        let headers: Vec<(&str, &str)> = call
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let body = match call.body.is_null() {
            true => String::new(),
            false => call.body.to_string(),
        };
        self.suite
            .call_as(by, call.method, &call.path, &headers, &body)
            .await
    }

    /// Everybody but the one who may is refused; then that one is not.
    async fn only_its_own(&self, calls: &[Spoken]) {
        for call in calls {
            let name = format!("{} {} by {}", call.method, call.path, call.by);
            for other in [STRANGER, "nobody-in-particular"] {
                let refused = self.say(other, call).await;
                assert_eq!(refused.status, 403, "{other}: {name} {}", refused.body);
            }
            let taken = self.say(call.by, call).await;
            assert!(taken.status < 300, "{name} {} {}", taken.status, taken.body);
        }
    }
}

/// Refusals on record, by kind of partner and its name, once there are so many.
async fn refusals(suite: &Suite, count: usize) -> Vec<(String, String)> {
    let refused = entries(suite, "payments.partner.refused", count).await;
    let named = |entry: Entry| {
        let body: Value = serde_json::from_slice(&entry.body.unwrap()).unwrap();
        (body["kind"].as_str().unwrap().to_owned(), entry.subject_id)
    };
    refused.into_iter().map(named).collect()
}

/// What a source block says.
fn source_calls(url: &str) -> Vec<Spoken> {
    let by = "source-1";
    let instructions = payment("REQUEST00003", "BATCH0000001");
    let mapped = |request: &str| {
        json!({"RequestID": request, "Beneficiaries": [
            {"payeeIdentity": "P1", "FinancialAddress": "1234567"}]})
    };
    let change = json!({"requestID": "REQ2", "sourceBBID": SOURCE,
        "beneficiaries": [{"payeeIdentity": "P1", "financialAddress": "7654321"}]});
    let third = |method, path: &str, body| {
        spoken(by, method, path, body)
            .header("x-callback-url", url)
            .header("x-registering-institution-id", SOURCE)
    };
    let transaction = json!([{"requestId": "T1", "paymentMode": "gsma", "amount": 5,
        "currency": "USD", "descriptionText": "",
        "creditParty": [{"key": "payeeIdentity", "value": "P1"}],
        "debitParty": [{"key": "accountNumber", "value": "treasury"}]}]);
    let registered = registration("REQUEST00001", &[(PAYEE, "1234567")]);
    let changed = registration("REQUEST00002", &[(PAYEE, "7654321")]);
    let poll = json!({"RequestID": "REQUEST00003", "Source_BatchID": "BATCH0000001"});
    let announced = json!({"source_id": SOURCE, "source_request": "NATIVE",
        "source_batch": "BATCH0000002"});
    let payee = json!({"source_id": SOURCE, "functional_id": "P1"});
    let mapper = "/identityAccountMapper/beneficiary";
    vec![
        spoken(by, "POST", "/register-beneficiary", registered),
        spoken(by, "POST", "/update-beneficiary-details", changed),
        spoken(by, "POST", "/prepayment-validation", instructions.clone()),
        spoken(by, "POST", "/prepayment-validation-response", poll),
        spoken(by, "POST", "/bulk-payment", instructions),
        third("POST", mapper, mapped("REQ1")),
        third("PUT", mapper, change),
        third(
            "GET",
            "/beneficiary/?payeeIdentity=P1&requestId=R1",
            Value::Null,
        ),
        third(
            "PUT",
            "/beneficiary",
            json!({"requestId": "R2", "payeePartyIds": ["P1"]}),
        ),
        third("POST", "/batchtransactions", transaction),
        spoken(by, "POST", "/v1/batches", announced),
        spoken(by, "POST", "/v1/beneficiaries/read", payee),
    ]
}

/// What a calling block says about vouchers.
fn voucher_calls(url: &str) -> Vec<Spoken> {
    let by = "bb-1";
    let third = |method, path: &str, body| {
        spoken(by, method, path, body)
            .header("x-callback-url", url)
            .header("x-program-id", "BB")
    };
    let issue = json!({"voucher_amount": "10.50", "voucher_currency": "USD",
        "voucher_group": "FOOD", "Gov_Stack_BB": "BB"});
    let redeem = json!({"voucher_number": "9103", "Gov_Stack_BB": "BB",
        "merchant_name": "Shop", "merchant_bank_details": "bank",
        "merchant_voucher_group": "FOOD", "override": false});
    let cancel = json!({"voucherserialnumber": "105", "Gov_Stack_BB": "BB"});
    let listed = json!({"requestID": "V1", "batchID": "B1", "voucherInstructions": [
        {"instructionID": "I1", "groupCode": "FOOD", "currency": "USD", "amount": 5,
            "payeeFunctionalID": "P1", "narration": ""}]});
    let changed = json!({"RequestID": "A1", "BatchID": "B1",
        "VoucherInstructions": [{"serialNumber": "102"}]});
    let activate = json!({"voucher_serial_number": 102, "Gov_Stack_BB": "BB"});
    vec![
        spoken(by, "POST", "/vouchers/voucher_preactivation", issue),
        spoken(by, "PATCH", "/vouchers/voucher_activation", activate),
        spoken(by, "POST", "/vouchers/voucher_redemption", redeem),
        spoken(by, "PATCH", "/vouchers/voucherstatuscheck/105", cancel),
        third("POST", "/vouchers", listed),
        third("PUT", "/vouchers?command=suspend", changed),
    ]
}

both_engines! {
    async fn blocks_speak_by_their_own_tokens(db: TestDatabase) {
        let town = Town::build(db).await;
        let url = town.partner.url.clone();
        town.only_its_own(&source_calls(&url)).await;
        town.only_its_own(&voucher_calls(&url)).await;
        // Whoever speaks for nobody may erase too: that is an officer's scope of its own.
        let erased = json!({"source_id": SOURCE, "functional_id": "P1", "reason": "asked for"});
        let erase = spoken("officer", "POST", "/v1/beneficiaries/erase", erased);
        assert_eq!(town.say(STRANGER, &erase).await.status, 403);
        assert_eq!(town.say("officer", &erase).await.status, 200);
        let expected = 2 * (source_calls(&url).len() + voucher_calls(&url).len()) + 1;
        let refused = refusals(&town.suite, expected).await;
        assert_eq!(refused.len(), expected, "{refused:?}");
        assert!(refused.contains(&("block".to_owned(), SOURCE.to_owned())));
        assert!(refused.contains(&("block".to_owned(), "BB".to_owned())));
    }

    async fn billers_and_institutions_speak_by_their_own_tokens(db: TestDatabase) {
        let town = Town::build(db).await;
        let as_bank = |method, path: &str, body| {
            spoken("bank-1", method, path, body).header("payerfi-id", "BANK")
        };
        let as_biller = |method, path: &str, body| {
            spoken("water-1", method, path, body).header("x-billerid", "WATER")
        };
        let asking = as_bank("GET", "/bills/WAT1?requestId=Q1", Value::Null);
        town.only_its_own(&[asking]).await;
        let asked = town.partner.hears_at("/told/bills/WAT1").await;
        let correlation = asked.headers["x-correlationid"].to_str().unwrap();
        let shown = json!({"code": "00", "reason": "", "requestID": correlation,
            "billId": "WAT1", "billDetails": {"billStatus": "unpaid", "amountonDueDate": 25,
                "currency": "USD"}});
        // A biller cannot answer for another under its own name either.
        let own_name = spoken(STRANGER, "POST", "/bills/WAT1", shown.clone())
            .header("x-billerid", "GASCO");
        assert_eq!(town.say(STRANGER, &own_name).await.status, 404);
        let by_voucher = json!({"requestId": "V1", "billInquiryRequestId": "Q1",
            "billId": "WAT1", "VoucherSecretHash": "9103"});
        town.only_its_own(&[
            as_biller("POST", "/bills/WAT1", shown),
            as_bank("POST", "/voucherRedemption", by_voucher),
        ])
        .await;
        let word = json!({"requestId": "M1", "billId": "WAT1", "status": "ACK"});
        let own_name = spoken(STRANGER, "POST", "/billTransferRequests", word.clone())
            .header("x-billerid", "GASCO");
        assert_eq!(town.say(STRANGER, &own_name).await.status, 404);
        let asks = json!({"requestId": "R1", "rtpId": 7, "billID": "WAT2", "requestType": "00",
            "payerFiDetails": {"payerFIBIC": "BANK", "financialAddress": "1234567"},
            "billDetails": {"billerName": "Water", "amount": 25}});
        town.only_its_own(&[
            as_biller("POST", "/billTransferRequests", word),
            as_biller("POST", "/rtpRequest", asks),
            as_biller("GET", "/transferRequests/7", Value::Null),
        ])
        .await;
        let asked = town.partner.hears(|body| body["rTPID"] == 7).await.body;
        let txn = asked["TxnID"].clone();
        let yes = json!({"RequestId": "A1", "txnId": txn, "rtpId": 7, "billId": "WAT2",
            "rtpStatus": "00", "rejectReason": null});
        let paid = json!({"requestId": "N1", "billInquiryRequestId": txn, "billId": "WAT2",
            "paymentReferenceID": "PAY1"});
        town.only_its_own(&[
            as_bank("POST", "/rtpResponse", yes),
            as_bank("POST", "/billTransferRequests", paid),
        ])
        .await;
        let refused = refusals(&town.suite, 16).await;
        for kind in [("biller", "WATER"), ("payer_institution", "BANK")] {
            let of = (kind.0.to_owned(), kind.1.to_owned());
            assert_eq!(refused.iter().filter(|one| **one == of).count(), 8, "{refused:?}");
        }
    }

    async fn banks_speak_by_their_own_tokens(db: TestDatabase) {
        let town = Town::build(db).await;
        let suite = &town.suite;
        let registered = registration("REQUEST00001", &[(PAYEE, "1234567")]);
        let registered = spoken("source-1", "POST", "/register-beneficiary", registered);
        assert_eq!(town.say("source-1", &registered).await.status, 200);
        let checked = payment("REQUEST00002", "BATCH0000001");
        let checked = spoken("source-1", "POST", "/prepayment-validation", checked);
        assert_eq!(town.say("source-1", &checked).await.status, 200);
        let asked = town.partner.hears(|body| body["batchId"] == "BATCH0000001").await;
        let correlation = asked.headers["x-client-correlation-id"].to_str().unwrap();
        let said = json!({"clientCorrelationId": correlation, "batchId": "BATCH0000001",
            "numberOfFailedCases": 0, "failedAccountLookups": []});
        let path = "/beneficiaries/validation";
        let misnamed = spoken("treasury-1", "POST", path, said.clone())
            .header("x-registering-institution-id", "OTHERPAYER");
        assert_eq!(town.say("treasury-1", &misnamed).await.status, 404);
        town.only_its_own(&[spoken("treasury-1", "POST", path, said)]).await;

        let body = payment("REQUEST00003", "BATCH0000002");
        let pay = spoken("source-1", "POST", "/bulk-payment", body);
        assert_eq!(town.say("source-1", &pay).await.status, 200);
        let list = suite.get("/v1/batches?state=pending_approval").await.body;
        let batch = list["batches"][0]["batch_id"].as_str().unwrap().to_owned();
        let approval = json!({"digest": list["batches"][0]["digest"]}).to_string();
        let approve = format!("/v1/batches/{batch}/approve");
        let approved = suite.call_as("checker", "POST", &approve, &[], &approval).await;
        assert_eq!(approved.status, 200, "{}", approved.body);
        let asked = town.partner.hears(|body| body["batchID"] == json!(batch)).await;
        let correlation = asked.headers["x-client-correlation-id"].to_str().unwrap();
        let yes = json!({"clientCorrelationId": correlation, "status": "Y", "reason": ""});
        let status = json!({"requestId": "R1", "batchId": batch, "TotalTransactions": 1,
            "ongoing": 0, "failed": 0, "completed": 1, "totalAmount": 100.25,
            "completed_amount": 100.25, "ongoing_amount": 0, "failed_amount": 0,
            "currency": "USD", "result_file": null,
            "resultGeneratedAt": "2026-01-01T00:00:00Z", "note": ""});
        let path = format!("/api/v1/batch?batchId={batch}&X-CorrelationID=R1");
        town.only_its_own(&[
            spoken("treasury-1", "POST", &path, status),
            spoken("treasury-1", "POST", "/batches/authorization", yes),
        ])
        .await;
        let refused = refusals(&town.suite, 6).await;
        assert_eq!(refused.iter().filter(|(kind, _)| kind == "payer_bank").count(), 6);
    }

    async fn a_partner_sees_its_own_batches_and_secrets_alone(db: TestDatabase) {
        let town = Town::build(db).await;
        let suite = &town.suite;
        let announced = json!({"source_id": SOURCE, "source_request": "NATIVE",
            "source_batch": "BATCH0000002"});
        let announced = spoken("source-1", "POST", "/v1/batches", announced);
        let batch = town.say("source-1", &announced).await.body;
        let batch = batch["batch_id"].as_str().unwrap();
        let rows = json!([{"instruction_id": "JSNROW0000000001", "functional_id": PAYEE,
            "amount": 2.5, "currency": "USD"}]);
        let upload = format!("/v1/batches/{batch}/instructions");
        town.only_its_own(&[spoken("source-1", "POST", &upload, rows)]).await;
        let poll = format!("/api/v1/batch?batchId={batch}&X-CorrelationID=R1");
        let detail = format!("/api/v1/batch/detail?batchId={batch}");
        let below = |what: &str| format!("/v1/batches/{batch}{what}");
        for path in [
            poll, detail, below(""), below("/report"), below("/instructions"),
            below("/refusals"), below("/vouchers"),
        ] {
            for (by, status) in
                [(STRANGER, 403), ("source-1", 200), ("treasury-1", 200), ("an operator", 200)]
            {
                let read = suite.call_as(by, "GET", &path, &COMMON, "").await;
                assert_eq!(read.status, status, "{by} {path} {}", read.body);
            }
        }
        // What is held against statements is about everybody's payments.
        for (by, status) in [(STRANGER, 403), ("source-1", 403), ("an operator", 200)] {
            for path in ["/v1/reconciliation/items", "/v1/statements"] {
                let read = suite.call_as(by, "GET", path, &COMMON, "").await;
                assert_eq!(read.status, status, "{by} {path} {}", read.body);
            }
        }
        for (by, count) in [(STRANGER, 0), ("source-1", 1), ("treasury-1", 1), ("an operator", 1)] {
            let list = suite.call_as(by, "GET", "/v1/batches", &[], "").await.body;
            assert_eq!(list["batches"].as_array().unwrap().len(), count, "{by}");
        }
        for (party, kind, own) in [
            ("BB", "block", "bb-1"), ("WATER", "biller", "water-1"),
            ("BANK", "payer_institution", "bank-1"), ("TREASURY", "payer_bank", "treasury-1"),
        ] {
            let path = format!("/v1/partners/{party}/keys?kind={kind}");
            for (by, status) in [(STRANGER, 403), (own, 200), ("an operator", 200)] {
                let read = suite.call_as(by, "GET", &path, &[], "").await;
                assert_eq!(read.status, status, "{by} {path}");
                let has_key = read.body["voucher_key"].is_string();
                assert_eq!(has_key, status == 200 && kind == "block", "{by} {path}");
            }
        }
    }

    async fn each_kind_of_partner_has_secrets_of_its_own(db: TestDatabase) {
        let town = Town::build(db).await;
        let suite = &town.suite;
        let same = json!({"name": "Same name", "url": town.partner.url});
        suite.call("PUT", "/v1/payer-institutions/WATER", &same.to_string()).await;
        let path = "/v1/partners/WATER/keys";
        let doubtful = suite.get(path).await;
        assert_eq!(doubtful.status, 400, "{}", doubtful.body);
        let secret = async |kind: &str| {
            let keys = suite.get(&format!("{path}?kind={kind}")).await;
            assert_eq!(keys.status, 200, "{}", keys.body);
            keys.body["callback_secret"].as_str().unwrap().to_owned()
        };
        assert_ne!(secret("biller").await, secret("payer_institution").await);
        assert_eq!(suite.get(&format!("{path}?kind=block")).await.status, 404);
        assert_eq!(suite.get(&format!("{path}?kind=odd")).await.status, 400);
        // The callers of a partner can be read, and are sound.
        let billers = suite.get("/v1/billers").await.body;
        assert_eq!(billers["billers"][1]["clients"], json!(["water-1"]));
        let source = suite.get(&format!("/v1/source-blocks/{SOURCE}")).await.body;
        assert_eq!(source["clients"], json!(["source-1"]));
        let many: Vec<String> = (0..17).map(|n| format!("c{n}")).collect();
        for wrong in [json!(many), json!([""]), json!(["x".repeat(256)]), json!(["a\nb"])] {
            let body = json!({"clients": wrong}).to_string();
            let put = suite.call("PUT", "/v1/blocks/BB/clients", &body).await;
            assert_eq!(put.status, 400, "{body}");
        }
        let unheard = json!({"clients": ["a"]}).to_string();
        assert_eq!(suite.call("PUT", "/v1/blocks/UNHEARD/clients", &unheard).await.status, 404);
        // Registering a calling block again does not change who speaks for it.
        for (clients, status) in [(json!([]), 201), (json!(["bb-1"]), 201), (json!(["x"]), 409)] {
            let block = json!({"name": "BB", "clients": clients});
            assert_eq!(suite.post("/v1/calling-blocks", &block).await.status, status);
        }
    }

    async fn in_production_nobody_speaks_for_whom_no_caller_is_named(db: TestDatabase) {
        let suite = suite(db, Profile::Production).await;
        suite.fill().await;
        let named = json!({"clients": ["source-1"]}).to_string();
        let path = "/register-beneficiary";
        let body = registration("REQUEST00001", &[(PAYEE, "1234567")]).to_string();
        let register = async |by: &str| suite.call_as(by, "POST", path, &[], &body).await.status;
        assert_eq!(register("source-1").await, 403);
        suite.call("PUT", "/v1/blocks/SOURCEBLOCK1/clients", &named).await;
        assert_eq!(register("source-1").await, 200);
        assert_eq!(register("another").await, 403);
        // What is taken back holds for the next call.
        let nobody = json!({"clients": []}).to_string();
        suite.call("PUT", "/v1/blocks/SOURCEBLOCK1/clients", &nobody).await;
        assert_eq!(register("source-1").await, 403);
        // Unknown and foreign look alike, and a name that nobody registered stays out of the
        // journal.
        let unheard = body.replace(SOURCE, "JOHN DOE1234");
        assert_eq!(suite.call_as("source-1", "POST", path, &[], &unheard).await.status, 403);
        let refused = refusals(&suite, 4).await;
        let named = ("block".to_owned(), SOURCE.to_owned());
        assert_eq!(refused[..3], [named.clone(), named.clone(), named]);
        assert_eq!(refused[3..], [("block".to_owned(), String::new())]);
    }
}
