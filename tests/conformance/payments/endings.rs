//! How what others leave open comes to an end: bills that are refused after they were paid by
//! voucher, banks and billers that do not answer, and reasons that are kept from everybody else.

use std::path::Path;
use std::time::Duration;

use publica_proto::payments::v1 as api;
use publica_proto::payments::v1::bill_service_client::BillServiceClient;
use publica_proto::work::v1::work_service_client::WorkServiceClient;
use publica_proto::work::v1::{ListDeadJobsRequest, ListJobsRequest};
use publica_rpc::Link;
use publica_testkit::MockClock;
use publica_types::Clock as _;

use super::bills::{Market, market, market_at};
use super::v3::Receiver;
use super::*;

const DAY: Duration = Duration::from_hours(24);

fn by_voucher(request: &str, inquiry: &str, bill: &str, number: &str) -> Value {
    json!({"requestId": request, "billInquiryRequestId": inquiry, "billId": bill,
        "billDetails": {}, "VoucherSecretHash": number})
}

impl Market {
    async fn pay_by_voucher(&self, request: &str, number: &str) -> u16 {
        let body = by_voucher(request, "Q1", "WAT1", number);
        let paid = self.as_bank("POST", "/voucherRedemption", &body).await;
        paid.status
    }

    async fn answer(&self, status: &str, reason: Option<&str>) -> u16 {
        let word = json!({"requestId": "M1", "billId": "WAT1", "status": status,
            "rejectReason": reason});
        let path = "/billTransferRequests";
        self.as_biller("POST", path, &word).await.status
    }

    async fn voucher(&self, serial: &str) -> Answer {
        let path = format!("/vouchers/voucherstatuscheck/{serial}");
        self.suite.get(&path).await
    }

    /// What an account holds, as a decimal.
    async fn balance(&self, code: &str) -> String {
        let path = format!("/v1/ledger/accounts/{code}");
        let account = self.suite.get(&path).await.body;
        account["balance"].as_str().unwrap().to_owned()
    }
}

/// A batch of two payees that waits for its bank.
async fn asking(suite: &Suite, bank: &Receiver) -> String {
    let named = json!({"url": bank.url, "payer_identifier": "TREASURY"}).to_string();
    let path = "/v1/programmes/CASH/payer-bank";
    assert_eq!(suite.call("PUT", path, &named).await.status, 200);
    let payees = [(PAYEE, "1234567")];
    suite
        .post(
            "/register-beneficiary",
            &registration("REQUEST00001", &payees),
        )
        .await;
    suite
        .post("/bulk-payment", &payment("REQUEST00002", "BATCH0000001"))
        .await;
    let list = suite.get("/v1/batches?state=pending_approval").await.body;
    let batch = list["batches"][0]["batch_id"].as_str().unwrap().to_owned();
    let approval = json!({"digest": list["batches"][0]["digest"]}).to_string();
    let approve = format!("/v1/batches/{batch}/approve");
    let approved = suite
        .call_as("checker", "POST", &approve, &[], &approval)
        .await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    batch
}

async fn reaches(suite: &Suite, batch: &str, state: &str) -> Value {
    eventually(|| async {
        let body = suite.get(&format!("/v1/batches/{batch}")).await.body;
        (body["state"] == state).then_some(body)
    })
    .await
}

/// The id of the latest question of this kind.
async fn asked(bank: &Receiver, fits: impl Fn(&Value) -> bool) -> String {
    let heard = bank.hears(fits).await;
    let id = heard.headers["x-client-correlation-id"].to_str().unwrap();
    id.to_owned()
}

/// Waits until what became of a try of the advice is noted: it is due at once, or in a quarter of
/// an hour, while the lease under which it is tried ends between.
async fn noted(work: &WorkServiceClient<Link>, clock: &MockClock) {
    let now = clock.now().seconds();
    eventually(|| {
        let mut work = work.clone();
        async move {
            let listed = work.list_jobs(ListJobsRequest::default()).await;
            let jobs = listed.unwrap().into_inner().jobs;
            let advice = jobs.iter().find(|job| job.kind == "payments.bill_advice")?;
            let wait = advice.due_time.as_ref()?.seconds - now;
            (!(5..=600).contains(&wait)).then_some(())
        }
    })
    .await;
}

both_engines! {
    async fn a_refused_payment_by_voucher_is_reversed_once(db: TestDatabase) {
        let market = market(db).await;
        market.presented("WAT1", "Q1", &json!(25)).await;
        assert_eq!(market.pay_by_voucher("V1", "9103").await, 202);
        assert_eq!(market.voucher("103").await.message(), 458);
        assert_eq!(market.balance("biller:WATER:USD").await, "25.00");
        for _ in 0..2 {
            assert_eq!(market.answer("RJC", Some("Def")).await, 202);
        }
        let told = market.bank.hears(|body| body["status"] == "RJC").await.body;
        assert_eq!(told["rejectReason"], "Def");
        let back = market.voucher("103").await.body;
        assert_eq!(back["voucher_status"], "Activated", "{back}");
        assert_eq!(market.balance("biller:WATER:USD").await, "0.00");
        assert_eq!(market.balance("funding:FOOD%20USD").await, "100.00");
        // A request that comes again was answered before: nothing is paid by it a second time.
        assert_eq!(market.pay_by_voucher("V1", "9103").await, 202);
        assert_eq!(market.voucher("103").await.body["voucher_status"], "Activated");
        assert_eq!(market.answer("ACK", None).await, 400);
        // The voucher pays the bill anew, and this time the biller agrees.
        assert_eq!(market.pay_by_voucher("V2", "9103").await, 202);
        assert_eq!(market.answer("ACK", None).await, 202);
        assert_eq!(market.answer("RJC", Some("Def")).await, 400);
        assert_eq!(market.voucher("103").await.message(), 458);
        assert_eq!(market.balance("biller:WATER:USD").await, "25.00");
        assert_eq!(market.balance("funding:FOOD%20USD").await, "75.00");
        assert_eq!(market.suite.get("/v1/ledger/check").await.body["balanced"], true);
        let restored = entries(&market.suite, "payments.voucher.restored", 1).await;
        assert_eq!((restored.len(), restored[0].subject_id.as_str()), (1, "103"));
    }

    async fn the_time_that_a_voucher_was_used_up_does_not_count(db: TestDatabase) {
        let clock = MockClock::new();
        let market = market_at(db, &clock).await;
        market.presented("WAT1", "Q1", &json!(25)).await;
        assert_eq!(market.pay_by_voucher("V1", "9103").await, 202);
        // Vouchers can be used for ninety days.
        clock.advance(DAY * 80);
        assert_eq!(market.answer("RJC", Some("Und")).await, 202);
        clock.advance(DAY * 89);
        assert_eq!(market.voucher("103").await.body["voucher_status"], "Activated");
        clock.advance(DAY);
        assert_eq!(market.voucher("103").await.message(), 459);
    }

    async fn values_of_vouchers_cannot_be_tried_out(db: TestDatabase) {
        let market = market(db).await;
        market.presented("WAT1", "Q1", &json!(24)).await;
        for n in 0..50 {
            assert_eq!(market.pay_by_voucher(&format!("V{n}"), "9103").await, 400);
        }
        assert_eq!(market.pay_by_voucher("V50", "9103").await, 503);
        let action = "payments.voucher.redemption_refused";
        assert_eq!(entries(&market.suite, action, 50).await.len(), 50);
    }

    async fn silent_banks_are_not_waited_for(db: TestDatabase) {
        let clock = MockClock::new();
        let suite = suite_at(db, &clock).await;
        suite.fill().await;
        let bank = Receiver::start(0).await;
        let batch = asking(&suite, &bank).await;
        let first = asked(&bank, |body| body["batchID"] == json!(batch)).await;
        reaches(&suite, &batch, "authorising").await;
        clock.advance(DAY * 2);
        let refused = reaches(&suite, &batch, "funds_refused").await;
        assert_eq!(refused["state_reason"], "the payer's bank did not answer in time");
        let late = json!({"clientCorrelationId": first, "status": "Y", "reason": ""});
        assert_eq!(suite.post("/batches/authorization", &late).await.message(), 202);
        assert_eq!(reaches(&suite, &batch, "funds_refused").await["bank_reason"], Value::Null);
        // An operator has it asked again.
        let resume = format!("/v1/batches/{batch}/resume");
        let resumed = suite.call_as("checker", "POST", &resume, &[], "{}").await;
        assert_eq!(resumed.status, 200, "{}", resumed.body);
        let second = eventually(|| async {
            let all = bank.heard(|body| body["batchID"] == json!(batch));
            let ids = all.iter().map(|call| &call.headers["x-client-correlation-id"]);
            let ids: Vec<&str> = ids.map(|id| id.to_str().unwrap()).collect();
            ids.iter().find(|id| **id != first).map(|id| (*id).to_owned())
        })
        .await;
        let yes = json!({"clientCorrelationId": second, "status": "Y", "reason": ""});
        assert_eq!(suite.post("/batches/authorization", &yes).await.message(), 202);
        reaches(&suite, &batch, "completed").await;
    }

    async fn accounts_that_a_bank_is_silent_about_count_as_unchecked(db: TestDatabase) {
        let clock = MockClock::new();
        let suite = suite_at(db, &clock).await;
        suite.fill().await;
        let (bank, receiver) = (Receiver::start(0).await, Receiver::start(0).await);
        let named = json!({"url": bank.url, "payer_identifier": "TREASURY"}).to_string();
        suite.call("PUT", "/v1/programmes/CASH/payer-bank", &named).await;
        suite.post("/register-beneficiary", &registration("REQUEST00001", &[(PAYEE, "1234567")]))
            .await;
        let headers = [("x-callback-url", receiver.url.as_str())];
        let checked = payment("REQUEST00001", "BATCH0000001").to_string();
        let path = "/prepayment-validation";
        suite.call_as("tester", "POST", path, &headers, &checked).await;
        let id = asked(&bank, |body| body["batchId"] == "BATCH0000001").await;
        clock.advance(DAY * 2);
        let told = receiver.hears(|body| body["Source_BatchID"] == "BATCH0000001").await.body;
        assert_eq!(told["NumberFailedCases"], 2, "{told}");
        assert_eq!(told["FailedAccounts"][1], json!({"InstructionID": "INSTR00000000001",
            "FailureReason": "the bank did not answer in time"}));
        let late = json!({"clientCorrelationId": id, "batchId": "BATCH0000001",
            "numberOfFailedCases": 0, "failedAccountLookups": []});
        assert_eq!(suite.post("/beneficiaries/validation", &late).await.message(), 202);
        let poll = json!({"RequestID": "REQUEST00001", "Source_BatchID": "BATCH0000001"});
        let polled = suite.post("/prepayment-validation-response", &poll).await.body;
        assert_eq!(polled, told);
    }

    async fn advices_end_as_a_case_for_the_operator(db: TestDatabase) {
        let clock = MockClock::new();
        let market = market_at(db, &clock).await;
        market.presented("WAT1", "Q1", &json!(25)).await;
        let notice = json!({"requestId": "N1", "billInquiryRequestId": "Q1", "billId": "WAT1",
            "paymentReferenceID": "PAY1"});
        let path = "/billTransferRequests";
        assert_eq!(market.as_bank("POST", path, &notice).await.status, 202);
        let mut work = WorkServiceClient::new(market.suite.block.as_caller(SCOPES));
        // Time passes only once a try has been noted: until then the job is held by a lease, which
        // would end, and what is due next counts from the note.
        market.biller.hears_at("/told/billTransferRequests").await;
        noted(&work, &clock).await;
        clock.advance(DAY * 3);
        market.biller.hears_times("/told/billTransferRequests", 2).await;
        noted(&work, &clock).await;
        clock.advance(DAY * 5);
        let dead = eventually(|| {
            let mut work = work.clone();
            async move {
                let listed = work.list_dead_jobs(ListDeadJobsRequest::default()).await;
                listed.unwrap().into_inner().jobs.into_iter().next()
            }
        })
        .await;
        assert_eq!(dead.kind, "payments.bill_advice");
        assert!(dead.last_error.contains("168 hours"), "{}", dead.last_error);
        // It may be sent once more, and an answer still counts.
        let redrive = publica_proto::work::v1::RedriveJobRequest {
            job_id: dead.job_id,
            ..Default::default()
        };
        work.redrive_job(redrive).await.unwrap();
        market.biller.hears_times("/told/billTransferRequests", 4).await;
        assert_eq!(market.answer("ACK", None).await, 202);
    }

    async fn reasons_reach_those_concerned_and_nobody_else(db: TestDatabase) {
        const SAID: &str = "Mrs Doe has moved away";
        let folder = db.dir().to_owned();
        let sqlite = matches!(db.engine(), publica_store::Engine::Sqlite);
        let market = market(db).await;
        let (suite, bank) = (&market.suite, &market.bank);
        let batch = asking(suite, bank).await;
        let id = asked(bank, |body| body["batchID"] == json!(batch)).await;
        let no = json!({"clientCorrelationId": id, "status": "N", "reason": SAID});
        assert_eq!(suite.post("/batches/authorization", &no).await.message(), 202);
        let refused = reaches(suite, &batch, "funds_refused").await;
        assert_eq!(refused["bank_reason"], SAID);

        let checked = payment("REQUEST00003", "BATCH0000002");
        suite.post("/prepayment-validation", &checked).await;
        let id = asked(bank, |body| body["batchId"] == "BATCH0000002").await;
        let said = json!({"clientCorrelationId": id, "batchId": "BATCH0000002",
            "numberOfFailedCases": 1, "failedAccountLookups": [
                {"instructionID": "INSTR00000000001", "failureReason": SAID}]});
        assert_eq!(suite.post("/beneficiaries/validation", &said).await.message(), 202);
        let poll = json!({"RequestID": "REQUEST00003", "Source_BatchID": "BATCH0000002"});
        let polled = suite.post("/prepayment-validation-response", &poll).await.body;
        assert_eq!(polled["FailedAccounts"][1]["FailureReason"], SAID, "{polled}");

        let asks = json!({"requestId": "R1", "rtpId": 7, "billID": "WAT2", "requestType": "00",
            "payerFiDetails": {"payerFIBIC": "BANK", "financialAddress": "1234567"},
            "billDetails": {"billerName": "Water", "amount": 25}});
        market.as_biller("POST", "/rtpRequest", &asks).await;
        let told = bank.hears(|body| body["rTPID"] == 7).await.body;
        let no = json!({"RequestId": "A1", "txnId": told["TxnID"], "rtpId": 7,
            "billId": "WAT2", "rtpStatus": "01", "rejectReason": "Doe moved"});
        assert_eq!(market.as_bank("POST", "/rtpResponse", &no).await.status, 202);
        let mut client = BillServiceClient::new(suite.block.as_caller(SCOPES));
        let request = api::GetTransferRequestRequest {
            biller_id: "WATER".to_owned(),
            rtp_id: 7,
            source_request: "S1".to_owned(),
        };
        let standing = client.get_transfer_request(request).await.unwrap().into_inner();
        assert_eq!(standing.reject_reason, "Doe moved");

        if sqlite {
            assert!(holds(&folder, "TREASURY"), "the search works");
            assert!(!holds(&folder, SAID) && !holds(&folder, "Doe moved"));
        }
        entries(suite, "payments.pay_request.answered", 1).await;
        for entry in entries(suite, "", 1).await {
            let body = entry.body.unwrap_or_default();
            assert!(!String::from_utf8_lossy(&body).contains("Doe"), "{}", entry.action);
        }
    }
}

/// Whether any file below a folder holds a text.
fn holds(folder: &Path, needle: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap();
        let needle = needle.as_bytes();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}
