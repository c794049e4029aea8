//! Statements of rails and banks on the native paths.

use publica_types::Clock as _;

use super::*;

/// A statement of the day about one payment and something else.
async fn sheet(suite: &Suite) -> (String, String) {
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
    let id = list["batches"][0]["batch_id"].as_str().unwrap().to_owned();
    let approval = json!({"digest": list["batches"][0]["digest"]}).to_string();
    let path = format!("/v1/batches/{id}/approve");
    suite
        .call_as("checker", "POST", &path, &[], &approval)
        .await;
    eventually(|| async {
        let body = suite.get(&format!("/v1/batches/{id}")).await.body;
        (body["state"] == "completed").then_some(())
    })
    .await;
    let page = suite.get(&format!("/v1/batches/{id}/instructions")).await;
    let paid = page.body["instructions"][0]["end_to_end_id"].clone();
    let now = SystemClock.now();
    let hour = std::time::Duration::from_hours(1);
    let (from, to) = (now.minus(hour), now.plus(hour));
    let path = format!("/v1/statements/DAY1?currency=USD&from={from}&to={to}");
    let csv = format!(
        "reference,direction,amount,booked,end_to_end_id\n\
         B1,DBIT,100.25,{now},{}\nB2,DBIT,3.00,{now},\n",
        paid.as_str().unwrap()
    );
    (path, csv)
}

both_engines! {
    async fn statements_are_refused_as_a_whole(db: TestDatabase) {
        let suite = filled(db).await;
        let path = "/v1/statements/DAY1?currency=USD&from=2026-01-01&to=2026-01-02";
        let headers = [("content-type", "text/csv")];
        let upload = async |path: &str, csv: &str| {
            suite.call_as("tester", "POST", path, &headers, csv).await
        };
        for wrong in [
            "", "a,b\n1,2\n", "reference,direction,amount,booked\n",
            "reference,direction,amount,booked\nB1,OUT,1.00,2026-01-01\n",
            "reference,direction,amount,booked\nB1,DBIT,1.005,2026-01-01\n",
            "reference,direction,amount,booked\nB1,DBIT,1.00,yesterday\n",
            "reference,direction,amount,booked\nB1,DBIT,1.00,1999-01-01\n",
            "reference,direction,amount,booked\nB1,DBIT\n",
        ] {
            let refused = upload(path, wrong).await;
            assert_eq!(refused.status, 400, "{wrong} {}", refused.body);
        }
        let sound = "reference,direction,amount,booked\nB1,DBIT,1.00,2026-01-01\n";
        for query in ["", "?currency=USD", "?currency=USD&from=2026-01-02&to=2026-01-01"] {
            let refused = upload(&format!("/v1/statements/DAY1{query}"), sound).await;
            assert_eq!(refused.status, 400, "{query}");
        }
        assert_eq!(upload(path, sound).await.status, 200);
        assert_eq!(suite.get("/v1/statements/DAY9").await.status, 404);
        assert_eq!(suite.get("/v1/reconciliation/items?state=odd").await.status, 400);
        assert_eq!(suite.get("/v1/reconciliation/ageing").await.status, 400);
    }

    async fn a_statement_is_uploaded_and_dealt_with(db: TestDatabase) {
        let suite = filled(db).await;
        let (path, csv) = sheet(&suite).await;
        let headers = [("content-type", "text/csv")];
        let upload = async |path: &str, csv: &str| {
            suite.call_as("tester", "POST", path, &headers, csv).await
        };
        for _ in 0..2 {
            let taken = upload(&path, &csv).await;
            assert_eq!(taken.status, 200, "{}", taken.body);
            assert_eq!(taken.body["paid_out"], json!({"count": 2, "amount": "103.25"}));
        }
        let other = upload(&path, &csv.replace("3.00", "4.00")).await;
        assert_eq!((other.status, other.body["code"].as_str()), (409, Some("ALREADY_EXISTS")));
        let done = eventually(|| async {
            let body = suite.get("/v1/statements/DAY1").await.body;
            (body["state"] == "done").then_some(body)
        })
        .await;
        assert_eq!((&done["matched_count"], &done["item_count"]), (&json!(1), &json!(1)));
        let list = suite.get("/v1/statements").await.body;
        assert_eq!(list["statements"].as_array().unwrap().len(), 1);
        let items = suite.get("/v1/reconciliation/items?state=open&kind=unexpected").await.body;
        let item = &items["items"][0];
        assert_eq!((&item["reference"], &item["found"]), (&json!("B2"), &json!("3.00")));
        let ages = suite.get("/v1/reconciliation/ageing?currency=USD").await.body;
        assert_eq!(ages["buckets"], json!([{"kind": "unexpected", "from_days": 0, "to_days": 1,
            "tally": {"count": 1, "amount": "3.00"}}]));
        let path = format!("/v1/reconciliation/items/{}", item["item_id"].as_str().unwrap());
        let post = async |who: &str, what: &str, body: Value| {
            let path = format!("{path}/{what}");
            suite.call_as(who, "POST", &path, &[], &body.to_string()).await
        };
        let proposal = json!({"resolution": "post", "reason": "the bank's own fee"});
        assert_eq!(post("maker", "resolve", json!({"resolution": "x", "reason": "y"})).await.status,
            400);
        assert_eq!(post("maker", "resolve", json!({"resolution": "post", "reason": ""})).await
            .status, 400);
        let proposed = post("maker", "resolve", proposal).await;
        assert_eq!(proposed.body["state"], "proposed", "{}", proposed.body);
        assert_eq!(post("maker", "approve", json!({})).await.status, 403);
        let declined = post("checker", "decline", json!({"reason": "whose fee?"})).await;
        assert_eq!(declined.body["state"], "open");
        post("maker", "resolve", json!({"resolution": "post", "reason": "the bank's"})).await;
        let posted = post("checker", "approve", json!({})).await;
        assert_eq!((posted.status, &posted.body["state"]), (200, &json!("resolved")));
        assert!(posted.body["transfer_id"].is_string());
        let settlement = suite.get("/v1/ledger/accounts/settlement:USD").await.body;
        assert_eq!(settlement["balance"], "103.25");
        assert_eq!(suite.get("/v1/ledger/check").await.body["balanced"], true);
        for action in ["received", "matched"] {
            entries(&suite, &format!("payments.statement.{action}"), 1).await;
        }
        for (action, count) in
            [("proposed", 2), ("declined", 1), ("posted", 1), ("approval_refused", 1)]
        {
            let action = format!("payments.reconciliation.{action}");
            assert_eq!(entries(&suite, &action, count).await.len(), count, "{action}");
        }
    }

    async fn long_statements_stream_in(db: TestDatabase) {
        let suite = filled(db).await;
        let mut csv = "\u{feff}reference,end_to_end_id,direction,amount,booked\r\n".to_owned();
        for n in 0..2_500 {
            csv.push_str(&format!("B{n},\"x,{n}\",CRDT,0.01,2026-01-01T10:00:00Z\r\n"));
        }
        let path = "/v1/statements/LONG?currency=USD&from=2026-01-01&to=2026-01-02";
        let taken = suite.call("POST", path, &csv).await;
        assert_eq!(taken.status, 200, "{}", taken.body);
        assert_eq!(taken.body["paid_in"], json!({"count": 2_500, "amount": "25.00"}));
        eventually(|| async {
            let body = suite.get("/v1/statements/LONG").await.body;
            (body["state"] == "done" && body["item_count"] == 2_500).then_some(())
        })
        .await;
    }
}
