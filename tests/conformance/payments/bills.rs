//! Bills and requests to pay of version 3, between a biller and a payer's institution that both
//! have an interface of their own.

use publica_testkit::MockClock;

use super::v3::Receiver;
use super::*;

pub(super) struct Market {
    pub(super) suite: Suite,
    pub(super) biller: Receiver,
    pub(super) bank: Receiver,
}

const COMMON: [(&str, &str); 2] = [
    ("x-correlationid", "corr-1"),
    ("platform-tenantid", "default"),
];

/// A biller with bills that begin with `WAT`, and a bank whose customers pay them.
pub(super) async fn market(db: TestDatabase) -> Market {
    market_in(filled(db).await).await
}

/// The same with a clock of the test's own.
pub(super) async fn market_at(db: TestDatabase, clock: &MockClock) -> Market {
    let suite = suite_at(db, clock).await;
    suite.fill().await;
    market_in(suite).await
}

async fn market_in(suite: Suite) -> Market {
    let (biller, bank) = (Receiver::start(0).await, Receiver::start(0).await);
    let water = json!({"prefix": "WAT", "name": "Water works", "url": biller.url,
        "source_id": SOURCE});
    let put = suite
        .call("PUT", "/v1/billers/WATER", &water.to_string())
        .await;
    assert_eq!(put.status, 200, "{}", put.body);
    let clash = with(water.clone(), "/name", Some(json!("Other")));
    let clash = suite
        .call("PUT", "/v1/billers/OTHER", &clash.to_string())
        .await;
    assert_eq!(clash.status, 409, "{}", clash.body);
    let bad = with(water, "/url", Some(json!("file:///etc/passwd")));
    let bad = suite.call("PUT", "/v1/billers/BAD", &bad.to_string()).await;
    assert_eq!(bad.status, 400);
    let institution = json!({"name": "Bank", "url": bank.url}).to_string();
    let path = "/v1/payer-institutions/BANK";
    assert_eq!(suite.call("PUT", path, &institution).await.status, 200);
    let list = suite.get("/v1/billers").await.body;
    assert_eq!(list["billers"][0]["biller_id"], "WATER");
    Market {
        suite,
        biller,
        bank,
    }
}

impl Market {
    pub(super) async fn as_bank(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [COMMON[0], COMMON[1], ("payerfi-id", "BANK")];
        self.suite
            .call_as("tester", method, path, &headers, &text(body))
            .await
    }

    pub(super) async fn as_biller(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [COMMON[0], COMMON[1], ("x-billerid", "WATER")];
        self.suite
            .call_as("tester", method, path, &headers, &text(body))
            .await
    }

    /// A biller cannot ask for the money of a bill that is another's, or nobody's.
    async fn refuses_bills_of_others(&self, sound: &Value) {
        let gas = json!({"prefix": "GAS", "name": "Gas works", "url": self.biller.url,
            "source_id": SOURCE})
        .to_string();
        let put = self.suite.call("PUT", "/v1/billers/GASCO", &gas).await;
        assert_eq!(put.status, 200, "{}", put.body);
        for foreign in ["GAS1", "NONE1"] {
            let wrong = with(sound.clone(), "/billID", Some(json!(foreign)));
            let refused = self.as_biller("POST", "/rtpRequest", &wrong).await;
            assert_eq!(refused.status, 404, "{foreign} {}", refused.body);
        }
    }

    /// A bill of this amount that the bank was shown under a number of its own.
    pub(super) async fn presented(&self, bill: &str, request: &str, amount: &Value) {
        let path = format!("/bills/{bill}?fields=inquiry&requestId={request}");
        let taken = self.as_bank("GET", &path, &Value::Null).await;
        assert_eq!(acknowledged(&taken), (202, "00".to_owned()));
        assert_eq!(taken.body["requestID"], json!(request));
        let asked = self.biller.hears_at(&format!("/told/bills/{bill}")).await;
        let correlation = asked.headers["x-correlationid"].to_str().unwrap();
        let answer = answer(correlation, bill, amount);
        let given = self
            .as_biller("POST", &format!("/bills/{bill}"), &answer)
            .await;
        assert_eq!(
            acknowledged(&given),
            (200, "00".to_owned()),
            "{}",
            given.body
        );
    }
}

fn text(body: &Value) -> String {
    match body.is_null() {
        true => String::new(),
        false => body.to_string(),
    }
}

fn answer(correlation: &str, bill: &str, amount: &Value) -> Value {
    json!({"code": "00", "reason": "", "requestID": correlation, "billId": bill,
        "billDetails": {"billerId": "WATER", "billerName": "Water", "billStatus": "unpaid",
            "dueDate": "2100-01-01T00:00:00Z", "amountonDueDate": amount,
            "amountAfterDueDate": 30, "currency": "USD"}})
}

/// Status and code of an acknowledgement; a refusal has its code twice.
fn acknowledged(answer: &Answer) -> (u16, String) {
    answer.is_json();
    let code = answer.body["responseCode"].as_str().unwrap().to_owned();
    let members = answer.body.as_object().unwrap().len();
    match code.as_str() {
        "00" => assert_eq!(members, 3, "{}", answer.body),
        _ => assert_eq!(answer.body["code"], json!(code)),
    }
    assert!(answer.body["requestID"].as_str().unwrap().len() <= 12);
    (answer.status, code)
}

fn bad(status: u16) -> (u16, String) {
    (status, "01".to_owned())
}

both_engines! {
    async fn bills_are_asked_for_and_presented(db: TestDatabase) {
        let market = market(db).await;
        let path = "/bills/WAT1?fields=inquiry&requestId=Q1";
        assert_eq!(acknowledged(&market.suite.get(path).await), bad(400), "headers are missing");
        let stranger = [COMMON[0], COMMON[1], ("payerfi-id", "NOBODY")];
        let unknown = market.suite.call_as("tester", "GET", path, &stranger, "").await;
        assert_eq!(acknowledged(&unknown), bad(404));
        let odd = market.as_bank("GET", "/bills/WAT1?fields=all", &Value::Null).await;
        assert_eq!(acknowledged(&odd), bad(400));
        let long = market.as_bank("GET", "/bills/WAT456789012345678901", &Value::Null).await;
        assert_eq!(acknowledged(&long), bad(400));
        for elsewhere in ["WAT1%2F..%2Fx", "WAT1%3Fx", "WAT1%23", ".."] {
            let path = format!("/bills/{elsewhere}?fields=inquiry&requestId=Q0");
            let refused = market.as_bank("GET", &path, &Value::Null).await;
            assert!((400..405).contains(&refused.status), "{elsewhere} {}", refused.body);
        }
        market.presented("WAT1", "Q1", &json!(25)).await;
        let shown = market.bank.hears_at("/told/bills/WAT1").await.body;
        assert_eq!(shown, json!({"requestId": "Q1", "code": "00", "reason": "found",
            "billId": "WAT1", "billDetails": {"billerId": "WATER", "billerName": "Water works",
                "billStatus": "unpaid", "dueDate": 4_102_444_800_i64, "amountonDueDate": 25.0,
                "amountAfterDueDate": 30.0, "currency": "USD"}}));
        // A repeat is taken; the same number for another bill is not.
        let again = market.as_bank("GET", path, &Value::Null).await;
        assert_eq!(acknowledged(&again), (202, "00".to_owned()));
        let other = market.as_bank("GET", "/bills/WAT2?requestId=Q1", &Value::Null).await;
        assert_eq!(acknowledged(&other), bad(409));
        // Nobody has bills of this prefix: taken all the same, and answered by a call.
        let taken = market.as_bank("GET", "/bills/GAS1?requestId=Q2", &Value::Null).await;
        assert_eq!(taken.status, 202);
        let shown = market.bank.hears_at("/told/bills/GAS1").await.body;
        assert_eq!((&shown["code"], &shown["billDetails"]), (&json!("01"), &Value::Null));
        // The biller does not have it.
        market.as_bank("GET", "/bills/WAT9?requestId=Q3", &Value::Null).await;
        let asked = market.biller.hears_at("/told/bills/WAT9").await;
        assert_eq!(asked.method, "GET");
        let correlation = asked.headers["x-correlationid"].to_str().unwrap();
        let sound = answer(correlation, "WAT9", &json!(1));
        for (pointer, value) in [
            ("/requestID", None), ("/billId", Some(json!("WAT8"))), ("/code", None),
            ("/billDetails", None), ("/billDetails/currency", Some(json!("usd"))),
            ("/billDetails/amountonDueDate", Some(json!(0))),
            ("/billDetails/dueDate", Some(json!("tomorrow"))),
        ] {
            let wrong = with(sound.clone(), pointer, value);
            let refused = market.as_biller("POST", "/bills/WAT9", &wrong).await;
            assert_eq!(acknowledged(&refused), bad(400), "{pointer}");
        }
        let unheard = with(sound.clone(), "/requestID", Some(json!("UNHEARD")));
        let refused = market.as_biller("POST", "/bills/WAT9", &unheard).await;
        assert_eq!(acknowledged(&refused), bad(404));
        let none = json!({"code": "01", "reason": "no such bill", "requestID": correlation,
            "billId": "WAT9"});
        market.as_biller("POST", "/bills/WAT9", &none).await;
        let shown = market.bank.hears_at("/told/bills/WAT9").await.body;
        assert_eq!((&shown["code"], &shown["reason"]), (&json!("01"), &json!("no such bill")));
        assert_eq!(acknowledged(&market.suite.call("PUT", "/bills/WAT9", "").await), bad(405));
    }

    async fn payments_of_bills_are_passed_on_both_ways(db: TestDatabase) {
        let market = market(db).await;
        let path = "/billTransferRequests";
        market.presented("WAT1", "Q1", &json!(25)).await;
        let notice = json!({"requestId": "N1", "billInquiryRequestId": "Q1", "billId": "WAT1",
            "paymentReferenceID": "PAY1"});
        for (pointer, value, code) in [
            ("/requestId", None, 400), ("/billId", None, 400),
            ("/paymentReferenceID", None, 400), ("/paymentReferenceID", id(17), 400),
            ("/billInquiryRequestId", Some(json!("Q9")), 404),
            ("/billId", Some(json!("WAT2")), 404),
        ] {
            let wrong = with(notice.clone(), pointer, value);
            let refused = market.as_bank("POST", path, &wrong).await;
            assert_eq!(acknowledged(&refused), bad(code), "{pointer}");
        }
        for _ in 0..2 {
            let taken = market.as_bank("POST", path, &notice).await;
            assert_eq!(acknowledged(&taken), (202, "00".to_owned()));
        }
        let advice = market.biller.hears_at("/told/billTransferRequests").await.body;
        assert_eq!(advice, json!({"requestID": "N1", "billId": "WAT1",
            "PaymentReferenceID": "PAY1"}));
        // It is told again until it answers.
        market.biller.hears_times("/told/billTransferRequests", 2).await;
        let second = with(notice.clone(), "/paymentReferenceID", Some(json!("PAY2")));
        let second = with(second, "/requestId", Some(json!("N2")));
        market.as_bank("POST", path, &second).await;
        let told = market.bank.hears(|body| body["requestId"] == "N2").await.body;
        assert_eq!(told, json!({"requestId": "N2", "billId": "WAT1", "status": "RJC",
            "rejectReason": "Dup"}));
        let word = json!({"requestId": "M1", "billId": "WAT1", "status": "ACK"});
        for (pointer, value, code) in [
            ("/status", Some(json!("OK")), 400), ("/billId", Some(json!("WAT7")), 404),
            ("/paymentReferenceID", Some(json!("X")), 400),
        ] {
            let wrong = with(word.clone(), pointer, value);
            let refused = market.as_biller("POST", path, &wrong).await;
            assert_eq!(acknowledged(&refused), bad(code), "{pointer}");
        }
        for _ in 0..2 {
            let taken = market.as_biller("POST", path, &word).await;
            assert_eq!(acknowledged(&taken), (202, "00".to_owned()));
        }
        let told = market.bank.hears(|body| body["requestId"] == "N1").await.body;
        assert_eq!(told, json!({"requestId": "N1", "billId": "WAT1", "status": "ACK",
            "rejectReason": null}));
        let late = json!({"requestId": "M2", "billId": "WAT1", "status": "RJC",
            "rejectReason": "Def"});
        let refused = market.as_biller("POST", path, &late).await;
        assert_eq!(acknowledged(&refused), bad(400));
    }

    async fn payers_are_asked_to_pay(db: TestDatabase) {
        let market = market(db).await;
        let path = "/rtpRequest";
        let sound = json!({"requestId": "R1", "rtpId": 7, "billID": "WAT1", "requestType": "00",
            "payerFiDetails": {"payerFIBIC": "BANK", "financialAddress": "1234567"},
            "billDetails": {"billerName": "Water", "amount": 25}});
        for (pointer, value) in [
            ("/requestId", id(13)), ("/rtpId", Some(json!("7"))), ("/billID", id(11)),
            ("/requestType", Some(json!("02"))), ("/requestType", Some(json!("01"))),
            ("/payerFiDetails", None), ("/payerFiDetails/payerFIBIC", None),
            ("/alias", Some(json!({"aliasType": "00", "aliasId": "1"}))),
            ("/billDetails", None), ("/billDetails/amount", Some(json!(0))),
        ] {
            let wrong = with(sound.clone(), pointer, value);
            let refused = market.as_biller("POST", path, &wrong).await;
            assert_eq!(refused.status, 400, "{pointer} {}", refused.body);
            assert_eq!(refused.body["responseCode"], "01");
        }
        market.refuses_bills_of_others(&sound).await;
        for _ in 0..2 {
            let taken = market.as_biller("POST", path, &sound).await;
            assert_eq!((taken.status, &taken.body["responseCode"]), (200, &json!("00")));
        }
        let other = with(sound.clone(), "/billDetails/amount", Some(json!(26)));
        assert_eq!(market.as_biller("POST", path, &other).await.status, 409);
        let asked = market.bank.hears(|body| body["rTPID"] == 7).await.body;
        assert_eq!(asked["billDetails"],
            json!({"Bill ID": "WAT1", "Biller Name": "Water", "Amount": 25}));
        let txn = asked["TxnID"].as_str().unwrap().to_owned();
        assert_eq!(txn.len(), 12);
        let status = async |rtp: &str| {
            market.as_biller("GET", &format!("/transferRequests/{rtp}?RequestId=S1"), &Value::Null)
                .await
        };
        let pending = status("7").await;
        assert_eq!((pending.status, &pending.body["requestStatus"]), (202, &json!("PND")));
        assert_eq!(acknowledged(&status("8").await), bad(404));
        assert_eq!(acknowledged(&status("x").await), bad(400));
        let yes = json!({"RequestId": "A1", "txnId": txn, "rtpId": 7, "billId": "WAT1",
            "rtpStatus": "00", "rejectReason": null});
        for (pointer, value, code) in [
            ("/rtpStatus", Some(json!("02")), 400), ("/txnId", Some(json!("UNHEARD")), 404),
        ] {
            let wrong = with(yes.clone(), pointer, value);
            let refused = market.as_bank("POST", "/rtpResponse", &wrong).await;
            assert_eq!(acknowledged(&refused), bad(code), "{pointer}");
        }
        for _ in 0..2 {
            let taken = market.as_bank("POST", "/rtpResponse", &yes).await;
            assert_eq!(acknowledged(&taken), (202, "00".to_owned()));
        }
        let update = market.biller.hears_at("/told/rtpUpdate").await.body;
        assert_eq!((&update["rtpId"], &update["rtpStatus"]), (&json!(7), &json!("00")));
        // What was accepted is paid like a bill that was asked for.
        let notice = json!({"requestId": "N1", "billInquiryRequestId": txn, "billId": "WAT1",
            "paymentReferenceID": "PAY1"});
        assert_eq!(market.as_bank("POST", "/billTransferRequests", &notice).await.status, 202);
        let word = json!({"requestId": "M1", "billId": "WAT1", "status": "ACK"});
        market.as_biller("POST", "/billTransferRequests", &word).await;
        let done = status("7").await.body;
        assert_eq!((&done["requestStatus"], &done["PaymentReferenceID"]),
            (&json!("COM"), &json!("PAY1")));
        let sent = market.biller.hears(|body| body["requestStatus"] == "COM").await.body;
        assert_eq!(sent["lastUpdateDate"], done["lastUpdateDate"]);
    }

    async fn payers_are_found_by_alias(db: TestDatabase) {
        let market = market(db).await;
        let path = "/rtpRequest";
        let payees = json!({"RequestID": "REQ1", "Beneficiaries": [
            {"payeeIdentity": "31612345678", "PaymentModality": "01",
                "bankingInstitutionCode": "BANK", "FinancialAddress": "31612345678"}]});
        let headers = [
            ("x-callback-url", market.bank.url.as_str()),
            ("x-registering-institution-id", SOURCE),
        ];
        let mapper = "/identityAccountMapper/beneficiary";
        let body = payees.to_string();
        market.suite.call_as("tester", "POST", mapper, &headers, &body).await;
        // By alias: one that the mapper knows, and one that it does not.
        for (rtp, alias, heard) in [(8, "31612345678", true), (9, "31600000000", false)] {
            let by_alias = json!({"requestId": format!("R{rtp}"), "rtpId": rtp, "billID": "WAT2",
                "requestType": "01", "alias": {"aliasType": "00", "aliasId": alias},
                "billDetails": {"billerName": "Water", "amount": 5.5}});
            assert_eq!(market.as_biller("POST", path, &by_alias).await.status, 200);
            if heard {
                let asked = market.bank.hears(|body| body["rTPID"] == rtp).await.body;
                let no = json!({"RequestId": "A2", "txnId": asked["TxnID"], "rtpId": rtp,
                    "billId": "WAT2", "rtpStatus": "01", "rejectReason": "no"});
                market.as_bank("POST", "/rtpResponse", &no).await;
            }
            let update = market.biller
                .hears(|body| body["rtpId"] == rtp && body["rtpStatus"] == "01")
                .await
                .body;
            assert_eq!(update["rejectReason"], "R");
            let path = format!("/transferRequests/{rtp}");
            let standing = market.as_biller("GET", &path, &Value::Null).await.body;
            assert_eq!(standing["requestStatus"], "RJC");
        }
    }

    async fn bills_are_paid_by_voucher(db: TestDatabase) {
        let market = market(db).await;
        let path = "/voucherRedemption";
        market.presented("WAT1", "Q1", &json!(24)).await;
        market.presented("WAT2", "Q2", &json!(25)).await;
        let pay = |request: &str, inquiry: &str, bill: &str, number: &str| {
            json!({"requestId": request, "billInquiryRequestId": inquiry, "billId": bill,
                "billDetails": {}, "VoucherSecretHash": number})
        };
        let code = |answer: &Answer| {
            answer.is_json();
            assert_eq!(answer.body.as_object().unwrap().len(), 3, "{}", answer.body);
            (answer.status, answer.body["code"].as_str().unwrap().to_owned())
        };
        for (body, status) in [
            (pay("V1", "Q1", "WAT1", "9103"), 400), (pay("V1", "Q9", "WAT2", "9103"), 404),
            (pay("V1", "Q2", "WAT2", "4711"), 400), (pay("V1", "Q2", "WAT2", "9107"), 400),
            (pay("", "Q2", "WAT2", "9103"), 400), (pay("V1", "Q2", "WAT2", "no number"), 400),
        ] {
            let refused = market.as_bank("POST", path, &body).await;
            assert_eq!(code(&refused), (status, "01".to_owned()), "{body}");
        }
        // The voucher is untouched.
        let voucher = market.suite.get("/vouchers/voucherstatuscheck/103").await.body;
        assert_eq!(voucher["voucher_status"], "Activated");
        let sound = pay("V1", "Q2", "WAT2", "9103");
        for _ in 0..2 {
            let paid = market.as_bank("POST", path, &sound).await;
            assert_eq!(code(&paid), (202, "00".to_owned()), "{}", paid.body);
        }
        let advice = market.biller.hears_at("/told/billTransferRequests").await.body;
        assert_eq!(advice["billId"], "WAT2");
        assert_eq!(market.suite.get("/vouchers/voucherstatuscheck/103").await.message(), 458);
        assert_eq!(market.suite.get("/v1/ledger/check").await.body["balanced"], true);
    }
}
