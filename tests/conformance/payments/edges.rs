//! What holds for every path of the surface.

use super::*;

both_engines! {
    async fn uploads_stream_in(db: TestDatabase) {
        let suite = filled(db).await;
        suite.post("/register-beneficiary", &registration("REQUEST00001", &[(PAYEE, "1")])).await;
        let create = |request: &str| {
            json!({"source_id": SOURCE, "source_request": request,
                "source_batch": "BATCH0000001"})
        };
        let mut csv = "instruction_id,functional_id,amount,currency\n".to_owned();
        for n in 0..2_000 {
            csv.push_str(&format!("CSVROW{n:010},{PAYEE},1.00,USD\n"));
        }
        let batch = suite.post("/v1/batches", &create("REQUEST00001")).await;
        assert_eq!(batch.status, 201, "{}", batch.body);
        let id = batch.body["batch_id"].as_str().unwrap();
        let path = format!("/v1/batches/{id}/instructions");
        let headers = [("content-type", "text/csv")];
        let bad = suite.call_as("tester", "POST", &path, &headers, "a,b\n1,2\n").await;
        assert_eq!((bad.status, bad.body["code"].as_str()), (400, Some("ROWS_MALFORMED")));
        let done = suite.call_as("tester", "POST", &path, &headers, &csv).await;
        assert_eq!(done.status, 200, "{}", done.body);
        assert_eq!(done.body["accepted"], json!({"count": 2_000, "amount": "2000.00"}));
        assert_eq!(done.body["state"], "pending_approval");

        let rows: Vec<Value> = (0..3)
            .map(|n| {
                json!({"instruction_id": format!("JSNROW{n:010}"), "functional_id": PAYEE,
                    "amount": 2.5, "currency": "USD"})
            })
            .collect();
        let batch = suite.post("/v1/batches", &create("REQUEST00002")).await;
        let id = batch.body["batch_id"].as_str().unwrap();
        let path = format!("/v1/batches/{id}/instructions");
        let done = suite.post(&path, &json!(rows)).await;
        assert_eq!(done.body["accepted"], json!({"count": 3, "amount": "7.50"}));
        let page = suite.get(&format!("{path}?page_size=2")).await.body;
        assert_eq!(page["instructions"].as_array().unwrap().len(), 2);
        assert!(page["next_page_token"].is_string());
    }

    async fn strictness_is_a_setting(db: TestDatabase) {
        let mut settings = GatewayConfig::default();
        settings.payments.strict_fields = true;
        settings.payments.date_skew_seconds = 300;
        let suite = suite_with(db, Profile::Local, settings).await;
        suite.fill().await;
        let path = "/register-beneficiary";
        let sound = registration("REQUEST00001", &[(PAYEE, "1234567")]);
        for pointer in ["/Unheard", "/Beneficiaries/0/Unheard"] {
            let odd = with(sound.clone(), pointer, Some(json!(1)));
            assert_eq!(suite.post(path, &odd).await.acknowledged(), (400, "01".to_owned()));
        }
        assert_eq!(suite.post(path, &sound).await.acknowledged(), (200, "00".to_owned()));
        let path = "/vouchers/voucher_preactivation";
        let voucher = json!({"voucher_amount": "10.50", "voucher_currency": "USD",
            "voucher_group": "FOOD", "Gov_Stack_BB": "BB"});
        let odd = with(voucher.clone(), "/unheard", Some(json!(1)));
        assert_eq!(suite.post(path, &odd).await.message(), 400);
        // What banks and billers send is held to it as well.
        for (path, body) in [
            ("/batches/authorization", json!({"clientCorrelationId": "x", "status": "Y"})),
            ("/beneficiaries/validation", json!({"clientCorrelationId": "x", "batchId": "B",
                "numberOfFailedCases": 0, "failedAccountLookups": []})),
            ("/bills/WAT1", json!({"code": "01", "requestID": "x", "billId": "WAT1"})),
            ("/api/v1/batch?batchId=x", json!({"requestId": "x", "batchId": "x"})),
        ] {
            let odd = with(body, "/unheard", Some(json!(1)));
            let headers = [("x-billerid", "WATER")];
            let answer = suite.call_as("tester", "POST", path, &headers, &odd.to_string()).await;
            assert_eq!(answer.status, 400, "{path}");
            assert!(answer.body.to_string().contains("The member unheard is not known"), "{path}");
        }
        let dated = async |date: &str| {
            let headers = [("x-date", date)];
            suite.call_as("tester", "POST", path, &headers, &voucher.to_string()).await.status
        };
        assert_eq!(dated("2000-01-01T00:00:00Z").await, 400);
        let now = publica_types::Clock::now(&SystemClock).to_string();
        assert_eq!(dated(&now).await, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_credentials_nothing_is_done_but_under_conformance() {
    let closed = suite(Database::sqlite(), Profile::Local).await;
    let answer = closed.bare("POST", "/bulk-payment", &[], "{}").await;
    assert_eq!(answer.acknowledged(), (401, "01".to_owned()));
    let answer = closed
        .bare("GET", "/vouchers/voucherstatuscheck/1", &[], "")
        .await;
    assert_eq!(answer.message(), 401);
    let answer = closed.bare("GET", "/v1/batches", &[], "").await;
    assert_eq!(
        (answer.status, answer.body["code"].as_str()),
        (401, Some("CREDENTIALS_REFUSED"))
    );
    let open = suite(Database::sqlite(), Profile::Conformance).await;
    open.fill().await;
    let answer = open
        .bare("GET", "/vouchers/voucherstatuscheck/103", &[], "")
        .await;
    assert_eq!(StatusCode::from_u16(answer.status).unwrap(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_framework_leaks_out() {
    let suite = suite(Database::sqlite(), Profile::Local).await;
    for (method, path, status) in [
        ("GET", "/nowhere", 404),
        ("GET", "/vouchers", 405),
        ("GET", "/vouchers/voucherstatuscheck/", 404),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/batches", 405),
        ("POST", "/v1/ledger/check", 405),
    ] {
        let answer = suite.call(method, path, "").await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.body.is_object(), "{method} {path}");
    }
}
