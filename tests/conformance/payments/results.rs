//! Before a batch is paid and after: its forecast, its report in three forms, and receipts that
//! prove themselves.

use publica_payments::{ReceiptFault, verify_receipt};

use super::*;

/// A batch of two payees, one of whom will be rejected, that waits for approval.
async fn waiting(suite: &Suite, request: &str) -> Value {
    let payees = [(PAYEE, "1234567"), (CLOSED, "9990000")];
    suite
        .post(
            "/register-beneficiary",
            &registration("REQUEST00001", &payees),
        )
        .await;
    let mut body = payment(request, "BATCH0000001");
    for (at, row) in body["CreditInstructions"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        row["InstructionID"] = json!(format!("{request}{at:04}"));
    }
    let taken = suite.post("/bulk-payment", &body).await;
    assert_eq!(
        taken.acknowledged(),
        (200, "00".to_owned()),
        "{}",
        taken.body
    );
    let list = suite.get("/v1/batches?state=pending_approval").await.body;
    let batches = list["batches"].as_array().unwrap();
    let found = batches
        .iter()
        .find(|batch| batch["source_request"] == json!(request));
    found.unwrap().clone()
}

async fn pay(suite: &Suite, batch: &Value) {
    let id = batch["batch_id"].as_str().unwrap();
    let approval = json!({"digest": batch["digest"]}).to_string();
    let path = format!("/v1/batches/{id}/approve");
    let approved = suite
        .call_as("checker", "POST", &path, &[], &approval)
        .await;
    assert_eq!(approved.status, 200, "{}", approved.body);
    eventually(|| async {
        let body = suite.get(&format!("/v1/batches/{id}")).await.body;
        let state = body["state"].as_str().unwrap_or_default();
        matches!(state, "completed" | "partially_completed").then_some(())
    })
    .await;
}

both_engines! {
    async fn a_forecast_moves_nothing(db: TestDatabase) {
        let suite = filled(db).await;
        let first = waiting(&suite, "REQUEST00001").await;
        let path = |batch: &Value| {
            format!("/v1/batches/{}/forecast", batch["batch_id"].as_str().unwrap())
        };
        let ledger = suite.get("/v1/ledger/accounts").await.body;
        let forecast = suite.get(&path(&first)).await;
        assert_eq!(forecast.status, 200, "{}", forecast.body);
        let forecast = forecast.body;
        assert_eq!(forecast["payable"], json!({"count": 2, "amount": "110.25"}));
        for (name, value) in [
            ("available", "1000000.00"), ("competing", "0.00"), ("shortfall", "0.00"),
            ("shortfall_with_others", "0.00"), ("fee", "0.00"),
        ] {
            assert_eq!(forecast[name], value, "{name}");
        }
        assert_eq!(forecast["institutions"][0]["expected_rejected"], 0, "nothing is known yet");
        assert_eq!(suite.get("/v1/ledger/accounts").await.body, ledger);
        pay(&suite, &first).await;
        // What happened before tells what may happen; what waits too takes from the same funds.
        let second = waiting(&suite, "REQUEST00002").await;
        let third = waiting(&suite, "REQUEST00003").await;
        let forecast = suite.get(&path(&third)).await.body;
        assert_eq!(forecast["competing"], "110.25", "{forecast}");
        let bank = &forecast["institutions"][0];
        assert_eq!(
            (&bank["past_count"], &bank["past_rejected"], &bank["expected_rejected"]),
            (&json!(2), &json!(1), &json!(1))
        );
        // A payee whose mapping is out of use since is told of.
        let gone = json!({"requestID": "REQ2", "sourceBBID": SOURCE, "beneficiaries": [
            {"payeeIdentity": PAYEE, "status": "0"},
            {"payeeIdentity": CLOSED, "financialAddress": "7654321"}]});
        let receiver = super::v3::Receiver::start(0).await;
        let mapper = "/identityAccountMapper/beneficiary";
        let changed = suite.told("PUT", mapper, &receiver, &gone).await;
        assert_eq!(changed.status, 200, "{}", changed.body);
        let forecast = suite.get(&path(&second)).await.body;
        assert_eq!((&forecast["lost_count"], &forecast["changed_count"]), (&json!(1), &json!(1)));
        let missing = suite.get(&format!("/v1/batches/{}/forecast", "0".repeat(36))).await;
        assert_eq!(missing.status, 404);
    }

    async fn reports_come_in_three_forms(db: TestDatabase) {
        let suite = filled(db).await;
        let batch = waiting(&suite, "REQUEST00001").await;
        pay(&suite, &batch).await;
        let id = batch["batch_id"].as_str().unwrap();
        let path = format!("/v1/batches/{id}/report");
        assert_eq!(suite.get(&path).await.body["settled"]["count"], 1);
        let csv = suite.raw(&format!("{path}?format=csv")).await;
        assert!(csv.1.starts_with("text/csv"), "{}", csv.1);
        let text = String::from_utf8(csv.2).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "ordinal,instruction_id,amount,currency,institution,state,\
            iso_status,reason_code,end_to_end_id");
        assert!(lines[1].starts_with("0,REQUEST000010000,100.25,USD,BANK,settled,ACSC,,"));
        assert!(lines[2].contains(",voucher,") || lines[2].contains(",rejected,"), "{text}");
        let pdf = suite.raw(&format!("{path}?format=pdf")).await;
        assert_eq!((pdf.0, pdf.1.as_str()), (200, "application/pdf"));
        assert!(pdf.2.starts_with(b"%PDF-") && pdf.2.ends_with(b"%%EOF"));
        assert_eq!(suite.get(&format!("{path}?format=xml")).await.status, 400);
        let unknown = format!("/v1/batches/{}/report?format=csv", "0".repeat(36));
        assert_eq!(suite.get(&unknown).await.status, 404);
    }

    async fn receipts_prove_themselves(db: TestDatabase) {
        let suite = filled(db).await;
        let batch = waiting(&suite, "REQUEST00001").await;
        pay(&suite, &batch).await;
        let id = batch["batch_id"].as_str().unwrap();
        for at in 0..2 {
            let path = format!("/v1/batches/{id}/receipts/REQUEST00001{at:04}");
            let receipt = suite.get(&path).await.body;
            let check = |receipt: &Value| verify_receipt(receipt.to_string().as_bytes());
            let proven = check(&receipt).unwrap();
            assert_eq!(json!(proven.digest), batch["digest"]);
            assert_eq!(proven.batch_id, id);
            for (pointer, value, fault) in [
                ("/instruction/amount", json!("100.26"), ReceiptFault::Leaf),
                ("/payee", json!("00".repeat(32)), ReceiptFault::Leaf),
                ("/leaf_index", json!(1 - at), ReceiptFault::Path),
                ("/content/source_id", json!("SOURCEBLOCK2"), ReceiptFault::Digest),
                ("/content/totals/0/amount", json!("0.01"), ReceiptFault::Digest),
            ] {
                let forged = with(receipt.clone(), pointer, Some(value));
                assert_eq!(check(&forged), Err(fault), "{pointer}");
            }
            let torn = with(receipt.clone(), "/path", None);
            assert!(matches!(check(&torn), Err(ReceiptFault::Malformed(_))));
            // The list has the same.
            let all = format!("/v1/batches/{id}/receipts");
            let first = suite.get(&format!("{all}?page_size=1")).await.body;
            let token = first["next_page_token"].as_str().unwrap();
            let second = suite.get(&format!("{all}?page_size=1&page_token={token}")).await.body;
            assert_eq!(second["next_page_token"], Value::Null);
            let listed = [&first["receipts"][0], &second["receipts"][0]];
            assert_eq!(listed[at], &receipt);
        }
    }
}

impl Suite {
    /// Status, media type and body of what is no JSON.
    async fn raw(&self, path: &str) -> (u16, String, Vec<u8>) {
        let bearer = format!("Bearer {}", token_for("tester", SCOPES, &Tenant::default()));
        let request = Request::builder()
            .uri(format!("/payments{path}"))
            .header("authorization", bearer)
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let media_type = parts.headers["content-type"].to_str().unwrap().to_owned();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), media_type, bytes.to_vec())
    }
}
